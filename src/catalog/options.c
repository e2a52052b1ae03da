/*-------------------------------------------------------------------------
 * options.c
 *		Options of a feed together: checks, and what follows from them; see
 *		options.h.
 *
 * An option that is known but not supported yet still has its value and its
 * company checked, so that a wrong statement gets the error it deserves.
 *
 * Runs: backends and lane workers, in the caller's memory context.  No
 * catalog access, no NOTICE but from cdc_options_notices().
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/option_table.h"
#include "catalog/options.h"
#include "catalog/uri.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#define DEFAULT_MIN_CHECKPOINT_US	1000000
#define LEAST_MIN_CHECKPOINT_US		10000
#define COSTLY_INTERVAL_US			500000
#define DEFAULT_WEBHOOK_TIMEOUT_US	3000000
#define SHORT_PROTECTION_US			INT64CONST(3600000000)

#define MAX_METRICS_LABEL			128


#define FAIL(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), __VA_ARGS__))

CdcOptionPair *
cdc_pairs_find(List *pairs, const char *name)
{
	ListCell   *lc;

	foreach(lc, pairs)
	{
		CdcOptionPair *pair = lfirst(lc);

		if (strcmp(pair->name, name) == 0)
			return pair;
	}
	return NULL;
}

List *
cdc_pairs_remove(List *pairs, const char *name)
{
	CdcOptionPair *pair = cdc_pairs_find(pairs, name);

	return pair ? list_delete_ptr(pairs, pair) : pairs;
}

/* Value of an option, "" if it has none, NULL if it was not given. */
static const char *
given(List *pairs, const char *name)
{
	CdcOptionPair *pair = cdc_pairs_find(pairs, name);

	return pair == NULL ? NULL : pair->value ? pair->value : "";
}

static CdcInitialScan
initial_scan(List *pairs)
{
	static const char *const spellings[] = {
		"initial_scan", "no_initial_scan", "initial_scan_only",
	};
	const char *first = NULL;
	const char *value;

	for (int i = 0; i < lengthof(spellings); i++)
	{
		if (given(pairs, spellings[i]) == NULL)
			continue;
		if (first != NULL)
			FAIL(errmsg("cannot specify both %s and %s", first, spellings[i]));
		value = given(pairs, spellings[i]);
		first = strcmp(value, "only") == 0 ? "initial_scan='only'" : spellings[i];
	}
	if (first == NULL && given(pairs, "cursor") != NULL)
		return CDC_SCAN_NO;
	if (first == NULL)
		return CDC_SCAN_YES;
	if (strcmp(first, "initial_scan") == 0)
		return strcmp(given(pairs, first), "no") == 0 ? CDC_SCAN_NO : CDC_SCAN_YES;
	return strcmp(first, "no_initial_scan") == 0 ? CDC_SCAN_NO : CDC_SCAN_ONLY;
}

/* Sets what a list like "source, schema" names. */
static void
enriched_properties(const char *list, CdcEncodeOptions *encode)
{
	const char *p = list;

	encode->enriched_source = encode->enriched_schema = false;
	while (*p != '\0')
	{
		size_t		len;
		char	   *word;

		p += strspn(p, " ");
		len = strcspn(p, ",");
		word = pnstrdup(p, len);
		p += len;
		if (*p == ',')
			p++;
		while (len > 0 && word[len - 1] == ' ')
			word[--len] = '\0';
		if (pg_strcasecmp(word, "source") == 0)
			encode->enriched_source = true;
		else if (pg_strcasecmp(word, "schema") == 0)
			encode->enriched_schema = true;
		else
			FAIL(errmsg("unknown enriched_properties: %s, valid values are: source, schema",
						word));
		pfree(word);
	}
}

/* Texts that mean nothing when they are empty, and their limits. */
static void
check_texts(List *pairs)
{
	static const char *const not_empty[] = {
		"headers_json_column_name", "key_column", "metrics_label",
	};
	const char *label = given(pairs, "metrics_label");

	for (int i = 0; i < lengthof(not_empty); i++)
	{
		const char *value = given(pairs, not_empty[i]);

		if (value != NULL && *value == '\0')
			FAIL(errmsg("option \"%s\" requires a value", not_empty[i]));
	}
	if (label != NULL && strlen(label) > MAX_METRICS_LABEL)
		FAIL(errmsg("metrics_label is longer than %d bytes", MAX_METRICS_LABEL));
	if (label != NULL && strcmp(label, "default") == 0)
		FAIL(errmsg("metrics_label must not be \"default\""),
			 errdetail("That is the label of the feeds that have none."));
}

/* Debezium's envelope has members of its own, and settings. */
static void
check_debezium(List *pairs, const char *envelope, bool json)
{
	static const char *const others[] = {
		"diff", "encode_json_value_null_as_object", "key_column", "key_in_value",
		"mvcc_timestamp", "topic_in_value", "updated",
	};

	if (strcmp(envelope, "debezium") != 0)
	{
		if (given(pairs, "debezium_config") != NULL)
			FAIL(errmsg("debezium_config is only usable with envelope=debezium"));
		return;
	}
	if (!json)
		FAIL(errmsg("envelope=debezium is only usable with format=json"));
	for (int i = 0; i < lengthof(others); i++)
	{
		if (given(pairs, others[i]) != NULL)
			FAIL(errmsg("%s is not usable with envelope=debezium", others[i]));
	}
	(void) cdc_debezium_config(given(pairs, "debezium_config"));
}

/* Pairs that exclude or need each other, whether supported or not. */
static void
check_combinations(List *pairs, CdcInitialScan scan)
{
	static const char *const not_scan_only[] = {
		"end_time", "resolved", "diff", "mvcc_timestamp", "updated",
	};
	static const char *const wrapped_only[] = {"key_in_value", "topic_in_value"};
	static const char *const of_postgres[] = {"lsn", "op", "txn"};
	const char *format = given(pairs, "format");
	const char *envelope = given(pairs, "envelope");
	bool		json;
	bool		avro;

	format = format ? format : "json";
	envelope = envelope ? envelope : "wrapped";
	json = strcmp(format, "json") == 0;
	avro = strcmp(format, "avro") == 0 || strcmp(format, "experimental_avro") == 0;

	for (int i = 0; i < lengthof(not_scan_only); i++)
	{
		if (scan == CDC_SCAN_ONLY && given(pairs, not_scan_only[i]) != NULL)
			FAIL(errmsg("cannot specify both initial_scan='only' and %s",
						not_scan_only[i]));
	}
	if (scan == CDC_SCAN_ONLY && given(pairs, "cursor") != NULL)
		FAIL(errmsg("cannot specify both initial_scan='only' and cursor"),
			 errdetail("PostgreSQL cannot read a table as it was at an earlier moment."));
	if (strcmp(format, "csv") == 0 && scan != CDC_SCAN_ONLY)
		FAIL(errmsg("format=csv is only usable with initial_scan_only"));
	if (strcmp(format, "parquet") == 0 && given(pairs, "topic_in_value") != NULL)
		FAIL(errmsg("cannot specify both format=parquet and topic_in_value"));
	if (given(pairs, "unordered") != NULL && given(pairs, "resolved") != NULL)
		FAIL(errmsg("resolved is not usable with unordered"),
			 errdetail("Without an order resolved timestamps could not be guaranteed to be correct."));
	if (given(pairs, "key_column") != NULL && given(pairs, "unordered") == NULL)
		FAIL(errmsg("key_column requires unordered"),
			 errdetail("The order of the messages of a key is no longer guaranteed."));
	if (avro && (strcmp(envelope, "row") == 0 || strcmp(envelope, "deprecated_row") == 0))
		FAIL(errmsg("envelope=row is not supported with format=avro"));

	for (int i = 0; i < lengthof(wrapped_only); i++)
	{
		if (given(pairs, wrapped_only[i]) == NULL)
			continue;
		if (avro)
			FAIL(errmsg("%s is not supported with format=avro", wrapped_only[i]));
		if (strcmp(envelope, "row") == 0 || strcmp(envelope, "key_only") == 0 ||
			strcmp(envelope, "deprecated_row") == 0)
			FAIL(errmsg("%s is only usable with envelope=wrapped", wrapped_only[i]));
	}
	if (given(pairs, "diff") != NULL &&
		(strcmp(envelope, "row") == 0 || strcmp(envelope, "key_only") == 0 ||
		 strcmp(envelope, "deprecated_row") == 0))
		FAIL(errmsg("diff is only usable with envelope=wrapped"));

	for (int i = 0; i < lengthof(of_postgres); i++)
	{
		if (given(pairs, of_postgres[i]) == NULL)
			continue;
		if (!json)
			FAIL(errmsg("%s is only usable with format=json", of_postgres[i]));
		if (strcmp(envelope, "wrapped") != 0 && strcmp(envelope, "bare") != 0)
			FAIL(errmsg("%s is only usable with envelope=wrapped or envelope=bare",
						of_postgres[i]));
	}

	check_debezium(pairs, envelope, json);
	if (avro && given(pairs, "confluent_schema_registry") == NULL)
		FAIL(errmsg("WITH option confluent_schema_registry is required for format=avro"));
	if (!json && given(pairs, "encode_json_value_null_as_object") != NULL)
		FAIL(errmsg("encode_json_value_null_as_object is only usable with format=json"));
	if (!json && !avro && given(pairs, "headers_json_column_name") != NULL)
		FAIL(errmsg("headers_json_column_name is only usable with format=json/avro"));
	if (strcmp(envelope, "enriched") == 0)
	{
		if (!json && !avro && strcmp(format, "protobuf") != 0)
			FAIL(errmsg("envelope=enriched is only usable with format=json/avro"));
		if (given(pairs, "enriched_properties") != NULL)
		{
			CdcEncodeOptions unused;

			enriched_properties(given(pairs, "enriched_properties"), &unused);
		}
	}
	if (given(pairs, "truncate") != NULL &&
		strcmp(given(pairs, "truncate"), "emit") == 0 &&
		strcmp(envelope, "wrapped") != 0 && strcmp(envelope, "bare") != 0 &&
		strcmp(envelope, "debezium") != 0)
		FAIL(errmsg("truncate=emit is only usable with envelope=wrapped, envelope=bare or envelope=debezium"));
	if (strcmp(envelope, "enriched") != 0 &&
		given(pairs, "enriched_properties") != NULL)
		FAIL(errmsg("enriched_properties is only usable with envelope=enriched"));
}

/* A value tells more than an option that goes with it, so values go first. */
static void
check_supported(List *pairs)
{
	ListCell   *lc;

	foreach(lc, pairs)
	{
		CdcOptionPair *pair = lfirst(lc);
		const CdcOptionSpec *spec = cdc_option_find(pair->name);
		bool		supported = true;

		if (spec->kind == CDC_OPT_ENUM && spec->state == CDC_OPT_SUPPORTED &&
			pair->value != NULL)
			(void) cdc_option_enum(spec, pair->value, &supported);
		if (!supported)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("%s=%s is not supported yet", spec->name, pair->value)));
	}
	foreach(lc, pairs)
	{
		CdcOptionPair *pair = lfirst(lc);

		if (cdc_option_find(pair->name)->state != CDC_OPT_SUPPORTED)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("option \"%s\" is not supported yet", pair->name)));
	}
}

static int
compare_pairs(const ListCell *a, const ListCell *b)
{
	return strcmp(((CdcOptionPair *) lfirst(a))->name,
				  ((CdcOptionPair *) lfirst(b))->name);
}

/*
 * Reads a moment, and puts it into the pair in a form that does not depend on
 * the time of reading.
 */
static CdcMoment
moment(List *pairs, const char *name)
{
	CdcMoment	m = {InvalidXLogRecPtr, {0, 0}};
	CdcOptionPair *pair = cdc_pairs_find(pairs, name);

	if (pair != NULL)
	{
		m = cdc_moment_parse(name, pair->value);
		pair->value = cdc_moment_print(&m);
	}
	return m;
}

/* Options about time. */
static void
set_times(CdcOptions *options)
{
	const char *value;
	CdcMoment	end;

	options->cursor = moment(options->pairs, "cursor");
	end = moment(options->pairs, "end_time");
	if (end.lsn != InvalidXLogRecPtr)
		FAIL(errmsg("end_time must be a time, not a WAL position"));
	options->end_time = end.hlc;
	value = given(options->pairs, "gc_protect_expires_after");
	options->gc_protect_us = value == NULL ? 0 :
		cdc_parse_duration("gc_protect_expires_after", value);
}

static CdcEnvelope
parse_envelope(const char *name)
{
	static const struct
	{
		const char *name;
		CdcEnvelope envelope;
	}			names[] =
	{
		{"wrapped", CDC_ENVELOPE_WRAPPED},
		{"bare", CDC_ENVELOPE_BARE},
		{"row", CDC_ENVELOPE_ROW},
		{"deprecated_row", CDC_ENVELOPE_ROW},
		{"key_only", CDC_ENVELOPE_KEY_ONLY},
		{"enriched", CDC_ENVELOPE_ENRICHED},
		{"debezium", CDC_ENVELOPE_DEBEZIUM},
	};

	for (int i = 0; name != NULL && i < lengthof(names); i++)
	{
		if (strcmp(names[i].name, name) == 0)
			return names[i].envelope;
	}
	return CDC_ENVELOPE_WRAPPED;
}

/* What the encoder needs, from options that are known to be good. */
static void
set_encode(CdcOptions *options)
{
	CdcEncodeOptions *encode = &options->encode;
	List	   *pairs = options->pairs;
	const char *value;

	encode->format = CDC_FORMAT_JSON;
	encode->envelope = parse_envelope(given(pairs, "envelope"));
	encode->updated = given(pairs, "updated") != NULL;
	encode->mvcc_timestamp = given(pairs, "mvcc_timestamp") != NULL;
	encode->diff = given(pairs, "diff") != NULL;
	encode->key_in_value = given(pairs, "key_in_value") != NULL;
	encode->lsn = given(pairs, "lsn") != NULL;
	encode->op = given(pairs, "op") != NULL;
	encode->txn = given(pairs, "txn") != NULL;
	encode->topic_in_value = given(pairs, "topic_in_value") != NULL;
	encode->virtual_null = given(pairs, "virtual_columns") != NULL &&
		strcmp(given(pairs, "virtual_columns"), "null") == 0;
	encode->json_null_as_object = given(pairs, "encode_json_value_null_as_object") != NULL;
	value = given(pairs, "enriched_properties");
	if (value != NULL)
		enriched_properties(value, encode);
	if (encode->envelope == CDC_ENVELOPE_DEBEZIUM)
		encode->debezium = cdc_debezium_config(given(pairs, "debezium_config"));
	value = given(pairs, "key_column");
	encode->key_column = value ? pstrdup(value) : NULL;
	value = given(pairs, "headers_json_column_name");
	encode->headers_column = value ? pstrdup(value) : NULL;
}

CdcOptions *
cdc_options_parse(List *pairs)
{
	CdcOptions *options = palloc0(sizeof(CdcOptions));
	const char *value;
	ListCell   *lc;

	foreach(lc, pairs)
	{
		CdcOptionPair *pair = palloc(sizeof(CdcOptionPair));
		const CdcOptionSpec *spec;

		*pair = *(CdcOptionPair *) lfirst(lc);
		pair->external = false;
		spec = cdc_option_find(pair->name);
		if (spec == NULL)
			cdc_option_unknown(pair->name);
		if (given(options->pairs, pair->name) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" is given more than once", pair->name)));
		if (spec->state == CDC_OPT_NOT_APPLICABLE)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("option \"%s\" is not applicable to PostgreSQL", pair->name),
					 errhint("Leave the option out.")));
		pair->name = pstrdup(pair->name);
		pair->value = pair->value ? pstrdup(pair->value) : NULL;
		cdc_option_check_value(spec, pair);
		options->pairs = lappend(options->pairs, pair);
	}
	list_sort(options->pairs, compare_pairs);

	options->initial_scan = initial_scan(options->pairs);
	check_combinations(options->pairs, options->initial_scan);
	check_texts(options->pairs);
	set_times(options);
	check_supported(options->pairs);

	set_encode(options);
	options->full_table_name = given(options->pairs, "full_table_name") != NULL;

	value = given(options->pairs, "resolved");
	options->resolved = value != NULL;
	if (value != NULL && *value != '\0')
		options->resolved_us = cdc_parse_duration("resolved", value);

	value = given(options->pairs, "min_checkpoint_frequency");
	options->min_checkpoint_us = value == NULL ? DEFAULT_MIN_CHECKPOINT_US :
		Max(cdc_parse_duration("min_checkpoint_frequency", value),
			LEAST_MIN_CHECKPOINT_US);

	value = given(options->pairs, "truncate");
	value = value ? value : "fail";
	options->truncate = strcmp(value, "emit") == 0 ? CDC_TRUNCATE_EMIT :
		strcmp(value, "ignore") == 0 ? CDC_TRUNCATE_IGNORE : CDC_TRUNCATE_FAIL;
	value = given(options->pairs, "schema_change_events");
	options->schema_change_events = value != NULL && strcmp(value, "column_changes") == 0 ?
		CDC_EVENTS_COLUMN_CHANGES : CDC_EVENTS_DEFAULT;
	value = given(options->pairs, "schema_change_policy");
	value = value ? value : "backfill";
	options->schema_change_policy =
		strcmp(value, "nobackfill") == 0 ? CDC_SCHEMA_NOBACKFILL :
		strcmp(value, "stop") == 0 ? CDC_SCHEMA_STOP :
		strcmp(value, "ignore") == 0 ? CDC_SCHEMA_IGNORE : CDC_SCHEMA_BACKFILL;
	value = given(options->pairs, "on_error");
	options->on_error = value != NULL && strcmp(value, "pause") == 0 ?
		CDC_ON_ERROR_PAUSE : CDC_ON_ERROR_FAIL;

	value = given(options->pairs, "on_bad_message");
	options->on_bad_message = value == NULL || strcmp(value, "fail") == 0 ? CDC_BAD_MESSAGE_FAIL :
		strcmp(value, "retry") == 0 ? CDC_BAD_MESSAGE_RETRY : CDC_BAD_MESSAGE_DEAD_LETTER;

	value = given(options->pairs, "partition_alg");
	options->partition_fnv1a = value != NULL && strcmp(value, "fnv-1a") == 0;
	value = given(options->pairs, "kafka_sink_config");
	options->kafka_sink_config = value ? pstrdup(value) : NULL;

	value = given(options->pairs, "compression");
	options->compression = value ? pstrdup(value) : NULL;

	value = given(options->pairs, "webhook_sink_config");
	options->webhook_sink_config = value ? pstrdup(value) : NULL;
	value = given(options->pairs, "webhook_client_timeout");
	options->webhook_client_timeout_us = value == NULL ? DEFAULT_WEBHOOK_TIMEOUT_US :
		cdc_parse_duration("webhook_client_timeout", value);
	cdc_options_take_secrets(options);
	return options;
}

void
cdc_options_notices(const CdcOptions *options)
{
	const char *min_checkpoint = given(options->pairs, "min_checkpoint_frequency");

	if (options->resolved && options->resolved_us > 0 &&
		options->resolved_us < options->min_checkpoint_us)
		ereport(NOTICE,
				(errmsg("resolved timestamps will be sent at most every min_checkpoint_frequency (%s)",
						min_checkpoint ? min_checkpoint : "1s")));
	if (options->resolved && options->resolved_us > 0 &&
		options->resolved_us < COSTLY_INTERVAL_US)
		ereport(NOTICE,
				(errmsg("an interval of resolved below 500ms can cost performance")));
	if (min_checkpoint != NULL &&
		cdc_parse_duration("min_checkpoint_frequency", min_checkpoint) < LEAST_MIN_CHECKPOINT_US)
		ereport(NOTICE,
				(errmsg("min_checkpoint_frequency is raised to 10ms")));
	else if (options->min_checkpoint_us < COSTLY_INTERVAL_US)
		ereport(NOTICE,
				(errmsg("a min_checkpoint_frequency below 500ms can cost performance")));
	if (options->gc_protect_us > 0 && options->gc_protect_us < SHORT_PROTECTION_US)
		ereport(NOTICE,
				(errmsg("gc_protect_expires_after is short: the changefeed is canceled when it has been paused or stuck for %s",
						given(options->pairs, "gc_protect_expires_after"))));
	if (given(options->pairs, "protect_data_from_gc_on_pause") != NULL)
		ereport(NOTICE,
				(errmsg("protect_data_from_gc_on_pause is not needed: a paused changefeed always keeps its changes")));
}
