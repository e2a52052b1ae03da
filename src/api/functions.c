/*-------------------------------------------------------------------------
 * functions.c
 *		The functions users call: both doors to a changefeed, job control.
 *
 * changefeed_sql() and changefeed_create() end in cdc_create_changefeed().  All
 * that can be known is validated before anything is written, and nothing is
 * written but rows in the caller's transaction: rolled back, nothing is left.
 *
 * Runs: user backends, as the user; as the bootstrap superuser only around
 * the calls that read and write the extension's own tables.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "api/changefeed.h"
#include "api/hide.h"
#include "api/place.h"
#include "api/start.h"
#include "base/shmem.h"
#include "catalog/job.h"
#include "catalog/options.h"
#include "catalog/pg_type.h"
#include "catalog/rows.h"
#include "catalog/saved.h"
#include "catalog/target.h"
#include "catalog/uri.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/statement.h"
#include "pgstat.h"
#include "sink/sink.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/pg_lsn.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "worker/probe.h"

/* The user is told that an older cursor takes its time. */
#define OLD_CURSOR_NS	(INT64CONST(5) * 3600 * 1000000000)

extern PGDLLEXPORT Datum changefeed_create(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum changefeed_sql(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum changefeed_pause(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum changefeed_resume(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum changefeed_cancel(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum changefeed_wait(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(changefeed_create);
PG_FUNCTION_INFO_V1(changefeed_sql);
PG_FUNCTION_INFO_V1(changefeed_pause);
PG_FUNCTION_INFO_V1(changefeed_resume);
PG_FUNCTION_INFO_V1(changefeed_cancel);
PG_FUNCTION_INFO_V1(changefeed_wait);

/* ------------------------------------------------------------------------
 * CREATE CHANGEFEED
 * ------------------------------------------------------------------------
 */

char *
cdc_describe_changefeed(const char *targets, const char *redacted_sink,
						const CdcOptions *options)
{
	char	   *with = cdc_options_describe(options);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "CREATE CHANGEFEED FOR %s INTO %s",
					 targets, quote_literal_cstr(redacted_sink));
	if (with[0] != '\0')
		appendStringInfo(&buf, " WITH OPTIONS (%s)", with);
	return buf.data;
}

void
cdc_notice_topics(const CdcDefinition *def, int first)
{
	for (int i = first; i < def->ntargets; i++)
	{
		bool		repeated = false;

		for (int j = 0; j < i && !repeated; j++)
			repeated = strcmp(def->targets[i].topic, def->targets[j].topic) == 0;
		if (!repeated)
			ereport(NOTICE,
					(errmsg("changefeed will emit to topic %s",
							def->targets[i].topic)));
	}
}

static void
refuse_sinkless(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("changefeeds without a sink are not supported"),
			 errdetail("A statement cannot return rows for ever."),
			 errhint("Name the sink: CREATE CHANGEFEED ... INTO 'kafka://host:9092', or INTO 'nodelocal://self/directory' to look at the messages as files.")));
}

/* What may be in the future and what may not. */
static void
check_times(const CdcOptions *options)
{
	const CdcMoment *cursor = &options->cursor;
	CdcHlc		now = {cdc_hlc_wall(GetCurrentTimestamp()), 0};
	CdcHlc		start = options->cursor.hlc.wall != 0 ? options->cursor.hlc : now;
	char		text[CDC_HLC_TEXT_SIZE];
	char		start_text[CDC_HLC_TEXT_SIZE];

	if (cursor->lsn != InvalidXLogRecPtr ?
		cursor->lsn > GetXLogInsertRecPtr() :
		cdc_hlc_cmp(cursor->hlc, now) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cursor: timestamp '%s' is in the future",
						cdc_moment_print(cursor))));
	if (cursor->hlc.wall != 0 && now.wall - cursor->hlc.wall > OLD_CURSOR_NS)
		ereport(NOTICE,
				(errmsg("the cursor is more than 5 hours old: reading that much history takes its time")));
	if (options->end_time.wall != 0 &&
		cdc_hlc_cmp(options->end_time, start) <= 0)
	{
		cdc_hlc_print(text, options->end_time);
		cdc_hlc_print(start_text, start);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("specified end time %s cannot be less than statement time %s",
						text, start_text),
				 errhint("Give a time in the future, or a cursor before it.")));
	}
}

int64
cdc_create_changefeed(List *names, const char *sink, List *pairs,
					  int64 job_id, Oid owner)
{
	CdcOptions *options;
	CdcPlace   *place;
	const CdcSinkOps *ops;
	CdcDefinition def;
	CdcCatalogUser user;
	char	   *description;
	char	   *statement;
	char	  **secrets;
	int			nsecrets;

	PreventCommandIfReadOnly("CREATE CHANGEFEED");
	PreventCommandIfParallelMode("CREATE CHANGEFEED");
	cdc_start_check_server();

	options = cdc_options_parse(pairs);
	if (sink == NULL || sink[0] == '\0')
		refuse_sinkless();
	check_times(options);

	memset(&def, 0, sizeof(def));
	def.version = 1;
	def.owner = OidIsValid(owner) ? owner : GetUserId();
	cdc_targets_resolve(names, def.owner, &def);
	for (int i = 0; i < def.ntargets; i++)
	{
		def.targets[i].scan = options->initial_scan != CDC_SCAN_NO;

		/* a feed that starts in the past learns there what they looked like */
		if (cdc_moment_given(&options->cursor))
			def.targets[i].shape = "";
	}

	place = cdc_place_check(sink, true, def.owner, options);
	if (def.owner != GetUserId())
		cdc_place_check_owner(place, def.owner, options);
	ops = place->ops;
	cdc_targets_check_options(def.targets, def.ntargets, options);
	cdc_options_check_owner(options, def.owner);

	def.sink = cdc_uri_redact(sink);
	def.sink_type = pstrdup(ops->name);
	(void) cdc_effective_encode(ops, options, &def);	/* the worker reads it */
	def.options = cdc_options_to_strings(options, &def.noptions);
	secrets = cdc_options_secrets(options, &nsecrets);
	cdc_targets_set_topics(def.targets, def.ntargets, 0,
						   cdc_uri_param(place->uri, "topic_prefix"),
						   cdc_uri_param(place->uri, "topic_name"),
						   options, ops->sanitises_topics);
	description = cdc_describe_changefeed(cdc_targets_describe(names), def.sink, options);
	statement = cdc_describe_changefeed(cdc_describe_targets(&def), def.sink, options);

	if (ops->probe != NULL)
		cdc_probe_sink(&def, place->uri_text,
					   cdc_event_topics(options, place->uri, ops->sanitises_topics));
	(void) cdc_start_request(options->initial_scan != CDC_SCAN_NO &&
							 !cdc_moment_given(&options->cursor));
	if (cdc_moment_given(&options->cursor))
		cdc_start_cursor(&options->cursor, &def);
	cdc_options_notices(options);
	if (ops->has_topics)
		cdc_notice_topics(&def, 0);

	cdc_catalog_enter(&user);
	def.job_id = job_id != 0 ? job_id : cdc_job_new_id();
	if (job_id != 0)
		cdc_saved_take(job_id);
	cdc_job_insert(&def, sink, nsecrets, secrets, description, "json", ops->has_topics,
				   options->initial_scan == CDC_SCAN_NO);
	cdc_saved_write(def.job_id, def.owner, statement);
	cdc_catalog_leave(&user);
	cdc_wake_lane_at_commit();
	return def.job_id;
}

List *
cdc_names_from_array(ArrayType *array)
{
	Datum	   *elems;
	bool	   *nulls;
	int			n;
	List	   *names = NIL;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("name of a table must not be null")));
		names = list_concat(names, cdc_parse_target(TextDatumGetCString(elems[i])));
	}
	return names;
}

List *
cdc_pairs_from_names(ArrayType *array)
{
	Datum	   *elems;
	bool	   *nulls;
	int			n;
	List	   *pairs = NIL;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		CdcOptionPair *pair = palloc0(sizeof(CdcOptionPair));

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("name of an option must not be null")));
		pair->name = TextDatumGetCString(elems[i]);
		pairs = lappend(pairs, pair);
	}
	return pairs;
}

/*
 * true, null and the empty text stand for an option without a value, false
 * for an option that is not given.
 */
List *
cdc_pairs_from_jsonb(Jsonb *jb)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken tok;
	List	   *pairs = NIL;
	char	   *name = NULL;

	if (!JB_ROOT_IS_OBJECT(jb))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options of a changefeed must be a JSON object"),
				 errhint("For example '{\"updated\": true, \"resolved\": \"10s\"}'.")));

	it = JsonbIteratorInit(&jb->root);
	tok = JsonbIteratorNext(&it, &v, true); /* WJB_BEGIN_OBJECT */
	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		CdcOptionPair *pair;
		char	   *value = NULL;

		if (tok == WJB_KEY)
			name = pnstrdup(v.val.string.val, v.val.string.len);
		if (tok != WJB_VALUE)
			continue;
		if (v.type == jbvBool && !v.val.boolean)
			continue;
		if (v.type == jbvString && v.val.string.len > 0)
			value = pnstrdup(v.val.string.val, v.val.string.len);
		else if (v.type == jbvNumeric)
			value = DatumGetCString(DirectFunctionCall1(numeric_out,
														NumericGetDatum(v.val.numeric)));
		else if (v.type == jbvBinary)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("value of option \"%s\" must not be an object or array", name),
					 errhint("Write JSON values of options as text.")));

		pair = palloc(sizeof(CdcOptionPair));
		pair->name = name;
		pair->value = value;
		pairs = lappend(pairs, pair);
	}
	return pairs;
}

Datum
changefeed_create(PG_FUNCTION_ARGS)
{
	CdcHide		hide;
	List	   *names;
	char	   *sink;
	List	   *pairs;
	int64		job_id;

	cdc_hide_begin(&hide);
	sink = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	cdc_hide_sink(sink);
	pairs = PG_ARGISNULL(2) ? NIL : cdc_pairs_from_jsonb(PG_GETARG_JSONB_P(2));
	cdc_hide_options(pairs);
	cdc_hide_known(&hide);

	names = PG_ARGISNULL(0) ? NIL : cdc_names_from_array(PG_GETARG_ARRAYTYPE_P(0));
	job_id = cdc_create_changefeed(names, sink, pairs, 0, InvalidOid);
	cdc_hide_end(&hide);
	PG_RETURN_INT64(job_id);
}

/* ------------------------------------------------------------------------
 * Job control
 * ------------------------------------------------------------------------
 */

void
cdc_look_up_job(int64 job_id, bool to_manage, CdcJobLook *look)
{
	CdcCatalogUser user;
	bool		found;

	cdc_catalog_enter(&user);
	found = cdc_job_look(job_id, look);
	cdc_catalog_leave(&user);
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("could not load job with job id " INT64_FORMAT, job_id),
				 errdetail("There is no such changefeed.")));
	if (!has_privs_of_role(GetUserId(), look->owner) &&
		(to_manage ||
		 !has_privs_of_role(GetUserId(), get_role_oid("pg_monitor", false))))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of job " INT64_FORMAT, job_id)));
}

/* The owner may still read every table, before the feed goes on. */
static void
check_owner(const CdcJobLook *look, int64 job_id)
{
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(look->owner)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("owner of job " INT64_FORMAT " does not exist any more",
						job_id),
				 errdetail("It was the role with OID %u.", look->owner),
				 errhint("Cancel the job and create the changefeed as another role.")));
	for (int i = 0; i < look->nrelids; i++)
		cdc_target_check_access(look->relids[i], look->owner);
}

/*
 * Applies a user's request.  The lane takes note at commit and completes it;
 * where no lane is at work there is nothing to stop, and it is complete at
 * once.
 */
void
cdc_request_job(int64 job_id, CdcJobEvent event, const char *reason)
{
	CdcJobLook	look;
	CdcCatalogUser user;
	CdcJobStatus status;

	PreventCommandIfReadOnly(event == CDC_EV_PAUSE ? "PAUSE JOB" :
							 event == CDC_EV_RESUME ? "RESUME JOB" :
							 "CANCEL JOB");
	if (cdc_restored_request(job_id, event))
		return;
	cdc_look_up_job(job_id, true, &look);
	if (event == CDC_EV_RESUME)
		check_owner(&look, job_id);

	cdc_catalog_enter(&user);
	if (!cdc_job_apply(job_id, event, event == CDC_EV_RESUME ? "" : NULL, &status))
		elog(ERROR, "job " INT64_FORMAT " vanished", job_id);
	if ((status == CDC_JOB_PAUSE_REQUESTED || status == CDC_JOB_CANCEL_REQUESTED) &&
		!cdc_start_lane_lives())
		cdc_job_apply(job_id, CDC_EV_STOPPED, NULL, &status);
	if (reason != NULL &&
		(status == CDC_JOB_PAUSE_REQUESTED || status == CDC_JOB_PAUSED))
		cdc_job_set_reason(job_id, reason);
	cdc_catalog_leave(&user);
	if (status == CDC_JOB_PAUSE_REQUESTED || status == CDC_JOB_CANCEL_REQUESTED)
		cdc_stop_feed_at_commit(job_id);
	cdc_wake_lane_at_commit();
}

Datum
changefeed_pause(PG_FUNCTION_ARGS)
{
	cdc_request_job(PG_GETARG_INT64(0), CDC_EV_PAUSE, NULL);
	PG_RETURN_VOID();
}

Datum
changefeed_resume(PG_FUNCTION_ARGS)
{
	cdc_request_job(PG_GETARG_INT64(0), CDC_EV_RESUME, NULL);
	PG_RETURN_VOID();
}

Datum
changefeed_cancel(PG_FUNCTION_ARGS)
{
	cdc_request_job(PG_GETARG_INT64(0), CDC_EV_CANCEL, NULL);
	PG_RETURN_VOID();
}

Datum
changefeed_sql(PG_FUNCTION_ARGS)
{
	CdcHide		hide;
	CdcStatement *stmt;
	int64		job_id;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("statement must not be null")));
	cdc_hide_begin(&hide);
	stmt = cdc_parse_statement(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	cdc_hide_sink(stmt->sink);
	cdc_hide_options(stmt->options);
	cdc_hide_actions(stmt->actions);
	cdc_hide_known(&hide);
	if (stmt->kind != CDC_STMT_CREATE && stmt->kind != CDC_STMT_ALTER)
		cdc_hide_end(&hide);

	switch (stmt->kind)
	{
		case CDC_STMT_CREATE:
			job_id = cdc_create_changefeed(stmt->targets, stmt->sink, stmt->options,
										   0, InvalidOid);
			cdc_hide_end(&hide);
			PG_RETURN_INT64(job_id);
		case CDC_STMT_ALTER:
			cdc_alter_changefeed(stmt->job_id, stmt->actions, false);
			cdc_hide_end(&hide);
			PG_RETURN_INT64(stmt->job_id);
		case CDC_STMT_PAUSE:
			cdc_request_job(stmt->job_id, CDC_EV_PAUSE, stmt->reason);
			PG_RETURN_INT64(stmt->job_id);
		case CDC_STMT_RESUME:
			cdc_request_job(stmt->job_id, CDC_EV_RESUME, NULL);
			PG_RETURN_INT64(stmt->job_id);
		case CDC_STMT_CANCEL:
			cdc_request_job(stmt->job_id, CDC_EV_CANCEL, NULL);
			PG_RETURN_INT64(stmt->job_id);
		case CDC_STMT_REQUEST_JOBS:
			PG_RETURN_INT64(stmt->query ? cdc_request_jobs(stmt->query, stmt->event) :
							cdc_request_all_jobs(stmt->event));
		case CDC_STMT_ALTER_JOB:
			cdc_alter_changefeed(stmt->job_id, stmt->actions, true);
			PG_RETURN_INT64(stmt->job_id);
		case CDC_STMT_AWAIT_JOB:
			cdc_await_end(stmt->job_id);
			PG_RETURN_INT64(stmt->job_id);
		case CDC_STMT_SHOW_JOBS:
			ereport(NOTICE,
					(errmsg("jobs are shown by the view changefeed_jobs"),
					 errhint("Use SELECT * FROM changefeed_jobs.")));
			break;
		case CDC_STMT_SHOW_JOB:
			ereport(NOTICE,
					(errmsg("jobs are shown by the view changefeed_jobs"),
					 errhint("Use SELECT * FROM changefeed_jobs WHERE job_id = " INT64_FORMAT ".",
							 stmt->job_id)));
			break;
	}
	PG_RETURN_NULL();
}

/* ------------------------------------------------------------------------
 * changefeed_wait
 * ------------------------------------------------------------------------
 */

/*
 * An insert position right behind a page header is the same as the end of
 * the page before, which is what a reader that has read all comes to.
 */
static XLogRecPtr
before_page_header(XLogRecPtr lsn)
{
	if (XLogSegmentOffset(lsn, wal_segment_size) == SizeOfXLogLongPHD)
		return lsn - SizeOfXLogLongPHD;
	if (lsn % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return lsn - SizeOfXLogShortPHD;
	return lsn;
}

/* Is everything up to lsn at the sink?  Raises once the job cannot get there. */
static bool
arrived(int64 job_id, XLogRecPtr lsn, bool look_at_row)
{
	XLogRecPtr	acked = InvalidXLogRecPtr;
	CdcFeedShared *feed;
	CdcJobLook	look;

	LWLockAcquire(cdc_shared->lock, LW_SHARED);
	feed = cdc_shmem_feed(job_id, MyDatabaseId, false);
	if (feed != NULL)
		acked = feed->acked_lsn;
	LWLockRelease(cdc_shared->lock);
	if (acked >= lsn)
		return true;
	if (!look_at_row)
		return false;

	cdc_look_up_job(job_id, false, &look);
	if (look.resume_lsn >= lsn || look.status == CDC_JOB_SUCCEEDED)
		return true;
	if (look.status != CDC_JOB_PENDING && look.status != CDC_JOB_RUNNING)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("job " INT64_FORMAT " is %s", job_id,
						cdc_job_status_name(look.status)),
				 look.error[0] != '\0' ? errdetail("%s", look.error) : 0));
	return false;
}

Datum
changefeed_wait(PG_FUNCTION_ARGS)
{
	int64		job_id;
	XLogRecPtr	lsn;
	XLogRecPtr	insert;
	TimestampTz start = GetCurrentTimestamp();
	TimestampTz end = DT_NOEND;
	TimestampTz next_look = 0;
	CdcJobLook	look;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	job_id = PG_GETARG_INT64(0);

	cdc_start_check_server();
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("changefeed_wait cannot run in a transaction that has written"),
				 errdetail("Its own changes are sent after its end only.")));

	cdc_look_up_job(job_id, false, &look);

	insert = GetXLogInsertRecPtr();
	lsn = before_page_header(PG_ARGISNULL(1) ? insert : PG_GETARG_LSN(1));
	if (!PG_ARGISNULL(2))
		end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													  TimestampTzGetDatum(start),
													  PG_GETARG_DATUM(2)));

	/* commits with synchronous_commit = off may not be on disk yet */
	XLogFlush(Min(lsn, before_page_header(insert)));

	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		bool		look_at_row = now >= next_look;

		CHECK_FOR_INTERRUPTS();
		if (look_at_row)
			next_look = TimestampTzPlusMilliseconds(now, 250);
		if (arrived(job_id, lsn, look_at_row))
			PG_RETURN_BOOL(true);
		if (now >= end)
			PG_RETURN_BOOL(false);
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}
