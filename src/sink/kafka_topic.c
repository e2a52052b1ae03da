/*-------------------------------------------------------------------------
 * kafka_topic.c
 *		The topics of a Kafka sink: how many partitions they have and how
 *		large a message may be, now and while they change.
 *
 * The number of partitions at creation decides for ever where keys go, so
 * that partitions added later do not break the order; resolved messages go to
 * those too.
 *
 * Runs: workers, main thread.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "sink/kafka_int.h"

#define LONG_NUMBER		13		/* digits of a time in milliseconds */

/*
 * What a job's former producers have learnt: batches larger than this are
 * refused, and so is one message.  One entry for each job that met it.
 */
typedef struct KafkaLearnt
{
	struct KafkaLearnt *next;
	int64		job_id;
	int			batch_bytes;
	rd_kafka_resp_err_t refused;	/* why the message was, 0: none */
	int64		refused_bytes;
	uint64		refused_hash;
	CdcHlc		refused_hlc;	/* wall 0: not known */
} KafkaLearnt;

static KafkaLearnt *learnt = NULL;

#define LIMITS_TIMEOUT_MS	5000
#define LIMITS_REFRESH_MS	300000
#define LIMITS_POISON_MS	5000	/* while a message waits for a higher one */

/* ---- what was learnt about a job's topics ---------------------------- */

static KafkaLearnt *
find_learnt(int64 job_id)
{
	for (KafkaLearnt *l = learnt; l != NULL; l = l->next)
	{
		if (l->job_id == job_id)
			return l;
	}
	return NULL;
}

int
cdc_kafka_learnt_batch_bytes(int64 job_id)
{
	KafkaLearnt *l = find_learnt(job_id);

	return l != NULL && l->batch_bytes > 0 ? l->batch_bytes : PG_INT32_MAX;
}

/* The job's entry, made if need be; NULL: out of memory. */
static KafkaLearnt *
make_learnt(int64 job_id)
{
	KafkaLearnt *l = find_learnt(job_id);

	if (l == NULL)
	{
		l = calloc(1, sizeof(KafkaLearnt));
		if (l == NULL)
			return NULL;
		l->job_id = job_id;
		l->next = learnt;
		learnt = l;
	}
	return l;
}

/*
 * The next producer of this job makes batches of so many bytes at most;
 * 0: as large as it likes.
 */
void
cdc_kafka_learn_batch_bytes(int64 job_id, int bytes)
{
	KafkaLearnt *l = make_learnt(job_id);

	if (l != NULL)
		l->batch_bytes = bytes;
}

/*
 * Hash of a message.  Long numbers in its value are left out: the time of day
 * may be among them, which is another one when the message is made again.
 */
static uint64
message_hash(const void *key, size_t key_len, const void *value, size_t len)
{
	const unsigned char *p = value;
	const unsigned char *end = p + len;
	uint64		hash = hash_bytes_extended(key, (int) key_len, 0);

	while (p < end)
	{
		const unsigned char *start = p;
		const unsigned char *digits = p;

		while (p < end && p - digits < LONG_NUMBER)
		{
			if (*p < '0' || *p > '9')
				digits = p + 1;
			p++;
		}
		if (p - digits < LONG_NUMBER)
			digits = end;
		hash = hash_bytes_extended(start, (int) (digits - start), hash);
		while (p < end && *p >= '0' && *p <= '9')
			p++;
	}
	return hash;
}

/*
 * The brokers have refused this message, which ends its producer.  The next
 * one knows it and need not send it again to find out.
 */
void
cdc_kafka_learn_refused(int64 job_id, const rd_kafka_message_t *msg,
						const CdcBatch *batch)
{
	KafkaLearnt *l = make_learnt(job_id);

	if (l == NULL)
		return;
	l->refused = msg->err;
	l->refused_bytes = msg->key_len + msg->len;
	l->refused_hash = message_hash(msg->key, msg->key_len, msg->payload, msg->len);
	memset(&l->refused_hlc, 0, sizeof(l->refused_hlc));
	for (uint32 i = 0; i < batch->nmsgs && msg->payload != NULL; i++)
	{
		if (cdc_msg_value(batch, &batch->msgs[i]) == msg->payload)
			l->refused_hlc = batch->msgs[i].hlc;
	}
}

/* Size of that message, or -1. */
int64
cdc_kafka_refused_bytes(int64 job_id)
{
	KafkaLearnt *l = find_learnt(job_id);

	return l != NULL && l->refused != 0 ? l->refused_bytes : -1;
}

/*
 * Is this the message that was refused, and why?  It is forgotten then: who
 * sends it all the same will learn anew.
 */
rd_kafka_resp_err_t
cdc_kafka_take_refused(int64 job_id, CdcHlc hlc, const char *key,
					   size_t key_len, const char *value, size_t len)
{
	KafkaLearnt *l = find_learnt(job_id);
	rd_kafka_resp_err_t err;

	if (l == NULL || l->refused == 0 || l->refused_bytes != key_len + len ||
		(l->refused_hlc.wall != 0 && cdc_hlc_cmp(l->refused_hlc, hlc) != 0) ||
		l->refused_hash != message_hash(key, key_len, value, len))
		return 0;
	err = l->refused;
	l->refused = 0;
	return err;
}

/* ---- topics ---------------------------------------------------------- */

/* The topic of this name, made if need be; NULL: out of memory. */
KafkaTopic *
cdc_kafka_topic(KafkaSink *k, CdcTopic *topic)
{
	KafkaTopic *kt = NULL;
	CdcTopic  **users;
	dlist_iter	iter;

	dlist_foreach(iter, &k->topics)
	{
		KafkaTopic *t = dlist_container(KafkaTopic, node, iter.cur);

		if (strcmp(t->name, topic->name) == 0)
		{
			kt = t;
			break;
		}
	}
	if (kt == NULL)
	{
		kt = calloc(1, sizeof(KafkaTopic));
		if (kt == NULL)
			return NULL;
		kt->name = strdup(topic->name);
		if (kt->name != NULL)
			kt->rkt = rd_kafka_topic_new(k->rk, kt->name, NULL);
		if (kt->rkt == NULL)
		{
			free(kt->name);
			free(kt);
			return NULL;
		}
		dlist_push_tail(&k->topics, &kt->node);
	}

	users = realloc(kt->users, sizeof(CdcTopic *) * (kt->nusers + 1));
	if (users == NULL)
		return NULL;
	users[kt->nusers++] = topic;
	kt->users = users;
	if (kt->stored == 0)
		kt->stored = topic->partitions;
	topic->sink_data = kt;
	return kt;
}

void
cdc_kafka_free_topics(KafkaSink *k)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &k->topics)
	{
		KafkaTopic *kt = dlist_container(KafkaTopic, node, iter.cur);

		for (int i = 0; i < kt->nusers; i++)
			kt->users[i]->sink_data = NULL;
		rd_kafka_topic_destroy(kt->rkt);
		free(kt->users);
		free(kt->bucket);
		free(kt->name);
		dlist_delete(&kt->node);
		free(kt);
	}
}

static KafkaTopic *
topic_by_name(KafkaSink *k, const char *name)
{
	dlist_iter	iter;

	dlist_foreach(iter, &k->topics)
	{
		KafkaTopic *kt = dlist_container(KafkaTopic, node, iter.cur);

		if (strcmp(kt->name, name) == 0)
			return kt;
	}
	return NULL;
}

/* The brokers say that a topic has so many partitions. */
static void
set_partitions(KafkaSink *k, KafkaTopic *kt, int n)
{
	int			spread = kt->stored > 0 ? Min(kt->stored, n) : n;

	if (kt->spread == 0)
	{
		kt->bucket = malloc(sizeof(int16) * spread);
		if (kt->bucket == NULL)
			return;
		memset(kt->bucket, -1, sizeof(int16) * spread);
		kt->spread = spread;
		if (!k->probing && kt->stored > 0 && n < kt->stored)
			ereport(WARNING,
					(errmsg("Kafka topic \"%s\" of changefeed " INT64_FORMAT " has %d partitions, but had %d when the changefeed was created",
							kt->name, k->sink.job_id, n, kt->stored),
					 errdetail("Keys are spread over %d partitions from now on; a key's later messages may be on another partition than its earlier ones.", n)));
	}
	else if (n < kt->spread)
	{
		/* deleted and made again: messages wait for partitions that are gone */
		cdc_kafka_break(k, "Kafka topic \"%s\" has %d partitions, but had %d before",
				   kt->name, n, kt->partitions);
	}
	if (!k->probing && n > kt->spread && n != kt->partitions)
		ereport(WARNING,
				(errmsg("Kafka topic \"%s\" of changefeed " INT64_FORMAT " has %d partitions, but had %d when the changefeed was created",
						kt->name, k->sink.job_id, n, kt->spread),
				 errdetail("Keys stay on the first %d partitions, so that each key's messages stay in order; resolved messages go to all partitions.",
						   kt->spread)));
	kt->partitions = n;
}

/* Asks for max.message.bytes of all topics; the answer is an event. */
static void
ask_limits(KafkaSink *k)
{
	rd_kafka_ConfigResource_t **resources;
	rd_kafka_AdminOptions_t *options;
	char		errstr[256];
	size_t		n = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &k->topics)
		n++;
	resources = malloc(sizeof(rd_kafka_ConfigResource_t *) * n);
	if (resources == NULL)
		return;					/* asked again at the next metadata */
	n = 0;
	dlist_foreach(iter, &k->topics)
	{
		KafkaTopic *kt = dlist_container(KafkaTopic, node, iter.cur);

		if (kt->partitions > 0)
			resources[n++] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC,
														 kt->name);
	}
	options = rd_kafka_AdminOptions_new(k->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	rd_kafka_AdminOptions_set_request_timeout(options, LIMITS_TIMEOUT_MS,
											  errstr, sizeof(errstr));
	rd_kafka_DescribeConfigs(k->rk, resources, n, options, k->queue);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_ConfigResource_destroy_array(resources, n);
	free(resources);
	k->limits_asked = true;
	k->limits_ms = cdc_kafka_now_ms();
}

/* No answer: send, and let the brokers judge. */
static void
settle_limits(KafkaSink *k)
{
	dlist_iter	iter;

	dlist_foreach(iter, &k->topics)
	{
		KafkaTopic *kt = dlist_container(KafkaTopic, node, iter.cur);

		if (kt->partitions > 0)
			kt->limits_settled = true;
	}
	k->limits_asked = false;
}

void
cdc_kafka_handle_limits(KafkaSink *k, rd_kafka_event_t *event)
{
	const rd_kafka_DescribeConfigs_result_t *result = rd_kafka_event_DescribeConfigs_result(event);
	const rd_kafka_ConfigResource_t **resources;
	size_t		n = 0;

	k->limits_asked = false;
	resources = result && rd_kafka_event_error(event) == 0 ?
		rd_kafka_DescribeConfigs_result_resources(result, &n) : NULL;
	if (resources == NULL)
	{
		settle_limits(k);
		return;
	}
	for (size_t i = 0; i < n; i++)
	{
		KafkaTopic *kt = topic_by_name(k, rd_kafka_ConfigResource_name(resources[i]));
		const rd_kafka_ConfigEntry_t **entries;
		size_t		nentries;

		if (kt == NULL)
			continue;
		kt->limits_settled = true;
		if (rd_kafka_ConfigResource_error(resources[i]) != 0)
			continue;
		entries = rd_kafka_ConfigResource_configs(resources[i], &nentries);
		for (size_t j = 0; j < nentries; j++)
		{
			const char *value = rd_kafka_ConfigEntry_value(entries[j]);

			if (value == NULL ||
				strcmp(rd_kafka_ConfigEntry_name(entries[j]), "max.message.bytes") != 0)
				continue;
			kt->max_bytes = Max(atoi(value), 0);
		}
		if (kt->max_bytes > 0 && kt->max_bytes < k->batch_bytes && !k->probing)
		{
			cdc_kafka_learn_batch_bytes(k->sink.job_id, kt->max_bytes);
			cdc_kafka_break(k, "Kafka topic \"%s\" takes batches of at most %d bytes: starting again with smaller ones",
					   kt->name, kt->max_bytes);
		}
	}
}

/* Limits change: look again now and then, using what is known meanwhile. */
void
cdc_kafka_check_limits(KafkaSink *k, int64 now)
{
	if (k->limits_asked && now - k->limits_ms > LIMITS_TIMEOUT_MS + 1000)
		settle_limits(k);
	else if (!k->limits_asked && k->limits_ms != 0 &&
			 now - k->limits_ms > (k->sink.poison_batch ? LIMITS_POISON_MS : LIMITS_REFRESH_MS))
		ask_limits(k);
}

/* News from the keeper; false: none. */
bool
cdc_kafka_take_metadata(KafkaSink *k)
{
	const struct rd_kafka_metadata *md;
	KafkaTopic *missing = NULL;
	dlist_iter	iter;
	bool		ask = false;

	if (!cdc_kafka_keeper_take(k->keeper, &md))
		return false;
	if (md == NULL)
	{
		/* It has waited for some time, so this is no flicker. */
		if (k->sink.error[0] == '\0')
			cdc_sink_trouble(&k->sink, "no Kafka broker can be reached: %s",
							 k->last_words[0] ? k->last_words : "no answer");
		return true;
	}
	for (int i = 0; i < md->topic_cnt; i++)
	{
		const struct rd_kafka_metadata_topic *t = &md->topics[i];
		KafkaTopic *kt = topic_by_name(k, t->topic);

		if (kt == NULL)
			continue;
		kt->err = t->err;
		if (t->err == 0 && t->partition_cnt > 0)
			set_partitions(k, kt, t->partition_cnt);
	}
	rd_kafka_metadata_destroy(md);

	k->down_ms = 0;
	dlist_foreach(iter, &k->topics)
	{
		KafkaTopic *kt = dlist_container(KafkaTopic, node, iter.cur);

		if (kt->err != 0 || kt->partitions == 0)
			missing = kt;
		else if (!kt->limits_settled)
			ask = true;
	}
	if (ask && !k->limits_asked)
		ask_limits(k);
	if (k->sink.broken)
		return true;
	if (missing != NULL && missing->err != 0)
		cdc_sink_trouble(&k->sink, "Kafka topic \"%s\": %s", missing->name,
						 rd_kafka_err2str(missing->err));
	else if (missing == NULL && k->inflight == 0)
		cdc_sink_healthy(&k->sink);
	return true;
}
