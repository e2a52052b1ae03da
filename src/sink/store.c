/*-------------------------------------------------------------------------
 * store.c
 *		The sink of object stores that are spoken to by HTTP, but for S3:
 *		gs://, azure://, file-https://.
 *
 * objstore.c says which rows go into which object and what is acknowledged,
 * upload.c in which order the objects are brought away and when that is tried
 * again, the dialect (store.h) how a request looks.  This file ties them
 * together, and adds the token that some stores ask for.
 *
 * Runs: lane worker, main thread (nothing blocks); check: backends; probe:
 * probe worker.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "sink/store.h"
#include "sink/token.h"
#include "utils/memutils.h"

#define PREFIX_OLD		"experimental-"

/* Written and removed when a feed is created; sorts before all others. */
#define PROBE_NAME		".cdc_sink-probe"

typedef struct StoreSink
{
	CdcSink		base;
	MemoryContext cxt;			/* of config */
	CdcStoreConfig *config;
	CdcObjStore *store;
	CdcHttp    *http;
	CdcUploader *uploader;
	CdcToken   *token;			/* NULL: the dialect needs none */
	CdcUploadDialect upload;
	CdcObjTransport transport;
} StoreSink;

static const CdcStoreDialect *const dialects[] = {
	&cdc_store_gcs, &cdc_store_azure, &cdc_store_web,
};

static const char *const options_known[] = {"compression", NULL};
static const char *const schemes[] = {
	"gs", "experimental-gs",
	"azure", "experimental-azure", "azure-blob", "experimental-azure-blob",
	"azure-storage", "experimental-azure-storage",
	"file-https", "file-http", "https", "http", "experimental-https",
	"experimental-http", NULL
};

static const CdcStoreDialect *
find_dialect(const CdcUri *uri)
{
	for (int i = 0; i < lengthof(dialects); i++)
	{
		for (const char *const *s = dialects[i]->schemes; *s != NULL; s++)
		{
			if (strcmp(*s, uri->scheme) == 0)
				return dialects[i];
		}
	}
	elog(ERROR, "no dialect for scheme \"%s\"", uri->scheme);
}

static CdcStoreConfig *
read_config(const CdcUri *uri)
{
	const CdcStoreDialect *dialect = find_dialect(uri);
	CdcStoreConfig *config;

	cdc_uri_require_known(uri, uri->scheme, dialect->params);
	config = dialect->config(uri);
	config->dialect = dialect;
	cdc_store_read_prefix(config, uri);
	cdc_store_read_ca(config, uri);
	return config;
}

static const char *
store_forbidden(const CdcUri *uri)
{
	const char *hint;

	return find_dialect(uri)->forbidden(uri, &hint);
}

static void
store_check(const CdcUri *uri, const CdcOptions *options)
{
	const char *hint;
	const char *why = find_dialect(uri)->forbidden(uri, &hint);
	CdcObjParams parsed;
	size_t		old = strlen(PREFIX_OLD);
	const char *web = "";

	if (why != NULL && !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s", why),
				 errhint("%s", hint)));
	cdc_store_wipe(read_config(uri));
	cdc_objstore_params(uri, options, &parsed);
	if (strncmp(uri->scheme, PREFIX_OLD, old) != 0)
		old = 0;
	if (strncmp(uri->scheme + old, "http", 4) == 0)
		web = "file-";
	if (old > 0 || web[0] != '\0')
		ereport(NOTICE,
				(errmsg("scheme %s is the same as %s%s, which is its name today",
						uri->scheme, web, uri->scheme + old)));
}

static CdcHttp *
open_http(const CdcStoreConfig *config, int64 job_id)
{
	CdcHttpConfig http;

	memset(&http, 0, sizeof(http));
	http.job_id = job_id;
	http.max_connections = CDC_UPLOAD_PARALLEL + 1; /* one for tokens */
	http.ca = config->ca;
	http.insecure = config->insecure;
	http.secrets = (const char *const *) config->secrets;
	return cdc_http_open(&http);
}

/* "bucket "b" at host: notFound (HTTP status 404): The specified ..." */
static void
explain(CdcHttp *http, const CdcStoreConfig *config, const CdcToken *token,
		const CdcHttpReply *reply, char *dst, size_t size)
{
	char		raw_code[64] = "";
	char		raw_message[512] = "";
	char		code[64];
	char		message[256];

	if (reply->status == 0 || (reply->status < 300 && !reply->complete))
		snprintf(dst, size, "%s: %s", config->place,
				 reply->error[0] != '\0' ? reply->error : "no answer");
	else
	{
		config->dialect->explain(reply, raw_code, sizeof(raw_code),
								 raw_message, sizeof(raw_message));
		cdc_http_clean(http, code, sizeof(code), raw_code, strlen(raw_code));
		cdc_http_clean(http, message, sizeof(message), raw_message, strlen(raw_message));
		snprintf(dst, size, "%s: %s%sHTTP status %d%s%s%s", config->place,
				 code, code[0] ? " (" : "", reply->status, code[0] ? ")" : "",
				 message[0] ? ": " : "", message);
	}
	if (token != NULL)
		cdc_token_redact(token, dst);
}

/* ----------------------------------------------------------------
 *						probe
 * ----------------------------------------------------------------
 */

typedef struct Probe
{
	CdcHttp    *http;
	CdcStoreConfig *config;
	CdcToken   *token;
	bool		answered;
	bool		ok;
	char	   *error;
	size_t		error_size;
} Probe;

static void
probe_token_changed(void *arg, const char *error)
{
	Probe	   *probe = arg;

	probe->answered = true;
	probe->ok = error == NULL;
	if (error != NULL)
		strlcpy(probe->error, error, probe->error_size);
}

static void
probe_done(void *arg, const CdcHttpReply *reply)
{
	Probe	   *probe = arg;
	const CdcStoreDialect *dialect = probe->config->dialect;

	probe->answered = true;
	probe->ok = cdc_reply_ok(reply) ||
		(dialect->was_there != NULL && dialect->was_there(reply));
	if (!probe->ok)
	{
		int			n = snprintf(probe->error, probe->error_size, "could not write to ");

		explain(probe->http, probe->config, probe->token, reply,
				probe->error + n, probe->error_size - n);
	}
}

static bool
probe_wait(Probe *probe, int timeout_ms)
{
	if (!cdc_http_wait(probe->http, timeout_ms) || !probe->answered)
		snprintf(probe->error, probe->error_size, "%s did not answer within %d ms",
				 probe->config->place, timeout_ms);
	return probe->ok;
}

static bool
probe_request(Probe *probe, bool removal, int timeout_ms)
{
	static const CdcHttpSlice body = {"probe\n", 6};
	char		key[CDC_STORE_KEY_MAX + 1];
	CdcStoreDraft draft;
	CdcStoreAsk ask;
	bool		started;

	snprintf(key, sizeof(key), "%s%s", probe->config->prefix, PROBE_NAME);
	memset(&draft, 0, sizeof(draft));
	memset(&ask, 0, sizeof(ask));
	ask.step = CDC_UPLOAD_PUT;
	ask.remove = removal;
	ask.key = key;
	ask.len = removal ? 0 : body.len;
	ask.token = probe->token ? cdc_token_get(probe->token) : NULL;
	probe->answered = probe->ok = false;
	probe->config->dialect->draft(probe->config, &ask, &draft);
	started = cdc_draft_start(&draft, probe->http, &body, removal ? 0 : 1,
							  probe_done, probe) != NULL;
	cdc_draft_free(&draft);
	if (started)
		return probe_wait(probe, timeout_ms);
	strlcpy(probe->error, "out of memory", probe->error_size);
	return false;
}

static bool
store_probe(const CdcSinkConfig *config, int timeout_ms, char *error, size_t error_size)
{
	Probe		probe;
	int64		end = cdc_http_now_ms() + timeout_ms;
	bool		ok = true;

	memset(&probe, 0, sizeof(probe));
	probe.config = read_config(config->uri);
	probe.error = error;
	probe.error_size = error_size;
	probe.http = open_http(probe.config, 0);
	if (probe.http != NULL && probe.config->token_steps > 0)
		probe.token = cdc_token_create(probe.http, probe.config,
									   probe_token_changed, &probe);
	if (probe.http == NULL || (probe.config->token_steps > 0 && probe.token == NULL))
	{
		strlcpy(error, "out of memory", error_size);
		return false;
	}
	if (probe.token != NULL && cdc_token_get(probe.token) == NULL)
		ok = probe_wait(&probe, timeout_ms);
	ok = ok && probe_request(&probe, false, Max((int) (end - cdc_http_now_ms()), 100));

	/* who may only write leaves it there */
	if (ok)
	{
		(void) probe_request(&probe, true, Max((int) (end - cdc_http_now_ms()), 100));
		error[0] = '\0';
	}
	/* the worker ends: bytes that are still looked at stay */
	cdc_http_close(probe.http, NULL, NULL);
	cdc_store_wipe(probe.config);
	return ok;
}

/* ----------------------------------------------------------------
 *						what upload.c asks
 * ----------------------------------------------------------------
 */

/* There is a token, or it is on its way, or could not be had. */
static void
token_changed(void *arg, const char *error)
{
	StoreSink  *ss = arg;

	if (error != NULL)
		cdc_sink_trouble(&ss->base, "%s", error);
	else
		cdc_uploader_run(ss->uploader);
}

static bool
upload_ready(CdcSink *sink)
{
	StoreSink  *ss = (StoreSink *) sink;

	return ss->token == NULL || cdc_token_get(ss->token) != NULL;
}

static CdcHttpCall *
upload_start(CdcSink *sink, const CdcUploadRequest *request, CdcHttpDone done, void *arg)
{
	StoreSink  *ss = (StoreSink *) sink;
	char		key[CDC_STORE_KEY_MAX + 1];
	CdcStoreDraft draft;
	CdcStoreAsk ask;
	CdcHttpCall *call = NULL;

	if (snprintf(key, sizeof(key), "%s%s", ss->config->prefix,
				 request->upload->object->name) >= sizeof(key))
		return NULL;
	memset(&draft, 0, sizeof(draft));
	memset(&ask, 0, sizeof(ask));
	ask.step = request->step;
	ask.key = key;
	ask.upload = request->upload;
	ask.part = request->part;
	for (int i = 0; i < request->nslices; i++)
		ask.len += request->slices[i].len;
	if (ss->token != NULL && (ask.token = cdc_token_get(ss->token)) == NULL)
		return NULL;
	ss->config->dialect->draft(ss->config, &ask, &draft);
	call = cdc_draft_start(&draft, ss->http, request->slices, request->nslices, done, arg);
	if (call != NULL)
	{
		/* its bytes have to stay until the answer is there */
		request->upload->body = draft.body;
		draft.body = NULL;
	}
	cdc_draft_free(&draft);
	return call;
}

static CdcUploadVerdict
upload_judge(CdcSink *sink, const CdcUploadRequest *request, const CdcHttpReply *reply)
{
	StoreSink  *ss = (StoreSink *) sink;
	const CdcStoreDialect *dialect = ss->config->dialect;

	if (reply->status == 401 && ss->token != NULL)
		cdc_token_reject(ss->token);
	if (request->step != CDC_UPLOAD_PUT && dialect->judge != NULL)
		return dialect->judge(request, reply);
	if (cdc_reply_ok(reply) ||
		(dialect->was_there != NULL && dialect->was_there(reply)))
		return CDC_UPLOAD_OK;
	return CDC_UPLOAD_RETRY;
}

static void
upload_explain(CdcSink *sink, const CdcHttpReply *reply, char *dst, size_t size)
{
	StoreSink  *ss = (StoreSink *) sink;

	explain(ss->http, ss->config, ss->token, reply, dst, size);
}

static void
put_part(CdcSink *sink, CdcObjPart *part)
{
	cdc_uploader_part(((StoreSink *) sink)->uploader, part);
}

static void
put_object(CdcSink *sink, CdcObject *object)
{
	cdc_uploader_put(((StoreSink *) sink)->uploader, object);
}

static void
drop_object(CdcSink *sink, CdcObject *object)
{
	cdc_uploader_drop(((StoreSink *) sink)->uploader, object);
}

/* ----------------------------------------------------------------
 *						the sink
 * ----------------------------------------------------------------
 */

/*
 * Reads the configuration for the sink.  What has become of it since check()
 * (the server's environment may be another) makes a broken sink, which is
 * opened anew from time to time.
 */
static void
configure(StoreSink *ss, const CdcUri *uri)
{
	MemoryContext old;

	ss->cxt = AllocSetContextCreate(TopMemoryContext, "cdc_sink store",
									ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(ss->cxt);
	PG_TRY();
	{
		ss->config = read_config(uri);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(ss->cxt);
		error = CopyErrorData();
		FlushErrorState();
		cdc_sink_trouble(&ss->base, "%s", error->message);
		ss->base.broken = true;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

/* No byte of an object is looked at any more. */
static void
store_release(void *arg)
{
	StoreSink  *ss = arg;

	if (ss->uploader != NULL)
		cdc_uploader_free(ss->uploader);
	if (ss->token != NULL)
		cdc_token_free(ss->token);
	if (ss->config != NULL)
		cdc_store_wipe(ss->config);
	MemoryContextDelete(ss->cxt);
	free(ss);
}

/* Everything behind the configuration; false: no memory. */
static bool
set_up(StoreSink *ss, const CdcSinkConfig *config, const CdcObjParams *parsed)
{
	const CdcStoreDialect *dialect = ss->config->dialect;

	ss->upload.no_begin = dialect->no_begin;
	ss->transport.part_min = dialect->part_min;
	ss->transport.max_parts = dialect->max_parts;
	ss->upload.ready = upload_ready;
	ss->upload.start = upload_start;
	ss->upload.judge = upload_judge;
	ss->upload.explain = upload_explain;
	ss->transport.part = put_part;
	ss->transport.put = put_object;
	ss->transport.drop = drop_object;
	ss->http = open_http(ss->config, config->job_id);
	if (ss->http == NULL)
		return false;
	ss->uploader = cdc_uploader_create(&ss->base, ss->http, &ss->upload);
	if (ss->config->token_steps > 0)
		ss->token = cdc_token_create(ss->http, ss->config, token_changed, ss);
	if (ss->uploader == NULL || (ss->config->token_steps > 0 && ss->token == NULL))
		return false;
	ss->store = cdc_objstore_create(&ss->base, config, parsed, &ss->transport);
	if (ss->store == NULL)
		return false;
	cdc_uploader_set_store(ss->uploader, ss->store);
	return true;
}

static CdcSink *
store_open(const CdcSinkConfig *config)
{
	StoreSink  *ss;
	CdcObjParams parsed;

	cdc_objstore_params(config->uri, config->options, &parsed);
	ss = calloc(1, sizeof(StoreSink));
	if (ss == NULL)
		return NULL;
	ss->base.ops = &cdc_sink_store;
	ss->base.job_id = config->job_id;
	ss->base.event_fd = -1;
	configure(ss, config->uri);
	if (ss->base.broken)
		return &ss->base;
	if (!set_up(ss, config, &parsed))
	{
		if (ss->http != NULL)
			cdc_http_close(ss->http, store_release, ss);
		else
			store_release(ss);
		return NULL;
	}
	ss->base.event_fd = cdc_http_event_fd(ss->http);
	return &ss->base;
}

static void
store_submit(CdcSink *sink, CdcBatch *batch)
{
	cdc_objstore_submit(((StoreSink *) sink)->store, batch);
}

static void
store_service(CdcSink *sink)
{
	StoreSink  *ss = (StoreSink *) sink;

	if (sink->broken)
		return;
	cdc_http_service(ss->http);
	cdc_uploader_run(ss->uploader);
}

static void
store_flush(CdcSink *sink, CdcHlc floor)
{
	if (!sink->broken)
		cdc_objstore_flush(((StoreSink *) sink)->store, floor);
}

static void
store_relieve(CdcSink *sink)
{
	if (!sink->broken)
		cdc_objstore_relieve(((StoreSink *) sink)->store);
}

static bool
store_resolved(CdcSink *sink, const char *payload, size_t len, CdcHlc r)
{
	return !sink->broken &&
		cdc_objstore_resolved(((StoreSink *) sink)->store, payload, len, r);
}

static bool
store_settled(CdcSink *sink)
{
	return cdc_objstore_settled(((StoreSink *) sink)->store);
}

static void
store_close(CdcSink *sink)
{
	StoreSink  *ss = (StoreSink *) sink;

	if (ss->store == NULL)
	{
		store_release(ss);
		return;
	}
	cdc_objstore_destroy(ss->store);
	ss->store = NULL;
	cdc_uploader_abort(ss->uploader);
	cdc_http_close(ss->http, store_release, ss);
}

const CdcSinkOps cdc_sink_store = {
	.name = "cloudstorage",
	.schemes = schemes,
	.options = options_known,
	.has_topics = false,
	.forces_key_in_value = true,
	.sanitises_topics = false,
	.check = store_check,
	.forbidden = store_forbidden,
	.probe = store_probe,
	.open = store_open,
	.submit = store_submit,
	.service = store_service,
	.flush = store_flush,
	.relieve = store_relieve,
	.resolved = store_resolved,
	.settled = store_settled,
	.close = store_close,
};
