/*-------------------------------------------------------------------------
 * query.c
 *		Ids of jobs, for statements about several of them; see query.h.
 *
 * Runs: user backends.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "catalog/query.h"
#include "catalog/rows.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

/* More jobs than a server can have live ones. */
#define MAX_IDS		65536

static int64
number_of(Oid type, Datum value)
{
	switch (type)
	{
		case INT8OID:
			return DatumGetInt64(value);
		case INT4OID:
			return DatumGetInt32(value);
		default:
			return DatumGetInt16(value);
	}
}

static bool
is_known(const int64 *ids, int n, int64 id)
{
	for (int i = 0; i < n; i++)
	{
		if (ids[i] == id)
			return true;
	}
	return false;
}

int64 *
cdc_query_job_ids(const char *query, int *n)
{
	MemoryContext caller = CurrentMemoryContext;
	Portal		portal;
	int64	   *ids = NULL;
	int			rc;

	*n = 0;
	if ((rc = SPI_connect()) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed: %s", SPI_result_code_string(rc));

	/* one statement that gives rows, and nothing that writes */
	portal = SPI_cursor_open_with_args(NULL, query, 0, NULL, NULL, NULL, true, 0);
	SPI_cursor_fetch(portal, true, MAX_IDS + 1);
	if (SPI_processed > MAX_IDS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("query gives more than %d jobs", MAX_IDS)));
	if (SPI_tuptable->tupdesc->natts >= 1)
	{
		Oid			type = SPI_gettypeid(SPI_tuptable->tupdesc, 1);

		if (type != INT8OID && type != INT4OID && type != INT2OID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("query does not give ids of jobs"),
					 errhint("Its first column must be a number, as in (SELECT job_id FROM changefeed_jobs WHERE ...).")));
		ids = MemoryContextAlloc(caller, sizeof(int64) * Max(SPI_processed, 1));
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;
			Datum		value = SPI_getbinval(SPI_tuptable->vals[i],
											  SPI_tuptable->tupdesc, 1, &isnull);

			CHECK_FOR_INTERRUPTS();
			if (!isnull && !is_known(ids, *n, number_of(type, value)))
				ids[(*n)++] = number_of(type, value);
		}
	}
	SPI_cursor_close(portal);
	SPI_finish();
	return ids;
}

int64 *
cdc_job_ids_for(CdcJobEvent event, Oid **owners, int *n)
{
	static const char sql[] =
	"SELECT job_id, owner FROM cdc_sink.job"
	" WHERE status = ANY (string_to_array($1, ',')) ORDER BY job_id";
	Oid			type = TEXTOID;
	Datum		states = CStringGetTextDatum(event == CDC_EV_PAUSE ? "pending,running" :
											 event == CDC_EV_RESUME ? "paused,pause-requested" :
											 "pending,running,pause-requested,paused");
	MemoryContext caller = CurrentMemoryContext;
	int			nest = cdc_rows_begin();
	int64	   *ids;

	*n = (int) cdc_rows_run(sql, 1, &type, &states, NULL, SPI_OK_SELECT);
	ids = MemoryContextAlloc(caller, sizeof(int64) * Max(*n, 1));
	*owners = MemoryContextAlloc(caller, sizeof(Oid) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		ids[i] = DatumGetInt64(cdc_rows_value(i, 1));
		(*owners)[i] = DatumGetObjectId(cdc_rows_value(i, 2));
	}
	cdc_rows_end(nest);
	return ids;
}
