/*-------------------------------------------------------------------------
 * upload_sink.c
 *		What the sinks of object stores have in common between the feed and
 *		the uploader; see upload_sink.h.
 *
 * Runs: lane worker, main thread (nothing blocks); probe: probe worker.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/upload_sink.h"
#include "utils/memutils.h"

/* Written and removed when a feed is created; sorts before all others. */
#define PROBE_NAME		".cdc_sink-probe"

/* A request gets at least this, however late it is. */
#define MIN_TIMEOUT_MS	100

CdcHttp *
cdc_upload_sink_http(const CdcStoreConfig *config, int more_connections, int64 job_id)
{
	CdcHttpConfig http;

	memset(&http, 0, sizeof(http));
	http.job_id = job_id;
	http.max_connections = CDC_UPLOAD_PARALLEL + more_connections;
	http.ca = config->ca;
	http.insecure = config->insecure;
	http.secrets = (const char *const *) config->secrets;
	return cdc_http_open(&http);
}

/* ----------------------------------------------------------------
 *						probe
 * ----------------------------------------------------------------
 */

static void
probe_done(void *arg, const CdcHttpReply *reply)
{
	CdcUploadProbe *probe = arg;

	probe->answered = true;
	probe->ok = probe->succeeded(probe, reply);
	if (!probe->ok)
	{
		int			n = snprintf(probe->error, probe->error_size, "could not write to ");

		probe->explain(probe, reply, probe->error + n, probe->error_size - n);
	}
}

bool
cdc_upload_probe_wait(CdcUploadProbe *probe, int timeout_ms)
{
	if (!cdc_http_wait(probe->http, timeout_ms) || !probe->answered)
		snprintf(probe->error, probe->error_size, "%s did not answer within %d ms",
				 probe->config->place, timeout_ms);
	return probe->ok;
}

static bool
probe_request(CdcUploadProbe *probe, bool removal, int64 end)
{
	static const CdcHttpSlice body = {"probe\n", 6};
	int			timeout_ms = Max((int) (end - cdc_http_now_ms()), MIN_TIMEOUT_MS);

	probe->answered = probe->ok = false;
	if (probe->start(probe, removal, PROBE_NAME, &body, removal ? 0 : 1, probe_done) != NULL)
		return cdc_upload_probe_wait(probe, timeout_ms);
	strlcpy(probe->error, "out of memory", probe->error_size);
	return false;
}

bool
cdc_upload_probe_write(CdcUploadProbe *probe, int64 end)
{
	if (!probe_request(probe, false, end))
		return false;

	/* who may only write leaves it there */
	(void) probe_request(probe, true, end);
	probe->error[0] = '\0';
	return true;
}

/* ----------------------------------------------------------------
 *						the transport
 * ----------------------------------------------------------------
 */

static void
put_part(CdcSink *sink, CdcObjPart *part)
{
	cdc_uploader_part(((CdcUploadSink *) sink)->uploader, part);
}

static void
put_object(CdcSink *sink, CdcObject *object)
{
	cdc_uploader_put(((CdcUploadSink *) sink)->uploader, object);
}

static void
drop_object(CdcSink *sink, CdcObject *object)
{
	cdc_uploader_drop(((CdcUploadSink *) sink)->uploader, object);
}

/* ----------------------------------------------------------------
 *						the sink
 * ----------------------------------------------------------------
 */

static void
configure(CdcUploadSink *us, const CdcUri *uri)
{
	MemoryContext old;

	us->cxt = AllocSetContextCreate(TopMemoryContext, "cdc_sink store",
									ALLOCSET_SMALL_SIZES);
	MemoryContextSetIdentifier(us->cxt, us->base.ops->name);
	old = MemoryContextSwitchTo(us->cxt);
	PG_TRY();
	{
		us->kind->configure(us, uri);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(us->cxt);
		error = CopyErrorData();
		FlushErrorState();
		cdc_sink_trouble(&us->base, "%s", error->message);
		us->base.broken = true;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

/* No byte of an object is looked at any more. */
static void
release(void *arg)
{
	CdcUploadSink *us = arg;

	if (us->uploader != NULL)
		cdc_uploader_free(us->uploader);
	cdc_sweep_free(us->sweep);
	us->kind->release(us);
	if (us->config != NULL)
		cdc_store_wipe(us->config);
	MemoryContextDelete(us->cxt);
	free(us);
}

/* Everything behind the configuration; false: no memory. */
static bool
set_up(CdcUploadSink *us, const CdcSinkConfig *config, const CdcObjParams *parsed)
{
	us->transport.part = put_part;
	us->transport.put = put_object;
	us->transport.drop = drop_object;
	us->http = cdc_upload_sink_http(us->config, us->kind->more_connections, config->job_id);
	if (us->http == NULL)
		return false;
	us->uploader = cdc_uploader_create(&us->base, us->http, &us->dialect);
	if (us->uploader == NULL)
		return false;
	us->store = cdc_objstore_create(&us->base, config, parsed, &us->transport);
	if (us->store == NULL)
		return false;
	cdc_uploader_set_store(us->uploader, us->store);
	return us->kind->set_up(us);
}

bool
cdc_upload_sink_sweep(CdcUploadSink *us, const CdcSweepOps *ops)
{
	us->sweep = cdc_sweep_create(&us->base, ops, us->config->prefix,
								 cdc_objstore_session(us->store));
	return us->sweep != NULL;
}

CdcSink *
cdc_upload_sink_open(const CdcUploadSinkKind *kind, const CdcSinkConfig *config)
{
	CdcUploadSink *us;
	CdcObjParams parsed;

	cdc_objstore_params(config->uri, config->options, &parsed);
	us = calloc(1, kind->size);
	if (us == NULL)
		return NULL;
	us->kind = kind;
	us->dialect = *kind->dialect;
	us->base.ops = kind->ops;
	us->base.job_id = config->job_id;
	us->base.event_fd = -1;
	configure(us, config->uri);
	if (us->base.broken)
		return &us->base;
	if (!set_up(us, config, &parsed))
	{
		if (us->store != NULL)
			cdc_objstore_destroy(us->store);
		if (us->http != NULL)
			cdc_http_close(us->http, release, us);
		else
			release(us);
		return NULL;
	}
	us->base.event_fd = cdc_http_event_fd(us->http);
	return &us->base;
}

void
cdc_upload_sink_submit(CdcSink *sink, CdcBatch *batch)
{
	cdc_objstore_submit(((CdcUploadSink *) sink)->store, batch);
}

void
cdc_upload_sink_service(CdcSink *sink)
{
	CdcUploadSink *us = (CdcUploadSink *) sink;

	if (sink->broken)
		return;
	cdc_http_service(us->http);
	cdc_uploader_run(us->uploader);
	if (us->sweep != NULL && !cdc_uploader_in_trouble(us->uploader))
		cdc_sweep_run(us->sweep);
}

void
cdc_upload_sink_flush(CdcSink *sink, CdcHlc floor)
{
	if (!sink->broken)
		cdc_objstore_flush(((CdcUploadSink *) sink)->store, floor);
}

void
cdc_upload_sink_relieve(CdcSink *sink)
{
	if (!sink->broken)
		cdc_objstore_relieve(((CdcUploadSink *) sink)->store);
}

bool
cdc_upload_sink_resolved(CdcSink *sink, const char *payload, size_t len, CdcHlc r)
{
	return !sink->broken &&
		cdc_objstore_resolved(((CdcUploadSink *) sink)->store, payload, len, r);
}

bool
cdc_upload_sink_settled(CdcSink *sink)
{
	return cdc_objstore_settled(((CdcUploadSink *) sink)->store);
}

void
cdc_upload_sink_close(CdcSink *sink)
{
	CdcUploadSink *us = (CdcUploadSink *) sink;

	if (us->store == NULL)
	{
		release(us);
		return;
	}
	cdc_objstore_destroy(us->store);
	us->store = NULL;
	cdc_uploader_abort(us->uploader);
	cdc_http_close(us->http, release, us);
}
