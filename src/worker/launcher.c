/*-------------------------------------------------------------------------
 * launcher.c
 *		Starts setup and lane workers, and starts them again.
 *
 * Which database gets what:
 *		a slot of ours exists			lane worker
 *		no slot, but one is wanted		setup worker, which makes the slot
 *		neither, but a look is wanted	lane worker, which finds out whether
 *										there is work
 * At server start every database is looked at once, a few at a time.  A
 * worker that fails is started again with growing pauses.
 *
 * Runs: one process, connected to no database: it reads pg_database and
 * shared memory only.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/leave.h"
#include "base/session.h"
#include "base/shmem.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "wal/slot.h"
#include "worker/launcher.h"

#define MAX_BACKOFF_MS		30000
#define CRASH_PAUSE_MS		3000
#define MAX_SWEEPS			4	/* looks at the same time */
#define IDLE_MS				5000

/* What the launcher itself remembers of each entry in shared memory. */
typedef struct Child
{
	Oid			dboid;
	BackgroundWorkerHandle *handle; /* NULL: none */
	bool		setup;
	TimestampTz started;
} Child;

static Child *children;
static List *to_sweep = NIL;	/* databases still to be looked at */

void
cdc_launcher_register(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "cdc_sink", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "cdc_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "cdc_sink launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "cdc_sink launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

static void
launcher_exit(int code, Datum arg)
{
	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	cdc_shared->launcher_latch = NULL;
	cdc_shared->launcher_pid = 0;
	LWLockRelease(cdc_shared->lock);
}

/* Every database one can connect to. */
static List *
list_databases(void)
{
	MemoryContext outer = CurrentMemoryContext;
	List	   *result = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database db = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;

		if (!db->datallowconn || db->datistemplate)
			continue;
		old = MemoryContextSwitchTo(outer);
		result = lappend_oid(result, db->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(outer);
	return result;
}

static void
start_worker(int i, bool setup)
{
	CdcLaneShared *lane = &cdc_shared->lanes[i];
	Child	   *child = &children[i];
	BackgroundWorker worker;
	Oid			dboid;
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	dboid = lane->dboid;
	lane->state = setup ? CDC_LANE_SETUP : CDC_LANE_STARTING;
	lane->sweep = false;
	LWLockRelease(cdc_shared->lock);

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "cdc_sink", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, setup ? "cdc_setup_main" : "cdc_lane_main",
			BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "cdc_sink %s of database %u",
			 setup ? "setup" : "lane", dboid);
	strlcpy(worker.bgw_type, setup ? "cdc_sink setup" : "cdc_sink lane", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(dboid);
	worker.bgw_notify_pid = MyProcPid;

	child->dboid = dboid;
	child->setup = setup;
	child->started = now;
	if (!RegisterDynamicBackgroundWorker(&worker, &child->handle))
	{
		child->handle = NULL;
		LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
		lane->state = CDC_LANE_NONE;
		lane->sweep = !setup;
		lane->not_before = TimestampTzPlusMilliseconds(now, 1000);
		strlcpy(lane->error,
				"no background worker is free for changefeeds: max_worker_processes is too low",
				sizeof(lane->error));
		LWLockRelease(cdc_shared->lock);
	}
}

/* A worker of this entry has ended: what now? */
static void
worker_ended(int i)
{
	CdcLaneShared *lane = &cdc_shared->lanes[i];
	Child	   *child = &children[i];
	TimestampTz now = GetCurrentTimestamp();
	CdcSlotState slot = cdc_slot_state(child->dboid);

	pfree(child->handle);
	child->handle = NULL;

	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	if (lane->used && lane->dboid == child->dboid)
	{
		bool		good;

		/* what it was there for is done */
		good = lane->state == CDC_LANE_CLOSED ||
			(child->setup && slot == CDC_SLOT_READY);
		lane->pid = 0;
		lane->latch = NULL;
		lane->state = CDC_LANE_NONE;
		if (good || TimestampDifferenceExceeds(child->started, now, 60000))
			lane->failures = 0;
		if (good)
			lane->not_before = 0;
		else
		{
			int			delay = 200 << Min(lane->failures, 8);

			lane->failures++;
			lane->not_before = TimestampTzPlusMilliseconds(now, Min(delay, MAX_BACKOFF_MS));

			/*
			 * Whoever waits has been told by lane->error.  Jobs that exist
			 * already are found by a look, which asks for the slot again.
			 */
			if (child->setup)
			{
				lane->wanted = false;
				lane->sweep = true;
			}
		}
		if (!lane->wanted && !lane->sweep && slot == CDC_SLOT_NONE)
			lane->used = false;
	}
	LWLockRelease(cdc_shared->lock);
}

/* One turn; returns how long to sleep at most. */
static long
launcher_turn(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = TimestampTzPlusMilliseconds(now, IDLE_MS);
	int			sweeps = 0;
	List	   *with_slot = cdc_slot_databases();
	ListCell   *lc;

	/* A database with a slot always has an entry. */
	foreach(lc, with_slot)
	{
		LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
		(void) cdc_shmem_lane(lfirst_oid(lc), true);
		LWLockRelease(cdc_shared->lock);
	}

	for (int i = 0; i < cdc_shared->nlanes; i++)
	{
		pid_t		pid;

		if (children[i].handle == NULL)
			continue;
		if (GetBackgroundWorkerPid(children[i].handle, &pid) == BGWH_STOPPED)
			worker_ended(i);
		else if (!list_member_oid(with_slot, children[i].dboid))
			sweeps++;
	}

	while (to_sweep != NIL && sweeps < MAX_SWEEPS)
	{
		CdcLaneShared *lane;

		LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
		lane = cdc_shmem_lane(linitial_oid(to_sweep), true);
		if (lane != NULL)
			lane->sweep = true;
		LWLockRelease(cdc_shared->lock);
		if (lane == NULL)
			break;				/* cdc_sink.max_lanes: later */
		to_sweep = list_delete_first(to_sweep);
		sweeps++;
	}

	for (int i = 0; i < cdc_shared->nlanes; i++)
	{
		CdcLaneShared *lane = &cdc_shared->lanes[i];
		bool		used;
		bool		wanted;
		bool		sweep;
		Oid			dboid;
		TimestampTz not_before;

		if (children[i].handle != NULL)
			continue;
		LWLockAcquire(cdc_shared->lock, LW_SHARED);
		used = lane->used;
		wanted = lane->wanted;
		sweep = lane->sweep;
		dboid = lane->dboid;
		not_before = Max(lane->not_before, lane->aside_until);
		LWLockRelease(cdc_shared->lock);

		if (!used)
			continue;
		if (not_before > now)
		{
			next = Min(next, not_before);
			continue;
		}
		if (cdc_slot_state(dboid) != CDC_SLOT_NONE)
			start_worker(i, false);
		else if (wanted)
			start_worker(i, true);
		else if (sweep)
			start_worker(i, false);
		else
		{
			LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
			if (!lane->wanted && !lane->sweep)
				lane->used = false;
			LWLockRelease(cdc_shared->lock);
		}
	}
	list_free(with_slot);
	return Max(1, TimestampDifferenceMilliseconds(now, next));
}

/*
 * After a crash of some process the postmaster starts everything again at
 * once, with shared memory new and all our back-off forgotten.  Should one of
 * our workers be the cause, a pause keeps the server usable meanwhile.
 */
static void
wait_after_crash(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until;

	if (cdc_shared->launcher_started ||
		!TimestampDifferenceExceeds(PgStartTime, now, CRASH_PAUSE_MS))
	{
		cdc_shared->launcher_started = true;
		return;
	}
	until = TimestampTzPlusMilliseconds(now, CRASH_PAUSE_MS);
	while ((now = GetCurrentTimestamp()) < until)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 TimestampDifferenceMilliseconds(now, until) + 1,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	cdc_shared->launcher_started = true;
}

void
cdc_launcher_main(Datum arg)
{
	cdc_leave_init();
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	MemoryContextSwitchTo(TopMemoryContext);
	children = palloc0(sizeof(Child) * cdc_shared->nlanes);

	before_shmem_exit(launcher_exit, 0);
	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	cdc_shared->launcher_latch = MyLatch;
	cdc_shared->launcher_pid = MyProcPid;
	LWLockRelease(cdc_shared->lock);

	wait_after_crash();
	to_sweep = list_databases();
	for (;;)
	{
		long		timeout;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		timeout = launcher_turn();

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 timeout, PG_WAIT_EXTENSION);
	}
}

/*
 * Setup worker: makes the slot of its database, which may wait for open
 * transactions as long as those take, and exits.
 */
static Oid	setup_dboid = InvalidOid;

void
cdc_lane_report(const char *error)
{
	CdcLaneShared *lane;

	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	lane = cdc_shmem_lane(setup_dboid != InvalidOid ? setup_dboid : MyDatabaseId, false);
	if (lane != NULL)
		strlcpy(lane->error, error, sizeof(lane->error));
	LWLockRelease(cdc_shared->lock);
}

void
cdc_setup_main(Datum arg)
{
	CdcLaneShared *lane;
	MemoryContext cxt;

	cdc_leave_init();
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	setup_dboid = DatumGetObjectId(arg);
	BackgroundWorkerInitializeConnectionByOid(setup_dboid, InvalidOid, 0);
	cdc_session_pin_settings();
	cxt = AllocSetContextCreate(TopMemoryContext, "cdc_sink setup",
								ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(cxt);

	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	lane = cdc_shmem_lane(setup_dboid, true);
	if (lane != NULL)
		lane->pid = MyProcPid;
	LWLockRelease(cdc_shared->lock);

	PG_TRY();
	{
		cdc_slot_create();
		cdc_lane_report("");
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		if (!ProcDiePending)
			cdc_lane_report(error->message);
		PG_RE_THROW();
	}
	PG_END_TRY();
	proc_exit(0);
}
