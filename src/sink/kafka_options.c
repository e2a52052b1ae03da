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
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

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

pg_noreturn static void bad_json(const char *fmt,...) pg_attribute_printf(1, 2);

static void
bad_json(const char *fmt,...)
{
	char		text[256];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	cdc_kafka_bad("error unmarshalling json: %s", text);
}

static Jsonb *
parse_json(const char *text)
{
	Jsonb	   *volatile result = NULL;
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		result = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			ReThrowError(error);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("error unmarshalling json: %s", error->message),
				 error->detail ? errdetail("%s", error->detail) : 0,
				 errhint("Option kafka_sink_config is a JSON object such as '{\"Flush\": {\"MaxMessages\": 1000, \"Frequency\": \"1s\"}, \"RequiredAcks\": \"ALL\"}'.")));
	}
	PG_END_TRY();
	return result;
}

static char *
json_string(const char *field, const JsonbValue *v)
{
	if (v->type != jbvString)
		bad_json("field %s must be a string", field);
	return pnstrdup(v->val.string.val, v->val.string.len);
}

static int64
json_int(const char *field, const JsonbValue *v)
{
	char	   *text;
	char	   *end;
	int64		result;

	if (v->type != jbvNumeric)
		bad_json("field %s must be an integer", field);
	text = DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(v->val.numeric)));
	errno = 0;
	result = strtoll(text, &end, 10);
	if (errno != 0 || *end != '\0')
		bad_json("field %s must be an integer", field);
	return result;
}

/* A count or size. */
static int64
json_count(const char *field, const JsonbValue *v)
{
	int64		result = json_int(field, v);

	if (result < 0)
		cdc_kafka_bad("invalid sink config, all values must be non-negative");
	if (result > PG_INT32_MAX)
		bad_json("field %s is out of range", field);
	return result;
}

static int64
json_duration(const char *field, const JsonbValue *v, int64 max)
{
	char	   *text = json_string(field, v);
	int64		result;

	if (text[0] == '-')
		cdc_kafka_bad("invalid sink config, all values must be non-negative");
	result = cdc_parse_duration(field, text);
	if (result > max)
		cdc_kafka_bad("%s is longer than %d seconds", field, (int) (max / 1000000));
	return result;
}

static void
read_field(SinkConfig *c, const char *field, const JsonbValue *v)
{
	if (pg_strcasecmp(field, "Flush.MaxMessages") == 0)
		c->max_messages = json_count(field, v);
	else if (pg_strcasecmp(field, "Flush.Messages") == 0)
		c->messages = json_count(field, v);
	else if (pg_strcasecmp(field, "Flush.Bytes") == 0)
		c->bytes = json_count(field, v);
	else if (pg_strcasecmp(field, "Flush.MaxBytes") == 0)
		c->max_bytes = json_count(field, v);
	else if (pg_strcasecmp(field, "Flush.Frequency") == 0)
		c->frequency_us = json_duration(field, v, MAX_LINGER_US);
	else if (pg_strcasecmp(field, "RequiredAcks") == 0)
		c->acks = json_string(field, v);
	else if (pg_strcasecmp(field, "Version") == 0)
		c->version = json_string(field, v);
	else if (pg_strcasecmp(field, "ClientID") == 0)
		c->client_id = json_string(field, v);
	else if (pg_strcasecmp(field, "Compression") == 0)
		c->compression = json_string(field, v);
	else if (pg_strcasecmp(field, "CompressionLevel") == 0)
	{
		c->level = json_int(field, v);
		c->has_level = true;
	}
	else if (pg_strcasecmp(field, "Retry.Backoff") == 0)
		c->backoff_us = json_duration(field, v, MAX_BACKOFF_US);
	else if (pg_strcasecmp(field, "Retry.Max") == 0)
	{
		/* Checked only: messages are retried until they are through. */
		if (v->type == jbvString && pg_strcasecmp(json_string(field, v), "inf") == 0)
			return;
		if (v->type != jbvNumeric || json_int(field, v) <= 0)
			cdc_kafka_bad("Retry.Max must be either a positive int or 'inf' for infinite retries.");
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown field \"%s\" in kafka_sink_config", field),
				 errhint("Fields are Flush.{MaxMessages, Messages, Bytes, Frequency, MaxBytes}, RequiredAcks, Version, ClientID, Compression, CompressionLevel and Retry.{Max, Backoff}.")));
}

/* Reads the members of one object; Flush and Retry hold objects. */
static void
read_object(SinkConfig *c, JsonbContainer *object, const char *prefix)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	v;
	char	   *field = NULL;

	if (JsonContainerIsScalar(object) || !JsonContainerIsObject(object))
		bad_json("%s must be an object", prefix[0] ? prefix : "kafka_sink_config");
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			field = psprintf("%s%s%.*s", prefix, prefix[0] ? "." : "",
							 v.val.string.len, v.val.string.val);
		else if (token == WJB_VALUE)
		{
			if (v.type == jbvNull)
				continue;
			if (pg_strcasecmp(field, "Flush") == 0 ||
				pg_strcasecmp(field, "Retry") == 0)
			{
				if (v.type != jbvBinary)
					bad_json("%s must be an object", field);
				read_object(c, v.val.binary.data, field);
			}
			else
				read_field(c, field, &v);
		}
	}
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
		read_object(&c, &parse_json(json)->root, "");
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
