/*-------------------------------------------------------------------------
 * status.c
 *		Functions behind the views: what the workers tell in shared memory,
 *		and the options there are.
 *
 * The views join this with the tables and filter by owner; nothing here
 * checks privileges, which is why the functions live in a schema that is
 * closed to users.  Without the library preloaded there is nothing to tell.
 *
 * Runs: user backends.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/start.h"
#include "base/shmem.h"
#include "catalog/options.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

extern PGDLLEXPORT Datum cdc_feed_stats(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum cdc_lane_stats(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum cdc_option_list(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(cdc_feed_stats);
PG_FUNCTION_INFO_V1(cdc_lane_stats);
PG_FUNCTION_INFO_V1(cdc_option_list);

#define FEED_COLUMNS	18
#define LANE_COLUMNS	5
#define OPTION_COLUMNS	5

/* The result as a tuplestore; rows are added with tuplestore_putvalues. */
static Tuplestorestate *
begin_result(FunctionCallInfo fcinfo, TupleDesc *desc)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;
	Tuplestorestate *store;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) ||
		(rsinfo->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	old = MemoryContextSwitchTo(rsinfo->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	store = tuplestore_begin_heap(true, false, 1024);
	rsinfo->returnMode = SFRM_Materialize;
	rsinfo->setResult = store;
	rsinfo->setDesc = *desc;
	MemoryContextSwitchTo(old);
	return store;
}

static Datum
hlc_numeric(CdcHlc h)
{
	char		text[CDC_HLC_TEXT_SIZE];

	cdc_hlc_print(text, h);
	return DirectFunctionCall3(numeric_in, CStringGetDatum(text),
							   ObjectIdGetDatum(InvalidOid),
							   Int32GetDatum(-1));
}

/* Copies the entries of this database; the lock is held for the copy only. */
static CdcFeedShared *
copy_feeds(int *n)
{
	CdcFeedShared *feeds = palloc(sizeof(CdcFeedShared) * cdc_shared->nfeeds);

	*n = 0;
	LWLockAcquire(cdc_shared->lock, LW_SHARED);
	for (int i = 0; i < cdc_shared->nfeeds; i++)
	{
		const CdcFeedShared *feed = &cdc_shared->feeds[i];

		if (feed->job_id != 0 && feed->dboid == MyDatabaseId)
			feeds[(*n)++] = *feed;
	}
	LWLockRelease(cdc_shared->lock);
	return feeds;
}

Datum
cdc_feed_stats(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Tuplestorestate *store = begin_result(fcinfo, &desc);
	CdcFeedShared *feeds;
	int			n;

	if (cdc_shared == NULL)
		return (Datum) 0;

	feeds = copy_feeds(&n);
	for (int i = 0; i < n; i++)
	{
		const CdcFeedShared *f = &feeds[i];
		Datum		values[FEED_COLUMNS];
		bool		nulls[FEED_COLUMNS] = {false};
		int			c = 0;

		values[c++] = Int64GetDatum(f->job_id);
		values[c++] = Int64GetDatum((int64) f->messages);
		values[c++] = Int64GetDatum((int64) f->bytes);
		values[c++] = Int64GetDatum((int64) f->resolved_messages);
		values[c++] = Int64GetDatum((int64) f->retries);
		values[c++] = Int64GetDatum((int64) f->dead_letters);
		values[c++] = Int64GetDatum((int64) f->scanned_rows);
		values[c++] = Int64GetDatum(f->queued_bytes);
		nulls[c] = XLogRecPtrIsInvalid(f->acked_lsn);
		values[c++] = LSNGetDatum(f->acked_lsn);
		nulls[c] = f->acked_hlc.wall == 0;
		values[c++] = f->acked_hlc.wall == 0 ? (Datum) 0 : hlc_numeric(f->acked_hlc);
		nulls[c] = f->acked_time == 0;
		values[c++] = TimestampTzGetDatum(f->acked_time);
		nulls[c] = f->last_message == 0;
		values[c++] = TimestampTzGetDatum(f->last_message);
		values[c++] = BoolGetDatum(f->in_trouble);
		values[c++] = CStringGetTextDatum(f->last_error);
		nulls[c] = f->last_error_time == 0;
		values[c++] = TimestampTzGetDatum(f->last_error_time);
		values[c++] = CStringGetTextDatum(f->running_status);
		values[c++] = BoolGetDatum(f->stopped);
		values[c++] = BoolGetDatum(f->scanning);
		Assert(c == FEED_COLUMNS);
		tuplestore_putvalues(store, desc, values, nulls);
	}
	return (Datum) 0;
}

static const char *
lane_state_name(CdcLaneState state)
{
	switch (state)
	{
		case CDC_LANE_NONE:
			return "none";
		case CDC_LANE_SETUP:
			return "setup";
		case CDC_LANE_STARTING:
			return "starting";
		case CDC_LANE_RUNNING:
			return "running";
		case CDC_LANE_CLOSED:
			return "closed";
	}
	return "unknown";
}

/* What a job that does not run waits for, or NULL. */
static char *
lane_note(const CdcLaneShared *lane)
{
	char	   *blocker;

	if (lane->error[0] != '\0' && lane->state != CDC_LANE_RUNNING)
		return psprintf("worker failed: %s", lane->error);
	switch (lane->state)
	{
		case CDC_LANE_SETUP:
			blocker = cdc_start_describe_blocker(lane->state, lane->pid);
			return blocker ? psprintf("waiting for %s to end", blocker) :
				pstrdup("waiting for the replication slot");
		case CDC_LANE_NONE:
			return pstrdup("waiting for a worker");
		case CDC_LANE_STARTING:
			return pstrdup("worker is starting");
		default:
			return NULL;
	}
}

Datum
cdc_lane_stats(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	CdcLaneShared copy;
	const CdcLaneShared *lane = NULL;
	Datum		values[LANE_COLUMNS] = {0};
	bool		nulls[LANE_COLUMNS];
	char	   *note;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(&copy, 0, sizeof(copy));
	memset(nulls, true, sizeof(nulls));

	if (cdc_shared != NULL)
	{
		LWLockAcquire(cdc_shared->lock, LW_SHARED);
		lane = cdc_shmem_lane(MyDatabaseId, false);
		if (lane != NULL)
			memcpy(&copy, lane, sizeof(copy));
		LWLockRelease(cdc_shared->lock);
	}

	note = cdc_shared == NULL ?
		pstrdup("cdc_sink is not in shared_preload_libraries") :
		lane_note(&copy);
	if (lane != NULL)
	{
		values[0] = CStringGetTextDatum(lane_state_name(copy.state));
		nulls[0] = false;
		values[1] = Int32GetDatum((int32) copy.pid);
		nulls[1] = copy.pid == 0;
		values[3] = LSNGetDatum(copy.decoded_lsn);
		nulls[3] = XLogRecPtrIsInvalid(copy.decoded_lsn);
		values[4] = LSNGetDatum(copy.confirmed_lsn);
		nulls[4] = XLogRecPtrIsInvalid(copy.confirmed_lsn);
	}
	if (note != NULL)
	{
		values[2] = CStringGetTextDatum(note);
		nulls[2] = false;
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

Datum
cdc_option_list(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Tuplestorestate *store = begin_result(fcinfo, &desc);

	for (int i = 0; i < cdc_option_count(); i++)
	{
		Datum		values[OPTION_COLUMNS];
		bool		nulls[OPTION_COLUMNS] = {false};
		const char *name;
		const char *type;
		const char *dflt;
		const char *help;
		bool		supported;

		cdc_option_describe(i, &name, &type, &dflt, &supported, &help);
		values[0] = CStringGetTextDatum(name);
		values[1] = CStringGetTextDatum(type);
		nulls[2] = dflt[0] == '\0';
		values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(dflt);
		values[3] = BoolGetDatum(supported);
		values[4] = CStringGetTextDatum(help);
		tuplestore_putvalues(store, desc, values, nulls);
	}
	return (Datum) 0;
}
