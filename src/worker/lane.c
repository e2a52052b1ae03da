/*-------------------------------------------------------------------------
 * lane.c
 *		The lane worker: decodes the WAL of one database for all of its
 *		changefeeds and pushes what it finds to their sinks.
 *
 * An unexpected ERROR ends the process: core has dropped the transaction
 * that was being decoded, so going on with the same context would lose it.
 * The launcher starts the lane again, from the checkpoint rows.
 *
 * Runs: one process for each database with changefeeds.  It never blocks on
 * a sink and answers its latch within 100 ms.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "access/xact.h"
#include "base/compat.h"
#include "base/err.h"
#include "base/guc.h"
#include "base/leave.h"
#include "base/session.h"
#include "catalog/job.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "scan/scan.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "table/toast.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "wal/decode.h"
#include "wal/slot.h"
#include "worker/marks.h"
#include "worker/lane.h"
#include "worker/launcher.h"

#define DECODE_BUDGET_US	10000
#define IDLE_WAIT_MS		100
#define CLOSE_AFTER_MS		500
#define FAREWELL_MS			5000	/* at most, for sinks that are being closed */

CdcLane		lane;

/* Not twice without a rewind, so that the lane gets on in any case. */
static bool may_abandon = true;

static void
lane_exit(int code, Datum arg)
{
	if (lane.shared == NULL)
		return;
	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&lane.shared->sleeping, 0);
	lane.shared->latch = NULL;
	lane.shared->pid = 0;
	if (lane.shared->state != CDC_LANE_CLOSED)
		lane.shared->state = CDC_LANE_NONE;
	LWLockRelease(cdc_shared->lock);
}

static void
set_state(CdcLaneState state)
{
	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	lane.shared->state = state;
	if (state == CDC_LANE_RUNNING)
	{
		lane.shared->error[0] = '\0';
		lane.shared->wanted = false;	/* there it is */
	}
	if (state == CDC_LANE_CLOSED &&
		pg_atomic_read_u32(&lane.shared->requests) == lane.seen_requests)
		lane.shared->wanted = lane.shared->sweep = false;
	LWLockRelease(cdc_shared->lock);
}

CdcFeed *
lane_find_feed(int64 job_id)
{
	dlist_iter	iter;

	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (feed->job_id == job_id)
			return feed;
	}
	return NULL;
}

void
lane_forget_feed(CdcFeed *feed)
{
	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	cdc_shmem_forget_feed(feed->job_id, MyDatabaseId);
	LWLockRelease(cdc_shared->lock);
	dlist_delete(&feed->node);
	cdc_feed_destroy(feed);
	cdc_tables_reset_subscribers();
}

/* What one feed may hold: its own share, or its part of the lane's. */
static void
set_feed_cap(void)
{
	size_t		n = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &lane.feeds)
	{
		if (dlist_container(CdcFeed, node, iter.cur)->mode != CDC_FEED_STOPPED)
			n++;
	}
	lane.feed_cap = Min((size_t) cdc_feed_memory, (size_t) cdc_lane_memory / Max(n, 1)) * 1024;
}

void
lane_pump_all(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &lane.feeds)
		cdc_feed_pump(dlist_container(CdcFeed, node, iter.cur));
}

/* Takes over rows of the scans; true while there are more. */
static bool
pump_scans(void)
{
	size_t		room = lane.feed_cap / 2;
	bool		more = false;
	dlist_iter	iter;

	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (feed->scan != NULL)
			more |= cdc_scan_pump(feed, room);
	}
	return more;
}

/* Waits for the latch, a sink, or the timeout. */
static void
lane_sleep(long timeout_ms)
{
	WaitEvent	events[4];

	(void) WaitEventSetWait(lane.wait_set, timeout_ms, events, lengthof(events),
							PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Feeds that were told to pause or cancel send nothing more from now on;
 * what becomes of them stands in their rows, which cannot be read while a
 * transaction is being decoded.
 */
void
lane_honour_stops(ReorderBufferTXN *txn)
{
	dlist_iter	iter;

	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (feed->held || feed->mode == CDC_FEED_STOPPED ||
			feed->mode == CDC_FEED_WAITING ||
			!cdc_feed_stop_requested(feed->job_id, MyDatabaseId))
			continue;
		if (lane_is_at_end(feed))
		{
			lane.want_visit |= !lane.in_callback;
			continue;			/* which its row is to tell */
		}
		feed->held = true;
		feed->wants_rewind = false;
		feed->end_pauses = feed->end_fails = false;
		feed->over = feed->over_stored = feed->last_resolved = false;
		if (feed->mode == CDC_FEED_ACTIVE)
			cdc_feed_detach(feed, txn);
		if (feed->sink != NULL)
			cdc_feed_pump(feed);	/* acks that are here already */
		cdc_feed_disconnect(feed);
		feed->mode = CDC_FEED_DETACHED;
		feed->end_error[0] = '\0';
		feed->event_lsn = InvalidXLogRecPtr;
	}
}

static bool
others_are_active(const CdcFeed *feed)
{
	dlist_iter	iter;

	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *other = dlist_container(CdcFeed, node, iter.cur);

		if (other != feed && other->mode == CDC_FEED_ACTIVE)
			return true;
	}
	return false;
}

/*
 * A sink that makes progress, but so little that within one transaction the
 * lane has done hardly anything but wait for it.
 */
static bool
too_slow(const CdcFeed *feed, TimestampTz begin, TimestampTz now)
{
	int64		waited = feed->waited_us + (now - begin);

	return waited > (int64) cdc_isolation_delay * 1000 &&
		waited > (now - feed->wait_begin) / 5 * 4;
}

/*
 * A feed's queue is full in the middle of a transaction.  Gives its sink
 * some time as long as it makes progress; then the feed is detached, so that
 * it does not hold up the others.
 */
void
lane_wait_for_room(CdcFeed *feed, ReorderBufferTXN *txn)
{
	size_t		cap = lane.feed_cap;
	uint64		acked = cdc_feed_progress(feed);
	TimestampTz begin = GetCurrentTimestamp();
	TimestampTz since = begin;

	if (feed->wait_lsn != txn->end_lsn)
	{
		feed->wait_lsn = txn->end_lsn;
		feed->wait_begin = begin;
		feed->waited_us = 0;
	}
	cdc_feed_seal(feed);
	for (;;)
	{
		TimestampTz now;

		lane_pump_all();
		if (cdc_feed_bytes(feed) <= cap - cap / 4)
		{
			feed->waited_us += GetCurrentTimestamp() - begin;
			return;
		}
		cdc_feed_relieve(feed);
		if (feed->sink != NULL && feed->ops->relieve == NULL)
			cdc_feed_flush(feed);

		now = GetCurrentTimestamp();
		if (cdc_feed_progress(feed) != acked)
		{
			acked = cdc_feed_progress(feed);
			since = now;
		}
		lane_honour_stops(txn);
		if (feed->mode != CDC_FEED_ACTIVE)
			return;
		if (TimestampDifferenceExceeds(since, now, cdc_isolation_delay) ||
			lane_place_may_have_changed(feed) ||
			(others_are_active(feed) && too_slow(feed, begin, now)))
		{
			cdc_feed_detach(feed, txn);
			return;
		}
		lane_publish(now);
		lane_sleep(20);
	}
}

/*
 * Feeds that were detached go back to before the transaction in any case, so
 * it is begun once more for them or for nobody.
 */
void
lane_abandon_if_useless(ReorderBufferTXN *txn)
{
	bool		waiting = false;
	dlist_iter	iter;

	if (!may_abandon || rbtxn_has_catalog_changes(txn) || lane.passing ||
		cdc_toast_pending())
		return;
	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (feed->mode == CDC_FEED_ACTIVE || feed->touched)
			return;
		waiting |= feed->mode == CDC_FEED_DETACHED && lane_place_may_have_changed(feed);
	}
	if (!waiting)
		return;
	ereport(DEBUG1,
			(errmsg_internal("transaction at %X/%X is decoded again, after a look at a foreign server",
							 LSN_FORMAT_ARGS(txn->end_lsn))));
	may_abandon = false;
	lane.want_visit = true;
	lane.visited_at = 0;
	lane.in_callback = false;
	cdc_tables_reset_subscribers();
	cdc_decoder_abandon();
}

/*
 * Goes back in the WAL for feeds that were detached; the others skip what
 * they have.  Between two transactions only.  True if the decoder has gone
 * back.
 */
static bool
rewind_if_wanted(void)
{
	XLogRecPtr	start = InvalidXLogRecPtr;
	XLogRecPtr	pos = cdc_decoder_position();
	dlist_iter	iter;

	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (feed->mode == CDC_FEED_DETACHED && feed->wants_rewind)
		{
			if (start == InvalidXLogRecPtr || feed->queued_lsn < start)
				start = feed->queued_lsn;
		}
	}
	if (start == InvalidXLogRecPtr)
		return false;

	may_abandon = true;
	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (feed->mode == CDC_FEED_ACTIVE && pos > feed->queued_lsn)
			feed->queued_lsn = pos; /* it has seen everything up to here */
		else if (feed->mode == CDC_FEED_DETACHED && feed->wants_rewind)
			feed->mode = CDC_FEED_ACTIVE;
		feed->wants_rewind = false;
	}
	cdc_tables_reset_subscribers(); /* and what is kept of their rows */
	if (start < pos)
	{
		cdc_decoder_close();
		cdc_decoder_open(start);
	}
	return true;
}

/*
 * A lane without jobs drops its slot.  Whoever creates a job holds a lock on
 * the definitions from before it asks for the lane to the end of its
 * transaction, so the answer it got stays true.
 */
static void
close_if_unused(TimestampTz now)
{
	if (!dlist_is_empty(&lane.feeds))
	{
		lane.idle_since = 0;
		return;
	}
	if (lane.idle_since == 0)
		lane.idle_since = now;
	if (!lane.extension_gone &&
		(!TimestampDifferenceExceeds(lane.idle_since, now, CLOSE_AFTER_MS) ||
		 (cdc_sinks_closing() > 0 &&
		  !TimestampDifferenceExceeds(lane.idle_since, now, FAREWELL_MS)) ||
		 history_keeps_lane(lane.idle_since, now)))
		return;

	InvalidateSystemCaches();
	StartTransactionCommand();
	if (!lane.extension_gone)
	{
		bool		live;

		if (!ConditionalLockRelationOid(lane.definition_relid, ExclusiveLock))
		{
			CommitTransactionCommand();
			lane.idle_since = now;
			return;
		}
		PushActiveSnapshot(GetLatestSnapshot());
		live = cdc_job_any_live();
		PopActiveSnapshot();
		if (live)
		{
			CommitTransactionCommand();
			lane.idle_since = now;
			lane.want_visit = true;
			return;
		}
	}
	else
	{
		/*
		 * No table to lock: first nobody may rely on this lane any more, then
		 * the extension must still be gone.
		 */
		set_state(CDC_LANE_CLOSED);
		if (visit_extension_is_back())
		{
			set_state(CDC_LANE_RUNNING);
			CommitTransactionCommand();
			return;
		}
	}
	cdc_decoder_close();
	cdc_slot_drop();
	set_state(CDC_LANE_CLOSED);
	CommitTransactionCommand();
	proc_exit(0);
}

/* Opens the decoder, or finds that there is nothing to decode and leaves. */
static void
lane_start(void)
{
	CdcSlotState slot = cdc_slot_state(MyDatabaseId);
	dlist_iter	iter;

	lane.floor = cdc_slot_confirmed();
	visit_catalog();
	if (lane.extension_gone || (dlist_is_empty(&lane.feeds) && slot == CDC_SLOT_NONE))
	{
		cdc_slot_drop();
		set_state(CDC_LANE_CLOSED);
		proc_exit(0);
	}
	if (slot != CDC_SLOT_READY)
	{
		if (slot == CDC_SLOT_LOST)
		{
			visit_slot_lost("the server has removed WAL that the changefeed still needs (max_slot_wal_keep_size)");
			cdc_slot_drop();
		}
		else
			visit_slot_lost(CDC_SLOT_GONE);
		proc_exit(0);
	}

	/*
	 * From where the slot stands, not from the smallest position that a row
	 * tells: a feed whose creation was decoded and whose row was not yet
	 * visible is known to nobody now, and the slot was not confirmed past
	 * it.  The others skip what they have.
	 */
	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (feed->mode != CDC_FEED_DETACHED)
			continue;
		feed->mode = CDC_FEED_ACTIVE;
		feed->wants_rewind = false;
	}
	cdc_decoder_open(InvalidXLogRecPtr);
	catalog_enter();
	history_load(cdc_decoder_confirmed());
	catalog_leave();
	set_state(CDC_LANE_RUNNING);
	lane.want_visit = true;
}

/* Fetches the values that rows of the last transactions wait for. */
static void
resolve_deferred(void)
{
	dlist_iter	iter;

	catalog_enter();
	cdc_toast_resolve(stream_lose_row);
	catalog_leave();
	dlist_foreach(iter, &lane.feeds)
		dlist_container(CdcFeed, node, iter.cur)->deferred_bytes = 0;
}

/* A host that may no longer be connected to is noticed at the next opening. */
static void
reload_settings(void)
{
	char	   *hosts = pstrdup(cdc_allowed_sink_hosts);
	dlist_iter	iter;

	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	if (strcmp(hosts, cdc_allowed_sink_hosts) == 0)
		return;
	dlist_foreach(iter, &lane.feeds)
		lane_reopen_sink(dlist_container(CdcFeed, node, iter.cur));
}

static void
lane_loop(void)
{
	bool		more = false;

	for (;;)
	{
		TimestampTz now;
		bool		room;

		MemoryContextSwitchTo(lane.turn_cxt);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
			reload_settings();
		now = GetCurrentTimestamp();

		if (visit_is_due(now))
			visit_catalog();
		lane_honour_stops(NULL);
		set_feed_cap();
		more = cdc_decode_some(DECODE_BUDGET_US);
		if (cdc_toast_pending())
			resolve_deferred();
		stream_store_dead_letters();
		now = GetCurrentTimestamp();
		more |= rewind_if_wanted();
		more |= pump_scans();
		room = lane_serve_feeds(now);
		checkpoint_if_due(now, !more);
		lane_publish(now);
		close_if_unused(now);
		MemoryContextReset(lane.turn_cxt);

		if (more || room)
			continue;
		pg_atomic_write_u32(&lane.shared->sleeping, 1);
		pg_memory_barrier();
		if (cdc_wal_flushed() <= cdc_decoder_read_ptr())
			lane_sleep(lane.want_visit ? 10 : IDLE_WAIT_MS);
		else
			lane_sleep(1);
		pg_atomic_write_u32(&lane.shared->sleeping, 0);
	}
}

static void
lane_init(Oid dboid)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	cdc_session_pin_settings();
	CurrentResourceOwner = NULL;

	dlist_init(&lane.feeds);
	lane.turn_cxt = AllocSetContextCreate(TopMemoryContext, "cdc_sink turn",
										  ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(lane.turn_cxt);
	cdc_feed_epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (cdc_feed_epoll_fd < 0)
		elog(ERROR, "could not create epoll descriptor: %m");
	lane.wait_set = cdc_compat_wait_event_set(3);
	AddWaitEventToSet(lane.wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(lane.wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(lane.wait_set, WL_SOCKET_READABLE, cdc_feed_epoll_fd, NULL, NULL);

	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	lane.shared = cdc_shmem_lane(dboid, true);
	if (lane.shared != NULL)
	{
		lane.shared->pid = MyProcPid;
		lane.shared->latch = MyLatch;
		lane.shared->state = CDC_LANE_STARTING;
	}
	LWLockRelease(cdc_shared->lock);
	if (lane.shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases have changefeeds"),
				 errhint("Raise cdc_sink.max_lanes.")));
	before_shmem_exit(lane_exit, 0);
	stream_init();
}

void
cdc_lane_main(Datum arg)
{
	cdc_leave_init();
	lane_init(DatumGetObjectId(arg));

	PG_TRY();
	{
		lane_start();
		lane_loop();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(TopMemoryContext);
		error = CopyErrorData();
		if (!ProcDiePending)
		{
			/* what is wrong with a value may quote it */
			cdc_lane_report(ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
							ERRCODE_DATA_EXCEPTION ?
							"a row could not be encoded, see the server log" :
							error->message);
			if (!cdc_error_is_passing(error->sqlerrcode))
				stream_note_poison();
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
}
