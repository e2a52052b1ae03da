/*-------------------------------------------------------------------------
 * job.c
 *		Rows of jobs and their definitions, and the state machine of jobs.
 *
 * The state of a job is in its row and changes under the row's lock only, by
 * the one table below; see README.md for the drawing.  Everything is written
 * in the caller's transaction.
 *
 * Runs: backends (which switch to the catalog's owner around these calls,
 * see cdc_catalog_enter) and lane workers between two drains.  Never in a
 * decoding callback: no SPI there.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/guc.h"
#include "catalog/job.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "catalog/rows.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define NSTATES		(CDC_JOB_FAILED + 1)
#define NEVENTS		(CDC_EV_EXPIRED + 1)

static const char *const status_names[NSTATES] = {
	[CDC_JOB_PENDING] = "pending",
	[CDC_JOB_RUNNING] = "running",
	[CDC_JOB_PAUSE_REQUESTED] = "pause-requested",
	[CDC_JOB_PAUSED] = "paused",
	[CDC_JOB_CANCEL_REQUESTED] = "cancel-requested",
	[CDC_JOB_CANCELED] = "canceled",
	[CDC_JOB_SUCCEEDED] = "succeeded",
	[CDC_JOB_FAILED] = "failed",
};

/*
 * The state machine.  A cell is the next state plus one; the same state
 * means that nothing happens, 0 (absent) that a user's event is refused and
 * one of the lane ignored.
 */
#define TO(s)		(CDC_JOB_##s + 1)

static const uint8 transitions[NSTATES][NEVENTS] = {
	[CDC_JOB_PENDING] = {
		[CDC_EV_PAUSE] = TO(PAUSE_REQUESTED),
		[CDC_EV_RESUME] = TO(PENDING),
		[CDC_EV_CANCEL] = TO(CANCEL_REQUESTED),
		[CDC_EV_STARTED] = TO(RUNNING),
		[CDC_EV_FINISHED] = TO(SUCCEEDED),
		[CDC_EV_ERROR_FAIL] = TO(FAILED),
		[CDC_EV_ERROR_PAUSE] = TO(PAUSED),
		[CDC_EV_EXPIRED] = TO(CANCELED),
	},
	[CDC_JOB_RUNNING] = {
		[CDC_EV_PAUSE] = TO(PAUSE_REQUESTED),
		[CDC_EV_RESUME] = TO(RUNNING),
		[CDC_EV_CANCEL] = TO(CANCEL_REQUESTED),
		[CDC_EV_FINISHED] = TO(SUCCEEDED),
		[CDC_EV_ERROR_FAIL] = TO(FAILED),
		[CDC_EV_ERROR_PAUSE] = TO(PAUSED),
		[CDC_EV_EXPIRED] = TO(CANCELED),
	},
	[CDC_JOB_PAUSE_REQUESTED] = {
		[CDC_EV_PAUSE] = TO(PAUSE_REQUESTED),
		/* takes the request back; the lane may have let go already */
		[CDC_EV_RESUME] = TO(RUNNING),
		[CDC_EV_CANCEL] = TO(CANCEL_REQUESTED),
		[CDC_EV_STOPPED] = TO(PAUSED),
		[CDC_EV_FINISHED] = TO(SUCCEEDED),
		[CDC_EV_ERROR_FAIL] = TO(FAILED),
		[CDC_EV_ERROR_PAUSE] = TO(PAUSED),
		[CDC_EV_EXPIRED] = TO(CANCELED),
	},
	[CDC_JOB_PAUSED] = {
		[CDC_EV_PAUSE] = TO(PAUSED),
		[CDC_EV_RESUME] = TO(RUNNING),
		[CDC_EV_CANCEL] = TO(CANCEL_REQUESTED),
		[CDC_EV_ERROR_FAIL] = TO(FAILED),
		[CDC_EV_EXPIRED] = TO(CANCELED),
	},
	[CDC_JOB_CANCEL_REQUESTED] = {
		[CDC_EV_CANCEL] = TO(CANCEL_REQUESTED),
		[CDC_EV_STOPPED] = TO(CANCELED),
		[CDC_EV_FINISHED] = TO(CANCELED),
		[CDC_EV_ERROR_FAIL] = TO(CANCELED),
		[CDC_EV_ERROR_PAUSE] = TO(CANCELED),
		[CDC_EV_EXPIRED] = TO(CANCELED),
	},
	/* canceled, succeeded, failed: nothing leads out */
};

const char *
cdc_job_status_name(CdcJobStatus status)
{
	return status_names[status];
}

CdcJobStatus
cdc_job_status_parse(const char *name)
{
	for (int i = 0; i < NSTATES; i++)
	{
		if (strcmp(status_names[i], name) == 0)
			return (CdcJobStatus) i;
	}
	elog(ERROR, "unknown job status \"%s\"", name);
	return CDC_JOB_FAILED;		/* not reached */
}

bool
cdc_job_is_terminal(CdcJobStatus status)
{
	return status == CDC_JOB_CANCELED || status == CDC_JOB_SUCCEEDED ||
		status == CDC_JOB_FAILED;
}

CdcJobStatus
cdc_job_next(CdcJobStatus status, CdcJobEvent event, bool *changed)
{
	uint8		cell = transitions[status][event];
	CdcJobStatus next = cell == 0 ? status : (CdcJobStatus) (cell - 1);

	if (cell == 0 && event <= CDC_EV_CANCEL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("job with status %s cannot be requested to be %s",
						status_names[status],
						event == CDC_EV_PAUSE ? "paused" :
						event == CDC_EV_RESUME ? "resumed" : "canceled")));
	*changed = next != status;
	return next;
}

/* ------------------------------------------------------------------------
 * Definitions
 * ------------------------------------------------------------------------
 */

CdcDefinition *
cdc_definition_from_datums(const Datum *values, const bool *nulls)
{
	CdcDefinition *def = palloc0(sizeof(CdcDefinition));
	Datum	   *relids;
	Datum	   *partitions;
	char	  **names;
	char	  **topics;
	char	  **shapes;
	int			nnames;
	int			ntopics;
	int			nshapes;
	int			npartitions;
	int			nscans;
	int			nruled;
	int			ncolumns;
	Datum	   *scans;
	Datum	   *ruled;
	char	  **columns;

	for (int i = 0; i < CDC_DEF_NATTS; i++)
	{
		if (nulls[i])
			elog(ERROR, "column %d of a changefeed's definition is null", i + 1);
	}

#define VALUE(att)	values[CDC_DEF_##att - 1]
	def->job_id = DatumGetInt64(VALUE(JOB_ID));
	def->version = DatumGetInt32(VALUE(VERSION));
	def->owner = DatumGetObjectId(VALUE(OWNER));
	def->sink = TextDatumGetCString(VALUE(SINK));
	def->options = cdc_rows_strings(VALUE(OPTIONS), &def->noptions);
	relids = cdc_rows_elements(OIDOID, VALUE(RELIDS), NULL, &def->ntargets);
	names = cdc_rows_strings(VALUE(NAMES), &nnames);
	topics = cdc_rows_strings(VALUE(TOPICS), &ntopics);
	partitions = cdc_rows_elements(INT4OID, VALUE(PARTITIONS), NULL, &npartitions);
	shapes = cdc_rows_strings(VALUE(SHAPES), &nshapes);
	def->sink_type = TextDatumGetCString(VALUE(SINK_TYPE));
	scans = cdc_rows_elements(BOOLOID, VALUE(SCANS), NULL, &nscans);
	ruled = cdc_rows_elements(BOOLOID, VALUE(RULED), NULL, &nruled);
	columns = cdc_rows_strings(VALUE(COLUMNS), &ncolumns);
	def->rules = cdc_rows_strings(VALUE(RULES), &def->nrules);
#undef VALUE

	if (nnames != def->ntargets || ntopics != def->ntargets ||
		npartitions != def->ntargets || nshapes != def->ntargets ||
		nscans != def->ntargets || nruled != def->ntargets ||
		ncolumns != def->ntargets)
		elog(ERROR, "definition of changefeed " INT64_FORMAT " is damaged",
			 def->job_id);

	def->targets = palloc0(sizeof(CdcTarget) * Max(def->ntargets, 1));
	for (int i = 0; i < def->ntargets; i++)
	{
		def->targets[i].relid = DatumGetObjectId(relids[i]);
		def->targets[i].name = names[i];
		def->targets[i].topic = topics[i];
		def->targets[i].partitions = DatumGetInt32(partitions[i]);
		def->targets[i].shape = shapes[i];
		def->targets[i].scan = DatumGetBool(scans[i]);
		def->targets[i].ruled = DatumGetBool(ruled[i]);
		def->targets[i].columns = columns[i];
	}
	return def;
}

CdcDefinition *
cdc_definition_in_row(uint64 row)
{
	Datum		values[CDC_DEF_NATTS];
	bool		nulls[CDC_DEF_NATTS];

	for (int i = 0; i < CDC_DEF_NATTS; i++)
		values[i] = cdc_rows_column(row, i + 1, &nulls[i]);
	return cdc_definition_from_datums(values, nulls);
}

CdcDefinition *
cdc_definition_copy(const CdcDefinition *def)
{
	CdcDefinition *copy = palloc(sizeof(CdcDefinition));

	*copy = *def;
	copy->sink = pstrdup(def->sink);
	copy->sink_type = pstrdup(def->sink_type);
	copy->options = palloc(sizeof(char *) * Max(def->noptions, 1));
	for (int i = 0; i < def->noptions; i++)
		copy->options[i] = pstrdup(def->options[i]);
	copy->targets = palloc(sizeof(CdcTarget) * Max(def->ntargets, 1));
	for (int i = 0; i < def->ntargets; i++)
	{
		copy->targets[i] = def->targets[i];
		copy->targets[i].name = pstrdup(def->targets[i].name);
		copy->targets[i].topic = pstrdup(def->targets[i].topic);
		copy->targets[i].shape = pstrdup(def->targets[i].shape);
		copy->targets[i].columns = pstrdup(def->targets[i].columns);
	}
	copy->rules = palloc(sizeof(char *) * Max(def->nrules, 1));
	for (int i = 0; i < def->nrules; i++)
		copy->rules[i] = pstrdup(def->rules[i]);
	return copy;
}

int
cdc_definition_find(const CdcDefinition *def, Oid relid)
{
	for (int i = 0; i < def->ntargets; i++)
	{
		if (def->targets[i].relid == relid)
			return i;
	}
	return -1;
}

bool
cdc_definition_scans(const CdcDefinition *def)
{
	for (int i = 0; i < def->ntargets; i++)
	{
		if (def->targets[i].scan)
			return true;
	}
	return false;
}

void
cdc_definition_insert(const CdcDefinition *def)
{
	static const Oid types[] = {INT8OID, INT4OID, OIDOID, TEXTOID, TEXTARRAYOID,
	OIDARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TEXTOID,
	BOOLARRAYOID, BOOLARRAYOID, TEXTARRAYOID, TEXTARRAYOID};
	Datum		values[CDC_DEF_NATTS];
	int			n = def->ntargets;
	Datum	   *relids = palloc(sizeof(Datum) * Max(n, 1));
	Datum	   *partitions = palloc(sizeof(Datum) * Max(n, 1));
	char	  **names = palloc(sizeof(char *) * Max(n, 1));
	char	  **topics = palloc(sizeof(char *) * Max(n, 1));
	char	  **shapes = palloc(sizeof(char *) * Max(n, 1));
	Datum	   *scans = palloc(sizeof(Datum) * Max(n, 1));
	Datum	   *ruled = palloc(sizeof(Datum) * Max(n, 1));
	char	  **columns = palloc(sizeof(char *) * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		relids[i] = ObjectIdGetDatum(def->targets[i].relid);
		partitions[i] = Int32GetDatum(def->targets[i].partitions);
		names[i] = def->targets[i].name;
		topics[i] = def->targets[i].topic;
		shapes[i] = def->targets[i].shape;
		scans[i] = BoolGetDatum(def->targets[i].scan);
		ruled[i] = BoolGetDatum(def->targets[i].ruled);
		columns[i] = def->targets[i].columns;
	}

#define VALUE(att)	values[CDC_DEF_##att - 1]
	VALUE(JOB_ID) = Int64GetDatum(def->job_id);
	VALUE(VERSION) = Int32GetDatum(def->version);
	VALUE(OWNER) = ObjectIdGetDatum(def->owner);
	VALUE(SINK) = CStringGetTextDatum(def->sink);
	VALUE(OPTIONS) = cdc_rows_text_array(def->noptions, def->options);
	VALUE(RELIDS) = cdc_rows_array(OIDOID, n, relids);
	VALUE(NAMES) = cdc_rows_text_array(n, names);
	VALUE(TOPICS) = cdc_rows_text_array(n, topics);
	VALUE(PARTITIONS) = cdc_rows_array(INT4OID, n, partitions);
	VALUE(SHAPES) = cdc_rows_text_array(n, shapes);
	VALUE(SINK_TYPE) = CStringGetTextDatum(def->sink_type);
	VALUE(SCANS) = cdc_rows_array(BOOLOID, n, scans);
	VALUE(RULED) = cdc_rows_array(BOOLOID, n, ruled);
	VALUE(COLUMNS) = cdc_rows_text_array(n, columns);
	VALUE(RULES) = cdc_rows_text_array(def->nrules, def->rules);
#undef VALUE

	cdc_rows_run("INSERT INTO cdc_sink.definition (job_id, version, owner,"
				 " sink, options, relids, names, topics, partitions, shapes,"
				 " sink_type, scans, ruled, columns, rules)"
				 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,"
				 " $13, $14, $15)",
				 CDC_DEF_NATTS, types, values, NULL, SPI_OK_INSERT);
}

CdcDefinition *
cdc_definition_load(int64 job_id, int version)
{
	static const Oid types[] = {INT8OID, INT4OID};
	MemoryContext caller = CurrentMemoryContext;
	CdcDefinition *def = NULL;
	int			nest = cdc_rows_begin();
	Datum		args[2];

	args[0] = Int64GetDatum(job_id);
	args[1] = Int32GetDatum(version);
	if (cdc_rows_run("SELECT " CDC_DEFINITION_COLUMNS
					 " FROM cdc_sink.definition d"
					 " JOIN cdc_sink.job j USING (job_id)"
					 " WHERE d.job_id = $1 AND d.version = $2"
					 " AND j.finished IS NULL",
					 2, types, args, NULL, SPI_OK_SELECT) > 0)
	{
		MemoryContext spi = MemoryContextSwitchTo(caller);

		def = cdc_definition_in_row(0);
		MemoryContextSwitchTo(spi);
	}
	cdc_rows_end(nest);
	return def;
}

char *
cdc_definition_topics(const CdcDefinition *def)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < def->ntargets; i++)
	{
		bool		repeated = false;

		for (int j = 0; j < i && !repeated; j++)
			repeated = strcmp(def->targets[i].topic, def->targets[j].topic) == 0;
		if (!repeated)
			appendStringInfo(&buf, "%s%s", buf.len > 0 ? "," : "",
							 def->targets[i].topic);
	}
	return buf.data;
}

/* ------------------------------------------------------------------------
 * Jobs
 * ------------------------------------------------------------------------
 */

int64
cdc_job_new_id(void)
{
	int			nest = cdc_rows_begin();
	int64		id;

	cdc_rows_run("SELECT nextval('cdc_sink.job_id_seq'::regclass)",
				 0, NULL, NULL, NULL, SPI_OK_SELECT);
	id = DatumGetInt64(cdc_rows_value(0, 1));
	cdc_rows_end(nest);
	return id;
}

void
cdc_job_insert(const CdcDefinition *def, const char *sink_uri,
			   int nsecrets, char **secrets,
			   const char *description, const char *format, bool has_topics,
			   bool scan_done)
{
	int			nest = cdc_rows_begin();

	{
		static const Oid types[] = {INT8OID, TEXTOID, OIDOID, TEXTOID, TEXTOID,
		TEXTOID, TEXTOID};
		Datum		values[7];

		values[0] = Int64GetDatum(def->job_id);
		values[1] = CStringGetTextDatum(status_names[CDC_JOB_PENDING]);
		values[2] = ObjectIdGetDatum(def->owner);
		values[3] = CStringGetTextDatum(description);
		values[4] = CStringGetTextDatum(def->sink);
		values[5] = CStringGetTextDatum(format);
		values[6] = CStringGetTextDatum(cdc_definition_topics(def));
		cdc_rows_run("INSERT INTO cdc_sink.job (job_id, status, owner,"
					 " description, sink, format, topics)"
					 " VALUES ($1, $2, $3, $4, $5, $6, $7)",
					 7, types, values, has_topics ? "       " : "      n",
					 SPI_OK_INSERT);
	}
	cdc_secret_insert(def->job_id, 1, sink_uri, nsecrets, secrets);
	{
		static const Oid types[] = {INT8OID, INT4OID, BOOLOID};
		Datum		values[3];

		values[0] = Int64GetDatum(def->job_id);
		values[1] = Int32GetDatum(def->version);
		values[2] = BoolGetDatum(scan_done);
		cdc_rows_run("INSERT INTO cdc_sink.checkpoint (job_id, version, scan_done)"
					 " VALUES ($1, $2, $3)",
					 3, types, values, NULL, SPI_OK_INSERT);
	}
	cdc_definition_insert(def);
	cdc_rows_end(nest);
}

List *
cdc_job_list_live(void)
{
	static const char sql[] =
	"SELECT " CDC_DEFINITION_COLUMNS ","
	" j.status, j.owner, s.uri, s.options, c.version, c.resume_lsn, c.hlc_wall,"
	" c.hlc_logical, c.scan_done, c.high_water_wall, c.high_water_logical,"
	" c.answered_lsn, greatest(j.modified, c.updated_at)"
	" FROM cdc_sink.job j"
	" JOIN cdc_sink.checkpoint c USING (job_id)"
	" JOIN cdc_sink.definition d ON d.job_id = j.job_id"
	" AND d.version = greatest(c.version, j.version)"
	" JOIN LATERAL (SELECT x.* FROM cdc_sink.secret x WHERE x.job_id = j.job_id"
	" AND x.version <= d.version ORDER BY x.version DESC LIMIT 1) s ON true"
	" WHERE j.finished IS NULL ORDER BY j.job_id";
	enum
	{
		COL_STATUS = CDC_DEF_NATTS + 1, COL_OWNER, COL_URI, COL_SECRETS,
		COL_VERSION, COL_LSN, COL_WALL, COL_LOGICAL, COL_SCAN_DONE, COL_HW_WALL,
		COL_HW_LOGICAL, COL_ANSWERED, COL_MODIFIED
	};
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext spi;
	List	   *jobs = NIL;
	int			nest = cdc_rows_begin();
	uint64		n;

	n = cdc_rows_run(sql, 0, NULL, NULL, NULL, SPI_OK_SELECT);
	spi = MemoryContextSwitchTo(caller);
	for (uint64 i = 0; i < n; i++)
	{
		CdcJob	   *job = palloc0(sizeof(CdcJob));
		CdcCheckpoint *cp = &job->checkpoint;
		Datum		lsn;
		bool		no_lsn;
		char	   *status;

		job->definition = cdc_definition_in_row(i);
		job->job_id = job->definition->job_id;
		status = TextDatumGetCString(cdc_rows_value(i, COL_STATUS));
		job->status = cdc_job_status_parse(status);
		pfree(status);
		job->owner = DatumGetObjectId(cdc_rows_value(i, COL_OWNER));
		job->owner_exists = SearchSysCacheExists1(AUTHOID,
												  ObjectIdGetDatum(job->owner));
		job->sink_uri = TextDatumGetCString(cdc_rows_value(i, COL_URI));
		job->secrets = cdc_rows_strings(cdc_rows_value(i, COL_SECRETS), &job->nsecrets);
		cp->job_id = job->job_id;
		cp->version = DatumGetInt32(cdc_rows_value(i, COL_VERSION));
		lsn = cdc_rows_column(i, COL_LSN, &no_lsn);
		cp->resume_lsn = no_lsn ? InvalidXLogRecPtr : DatumGetLSN(lsn);
		cp->hlc.wall = DatumGetInt64(cdc_rows_value(i, COL_WALL));
		cp->hlc.logical = (uint32) DatumGetInt64(cdc_rows_value(i, COL_LOGICAL));
		cp->scan_done = DatumGetBool(cdc_rows_value(i, COL_SCAN_DONE));
		cp->high_water.wall = DatumGetInt64(cdc_rows_value(i, COL_HW_WALL));
		cp->high_water.logical = (uint32) DatumGetInt64(cdc_rows_value(i, COL_HW_LOGICAL));
		cp->answered_lsn = DatumGetLSN(cdc_rows_value(i, COL_ANSWERED));
		job->modified = DatumGetTimestampTz(cdc_rows_value(i, COL_MODIFIED));
		jobs = lappend(jobs, job);
	}
	MemoryContextSwitchTo(spi);
	cdc_rows_end(nest);
	return jobs;
}

bool
cdc_job_apply(int64 job_id, CdcJobEvent event, const char *error,
			  CdcJobStatus *status)
{
	int			nest = cdc_rows_begin();
	CdcJobStatus old;
	CdcJobStatus next;
	bool		changed;

	/* a lane waits for nobody: it comes again */
	if (cdc_rows_run_for(job_id, event <= CDC_EV_CANCEL ?
						 "SELECT status FROM cdc_sink.job WHERE job_id = $1 FOR UPDATE" :
						 "SELECT status FROM cdc_sink.job WHERE job_id = $1 FOR UPDATE SKIP LOCKED",
						 SPI_OK_SELECT) == 0)
	{
		cdc_rows_end(nest);
		return false;
	}
	old = cdc_job_status_parse(TextDatumGetCString(cdc_rows_value(0, 1)));
	next = cdc_job_next(old, event, &changed);

	/*
	 * A job that was paused before it had a position still has to start.
	 * Read now that we have the lock: the lane writes both together.
	 */
	if (event == CDC_EV_RESUME && changed &&
		cdc_rows_run_for(job_id, "SELECT FROM cdc_sink.checkpoint"
						 " WHERE job_id = $1 AND resume_lsn IS NOT NULL",
						 SPI_OK_SELECT) == 0)
		next = CDC_JOB_PENDING;

	if (changed)
	{
		static const Oid types[] = {INT8OID, TEXTOID, TEXTOID, BOOLOID, BOOLOID};
		Datum		values[5];

		values[0] = Int64GetDatum(job_id);
		values[1] = CStringGetTextDatum(status_names[next]);
		values[2] = CStringGetTextDatum(error ? error : "");
		values[3] = BoolGetDatum(next == CDC_JOB_RUNNING);
		values[4] = BoolGetDatum(cdc_job_is_terminal(next));
		cdc_rows_run("UPDATE cdc_sink.job SET status = $2,"
					 " error = coalesce($3, error),"
					 " reason = CASE WHEN $2 IN ('pause-requested', 'paused') THEN reason END,"
					 " modified = clock_timestamp(),"
					 " started = CASE WHEN $4 THEN coalesce(started, clock_timestamp())"
					 " ELSE started END,"
					 " finished = CASE WHEN $5 THEN clock_timestamp() END"
					 " WHERE job_id = $1",
					 5, types, values, error ? "     " : "  n  ", SPI_OK_UPDATE);
		if (cdc_job_is_terminal(next))
		{
			cdc_rows_run_for(job_id, "DELETE FROM cdc_sink.secret WHERE job_id = $1",
							 SPI_OK_DELETE);
			cdc_rows_run_for(job_id, "DELETE FROM cdc_sink.saved WHERE job_id = $1",
							 SPI_OK_DELETE);
		}
	}
	cdc_rows_end(nest);
	*status = next;
	return true;
}

void
cdc_job_set_reason(int64 job_id, const char *reason)
{
	static const Oid types[] = {INT8OID, TEXTOID};
	Datum		values[2];
	int			nest = cdc_rows_begin();

	values[0] = Int64GetDatum(job_id);
	values[1] = CStringGetTextDatum(reason);
	cdc_rows_run("UPDATE cdc_sink.job SET reason = $2 WHERE job_id = $1",
				 2, types, values, NULL, SPI_OK_UPDATE);
	cdc_rows_end(nest);
}

bool
cdc_job_look(int64 job_id, CdcJobLook *look)
{
	Datum		id = Int64GetDatum(job_id);
	Oid			type = INT8OID;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext spi;
	int			nest = cdc_rows_begin();
	bool		found;
	bool		isnull;
	int			rc;

	/* the newest state, whatever the isolation level of the caller */
	PushActiveSnapshot(GetLatestSnapshot());
	rc = SPI_execute_with_args("SELECT j.status, j.owner, j.error, d.relids,"
							   " CASE WHEN c.scan_done THEN c.resume_lsn END"
							   " FROM cdc_sink.job j"
							   " JOIN cdc_sink.checkpoint c USING (job_id)"
							   " JOIN cdc_sink.definition d USING (job_id)"
							   " WHERE j.job_id = $1 ORDER BY d.version DESC LIMIT 1",
							   1, &type, &id, NULL, true, 1);
	PopActiveSnapshot();
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "could not read job " INT64_FORMAT ": %s", job_id,
			 SPI_result_code_string(rc));
	found = SPI_processed > 0;
	if (found)
	{
		Datum	   *relids;
		Datum		lsn;

		spi = MemoryContextSwitchTo(caller);
		look->status = cdc_job_status_parse(TextDatumGetCString(cdc_rows_value(0, 1)));
		look->owner = DatumGetObjectId(cdc_rows_value(0, 2));
		look->error = TextDatumGetCString(cdc_rows_value(0, 3));
		relids = cdc_rows_elements(OIDOID, cdc_rows_value(0, 4), NULL, &look->nrelids);
		look->relids = palloc(sizeof(Oid) * Max(look->nrelids, 1));
		for (int i = 0; i < look->nrelids; i++)
			look->relids[i] = DatumGetObjectId(relids[i]);
		lsn = cdc_rows_column(0, 5, &isnull);
		look->resume_lsn = isnull ? InvalidXLogRecPtr : DatumGetLSN(lsn);
		MemoryContextSwitchTo(spi);
	}
	cdc_rows_end(nest);
	return found;
}

bool
cdc_job_any_live(void)
{
	int			nest = cdc_rows_begin();
	uint64		n = cdc_rows_run("SELECT FROM cdc_sink.job"
								 " WHERE finished IS NULL LIMIT 1",
								 0, NULL, NULL, NULL, SPI_OK_SELECT);

	cdc_rows_end(nest);
	return n > 0;
}

uint64
cdc_job_purge(void)
{
	Oid			type = INT4OID;
	Datum		retention = Int32GetDatum(cdc_job_retention);
	int			nest = cdc_rows_begin();
	uint64		n;

	/* dead letters stay until somebody has looked at them */
	n = cdc_rows_run("WITH old AS (DELETE FROM cdc_sink.job"
					 " WHERE finished < clock_timestamp() - $1 * interval '1 second'"
					 " RETURNING job_id),"
					 " cp AS (DELETE FROM cdc_sink.checkpoint c USING old o"
					 " WHERE c.job_id = o.job_id),"
					 " sh AS (DELETE FROM cdc_sink.shape s USING old o"
					 " WHERE s.job_id = o.job_id),"
					 " me AS (DELETE FROM cdc_sink.member m USING old o"
					 " WHERE m.job_id = o.job_id)"
					 " DELETE FROM cdc_sink.definition d USING old o"
					 " WHERE d.job_id = o.job_id",
					 1, &type, &retention, NULL, SPI_OK_DELETE);
	cdc_rows_end(nest);
	return n;
}
