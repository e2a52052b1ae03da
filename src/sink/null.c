/*-------------------------------------------------------------------------
 * null.c
 *		null://: takes everything and keeps nothing; the ceiling of
 *		benchmarks.  With "delay" each message takes that long, one after the
 *		other, as at a slow peer: null://?delay=1h never answers in time.
 *
 * Runs: lane worker, main thread; no thread of its own (a timer wakes the
 * lane).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include "portability/instr_time.h"
#include "sink/sink.h"

/* Messages of one batch that wait for their acknowledgement. */
typedef struct Waiting
{
	dlist_node	node;
	CdcBatch   *batch;			/* referenced */
	uint32		next;			/* messages up to here are acknowledged, */
	uint32		end;			/* up to here taken */
} Waiting;

typedef struct NullSink
{
	CdcSink		base;
	int64		delay_us;
	instr_time	opened;
	int64		due_us;			/* when the oldest message is due, since then */
	dlist_head	waiting;
} NullSink;

static const char *const schemes[] = {"null", NULL};
static const char *const params[] = {"delay", NULL};

static int64
read_delay(const CdcUri *uri)
{
	const char *text = cdc_uri_param(uri, "delay");

	return text ? cdc_parse_duration("delay", text) : 0;
}

static void
null_check(const CdcUri *uri, const CdcOptions *options)
{
	cdc_uri_require_known(uri, "null", params);
	if (read_delay(uri) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("delay of a null sink must not be negative")));
}

static bool
null_probe(const CdcSinkConfig *config, int timeout_ms,
		   char *error, size_t error_size)
{
	return true;
}

static int64
now_us(NullSink *ns)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, ns->opened);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

static void
set_timer(NullSink *ns, int64 in_us)
{
	struct itimerspec spec = {{0}};

	in_us = Max(in_us, 1);		/* 0 would stop it */
	spec.it_value.tv_sec = in_us / 1000000;
	spec.it_value.tv_nsec = (in_us % 1000000) * 1000;
	if (timerfd_settime(ns->base.event_fd, 0, &spec, NULL) != 0)
		cdc_sink_trouble(&ns->base, "could not set a timer: %m");
}

static CdcSink *
null_open(const CdcSinkConfig *config)
{
	int64		delay_us = read_delay(config->uri);
	NullSink   *ns = calloc(1, sizeof(NullSink));

	if (ns == NULL)
		return NULL;
	ns->base.ops = &cdc_sink_null;
	ns->base.job_id = config->job_id;
	ns->base.event_fd = -1;
	ns->delay_us = delay_us;
	INSTR_TIME_SET_CURRENT(ns->opened);
	dlist_init(&ns->waiting);
	if (delay_us > 0)
	{
		ns->base.event_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		if (ns->base.event_fd < 0)
		{
			free(ns);
			return NULL;
		}
	}
	return &ns->base;
}

static void
ack_message(NullSink *ns, CdcBatch *batch, const CdcMessage *msg)
{
	if (!(msg->flags & CDC_MSG_SKIP))
	{
		ns->base.sent_messages++;
		if (msg->key_len != CDC_LEN_NULL)
			ns->base.sent_bytes += msg->key_len;
		if (msg->val_len != CDC_LEN_NULL)
			ns->base.sent_bytes += msg->val_len;
	}
	cdc_batch_ack(batch, 1);
}

static void
null_submit(CdcSink *sink, CdcBatch *batch)
{
	NullSink   *ns = (NullSink *) sink;
	Waiting    *w;

	if (ns->delay_us == 0)
	{
		for (; batch->nsubmitted < batch->nmsgs; batch->nsubmitted++)
			ack_message(ns, batch, &batch->msgs[batch->nsubmitted]);
		return;
	}
	if (batch->nsubmitted == batch->nmsgs)
		return;
	w = malloc(sizeof(Waiting));
	if (w == NULL)
	{
		cdc_sink_trouble(sink, "out of memory");
		return;
	}
	cdc_batch_ref(batch);
	w->batch = batch;
	w->next = batch->nsubmitted;
	w->end = batch->nsubmitted = batch->nmsgs;
	if (dlist_is_empty(&ns->waiting))
	{
		ns->due_us = now_us(ns) + ns->delay_us;
		set_timer(ns, ns->delay_us);
	}
	dlist_push_tail(&ns->waiting, &w->node);
}

static void
null_service(CdcSink *sink)
{
	NullSink   *ns = (NullSink *) sink;
	uint64		expirations;
	int64		now;

	while (read(sink->event_fd, &expirations, sizeof(expirations)) < 0 &&
		   errno == EINTR)
		;
	if (dlist_is_empty(&ns->waiting))
		return;
	now = now_us(ns);
	while (!dlist_is_empty(&ns->waiting))
	{
		Waiting    *w = dlist_head_element(Waiting, node, &ns->waiting);

		for (; w->next < w->end && ns->due_us <= now; w->next++)
		{
			ack_message(ns, w->batch, &w->batch->msgs[w->next]);
			ns->due_us += ns->delay_us;
		}
		if (w->next < w->end)
		{
			set_timer(ns, ns->due_us - now);
			break;
		}
		dlist_delete(&w->node);
		cdc_batch_unref(w->batch);
		free(w);
	}
}

static void
null_flush(CdcSink *sink, CdcHlc floor)
{
}

static bool
null_resolved(CdcSink *sink, const char *payload, size_t len, CdcHlc r)
{
	return true;
}

static void
null_close(CdcSink *sink)
{
	NullSink   *ns = (NullSink *) sink;

	while (!dlist_is_empty(&ns->waiting))
	{
		Waiting    *w = dlist_container(Waiting, node,
										dlist_pop_head_node(&ns->waiting));

		cdc_batch_unref(w->batch);
		free(w);
	}
	if (sink->event_fd >= 0)
		close(sink->event_fd);
	free(ns);
}

const CdcSinkOps cdc_sink_null = {
	.name = "null",
	.schemes = schemes,
	.has_topics = false,
	.forces_key_in_value = false,
	.sanitises_topics = false,
	.check = null_check,
	.probe = null_probe,
	.open = null_open,
	.submit = null_submit,
	.service = null_service,
	.flush = null_flush,
	.resolved = null_resolved,
	.close = null_close,
};
