/*-------------------------------------------------------------------------
 * debezium_config.c
 *		The option debezium_config: settings of Debezium's PostgreSQL
 *		connector, by its own names.
 *
 * Values may be text, as in the connector's configuration, or JSON's numbers
 * and booleans.  Defaults are the connector's, but for
 * replace.null.with.default, which would turn NULL into something else.
 *
 * Runs: backends and lane workers.  Pure computation; raises ERRORs.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/options.h"
#include "catalog/pg_collation.h"
#include "encode/debezium.h"
#include "lib/stringinfo.h"
#include "parser/scansup.h"
#include "regex/regex.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#define FAIL(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), __VA_ARGS__))

typedef enum Kind
{
	KIND_TEXT,
	KIND_BOOL,
	KIND_ENUM,
	KIND_LISTED,				/* prefixes of messages to send */
	KIND_OTHERS,				/* prefixes of messages not to send */
} Kind;

typedef struct Setting
{
	const char *name;
	Kind		kind;
	size_t		offset;			/* in CdcDebeziumOptions */
	const char *values[7];		/* of an enum, in the order of the C enum */
} Setting;

#define AT(field)	offsetof(CdcDebeziumOptions, field)

/* In the order in which they are named. */
static const Setting settings[] = {
	{"topic.prefix", KIND_TEXT, AT(name)},
	{"key.converter.schemas.enable", KIND_BOOL, AT(key_schemas)},
	{"value.converter.schemas.enable", KIND_BOOL, AT(value_schemas)},
	{"decimal.handling.mode", KIND_ENUM, AT(decimal), {"precise", "string", "double"}},
	{"time.precision.mode", KIND_ENUM, AT(time),
	{"adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds"}},
	{"interval.handling.mode", KIND_ENUM, AT(interval), {"numeric", "string"}},
	{"hstore.handling.mode", KIND_ENUM, AT(hstore), {"json", "map"}},
	{"binary.handling.mode", KIND_ENUM, AT(binary), {"bytes", "base64", "base64-url-safe", "hex"}},
	{"include.unknown.datatypes", KIND_BOOL, AT(unknown_types)},
	{"unavailable.value.placeholder", KIND_TEXT, AT(placeholder)},
	{"replace.null.with.default", KIND_BOOL, AT(null_is_default)},
	{"tombstones.on.delete", KIND_BOOL, AT(tombstones)},
	{"provide.transaction.metadata", KIND_BOOL, AT(transactions)},
	{"message.prefix.include.list", KIND_LISTED},
	{"message.prefix.exclude.list", KIND_OTHERS},
};

/* A scalar as the text it has in a configuration file. */
static char *
scalar_text(const char *name, const JsonbValue *v)
{
	switch (v->type)
	{
		case jbvString:
			return pnstrdup(v->val.string.val, v->val.string.len);
		case jbvBool:
			return pstrdup(v->val.boolean ? "true" : "false");
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(v->val.numeric)));
		default:
			FAIL(errmsg("setting \"%s\" of debezium_config must be a text, a number or a boolean",
						name));
			return NULL;
	}
}

static void
bad_value(const Setting *setting, const char *value)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; setting->kind == KIND_ENUM && setting->values[i] != NULL; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", setting->values[i]);
	FAIL(errmsg("invalid value for setting \"%s\" of debezium_config: \"%s\"",
				setting->name, value),
		 errhint("Valid values are %s.", setting->kind == KIND_ENUM ? list.data : "true, false"));
}

/*
 * A prefix is matched by every worker that decodes: an expression that can
 * take for ever is refused.
 */
static void
check_expression(const Setting *setting, const char *text)
{
	regex_t    *re = RE_compile_and_cache(cstring_to_text(text), CDC_DBZ_PREFIX_FLAGS,
										  C_COLLATION_OID);

	if (re->re_info & REG_UBACKREF)
		FAIL(errmsg("setting \"%s\" of debezium_config must not have back-references: \"%s\"",
					setting->name, text));
}

static void
add_expression(const Setting *setting, StringInfo all, char *text, int len)
{
	while (len > 0 && scanner_isspace(text[len - 1]))
		len--;
	text[len] = '\0';
	while (scanner_isspace(*text))
		text++;
	if (*text == '\0')
		FAIL(errmsg("setting \"%s\" of debezium_config must name a prefix", setting->name),
			 errhint("It is a list of regular expressions with commas between them."));
	check_expression(setting, text);
	appendStringInfo(all, "%s(?:%s)", all->len > 0 ? "|" : "", text);
}

/* A list of expressions, each for a whole prefix; "\\," stands for a comma. */
static void
set_prefixes(CdcDebeziumOptions *opts, const Setting *setting, const char *value)
{
	StringInfoData all;
	StringInfoData one;
	char	   *whole;

	if (opts->messages != CDC_DBZ_MESSAGES_NONE)
		FAIL(errmsg("debezium_config may have only one of \"message.prefix.include.list\" and \"message.prefix.exclude.list\""));
	initStringInfo(&all);
	initStringInfo(&one);
	for (const char *p = value; *p != '\0'; p++)
	{
		if (*p == ',')
		{
			add_expression(setting, &all, one.data, one.len);
			resetStringInfo(&one);
			continue;
		}
		if (p[0] == '\\' && p[1] == ',')
			p++;
		else if (p[0] == '\\' && p[1] != '\0')
			appendStringInfoChar(&one, *p++);
		appendStringInfoChar(&one, *p);
	}
	add_expression(setting, &all, one.data, one.len);

	/* nothing in one of them reaches beyond its parentheses */
	whole = psprintf("^(?:%s)$", all.data);
	if (strlen(whole) >= CDC_DBZ_PREFIXES_SIZE)
		FAIL(errmsg("setting \"%s\" of debezium_config is too long", setting->name));
	check_expression(setting, whole);
	strlcpy(opts->prefixes, whole, CDC_DBZ_PREFIXES_SIZE);
	opts->messages = setting->kind == KIND_LISTED ?
		CDC_DBZ_MESSAGES_LISTED : CDC_DBZ_MESSAGES_OTHERS;
}

static void
set(CdcDebeziumOptions *opts, const Setting *setting, const char *value)
{
	char	   *field = (char *) opts + setting->offset;
	int			i;

	switch (setting->kind)
	{
		case KIND_TEXT:
			if (*value == '\0' || strlen(value) >= CDC_DBZ_NAME_SIZE)
				FAIL(errmsg("setting \"%s\" of debezium_config must have between 1 and %d bytes",
							setting->name, CDC_DBZ_NAME_SIZE - 1));
			strlcpy(field, value, CDC_DBZ_NAME_SIZE);
			break;
		case KIND_BOOL:
			if (!parse_bool(value, (bool *) field))
				bad_value(setting, value);
			break;
		case KIND_ENUM:
			for (i = 0; setting->values[i] != NULL; i++)
			{
				if (pg_strcasecmp(setting->values[i], value) == 0)
					break;
			}
			if (setting->values[i] == NULL)
				bad_value(setting, value);
			*(int *) field = i;
			break;
		case KIND_LISTED:
		case KIND_OTHERS:
			set_prefixes(opts, setting, value);
			break;
	}
}

static const Setting *
find_setting(const char *name)
{
	StringInfoData list;

	for (int i = 0; i < lengthof(settings); i++)
	{
		if (strcmp(settings[i].name, name) == 0)
			return &settings[i];
	}
	initStringInfo(&list);
	for (int i = 0; i < lengthof(settings); i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", settings[i].name);
	FAIL(errmsg("unknown setting \"%s\" in debezium_config", name),
		 errhint("Settings are %s.", list.data));
	return NULL;
}

bool
cdc_debezium_wants_message(const CdcDebeziumOptions *opts, const char *prefix)
{
	size_t		len = strlen(prefix);
	bool		listed;

	if (opts->messages == CDC_DBZ_MESSAGES_NONE)
		return false;

	/* anybody may have made it as long as he likes: that must not be dear */
	listed = len <= CDC_DBZ_PREFIX_MAX &&
		RE_compile_and_execute(cstring_to_text(opts->prefixes),
							   unconstify(char *, prefix), (int) len,
							   CDC_DBZ_PREFIX_FLAGS, C_COLLATION_OID, 0, NULL);
	return listed == (opts->messages == CDC_DBZ_MESSAGES_LISTED);
}

CdcDebeziumOptions *
cdc_debezium_config(const char *json)
{
	CdcDebeziumOptions *opts = palloc0(sizeof(CdcDebeziumOptions));
	Jsonb	   *config;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	char	   *name = NULL;

	strlcpy(opts->placeholder, "__debezium_unavailable_value", sizeof(opts->placeholder));
	opts->key_schemas = opts->value_schemas = true;
	opts->tombstones = true;
	if (json == NULL)
		return opts;

	/* that it is an object has been checked with the option's kind */
	config = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
	if (!JB_ROOT_IS_OBJECT(config))
		elog(ERROR, "debezium_config is not a JSON object");
	it = JsonbIteratorInit(&config->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE)
		{
			const Setting *setting = find_setting(name);

			set(opts, setting, scalar_text(name, &v));
		}
	}
	return opts;
}
