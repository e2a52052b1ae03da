/*-------------------------------------------------------------------------
 * sink_config.c
 *		Settings of a sink in a JSON object; see sink_config.h.
 *
 * Runs: backend (CdcSinkOps.check) and workers.  Pure computation; raises
 * ERRORs.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/options.h"
#include "sink/sink_config.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#define BAD(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg(__VA_ARGS__)))
#define BAD_JSON(fmt, ...) \
	BAD("error unmarshalling json: " fmt, __VA_ARGS__)

char *
cdc_sink_config_string(const char *field, const JsonbValue *v)
{
	if (v->type != jbvString)
		BAD_JSON("field %s must be a string", field);
	return pnstrdup(v->val.string.val, v->val.string.len);
}

int64
cdc_sink_config_int(const char *field, const JsonbValue *v)
{
	char	   *text;
	char	   *end;
	int64		result;

	if (v->type != jbvNumeric)
		BAD_JSON("field %s must be an integer", field);
	text = DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(v->val.numeric)));
	errno = 0;
	result = strtoll(text, &end, 10);
	if (errno != 0 || *end != '\0')
		BAD_JSON("field %s must be an integer", field);
	return result;
}

int64
cdc_sink_config_count(const char *field, const JsonbValue *v)
{
	int64		result = cdc_sink_config_int(field, v);

	if (result < 0)
		BAD("invalid sink config, all values must be non-negative");
	return result;
}

int64
cdc_sink_config_duration(const char *field, const JsonbValue *v, int64 max)
{
	char	   *text = cdc_sink_config_string(field, v);
	int64		result;

	if (text[0] == '-')
		BAD("invalid sink config, all values must be non-negative");
	result = cdc_parse_duration(field, text);
	if (result > max)
		BAD("%s is longer than %d seconds", field, (int) (max / 1000000));
	return result;
}

/* Reads the members of one object; Flush and Retry hold objects. */
static void
read_object(const char *option, JsonbContainer *object, const char *prefix,
			CdcSinkConfigField take, void *config)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	v;
	char	   *field = NULL;

	if (JsonContainerIsScalar(object) || !JsonContainerIsObject(object))
		BAD_JSON("%s must be an object", prefix[0] ? prefix : option);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			field = psprintf("%s%s%.*s", prefix, prefix[0] ? "." : "",
							 v.val.string.len, v.val.string.val);
		else if (token == WJB_VALUE && v.type != jbvNull)
		{
			if (pg_strcasecmp(field, "Flush") != 0 && pg_strcasecmp(field, "Retry") != 0)
				take(config, field, &v);
			else if (v.type == jbvBinary)
				read_object(option, v.val.binary.data, field, take, config);
			else
				BAD_JSON("%s must be an object", field);
		}
	}
}

void
cdc_sink_config_read(const char *option, const char *json,
					 CdcSinkConfigField take, void *config)
{
	Jsonb	   *jb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));

	read_object(option, &jb->root, "", take, config);
}
