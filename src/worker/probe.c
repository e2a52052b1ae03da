/*-------------------------------------------------------------------------
 * probe.c
 *		Tries a sink from a short-lived worker.
 *
 * Sinks start library threads, which may never live in a user's backend.
 * The request with its secrets travels in a dynamic shared memory segment
 * that the backend makes, wipes and drops; the worker connects to no
 * database, so it takes part in nothing (no ProcSignal barrier waits for
 * it) and may hang in a resolver until it is terminated.
 *
 * Runs: cdc_probe_sink in the backend, cdc_probe_main in the worker.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/guc.h"
#include "base/leave.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "sink/sink.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/probe.h"

#define PROBE_MAGIC		0x63646370

/* Time the worker has on top of the sink's, for starting and leaving. */
#define PROBE_GRACE_MS	3000

typedef enum ProbeState
{
	PROBE_WAITING,
	PROBE_OK,
	PROBE_FAILED,
} ProbeState;

/*
 * The segment.  "data" holds zero-terminated strings: the URI, the options,
 * the topics.  The backend reads the answer once "state" has changed.
 */
typedef struct ProbeShared
{
	uint32		magic;
	int			encoding;
	int			timeout_ms;
	int			noptions;
	int			ntopics;
	Size		size;			/* of the whole segment */
	Size		partitions_off; /* int for each topic, from the start */
	pg_atomic_uint32 state;		/* ProbeState */
	char		error[CDC_SINK_ERROR_SIZE];
	char		data[FLEXIBLE_ARRAY_MEMBER];
} ProbeShared;

/* ------------------------------------------------------------------------
 * Backend
 * ------------------------------------------------------------------------
 */

/* Targets with the same topic as an earlier one ask nothing of their own. */
static int
first_with_topic(const CdcDefinition *def, int i)
{
	for (int j = 0; j < i; j++)
	{
		if (strcmp(def->targets[j].topic, def->targets[i].topic) == 0)
			return j;
	}
	return i;
}

static dsm_segment *
make_request(const CdcDefinition *def, const char *sink_uri, List *others)
{
	StringInfoData data;
	dsm_segment *seg;
	ProbeShared *req;
	Size		size;
	int			ntopics = 0;
	ListCell   *lc;

	initStringInfo(&data);
	appendBinaryStringInfo(&data, sink_uri, strlen(sink_uri) + 1);
	for (int i = 0; i < def->noptions; i++)
		appendBinaryStringInfo(&data, def->options[i],
							   strlen(def->options[i]) + 1);
	for (int i = 0; i < def->ntargets; i++)
	{
		if (first_with_topic(def, i) != i)
			continue;
		appendBinaryStringInfo(&data, def->targets[i].topic,
							   strlen(def->targets[i].topic) + 1);
		ntopics++;
	}
	foreach(lc, others)
	{
		appendBinaryStringInfo(&data, lfirst(lc), strlen(lfirst(lc)) + 1);
		ntopics++;
	}

	size = MAXALIGN(offsetof(ProbeShared, data) + data.len);
	seg = dsm_create(size + sizeof(int) * ntopics, 0);
	req = dsm_segment_address(seg);
	memset(req, 0, size + sizeof(int) * ntopics);
	req->magic = PROBE_MAGIC;
	req->encoding = GetDatabaseEncoding();
	req->timeout_ms = cdc_sink_check_timeout;
	req->noptions = def->noptions;
	req->ntopics = ntopics;
	req->size = size + sizeof(int) * ntopics;
	req->partitions_off = size;
	pg_atomic_init_u32(&req->state, PROBE_WAITING);
	memcpy(req->data, data.data, data.len);
	explicit_bzero(data.data, data.len);
	return seg;
}

static BackgroundWorkerHandle *
start_worker(dsm_segment *seg)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "cdc_sink", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "cdc_probe_main",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "cdc_sink probe", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "cdc_sink probe", BGW_MAXLEN);
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(seg));
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could not start a worker to try the sink"),
				 errhint("Increase max_worker_processes.")));
	return handle;
}

/* Waits for the answer; true if the worker gave one. */
static bool
wait_for_answer(ProbeShared *req, BackgroundWorkerHandle *handle)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												  (int64) req->timeout_ms + PROBE_GRACE_MS);

	for (;;)
	{
		BgwHandleStatus status;
		pid_t		pid;

		CHECK_FOR_INTERRUPTS();
		status = GetBackgroundWorkerPid(handle, &pid);
		if (pg_atomic_read_u32(&req->state) != PROBE_WAITING)
			break;
		if (status == BGWH_STOPPED || status == BGWH_POSTMASTER_DIED ||
			GetCurrentTimestamp() >= end)
			return false;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 50, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	pg_read_barrier();
	return true;
}

void
cdc_probe_sink(CdcDefinition *def, const char *sink_uri, List *others)
{
	dsm_segment *seg = make_request(def, sink_uri, others);
	ProbeShared *req = dsm_segment_address(seg);
	BackgroundWorkerHandle *volatile handle = NULL;
	volatile bool answered = false;
	char	   *error = NULL;

	PG_TRY();
	{
		handle = start_worker(seg);
		answered = wait_for_answer(req, handle);
		if (answered && pg_atomic_read_u32(&req->state) == PROBE_OK)
		{
			const int  *partitions = (const int *) ((char *) req + req->partitions_off);
			int			next = 0;

			for (int i = 0; i < def->ntargets; i++)
			{
				int			first = first_with_topic(def, i);

				def->targets[i].partitions = first == i ?
					partitions[next++] : def->targets[first].partitions;
			}
		}
		else if (answered)
		{
			req->error[sizeof(req->error) - 1] = '\0';
			error = pstrdup(req->error);
		}
	}
	PG_FINALLY();
	{
		if (handle != NULL)
			TerminateBackgroundWorker(handle);
		explicit_bzero(req->data, req->partitions_off - offsetof(ProbeShared, data));
		dsm_detach(seg);
	}
	PG_END_TRY();

	if (!answered)
		ereport(ERROR,
				(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
				 errmsg("the sink gave no answer within cdc_sink.sink_check_timeout"),
				 errhint("See the server's log for messages of the worker that tried it.")));
	if (error != NULL)
	{
		/* the words come from outside: never pass on what we cannot store */
		for (char *p = error; !pg_verifymbstr(error, strlen(error), true) && *p; p++)
		{
			if (IS_HIGHBIT_SET(*p))
				*p = '?';
		}
		ereport(ERROR,
				(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
				 errmsg("%s", error)));
	}
}

/* ------------------------------------------------------------------------
 * Worker
 * ------------------------------------------------------------------------
 */

static const char *
next_string(ProbeShared *req, Size *off)
{
	const char *s = (const char *) req + *off;

	*off += strlen(s) + 1;
	return s;
}

/* Raises only for what cannot happen: the backend has checked it all. */
static bool
try_sink(ProbeShared *req, char *error, size_t error_size)
{
	Size		off = offsetof(ProbeShared, data);
	const char *uri_text = next_string(req, &off);
	char	  **options = palloc(sizeof(char *) * Max(req->noptions, 1));
	CdcTopic   *topics = palloc0(sizeof(CdcTopic) * Max(req->ntopics, 1));
	CdcTopic  **topic_ptrs = palloc(sizeof(CdcTopic *) * Max(req->ntopics, 1));
	CdcSinkConfig config;
	const CdcSinkOps *ops;
	bool		ok;

	for (int i = 0; i < req->noptions; i++)
		options[i] = pstrdup(next_string(req, &off));
	for (int i = 0; i < req->ntopics; i++)
	{
		topics[i].name = pstrdup(next_string(req, &off));
		topics[i].schema_version = 1;
		topic_ptrs[i] = &topics[i];
	}

	memset(&config, 0, sizeof(config));
	config.uri = cdc_uri_parse(uri_text);
	config.options = cdc_options_parse(cdc_options_from_strings(req->noptions,
																options));
	config.topics = topic_ptrs;
	config.ntopics = req->ntopics;
	ops = cdc_sink_lookup(config.uri->scheme);
	if (ops == NULL || ops->probe == NULL)
		elog(ERROR, "sink cannot be tried");

	cdc_threads_started();
	ok = ops->probe(&config, req->timeout_ms, error, error_size);
	if (ok)
	{
		int		   *partitions = (int *) ((char *) req + req->partitions_off);

		for (int i = 0; i < req->ntopics; i++)
			partitions[i] = topics[i].partitions;
	}
	return ok;
}

void
cdc_probe_main(Datum arg)
{
	dsm_segment *seg;
	ProbeShared *req;
	char		error[CDC_SINK_ERROR_SIZE] = "";
	volatile bool ok = false;

	cdc_leave_init();
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	CurrentMemoryContext = AllocSetContextCreate(TopMemoryContext,
												 "cdc_sink probe",
												 ALLOCSET_DEFAULT_SIZES);
	seg = dsm_attach(DatumGetUInt32(arg));
	if (seg == NULL)
		return;					/* the backend has given up already */
	dsm_pin_mapping(seg);
	req = dsm_segment_address(seg);
	if (req->magic != PROBE_MAGIC)
		elog(ERROR, "bad magic number in dynamic shared memory segment");
	SetDatabaseEncoding(req->encoding);

	PG_TRY();
	{
		ok = try_sink(req, error, sizeof(error));
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(TopMemoryContext);
		edata = CopyErrorData();
		FlushErrorState();
		strlcpy(error, edata->message ? edata->message : "", sizeof(error));
		ok = false;
	}
	PG_END_TRY();

	if (!ok && error[0] == '\0')
		strlcpy(error, "the sink cannot be reached", sizeof(error));
	memcpy(req->error, error, sizeof(error));
	pg_write_barrier();
	pg_atomic_write_u32(&req->state, ok ? PROBE_OK : PROBE_FAILED);
	/* the backend is told by our end, at the latest by its next look */
}
