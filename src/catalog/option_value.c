/*-------------------------------------------------------------------------
 * option_value.c
 *		The value of one option by itself: its kind, durations, JSON.
 *
 * Runs: backends and lane workers, in the caller's memory context.  No
 * catalog access.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/option_table.h"
#include "catalog/options.h"
#include "common/int.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

/* Far more than any option needs. */
#define MAX_VALUE	(256 * 1024)

#define DURATION_HINT \
	"A duration is written with units, for example \"10s\", \"1m30s\" or \"500ms\"."

#define FAIL(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), __VA_ARGS__))

static void
bad_duration(const char *option, const char *text)
{
	FAIL(errmsg("problem parsing option %s: time: invalid duration \"%s\"",
				option, text),
		 errhint(DURATION_HINT));
}

/* Nanoseconds in a unit; *len is set to the length of its name, 0: none. */
static int64
duration_unit(const char *p, size_t *len)
{
	static const struct
	{
		const char *name;
		int64		ns;
	}			units[] =
	{
		/* longer names before those that they begin with */
		{"ns", 1},
		{"us", 1000},
		{"\xc2\xb5s", 1000},	/* micro sign */
		{"\xce\xbcs", 1000},	/* Greek mu */
		{"ms", 1000000},
		{"s", INT64CONST(1000000000)},
		{"m", INT64CONST(60000000000)},
		{"h", INT64CONST(3600000000000)},
	};

	for (int i = 0; i < lengthof(units); i++)
	{
		*len = strlen(units[i].name);
		if (strncmp(p, units[i].name, *len) == 0)
			return units[i].ns;
	}
	*len = 0;
	return 0;
}

/*
 * Go's notation.  A sum that is not a whole number of microseconds is
 * rounded up, so that it does not become 0.
 */
int64
cdc_parse_duration(const char *option, const char *text)
{
	const char *p = text;
	bool		negative = *p == '-';
	int64		total = 0;

	if (*p == '-' || *p == '+')
		p++;
	if (strcmp(p, "0") == 0)
		return 0;
	if (*p == '\0')
		bad_duration(option, text);

	while (*p != '\0')
	{
		int64		whole = 0;
		double		fraction = 0;
		double		scale = 1;
		bool		digits = false;
		int64		unit;
		size_t		unit_len;

		for (; *p >= '0' && *p <= '9'; p++)
		{
			digits = true;
			if (pg_mul_s64_overflow(whole, 10, &whole) ||
				pg_add_s64_overflow(whole, *p - '0', &whole))
				bad_duration(option, text);
		}
		if (*p == '.')
		{
			for (p++; *p >= '0' && *p <= '9'; p++)
			{
				digits = true;
				scale /= 10;
				fraction += (*p - '0') * scale;
			}
		}
		unit = duration_unit(p, &unit_len);
		if (!digits || unit_len == 0)
			bad_duration(option, text);
		p += unit_len;

		/* the fraction is below 1, so its share of an hour fits */
		if (pg_mul_s64_overflow(whole, unit, &whole) ||
			pg_add_s64_overflow(total, whole, &total) ||
			pg_add_s64_overflow(total, (int64) rint(fraction * unit), &total))
			bad_duration(option, text);
	}
	if (negative && total > 0)
		FAIL(errmsg("negative durations are not accepted: %s='%s'", option, text));
	return total / 1000 + (total % 1000 != 0);
}

/* Puts json_in's complaint in terms of the option; it keeps the detail. */
static void
json_error_callback(void *arg)
{
	if (geterrcode() == ERRCODE_INVALID_TEXT_REPRESENTATION)
	{
		errcode(ERRCODE_INVALID_PARAMETER_VALUE);
		errmsg("error unmarshalling json: the value of option \"%s\" is not valid JSON",
			   (const char *) arg);
	}
}

static void
check_json_object(const CdcOptionSpec *spec, const char *text)
{
	ErrorContextCallback callback;
	Jsonb	   *jb;

	callback.callback = json_error_callback;
	callback.arg = unconstify(char *, spec->name);
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	jb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	error_context_stack = callback.previous;

	if (!JB_ROOT_IS_OBJECT(jb))
		FAIL(errmsg("error unmarshalling json: the value of option \"%s\" is not a JSON object",
					spec->name));
	pfree(jb);
}

void
cdc_option_check_value(const CdcOptionSpec *spec, CdcOptionPair *pair)
{
	bool		optional = spec->kind == CDC_OPT_FLAG || spec->value_optional;
	bool		supported;

	if (pair->value != NULL && strlen(pair->value) > MAX_VALUE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value of option \"%s\" is too long", spec->name),
				 errdetail("The limit is %d bytes.", MAX_VALUE)));

	/* '' is how a JSON object of options says that there is no value */
	if (optional && pair->value != NULL && pair->value[0] == '\0')
		pair->value = NULL;
	if (pair->value == NULL)
	{
		if (!optional)
			FAIL(errmsg("option \"%s\" requires a value", spec->name));
		return;
	}

	switch (spec->kind)
	{
		case CDC_OPT_FLAG:
			FAIL(errmsg("option \"%s\" does not take a value", spec->name),
				 errhint("Write just the name of the option, or leave it out."));
			break;
		case CDC_OPT_STRING:
			break;
		case CDC_OPT_DURATION:
			(void) cdc_parse_duration(spec->name, pair->value);
			break;
		case CDC_OPT_POSITIVE_DURATION:
			if (cdc_parse_duration(spec->name, pair->value) == 0)
				FAIL(errmsg("option %s must be a duration greater than 0",
							spec->name));
			break;
		case CDC_OPT_ENUM:
			pair->value = pstrdup(cdc_option_enum(spec, pair->value, &supported));
			break;
		case CDC_OPT_JSON:
			if (spec->secret == CDC_OPT_PUBLIC)
				check_json_object(spec, pair->value);
			break;
	}
}
