/*-------------------------------------------------------------------------
 * webhook.c
 *		The webhook sink: messages to an HTTPS server, many to a request.
 *
 * Requests are formed in the order of the messages.  Several are on their
 * way at a time, but a request waits for every earlier one with which it
 * shares a key, so that the order of each key is kept whatever is retried.
 * A request is retried until it is through; one that the server refuses as
 * such (400, 413, 422) is halved until the message it does not like stands
 * alone.
 *
 * The bytes are not copied: the library reads them out of the batches, to
 * which a request holds references until nothing looks at them any more.
 *
 * Runs: lane worker, main thread.  Memory is malloc'ed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "sink/webhook_int.h"

#define MAX_PARALLEL		16		/* requests on their way */

#define MAX_BACKOFF_MS		30000
#define MAX_RETRY_AFTER_MS	600000
#define NO_MEMORY_PAUSE_MS	1000
#define SHOWN_ANSWER		200

#define BODY_START			"{\"payload\":["

/* ---- requests --------------------------------------------------------- */

void
cdc_webhook_free_request(WebhookRequest *r)
{
	const CdcBatch *last = NULL;

	for (int i = 0; i < r->nitems; i++)
	{
		/* one reference for each run of messages of a batch */
		if (r->items[i].batch == last)
			continue;
		last = r->items[i].batch;
		cdc_batch_unref(r->items[i].batch);
	}
	free(r->items);
	free(r->body);
	free(r);
}

/* The request that grows, a new one if there is none; NULL: no room. */
static WebhookRequest *
open_request(WebhookSink *w)
{
	WebhookRequest *r = w->open;

	if (r != NULL)
		return r;
	if (w->slots[w->next % WEBHOOK_WINDOW] != NULL || w->next - w->oldest >= WEBHOOK_WINDOW)
		return NULL;
	r = calloc(1, sizeof(WebhookRequest));
	if (r == NULL)
		return NULL;
	r->w = w;
	r->seq = w->next++;
	r->opened_ms = cdc_http_now_ms();
	w->slots[r->seq % WEBHOOK_WINDOW] = r;
	w->open = r;
	return r;
}

static void
seal(WebhookSink *w)
{
	if (w->open == NULL || w->open->nitems == 0)
		return;
	w->open->sealed = true;
	w->open = NULL;
}

/* A request waits for the newest earlier one with one of its keys. */
static void
note_key(WebhookSink *w, WebhookRequest *r, CdcBatch *batch, const CdcMessage *msg)
{
	const char *topic = msg->topic->name;
	uint64		hash;
	uint32	   *holder;
	WebhookRequest *other;

	if (w->hashed_topic != msg->topic)
	{
		w->hashed_topic = msg->topic;
		w->topic_hash = hash_bytes_extended((const unsigned char *) topic,
											(int) strlen(topic), 0);
	}
	hash = w->topic_hash;
	if (msg->key_len != CDC_LEN_NULL)
		hash = hash_bytes_extended((const unsigned char *) cdc_msg_key(batch, msg),
								   (int) msg->key_len, hash);
	holder = &w->holders[hash % WEBHOOK_HOLDERS];
	other = w->slots[*holder % WEBHOOK_WINDOW];
	if (other != NULL && other != r && other->seq == *holder)
		r->blocked_by |= UINT64CONST(1) << (other->seq % WEBHOOK_WINDOW);
	*holder = r->seq;
}

static bool
add_item(WebhookRequest *r, CdcBatch *batch, uint32 index)
{
	if (r->nitems == r->maxitems)
	{
		int			maxitems = Max(r->maxitems * 2, 16);
		WebhookItem *items = realloc(r->items, sizeof(WebhookItem) * maxitems);

		if (items == NULL)
			return false;
		r->items = items;
		r->maxitems = maxitems;
	}
	if (r->nitems == 0 || r->items[r->nitems - 1].batch != batch)
		cdc_batch_ref(batch);
	r->items[r->nitems].batch = batch;
	r->items[r->nitems++].index = index;
	r->bytes += batch->msgs[index].val_len + 1;
	return true;
}

static void
finish_request(WebhookSink *w, WebhookRequest *r)
{
	int			slot = r->seq % WEBHOOK_WINDOW;

	for (uint32 s = w->oldest; s != w->next; s++)
	{
		if (w->slots[s % WEBHOOK_WINDOW] != NULL)
			w->slots[s % WEBHOOK_WINDOW]->blocked_by &= ~(UINT64CONST(1) << slot);
	}
	w->slots[slot] = NULL;
	while (w->oldest != w->next && w->slots[w->oldest % WEBHOOK_WINDOW] == NULL)
		w->oldest++;
	cdc_webhook_free_request(r);
}

/* The first n items that are left are at the server (or given up). */
static void
ack_items(WebhookSink *w, WebhookRequest *r, int n, bool sent)
{
	for (int i = r->done; i < r->done + n; i++)
	{
		CdcBatch   *batch = r->items[i].batch;
		CdcMessage *msg = &batch->msgs[r->items[i].index];

		if (sent)
		{
			w->base.sent_messages++;
			w->base.sent_bytes += msg->val_len;
		}
		cdc_batch_ack(batch, 1);
	}
	r->done += n;
	if (r->done == r->nitems)
		finish_request(w, r);
}

/* ---- answers ---------------------------------------------------------- */

/* Tells of trouble and sets the time of the next try. */
static void
trouble(WebhookSink *w, const CdcHttpReply *reply)
{
	int64		now = cdc_http_now_ms();
	int64		delay = Min((int64) w->backoff_ms << Min(w->tries, 20), MAX_BACKOFF_MS);
	char		text[SHOWN_ANSWER];

	/* those that were on their way together count as one failure */
	if (now >= w->hold_until_ms)
		w->tries++;
	else
		delay = w->hold_until_ms - now;
	if (reply->retry_after_ms > delay)
		delay = Min(reply->retry_after_ms, MAX_RETRY_AFTER_MS);
	w->hold_until_ms = Max(w->hold_until_ms, now + delay);

	if (reply->status == 0)
		cdc_sink_trouble(&w->base, "webhook cannot be reached: %s",
						 reply->error[0] ? reply->error : "no answer");
	else if (reply->status >= 300 && reply->status < 400)
		cdc_sink_trouble(&w->base, "webhook answered %d: redirects are not followed",
						 reply->status);
	else if (!reply->complete)
		cdc_sink_trouble(&w->base, "webhook answered %d: %s", reply->status, reply->error);
	else
	{
		cdc_http_clean(w->http, text, sizeof(text), reply->body, reply->body_len);
		cdc_sink_trouble(&w->base, "webhook answered %d%s%s", reply->status,
						 text[0] ? ": " : "", text);
	}
}

static void
all_is_well(WebhookSink *w)
{
	/* sent before something else went wrong: says nothing about now */
	if (cdc_http_now_ms() < w->hold_until_ms)
		return;
	w->tries = 0;
	if (w->base.error[0] != '\0')
		cdc_sink_healthy(&w->base);
}

/* A status that says it all, to a request that went out whole. */
static bool
is_success(const CdcHttpReply *reply)
{
	return reply->status >= 200 && reply->status < 300 && !reply->timed_out &&
		reply->sent;
}

/* The server looked at the request and will not take it as it is. */
static void
refused(WebhookSink *w, WebhookRequest *r, const CdcHttpReply *reply)
{
	char		text[SHOWN_ANSWER];

	if (r->sending > 1)
	{
		r->limit = r->sending / 2;
		w->base.retries++;
		return;
	}
	cdc_http_clean(w->http, text, sizeof(text), reply->body, reply->body_len);
	snprintf(r->refusal_text, sizeof(r->refusal_text),
			 "webhook answered %d to a message of %u bytes%s%s", reply->status,
			 (unsigned) r->items[r->done].batch->msgs[r->items[r->done].index].val_len,
			 text[0] ? ": " : "", text);
	r->refusal = REFUSED;
}

static void
request_done(void *arg, const CdcHttpReply *reply)
{
	WebhookRequest *r = arg;
	WebhookSink *w = r->w;

	r->call = NULL;
	w->ncalls--;
	free(r->body);
	r->body = NULL;
	if (is_success(reply))
	{
		all_is_well(w);
		if (r->limit > 0)
			r->limit *= 2;
		ack_items(w, r, r->sending, true);
	}
	else if (reply->status == 400 || reply->status == 413 || reply->status == 422)
		refused(w, r, reply);
	else
		trouble(w, reply);
}

static void
resolved_done(void *arg, const CdcHttpReply *reply)
{
	WebhookSink *w = arg;

	w->resolved_call = NULL;
	if (is_success(reply))
	{
		all_is_well(w);
		w->resolved_state = RESOLVED_SENT;
	}
	else
		trouble(w, reply);
}

/* ---- sending ---------------------------------------------------------- */

static void
no_memory(WebhookSink *w)
{
	cdc_sink_trouble(&w->base, "out of memory");
	w->hold_until_ms = cdc_http_now_ms() + NO_MEMORY_PAUSE_MS;
}

static CdcHttpCall *
start_call(WebhookSink *w, const CdcHttpSlice *slices, int nslices,
		   const char *idempotency_key, const char *encoding,
		   CdcHttpDone done, void *arg)
{
	CdcHttpRequest request;
	CdcHttpCall *call;
	const char **headers;
	int			n = 0;

	while (w->headers[n] != NULL)
		n++;
	headers = malloc(sizeof(char *) * (n + 3));
	if (headers == NULL)
		return NULL;
	memcpy(headers, w->headers, sizeof(char *) * n);
	headers[n] = idempotency_key;
	headers[n + 1] = encoding;	/* NULL: none */
	headers[n + 2] = NULL;

	memset(&request, 0, sizeof(request));
	request.method = "POST";
	request.url = w->url;
	request.headers = headers;
	request.slices = slices;
	request.nslices = nslices;
	request.connect_timeout_ms = w->timeout_ms;
	request.timeout_ms = w->timeout_ms;
	request.done = done;
	request.arg = arg;
	cdc_http_begin(w->http);	/* until the end of dispatch() */
	call = cdc_http_start(w->http, &request);
	free(headers);
	return call;
}

/* One compressed slice in place of many; *body is to be freed. */
static bool
compress_slices(CdcCompression kind, const CdcHttpSlice *slices, int n,
				char **body, CdcHttpSlice *out)
{
	CdcCompressor *c = cdc_compressor_create(kind);
	bool		ok = c != NULL;

	for (int i = 0; i < n && ok; i++)
		ok = cdc_compressor_add(c, slices[i].data, slices[i].len);
	ok = ok && cdc_compressor_finish(c, body, &out->len);
	cdc_compressor_free(c);
	out->data = *body;
	return ok;
}

/*
 * The same whenever this request is sent again, and no other: the same content
 * may be right twice (there and back in one transaction).  What a request has
 * at a place never changes, so the place says as much as the bytes would.
 */
static void
make_idempotency_key(char *dst, size_t size, const WebhookRequest *r)
{
	const WebhookItem *first = &r->items[r->done];
	const CdcHlc *stamp = &first->batch->msgs[first->index].hlc;
	uint64		place[4];

	place[0] = r->w->session;
	place[1] = (uint64) r->seq << 32 | stamp->logical;
	place[2] = (uint64) r->done;
	place[3] = (uint64) r->sending;
	snprintf(dst, size, "Idempotency-Key: " INT64_FORMAT "-%016llx%016llx",
			 r->w->base.job_id, (unsigned long long) stamp->wall,
			 (unsigned long long) hash_bytes_extended((const unsigned char *) place,
													  sizeof(place), 0));
}

static void
send_request(WebhookSink *w, WebhookRequest *r)
{
	int			n = r->nitems - r->done;
	CdcHttpSlice *slices;
	CdcHttpSlice compressed;
	char		key[96];
	int			nslices = 0;
	bool		ok = true;

	if (r->limit > 0)
		n = Min(n, r->limit);
	r->sending = n;
	slices = malloc(sizeof(CdcHttpSlice) * (2 * (size_t) n + 1));
	if (slices == NULL)
	{
		no_memory(w);
		return;
	}
	for (int i = r->done; i < r->done + n; i++)
	{
		const CdcBatch *batch = r->items[i].batch;
		const CdcMessage *msg = &batch->msgs[r->items[i].index];

		slices[nslices].data = i == r->done ? BODY_START : ",";
		slices[nslices].len = i == r->done ? strlen(BODY_START) : 1;
		nslices++;
		slices[nslices].data = cdc_msg_value(batch, msg);
		slices[nslices++].len = msg->val_len;
	}
	slices[nslices].data = r->tail;
	slices[nslices++].len = snprintf(r->tail, sizeof(r->tail), "],\"length\":%d}", n);

	make_idempotency_key(key, sizeof(key), r);
	if (w->compression != CDC_COMPRESS_NONE)
	{
		ok = compress_slices(w->compression, slices, nslices, &r->body, &compressed);
		if (ok)
			r->call = start_call(w, &compressed, 1, key,
								 w->compression == CDC_COMPRESS_GZIP ?
								 "Content-Encoding: gzip" : "Content-Encoding: zstd",
								 request_done, r);
	}
	else
		r->call = start_call(w, slices, nslices, key, NULL, request_done, r);
	free(slices);
	if (r->call == NULL)
	{
		free(r->body);
		r->body = NULL;
		no_memory(w);
		return;
	}
	w->ncalls++;
}

static void
send_resolved(WebhookSink *w)
{
	CdcHttpSlice slice;
	char		key[96];

	slice.data = w->resolved_text;
	slice.len = w->resolved_len;
	snprintf(key, sizeof(key), "Idempotency-Key: " INT64_FORMAT "-resolved-" INT64_FORMAT ".%010u",
			 w->base.job_id, (int64) w->resolved_hlc.wall, w->resolved_hlc.logical);
	w->resolved_call = start_call(w, &slice, 1, key, NULL, resolved_done, w);
	if (w->resolved_call == NULL)
		no_memory(w);
}

/* Looks after messages that the server refuses. */
static void
handle_refusals(WebhookSink *w)
{
	for (uint32 s = w->oldest; s != w->next && w->base.poison_batch == NULL; s++)
	{
		WebhookRequest *r = w->slots[s % WEBHOOK_WINDOW];

		if (r == NULL || r->refusal == NOT_REFUSED)
			continue;
		if (r->refusal == REFUSED)
		{
			/* in order: what stands before it is through then */
			if (s != w->oldest)
				continue;
			w->base.poison_batch = r->items[r->done].batch;
			w->base.poison_index = r->items[r->done].index;
			strlcpy(w->base.poison_error, r->refusal_text, sizeof(w->base.poison_error));
			r->refusal = REPORTED;
			continue;
		}
		/* the feed has decided: given up, or to be tried once more */
		r->refusal = NOT_REFUSED;
		if (r->items[r->done].batch->msgs[r->items[r->done].index].flags & CDC_MSG_SKIP)
			ack_items(w, r, 1, false);
	}
}

/* When something has to be done without anything happening; -1: never. */
static int64
next_alarm(WebhookSink *w, int64 now)
{
	int64		at = -1;

	if (w->hold_until_ms > now)
		at = w->hold_until_ms;
	if (w->open != NULL && w->frequency_ms > 0)
	{
		int64		due = w->open->opened_ms + w->frequency_ms;

		at = at < 0 ? due : Min(at, due);
	}
	return at < 0 ? -1 : Max(at - now, 0);
}

/* Sends what may be sent. */
static void
dispatch(WebhookSink *w)
{
	int64		now = cdc_http_now_ms();
	int			parallel = w->tries > 0 ? 1 : MAX_PARALLEL;
	int64		alarm;

	handle_refusals(w);
	if (w->open != NULL && w->frequency_ms > 0 &&
		now - w->open->opened_ms >= w->frequency_ms)
		seal(w);
	if (now >= w->hold_until_ms)
	{
		if (w->resolved_state == RESOLVED_WAITS && w->resolved_call == NULL)
			send_resolved(w);
		if (w->immediate && w->ncalls < parallel)
			seal(w);
		for (uint32 s = w->oldest; s != w->next && w->ncalls < parallel &&
			 now >= w->hold_until_ms; s++)
		{
			WebhookRequest *r = w->slots[s % WEBHOOK_WINDOW];

			if (r != NULL && r->sealed && r->call == NULL &&
				r->refusal == NOT_REFUSED && r->blocked_by == 0)
				send_request(w, r);
		}
		cdc_http_push(w->http);
	}
	alarm = next_alarm(w, now);
	if (alarm >= 0 || w->alarm_set)
		cdc_http_wake_in(w->http, alarm);
	w->alarm_set = alarm >= 0;
}

/* ---- the sink --------------------------------------------------------- */

void
cdc_webhook_submit(CdcSink *sink, CdcBatch *batch)
{
	WebhookSink *w = (WebhookSink *) sink;

	while (batch->nsubmitted < batch->nmsgs)
	{
		CdcMessage *msg = &batch->msgs[batch->nsubmitted];
		WebhookRequest *r;

		if (unlikely(msg->flags & CDC_MSG_SKIP))
		{
			cdc_batch_ack(batch, 1);
			batch->nsubmitted++;
			continue;
		}
		if (w->open != NULL && w->open->bytes + msg->val_len > w->max_bytes)
			seal(w);
		r = open_request(w);
		if (r == NULL || !add_item(r, batch, batch->nsubmitted))
			break;				/* comes again */
		note_key(w, r, batch, msg);
		batch->nsubmitted++;
		if (r->nitems >= w->max_messages || r->bytes >= w->max_bytes)
			seal(w);
	}
	dispatch(w);
}

void
cdc_webhook_service(CdcSink *sink)
{
	WebhookSink *w = (WebhookSink *) sink;

	cdc_http_service(w->http);
	dispatch(w);
}

void
cdc_webhook_flush(CdcSink *sink, CdcHlc floor)
{
	WebhookSink *w = (WebhookSink *) sink;

	seal(w);
	dispatch(w);
}

bool
cdc_webhook_resolved(CdcSink *sink, const char *payload, size_t len, CdcHlc r)
{
	WebhookSink *w = (WebhookSink *) sink;
	bool		same = cdc_hlc_cmp(w->resolved_hlc, r) == 0;

	if (w->resolved_state == RESOLVED_SENT && same)
	{
		w->resolved_state = RESOLVED_NONE;
		return true;
	}
	if (w->resolved_state != RESOLVED_WAITS || (!same && w->resolved_call == NULL))
	{
		char	   *text = malloc(len);

		if (text == NULL)
		{
			no_memory(w);
			return false;
		}
		memcpy(text, payload, len);
		free(w->resolved_text);
		w->resolved_text = text;
		w->resolved_len = len;
		w->resolved_hlc = r;
		w->resolved_state = RESOLVED_WAITS;
		dispatch(w);
	}
	return false;
}
