/*-------------------------------------------------------------------------
 * registry.c
 *		The list of sinks, and what all of them share: how trouble is told
 *		and which closed ones have not ended yet.
 *
 * Runs: main thread of backends and workers.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "sink/closing.h"
#include "sink/sink.h"
#include "sink/topic.h"

static const CdcSinkOps *const sinks[] = {
	&cdc_sink_kafka,
	&cdc_sink_file,
	&cdc_sink_s3,
	&cdc_sink_store,
	&cdc_sink_webhook,
	&cdc_sink_null,
};

const CdcSinkOps *
cdc_sink_lookup(const char *scheme)
{
	for (int i = 0; i < lengthof(sinks); i++)
	{
		for (const char *const *s = sinks[i]->schemes; *s != NULL; s++)
		{
			if (strcmp(*s, scheme) == 0)
				return sinks[i];
		}
	}
	return NULL;
}

const CdcSinkOps *
cdc_sink_of_type(const char *name)
{
	for (int i = 0; i < lengthof(sinks); i++)
	{
		if (strcmp(sinks[i]->name, name) == 0)
			return sinks[i];
	}
	return NULL;
}

/* Options that belong to single sinks. */
static const char *const special_options[] = {
	"compression", "extra_headers", "headers_json_column_name",
	"kafka_sink_config", "partition_alg", "webhook_auth_header",
	"webhook_client_timeout", "webhook_sink_config",
};

/*
 * Where keys have no place beside the value, an envelope must have one for
 * them; files, which have none for topics either, do not go with enriched
 * (nor do CockroachDB's).
 */
static void
check_envelope(const CdcSinkOps *ops, const CdcOptions *options)
{
	ListCell   *lc;
	bool		good = true;

	switch (options->encode.envelope)
	{
		case CDC_ENVELOPE_ROW:
		case CDC_ENVELOPE_KEY_ONLY:
			good = !ops->forces_key_in_value;
			break;
		case CDC_ENVELOPE_ENRICHED:
			good = !ops->forces_key_in_value || ops->forces_topic_in_value;
			break;
		default:
			break;
	}
	foreach(lc, options->pairs)
	{
		CdcOptionPair *pair = lfirst(lc);

		if (!good && strcmp(pair->name, "envelope") == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("this sink is incompatible with envelope=%s", pair->value)));
	}
}

void
cdc_sink_check_options(const CdcSinkOps *ops, const CdcOptions *options)
{
	ListCell   *lc;

	foreach(lc, options->pairs)
	{
		const char *name = ((CdcOptionPair *) lfirst(lc))->name;
		bool		special = false;
		bool		known = false;

		for (int i = 0; i < lengthof(special_options); i++)
			special |= strcmp(special_options[i], name) == 0;
		for (int i = 0; ops->options != NULL && ops->options[i] != NULL; i++)
			known |= strcmp(ops->options[i], name) == 0;
		if (special && !known)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("this sink is incompatible with option %s", name)));
	}
	check_envelope(ops, options);
}

CdcEncodeOptions
cdc_effective_encode(const CdcSinkOps *ops, const CdcOptions *options,
					 const CdcDefinition *def)
{
	CdcEncodeOptions encode = options->encode;

	/*
	 * Where messages are in a topic, or in a file named after it, the topic
	 * in them is what the table is called, as in CockroachDB; a webhook has
	 * nothing else to go by.
	 */
	if (ops->forces_topic_in_value)
		encode.topic_in_value = true;
	else if (encode.topic_in_value)
	{
		const char *prefix = cdc_uri_param(cdc_uri_parse(def->sink), "topic_prefix");

		if (prefix != NULL && ops->sanitises_topics)
			prefix = cdc_topic_sanitise(pg_server_to_any(prefix, strlen(prefix), PG_UTF8));
		encode.topic_prefix = prefix;
	}
	if (ops->forces_key_in_value)
		encode.key_in_value = true;
	encode.sink_name = ops->name;
	encode.job_id = def->job_id;
	return encode;
}

void
cdc_sink_trouble(CdcSink *sink, const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	vsnprintf(sink->error, sizeof(sink->error), fmt, args);
	va_end(args);
	sink->retries++;
}

void
cdc_sink_healthy(CdcSink *sink)
{
	sink->error[0] = '\0';
}

/* Closed sinks free what they left behind here, so both are to be called. */
int
cdc_sinks_closing(void)
{
	return cdc_closing_count(0);
}

bool
cdc_sink_gone(int64 job_id)
{
	return cdc_closing_count(job_id) == 0;
}
