/*-------------------------------------------------------------------------
 * kafka_start.c
 *		Opening, trying and closing a Kafka sink.
 *
 * Runs: lane and probe workers, main thread.  Opening does not wait for any
 * broker; closing leaves the producer to its keeper.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/leave.h"
#include "miscadmin.h"
#include "sink/kafka_int.h"
#include "storage/latch.h"
#include "utils/memutils.h"

/* ---- beginning and end ----------------------------------------------- */

#define PROBE_DOWN_MS		1000	/* all brokers down for so long: no use */
#define PROBE_MISSING_MS	5000	/* likewise a topic */

/* Messages in the library; it needs some 300 bytes for each. */
#define MAX_INFLIGHT		40000

/* The library's configuration; NULL with a message in the sink's error. */
static rd_kafka_conf_t *
make_conf(KafkaSink *k, const CdcKafkaConfig *config)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char		number[32];
	char		errstr[256];
	ListCell   *lc;

#define SET(name, value) \
	do { \
		if (rd_kafka_conf_set(conf, name, value, errstr, sizeof(errstr)) != RD_KAFKA_CONF_OK) \
			goto failed; \
	} while (0)

	foreach(lc, config->properties)
	{
		CdcKafkaProperty *p = lfirst(lc);

		SET(p->name, p->value);
	}
	snprintf(number, sizeof(number), "%d", k->batch_bytes);
	SET("batch.size", number);
	/* Sizes and numbers are looked after here. */
	SET("message.max.bytes", "1000000000");
	SET("queue.buffering.max.kbytes", "2097151");
	SET("queue.buffering.max.messages", "100000");
	if (rd_kafka_version() >= 0x01070000)
		SET("socket.connection.setup.timeout.ms", "10000");
	SET("log.queue", "true");
	SET("log_level", "6");
#undef SET
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR |
							 RD_KAFKA_EVENT_LOG);
	return conf;

failed:
	{
		char		text[CDC_SINK_ERROR_SIZE];

		cdc_kafka_clean_words(k, text, sizeof(text), errstr);
		cdc_kafka_break(k, "librdkafka %s: %s", rd_kafka_version_str(), text);
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
}

/* Makes the producer and its threads; on failure the sink is broken. */
static void
start_producer(KafkaSink *k, const CdcKafkaConfig *config)
{
	rd_kafka_conf_t *conf = make_conf(k, config);
	char		errstr[512];
	uint64		one = 1;
	sigset_t	all;
	sigset_t	old;
	int			fd;

	if (conf == NULL)
		return;
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
	{
		cdc_kafka_break(k, "could not create eventfd: %s", strerror(errno));
		rd_kafka_conf_destroy(conf);
		return;
	}

	/* PostgreSQL's handlers must not run on foreign threads. */
	cdc_threads_started();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	k->keeper = cdc_kafka_keeper_start(fd);
	if (k->keeper != NULL)
		k->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
	else
	{
		strlcpy(errstr, "could not create a thread", sizeof(errstr));
		close(fd);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (k->rk == NULL)
	{
		char		text[CDC_SINK_ERROR_SIZE];

		rd_kafka_conf_destroy(conf);
		cdc_kafka_clean_words(k, text, sizeof(text), errstr);
		cdc_kafka_break(k, "could not start a Kafka producer: %s", text);
		return;
	}
	cdc_kafka_keeper_adopt(k->keeper, k->rk);
	k->queue = rd_kafka_queue_get_main(k->rk);
	rd_kafka_set_log_queue(k->rk, NULL);
	rd_kafka_queue_io_event_enable(k->queue, fd, &one, sizeof(one));
	k->sink.event_fd = fd;
}

static KafkaSink *
open_sink(const CdcSinkConfig *config, bool probing)
{
	CdcOptions	options = *config->options;
	KafkaSink  *k;
	MemoryContext tmp;
	MemoryContext old;
	CdcKafkaConfig *kc;

	/* not needed, and the values are not here */
	if (probing)
		options.extra_headers = NULL;

	/* may raise, so nothing that is not palloc'ed comes before */
	tmp = AllocSetContextCreate(CurrentMemoryContext, "kafka sink configuration",
								ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(tmp);
	kc = cdc_kafka_config(config->uri, &options);
	MemoryContextSwitchTo(old);

	k = calloc(1, sizeof(KafkaSink));
	if (k == NULL)
		return NULL;
	k->sink.ops = &cdc_sink_kafka;
	k->sink.job_id = config->job_id;
	k->sink.event_fd = -1;
	k->probing = probing;
	k->progress_ms = cdc_kafka_now_ms();
	dlist_init(&k->topics);
	dlist_init(&k->held);

	if (kc->password != NULL)
		k->password = strdup(kc->password);
	k->compressed = kc->compressed;
	k->partition_fnv1a = options.partition_fnv1a;
	k->linger_ms = kc->linger_ms;
	k->request_bytes = kc->request_bytes;
	k->batch_bytes = kc->batch_bytes;
	k->batch_bytes = Min(k->batch_bytes,
						 cdc_kafka_learnt_batch_bytes(config->job_id));
	k->refused_bytes = cdc_kafka_refused_bytes(config->job_id);
	k->max_inflight = MAX_INFLIGHT;
	if (cdc_kafka_set_headers(k, kc->headers))
		start_producer(k, kc);
	else
		cdc_kafka_break(k, "out of memory");
	MemoryContextDelete(tmp);
	if (k->sink.broken)
		return k;

	for (int i = 0; i < config->ntopics; i++)
	{
		if (cdc_kafka_topic(k, config->topics[i]) == NULL)
		{
			cdc_kafka_break(k, "out of memory");
			return k;
		}
	}
	cdc_kafka_keeper_kick(k->keeper);
	return k;
}

CdcSink *
cdc_kafka_open(const CdcSinkConfig *config)
{
	return (CdcSink *) open_sink(config, false);
}

/* Nothing of the producer is left that could read the batches. */
static void
free_sink(void *arg)
{
	KafkaSink  *k = arg;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &k->held)
	{
		KafkaHeld  *held = dlist_container(KafkaHeld, node, iter.cur);

		cdc_batch_unref(held->batch);
		free(held);
	}
	if (k->headers != NULL)
		rd_kafka_headers_destroy(k->headers);
	if (k->password != NULL)
		explicit_bzero(k->password, strlen(k->password));
	free(k->password);
	free(k);
}

void
cdc_kafka_close(CdcSink *sink)
{
	KafkaSink  *k = (KafkaSink *) sink;

	if (k->keeper == NULL)
	{
		free_sink(k);
		return;
	}
	if (k->rk != NULL)
	{
		rd_kafka_queue_io_event_enable(k->queue, -1, NULL, 0);
		cdc_kafka_free_topics(k);
		rd_kafka_queue_destroy(k->queue);
	}
	cdc_kafka_keeper_close(k->keeper, sink->job_id, free_sink, k);
}

/* ---- probe ----------------------------------------------------------- */

/* Is the answer known?  Then *done, with an error unless all is well. */
static bool
probe_turn(KafkaSink *k, int64 started, int timeout_ms, char *error,
		   size_t size, bool *ok)
{
	int64		now = cdc_kafka_now_ms();
	KafkaTopic *missing = NULL;
	dlist_iter	iter;

	*ok = false;
	cdc_kafka_service(&k->sink);
	if (k->sink.broken)
	{
		strlcpy(error, k->sink.error, size);
		return true;
	}
	if (k->fatal_ms != 0)
	{
		snprintf(error, size, "Kafka producer failed: %s", k->fatal);
		return true;
	}
	dlist_foreach(iter, &k->topics)
	{
		KafkaTopic *kt = dlist_container(KafkaTopic, node, iter.cur);

		if (kt->partitions > 0)
			continue;
		missing = kt;
		if (kt->err != 0 &&
			kt->err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART &&
			kt->err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
		{
			snprintf(error, size, "Kafka topic \"%s\": %s", kt->name,
					 rd_kafka_err2str(kt->err));
			return true;
		}
	}
	if (missing == NULL)
	{
		*ok = true;
		return true;
	}
	if (missing->err != 0 && now - started >= Min(timeout_ms, PROBE_MISSING_MS))
	{
		snprintf(error, size, "Kafka topic \"%s\" does not exist and the brokers did not create it; create it, or set auto.create.topics.enable on the brokers",
				 missing->name);
		return true;
	}
	if ((k->down_ms != 0 && now - k->down_ms >= PROBE_DOWN_MS) ||
		now - started >= timeout_ms)
	{
		snprintf(error, size, "no Kafka broker can be reached: %s",
				 k->last_words[0] ? k->last_words : "no answer in time");
		return true;
	}
	return false;
}

bool
cdc_kafka_probe(const CdcSinkConfig *config, int timeout_ms, char *error,
			size_t error_size)
{
	KafkaSink  *volatile k = open_sink(config, true);
	int64		started = cdc_kafka_now_ms();
	bool		ok = false;

	if (k == NULL)
	{
		strlcpy(error, "out of memory", error_size);
		return false;
	}
	PG_TRY();
	{
		while (!probe_turn(k, started, timeout_ms, error, error_size, &ok))
		{
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 10, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
		for (int i = 0; ok && i < config->ntopics; i++)
			config->topics[i]->partitions = ((KafkaTopic *) config->topics[i]->sink_data)->partitions;
	}
	PG_FINALLY();
	{
		cdc_kafka_close((CdcSink *) k);
	}
	PG_END_TRY();
	return ok;
}
