/*-------------------------------------------------------------------------
 * debezium_time.c
 *		Dates, times and intervals as Debezium's PostgreSQL connector writes
 *		them; see debezium.h.
 *
 * Numbers count from 1970.  A value that the number of a mode cannot hold is
 * the nearest one it can; in nanoseconds it is null, as the connector has it.
 *
 * Runs: decoding callbacks of a lane, scan workers.  No catalogs, no palloc.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "common/int.h"
#include "encode/debezium.h"
#include "encode/scalar.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#define EPOCH_DAYS		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)
#define EPOCH_USECS		(EPOCH_DAYS * USECS_PER_DAY)

/* What the connector has for the ends of time, in its microseconds. */
#define INFINITY_MICROS		INT64CONST(9223372036825200000)
#define NEG_INFINITY_MICROS	INT64CONST(-9223372036832400000)

/* Average of 400 years' months, as the connector reckons. */
#define USECS_PER_MONTH		INT64CONST(2629800000000)

static inline char *
tail(CdcBuf *out)
{
	return out->data + out->len;
}

static inline void
put_int(CdcBuf *out, int64 v)
{
	out->len += cdc_compat_lltoa(v, tail(out));
}

/* At least "width" digits. */
static char *
put_padded(char *p, uint32 v, int width)
{
	char		digits[16];
	int			len = pg_ultoa_n(v, digits);

	for (; width > len; width--)
		*p++ = '0';
	memcpy(p, digits, len);
	return p + len;
}

static int64
floor_div(int64 v, int64 by)
{
	int64		q = v / by;

	return (v % by != 0 && v < 0) ? q - 1 : q;
}

/* Years before 1 have a sign, 1 BC is 0; those above 9999 a plus. */
static char *
put_day(char *p, int64 day)
{
	int			y;
	int			m;
	int			d;

	j2date((int) (day + POSTGRES_EPOCH_JDATE), &y, &m, &d);
	if (y < 0)
		*p++ = '-';
	else if (y > 9999)
		*p++ = '+';
	p = put_padded(p, abs(y), 4);
	*p++ = '-';
	p = put_padded(p, m, 2);
	*p++ = '-';
	return put_padded(p, d, 2);
}

/* digits of the fraction; -1: as many as it takes, none for zero */
static char *
put_time_of_day(char *p, int64 usecs, int digits)
{
	uint32		seconds = (uint32) (usecs / USECS_PER_SEC);
	uint32		fraction = (uint32) (usecs % USECS_PER_SEC);

	p = put_padded(p, seconds / SECS_PER_HOUR, 2);
	*p++ = ':';
	p = put_padded(p, seconds / SECS_PER_MINUTE % MINS_PER_HOUR, 2);
	*p++ = ':';
	p = put_padded(p, seconds % SECS_PER_MINUTE, 2);
	if (digits == 0 || (digits < 0 && fraction == 0))
		return p;
	*p++ = '.';
	p = put_padded(p, fraction, 6);
	if (digits > 0)
		return p - (6 - digits);
	while (p[-1] == '0')
		p--;
	return p;
}

/* ---- date ---- */

void
cdc_dbz_date(CdcDatum *datum, CdcBuf *out, Datum value)
{
	DateADT		date = DatumGetDateADT(value);

	if (DATE_IS_NOBEGIN(date))
		put_int(out, PG_INT32_MIN);
	else if (DATE_IS_NOEND(date))
		put_int(out, PG_INT32_MAX);
	else
		put_int(out, (int64) date + EPOCH_DAYS);
}

void
cdc_dbz_date_iso(CdcDatum *datum, CdcBuf *out, Datum value)
{
	DateADT		date = DatumGetDateADT(value);
	char	   *p = tail(out);

	if (DATE_NOT_FINITE(date))
		p = cdc_put_date(p, date);
	else
	{
		*p++ = '"';
		p = put_day(p, date);
		*p++ = 'Z';
		*p++ = '"';
	}
	out->len = p - out->data;
}

/* ---- time ---- */

void
cdc_dbz_time_millis(CdcDatum *datum, CdcBuf *out, Datum value)
{
	put_int(out, DatumGetTimeADT(value) / 1000);
}

void
cdc_dbz_time_micros(CdcDatum *datum, CdcBuf *out, Datum value)
{
	put_int(out, DatumGetTimeADT(value));
}

void
cdc_dbz_time_nanos(CdcDatum *datum, CdcBuf *out, Datum value)
{
	put_int(out, DatumGetTimeADT(value) * 1000);
}

static void
put_time_utc(CdcBuf *out, int64 usecs)
{
	char	   *p = tail(out);

	usecs -= floor_div(usecs, USECS_PER_DAY) * USECS_PER_DAY;
	*p++ = '"';
	p = put_time_of_day(p, usecs, -1);
	*p++ = 'Z';
	*p++ = '"';
	out->len = p - out->data;
}

void
cdc_dbz_time_iso(CdcDatum *datum, CdcBuf *out, Datum value)
{
	put_time_utc(out, DatumGetTimeADT(value));
}

void
cdc_dbz_timetz(CdcDatum *datum, CdcBuf *out, Datum value)
{
	TimeTzADT  *t = DatumGetTimeTzADTP(value);

	put_time_utc(out, t->time + t->zone * USECS_PER_SEC);
}

/* ---- timestamp ---- */

static int64
unix_micros(Timestamp t)
{
	int64		usecs;

	if (TIMESTAMP_IS_NOBEGIN(t))
		return NEG_INFINITY_MICROS;
	if (TIMESTAMP_IS_NOEND(t))
		return INFINITY_MICROS;
	if (pg_add_s64_overflow(t, EPOCH_USECS, &usecs))
		return PG_INT64_MAX;
	return usecs;
}

void
cdc_dbz_timestamp_millis(CdcDatum *datum, CdcBuf *out, Datum value)
{
	Timestamp	t = DatumGetTimestamp(value);

	if (TIMESTAMP_NOT_FINITE(t))
		put_int(out, unix_micros(t) / 1000);
	else
		put_int(out, floor_div(t, 1000) + EPOCH_USECS / 1000);
}

void
cdc_dbz_timestamp_micros(CdcDatum *datum, CdcBuf *out, Datum value)
{
	put_int(out, unix_micros(DatumGetTimestamp(value)));
}

void
cdc_dbz_timestamp_nanos(CdcDatum *datum, CdcBuf *out, Datum value)
{
	int64		nanos;

	if (pg_mul_s64_overflow(unix_micros(DatumGetTimestamp(value)), 1000, &nanos))
		cdc_buf_append_lit(out, "null");
	else
		put_int(out, nanos);
}

static void
put_timestamp(CdcBuf *out, Timestamp t, int digits)
{
	char	   *p = tail(out);
	int64		day;

	if (TIMESTAMP_NOT_FINITE(t))
		p = cdc_put_timestamp(p, t, true);
	else
	{
		day = floor_div(t, USECS_PER_DAY);
		*p++ = '"';
		p = put_day(p, day);
		*p++ = 'T';
		p = put_time_of_day(p, t - day * USECS_PER_DAY, digits);
		*p++ = 'Z';
		*p++ = '"';
	}
	out->len = p - out->data;
}

void
cdc_dbz_timestamp_iso(CdcDatum *datum, CdcBuf *out, Datum value)
{
	Timestamp	t = DatumGetTimestamp(value);

	/* the ends of time are points in it, for the connector */
	if (TIMESTAMP_NOT_FINITE(t))
		t = unix_micros(t) - EPOCH_USECS;
	put_timestamp(out, t, -1);
}

void
cdc_dbz_timestamptz(CdcDatum *datum, CdcBuf *out, Datum value)
{
	put_timestamp(out, DatumGetTimestampTz(value),
				  ((CdcDebeziumState *) datum->state)->digits);
}

/* ---- interval ---- */

/* a + b * factor, or the nearest that there is */
static int64
add_saturating(int64 a, int64 b, int64 factor)
{
	int64		product;
	int64		sum;

	if (pg_mul_s64_overflow(b, factor, &product))
		return b < 0 ? PG_INT64_MIN : PG_INT64_MAX;
	if (pg_add_s64_overflow(a, product, &sum))
		return product < 0 ? PG_INT64_MIN : PG_INT64_MAX;
	return sum;
}

void
cdc_dbz_interval(CdcDatum *datum, CdcBuf *out, Datum value)
{
	Interval   *iv = DatumGetIntervalP(value);
	int64		rest = add_saturating(iv->time, iv->day, USECS_PER_DAY);

	put_int(out, add_saturating(rest, iv->month, USECS_PER_MONTH));
}

void
cdc_dbz_interval_iso(CdcDatum *datum, CdcBuf *out, Datum value)
{
	Interval   *iv = DatumGetIntervalP(value);
	int64		usecs = iv->time;
	int64		fraction = usecs % USECS_PER_SEC;
	int64		seconds = usecs / USECS_PER_SEC;
	char	   *p = cdc_buf_reserve(out, 128);

	p += sprintf(p, "\"P%dY%dM%dDT" INT64_FORMAT "H" INT64_FORMAT "M%s" INT64_FORMAT,
				 iv->month / MONTHS_PER_YEAR, iv->month % MONTHS_PER_YEAR, iv->day,
				 seconds / SECS_PER_HOUR, seconds / SECS_PER_MINUTE % MINS_PER_HOUR,
				 seconds % SECS_PER_MINUTE == 0 && fraction < 0 ? "-" : "",
				 seconds % SECS_PER_MINUTE);
	if (fraction != 0)
	{
		*p++ = '.';
		p = put_padded(p, (uint32) (fraction < 0 ? -fraction : fraction), 6);
		while (p[-1] == '0')
			p--;
	}
	*p++ = 'S';
	*p++ = '"';
	out->len = p - out->data;
}
