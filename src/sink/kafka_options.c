/*-------------------------------------------------------------------------
 * kafka_options.c
 *		The option kafka_sink_config, as properties of librdkafka.
 *
 * The fields are CockroachDB's; names are not case sensitive, as there.
 *
 * Runs: backend (CdcSinkOps.check) and workers.  Pure computation; raises
 * ERRORs.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "port/pg_bitutils.h"
#include "sink/kafka.h"
#include "sink/sink_config.h"

#define DEFAULT_CLIENT_ID	"cdc_sink"

/*
 * Batches of 256 kB fill a fast line, are below the limit of any usual topic
 * and keep what a slow broker makes us hold small.
 */
#define DEFAULT_BATCH_BYTES	(256 * 1024)
#define DEFAULT_LINGER_MS	1.0

/* What librdkafka takes. */
#define MAX_BATCH_MESSAGES	1000000
#define MAX_LINGER_US		INT64CONST(900000000)
#define MAX_BACKOFF_US		INT64CONST(300000000)

/* The fields of the JSON text; -1 or NULL: not given. */
typedef struct SinkConfig
{
	int64		max_messages;
	int64		messages;
	int64		bytes;
	int64		max_bytes;
	int64		frequency_us;
	char	   *acks;
	char	   *version;
	char	   *client_id;
	char	   *compression;
	int64		level;
	bool		has_level;
	int64		backoff_us;
} SinkConfig;

/* A count or size, as librdkafka takes them. */
static int64
read_count(const char *field, const JsonbValue *v)
{
	int64		result = cdc_sink_config_count(field, v);

	if (result > PG_INT32_MAX)
		cdc_kafka_bad("error unmarshalling json: field %s is out of range", field);
	return result;
}

static void
read_field(void *config, const char *field, const JsonbValue *v)
{
	SinkConfig *c = config;

	if (pg_strcasecmp(field, "Flush.MaxMessages") == 0)
		c->max_messages = read_count(field, v);
	else if (pg_strcasecmp(field, "Flush.Messages") == 0)
		c->messages = read_count(field, v);
	else if (pg_strcasecmp(field, "Flush.Bytes") == 0)
		c->bytes = read_count(field, v);
	else if (pg_strcasecmp(field, "Flush.MaxBytes") == 0)
		c->max_bytes = read_count(field, v);
	else if (pg_strcasecmp(field, "Flush.Frequency") == 0)
		c->frequency_us = cdc_sink_config_duration(field, v, MAX_LINGER_US);
	else if (pg_strcasecmp(field, "RequiredAcks") == 0)
		c->acks = cdc_sink_config_string(field, v);
	else if (pg_strcasecmp(field, "Version") == 0)
		c->version = cdc_sink_config_string(field, v);
	else if (pg_strcasecmp(field, "ClientID") == 0)
		c->client_id = cdc_sink_config_string(field, v);
	else if (pg_strcasecmp(field, "Compression") == 0)
		c->compression = cdc_sink_config_string(field, v);
	else if (pg_strcasecmp(field, "CompressionLevel") == 0)
	{
		c->level = cdc_sink_config_int(field, v);
		c->has_level = true;
	}
	else if (pg_strcasecmp(field, "Retry.Backoff") == 0)
		c->backoff_us = cdc_sink_config_duration(field, v, MAX_BACKOFF_US);
	else if (pg_strcasecmp(field, "Retry.Max") == 0)
	{
		/* Checked only: messages are retried until they are through. */
		if (v->type == jbvString && pg_strcasecmp(cdc_sink_config_string(field, v), "inf") == 0)
			return;
		if (v->type != jbvNumeric || cdc_sink_config_int(field, v) <= 0)
			cdc_kafka_bad("Retry.Max must be either a positive int or 'inf' for infinite retries.");
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown field \"%s\" in kafka_sink_config", field),
				 errhint("Fields are Flush.{MaxMessages, Messages, Bytes, Frequency, MaxBytes}, RequiredAcks, Version, ClientID, Compression, CompressionLevel and Retry.{Max, Backoff}.")));
}

static void
set_int(CdcKafkaConfig *config, const char *name, int64 value)
{
	cdc_kafka_set(config, name, psprintf(INT64_FORMAT, value));
}

static void
set_acks(CdcKafkaConfig *config, const char *acks)
{
	if (acks == NULL || pg_strcasecmp(acks, "ALL") == 0 || strcmp(acks, "-1") == 0)
	{
		config->acks_all = true;
		cdc_kafka_set(config, "acks", "all");
		cdc_kafka_set(config, "enable.idempotence", "true");
		cdc_kafka_set(config, "enable.gapless.guarantee", "true");
		return;
	}
	if (pg_strcasecmp(acks, "ONE") == 0 || strcmp(acks, "1") == 0)
		cdc_kafka_set(config, "acks", "1");
	else if (pg_strcasecmp(acks, "NONE") == 0 || strcmp(acks, "0") == 0)
		cdc_kafka_set(config, "acks", "0");
	else
		cdc_kafka_bad("invalid acks value \"%s\", must be \"NONE\"/\"0\", \"ONE\"/\"1\", or \"ALL\"/\"-1\"",
			acks);
	/* The order must hold without sequence numbers: one at a time. */
	cdc_kafka_set(config, "enable.idempotence", "false");
	cdc_kafka_set(config, "max.in.flight.requests.per.connection", "1");
}

/* CockroachDB's levels (those of its Go libraries) in librdkafka's. */
static void
set_compression(CdcKafkaConfig *config, const SinkConfig *c)
{
	static const struct
	{
		const char *name;
		const char *codec;
		int			min;
		int			max;
		const char *range;
	}			codecs[] =
	{
		{"NONE", "none", 0, -1, NULL},
		{"GZIP", "gzip", -2, 9, "from -2 to 9"},
		{"SNAPPY", "snappy", 0, -1, NULL},
		{"LZ4", "lz4", 0, 131072, "0 or a power of two from 512 to 131072"},
		{"ZSTD", "zstd", 1, 4, "from 1 to 4"},
	};
	static const int zstd_levels[] = {1, 3, 7, 11};
	const char *name = c->compression ? c->compression : "NONE";
	int			level = (int) Max(Min(c->level, PG_INT32_MAX), PG_INT32_MIN);
	int			i;

	for (i = 0; i < lengthof(codecs); i++)
	{
		if (pg_strcasecmp(name, codecs[i].name) == 0)
			break;
	}
	if (i == lengthof(codecs))
		cdc_kafka_bad("invalid compression codec \"%s\", must be one of NONE, GZIP, SNAPPY, LZ4, or ZSTD",
			name);
	config->compressed = i > 0;
	cdc_kafka_set(config, "compression.type", codecs[i].codec);
	if (!c->has_level)
		return;
	if (codecs[i].range == NULL)
		cdc_kafka_bad("CompressionLevel does not go with compression codec %s", codecs[i].name);
	if (level < codecs[i].min || level > codecs[i].max ||
		(i == 3 && level != 0 && (level < 512 || (level & (level - 1)) != 0)))
		cdc_kafka_bad("invalid CompressionLevel %d, must be %s for %s", level,
			codecs[i].range, codecs[i].name);
	if (i == 1 && level == -2)
		level = 1;				/* Huffman only: nearest in speed */
	else if (i == 3 && level != 0)
		level = pg_leftmost_one_pos32((uint32) level) - 8;	/* 512 is 1 */
	else if (i == 4)
		level = zstd_levels[level - 1];
	set_int(config, "compression.level", level);
}

void
cdc_kafka_sink_config(CdcKafkaConfig *config, const char *json)
{
	SinkConfig	c;
	int64		batch_messages = 10000;

	memset(&c, 0, sizeof(c));
	c.frequency_us = c.backoff_us = -1;
	if (json != NULL)
		cdc_sink_config_read("kafka_sink_config", json, read_field, &c);
	if (c.frequency_us <= 0 && (c.messages > 0 || c.bytes > 0))
		cdc_kafka_bad("invalid sink config, Flush.Frequency is not set, messages may never be sent");

	/*
	 * The library sends a batch when it has linger.ms, batch.num.messages or
	 * batch.size together, and none is larger.  A flush at every message is
	 * no reason to send more than that one by one.
	 */
	config->linger_ms = DEFAULT_LINGER_MS;
	if (c.messages == 1)
		config->linger_ms = 0;
	else if (c.frequency_us > 0)
		config->linger_ms = c.frequency_us / 1000.0;
	cdc_kafka_set(config, "linger.ms", psprintf("%.3f", config->linger_ms));
	if (c.max_messages > 0)
		batch_messages = c.max_messages;
	if (c.messages > 1)
		batch_messages = Min(c.max_messages > 0 ? c.max_messages : PG_INT32_MAX,
							 c.messages);
	set_int(config, "batch.num.messages", Min(batch_messages, MAX_BATCH_MESSAGES));

	config->batch_bytes = DEFAULT_BATCH_BYTES;
	if (c.bytes > 0)
		config->batch_bytes = (int) c.bytes;
	config->request_bytes = (int) c.max_bytes;
	if (c.max_bytes > 0)
		config->batch_bytes = Min(config->batch_bytes, (int) c.max_bytes);

	set_acks(config, c.acks);
	set_compression(config, &c);

	if (c.client_id != NULL &&
		strspn(c.client_id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != strlen(c.client_id))
		cdc_kafka_bad("invalid ClientID, only letters, digits, \".\", \"_\" and \"-\" may stand in it");
	cdc_kafka_set(config, "client.id",
		c.client_id && c.client_id[0] ? c.client_id : DEFAULT_CLIENT_ID);
	if (c.version != NULL)
	{
		int			dots = 0;

		for (const char *p = c.version; *p; p++)
		{
			if (*p == '.' && p > c.version && isdigit((unsigned char) p[1]))
				dots++;
			else if (!isdigit((unsigned char) *p))
				dots = 99;
		}
		if (dots < 2 || dots > 3)
			cdc_kafka_bad("invalid Kafka version in kafka_sink_config, must be like \"1.0.0.0\"");
		/* Only for brokers too old to be asked for theirs. */
		cdc_kafka_set(config, "broker.version.fallback", c.version);
	}
	if (c.backoff_us >= 0)
		set_int(config, "retry.backoff.ms", Max(c.backoff_us / 1000, 1));
}
