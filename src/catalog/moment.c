/*-------------------------------------------------------------------------
 * moment.c
 *		A point of the stream as users write it; see moment.h.
 *
 * Runs: backends, and lane workers, which only meet the printed form.  No
 * catalog access.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/moment.h"
#include "datatype/timestamp.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

typedef struct Asked
{
	const char *option;
	const char *text;
} Asked;

/* Puts the complaint of a type's input function in terms of the option. */
static void
moment_error_callback(void *arg)
{
	const Asked *asked = arg;

	switch (geterrcode())
	{
		case ERRCODE_INVALID_DATETIME_FORMAT:
		case ERRCODE_DATETIME_FIELD_OVERFLOW:
		case ERRCODE_INVALID_TEXT_REPRESENTATION:
		case ERRCODE_INVALID_PARAMETER_VALUE:
		case ERRCODE_INTERVAL_FIELD_OVERFLOW:
			errcode(ERRCODE_INVALID_PARAMETER_VALUE);
			errmsg("problem parsing option %s: invalid time \"%s\"",
				   asked->option, asked->text);
			errhint("Write nanoseconds since 1970 as in \"updated\", a position as in \"0/16B3748\", or a timestamp.");
			break;
		default:
			break;
	}
}

static Datum
read_as(PGFunction input, const char *text)
{
	return DirectFunctionCall3(input, CStringGetDatum(text),
							   ObjectIdGetDatum(InvalidOid),
							   Int32GetDatum(-1));
}

/* A timestamp without a zone is one of UTC, as in CockroachDB. */
static TimestampTz
read_timestamp(const char *text)
{
	pg_tz	   *zone = session_timezone;
	TimestampTz result = 0;

	PG_TRY();
	{
		session_timezone = pg_tzset("UTC");
		if (text[0] == '-' || text[0] == '+')
			result = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
															 TimestampTzGetDatum(GetCurrentTimestamp()),
															 read_as(interval_in, text)));
		else
			result = DatumGetTimestampTz(read_as(timestamptz_in, text));
	}
	PG_FINALLY();
	{
		session_timezone = zone;
	}
	PG_END_TRY();
	return result;
}

static bool
is_lsn(const char *text)
{
	const char *hex = "0123456789abcdefABCDEF";
	size_t		high = strspn(text, hex);

	return high > 0 && text[high] == '/' && text[high + 1] != '\0' &&
		text[high + 1 + strspn(text + high + 1, hex)] == '\0';
}

CdcMoment
cdc_moment_parse(const char *option, const char *text)
{
	ErrorContextCallback callback;
	Asked		asked = {option, text};
	CdcMoment	m = {InvalidXLogRecPtr, {0, 0}};

	callback.callback = moment_error_callback;
	callback.arg = &asked;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	if (is_lsn(text))
		m.lsn = DatumGetLSN(DirectFunctionCall1(pg_lsn_in, CStringGetDatum(text)));
	else if (!cdc_hlc_parse(text, &m.hlc))
	{
		TimestampTz t = read_timestamp(text);

		/* nanoseconds reach from 1970 to 2262 */
		if (TIMESTAMP_NOT_FINITE(t) ||
			t / USECS_PER_SEC > PG_INT64_MAX / INT64CONST(1000000000) - 1000000000 ||
			cdc_hlc_wall(t) <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_FIELD_OVERFLOW),
					 errmsg("timestamp out of range")));
		m.hlc.wall = cdc_hlc_wall(t);
	}
	if (!cdc_moment_given(&m))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("not a time")));
	error_context_stack = callback.previous;
	return m;
}

char *
cdc_moment_print(const CdcMoment *m)
{
	char		text[CDC_HLC_TEXT_SIZE];

	if (m->lsn != InvalidXLogRecPtr)
		return psprintf("%X/%X", LSN_FORMAT_ARGS(m->lsn));
	cdc_hlc_print(text, m->hlc);
	return pstrdup(text);
}
