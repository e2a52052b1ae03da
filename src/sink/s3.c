/*-------------------------------------------------------------------------
 * s3.c
 *		The S3 sink: s3://bucket/path.
 *
 * objstore.c says which rows go into which object and what is acknowledged,
 * upload.c in which order requests are made; this file says what these look
 * like and is the sink's face to the feed.  An object is one PUT, or a
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
#include "sink/s3_sweep.h"
#include "sink/sigv4.h"
#include "sink/store.h"
#include "sink/upload.h"
#include "utils/memutils.h"

/* Written and removed when a feed is created; sorts before all others. */
#define PROBE_NAME		".cdc_sink-probe"

typedef struct S3Sink
{
	CdcSink		base;
	MemoryContext cxt;			/* of config */
	CdcS3Config *config;
	CdcAwsCreds *creds;
	uint64		creds_failures; /* as last told */
	CdcObjStore *store;
	CdcUploader *uploader;
	CdcS3Sweep *sweep;
	CdcHttp    *http;
} S3Sink;

static const char *const options_known[] = {"compression", NULL};
static const char *const schemes[] = {"s3", "experimental-s3", NULL};

static void
s3_check(const CdcUri *uri, const CdcOptions *options)
{
	CdcObjParams parsed;

	cdc_s3_check_access(uri);
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

static CdcHttp *
open_http(const CdcS3Config *config, int64 job_id)
{
	CdcHttpConfig http;

	memset(&http, 0, sizeof(http));
	http.job_id = job_id;
	http.max_connections = CDC_UPLOAD_PARALLEL + 2;	/* a key, the sweep */
	http.ca = config->ca;
	http.insecure = config->insecure;
	return cdc_http_open(&http);
}

/* ----------------------------------------------------------------
 *						probe
 * ----------------------------------------------------------------
 */

typedef struct Probe
{
	CdcHttp    *http;
	CdcS3Config *config;
	CdcAwsCreds *creds;
	bool		answered;
	bool		ok;
	char	   *error;
	size_t		error_size;
} Probe;

static void
probe_done(void *arg, const CdcHttpReply *reply)
{
	Probe	   *probe = arg;

	probe->answered = true;
	probe->ok = cdc_s3_succeeded(reply);
	if (!probe->ok)
	{
		int			n = snprintf(probe->error, probe->error_size, "could not write to ");

		cdc_s3_explain(probe->http, probe->config, reply,
					   probe->error + n, probe->error_size - n);
	}
}

static bool
probe_request(Probe *probe, const char *method, int timeout_ms)
{
	static const CdcHttpSlice body = {"probe\n", 6};
	bool		put = strcmp(method, "PUT") == 0;
	CdcS3Request request = {
		.method = method, .name = PROBE_NAME, .creates = put, .slices = &body,
		.nslices = put ? 1 : 0, .done = probe_done, .arg = probe,
	};

	probe->answered = probe->ok = false;
	if (cdc_s3_start(probe->http, probe->config, cdc_aws_creds_key(probe->creds), &request) == NULL)
		strlcpy(probe->error, "out of memory", probe->error_size);
	else if (!cdc_http_wait(probe->http, timeout_ms) || !probe->answered)
		snprintf(probe->error, probe->error_size, "bucket \"%s\" at %s did not answer within %d ms",
				 probe->config->bucket, probe->config->host, timeout_ms);
	return probe->ok;
}

/* Waits for the key. */
static bool
probe_key(Probe *probe, int timeout_ms)
{
	if (cdc_aws_creds_ready(probe->creds))
		return true;
	if (cdc_http_wait(probe->http, timeout_ms) && cdc_aws_creds_ready(probe->creds))
		return true;
	if (cdc_aws_creds_error(probe->creds)[0] != '\0')
		strlcpy(probe->error, cdc_aws_creds_error(probe->creds), probe->error_size);
	else
		snprintf(probe->error, probe->error_size, "could not get credentials within %d ms",
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
	Probe		probe;
	int64		end = cdc_http_now_ms() + timeout_ms;
	bool		ok;

	memset(&probe, 0, sizeof(probe));
	probe.config = cdc_s3_config(config->uri);
	probe.error = error;
	probe.error_size = error_size;
	probe.http = open_http(probe.config, 0);
	probe.creds = probe.http ? cdc_aws_creds_create(probe.http, probe.config->source) : NULL;
	if (probe.creds == NULL)
	{
		if (probe.http != NULL)
			cdc_http_close(probe.http, NULL, NULL);
		strlcpy(error, "out of memory", error_size);
		return false;
	}
	ok = probe_key(&probe, timeout_ms) &&
		probe_request(&probe, "PUT", Max((int) (end - cdc_http_now_ms()), 100));

	/* who may only write leaves it there */
	if (ok)
	{
		int			left = (int) (end - cdc_http_now_ms());

		(void) probe_request(&probe, "DELETE", Max(left, 100));
		error[0] = '\0';
	}
	cdc_http_close(probe.http, free_probe_creds, probe.creds);
	cdc_s3_wipe(probe.config);
	return ok;
}

/* ----------------------------------------------------------------
 *						the dialect
 * ----------------------------------------------------------------
 */

static CdcHttpCall *
dialect_start(CdcSink *sink, const CdcUploadRequest *request,
			  CdcHttpDone done, void *arg)
{
	S3Sink	   *s3 = (S3Sink *) sink;
	CdcUpload  *upload = request->upload;
	CdcHttpSlice body;
	CdcS3Request r = {
		.name = upload->object->name, .slices = request->slices,
		.nslices = request->nslices, .done = done, .arg = arg,
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
	return cdc_s3_start(s3->http, s3->config, cdc_aws_creds_key(s3->creds), &r);
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

	cdc_s3_explain(s3->http, s3->config, reply, dst, size);
}

static const CdcUploadDialect dialect = {
	.ready = dialect_ready,
	.start = dialect_start,
	.judge = dialect_judge,
	.explain = dialect_explain,
};

/* ----------------------------------------------------------------
 *						the sink
 * ----------------------------------------------------------------
 */

static void
put_part(CdcSink *sink, CdcObjPart *part)
{
	cdc_uploader_part(((S3Sink *) sink)->uploader, part);
}

static void
put_object(CdcSink *sink, CdcObject *object)
{
	cdc_uploader_put(((S3Sink *) sink)->uploader, object);
}

static void
drop_object(CdcSink *sink, CdcObject *object)
{
	cdc_uploader_drop(((S3Sink *) sink)->uploader, object);
}

static const CdcObjTransport transport = {
	.part_min = CDC_MULTIPART_MIN_PART,
	.max_parts = CDC_MULTIPART_MAX_PARTS,
	.part = put_part,
	.put = put_object,
	.drop = drop_object,
};

/*
 * Reads the configuration for the sink.  What has become of it since check()
 * (the server's environment may be another) makes a broken sink, which is
 * opened anew from time to time.
 */
static void
read_config(S3Sink *s3, const CdcUri *uri)
{
	MemoryContext old;

	s3->cxt = AllocSetContextCreate(TopMemoryContext, "cdc_sink s3",
									ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(s3->cxt);
	PG_TRY();
	{
		s3->config = cdc_s3_config(uri);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(s3->cxt);
		error = CopyErrorData();
		FlushErrorState();
		cdc_sink_trouble(&s3->base, "%s", error->message);
		s3->base.broken = true;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

/* No byte of an object is looked at any more. */
static void
s3_release(void *arg)
{
	S3Sink	   *s3 = arg;

	if (s3->uploader != NULL)
		cdc_uploader_free(s3->uploader);
	cdc_s3_sweep_free(s3->sweep);
	cdc_aws_creds_free(s3->creds);
	if (s3->config != NULL)
		cdc_s3_wipe(s3->config);
	MemoryContextDelete(s3->cxt);
	free(s3);
}

static CdcSink *
s3_open(const CdcSinkConfig *config)
{
	S3Sink	   *s3;
	CdcObjParams parsed;

	cdc_objstore_params(config->uri, config->options, &parsed);
	s3 = calloc(1, sizeof(S3Sink));
	if (s3 == NULL)
		return NULL;
	s3->base.ops = &cdc_sink_s3;
	s3->base.job_id = config->job_id;
	s3->base.event_fd = -1;
	read_config(s3, config->uri);
	if (s3->base.broken)
		return &s3->base;
	s3->store = cdc_objstore_create(&s3->base, config, &parsed, &transport);
	s3->http = s3->store ? open_http(s3->config, config->job_id) : NULL;
	s3->creds = s3->http ? cdc_aws_creds_create(s3->http, s3->config->source) : NULL;
	s3->uploader = s3->creds ? cdc_uploader_create(&s3->base, s3->http, &dialect) : NULL;
	s3->sweep = s3->uploader ?
		cdc_s3_sweep_create(s3->http, s3->config, s3->creds, s3->store, config->job_id) : NULL;
	if (s3->sweep == NULL)
	{
		if (s3->store != NULL)
			cdc_objstore_destroy(s3->store);
		if (s3->http != NULL)
			cdc_http_close(s3->http, s3_release, s3);
		else
			s3_release(s3);
		return NULL;
	}
	cdc_uploader_set_store(s3->uploader, s3->store);
	s3->base.event_fd = cdc_http_event_fd(s3->http);
	return &s3->base;
}

static void
s3_submit(CdcSink *sink, CdcBatch *batch)
{
	cdc_objstore_submit(((S3Sink *) sink)->store, batch);
}

static void
s3_service(CdcSink *sink)
{
	S3Sink	   *s3 = (S3Sink *) sink;

	if (s3->base.broken)
		return;
	cdc_http_service(s3->http);
	cdc_uploader_run(s3->uploader);
	if (!cdc_uploader_in_trouble(s3->uploader))
		cdc_s3_sweep_run(s3->sweep);
}

static void
s3_flush(CdcSink *sink, CdcHlc floor)
{
	if (!sink->broken)
		cdc_objstore_flush(((S3Sink *) sink)->store, floor);
}

static void
s3_relieve(CdcSink *sink)
{
	cdc_objstore_relieve(((S3Sink *) sink)->store);
}

static bool
s3_resolved(CdcSink *sink, const char *payload, size_t len, CdcHlc r)
{
	return !sink->broken &&
		cdc_objstore_resolved(((S3Sink *) sink)->store, payload, len, r);
}

static bool
s3_settled(CdcSink *sink)
{
	return cdc_objstore_settled(((S3Sink *) sink)->store);
}

static void
s3_close(CdcSink *sink)
{
	S3Sink	   *s3 = (S3Sink *) sink;

	if (s3->store == NULL)
	{
		s3_release(s3);
		return;
	}
	cdc_objstore_destroy(s3->store);
	s3->store = NULL;
	cdc_uploader_abort(s3->uploader);
	cdc_http_close(s3->http, s3_release, s3);
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
	.submit = s3_submit,
	.service = s3_service,
	.flush = s3_flush,
	.relieve = s3_relieve,
	.resolved = s3_resolved,
	.settled = s3_settled,
	.close = s3_close,
};
