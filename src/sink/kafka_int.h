/*-------------------------------------------------------------------------
 * kafka_int.h
 *		What the files of the Kafka sink share of a running one: kafka_start.c
 *		opens, probes and closes, kafka_topic.c knows the topics, kafka.c
 *		sends and hears the answers.
 *
 * Runs: workers, main thread.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_KAFKA_INT_H
#define CDC_KAFKA_INT_H

#include "postgres.h"

#include <librdkafka/rdkafka.h>

#include "lib/ilist.h"
#include "sink/kafka.h"
#include "sink/sink.h"

/* A topic by name; rows of several schema versions may go to it. */
typedef struct KafkaTopic
{
	dlist_node	node;
	rd_kafka_topic_t *rkt;
	char	   *name;
	int			stored;			/* partitions at creation, 0: not known */
	int			partitions;		/* now, 0: not known yet */
	int			spread;			/* keys are spread over so many, 0: not yet */
	int			err;			/* why the brokers do not know it */
	int			max_bytes;		/* the topic's limit, 0: not known */
	bool		limits_settled;
	int16	   *bucket;			/* by partition: index in the chunk, or -1 */
	CdcTopic  **users;			/* whose sink_data points here */
	int			nusers;
} KafkaTopic;

/* A batch that the library may read. */
typedef struct KafkaHeld
{
	dlist_node	node;
	CdcBatch   *batch;
	uint32		inflight;
} KafkaHeld;

typedef struct KafkaSink
{
	CdcSink		sink;
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	CdcKafkaKeeper *keeper;
	dlist_head	topics;
	dlist_head	held;
	KafkaHeld  *current;		/* the batch handed over last */
	char	   *password;		/* kept out of messages */
	bool		compressed;
	bool		partition_fnv1a;	/* not murmur2 */
	bool		wants_flush;
	bool		starved;		/* somebody was turned away: wake him */
	double		linger_ms;
	int			batch_bytes;
	int			request_bytes;
	int64		refused_bytes;	/* size of a message known as refused, or -1 */

	rd_kafka_headers_t *headers;	/* of every message, NULL: none */
	int			headers_wire;	/* bytes they take in a message, at most */
	int			max_inflight;	/* so many messages in the library */

	int64		inflight;		/* messages in the library, of any kind */
	int64		progress_ms;	/* last answer, or nothing in flight then */
	int64		stall_told_ms;
	int64		kicked_ms;
	int64		limits_ms;		/* limits were asked for */
	bool		limits_asked;
	bool		probing;
	int64		down_ms;		/* all brokers are down since, 0: no */
	char		last_words[CDC_SINK_ERROR_SIZE];	/* library's last error */
	int64		fatal_ms;		/* fatal error of the library, 0: none */
	char		fatal[CDC_SINK_ERROR_SIZE];

	/* Where resolved() was when it ran out of room. */
	bool		resolving;
	CdcHlc		resolved_at;
	dlist_node *resolved_topic;
	int			resolved_partition;
} KafkaSink;

/* kafka.c */
extern void cdc_kafka_service(CdcSink *sink);
extern int64 cdc_kafka_now_ms(void);
extern void cdc_kafka_clean_words(const KafkaSink *k, char *dst, size_t size,
								  const char *words);
extern void cdc_kafka_break(KafkaSink *k, const char *fmt,...) pg_attribute_printf(2, 3);
extern void cdc_kafka_kick(KafkaSink *k);

/*
 * kafka_headers.c.  False: out of memory.  The one-message and the many-message
 * way to produce with headers; the latter returns how many were taken, the
 * next one has its error.  "row": the message of the batch whose own headers
 * are added, or NULL.
 */
extern bool cdc_kafka_set_headers(KafkaSink *k, List *headers);
extern rd_kafka_resp_err_t cdc_kafka_produce(KafkaSink *k, KafkaTopic *kt,
											 int32 partition, int flags,
											 const rd_kafka_message_t *msg,
											 const CdcBatch *batch,
											 const CdcMessage *row);
extern int	cdc_kafka_produce_each(KafkaSink *k, KafkaTopic *kt,
								   int32 partition, const CdcBatch *batch,
								   CdcMessage *const *rows,
								   rd_kafka_message_t *msgs, int n);

/* kafka_topic.c */
extern KafkaTopic *cdc_kafka_topic(KafkaSink *k, CdcTopic *topic);
extern void cdc_kafka_free_topics(KafkaSink *k);
extern bool cdc_kafka_take_metadata(KafkaSink *k);
extern void cdc_kafka_handle_limits(KafkaSink *k, rd_kafka_event_t *event);
extern void cdc_kafka_check_limits(KafkaSink *k, int64 now);
extern int	cdc_kafka_learnt_batch_bytes(int64 job_id);
extern void cdc_kafka_learn_batch_bytes(int64 job_id, int bytes);
extern void cdc_kafka_learn_refused(int64 job_id, const rd_kafka_message_t *msg,
									const CdcBatch *batch);
extern int64 cdc_kafka_refused_bytes(int64 job_id);
extern rd_kafka_resp_err_t cdc_kafka_take_refused(int64 job_id, CdcHlc hlc,
												  const char *key, size_t key_len,
												  const char *value, size_t len);

/* kafka_start.c */
extern CdcSink *cdc_kafka_open(const CdcSinkConfig *config);
extern bool cdc_kafka_probe(const CdcSinkConfig *config, int timeout_ms,
							char *error, size_t error_size);
extern void cdc_kafka_close(CdcSink *sink);

#endif							/* CDC_KAFKA_INT_H */
