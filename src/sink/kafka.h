/*-------------------------------------------------------------------------
 * kafka.h
 *		Inner face of the Kafka sink: kafka_config.c and kafka_options.c
 *		turn URI and options into properties of librdkafka, kafka_keeper.c
 *		does what may block, kafka.c is the sink.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_KAFKA_H
#define CDC_KAFKA_H

#include "postgres.h"

#include "base/compat.h"
#include "catalog/options.h"
#include "catalog/uri.h"

struct rd_kafka_s;
struct rd_kafka_metadata;

typedef struct CdcKafkaProperty
{
	const char *name;
	char	   *value;
} CdcKafkaProperty;

typedef struct CdcKafkaConfig
{
	List	   *properties;		/* CdcKafkaProperty, all but the sizes below */
	const char *password;		/* to be kept out of messages, or NULL */
	List	   *headers;		/* CdcHeader, of every message */
	bool		acks_all;
	bool		compressed;
	double		linger_ms;
	int			batch_bytes;	/* most bytes of a batch of several messages */
	int			request_bytes;	/* refuse larger messages, 0: brokers' limit */
} CdcKafkaConfig;

/*
 * Validates URI and options and returns what follows from them, palloc'ed in
 * the current context.  Raises 22023, or 0A000 for what is known but not
 * supported.  Runs: backend, worker.  Does not touch librdkafka.
 */
extern CdcKafkaConfig *cdc_kafka_config(const CdcUri *uri,
										const CdcOptions *options);

/* Its parts.  cdc_kafka_bad() raises 22023. */
extern void cdc_kafka_sink_config(CdcKafkaConfig *config, const char *json);
extern void cdc_kafka_set(CdcKafkaConfig *config, const char *name,
						  const char *value);
pg_noreturn extern void cdc_kafka_bad(const char *fmt,...) pg_attribute_printf(1, 2);

/* URI schemes the sink takes, NULL-terminated. */
extern const char *const cdc_kafka_schemes[];

/*
 * The keeper: a thread that does everything of a producer that may block:
 * asking for metadata, and destroying it.  CdcClosing is its first member.
 */
typedef struct CdcKafkaKeeper CdcKafkaKeeper;

/*
 * Starts the thread, which owns event_fd from now on and writes to it when
 * there is something to take.  NULL: no thread to be had.
 */
extern CdcKafkaKeeper *cdc_kafka_keeper_start(int event_fd);

/* Makes it the owner of a producer; before the first kick. */
extern void cdc_kafka_keeper_adopt(CdcKafkaKeeper *keeper,
								   struct rd_kafka_s *rk);

/* Asks for fresh metadata as soon as possible. */
extern void cdc_kafka_keeper_kick(CdcKafkaKeeper *keeper);

/*
 * Takes the newest answer, if there is a new one.  *md is NULL if the brokers
 * could not be asked, else to be freed by the caller.
 */
extern bool cdc_kafka_keeper_take(CdcKafkaKeeper *keeper,
								  const struct rd_kafka_metadata **md);

/*
 * Tells the thread to destroy the producer and end; returns at once.  The
 * caller has given back everything else it had of the producer.  release(arg)
 * is called on the main thread, by cdc_closing_count(), once nothing of the
 * producer is left.
 */
extern void cdc_kafka_keeper_close(CdcKafkaKeeper *keeper, int64 job_id,
								   void (*release) (void *arg), void *arg);

#endif							/* CDC_KAFKA_H */
