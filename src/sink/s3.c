/*-------------------------------------------------------------------------
 * s3.c
 *		The S3 sink: s3://bucket/path.
 *
 * upload_sink.c is the sink's face to the feed; this file says what requests
 * look like and adds the key they are signed with.  An object is one PUT, or a
 * multipart upload, so it is there whole or not at all.
 *
 * Runs: lane worker, main thread (nothing blocks); check: backends; probe:
 * probe worker.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/aws_creds.h"
#include "sink/http.h"
#include "sink/multipart.h"
#include "sink/objstore.h"
#include "sink/s3_config.h"
#include "sink/s3_request.h"
#include "sink/sigv4.h"
#include "sink/upload_sink.h"

/* Besides those of the uploads: a key, the sweep. */
#define MORE_CONNECTIONS	2

typedef struct S3Sink
{
	CdcUploadSink base;			/* its config is the CdcS3Config's */
	CdcAwsCreds *creds;
	uint64		creds_failures; /* as last told */
} S3Sink;

static const char *const options_known[] = {"compression", NULL};
static const char *const schemes[] = {"s3", "experimental-s3", NULL};

static void
s3_check(const CdcUri *uri, const CdcOptions *options)
{
	CdcObjParams parsed;
	const char *hint = NULL;
	const char *why = cdc_s3_forbidden(uri, &hint);

	cdc_store_require_allowed(why, hint);
	(void) cdc_s3_config(uri);
	cdc_objstore_params(uri, options, &parsed);
	if (strcmp(uri->scheme, "s3") != 0)
		ereport(NOTICE,
				(errmsg("scheme %s is the same as s3, the prefix is no longer needed",
						uri->scheme)));
}

static const char *
s3_forbidden(const CdcUri *uri)
{
	const char *hint;

	return cdc_s3_forbidden(uri, &hint);
}

/* ----------------------------------------------------------------
 *						probe
 * ----------------------------------------------------------------
 */

typedef struct Probe
{
	CdcUploadProbe base;
	CdcAwsCreds *creds;
} Probe;

static CdcHttpCall *
probe_start(CdcUploadProbe *base, bool removal, const char *name,
			const CdcHttpSlice *slices, int nslices, CdcHttpDone done)
{
	CdcS3Request request = {
		.method = removal ? "DELETE" : "PUT", .name = name, .creates = !removal,
		.slices = slices, .nslices = nslices, .done = done, .arg = base,
	};

	return cdc_s3_start(base->http, (CdcS3Config *) base->config,
						cdc_aws_creds_key(((Probe *) base)->creds), &request);
}

static bool
probe_succeeded(const CdcUploadProbe *base, const CdcHttpReply *reply)
{
	return cdc_reply_ok(reply);
}

static void
probe_explain(const CdcUploadProbe *base, const CdcHttpReply *reply, char *dst, size_t size)
{
	cdc_s3_explain(base->http, (CdcS3Config *) base->config, reply, dst, size);
}

/* Waits for the key. */
static bool
probe_key(Probe *probe, int timeout_ms)
{
	CdcUploadProbe *base = &probe->base;

	if (cdc_aws_creds_ready(probe->creds))
		return true;
	if (cdc_http_wait(base->http, timeout_ms) && cdc_aws_creds_ready(probe->creds))
		return true;
	if (cdc_aws_creds_error(probe->creds)[0] != '\0')
		strlcpy(base->error, cdc_aws_creds_error(probe->creds), base->error_size);
	else
		snprintf(base->error, base->error_size, "could not get credentials within %d ms",
				 timeout_ms);
	return false;
}

static void
free_probe_creds(void *arg)
{
	cdc_aws_creds_free(arg);
}

static bool
s3_probe(const CdcSinkConfig *config, int timeout_ms, char *error, size_t error_size)
{
	int64		end = cdc_http_now_ms() + timeout_ms;
	CdcS3Config *s3 = cdc_s3_config(config->uri);
	Probe		probe = {
		.base.config = &s3->base, .base.error = error, .base.error_size = error_size,
		.base.start = probe_start, .base.succeeded = probe_succeeded,
		.base.explain = probe_explain,
	};
	CdcHttp    *http;
	bool		ok;

	http = probe.base.http = cdc_upload_sink_http(&s3->base, MORE_CONNECTIONS, 0);
	probe.creds = http ? cdc_aws_creds_create(http, s3->source) : NULL;
	if (probe.creds == NULL)
	{
		if (http != NULL)
			cdc_http_close(http, NULL, NULL);
		strlcpy(error, "out of memory", error_size);
		return false;
	}
	ok = probe_key(&probe, timeout_ms) && cdc_upload_probe_write(&probe.base, end);
	cdc_http_close(http, free_probe_creds, probe.creds);
	cdc_s3_wipe(s3);
	return ok;
}

/* ----------------------------------------------------------------
 *						the dialect
 * ----------------------------------------------------------------
 */

static CdcS3Config *
s3_config(const S3Sink *s3)
{
	return (CdcS3Config *) s3->base.config;
}

static CdcHttpCall *
dialect_start(CdcSink *sink, const CdcUploadRequest *request,
			  CdcHttpDone done, void *arg)
{
	S3Sink	   *s3 = (S3Sink *) sink;
	CdcUpload  *upload = request->upload;
	CdcHttpSlice body;
	CdcS3Request r = {
		.name = upload->object->name, .slices = request->slices,
		.nslices = request->nslices, .held = request->early,
		.done = done, .arg = arg,
	};
	char		query[CDC_MULTIPART_QUERY_SIZE];

	if (!cdc_multipart_query(upload, request->step, request->part, query))
		return NULL;
	r.query = query[0] != '\0' ? query : NULL;
	switch (request->step)
	{
		case CDC_UPLOAD_PUT:
			r.method = "PUT";
			r.creates = true;
			break;
		case CDC_UPLOAD_BEGIN:
			r.method = "POST";
			r.creates = true;
			break;
		case CDC_UPLOAD_PART:
			r.method = "PUT";
			break;
		case CDC_UPLOAD_COMMIT:
			r.method = "POST";
			upload->body = cdc_multipart_list(upload->object);
			if (upload->body == NULL)
				return NULL;
			body.data = upload->body;
			body.len = strlen(upload->body);
			r.slices = &body;
			r.nslices = 1;
			break;
		case CDC_UPLOAD_CHECK:
			r.method = "HEAD";
			break;
		case CDC_UPLOAD_ABORT:
			r.method = "DELETE";
			r.last_will = true;
			break;
	}
	return cdc_s3_start(s3->base.http, s3_config(s3), cdc_aws_creds_key(s3->creds), &r);
}

static bool
dialect_ready(CdcSink *sink)
{
	S3Sink	   *s3 = (S3Sink *) sink;

	if (cdc_aws_creds_ready(s3->creds))
		return true;
	if (cdc_aws_creds_failures(s3->creds) != s3->creds_failures)
	{
		s3->creds_failures = cdc_aws_creds_failures(s3->creds);
		cdc_sink_trouble(sink, "%s", cdc_aws_creds_error(s3->creds));
	}
	return false;
}

/* Is it about the key, which may be renewed? */
static bool
key_refused(const CdcHttpReply *reply)
{
	return cdc_reply_code_is(reply, "ExpiredToken") ||
		cdc_reply_code_is(reply, "InvalidToken") ||
		cdc_reply_code_is(reply, "TokenRefreshRequired") ||
		cdc_reply_code_is(reply, "InvalidAccessKeyId");
}

static CdcUploadVerdict
dialect_judge(CdcSink *sink, const CdcUploadRequest *request, const CdcHttpReply *reply)
{
	if (key_refused(reply))
		cdc_aws_creds_reject(((S3Sink *) sink)->creds);
	return cdc_multipart_judge(request, reply);
}

static void
dialect_explain(CdcSink *sink, const CdcHttpReply *reply, char *dst, size_t size)
{
	S3Sink	   *s3 = (S3Sink *) sink;

	cdc_s3_explain(s3->base.http, s3_config(s3), reply, dst, size);
}

static const CdcUploadDialect dialect = {
	.ready = dialect_ready,
	.start = dialect_start,
	.judge = dialect_judge,
	.explain = dialect_explain,
};

/* ----------------------------------------------------------------
 *						the sweep
 * ----------------------------------------------------------------
 */

/* Says nothing of a key that cannot be had. */
static bool
sweep_ready(CdcSink *sink)
{
	return cdc_aws_creds_ready(((S3Sink *) sink)->creds);
}

static CdcHttpCall *
sweep_start(CdcSink *sink, const CdcSweepRequest *request)
{
	S3Sink	   *s3 = (S3Sink *) sink;
	CdcS3Request r = {
		.method = request->name ? "DELETE" : "GET", .name = request->name,
		.query = request->query, .max_body = request->max_body,
		.done = request->done, .arg = request->arg,
	};

	return cdc_s3_start(s3->base.http, s3_config(s3), cdc_aws_creds_key(s3->creds), &r);
}

static const CdcSweepOps sweep = {
	.ready = sweep_ready,
	.start = sweep_start,
};

/* ----------------------------------------------------------------
 *						the sink
 * ----------------------------------------------------------------
 */

static void
configure(CdcUploadSink *base, const CdcUri *uri)
{
	CdcS3Config *config;

	base->transport.part_min = CDC_MULTIPART_MIN_PART;
	base->transport.max_parts = CDC_MULTIPART_MAX_PARTS;
	base->config = &cdc_s3_config(uri)->base;

	/* a server that keeps half a body is told that it is not the whole */
	config = (CdcS3Config *) base->config;
	base->dialect.early = base->transport.overlap =
		config->sign_bodies || config->checksums;
}

static bool
set_up(CdcUploadSink *base)
{
	S3Sink	   *s3 = (S3Sink *) base;

	s3->creds = cdc_aws_creds_create(base->http, s3_config(s3)->source);
	return s3->creds != NULL && cdc_upload_sink_sweep(base, &sweep);
}

static void
release(CdcUploadSink *base)
{
	S3Sink	   *s3 = (S3Sink *) base;

	cdc_aws_creds_free(s3->creds);
	if (base->config != NULL)
		cdc_s3_wipe(s3_config(s3));
}

static const CdcUploadSinkKind kind = {
	.ops = &cdc_sink_s3,
	.size = sizeof(S3Sink),
	.more_connections = MORE_CONNECTIONS,
	.dialect = &dialect,
	.configure = configure,
	.set_up = set_up,
	.release = release,
};

static CdcSink *
s3_open(const CdcSinkConfig *config)
{
	return cdc_upload_sink_open(&kind, config);
}

const CdcSinkOps cdc_sink_s3 = {
	.name = "s3",
	.schemes = schemes,
	.options = options_known,
	.has_topics = false,
	.forces_key_in_value = true,
	.sanitises_topics = false,
	.check = s3_check,
	.forbidden = s3_forbidden,
	.probe = s3_probe,
	.open = s3_open,
	.submit = cdc_upload_sink_submit,
	.service = cdc_upload_sink_service,
	.flush = cdc_upload_sink_flush,
	.relieve = cdc_upload_sink_relieve,
	.resolved = cdc_upload_sink_resolved,
	.settled = cdc_upload_sink_settled,
	.close = cdc_upload_sink_close,
};
