/*-------------------------------------------------------------------------
 * stream_debezium.c
 *		From a decoded change to the events of Debezium's envelope.
 *
 * One change may be several: a delete has a tombstone behind it, an update
 * that moves the key is a delete and an insert.
 *
 * Runs: decoding callbacks of the lane, as stream.c.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "encode/encode.h"
#include "scan/scan.h"
#include "table/relcache.h"
#include "worker/lane.h"
#include "worker/stream_event.h"

void
stream_encode_truncate(CdcSubscriber *sub, ReorderBufferTXN *txn, XLogRecPtr lsn,
					   const char *name, uint64 number, CdcBatch *batch)
{
	CdcFeed    *feed = sub->feed;
	CdcRow		event = {.op = 't'};
	CdcParts	parts;

	if (feed->encode.envelope != CDC_ENVELOPE_DEBEZIUM)
	{
		cdc_encode_truncate(&feed->encode, &batch->buf, sub->topic->name, name,
							feed->txn_hlc);
		return;
	}
	event.updated = event.mvcc = feed->txn_hlc;
	stream_place_row(&event, txn, lsn);
	event.event = feed->txn_events;
	event.table_event = number;
	cdc_encode_message(sub->encoder, &batch->buf, &event, false, NULL, &parts);
}

/*
 * Appends an event of Debezium's envelope: it is counted, and behind a delete
 * comes its tombstone.
 */
static void
append_event(CdcTable *table, CdcSubscriber *sub, ReorderBufferTXN *txn,
			 CdcRow *row, const CdcBuf *identity)
{
	CdcFeed    *feed = sub->feed;

	if (!stream_touch(feed, txn))
		return;
	row->table_event = event_count_row(sub, txn, row->lsn);
	if (row->table_event == 0)
		return;
	row->event = feed->txn_events;
	stream_append_row(table, sub, txn, row, identity);
	if (row->op != 'd' || !cdc_encode_has_tombstones(&feed->encode) ||
		!cdc_sink_has_keys(feed->ops) || !cdc_feed_takes(feed, txn))
		return;
	row->op = CDC_OP_TOMBSTONE;
	stream_append_row(table, sub, txn, row, identity);
}

void
stream_append_debezium(CdcTable *table, CdcSubscriber *sub, ReorderBufferTXN *txn,
					   const CdcRow *row, const CdcRow *gone, bool moved, bool complete,
					   const bool *recalled,
					   const CdcBuf *key_old, const CdcBuf *key_new)
{
	CdcFeed    *feed = sub->feed;
	CdcRow		event;

	if (row->values == NULL || (moved && !table->keyless))
	{
		event = *gone;
		event.moved_values = row->values;
		event.moved_nulls = row->nulls;
		append_event(table, sub, txn, &event, key_old);
		if (row->values == NULL || !cdc_feed_takes(feed, txn))
			return;
	}
	event = *row;
	if (moved && table->keyless)
	{
		event.op = 'u';
		event.old_values = gone->old_values;
		event.old_nulls = gone->old_nulls;
		event.old_full = gone->old_full;
		if (feed->scan != NULL && stream_touch(feed, txn))
			(void) cdc_scan_record(feed, sub->target, table->relid, key_old->data,
								   key_old->len, NULL);
	}
	else if (moved)
	{
		event.moved_values = gone->old_values;
		event.moved_nulls = gone->old_nulls;
	}
	if (!complete || recalled != NULL)
	{
		bool	   *marks = palloc0(sizeof(bool) * (table->natts + 1));

		for (int i = 0; i < table->ntoastable; i++)
		{
			int			att = table->toastable[i] - 1;

			/* the connector never has them, and a replay may not */
			marks[att] = !table->nulls[att] &&
				((recalled != NULL && recalled[att]) ||
				 VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(table->values[att])));
		}
		event.unavailable = marks;
	}
	append_event(table, sub, txn, &event, key_new);
}
