/*-------------------------------------------------------------------------
 * bulk.c
 *		Statements about several jobs, and those that only look.
 *
 * Runs: user backends, as the user.  A query that names jobs runs with the
 * rights of the user, read only; each job is then asked for as by itself.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/changefeed.h"
#include "catalog/query.h"
#include "catalog/rows.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/memutils.h"

#define LOOK_MS		250

int64
cdc_request_jobs(const char *query, CdcJobEvent event)
{
	int			n;
	int64	   *ids = cdc_query_job_ids(query, &n);

	for (int i = 0; i < n; i++)
		cdc_request_job(ids[i], event, NULL);
	return n;
}

int64
cdc_request_all_jobs(CdcJobEvent event)
{
	CdcCatalogUser user;
	Oid		   *owners;
	int64	   *ids;
	int			n;
	int64		count = 0;

	cdc_catalog_enter(&user);
	ids = cdc_job_ids_for(event, &owners, &n);
	cdc_catalog_leave(&user);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!has_privs_of_role(GetUserId(), owners[i]))
			continue;
		cdc_request_job(ids[i], event, NULL);
		count++;
	}
	return count;
}

void
cdc_await_end(int64 job_id)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext,
											  "cdc_sink look at a job",
											  ALLOCSET_SMALL_SIZES);

	for (;;)
	{
		MemoryContext old = MemoryContextSwitchTo(cxt);
		CdcJobLook	look;

		CHECK_FOR_INTERRUPTS();
		cdc_look_up_job(job_id, false, &look);
		MemoryContextSwitchTo(old);
		MemoryContextReset(cxt);
		if (cdc_job_is_terminal(look.status))
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LOOK_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	MemoryContextDelete(cxt);
}
