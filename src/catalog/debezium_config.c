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

#include "catalog/options.h"
#include "encode/debezium.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#define FAIL(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), __VA_ARGS__))

typedef enum Kind
{
	KIND_TEXT,
	KIND_BOOL,
	KIND_ENUM,
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
