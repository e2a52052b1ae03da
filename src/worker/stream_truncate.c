/*-------------------------------------------------------------------------
 * stream_truncate.c
 *		From a decoded TRUNCATE to what the feeds want of it: a message, an
 *		end, or nothing.
 *
 * Runs: decoding callbacks of the lane, as stream.c.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "encode/encode.h"
#include "scan/scan.h"
#include "table/relcache.h"
#include "table/toast_cache.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "worker/lane.h"
#include "worker/stream_event.h"

/*
 * One message for each partition of the topic, with nothing of the feed on
 * its way beside them: rows of any key that came before go before, rows that
 * come behind go behind.  They count as one row of the transaction.
 */
static void
emit_truncate(CdcSubscriber *sub, Oid relid, bool whole, ReorderBufferTXN *txn,
			  XLogRecPtr lsn)
{
	CdcFeed    *feed = sub->feed;
	char	   *name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
												  get_rel_name(relid));
	int			npartitions = Max(sub->topic->partitions, 1);
	uint64		number = 0;		/* of the event, in its table's of the transaction */
	CdcBatch   *batch;

	/* what a scan has not handed over is gone, and must not come back */
	if (feed->scan != NULL)
		cdc_scan_drop_target(feed, sub->target, whole);
	if (feed->encode.debezium != NULL)
	{
		number = event_count_row(sub, txn, lsn);
		if (number == 0)
			return;
	}
	if (!cdc_feed_begin_row(feed, txn))
		return;
	cdc_feed_seal(feed);
	batch = cdc_feed_open_batch(feed);
	for (int32 i = 0; i < npartitions; i++)
	{
		CdcMessage *msg = cdc_batch_add(batch, sub->topic);
		size_t		start = batch->buf.len;

		msg->hlc = feed->txn_hlc;
		stream_encode_truncate(sub, txn, lsn, name, number, batch);
		msg->val_len = (uint32) (batch->buf.len - start);
		if (sub->topic->partitions > 0)
		{
			cdc_buf_append(&batch->buf, (char *) &i, sizeof(i));
			msg->headers_len = sizeof(i);
			msg->flags |= CDC_MSG_PARTITION;
		}
	}
	batch->barrier = true;
	cdc_feed_seal(feed);
	if (unlikely(cdc_feed_bytes(feed) >= lane.feed_cap))
		lane_wait_for_room(feed, txn);
}

static bool
is_truncated(Oid relid, int nrels, Relation *rels)
{
	for (int i = 0; i < nrels; i++)
		if (RelationGetRelid(rels[i]) == relid)
			return true;
	return false;
}

void
stream_truncate(ReorderBufferTXN *txn, int nrels, Relation *rels, XLogRecPtr lsn)
{
	for (int i = 0; i < nrels; i++)
	{
		Oid			relid = RelationGetRelid(rels[i]);
		CdcTable   *table = cdc_table_get(rels[i]);

		cdc_toast_cache_forget(table);
		for (int j = 0; j < table->nsubs; j++)
		{
			CdcSubscriber *sub = &table->subs[j];
			CdcFeed    *feed = sub->feed;
			Oid			target;

			if (!cdc_feed_takes(feed, txn) || feed->next_def != NULL ||
				feed->options->truncate == CDC_TRUNCATE_IGNORE ||
				!stream_touch(feed, txn))
				continue;
			target = feed->def->targets[sub->target].relid;
			if (feed->options->truncate == CDC_TRUNCATE_EMIT)
			{
				/* that of the root tells of its partitions, too */
				if (relid == target || !is_truncated(target, nrels, rels))
					emit_truncate(sub, relid, relid == target, txn, lsn);
				continue;
			}
			if (cdc_feed_was_answered(feed, txn))
			{
				if (feed->scan != NULL)
					cdc_scan_drop_target(feed, sub->target, relid == target);
				continue;
			}

			/*
			 * The rest of the transaction is sent, so that a feed that is
			 * resumed goes on behind it without a hole.
			 */
			if (feed->scan != NULL && relid == target)
				cdc_scan_drop_target(feed, sub->target, true);
			cdc_feed_end_behind(feed, txn);
			cdc_feed_end(feed, "\"%s\" was truncated", get_rel_name(relid));
		}
	}
}
