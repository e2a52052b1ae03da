/*-------------------------------------------------------------------------
 * stream_event.c
 *		Messages of Debezium's envelope that are of no row; see
 *		stream_event.h.
 *
 * In a transaction they are rows to the feed like others: they have a number
 * in it, by which a repetition steps over what is in the queue.  A message
 * outside of a transaction is one of its own, whose end is the end of its
 * record: the feed's position goes there when the sink has acknowledged it,
 * and the server hands it out again from any position before.  Since nothing
 * tells when it was written its stamp is the next one after the feed's last.
 *
 * Runs: decoding callbacks of the lane.  For a message outside of a transaction
 * core has none either: it gets one of ours.  Reads no catalogs.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/err.h"
#include "catalog/target.h"
#include "encode/debezium_event.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/resowner.h"
#include "wal/decode.h"
#include "worker/cursor.h"
#include "worker/lane.h"
#include "worker/marks.h"
#include "worker/stream_event.h"

/*
 * The topic and the encoder of the feed's events; NULL: not before its sink is
 * known, so that the feed is detached until then.
 */
static CdcTopic *
event_topic(CdcFeed *feed, CdcEventTopic which, ReorderBufferTXN *txn)
{
	CdcTopic   *topic = feed->event_topics[which];
	const CdcUri *uri = feed->uri;
	char	   *name;

	if (likely(topic != NULL))
		return topic;
	if (lane_wait_for_place(feed, txn))
		return NULL;
	if (uri == NULL)
		uri = cdc_uri_parse(feed->def->sink);
	name = cdc_event_topic(feed->encode.debezium, lane.dbname,
						   which == CDC_TOPIC_MESSAGES ? CDC_DBZ_MESSAGE_TOPIC :
						   CDC_DBZ_TRANSACTION_TOPIC,
						   cdc_uri_param(uri, "topic_prefix"),
						   cdc_uri_param(uri, "topic_name"),
						   feed->ops->sanitises_topics);
	if (feed->events == NULL)
		feed->events = cdc_debezium_events_create(feed->cxt, feed->encode.debezium,
												  lane.dbname);
	topic = cdc_feed_add_topic(feed, name);
	feed->event_topics[which] = topic;
	return topic;
}

static CdcMessage *
open_message(CdcFeed *feed, CdcTopic *topic, CdcBatch **batch)
{
	CdcMessage *msg;

	*batch = cdc_feed_open_batch(feed);
	msg = cdc_batch_add(*batch, topic);
	msg->hlc = feed->txn_hlc;
	stream_message_open(*batch);
	return msg;
}

static void
close_message(CdcMessage *msg, const CdcParts *parts)
{
	cdc_batch_set_parts(msg, parts);
	stream_message_open(NULL);
}

/* Begin (counts is NULL) or end of a transaction; false: the feed is detached. */
static bool
put_boundary(CdcFeed *feed, ReorderBufferTXN *txn, XLogRecPtr lsn,
			 const CdcDebeziumCount *counts, int ncounts)
{
	CdcTopic   *topic = event_topic(feed, CDC_TOPIC_TRANSACTIONS, txn);
	CdcBatch   *batch;
	CdcMessage *msg;
	CdcParts	parts;

	if (topic == NULL)
		return false;
	if (!cdc_feed_begin_row(feed, txn))
		return true;			/* it is in the queue already */
	msg = open_message(feed, topic, &batch);
	cdc_debezium_boundary(feed->events, &batch->buf, txn->xid, lsn,
						  cdc_compat_commit_time(txn), counts, ncounts,
						  cdc_sink_has_keys(feed->ops), &parts);
	close_message(msg, &parts);
	return true;
}

/* Before an event is counted; false: the feed is detached. */
static bool
begin_if_first(CdcFeed *feed, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	return feed->txn_events > 0 || put_boundary(feed, txn, lsn, NULL, 0);
}

uint64
event_count_row(CdcSubscriber *sub, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	CdcFeed    *feed = sub->feed;

	if (likely(!feed->encode.debezium->transactions))
		return 1;				/* it is told nowhere */
	if (!begin_if_first(feed, txn, lsn))
		return 0;
	return cdc_feed_count(feed, sub->target, cdc_debezium_collection(sub->encoder));
}

void
event_end(CdcFeed *feed, ReorderBufferTXN *txn)
{
	CdcDebeziumCount *counts;
	int			n = 0;

	counts = palloc(sizeof(CdcDebeziumCount) * feed->ncounts);
	for (int i = 0; i < feed->ncounts; i++)
	{
		if (feed->counts[i].txn_number != feed->txn_number)
			continue;
		counts[n].collection = feed->counts[i].collection;
		counts[n++].events = feed->counts[i].events;
	}
	(void) put_boundary(feed, txn, txn->end_lsn, counts, n);
	pfree(counts);
}

static inline bool
has_messages(const CdcFeed *feed)
{
	return feed->encode.debezium != NULL &&
		feed->encode.debezium->messages != CDC_DBZ_MESSAGES_NONE;
}

static bool
any_has_messages(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &lane.feeds)
	{
		if (has_messages(dlist_container(CdcFeed, node, iter.cur)))
			return true;
	}
	return false;
}

/* Does the feed take messages, and this one? */
static bool
wants(CdcFeed *feed, ReorderBufferTXN *txn, const char *prefix)
{
	return has_messages(feed) && cdc_feed_takes(feed, txn) &&
		feed->options->initial_scan != CDC_SCAN_ONLY &&
		feed->next_def == NULL &&	/* else it comes again, by that definition */
		cdc_debezium_wants_message(feed->encode.debezium, prefix);
}

static bool
is_ascii(const char *text)
{
	while (*text != '\0' && !IS_HIGHBIT_SET(*text))
		text++;
	return *text == '\0';
}

/*
 * Why a prefix cannot be told in UTF-8, palloc'ed; NULL: it can.  One-byte
 * encodings let bytes pass that they have no character for, and nothing guards
 * messages: an ERROR would come again in each life of the worker.
 */
static const char *
conversion_error(const char *prefix)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int			encoding = GetDatabaseEncoding();
	const char *volatile why = NULL;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII || is_ascii(prefix))
		return NULL;			/* is not converted */
	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(cxt);
		(void) pg_do_encoding_conversion((unsigned char *) unconstify(char *, prefix),
										 (int) strlen(prefix), encoding, PG_UTF8);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(cxt);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		why = cdc_error_take_subxact(cxt, owner)->message;
	}
	PG_END_TRY();
	return why;
}

/* Why a message cannot be sent; NULL: it can. */
static const char *
unfit(const char *prefix, Size size)
{
	if (size > CDC_DBZ_MESSAGE_MAX)
		return "the message is larger than 64 MB";
	if (strlen(prefix) > CDC_DBZ_PREFIX_MAX)
		return "the prefix of the message is longer than 1024 bytes";
	return conversion_error(prefix);
}

/* Appends a message for a feed that is touched. */
static void
put_message(CdcFeed *feed, ReorderBufferTXN *txn, XLogRecPtr lsn,
			const char *prefix, const char *content, Size size)
{
	CdcTopic   *topic = event_topic(feed, CDC_TOPIC_MESSAGES, txn);
	CdcRow		row = {.op = 'm'};
	CdcBatch   *batch;
	CdcMessage *msg;
	CdcParts	parts;
	const char *why;

	if (topic == NULL)
		return;
	if (feed->encode.debezium->transactions && TransactionIdIsValid(txn->xid))
	{
		if (!begin_if_first(feed, txn, lsn))
			return;
		row.table_event = cdc_feed_count(feed, -1, CDC_DBZ_MESSAGES);
		row.event = feed->txn_events;
	}
	why = unfit(prefix, size);
	if (why != NULL)
	{
		stream_lose_row(feed, topic, feed->txn_hlc, why);
		return;
	}
	if (!cdc_feed_begin_row(feed, txn))
		return;
	row.updated = row.mvcc = feed->txn_hlc;
	stream_place_row(&row, txn, lsn);
	msg = open_message(feed, topic, &batch);
	cdc_debezium_message(feed->events, &batch->buf, &row, prefix, content, size,
						 cdc_sink_has_keys(feed->ops), &parts);
	close_message(msg, &parts);
}

static void
make_room(CdcFeed *feed, ReorderBufferTXN *txn)
{
	if (feed->mode == CDC_FEED_ACTIVE && unlikely(cdc_feed_bytes(feed) >= lane.feed_cap))
		lane_wait_for_room(feed, txn);
}

static void
message_in_transaction(ReorderBufferTXN *txn, XLogRecPtr lsn, const char *prefix,
					   const char *content, Size size)
{
	dlist_iter	iter;

	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (!wants(feed, txn, prefix) || !stream_touch(feed, txn))
			continue;
		put_message(feed, txn, lsn, prefix, content, size);
		make_room(feed, txn);
	}
	stream_serve(txn);
}

/* The whole of the feed's transaction that the message is. */
static void
whole_message(CdcFeed *feed, ReorderBufferTXN *alone, const char *prefix,
			  const char *content, Size size)
{
	/* what is not above the last stamp gets the next one */
	cdc_compat_set_commit_time(alone, cdc_hlc_timestamptz(feed->queued_hlc));
	if (cdc_feed_check_end(feed, alone))
	{
		lane.want_visit = true;
		return;
	}
	cdc_feed_touch(feed, alone);
	put_message(feed, alone, alone->final_lsn, prefix, content, size);
	if (!feed->touched)
		return;					/* it ends before it, or is detached */
	cdc_feed_end_txn(feed, alone);
	history_note(feed->queued_hlc);
	make_room(feed, alone);
}

static void
message_alone(ReorderBufferTXN *alone, const char *prefix, const char *content, Size size)
{
	dlist_iter	iter;

	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (unlikely(feed->passing) && has_messages(feed))
		{
			/* without a time it is where the last commit was */
			cdc_compat_set_commit_time(alone, 0);
			cursor_pass(feed, alone);
		}
		if (wants(feed, alone, prefix))
			whole_message(feed, alone, prefix, content, size);
	}
}

void
event_message(ReorderBufferTXN *txn, XLogRecPtr lsn, const char *prefix,
			  const char *content, Size size)
{
	MemoryContext cxt = CurrentMemoryContext;
	ReorderBufferTXN alone = {0};

	if (strcmp(prefix, CDC_MESSAGE_PREFIX) == 0 || !any_has_messages())
		return;					/* one of our own marks, or of use to nobody */
	if (txn != NULL)
	{
		message_in_transaction(txn, lsn, prefix, content, size);
		return;
	}

	/* where it is, and where the feeds are behind it */
	alone.final_lsn = lsn;
	alone.end_lsn = cdc_decoder_read_ptr();
	stream_set_txn(&alone);

	/* as in other callbacks: text is converted, waits look at invalidations */
	StartTransactionCommand();
	MemoryContextSwitchTo(cxt);
	message_alone(&alone, prefix, content, size);
	CommitTransactionCommand();
	MemoryContextSwitchTo(cxt);
	stream_set_txn(NULL);
}
