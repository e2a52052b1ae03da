/*-------------------------------------------------------------------------
 * option_table.c
 *		The options there are: what they take, whether they work yet, and
 *		what the reference says of them.
 *
 * All of CockroachDB's are here, so that a statement written for it is
 * told what is missing, and ours.  A new option is one entry here and one
 * line in options.c.
 *
 * Runs: backends and lane workers.  Constant data; no catalog access.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/option_table.h"
#include "catalog/options.h"
#include "lib/stringinfo.h"
#include "utils/varlena.h"

static const char *const compression_values[] = {"gzip", "zstd", NULL};
static const char *const envelope_values[] = {
	"wrapped", "key_only", "row", "bare", "enriched", "debezium", "|deprecated_row", NULL
};
static const char *const format_values[] = {
	"json", "-avro", "-csv", "-parquet", "-protobuf", "|-experimental_avro", NULL
};
static const char *const scan_values[] = {"yes", "no", "only", NULL};
static const char *const on_error_values[] = {"fail", "pause", NULL};
static const char *const bad_message_values[] = {
	"fail", "retry", "dead_letter", NULL
};
static const char *const partition_values[] = {"fnv-1a", "murmur2", NULL};
static const char *const event_values[] = {"default", "column_changes", NULL};
static const char *const policy_values[] = {
	"backfill", "nobackfill", "stop", "ignore", NULL
};
static const char *const truncate_values[] = {"fail", "emit", "ignore", NULL};
static const char *const virtual_values[] = {"omitted", "null", NULL};
static const char *const distribution_values[] = {
	"default", "balanced_simple", NULL
};
static const char *const create_topic_values[] = {
	"broker_auto", "explicit", NULL
};

/* Sorted by name. */
static const CdcOptionSpec option_table[] = {
	{"avro_schema_prefix", CDC_OPT_STRING, CDC_OPT_LATER, "",
	"put before the names of records and subjects"},
	{"compression", CDC_OPT_ENUM, CDC_OPT_SUPPORTED, "",
	"compression of files and requests", compression_values},
	{"confluent_schema_registry", CDC_OPT_STRING, CDC_OPT_LATER, "",
	"URL of the schema registry", NULL, false, CDC_OPT_SECRET_URL},
	{"create_kafka_topics", CDC_OPT_ENUM, CDC_OPT_LATER, "",
	"who makes topics that are missing", create_topic_values},
	{"csv_header", CDC_OPT_FLAG, CDC_OPT_LATER, "",
	"write a line with the names of the columns"},
	{"cursor", CDC_OPT_STRING, CDC_OPT_SUPPORTED, "",
	"send changes after this moment: a stamp, a WAL position or a time"},
	{"debezium_config", CDC_OPT_JSON, CDC_OPT_SUPPORTED, "",
	"settings of the envelope debezium, by the names of the connector's"},
	{"diff", CDC_OPT_FLAG, CDC_OPT_SUPPORTED, "",
	"add the row as it was before the change"},
	{"encode_json_value_null_as_object", CDC_OPT_FLAG, CDC_OPT_SUPPORTED, "",
	"tell a JSON null from an SQL NULL"},
	{"end_time", CDC_OPT_STRING, CDC_OPT_SUPPORTED, "",
	"end the feed when all up to this time has been sent"},
	{"enriched_properties", CDC_OPT_STRING, CDC_OPT_SUPPORTED, "",
	"further members of the enriched envelope: `source`, `schema` or `source,schema`"},
	{"envelope", CDC_OPT_ENUM, CDC_OPT_SUPPORTED, "wrapped",
	"shape of a message", envelope_values},
	{"execution_locality", CDC_OPT_STRING, CDC_OPT_NOT_APPLICABLE, "",
	"where in a cluster the feed runs"},
	{"extra_headers", CDC_OPT_JSON, CDC_OPT_SUPPORTED, "",
	"constant headers of every message or request, a JSON object of strings", NULL, false, CDC_OPT_SECRET},
	{"format", CDC_OPT_ENUM, CDC_OPT_SUPPORTED, "json",
	"encoding of messages", format_values},
	{"full_table_name", CDC_OPT_FLAG, CDC_OPT_SUPPORTED, "",
	"name topics database.schema.table instead of table"},
	{"gc_protect_expires_after", CDC_OPT_DURATION, CDC_OPT_SUPPORTED, "",
	"cancel the feed when it has held back WAL for so long, 0: never"},
	{"headers_json_column_name", CDC_OPT_STRING, CDC_OPT_SUPPORTED, "",
	"column that holds the headers of a row's message"},
	{"hibernation_polling_frequency", CDC_OPT_DURATION, CDC_OPT_NOT_APPLICABLE, "",
	"how often to look for new tables"},
	{"ignore_disable_changefeed_replication", CDC_OPT_FLAG, CDC_OPT_NOT_APPLICABLE, "",
	"send rows whose writer asked to be skipped"},
	{"initial_scan", CDC_OPT_ENUM, CDC_OPT_SUPPORTED, "yes",
		"send the rows that are there at the start; only: end the feed then",
	scan_values, true},
	{"initial_scan_only", CDC_OPT_FLAG, CDC_OPT_SUPPORTED, "",
	"the same as initial_scan='only'"},
	{"kafka_sink_config", CDC_OPT_JSON, CDC_OPT_SUPPORTED, "",
	"settings of the Kafka producer"},
	{"key_column", CDC_OPT_STRING, CDC_OPT_SUPPORTED, "",
	"column that is the key of messages instead of the primary key"},
	{"key_in_value", CDC_OPT_FLAG, CDC_OPT_SUPPORTED, "",
	"add the key to the message"},
	{"lagging_ranges_polling_interval", CDC_OPT_POSITIVE_DURATION, CDC_OPT_NOT_APPLICABLE, "",
	"how often the lag of ranges is measured"},
	{"lagging_ranges_threshold", CDC_OPT_POSITIVE_DURATION, CDC_OPT_NOT_APPLICABLE, "",
	"when a range counts as lagging"},
	{"lsn", CDC_OPT_FLAG, CDC_OPT_SUPPORTED, "",
	"add the position of the change in the WAL"},
	{"metrics_label", CDC_OPT_STRING, CDC_OPT_SUPPORTED, "",
	"label of the feed in `pg_stat_changefeed`"},
	{"min_checkpoint_frequency", CDC_OPT_DURATION, CDC_OPT_SUPPORTED, "1s",
	"least time between two checkpoints, 10ms or more"},
	{"mvcc_timestamp", CDC_OPT_FLAG, CDC_OPT_SUPPORTED, "",
	"add the commit time of the row"},
	{"no_initial_scan", CDC_OPT_FLAG, CDC_OPT_SUPPORTED, "",
	"the same as initial_scan='no'"},
	{"on_bad_message", CDC_OPT_ENUM, CDC_OPT_SUPPORTED, "fail",
		"what to do with a message that the sink can never take",
	bad_message_values},
	{"on_error", CDC_OPT_ENUM, CDC_OPT_SUPPORTED, "fail",
	"what to do on an error that a retry cannot help", on_error_values},
	{"op", CDC_OPT_FLAG, CDC_OPT_SUPPORTED, "",
	"add the kind of change: c, u, d, or r for a row of a scan"},
	{"partition_alg", CDC_OPT_ENUM, CDC_OPT_SUPPORTED, "murmur2",
	"hash that finds the partition of a key", partition_values},
	{"protect_data_from_gc_on_pause", CDC_OPT_FLAG, CDC_OPT_SUPPORTED, "",
	"keep the changes while the feed is paused (always so)"},
	{"pubsub_sink_config", CDC_OPT_JSON, CDC_OPT_LATER, "",
	"settings of the Pub/Sub sink"},
	{"range_distribution_strategy", CDC_OPT_ENUM, CDC_OPT_NOT_APPLICABLE, "",
	"how work spreads over a cluster", distribution_values},
	{"resolved", CDC_OPT_DURATION, CDC_OPT_SUPPORTED, "",
		"send resolved timestamps, at most every so often",
	NULL, true},
	{"schema_change_events", CDC_OPT_ENUM, CDC_OPT_SUPPORTED, "default",
	"which schema changes count", event_values},
	{"schema_change_policy", CDC_OPT_ENUM, CDC_OPT_SUPPORTED, "backfill",
	"what to do at a schema change", policy_values},
	{"split_column_families", CDC_OPT_FLAG, CDC_OPT_NOT_APPLICABLE, "",
	"one message for each column family"},
	{"topic_in_value", CDC_OPT_FLAG, CDC_OPT_SUPPORTED, "",
	"add the topic to the message"},
	{"truncate", CDC_OPT_ENUM, CDC_OPT_SUPPORTED, "fail",
	"what to do when a table is truncated", truncate_values},
	{"txn", CDC_OPT_FLAG, CDC_OPT_SUPPORTED, "",
		"add the transaction: xid, position of its commit, number of the"
	" message in it, and whether it is the last"},
	{"unordered", CDC_OPT_FLAG, CDC_OPT_SUPPORTED, "",
	"give up the order of the messages of a key"},
	{"updated", CDC_OPT_FLAG, CDC_OPT_SUPPORTED, "",
	"add the timestamp of the change"},
	{"virtual_columns", CDC_OPT_ENUM, CDC_OPT_SUPPORTED, "omitted",
	"virtual generated columns", virtual_values},
	{"webhook_auth_header", CDC_OPT_STRING, CDC_OPT_SUPPORTED, "",
	"value of the Authorization header", NULL, false, CDC_OPT_SECRET},
	{"webhook_client_timeout", CDC_OPT_POSITIVE_DURATION, CDC_OPT_SUPPORTED, "3s",
	"time limit of a request"},
	{"webhook_sink_config", CDC_OPT_JSON, CDC_OPT_SUPPORTED, "",
	"settings of the webhook sink"},
};

#define FAIL(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), __VA_ARGS__))

const CdcOptionSpec *
cdc_option_find(const char *name)
{
	for (int i = 0; i < lengthof(option_table); i++)
	{
		if (strcmp(option_table[i].name, name) == 0)
			return &option_table[i];
	}
	return NULL;
}

/* Splits an entry of a list of values into its name and its marks. */
static const char *
enum_name(const char *entry, bool *hidden, bool *supported)
{
	*hidden = *entry == '|';
	if (*hidden)
		entry++;
	*supported = *entry != '-';
	return *supported ? entry : entry + 1;
}

/* "'a', 'b' and 'c'", or with " | " for the reference. */
static char *
enum_list(const CdcOptionSpec *spec, bool reference)
{
	StringInfoData list;
	const char *previous = NULL;
	bool		hidden;
	bool		supported;

	initStringInfo(&list);
	for (int i = 0; spec->values[i] != NULL; i++)
	{
		const char *name = enum_name(spec->values[i], &hidden, &supported);

		if (hidden || (reference && !supported && spec->state == CDC_OPT_SUPPORTED))
			continue;
		if (previous != NULL)
			appendStringInfo(&list, "%s'%s'", list.len > 0 ? (reference ? " | " : ", ") : "", previous);
		previous = name;
	}
	appendStringInfo(&list, "%s'%s'", list.len > 0 ? (reference ? " | " : " and ") : "", previous);
	return list.data;
}

const char *
cdc_option_secret_name(int i)
{
	for (int j = 0; j < lengthof(option_table); j++)
	{
		if (option_table[j].secret == CDC_OPT_SECRET && i-- == 0)
			return option_table[j].name;
	}
	return NULL;
}

int
cdc_option_count(void)
{
	return lengthof(option_table);
}

void
cdc_option_describe(int i, const char **name, const char **type,
					const char **dflt, bool *supported, const char **help)
{
	const CdcOptionSpec *spec = &option_table[i];

	Assert(i >= 0 && i < lengthof(option_table));
	*name = spec->name;
	*dflt = spec->dflt;
	*supported = spec->state == CDC_OPT_SUPPORTED;
	*help = spec->help;
	switch (spec->kind)
	{
		case CDC_OPT_FLAG:
			*type = "flag";
			break;
		case CDC_OPT_STRING:
			*type = "string";
			break;
		case CDC_OPT_DURATION:
		case CDC_OPT_POSITIVE_DURATION:
			*type = spec->value_optional ? "flag or duration" : "duration";
			break;
		case CDC_OPT_ENUM:
			*type = enum_list(spec, true);
			break;
		case CDC_OPT_JSON:
			*type = "json";
			break;
	}
}

/* A supported option whose name is near, or NULL. */
static const char *
similar_option(const char *name)
{
	const char *best = NULL;
	int			best_distance = 4;
	int			len = strlen(name);

	if (len > 64)
		return NULL;
	for (int i = 0; i < lengthof(option_table); i++)
	{
		const char *other = option_table[i].name;
		int			distance;

		if (option_table[i].state != CDC_OPT_SUPPORTED)
			continue;
		distance = varstr_levenshtein_less_equal(name, len,
												 other, strlen(other),
												 1, 1, 1, best_distance, true);
		if (distance < best_distance && distance <= len / 2)
		{
			best = other;
			best_distance = distance;
		}
	}
	return best;
}

void
cdc_option_unknown(const char *name)
{
	const char *similar = similar_option(name);
	StringInfoData list;

	if (strcmp(name, "sink") == 0)
		FAIL(errmsg("invalid option \"%s\"", name),
			 errhint("The sink is named behind INTO."));
	if (similar != NULL)
		FAIL(errmsg("invalid option \"%s\"", name),
			 errhint("Perhaps you meant the option \"%s\".", similar));

	initStringInfo(&list);
	for (int i = 0; i < lengthof(option_table); i++)
	{
		if (option_table[i].state == CDC_OPT_SUPPORTED)
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "",
							 option_table[i].name);
	}
	FAIL(errmsg("invalid option \"%s\"", name),
		 errhint("Options are %s.", list.data));
}

/* Canonical spelling of an enum's value. */
const char *
cdc_option_enum(const CdcOptionSpec *spec, const char *text, bool *supported)
{
	bool		hidden;

	for (int i = 0; spec->values[i] != NULL; i++)
	{
		const char *name = enum_name(spec->values[i], &hidden, supported);

		if (pg_strcasecmp(name, text) == 0)
			return name;
	}
	FAIL(errmsg("unknown %s: %s, valid values are %s",
				spec->name, text, enum_list(spec, false)));
	return NULL;
}
