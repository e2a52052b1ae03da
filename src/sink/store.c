/*-------------------------------------------------------------------------
 * store.c
 *		The sink of object stores that are spoken to by HTTP, but for S3:
 *		gs://, azure://, file-https://.
 *
 * upload_sink.c is the sink's face to the feed, the dialect (store.h) says how
 * a request looks.  This file ties them together, and adds the token that some
 * stores ask for.
 *
 * Runs: lane worker, main thread (nothing blocks); check: backends; probe:
 * probe worker.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/token.h"
#include "sink/upload_sink.h"

#define PREFIX_OLD		"experimental-"

/* Besides those of the uploads: one for tokens, the sweep. */
#define MORE_CONNECTIONS	2

typedef struct StoreSink
{
	CdcUploadSink base;
	CdcToken   *token;			/* NULL: the dialect needs none */
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
	cdc_store_read_prefix(config, uri, "the sink");
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
	const char *hint = NULL;
	const char *why = find_dialect(uri)->forbidden(uri, &hint);
	CdcObjParams parsed;
	size_t		old = strlen(PREFIX_OLD);
	const char *web = "";

	cdc_store_require_allowed(why, hint);
	cdc_store_wipe(read_config(uri));
	cdc_objstore_params(uri, options, &parsed);
	if (strncmp(uri->scheme, PREFIX_OLD, old) != 0)
		old = 0;
	if (strncmp(uri->scheme + old, "http", 4) == 0)
		web = "file-";
	if (old > 0 || web[0] != '\0')
		ereport(NOTICE,
				(errmsg("scheme %s is the same as %s%s, which is its name today",
						uri->scheme, web, uri->scheme + old),
				 web[0] == '\0' ? 0 :
				 errhint("It writes files. Use webhook-https:// for a webhook.")));
}

static bool
put_succeeded(const CdcStoreDialect *dialect, const CdcHttpReply *reply)
{
	return cdc_reply_ok(reply) ||
		(dialect->was_there != NULL && dialect->was_there(reply));
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
	CdcUploadProbe base;
	CdcToken   *token;
} Probe;

static void
probe_token_changed(void *arg, const char *error)
{
	CdcUploadProbe *probe = arg;

	probe->answered = true;
	probe->ok = error == NULL;
	if (error != NULL)
		strlcpy(probe->error, error, probe->error_size);
}

static CdcHttpCall *
probe_start(CdcUploadProbe *base, bool removal, const char *name,
			const CdcHttpSlice *slices, int nslices, CdcHttpDone done)
{
	Probe	   *probe = (Probe *) base;
	char		key[CDC_STORE_KEY_MAX + 1];
	CdcStoreDraft draft;
	CdcStoreAsk ask;
	CdcHttpCall *call;

	snprintf(key, sizeof(key), "%s%s", base->config->prefix, name);
	memset(&draft, 0, sizeof(draft));
	memset(&ask, 0, sizeof(ask));
	ask.step = CDC_UPLOAD_PUT;
	ask.remove = removal;
	ask.key = key;
	ask.len = nslices > 0 ? slices->len : 0;
	ask.token = probe->token ? cdc_token_get(probe->token) : NULL;
	base->config->dialect->draft(base->config, &ask, &draft);
	call = cdc_draft_start(&draft, base->http, slices, nslices, done, base);
	cdc_draft_free(&draft);
	return call;
}

static bool
probe_succeeded(const CdcUploadProbe *base, const CdcHttpReply *reply)
{
	return put_succeeded(base->config->dialect, reply);
}

static void
probe_explain(const CdcUploadProbe *base, const CdcHttpReply *reply, char *dst, size_t size)
{
	explain(base->http, base->config, ((const Probe *) base)->token, reply, dst, size);
}

static bool
store_probe(const CdcSinkConfig *config, int timeout_ms, char *error, size_t error_size)
{
	int64		end = cdc_http_now_ms() + timeout_ms;
	Probe		probe = {
		.base.config = read_config(config->uri), .base.error = error,
		.base.error_size = error_size, .base.start = probe_start,
		.base.succeeded = probe_succeeded, .base.explain = probe_explain,
	};
	CdcStoreConfig *store = probe.base.config;
	CdcHttp    *http;
	bool		ok = true;

	http = probe.base.http = cdc_upload_sink_http(store, MORE_CONNECTIONS, 0);
	if (http != NULL && store->token_steps > 0)
		probe.token = cdc_token_create(http, store, probe_token_changed, &probe);
	if (http == NULL || (store->token_steps > 0 && probe.token == NULL))
	{
		strlcpy(error, "out of memory", error_size);
		return false;
	}
	if (probe.token != NULL && cdc_token_get(probe.token) == NULL)
		ok = cdc_upload_probe_wait(&probe.base, timeout_ms);
	ok = ok && cdc_upload_probe_write(&probe.base, end);
	/* the worker ends: bytes that are still looked at stay */
	cdc_http_close(http, NULL, NULL);
	cdc_store_wipe(store);
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
		cdc_sink_trouble(&ss->base.base, "%s", error);
	else
		cdc_uploader_run(ss->base.uploader);
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
	const CdcStoreConfig *config = ss->base.config;
	char		key[CDC_STORE_KEY_MAX + 1];
	CdcStoreDraft draft;
	CdcStoreAsk ask;
	CdcHttpCall *call = NULL;

	if (snprintf(key, sizeof(key), "%s%s", config->prefix,
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
	config->dialect->draft(config, &ask, &draft);
	call = cdc_draft_start(&draft, ss->base.http, request->slices, request->nslices, done, arg);
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
	const CdcStoreDialect *dialect = ss->base.config->dialect;

	if (reply->status == 401 && ss->token != NULL)
		cdc_token_reject(ss->token);
	if (request->step != CDC_UPLOAD_PUT && dialect->judge != NULL)
		return dialect->judge(request, reply);
	return put_succeeded(dialect, reply) ? CDC_UPLOAD_OK : CDC_UPLOAD_RETRY;
}

static void
upload_explain(CdcSink *sink, const CdcHttpReply *reply, char *dst, size_t size)
{
	StoreSink  *ss = (StoreSink *) sink;

	explain(ss->base.http, ss->base.config, ss->token, reply, dst, size);
}

static const CdcUploadDialect upload = {
	.ready = upload_ready,
	.start = upload_start,
	.judge = upload_judge,
	.explain = upload_explain,
};

/* ----------------------------------------------------------------
 *						the sweep
 * ----------------------------------------------------------------
 */

static CdcHttpCall *
sweep_start(CdcSink *sink, const CdcSweepRequest *request)
{
	StoreSink  *ss = (StoreSink *) sink;
	const CdcStoreConfig *config = ss->base.config;
	char		key[CDC_STORE_KEY_MAX + 1];
	CdcStoreDraft draft = {.max_body = request->max_body};
	CdcStoreAsk ask = {.sweep = request->query};
	CdcHttpCall *call;

	if (request->name != NULL)
	{
		if (snprintf(key, sizeof(key), "%s%s", config->prefix, request->name) >= sizeof(key))
			return NULL;
		ask.key = key;
	}
	if (ss->token != NULL && (ask.token = cdc_token_get(ss->token)) == NULL)
		return NULL;
	config->dialect->draft(config, &ask, &draft);
	call = cdc_draft_start(&draft, ss->base.http, NULL, 0, request->done, request->arg);
	cdc_draft_free(&draft);
	return call;
}

static const CdcSweepOps sweep = {
	.ready = upload_ready,
	.start = sweep_start,
};

/* ----------------------------------------------------------------
 *						the sink
 * ----------------------------------------------------------------
 */

static void
configure(CdcUploadSink *base, const CdcUri *uri)
{
	const CdcStoreDialect *dialect;

	base->config = read_config(uri);
	dialect = base->config->dialect;
	base->dialect.no_begin = dialect->no_begin;
	base->transport.part_min = dialect->part_min;
	base->transport.max_parts = dialect->max_parts;
}

static bool
set_up(CdcUploadSink *base)
{
	StoreSink  *ss = (StoreSink *) base;

	if (base->config->token_steps > 0)
	{
		ss->token = cdc_token_create(base->http, base->config, token_changed, ss);
		if (ss->token == NULL)
			return false;
	}
	return !base->config->dialect->sweeps || cdc_upload_sink_sweep(base, &sweep);
}

static void
release(CdcUploadSink *base)
{
	StoreSink  *ss = (StoreSink *) base;

	if (ss->token != NULL)
		cdc_token_free(ss->token);
}

static const CdcUploadSinkKind kind = {
	.ops = &cdc_sink_store,
	.size = sizeof(StoreSink),
	.more_connections = MORE_CONNECTIONS,
	.dialect = &upload,
	.configure = configure,
	.set_up = set_up,
	.release = release,
};

static CdcSink *
store_open(const CdcSinkConfig *config)
{
	return cdc_upload_sink_open(&kind, config);
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
	.submit = cdc_upload_sink_submit,
	.service = cdc_upload_sink_service,
	.flush = cdc_upload_sink_flush,
	.relieve = cdc_upload_sink_relieve,
	.resolved = cdc_upload_sink_resolved,
	.settled = cdc_upload_sink_settled,
	.close = cdc_upload_sink_close,
};
