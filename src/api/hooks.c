/*-------------------------------------------------------------------------
 * hooks.c
 *		Statements of others that have to know of changefeeds: DROP DATABASE.
 *
 * A lane is connected to its database and holds a slot there; core refuses
 * DROP DATABASE for either reason, the slot even before WITH (FORCE) ends
 * anybody's connection.  Here the plain statement is refused in words that
 * help, and WITH (FORCE) asks the lane to step aside first.  The lane keeps
 * its slot, which core drops with the database; if the statement fails after
 * all, the launcher starts the lane again and nothing is lost.
 *
 * Runs: user backends.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "api/hooks.h"
#include "base/compat.h"
#include "base/shmem.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/utility.h"
#include "utils/timestamp.h"

/* How long a lane stays away, and how long we wait for it to go. */
#define ASIDE_MS	10000
#define LEAVE_MS	5000

static ProcessUtility_hook_type prev_utility = NULL;

static bool
wants_force(const DropdbStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->options)
	{
		DefElem    *opt = (DefElem *) lfirst(lc);

		if (strcmp(opt->defname, "force") == 0)
			return true;
	}
	return false;
}

/* Process of the database's lane or setup worker; 0: none. */
static pid_t
lane_pid(Oid dboid, bool step_aside)
{
	CdcLaneShared *lane;
	pid_t		pid = 0;

	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	lane = cdc_shmem_lane(dboid, false);
	if (lane != NULL && lane->state != CDC_LANE_NONE &&
		lane->state != CDC_LANE_CLOSED)
		pid = lane->pid;
	if (lane != NULL && step_aside)
		lane->aside_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
														ASIDE_MS);
	LWLockRelease(cdc_shared->lock);
	return pid;
}

static void
before_drop_database(const DropdbStmt *stmt)
{
	Oid			dboid = get_database_oid(stmt->dbname, true);
	bool		force = wants_force(stmt);
	TimestampTz deadline;
	pid_t		pid;

	if (!OidIsValid(dboid) || dboid == MyDatabaseId)
		return;					/* core has the right words */
	pid = lane_pid(dboid, false);
	if (pid == 0)
		return;
	if (!force)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("database \"%s\" has changefeeds", stmt->dbname),
				 errhint("Cancel its changefeeds first, or use DROP DATABASE ... WITH (FORCE).")));

	/* Only who may drop the database may send its lane away. */
	if (!cdc_compat_owns_database(dboid, GetUserId()))
		return;
	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LEAVE_MS);
	while ((pid = lane_pid(dboid, true)) != 0 &&
		   GetCurrentTimestamp() < deadline)
	{
		PGPROC	   *proc = BackendPidGetProc(pid);

		if (proc != NULL && proc->databaseId == dboid)
			(void) kill(pid, SIGTERM);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 50, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
hook_utility(PlannedStmt *pstmt, const char *query, CDC_UTILITY_ARGS)
{
	if (cdc_shared != NULL && IsA(pstmt->utilityStmt, DropdbStmt))
		before_drop_database((DropdbStmt *) pstmt->utilityStmt);
	if (prev_utility)
		prev_utility(pstmt, query, CDC_UTILITY_PASS);
	else
		standard_ProcessUtility(pstmt, query, CDC_UTILITY_PASS);
}

void
cdc_hooks_init(void)
{
	prev_utility = ProcessUtility_hook;
	ProcessUtility_hook = hook_utility;
}
