/*-------------------------------------------------------------------------
 * shmem.c
 *		Shared memory of launcher, workers and backends; see shmem.h.
 *
 * Runs: hooks in the postmaster, the commit callback in every backend, the
 * rest anywhere.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/shmem.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

CdcShared  *cdc_shared = NULL;

static shmem_startup_hook_type prev_shmem_startup = NULL;
#ifdef CDC_HAVE_SHMEM_REQUEST_HOOK
static shmem_request_hook_type prev_shmem_request = NULL;
#endif

static bool commit_has_xid = false;
static bool wake_at_commit = false;

/*
 * Jobs to stop at commit.  More than fit are stopped a little later, when the
 * lane reads their rows.
 */
#define MAX_STOPS	32
static int64 stops[MAX_STOPS];
static int	nstops = 0;

/* The hold that this backend's transaction has taken, -1: none. */
static int	my_hold = -1;

static Size
shmem_size(void)
{
	Size		size;

	size = MAXALIGN(offsetof(CdcShared, lanes));
	size = add_size(size, mul_size(cdc_max_lanes, sizeof(CdcLaneShared)));
	size = MAXALIGN(size);
	size = add_size(size, mul_size(cdc_max_feeds, sizeof(CdcFeedShared)));
	return size;
}

static void
shmem_request(void)
{
#ifdef CDC_HAVE_SHMEM_REQUEST_HOOK
	if (prev_shmem_request)
		prev_shmem_request();
#endif
	RequestAddinShmemSpace(shmem_size());
	RequestNamedLWLockTranche("cdc_sink", 1);
}

static void
shmem_startup(void)
{
	bool		found;

	if (prev_shmem_startup)
		prev_shmem_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	cdc_shared = ShmemInitStruct("cdc_sink", shmem_size(), &found);
	if (!found)
	{
		Size		lanes = mul_size(cdc_max_lanes, sizeof(CdcLaneShared));

		memset(cdc_shared, 0, shmem_size());
		cdc_shared->lock = &(GetNamedLWLockTranche("cdc_sink"))->lock;
		cdc_shared->nlanes = cdc_max_lanes;
		cdc_shared->nfeeds = cdc_max_feeds;
		cdc_shared->feeds = (CdcFeedShared *)
			((char *) cdc_shared +
			 MAXALIGN(MAXALIGN(offsetof(CdcShared, lanes)) + lanes));
		for (int i = 0; i < cdc_max_lanes; i++)
		{
			pg_atomic_init_u32(&cdc_shared->lanes[i].sleeping, 0);
			pg_atomic_init_u32(&cdc_shared->lanes[i].requests, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

/*
 * A lane that sleeps is woken by whoever commits in its database.  The
 * latch is read without the lock: a stale pointer is the latch of a process
 * slot, which stays valid memory for ever, and a spurious set does no harm.
 */
static void
wake_sleeping_lane(void)
{
	for (int i = 0; i < cdc_shared->nlanes; i++)
	{
		CdcLaneShared *lane = &cdc_shared->lanes[i];

		if (lane->used && lane->dboid == MyDatabaseId)
		{
			Latch	   *latch = lane->latch;

			if (latch != NULL && pg_atomic_read_u32(&lane->sleeping) != 0)
				SetLatch(latch);
			return;
		}
	}
}

static void
flag_stops(void)
{
	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < nstops; i++)
	{
		CdcFeedShared *feed = cdc_shmem_feed(stops[i], MyDatabaseId, false);

		if (feed != NULL)
			feed->stop_requested = true;
	}
	nstops = 0;
	LWLockRelease(cdc_shared->lock);
}

/*
 * The transaction is over: the lane lets go once it has decoded it, at once
 * if there is nothing to decode.  A prepared one is not waited for: its feed
 * may find that the history has gone.
 */
static void
settle_hold(bool committed)
{
	CdcLaneShared *lane;

	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	lane = cdc_shmem_lane(MyDatabaseId, false);
	if (lane != NULL)
	{
		/* 0 when it has written nothing, so that there is nothing to wait for */
		if (committed)
			lane->holds[my_hold].until = Max(XactLastCommitEnd, 1);
		else
			lane->holds[my_hold].lsn = InvalidXLogRecPtr;
	}
	my_hold = -1;
	LWLockRelease(cdc_shared->lock);
}

bool
cdc_hold_history(XLogRecPtr *lsn, CdcHlc *oldest)
{
	CdcLaneShared *lane;
	bool		held = false;

	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	lane = cdc_shmem_lane(MyDatabaseId, false);
	if (lane != NULL)
	{
		for (int i = 0; i < CDC_MAX_CURSOR_HOLDS && my_hold < 0; i++)
		{
			if (lane->holds[i].lsn != InvalidXLogRecPtr)
				continue;
			lane->holds[i].lsn = lane->confirmed_lsn;
			lane->holds[i].until = InvalidXLogRecPtr;
			my_hold = i;
		}
		if (my_hold >= 0)
		{
			held = lane->holds[my_hold].lsn != InvalidXLogRecPtr;
			*lsn = lane->confirmed_lsn;
			*oldest = lane->oldest_cursor;
		}
	}
	LWLockRelease(cdc_shared->lock);
	return held;
}

XLogRecPtr
cdc_history_held(CdcLaneShared *lane, XLogRecPtr decoded)
{
	XLogRecPtr	least = PG_UINT64_MAX;

	for (int i = 0; i < CDC_MAX_CURSOR_HOLDS; i++)
	{
		CdcCursorHold *hold = &lane->holds[i];

		if (hold->lsn == InvalidXLogRecPtr)
			continue;
		if (hold->until != InvalidXLogRecPtr && decoded >= hold->until)
			hold->lsn = InvalidXLogRecPtr;
		else
			least = Min(least, hold->lsn);
	}
	return least;
}

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			commit_has_xid = TransactionIdIsValid(GetTopTransactionIdIfAny());
			break;

		case XACT_EVENT_COMMIT:
			if (cdc_shared == NULL)
				break;
			if (wake_at_commit)
			{
				wake_at_commit = false;
				flag_stops();
				cdc_wake_lane(MyDatabaseId);
			}
			else if (commit_has_xid)
				wake_sleeping_lane();
			commit_has_xid = false;
			if (my_hold >= 0)
				settle_hold(true);
			break;

		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			commit_has_xid = false;
			wake_at_commit = false;
			nstops = 0;
			if (my_hold >= 0)
				settle_hold(false);
			break;

		default:
			break;
	}
}

void
cdc_shmem_init(void)
{
#ifdef CDC_HAVE_SHMEM_REQUEST_HOOK
	prev_shmem_request = shmem_request_hook;
	shmem_request_hook = shmem_request;
#else
	shmem_request();
#endif
	prev_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
	RegisterXactCallback(xact_callback, NULL);
}

CdcLaneShared *
cdc_shmem_lane(Oid dboid, bool create)
{
	CdcLaneShared *free_lane = NULL;

	for (int i = 0; i < cdc_shared->nlanes; i++)
	{
		CdcLaneShared *lane = &cdc_shared->lanes[i];

		if (lane->used && lane->dboid == dboid)
			return lane;
		if (!lane->used && free_lane == NULL)
			free_lane = lane;
	}
	if (!create || free_lane == NULL)
		return NULL;

	free_lane->dboid = dboid;
	free_lane->state = CDC_LANE_NONE;
	free_lane->wanted = false;
	free_lane->sweep = false;
	free_lane->pid = 0;
	free_lane->latch = NULL;
	free_lane->failures = 0;
	free_lane->not_before = 0;
	free_lane->aside_until = 0;
	free_lane->error[0] = '\0';
	free_lane->decoded_lsn = InvalidXLogRecPtr;
	free_lane->confirmed_lsn = InvalidXLogRecPtr;
	free_lane->poison_lsn = InvalidXLogRecPtr;
	memset(&free_lane->oldest_cursor, 0, sizeof(CdcHlc));
	memset(free_lane->holds, 0, sizeof(free_lane->holds));
	pg_atomic_write_u32(&free_lane->sleeping, 0);
	pg_write_barrier();
	free_lane->used = true;
	return free_lane;
}

CdcFeedShared *
cdc_shmem_feed(int64 job_id, Oid dboid, bool create)
{
	CdcFeedShared *free_feed = NULL;

	for (int i = 0; i < cdc_shared->nfeeds; i++)
	{
		CdcFeedShared *feed = &cdc_shared->feeds[i];

		if (feed->job_id == job_id && feed->dboid == dboid)
			return feed;
		if (feed->job_id == 0 && free_feed == NULL)
			free_feed = feed;
	}
	if (!create || free_feed == NULL)
		return NULL;
	memset(free_feed, 0, sizeof(CdcFeedShared));
	free_feed->job_id = job_id;
	free_feed->dboid = dboid;
	return free_feed;
}

void
cdc_shmem_forget_feed(int64 job_id, Oid dboid)
{
	CdcFeedShared *feed = cdc_shmem_feed(job_id, dboid, false);

	if (feed != NULL)
		memset(feed, 0, sizeof(CdcFeedShared));
}

void
cdc_wake_lane(Oid dboid)
{
	CdcLaneShared *lane;

	/*
	 * May run in a commit callback, where an ERROR would be a PANIC: nothing
	 * below can raise one.
	 */
	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	lane = cdc_shmem_lane(dboid, true);
	if (lane != NULL)
	{
		pg_atomic_fetch_add_u32(&lane->requests, 1);
		if (lane->latch != NULL)
			SetLatch(lane->latch);
		else
			lane->sweep = true;
	}
	if (cdc_shared->launcher_latch != NULL)
		SetLatch(cdc_shared->launcher_latch);
	LWLockRelease(cdc_shared->lock);
}

void
cdc_wake_lane_at_commit(void)
{
	wake_at_commit = true;
}

void
cdc_stop_feed_at_commit(int64 job_id)
{
	if (nstops < MAX_STOPS)
		stops[nstops++] = job_id;
	cdc_wake_lane_at_commit();
}

bool
cdc_feed_stop_requested(int64 job_id, Oid dboid)
{
	CdcFeedShared *feed;
	bool		stop;

	LWLockAcquire(cdc_shared->lock, LW_SHARED);
	feed = cdc_shmem_feed(job_id, dboid, false);
	stop = feed != NULL && feed->stop_requested;
	LWLockRelease(cdc_shared->lock);
	return stop;
}
