/*-------------------------------------------------------------------------
 * s3.c
 *		The S3 sink: s3://bucket/path.
 *
 * objstore.c says which rows go into which object and what is acknowledged;
 * this file brings the objects to the store.  Each is one PUT of the bytes
 * where they are, so it is there whole or not at all, and is repeated until
 * the store has answered with success.
 *
 * Objects of different tables go at the same time.  Those of one table go one
 * after the other, so that after a crash no newer row is there without the
 * older ones of its key, and no newer schema version before an older one.  A
 * RESOLVED object waits for everything before it.  While there is trouble one
 * request at a time finds out whether it is over.
 *
 * Runs: lane worker, main thread (nothing blocks); check: backends; probe:
 * probe worker.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/http.h"
#include "sink/objstore.h"
#include "sink/s3_config.h"
#include "sink/s3_request.h"
#include "utils/memutils.h"

#define MAX_PARALLEL	8

/* So far from the head of the queue an object is looked for that may go. */
#define LOOK_AHEAD		64

#define FIRST_DELAY_MS	100
#define MAX_DELAY_MS	30000

/* Written and removed when a feed is created; sorts before all others. */
#define PROBE_NAME		".cdc_sink-probe"

typedef struct S3Sink
{
	CdcSink		base;
	MemoryContext cxt;			/* of config */
	CdcS3Config *config;
	CdcObjStore *store;
	CdcHttp    *http;
	dlist_head	queue;			/* CdcObject, in the order they were put */
	int			nactive;		/* with a request under way */
	int			delay_ms;		/* 0: no trouble */
	int64		not_before;		/* no request before, by cdc_http_now_ms() */
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

static CdcHttp *
open_http(const CdcS3Config *config, int64 job_id)
{
	CdcHttpConfig http;
	const char *secrets[] = {config->secret_key, config->session_token, NULL};

	memset(&http, 0, sizeof(http));
	http.job_id = job_id;
	http.max_connections = MAX_PARALLEL;
	http.insecure = config->insecure;
	http.secrets = secrets;
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
	int			nslices = strcmp(method, "PUT") == 0 ? 1 : 0;

	probe->answered = probe->ok = false;
	if (cdc_s3_start(probe->http, probe->config, method, PROBE_NAME,
					 &body, nslices, probe_done, probe) == NULL)
		strlcpy(probe->error, "out of memory", probe->error_size);
	else if (!cdc_http_wait(probe->http, timeout_ms) || !probe->answered)
		snprintf(probe->error, probe->error_size, "bucket \"%s\" at %s did not answer within %d ms",
				 probe->config->bucket, probe->config->host, timeout_ms);
	return probe->ok;
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
	if (probe.http == NULL)
	{
		strlcpy(error, "out of memory", error_size);
		return false;
	}
	ok = probe_request(&probe, "PUT", timeout_ms);

	/* who may only write leaves it there */
	if (ok)
	{
		int			left = (int) (end - cdc_http_now_ms());

		(void) probe_request(&probe, "DELETE", Max(left, 100));
		error[0] = '\0';
	}
	cdc_http_close(probe.http, NULL, NULL);
	cdc_s3_wipe(probe.config);
	return ok;
}

/* ----------------------------------------------------------------
 *						objects on their way
 * ----------------------------------------------------------------
 */

/* No request for a while, twice as long as the last time. */
static void
back_off(S3Sink *s3, int64 retry_after_ms)
{
	int64		now = cdc_http_now_ms();

	/* what was under way when it began does not count anew */
	if (now >= s3->not_before)
		s3->delay_ms = Min(Max(s3->delay_ms * 2, FIRST_DELAY_MS), MAX_DELAY_MS);
	s3->not_before = Max(s3->not_before,
						 now + Min(Max(s3->delay_ms, retry_after_ms), MAX_DELAY_MS));
	cdc_http_wake_in(s3->http, s3->not_before - now);
}

static void
upload_done(void *arg, const CdcHttpReply *reply)
{
	CdcObject  *object = arg;
	S3Sink	   *s3 = object->owner;

	object->call = NULL;
	s3->nactive--;
	if (cdc_s3_succeeded(reply))
	{
		s3->delay_ms = 0;
		s3->not_before = 0;
		cdc_sink_healthy(&s3->base);
		dlist_delete(&object->node);
		cdc_objstore_done(s3->store, object);
	}
	else
	{
		char		text[CDC_SINK_ERROR_SIZE];

		cdc_s3_explain(s3->http, s3->config, reply, text, sizeof(text));
		cdc_sink_trouble(&s3->base, "could not write to %s", text);
		back_off(s3, reply->retry_after_ms);
	}
}

static bool
start_upload(S3Sink *s3, CdcObject *object)
{
	CdcHttpSlice *slices;
	int			n = 0;

	slices = malloc(sizeof(CdcHttpSlice) * ((size_t) object->nrows * 2 + 1));
	if (slices == NULL)
		return false;
	for (uint32 i = 0; i < object->nrows; i++)
	{
		slices[n].data = object->rows[i].data;
		slices[n++].len = object->rows[i].len;
		if (object->newlines)
		{
			slices[n].data = "\n";
			slices[n++].len = 1;
		}
	}
	object->owner = s3;
	object->call = cdc_s3_start(s3->http, s3->config, "PUT", object->name,
								slices, n, upload_done, object);
	free(slices);
	if (object->call == NULL)
		return false;
	s3->nactive++;
	return true;
}

/* May it go before all in front of it in the queue has arrived? */
static bool
may_overtake(S3Sink *s3, CdcObject *object)
{
	const char *topic = cdc_object_topic(object);
	dlist_iter	iter;

	dlist_foreach(iter, &s3->queue)
	{
		CdcObject  *other = dlist_container(CdcObject, node, iter.cur);
		const char *other_topic = cdc_object_topic(other);

		if (other == object)
			return true;
		if (topic == NULL || (other_topic != NULL && strcmp(other_topic, topic) == 0))
			return false;
	}
	return false;
}

static void
start_uploads(S3Sink *s3)
{
	int			limit = s3->delay_ms > 0 ? 1 : MAX_PARALLEL;
	int			looked = 0;
	dlist_iter	iter;

	if (s3->nactive >= limit ||
		(s3->delay_ms > 0 && cdc_http_now_ms() < s3->not_before))
		return;
	dlist_foreach(iter, &s3->queue)
	{
		CdcObject  *object = dlist_container(CdcObject, node, iter.cur);

		if (s3->nactive >= limit || looked++ >= LOOK_AHEAD)
			break;
		if (object->call != NULL || !may_overtake(s3, object))
			continue;
		if (!start_upload(s3, object))
		{
			cdc_sink_trouble(&s3->base, "out of memory");
			back_off(s3, -1);
			break;
		}
	}
}

/* ----------------------------------------------------------------
 *						the sink
 * ----------------------------------------------------------------
 */

static void
put_object(CdcSink *sink, CdcObject *object)
{
	S3Sink	   *s3 = (S3Sink *) sink;

	dlist_push_tail(&s3->queue, &object->node);
	start_uploads(s3);
}

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

	while (!dlist_is_empty(&s3->queue))
		cdc_object_free(dlist_container(CdcObject, node,
										dlist_pop_head_node(&s3->queue)));
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
	dlist_init(&s3->queue);
	read_config(s3, config->uri);
	if (s3->base.broken)
		return &s3->base;
	s3->store = cdc_objstore_create(&s3->base, config, &parsed, put_object);
	s3->http = s3->store ? open_http(s3->config, config->job_id) : NULL;
	if (s3->http == NULL)
	{
		if (s3->store != NULL)
			cdc_objstore_destroy(s3->store);
		s3_release(s3);
		return NULL;
	}
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
	start_uploads(s3);
}

static void
s3_flush(CdcSink *sink, CdcHlc floor)
{
	if (!sink->broken)
		cdc_objstore_flush(((S3Sink *) sink)->store, floor);
}

static bool
s3_resolved(CdcSink *sink, const char *payload, size_t len, CdcHlc r)
{
	return !sink->broken &&
		cdc_objstore_resolved(((S3Sink *) sink)->store, payload, len, r);
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
	.probe = s3_probe,
	.open = s3_open,
	.submit = s3_submit,
	.service = s3_service,
	.flush = s3_flush,
	.resolved = s3_resolved,
	.close = s3_close,
};
