/*-------------------------------------------------------------------------
 * kafka.c
 *		The Kafka sink: messages to topics through librdkafka.
 *
 * No order is left to luck: acks=all with sequence numbers, nothing is ever
 * timed out by the library, the partition is computed here from the number
 * of partitions at creation, and every permanent failure makes the sink
 * "broken", so that the lane replaces the whole producer and replays.
 *
 * The bytes are not copied: the library reads them out of the batches, to
 * which this file holds references until it is done, or destroyed.
 *
 * Runs: lane and probe workers, main thread, but for kafka_check.  Everything
 * of the library comes as events through one queue, whose eventfd wakes the
 * loop; what may block is the keeper's (kafka_keeper.c).  Memory is malloc'ed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>
#include <unistd.h>

#include "base/compat.h"
#include "sink/kafka_int.h"

/* Messages handed over in one call. */
#define CHUNK				512

/* Events served before the lane gets its turn again. */
#define MAX_EVENTS			64

/* The brokers' own limit of a request, unless they say what a topic takes. */
#define MAX_REQUEST_BYTES	100000000

#define STALL_MS			10000	/* in flight and no answer: trouble */
#define FATAL_GRACE_MS		500		/* for reports that follow a fatal error */
#define MIN_KICK_MS			200

int64
cdc_kafka_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- words ----------------------------------------------------------- */

/*
 * The library's words for our messages: without the password, should they
 * hold it, without what changes each time ("(after 5ms in ...)") or speaks of
 * properties that users do not see, and in ASCII, since brokers may say anything.
 */
void
cdc_kafka_clean_words(const KafkaSink *k, char *dst, size_t size, const char *words)
{
	size_t		secret_len = k->password ? strlen(k->password) : 0;
	size_t		n = 0;

	while (*words && n + 1 < size)
	{
		if (secret_len > 0 && strncmp(words, k->password, secret_len) == 0)
		{
			n += strlcpy(dst + n, "redacted", size - n);
			n = Min(n, size - 1);
			words += secret_len;
			continue;
		}
		if (strncmp(words, " (after ", 8) == 0 ||
			strncmp(words, ", verify that ssl.ca", 20) == 0)
			break;
		dst[n++] = *words >= ' ' && *words <= '~' ? *words : '?';
		words++;
	}
	dst[n] = '\0';
}

/* This incarnation is at its end. */
void
cdc_kafka_break(KafkaSink *k, const char *fmt,...)
{
	char		text[CDC_SINK_ERROR_SIZE];
	va_list		args;

	if (k->sink.broken)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	cdc_sink_trouble(&k->sink, "%s", text);
	k->sink.broken = true;
}

void
cdc_kafka_kick(KafkaSink *k)
{
	int64		now = cdc_kafka_now_ms();

	if (now - k->kicked_ms < MIN_KICK_MS)
		return;
	k->kicked_ms = now;
	cdc_kafka_keeper_kick(k->keeper);
}

/* ---- batches --------------------------------------------------------- */

static KafkaHeld *
hold_batch(KafkaSink *k, CdcBatch *batch)
{
	KafkaHeld  *held = k->current;

	if (held != NULL && held->batch == batch)
		return held;
	held = calloc(1, sizeof(KafkaHeld));
	if (held == NULL)
		return NULL;
	held->batch = batch;
	cdc_batch_ref(batch);
	dlist_push_tail(&k->held, &held->node);
	k->current = held;
	return held;
}

/* Gives the batch back if the library has none of it and will get none. */
static void
release_held(KafkaSink *k, KafkaHeld *held)
{
	if (held->inflight > 0 || held->batch->nsubmitted < held->batch->nmsgs)
		return;
	if (k->current == held)
		k->current = NULL;
	dlist_delete(&held->node);
	cdc_batch_unref(held->batch);
	free(held);
}

/* Bytes of a record batch with this message alone. */
static int64
wire_bytes(const KafkaSink *k, const CdcMessage *m)
{
	/* header, lengths, deltas, number of headers: never more than this */
	const int	overhead = 61 + 5 + 1 + 1 + 1 + 5 + 5 + 1;

	/* a header's lengths take no more than CdcHeaderLens here */
	return overhead + k->headers_wire + (int64) cdc_msg_bytes(m);
}

static void
poison(KafkaSink *k, CdcBatch *batch, uint32 index, const char *fmt,...) pg_attribute_printf(4, 5);

static void
poison(KafkaSink *k, CdcBatch *batch, uint32 index, const char *fmt,...)
{
	va_list		args;

	if (k->sink.poison_batch != NULL)
		return;
	va_start(args, fmt);
	vsnprintf(k->sink.poison_error, sizeof(k->sink.poison_error), fmt, args);
	va_end(args);
	k->sink.poison_batch = batch;
	k->sink.poison_index = index;
}

/* Is there no way that the brokers take this message?  Then it is poison. */
static bool
is_too_large(KafkaSink *k, CdcBatch *batch, const CdcMessage *m, KafkaTopic *kt)
{
	int64		bytes = wire_bytes(k, m);
	int			limit = k->request_bytes;

	if (likely(bytes <= k->batch_bytes))
		return false;			/* no topic's limit is below */
	/* Compressed, it may fit: the brokers look at what they get. */
	if (limit == 0)
		limit = kt->max_bytes > 0 && !k->compressed ? kt->max_bytes : MAX_REQUEST_BYTES;
	if (bytes <= limit)
		return false;
	poison(k, batch, m - batch->msgs,
		   "message of " INT64_FORMAT " bytes is larger than the %d bytes that Kafka topic \"%s\" takes",
		   bytes, limit, kt->name);
	return true;
}

/* Did the brokers refuse this message of a former producer?  Likewise. */
static bool
is_refused(KafkaSink *k, CdcBatch *batch, const CdcMessage *m, KafkaTopic *kt)
{
	size_t		key_len = m->key_len == CDC_LEN_NULL ? 0 : m->key_len;
	size_t		len = m->val_len == CDC_LEN_NULL ? 0 : m->val_len;
	rd_kafka_resp_err_t err;

	if (likely(k->refused_bytes != (int64) (key_len + len)))
		return false;
	err = cdc_kafka_take_refused(k->sink.job_id, m->hlc, cdc_msg_key(batch, m),
								 key_len, cdc_msg_value(batch, m), len);
	if (err == 0)
		return false;
	k->refused_bytes = -1;
	poison(k, batch, m - batch->msgs,
		   "Kafka topic \"%s\" refuses a message of %zu bytes: %s", kt->name,
		   key_len + len, rd_kafka_err2str(err));
	return true;
}

/* Partition of a row's message: the same for the same key, for ever. */
static int32
partition_of(const KafkaSink *k, const KafkaTopic *kt, const char *key,
			 uint32 key_len)
{
	/* Without a key there is no order among rows but that of one partition. */
	if (key_len == CDC_LEN_NULL)
		return 0;
	if (k->partition_fnv1a)
		return rd_kafka_msg_partitioner_fnv1a(kt->rkt, key, key_len, kt->spread,
											  NULL, NULL);
	return rd_kafka_msg_partitioner_murmur2(kt->rkt, key, key_len, kt->spread,
											NULL, NULL);
}

/*
 * Hands over the next messages of a batch, CHUNK at most.  The library takes
 * messages of one partition at a time at the best price, so they are sorted
 * into groups.  Returns the number of messages done with.
 */
static uint32
submit_chunk(KafkaSink *k, CdcBatch *batch, KafkaHeld *held)
{
	static rd_kafka_message_t out[CHUNK];
	static CdcMessage *msgs[CHUNK];
	struct
	{
		KafkaTopic *kt;
		int32		partition;
		int16		first;
		int16		last;
	}			groups[CHUNK];
	int16		next[CHUNK];
	CdcMessage *first = &batch->msgs[batch->nsubmitted];
	int			room = (int) Min(CHUNK, k->max_inflight - k->inflight);
	int			max = (int) Min(room, (int64) batch->nmsgs - batch->nsubmitted);
	int			ngroups = 0;
	int			n;

	for (n = 0; n < max; n++)
	{
		CdcMessage *m = &first[n];
		KafkaTopic *kt = m->topic->sink_data;
		int32		partition;
		int16		g;

		next[n] = -1;
		if (unlikely(m->flags & CDC_MSG_SKIP))
		{
			cdc_batch_ack(batch, 1);
			continue;
		}
		if (unlikely(kt == NULL))
		{
			kt = cdc_kafka_topic(k, m->topic);
			if (kt == NULL)
				break;
		}
		if (unlikely(kt->spread == 0 || kt->err != 0 || !kt->limits_settled))
		{
			/* A topic that was not there at the start; else it is on its way. */
			if (kt->err == 0 && !k->limits_asked)
				cdc_kafka_kick(k);
			break;
		}
		if (unlikely(is_refused(k, batch, m, kt) ||
					 is_too_large(k, batch, m, kt)))
			break;
		if (unlikely(m->flags & CDC_MSG_PARTITION))
			partition = cdc_msg_partition(batch, m) % kt->spread;
		else
			partition = partition_of(k, kt, cdc_msg_key(batch, m), m->key_len);
		g = kt->bucket[partition];
		if (g < 0)
		{
			g = kt->bucket[partition] = ngroups++;
			groups[g].kt = kt;
			groups[g].partition = partition;
			groups[g].first = n;
		}
		else
			next[groups[g].last] = n;
		groups[g].last = n;
	}
	batch->nsubmitted += n;

	for (int g = 0; g < ngroups; g++)
	{
		KafkaTopic *kt = groups[g].kt;
		int			cnt = 0;
		int			taken;
		bool		headers = false;

		kt->bucket[groups[g].partition] = -1;
		for (int i = groups[g].first; i >= 0; i = next[i])
		{
			CdcMessage *m = &first[i];
			rd_kafka_message_t *o = &out[cnt];

			headers |= m->headers_len > 0 && (m->flags & CDC_MSG_PARTITION) == 0;
			msgs[cnt++] = m;

			o->payload = m->val_len == CDC_LEN_NULL ? NULL :
				unconstify(char *, cdc_msg_value(batch, m));
			o->len = m->val_len == CDC_LEN_NULL ? 0 : m->val_len;
			o->key = m->key_len == CDC_LEN_NULL ? NULL :
				unconstify(char *, cdc_msg_key(batch, m));
			o->key_len = m->key_len == CDC_LEN_NULL ? 0 : m->key_len;
			o->_private = held;
			o->err = 0;
		}
		if (unlikely(k->sink.broken))
			continue;
		taken = likely(k->headers == NULL && !headers) ?
			rd_kafka_produce_batch(kt->rkt, groups[g].partition, 0, out, cnt) :
			cdc_kafka_produce_each(k, kt, groups[g].partition, batch, msgs, out, cnt);
		held->inflight += taken;
		k->inflight += taken;
		if (unlikely(taken < cnt))
		{
			/* the topic is gone, or a fatal error is on its way to us */
			for (int i = 0; i < cnt; i++)
			{
				if (out[i].err != 0)
				{
					cdc_kafka_break(k, "Kafka topic \"%s\": %s", kt->name,
							   rd_kafka_err2str(out[i].err));
					break;
				}
			}
		}
	}
	return n;
}

static void
kafka_submit(CdcSink *sink, CdcBatch *batch)
{
	KafkaSink  *k = (KafkaSink *) sink;
	KafkaHeld  *held;

	if (sink->broken || sink->poison_batch != NULL || k->fatal_ms != 0)
		return;
	held = hold_batch(k, batch);
	if (held == NULL)
		return;
	if (k->inflight == 0)
		k->progress_ms = cdc_kafka_now_ms();
	while (batch->nsubmitted < batch->nmsgs && k->inflight < k->max_inflight)
	{
		if (submit_chunk(k, batch, held) == 0 || sink->broken ||
			sink->poison_batch != NULL)
			break;
	}
	k->starved |= batch->nsubmitted < batch->nmsgs;
	release_held(k, held);
}

/* ---- answers --------------------------------------------------------- */

/* The brokers will not have this message, which came with "count" others. */
static void
handle_failed(KafkaSink *k, const rd_kafka_message_t *msg, size_t count)
{
	KafkaHeld  *held = msg->_private;
	const char *topic = rd_kafka_topic_name(msg->rkt);
	const char *words = rd_kafka_err2str(msg->err);
	bool		refused;

	/* Consequences of what was told before. */
	if (k->sink.broken ||
		msg->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
		msg->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT ||
		msg->err == RD_KAFKA_RESP_ERR__FATAL)
		return;

	refused = msg->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
		msg->err == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE ||
		msg->err == RD_KAFKA_RESP_ERR_INVALID_MSG ||
		msg->err == RD_KAFKA_RESP_ERR_INVALID_RECORD ||
		msg->err == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE;
	if (refused && count == 1 && held != NULL)
	{
		/* The producer is at its end; the next one will say which it is. */
		cdc_kafka_learn_refused(k->sink.job_id, msg, held->batch);
		cdc_kafka_learn_batch_bytes(k->sink.job_id, 0);
	}
	else if (refused && count > 1)
	{
		/* One of them, or all together: smaller batches will show. */
		cdc_kafka_learn_batch_bytes(k->sink.job_id, Min(k->batch_bytes, 1000000) / 8);
	}
	if (held == NULL && msg->err == RD_KAFKA_RESP_ERR_INVALID_RECORD)
		cdc_kafka_break(k, "Kafka topic \"%s\" refuses resolved messages, which have no key; is it compacted?",
						topic);
	cdc_kafka_break(k, "Kafka topic \"%s\": %s", topic, words);
}

static void
handle_reports(KafkaSink *k, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *msgs[CHUNK];
	size_t		count = rd_kafka_event_message_count(event);
	size_t		n;
	bool		good = false;

	while ((n = rd_kafka_event_message_array(event, msgs, lengthof(msgs))) > 0)
	{
		k->inflight -= n;
		for (size_t i = 0; i < n; i++)
		{
			KafkaHeld  *held = msgs[i]->_private;
			uint32		same = 0;

			if (unlikely(msgs[i]->err != 0))
			{
				handle_failed(k, msgs[i], count);
				continue;
			}
			good = true;
			if (held == NULL)
				continue;		/* resolved */
			for (; i < n && msgs[i]->_private == held && msgs[i]->err == 0; i++)
			{
				k->sink.sent_bytes += msgs[i]->len + msgs[i]->key_len;
				same++;
			}
			i--;
			k->sink.sent_messages += same;
			held->inflight -= same;
			cdc_batch_ack(held->batch, same);
			release_held(k, held);
		}
	}
	if (good)
	{
		k->progress_ms = cdc_kafka_now_ms();
		k->down_ms = 0;
		k->last_words[0] = '\0';
		if (k->sink.error[0] != '\0' && !k->sink.broken)
			cdc_sink_healthy(&k->sink);
	}
}

static void
handle_error(KafkaSink *k, rd_kafka_event_t *event)
{
	rd_kafka_resp_err_t err = rd_kafka_event_error(event);
	const char *words = rd_kafka_event_error_string(event);

	switch (err)
	{
		case RD_KAFKA_RESP_ERR__FATAL:
			{
				char		text[CDC_SINK_ERROR_SIZE];

				/* The reports that say more follow. */
				(void) rd_kafka_fatal_error(k->rk, text, sizeof(text));
				cdc_kafka_clean_words(k, k->fatal, sizeof(k->fatal), text);
				if (k->fatal_ms == 0)
					k->fatal_ms = cdc_kafka_now_ms();
				break;
			}
		case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
			if (k->down_ms == 0)
				k->down_ms = cdc_kafka_now_ms();
			cdc_sink_trouble(&k->sink, "no Kafka broker can be reached: %s",
							 k->last_words[0] ? k->last_words : words);
			cdc_kafka_kick(k);
			break;
		default:
			cdc_kafka_clean_words(k, k->last_words, sizeof(k->last_words), words);
			/* Told at once, or with news while it lasts. */
			if (err == RD_KAFKA_RESP_ERR__AUTHENTICATION ||
				err == RD_KAFKA_RESP_ERR__SSL ||
				k->down_ms != 0)
				cdc_sink_trouble(&k->sink, "no Kafka broker can be reached: %s",
								 k->last_words);
			break;
	}
}

/* Clocks of our own. */
static void
check_clocks(KafkaSink *k)
{
	int64		now = cdc_kafka_now_ms();

	cdc_kafka_check_limits(k, now);
	if (k->sink.broken)
		return;
	if (k->fatal_ms != 0 && now - k->fatal_ms > FATAL_GRACE_MS)
		cdc_kafka_break(k, "Kafka producer failed: %s", k->fatal);
	if (k->inflight > 0 && now - k->progress_ms > STALL_MS + k->linger_ms &&
		now - k->stall_told_ms > STALL_MS)
	{
		k->stall_told_ms = now;
		cdc_sink_trouble(&k->sink, "no acknowledgement from the Kafka brokers for %d s%s%s",
						 (int) ((now - k->progress_ms) / 1000),
						 k->last_words[0] ? "; last error: " : "", k->last_words);
	}
}

void
cdc_kafka_service(CdcSink *sink)
{
	KafkaSink  *k = (KafkaSink *) sink;
	uint64		counter;
	bool		news;
	int			i;

	if (k->rk == NULL)
		return;
	if (read(sink->event_fd, &counter, sizeof(counter)) < 0)
	{
		/* nothing in it */
	}
	for (i = 0; i < MAX_EVENTS; i++)
	{
		rd_kafka_event_t *event = rd_kafka_queue_poll(k->queue, 0);
		const char *facility;
		const char *words;
		int			level;

		if (event == NULL)
			break;
		switch (rd_kafka_event_type(event))
		{
			case RD_KAFKA_EVENT_DR:
				handle_reports(k, event);
				break;
			case RD_KAFKA_EVENT_ERROR:
				handle_error(k, event);
				break;
			case RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT:
				cdc_kafka_handle_limits(k, event);
				break;
			case RD_KAFKA_EVENT_LOG:
				if (rd_kafka_event_log(event, &facility, &words, &level) == 0)
				{
					char		text[CDC_SINK_ERROR_SIZE];

					cdc_kafka_clean_words(k, text, sizeof(text), words);
					elog(DEBUG1, "librdkafka: %s: %s", facility, text);
				}
				break;
			default:
				break;
		}
		rd_kafka_event_destroy(event);
	}
	news = cdc_kafka_take_metadata(k) || i > 0;
	check_clocks(k);

	/* There may be more, or room for what was turned away. */
	if (i == MAX_EVENTS || (news && k->starved))
	{
		k->starved = false;
		counter = 1;
		if (write(sink->event_fd, &counter, sizeof(counter)) < 0)
		{
			/* full, so it is readable */
		}
	}
	k->wants_flush &= k->inflight > 0;
	if (k->wants_flush)
		rd_kafka_flush(k->rk, 1);
}

/*
 * Only a feed with a long Flush.Frequency has anything to push.  The library
 * pushes while the call lasts, so it is repeated until all is out.
 */
static void
kafka_flush(CdcSink *sink, CdcHlc floor)
{
	KafkaSink  *k = (KafkaSink *) sink;

	if (k->inflight == 0 || k->linger_ms < 10 || sink->broken)
		return;
	k->wants_flush = true;
	rd_kafka_flush(k->rk, 1);
}

static rd_kafka_resp_err_t
produce_resolved(KafkaSink *k, KafkaTopic *kt, const char *payload, size_t len)
{
	rd_kafka_message_t msg = {0};

	if (k->headers == NULL)
		return rd_kafka_produce(kt->rkt, k->resolved_partition,
								RD_KAFKA_MSG_F_COPY,
								unconstify(char *, payload), len,
								NULL, 0, NULL) == 0 ? 0 : rd_kafka_last_error();
	msg.payload = unconstify(char *, payload);
	msg.len = len;
	return cdc_kafka_produce(k, kt, k->resolved_partition, RD_KAFKA_MSG_F_COPY, &msg,
							 NULL, NULL);
}

static bool
kafka_resolved(CdcSink *sink, const char *payload, size_t len, CdcHlc r)
{
	KafkaSink  *k = (KafkaSink *) sink;
	dlist_iter	iter;

	if (sink->broken || k->fatal_ms != 0)
		return false;
	dlist_foreach(iter, &k->topics)
	{
		KafkaTopic *kt = dlist_container(KafkaTopic, node, iter.cur);

		if (kt->partitions == 0 || kt->err != 0)
		{
			k->starved = true;
			if (kt->err == 0)
				cdc_kafka_kick(k);
			return false;
		}
	}
	if (!k->resolving || cdc_hlc_cmp(k->resolved_at, r) != 0)
	{
		k->resolving = true;
		k->resolved_at = r;
		k->resolved_partition = 0;
		k->resolved_topic = dlist_is_empty(&k->topics) ? NULL :
			dlist_head_node(&k->topics);
	}
	if (k->inflight == 0)
		k->progress_ms = cdc_kafka_now_ms();
	while (k->resolved_topic != NULL)
	{
		KafkaTopic *kt = dlist_container(KafkaTopic, node, k->resolved_topic);

		for (; k->resolved_partition < kt->partitions; k->resolved_partition++)
		{
			rd_kafka_resp_err_t err;

			if (k->inflight >= k->max_inflight)
			{
				k->starved = true;
				return false;
			}
			err = produce_resolved(k, kt, payload, len);
			if (err != 0)
			{
				if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
					cdc_kafka_break(k, "Kafka topic \"%s\": %s", kt->name,
							   rd_kafka_err2str(err));
				return false;
			}
			k->inflight++;
		}
		k->resolved_partition = 0;
		k->resolved_topic = dlist_has_next(&k->topics, k->resolved_topic) ?
			dlist_next_node(&k->topics, k->resolved_topic) : NULL;
	}
	k->resolving = false;
	kafka_flush(sink, r);
	return true;
}

static bool
kafka_settled(CdcSink *sink)
{
	return ((KafkaSink *) sink)->inflight == 0;
}

static void
kafka_check(const CdcUri *uri, const CdcOptions *options)
{
	CdcKafkaConfig *config = cdc_kafka_config(uri, options);

	/* Once, to the user who creates the feed. */
	if (!config->acks_all && !AmBackgroundWorkerProcess())
		ereport(WARNING,
				(errmsg("acknowledged rows can be lost when a Kafka broker fails"),
				 errhint("Use RequiredAcks \"ALL\" in kafka_sink_config to be safe.")));
}

static const char *const options_known[] = {
	"extra_headers", "headers_json_column_name", "kafka_sink_config",
	"partition_alg", NULL
};

const CdcSinkOps cdc_sink_kafka = {
	.name = "kafka",
	.schemes = cdc_kafka_schemes,
	.options = options_known,
	.has_topics = true,
	.sanitises_topics = true,
	.check = kafka_check,
	.probe = cdc_kafka_probe,
	.open = cdc_kafka_open,
	.submit = kafka_submit,
	.service = cdc_kafka_service,
	.flush = kafka_flush,
	.resolved = kafka_resolved,
	.settled = kafka_settled,
	.close = cdc_kafka_close,
};
