/*-------------------------------------------------------------------------
 * scan.c
 *		The scan of a feed that is under way: its worker, and what becomes of
 *		the rows it reads; see scan.h.
 *
 * Runs: lane worker, main thread.  Reads no table itself.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "scan/scan_int.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "wal/decode.h"

/* A worker whose rows nobody takes is let go after this. */
#define STALL_MS	10000

void
cdc_scan_drop_worker(CdcScan *scan)
{
	if (scan->handle != NULL)
	{
		TerminateBackgroundWorker(scan->handle);
		pfree(scan->handle);
		scan->handle = NULL;
	}
	if (scan->queue != NULL)
	{
		shm_mq_detach(scan->queue);
		scan->queue = NULL;
	}
	if (scan->seg != NULL)
	{
		dsm_detach(scan->seg);
		scan->seg = NULL;
	}
	if (scan->pending != NULL)
	{
		pfree(scan->pending);
		scan->pending = NULL;
	}
}

/* What a worker is told of each item, since a table may have joined later. */
static StringInfoData
describe_items(const CdcFeed *feed, const CdcScan *scan)
{
	StringInfoData strings;

	initStringInfo(&strings);
	for (int i = 0; i < scan->nitems; i++)
	{
		int			target = cdc_scan_item_target(feed, scan, i);
		const char *topic = target < 0 ? "" : feed->def->targets[target].topic;
		const char *columns = target < 0 ? "" : feed->def->targets[target].columns;

		appendBinaryStringInfo(&strings, topic, strlen(topic) + 1);
		appendBinaryStringInfo(&strings, columns, strlen(columns) + 1);
	}
	return strings;
}

static void
start_worker(CdcFeed *feed)
{
	CdcScan    *scan = feed->scan;
	BackgroundWorker worker;
	CdcScanHeader *header;
	shm_mq	   *mq;
	MemoryContext old = MemoryContextSwitchTo(feed->cxt);
	StringInfoData strings = describe_items(feed, scan);
	Size		offset = MAXALIGN(CDC_SCAN_HEADER_SIZE(scan->nitems) + strings.len);
	dsm_segment *seg;

	Assert(CurrentResourceOwner == NULL);
	seg = dsm_create(offset + CDC_SCAN_QUEUE_SIZE, DSM_CREATE_NULL_IF_MAXSEGMENTS);
	if (seg == NULL)
	{
		pfree(strings.data);
		snprintf(scan->status, sizeof(scan->status),
				 "%s waits for a free shared memory segment", scan->what);
		scan->start_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CDC_SCAN_RETRY_MS);
		MemoryContextSwitchTo(old);
		return;
	}
	header = dsm_segment_address(seg);
	header->dboid = MyDatabaseId;
	header->job_id = feed->job_id;
	header->version = scan->version;
	header->t0 = scan->t0;
	header->one_snapshot = feed->options->initial_scan == CDC_SCAN_ONLY;
	header->nitems = scan->nitems;
	header->queue_off = offset;
	memcpy(header->items, scan->items, sizeof(CdcScanItem) * scan->nitems);
	memcpy((char *) header + CDC_SCAN_HEADER_SIZE(scan->nitems), strings.data, strings.len);
	pfree(strings.data);
	mq = shm_mq_create((char *) header + offset, CDC_SCAN_QUEUE_SIZE);
	shm_mq_set_receiver(mq, MyProc);

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "cdc_sink", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "cdc_scan_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "cdc_sink scan of job " INT64_FORMAT,
			 feed->job_id);
	strlcpy(worker.bgw_type, "cdc_sink scan", BGW_MAXLEN);
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(seg));
	worker.bgw_notify_pid = MyProcPid;

	if (!RegisterDynamicBackgroundWorker(&worker, &scan->handle))
	{
		scan->handle = NULL;
		dsm_detach(seg);
		snprintf(scan->status, sizeof(scan->status),
				 "%s waits for a free background worker (max_worker_processes)",
				 scan->what);
		scan->start_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CDC_SCAN_RETRY_MS);
		MemoryContextSwitchTo(old);
		return;
	}
	scan->seg = seg;
	scan->queue = shm_mq_attach(mq, seg, scan->handle);
	scan->l_hi = InvalidXLogRecPtr;
	feed->scanned_rows = 0;
	snprintf(scan->status, sizeof(scan->status), "%s starts", scan->what);
	MemoryContextSwitchTo(old);
}

/* Hands over rows of the message at hand; false when out of room. */
static bool
take_rows(CdcFeed *feed, size_t room)
{
	CdcScan    *scan = feed->scan;
	int			target = cdc_scan_item_target(feed, scan, scan->item);
	CdcTopic   *topic;

	/* 'only' exports one snapshot and emits no events that could repeat it */
	bool		filter = feed->options->initial_scan != CDC_SCAN_ONLY;

	if (target < 0 || scan->dropped[scan->item])
	{
		pfree(scan->pending);
		scan->pending = NULL;
		return true;
	}
	topic = cdc_feed_topic(feed, target, NULL);
	while (scan->pending_off < scan->pending_len)
	{
		CdcScanRow	row;
		const char *identity;
		CdcBatch   *batch;
		CdcMessage *msg;
		Size		len;

		if (cdc_feed_bytes(feed) >= room)
			return false;
		memcpy(&row, scan->pending + scan->pending_off, sizeof(row));
		identity = scan->pending + scan->pending_off + sizeof(row);
		len = (row.parts.key_len == CDC_LEN_NULL ? 0 : (Size) row.parts.key_len) +
			(row.parts.val_len == CDC_LEN_NULL ? 0 : (Size) row.parts.val_len) +
			row.parts.headers_len;
		scan->pending_off += sizeof(row) + row.identity_len + len;

		if (filter && cdc_scan_has_key(feed, scan, target, identity,
									   row.identity_len))
			continue;
		batch = cdc_feed_open_batch(feed);
		msg = cdc_batch_add(batch, topic);
		msg->hlc = scan->t0;
		if (row.identity_is_key)
		{
			cdc_buf_append(&batch->buf, identity, row.identity_len);
			row.parts.key_len = row.identity_len;
		}
		cdc_buf_append(&batch->buf, identity + row.identity_len, len);
		cdc_batch_set_parts(msg, &row.parts);
		feed->scanned_rows++;
	}
	pfree(scan->pending);
	scan->pending = NULL;
	return true;
}

static void
take_end(CdcFeed *feed)
{
	CdcScan    *scan = feed->scan;

	scan->read_all = true;
	cdc_feed_seal(feed);
	if (dlist_is_empty(&feed->queue))
		scan->acked = true;
	else
		dlist_tail_element(CdcBatch, node, &feed->queue)->scan_end = true;
	cdc_scan_drop_worker(scan);
	snprintf(scan->status, sizeof(scan->status),
			 "%s: " UINT64_FORMAT " rows read, waiting for the sink",
			 scan->what, feed->scanned_rows);
}

/* What may not be sent any more is not known: neither may the rest. */
static bool
end_if_keys_are_lost(CdcFeed *feed)
{
	CdcScan    *scan = feed->scan;
	const char *trouble = scan->keys == NULL ? NULL : cdc_keys_trouble(scan->keys);

	if (trouble == NULL)
		return false;
	cdc_feed_end(feed, "the keys that were changed during the %s could not be kept: %s",
				 scan->what, trouble);
	cdc_scan_drop_worker(scan);
	scan->read_all = true;
	return true;
}

bool
cdc_scan_pump(CdcFeed *feed, size_t room)
{
	CdcScan    *scan = feed->scan;

	if (scan == NULL || scan->read_all || feed->mode != CDC_FEED_ACTIVE)
		return false;
	if (unlikely(cdc_scan_all_dropped(scan)))
	{
		take_end(feed);
		return false;
	}
	if (end_if_keys_are_lost(feed))
		return false;
	if (scan->queue == NULL)
	{
		/* the hold must be durable before a row of the scan leaves */
		if (feed->durable.resume_lsn != scan->hold_lsn ||
			feed->sink == NULL || GetCurrentTimestamp() < scan->start_at)
			return false;
		if (cdc_feed_bytes(feed) > room / 2)
		{
			cdc_feed_relieve(feed);
			return false;
		}
		if (!cdc_scan_settled(feed, scan))
		{
			snprintf(scan->status, sizeof(scan->status),
					 "%s waits for transaction %u to become visible (synchronous replication)",
					 scan->what, scan->unsettled[0]);
			return false;
		}
		start_worker(feed);
		return false;
	}

	/*
	 * Rows wait until the decoder has passed the chunk's L_hi.  After a
	 * rewind it may be behind what this feed has seen, which does no harm:
	 * the record of keys is complete up to there.
	 */
	for (int i = 0; i < 64; i++)
	{
		void	   *data;
		Size		len;
		shm_mq_result res;

		if (scan->pending != NULL)
		{
			bool		taken;

			if (Max(cdc_decoder_position(), feed->queued_lsn) < scan->l_hi)
				return false;
			taken = take_rows(feed, room);
			if (end_if_keys_are_lost(feed))
				return false;
			if (!taken)
			{
				/*
				 * The worker must not hold its lock and its snapshot for as
				 * long as a sink is down: it starts over when there is room.
				 */
				TimestampTz now = GetCurrentTimestamp();

				cdc_feed_relieve(feed);
				if (scan->stalled_since == 0 || scan->stalled_rows != feed->scanned_rows)
				{
					scan->stalled_since = now;
					scan->stalled_rows = feed->scanned_rows;
				}
				else if (TimestampDifferenceExceeds(scan->stalled_since, now, STALL_MS))
				{
					cdc_scan_restart(feed);
					snprintf(scan->status, sizeof(scan->status),
							 "%s waits for the sink", scan->what);
				}
				return false;
			}
		}
		res = shm_mq_receive(scan->queue, &len, &data, true);
		if (res == SHM_MQ_WOULD_BLOCK)
			return false;
		if (res == SHM_MQ_DETACHED || len < 1)
		{
			/*
			 * The worker died and said why in the log: read again.  What is
			 * queued stays, changes of the stream among it.
			 */
			cdc_feed_trouble(feed, "the worker of a scan ended unexpectedly");
			cdc_scan_restart(feed);
			return false;
		}
		switch (*(char *) data)
		{
			case CDC_SCAN_CHUNK:
				if (len != 1 + sizeof(int32) + sizeof(XLogRecPtr))
					elog(ERROR, "malformed message from a scan worker");
				{
					int32		item;

					memcpy(&item, (char *) data + 1, sizeof(int32));
					memcpy(&scan->l_hi, (char *) data + 5, sizeof(XLogRecPtr));
					if (item < 0 || item >= scan->nitems)
						elog(ERROR, "malformed message from a scan worker");
					scan->item = item;
				}
				break;

			case CDC_SCAN_ROWS:
				scan->pending = MemoryContextAlloc(feed->cxt, len);
				memcpy(scan->pending, data, len);
				scan->pending_len = len;
				scan->pending_off = 1;
				snprintf(scan->status, sizeof(scan->status),
						 "%s: table %d of %d, " UINT64_FORMAT " rows",
						 scan->what, scan->item + 1, scan->nitems,
						 feed->scanned_rows);
				break;

			case CDC_SCAN_END:
				take_end(feed);
				return false;

			case CDC_SCAN_ERROR:
				cdc_feed_end(feed, "%.*s", (int) (len - 1), (char *) data + 1);
				cdc_scan_drop_worker(scan);
				scan->read_all = true;
				return false;

			default:
				elog(ERROR, "malformed message from a scan worker");
		}
	}
	return true;
}
