/*-------------------------------------------------------------------------
 * scan.c
 *		The initial scan of a feed, from the lane's side; see scan.h for why
 *		no row is lost, stale or doubled.
 *
 * Runs: lane worker, main thread.  Reads no table itself.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/guc.h"
#include "feed/feed.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "scan/keys.h"
#include "scan/scan.h"
#include "storage/dsm.h"
#include "storage/procarray.h"
#include "storage/shm_mq.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "wal/decode.h"

/* A worker that could not be registered is tried again after this. */
#define RETRY_MS	1000

/* A worker whose rows nobody takes is let go after this. */
#define STALL_MS	10000

struct CdcScan
{
	CdcHlc		t0;
	CdcKeySet  *keys;

	/* Decoded before C and perhaps not visible yet. */
	TransactionId *unsettled;
	int			nunsettled;
	bool		looked;			/* note_hanging_commits() was called */

	BackgroundWorkerHandle *handle; /* NULL: no worker */
	dsm_segment *seg;
	shm_mq_handle *queue;
	TimestampTz start_at;		/* not before */

	int			target;			/* of the current chunk */
	XLogRecPtr	l_hi;			/* hand over when decoded up to here */
	bool		read_all;		/* worker has sent everything */
	bool		acked;			/* and the sink has it */
	char	   *pending;		/* rows received and not yet handed over */
	Size		pending_len;
	Size		pending_off;
	bool		keys_full;		/* more were changed than may be kept */
	uint64		stalled_rows;
	TimestampTz stalled_since;	/* rows wait for room; 0: they do not */
	char		status[CDC_STATUS_SIZE];
};

/* Recently decoded transactions, pruned when the array is full. */
static TransactionId *recent = NULL;
static int	nrecent = 0;
static int	maxrecent = 0;

/* Keeps those that are still in progress for everybody else. */
static int
prune_settled(TransactionId *xids, int n)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
	{
		if (TransactionIdIsInProgress(xids[i]))
			xids[kept++] = xids[i];
	}
	return kept;
}

void
cdc_scan_note_xid(TransactionId xid)
{
	if (nrecent == maxrecent)
	{
		if (recent == NULL)
		{
			maxrecent = 1024;
			recent = MemoryContextAlloc(TopMemoryContext,
										sizeof(TransactionId) * maxrecent);
		}
		else
			nrecent = prune_settled(recent, nrecent);

		/* as many may hang as there are backends and prepared transactions */
		if (nrecent > maxrecent / 2)
		{
			maxrecent *= 2;
			recent = repalloc(recent, sizeof(TransactionId) * maxrecent);
		}
	}
	recent[nrecent++] = xid;
}

/*
 * A lane that started anew has not decoded itself what its predecessor did:
 * whatever is committed by now and still in progress for everybody else may
 * lie before C.  Runs: main loop, outside of a transaction.
 */
static void
note_hanging_commits(CdcFeed *feed)
{
	CdcScan    *scan = feed->scan;
	MemoryContext old = CurrentMemoryContext;
	Snapshot	snapshot;

	StartTransactionCommand();
	snapshot = GetLatestSnapshot();
	MemoryContextSwitchTo(feed->cxt);
	scan->unsettled = repalloc(scan->unsettled, sizeof(TransactionId) *
							   (scan->nunsettled + snapshot->xcnt + 1));
	for (uint32 i = 0; i < snapshot->xcnt; i++)
	{
		if (TransactionIdDidCommit(snapshot->xip[i]))
			scan->unsettled[scan->nunsettled++] = snapshot->xip[i];
	}
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	scan->looked = true;
}

void
cdc_scan_begin(CdcFeed *feed, CdcHlc t0)
{
	MemoryContext old = MemoryContextSwitchTo(feed->cxt);
	CdcScan    *scan = palloc0(sizeof(CdcScan));

	scan->t0 = t0;
	scan->keys = cdc_keys_create();
	nrecent = prune_settled(recent, nrecent);
	scan->nunsettled = nrecent;
	scan->unsettled = palloc(sizeof(TransactionId) * Max(nrecent, 1));
	if (nrecent > 0)
		memcpy(scan->unsettled, recent, sizeof(TransactionId) * nrecent);
	feed->scan = scan;
	MemoryContextSwitchTo(old);
}

void
cdc_scan_record(CdcScan *scan, int target, const char *key, size_t len)
{
	if (!scan->read_all || scan->pending != NULL)
	{
		cdc_keys_add(scan->keys, target, key, len);
		scan->keys_full = cdc_keys_memory(scan->keys) > (size_t) cdc_lane_memory * 1024;
	}
}

/* Lets the worker go, whatever it is doing. */
static void
drop_worker(CdcScan *scan)
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

void
cdc_scan_restart(CdcFeed *feed)
{
	CdcScan    *scan = feed->scan;

	if (scan == NULL || scan->acked)
		return;
	drop_worker(scan);
	scan->read_all = false;
	scan->start_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_MS);
	feed->scanned_rows = 0;
}

void
cdc_scan_free(CdcFeed *feed)
{
	CdcScan    *scan = feed->scan;

	if (scan == NULL)
		return;
	drop_worker(scan);
	cdc_keys_free(scan->keys);
	pfree(scan->unsettled);
	pfree(scan);
	feed->scan = NULL;
}

CdcHlc
cdc_scan_t0(const CdcFeed *feed)
{
	return feed->scan->t0;
}

bool
cdc_scan_is_done(const CdcFeed *feed)
{
	return feed->scan == NULL || feed->scan->acked;
}

void
cdc_scan_batch_acked(CdcFeed *feed, const CdcBatch *batch)
{
	if (batch->scan_end)
		feed->scan->acked = true;
}

const char *
cdc_scan_status(const CdcFeed *feed)
{
	if (feed->scan == NULL || feed->scan->acked)
		return NULL;
	return feed->scan->status;
}

static void
start_worker(CdcFeed *feed)
{
	CdcScan    *scan = feed->scan;
	BackgroundWorker worker;
	CdcScanHeader *header;
	shm_mq	   *mq;
	Size		offset = MAXALIGN(sizeof(CdcScanHeader));
	MemoryContext old = MemoryContextSwitchTo(feed->cxt);
	dsm_segment *seg;

	Assert(CurrentResourceOwner == NULL);
	seg = dsm_create(offset + CDC_SCAN_QUEUE_SIZE, DSM_CREATE_NULL_IF_MAXSEGMENTS);
	if (seg == NULL)
	{
		strlcpy(scan->status, "initial scan waits for a free shared memory segment",
				sizeof(scan->status));
		scan->start_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_MS);
		MemoryContextSwitchTo(old);
		return;
	}
	header = dsm_segment_address(seg);
	header->dboid = MyDatabaseId;
	header->job_id = feed->job_id;
	header->t0 = scan->t0;
	header->one_snapshot = feed->options->initial_scan == CDC_SCAN_ONLY;
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
		strlcpy(scan->status,
				"initial scan waits for a free background worker (max_worker_processes)",
				sizeof(scan->status));
		scan->start_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_MS);
		MemoryContextSwitchTo(old);
		return;
	}
	scan->seg = seg;
	scan->queue = shm_mq_attach(mq, seg, scan->handle);
	scan->l_hi = InvalidXLogRecPtr;
	feed->scanned_rows = 0;
	strlcpy(scan->status, "initial scan starts", sizeof(scan->status));
	MemoryContextSwitchTo(old);
}

/* Hands over rows of the message at hand; false when out of room. */
static bool
take_rows(CdcFeed *feed, size_t room)
{
	CdcScan    *scan = feed->scan;
	CdcTopic   *topic = cdc_feed_topic(feed, scan->target, false);
	bool		key_beside = cdc_sink_has_keys(feed->ops);

	/* 'only' exports one snapshot and emits no events that could repeat it */
	bool		filter = feed->options->initial_scan != CDC_SCAN_ONLY;

	while (scan->pending_off < scan->pending_len)
	{
		uint32		key_len;
		uint32		val_len;
		const char *key;
		CdcBatch   *batch;
		CdcMessage *msg;

		if (cdc_feed_bytes(feed) >= room)
			return false;
		memcpy(&key_len, scan->pending + scan->pending_off, sizeof(uint32));
		memcpy(&val_len, scan->pending + scan->pending_off + 4, sizeof(uint32));
		key = scan->pending + scan->pending_off + 8;
		scan->pending_off += 8 + (Size) key_len + val_len;

		if (filter && cdc_keys_contain(scan->keys, scan->target, key, key_len))
			continue;
		batch = cdc_feed_open_batch(feed);
		msg = cdc_batch_add(batch, topic);
		msg->hlc = scan->t0;
		if (key_beside)
		{
			cdc_buf_append(&batch->buf, key, key_len);
			msg->key_len = key_len;
		}
		cdc_buf_append(&batch->buf, key + key_len, val_len);
		msg->val_len = val_len;
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
	drop_worker(scan);
	snprintf(scan->status, sizeof(scan->status),
			 "initial scan: " UINT64_FORMAT " rows read, waiting for the sink",
			 feed->scanned_rows);
}

bool
cdc_scan_pump(CdcFeed *feed, size_t room)
{
	CdcScan    *scan = feed->scan;

	if (scan == NULL || scan->read_all || feed->mode != CDC_FEED_ACTIVE)
		return false;
	if (scan->keys_full)
	{
		cdc_feed_end(feed, "too many rows were changed during the initial scan; raise cdc_sink.lane_memory");
		drop_worker(scan);
		scan->read_all = true;
		return false;
	}
	if (scan->queue == NULL)
	{
		/* the feed's row must be durable before a row at T0 leaves */
		if (feed->durable.resume_lsn == InvalidXLogRecPtr ||
			feed->sink == NULL || cdc_feed_bytes(feed) > room / 2 ||
			GetCurrentTimestamp() < scan->start_at)
			return false;
		if (!scan->looked)
			note_hanging_commits(feed);
		scan->nunsettled = prune_settled(scan->unsettled, scan->nunsettled);
		if (scan->nunsettled > 0)
		{
			snprintf(scan->status, sizeof(scan->status),
					 "initial scan waits for transaction %u to become visible (synchronous replication)",
					 scan->unsettled[0]);
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
			if (Max(cdc_decoder_position(), feed->queued_lsn) < scan->l_hi)
				return false;
			if (!take_rows(feed, room))
			{
				/*
				 * The worker must not hold its lock and its snapshot for as
				 * long as a sink is down: it starts over when there is room.
				 */
				TimestampTz now = GetCurrentTimestamp();

				if (scan->stalled_since == 0 || scan->stalled_rows != feed->scanned_rows)
				{
					scan->stalled_since = now;
					scan->stalled_rows = feed->scanned_rows;
				}
				else if (TimestampDifferenceExceeds(scan->stalled_since, now, STALL_MS))
				{
					cdc_scan_restart(feed);
					strlcpy(scan->status, "initial scan waits for the sink",
							sizeof(scan->status));
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
			cdc_feed_trouble(feed, "the initial scan's worker ended unexpectedly");
			cdc_scan_restart(feed);
			return false;
		}
		switch (*(char *) data)
		{
			case CDC_SCAN_CHUNK:
				if (len != 1 + sizeof(int32) + sizeof(XLogRecPtr))
					elog(ERROR, "malformed message from a scan worker");
				{
					int32		target;

					memcpy(&target, (char *) data + 1, sizeof(int32));
					memcpy(&scan->l_hi, (char *) data + 5, sizeof(XLogRecPtr));
					if (target < 0 || target >= feed->def->ntargets)
						elog(ERROR, "malformed message from a scan worker");
					scan->target = target;
				}
				break;

			case CDC_SCAN_ROWS:
				scan->pending = MemoryContextAlloc(feed->cxt, len);
				memcpy(scan->pending, data, len);
				scan->pending_len = len;
				scan->pending_off = 1;
				snprintf(scan->status, sizeof(scan->status),
						 "initial scan: table %d of %d, " UINT64_FORMAT " rows",
						 scan->target + 1, feed->def->ntargets,
						 feed->scanned_rows);
				break;

			case CDC_SCAN_END:
				take_end(feed);
				return false;

			case CDC_SCAN_ERROR:
				cdc_feed_end(feed, "%.*s", (int) (len - 1), (char *) data + 1);
				drop_worker(scan);
				scan->read_all = true;
				return false;

			default:
				elog(ERROR, "malformed message from a scan worker");
		}
	}
	return true;
}
