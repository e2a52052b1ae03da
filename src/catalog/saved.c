/*-------------------------------------------------------------------------
 * saved.c
 *		Rows of the table that dumps keep; see saved.h.
 *
 * Runs: backends; lane workers between two drains (cdc_saved_strand()).
 * Never in a decoding callback.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "catalog/rows.h"
#include "catalog/saved.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

void
cdc_saved_write(int64 job_id, Oid owner, const char *statement)
{
	static const Oid types[] = {INT8OID, TEXTOID, TEXTOID, INT8OID};
	Datum		values[4];
	int			nest = cdc_rows_begin();

	values[0] = Int64GetDatum(job_id);
	values[1] = CStringGetTextDatum(GetUserNameFromId(owner, false));
	values[2] = CStringGetTextDatum(statement);
	values[3] = Int64GetDatum((int64) GetSystemIdentifier());
	cdc_rows_run("INSERT INTO cdc_sink.saved (job_id, owner, statement, system_id)"
				 " VALUES ($1, $2, $3, $4) ON CONFLICT (job_id) DO UPDATE"
				 " SET owner = excluded.owner, statement = excluded.statement,"
				 " system_id = excluded.system_id",
				 4, types, values, NULL, SPI_OK_INSERT);
	cdc_rows_end(nest);
}

bool
cdc_saved_find(int64 job_id, CdcSaved *saved)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext spi;
	int			nest = cdc_rows_begin();
	bool		found;

	memset(saved, 0, sizeof(CdcSaved));
	found = cdc_rows_run_for(job_id, "SELECT owner, statement FROM cdc_sink.saved s"
							 " WHERE job_id = $1 AND NOT EXISTS"
							 " (SELECT FROM cdc_sink.job j WHERE j.job_id = s.job_id)",
							 SPI_OK_SELECT) > 0;
	if (found)
	{
		spi = MemoryContextSwitchTo(caller);
		saved->owner_name = TextDatumGetCString(cdc_rows_value(0, 1));
		saved->owner = get_role_oid(saved->owner_name, true);
		saved->statement = TextDatumGetCString(cdc_rows_value(0, 2));
		MemoryContextSwitchTo(spi);
		if (cdc_rows_run_for(job_id, "SELECT uri, options FROM cdc_sink.secret"
							 " WHERE job_id = $1 ORDER BY version DESC LIMIT 1",
							 SPI_OK_SELECT) > 0)
		{
			spi = MemoryContextSwitchTo(caller);
			saved->sink_uri = TextDatumGetCString(cdc_rows_value(0, 1));
			saved->secrets = cdc_rows_strings(cdc_rows_value(0, 2), &saved->nsecrets);
			MemoryContextSwitchTo(spi);
		}
	}
	cdc_rows_end(nest);
	return found;
}

void
cdc_saved_alter(int64 job_id, const char *statement, const char *sink_uri,
				int nsecrets, char **secrets)
{
	static const Oid types[] = {INT8OID, TEXTOID};
	Datum		values[2];
	int			nest = cdc_rows_begin();

	values[0] = Int64GetDatum(job_id);
	values[1] = CStringGetTextDatum(statement);
	cdc_rows_run("UPDATE cdc_sink.saved SET statement = $2 WHERE job_id = $1",
				 2, types, values, NULL, SPI_OK_UPDATE);
	cdc_rows_run_for(job_id, "DELETE FROM cdc_sink.secret WHERE job_id = $1", SPI_OK_DELETE);
	cdc_secret_insert(job_id, 1, sink_uri, nsecrets, secrets);
	cdc_rows_end(nest);
}

void
cdc_saved_cancel(int64 job_id, const CdcSaved *saved)
{
	static const Oid types[] = {INT8OID, OIDOID, TEXTOID};
	Datum		values[3];
	int			nest = cdc_rows_begin();

	values[0] = Int64GetDatum(job_id);
	values[1] = ObjectIdGetDatum(saved->owner);
	values[2] = CStringGetTextDatum(saved->statement);
	cdc_rows_run("INSERT INTO cdc_sink.job (job_id, status, owner, description,"
				 " sink, format, created, finished) SELECT $1, 'canceled', $2, $3,"
				 " '', '', created, clock_timestamp() FROM cdc_sink.saved"
				 " WHERE job_id = $1",
				 3, types, values, NULL, SPI_OK_INSERT);
	cdc_rows_run_for(job_id, "INSERT INTO cdc_sink.checkpoint (job_id, version, scan_done)"
					 " VALUES ($1, 1, false)", SPI_OK_INSERT);
	cdc_rows_run_for(job_id, "DELETE FROM cdc_sink.saved WHERE job_id = $1", SPI_OK_DELETE);
	cdc_rows_run_for(job_id, "DELETE FROM cdc_sink.secret WHERE job_id = $1", SPI_OK_DELETE);
	cdc_rows_end(nest);
}

void
cdc_saved_take(int64 job_id)
{
	int			nest = cdc_rows_begin();

	cdc_rows_run_for(job_id, "DELETE FROM cdc_sink.secret WHERE job_id = $1", SPI_OK_DELETE);
	cdc_rows_end(nest);
}

bool
cdc_saved_strand(int64 job_id)
{
	static const Oid types[] = {INT8OID, INT8OID};
	Datum		values[2];
	int			nest = cdc_rows_begin();
	bool		stranded;

	values[0] = Int64GetDatum(job_id);
	values[1] = Int64GetDatum((int64) GetSystemIdentifier());
	stranded = cdc_rows_run("SELECT FROM cdc_sink.saved"
							" WHERE job_id = $1 AND system_id <> $2",
							2, types, values, NULL, SPI_OK_SELECT) > 0;
	if (stranded)
	{
		/* neither a job nor the clock may fall behind what was sent */
		cdc_rows_run_for(job_id, "UPDATE cdc_sink.saved s SET"
						 " (high_water_wall, high_water_logical) ="
						 " (SELECT x.w, x.l FROM (VALUES (c.high_water_wall, c.high_water_logical),"
						 " (c.hlc_wall, c.hlc_logical)) x (w, l) ORDER BY x.w DESC, x.l DESC LIMIT 1)"
						 " FROM cdc_sink.checkpoint c"
						 " WHERE s.job_id = $1 AND c.job_id = $1", SPI_OK_UPDATE);
		cdc_rows_run_for(job_id, "DELETE FROM cdc_sink.job WHERE job_id = $1", SPI_OK_DELETE);
		cdc_rows_run_for(job_id, "DELETE FROM cdc_sink.checkpoint WHERE job_id = $1", SPI_OK_DELETE);
		cdc_rows_run_for(job_id, "DELETE FROM cdc_sink.definition WHERE job_id = $1", SPI_OK_DELETE);
		cdc_rows_run_for(job_id, "DELETE FROM cdc_sink.shape WHERE job_id = $1", SPI_OK_DELETE);
		cdc_rows_run_for(job_id, "DELETE FROM cdc_sink.member WHERE job_id = $1", SPI_OK_DELETE);
	}
	cdc_rows_end(nest);
	return stranded;
}
