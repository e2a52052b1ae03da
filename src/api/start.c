/*-------------------------------------------------------------------------
 * start.c
 *		Asking for the lane on behalf of changefeed_create().
 *
 * A feed starts at the commit of its own creation.  For that the database's
 * slot must be consistent before the definition is written, and making a
 * slot waits for every transaction that is open in the cluster.  So the slot
 * is made by a setup worker, and the backend waits here, bounded, and never
 * for a slot to be made while it holds a transaction id itself: the worker
 * would wait for that one, and no deadlock detector sees it.
 *
 * The definition table's lock is taken before the lane is asked: a lane
 * closes only while it holds a lock that conflicts, so a lane that is there
 * after we have ours stays until we have committed.
 *
 * Runs: user backends.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "api/start.h"
#include "base/guc.h"
#include "base/shmem.h"
#include "catalog/history.h"
#include "catalog/namespace.h"
#include "catalog/rows.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#define HOLD_WAIT_MS	5000	/* for one of the holds of the lane */

/* The lane's entry as it was when looked at. */
typedef struct LaneLook
{
	bool		room;			/* there is an entry */
	bool		feed_room;		/* and one for a further feed */
	bool		launcher;		/* the launcher lives */
	CdcLaneState state;
	pid_t		pid;			/* of its worker */
	char		error[CDC_ERROR_SIZE];
} LaneLook;

void
cdc_start_check_server(void)
{
	if (cdc_shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cdc_sink is not loaded at server start"),
				 errhint("Add cdc_sink to shared_preload_libraries and restart the server.")));
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("recovery is in progress"),
				 errhint("Changefeeds can only be created on the primary server.")));
	if (wal_level < WAL_LEVEL_LOGICAL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("changefeeds need wal_level >= logical"),
				 errhint("Set wal_level to logical and restart the server.")));
}

/*
 * Looks at the lane, keeps the request for one alive, and on the first look
 * drops what an earlier attempt left, so that the launcher tries at once.
 */
static void
look_at_lane(bool first, LaneLook *look)
{
	CdcLaneShared *lane;

	memset(look, 0, sizeof(*look));
	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	look->launcher = cdc_shared->launcher_pid != 0;
	for (int i = 0; i < cdc_shared->nfeeds && !look->feed_room; i++)
		look->feed_room = cdc_shared->feeds[i].job_id == 0;
	lane = cdc_shmem_lane(MyDatabaseId, true);
	if (lane != NULL)
	{
		look->room = true;
		if (first && lane->state != CDC_LANE_RUNNING)
		{
			lane->error[0] = '\0';
			lane->not_before = 0;
		}
		if (lane->state != CDC_LANE_RUNNING && lane->error[0] == '\0')
			lane->wanted = true;
		look->state = lane->state;
		look->pid = lane->pid;
		strlcpy(look->error, lane->error, sizeof(look->error));
	}
	if (look->state != CDC_LANE_RUNNING && cdc_shared->launcher_latch != NULL)
		SetLatch(cdc_shared->launcher_latch);
	LWLockRelease(cdc_shared->lock);
}

char *
cdc_start_describe_blocker(CdcLaneState state, pid_t worker)
{
	ArrayType  *array;
	pid_t		blocker;
	PGPROC	   *proc;
	char	   *dbname;

	if (state != CDC_LANE_SETUP || worker == 0)
		return NULL;

	/* the worker waits in the lock manager for one transaction's end */
	array = DatumGetArrayTypeP(DirectFunctionCall1(pg_blocking_pids,
												   Int32GetDatum((int32) worker)));
	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) == 0)
		return NULL;
	blocker = *(int32 *) ARR_DATA_PTR(array);
	if (blocker == 0)
		return pstrdup("a prepared transaction (see pg_prepared_xacts)");
	proc = BackendPidGetProc(blocker);
	if (proc == NULL)
		return NULL;
	dbname = OidIsValid(proc->databaseId) ? get_database_name(proc->databaseId) : NULL;
	return dbname ?
		psprintf("the transaction of process %d (database \"%s\")", (int) blocker, dbname) :
		psprintf("the transaction of process %d", (int) blocker);
}

static void
lock_definitions(void)
{
	Oid			relid = get_relname_relid("definition",
										  get_namespace_oid("cdc_sink", false));

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table cdc_sink.definition does not exist")));
	LockRelationOid(relid, RowExclusiveLock);
}

static void
refuse_without_lane(const LaneLook *look, bool has_xid)
{
	char	   *blocker = cdc_start_describe_blocker(look->state, look->pid);

	if (!look->launcher)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("the launcher of cdc_sink is not running"),
				 errhint("See the server's log; max_worker_processes may be too low.")));
	if (has_xid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the first changefeed of a database cannot be created in a transaction that has written"),
				 errhint("Create it in a transaction of its own.")));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("changefeed could not be started within cdc_sink.start_timeout"),
			 blocker ? errdetail("It waits for %s to end.", blocker) : 0,
			 errhint("Try again when long transactions have ended, or use initial_scan = 'yes'.")));
}

bool
cdc_start_request(bool later_is_fine)
{
	bool		has_xid = TransactionIdIsValid(GetTopTransactionIdIfAny());
	TimestampTz end;
	LaneLook	look;
	int			nap = 5;
	char	   *blocker;

	lock_definitions();
	end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), cdc_start_timeout);
	look_at_lane(true, &look);

	for (;;)
	{
		if (!look.room)
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("too many databases have changefeeds"),
					 errhint("Increase cdc_sink.max_lanes and restart the server.")));
		if (!look.feed_room)
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("too many changefeeds"),
					 errhint("Increase cdc_sink.max_feeds and restart the server.")));
		if (look.state == CDC_LANE_RUNNING)
			return true;
		if (look.error[0] != '\0')
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("changefeed could not be started: %s", look.error)));
		/* the slot would wait for our own transaction */
		if (has_xid && look.state == CDC_LANE_SETUP)
			refuse_without_lane(&look, true);
		if (GetCurrentTimestamp() >= end)
			break;

		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 nap, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		nap = Min(nap * 2, 100);
		look_at_lane(false, &look);
	}

	if (!later_is_fine || has_xid || !look.launcher)
		refuse_without_lane(&look, has_xid);

	blocker = cdc_start_describe_blocker(look.state, look.pid);
	ereport(NOTICE,
			(errmsg("changefeed will start later"),
			 blocker ? errdetail("It waits for %s to end.", blocker) :
			 errdetail("Its worker is still starting."),
			 errhint("The view changefeed_jobs tells when it runs.")));
	return false;
}

void
cdc_start_cursor(const CdcMoment *cursor, const CdcDefinition *def)
{
	XLogRecPtr	lsn;
	CdcHlc		oldest;
	CdcMoment	least = {InvalidXLogRecPtr, {0, 0}};
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), HOLD_WAIT_MS);
	bool		found;

	/* others' are free again when the worker has come to where they started */
	while (!cdc_hold_history(&lsn, &oldest))
	{
		if (GetCurrentTimestamp() >= end)
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("too many changefeeds with a cursor are being created"),
					 errhint("Try again in a moment.")));
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 20, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	if (cursor->lsn != InvalidXLogRecPtr)
	{
		found = cursor->lsn >= lsn;
		least.lsn = lsn;
	}
	else
	{
		found = cdc_hlc_cmp(cursor->hlc, oldest) >= 0;
		least.hlc = oldest;
	}
	if (!found && cursor->lsn == InvalidXLogRecPtr)
	{
		CdcCatalogUser user;
		Oid		   *relids = palloc(sizeof(Oid) * Max(def->ntargets, 1));

		for (int i = 0; i < def->ntargets; i++)
			relids[i] = def->targets[i].relid;
		cdc_catalog_enter(&user);
		found = cdc_history_exact(cursor->hlc, lsn, relids,
								  def->ntargets) != InvalidXLogRecPtr;
		cdc_catalog_leave(&user);
	}
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("could not create changefeed: cursor %s is older than the GC threshold %s",
						cdc_moment_print(cursor), cdc_moment_print(&least)),
				 errdetail("The changes after it are not kept any more."),
				 errhint("Use a more recent cursor; cdc_sink.history_retention keeps changes for later cursors.")));
}

bool
cdc_start_lane_lives(void)
{
	CdcLaneShared *lane;
	bool		lives = false;

	if (cdc_shared == NULL)
		return false;
	LWLockAcquire(cdc_shared->lock, LW_SHARED);
	lane = cdc_shmem_lane(MyDatabaseId, false);
	if (lane != NULL)
		lives = lane->state == CDC_LANE_STARTING ||
			lane->state == CDC_LANE_RUNNING || lane->state == CDC_LANE_CLOSED;
	LWLockRelease(cdc_shared->lock);
	return lives;
}
