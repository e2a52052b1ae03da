/*-------------------------------------------------------------------------
 * alter.c
 *		Rows of ALTER CHANGEFEED: a further version of a definition, and from
 *		where on it is in force.
 *
 * Definitions are never changed.  A running job's new version takes effect
 * where the lane meets its insertion in the WAL.  That of a paused job takes
 * effect at the job's position: the job's row names it, in the same
 * transaction.  It is not the checkpoint's row, which a lane that has not
 * heard of the pause yet may have to write while we hold it.
 *
 * Runs: backends, in the user's transaction, inside cdc_catalog_enter();
 * cdc_job_secret() in lane workers between two drains.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/job.h"
#include "catalog/pg_type.h"
#include "catalog/rows.h"
#include "executor/spi.h"
#include "utils/builtins.h"

bool
cdc_job_secret(int64 job_id, int version, char **sink_uri, int *nsecrets,
			   char ***secrets)
{
	static const Oid types[] = {INT8OID, INT4OID};
	Datum		values[2];
	MemoryContext caller = CurrentMemoryContext;
	int			nest = cdc_rows_begin();
	bool		found;

	/* the definition must be visible: what is older would be another's */
	values[0] = Int64GetDatum(job_id);
	values[1] = Int32GetDatum(version);
	found = cdc_rows_run("SELECT s.uri, s.options FROM cdc_sink.definition d"
						 " JOIN cdc_sink.secret s ON s.job_id = d.job_id"
						 " AND s.version <= d.version"
						 " WHERE d.job_id = $1 AND d.version = $2"
						 " ORDER BY s.version DESC LIMIT 1",
						 2, types, values, NULL, SPI_OK_SELECT) > 0;
	if (found)
	{
		MemoryContext spi = MemoryContextSwitchTo(caller);

		*sink_uri = TextDatumGetCString(cdc_rows_value(0, 1));
		*secrets = cdc_rows_strings(cdc_rows_value(0, 2), nsecrets);
		MemoryContextSwitchTo(spi);
	}
	cdc_rows_end(nest);
	return found;
}

void
cdc_secret_insert(int64 job_id, int version, const char *sink_uri,
				  int nsecrets, char *const *secrets)
{
	static const Oid types[] = {INT8OID, INT4OID, TEXTOID, TEXTARRAYOID};
	Datum		values[4];

	values[0] = Int64GetDatum(job_id);
	values[1] = Int32GetDatum(version);
	values[2] = CStringGetTextDatum(sink_uri);
	values[3] = cdc_rows_text_array(nsecrets, secrets);
	cdc_rows_run("INSERT INTO cdc_sink.secret (job_id, version, uri, options)"
				 " VALUES ($1, $2, $3, $4)",
				 4, types, values, NULL, SPI_OK_INSERT);
}

void
cdc_job_forget_secrets(int64 job_id, int version)
{
	static const Oid types[] = {INT8OID, INT4OID};
	Datum		values[2];
	int			nest = cdc_rows_begin();

	values[0] = Int64GetDatum(job_id);
	values[1] = Int32GetDatum(version);
	(void) cdc_rows_run("DELETE FROM cdc_sink.secret WHERE ctid = ANY (ARRAY("
						"SELECT s.ctid FROM cdc_sink.secret s WHERE s.job_id = $1"
						" AND s.version < (SELECT max(x.version) FROM cdc_sink.secret x"
						" WHERE x.job_id = $1 AND x.version <= $2)"
						" FOR UPDATE SKIP LOCKED))",
						2, types, values, NULL, SPI_OK_DELETE);
	cdc_rows_end(nest);
}

/*
 * Tables of versions that are not in force yet, and of the one that is while
 * its scan is not done, are still to be read: the newest version takes that
 * over, so that it is complete whichever of them the feed has come to.
 */
static void
inherit_scans(CdcAlterBase *base, int in_force, uint64 nversions)
{
	CdcDefinition *newest = base->definition;

	for (int i = 0; i < newest->ntargets; i++)
		newest->targets[i].scan = false;
	for (uint64 row = 0; row < nversions; row++)
	{
		CdcDefinition *def = cdc_definition_in_row(row);

		if (def->version == in_force && base->scan_done)
			continue;
		for (int i = 0; i < def->ntargets; i++)
		{
			int			j = cdc_definition_find(newest, def->targets[i].relid);

			if (j >= 0)
				newest->targets[j].scan |= def->targets[i].scan;
		}
	}
}

bool
cdc_job_alter_begin(int64 job_id, CdcAlterBase *base)
{
	static const Oid types[] = {INT8OID, INT4OID};
	Datum		values[2];
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext spi;
	int			nest = cdc_rows_begin();
	int			job_version;
	int			in_force;
	uint64		n;

	memset(base, 0, sizeof(CdcAlterBase));
	if (cdc_rows_run_for(job_id, "SELECT status, owner, version FROM cdc_sink.job"
						 " WHERE job_id = $1 FOR UPDATE", SPI_OK_SELECT) == 0)
	{
		cdc_rows_end(nest);
		return false;
	}
	spi = MemoryContextSwitchTo(caller);
	base->status = cdc_job_status_parse(TextDatumGetCString(cdc_rows_value(0, 1)));
	base->owner = DatumGetObjectId(cdc_rows_value(0, 2));
	job_version = DatumGetInt32(cdc_rows_value(0, 3));
	MemoryContextSwitchTo(spi);

	/* read after the lock: what others have altered is complete */
	if (cdc_rows_run_for(job_id, "SELECT version, scan_done FROM cdc_sink.checkpoint"
						 " WHERE job_id = $1", SPI_OK_SELECT) != 1)
		elog(ERROR, "job " INT64_FORMAT " has no checkpoint row", job_id);
	in_force = DatumGetInt32(cdc_rows_value(0, 1));
	base->scan_done = DatumGetBool(cdc_rows_value(0, 2));
	if (job_version > in_force)
	{
		/* altered at its position, which no lane has read so far */
		in_force = job_version;
		base->scan_done = false;
	}

	values[0] = Int64GetDatum(job_id);
	values[1] = Int32GetDatum(in_force);
	n = cdc_rows_run("SELECT " CDC_DEFINITION_COLUMNS " FROM cdc_sink.definition d"
					 " WHERE d.job_id = $1 AND d.version >= $2 ORDER BY d.version",
					 2, types, values, NULL, SPI_OK_SELECT);
	if (n == 0)
		elog(ERROR, "job " INT64_FORMAT " has no definition", job_id);
	spi = MemoryContextSwitchTo(caller);
	base->definition = cdc_definition_in_row(n - 1);
	inherit_scans(base, in_force, n);
	MemoryContextSwitchTo(spi);
	cdc_rows_end(nest);

	if (!cdc_job_secret(job_id, base->definition->version, &base->sink_uri,
						&base->nsecrets, &base->secrets))
		base->sink_uri = NULL;
	return true;
}

void
cdc_job_alter_write(const CdcDefinition *def, bool at_position,
					const char *sink_uri, int nsecrets, char **secrets,
					const char *description, const char *format,
					bool has_topics)
{
	int			nest = cdc_rows_begin();

	{
		static const Oid types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
		INT4OID, BOOLOID, OIDOID};
		Datum		values[8];

		values[0] = Int64GetDatum(def->job_id);
		values[1] = CStringGetTextDatum(description);
		values[2] = CStringGetTextDatum(def->sink);
		values[3] = CStringGetTextDatum(cdc_definition_topics(def));
		values[4] = CStringGetTextDatum(format);
		values[5] = Int32GetDatum(def->version);
		values[6] = BoolGetDatum(at_position);
		values[7] = ObjectIdGetDatum(def->owner);
		cdc_rows_run("UPDATE cdc_sink.job SET description = $2, sink = $3,"
					 " topics = $4, format = $5, modified = clock_timestamp(),"
					 " version = CASE WHEN $7 THEN $6 ELSE version END,"
					 " owner = $8 WHERE job_id = $1",
					 8, types, values, has_topics ? "        " : "   n    ",
					 SPI_OK_UPDATE);
	}
	if (sink_uri != NULL)
		cdc_secret_insert(def->job_id, def->version, sink_uri, nsecrets, secrets);
	cdc_definition_insert(def);
	cdc_rows_end(nest);
}
