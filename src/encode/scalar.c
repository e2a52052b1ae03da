/*-------------------------------------------------------------------------
 * scalar.c
 *		Text of single values, written straight into a buffer; see scalar.h.
 *
 * What core's output functions do through fmgr, palloc and sprintf, for the
 * types that most columns have.  The layout of numeric is private to core's
 * numeric.c but cannot change, as pg_upgrade keeps the files.
 *
 * Runs: decoding callbacks of a lane, scan workers; main thread only (the
 * last day is remembered).  Must never palloc.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "encode/scalar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

StaticAssertDecl(DOUBLE_SHORTEST_DECIMAL_LEN < CDC_SCALAR_ROOM,
				 "a float must fit into CDC_SCALAR_ROOM");

#define put_lit(p, lit) (memcpy(p, lit, sizeof(lit) - 1), (p) + sizeof(lit) - 1)

static const char two_digits[] =
"00010203040506070809"
"10111213141516171819"
"20212223242526272829"
"30313233343536373839"
"40414243444546474849"
"50515253545556575859"
"60616263646566676869"
"70717273747576777879"
"80818283848586878889"
"90919293949596979899";

static const char hex_digits[] = "0123456789abcdef";

static inline char *
put2(char *p, uint32 v)
{
	memcpy(p, two_digits + v * 2, 2);
	return p + 2;
}

static inline char *
put4(char *p, uint32 v)
{
	put2(p, v / 100);
	return put2(p + 2, v % 100);
}

/* ---- floats ---- */

static char *
put_not_finite(char *p, bool nan, bool negative)
{
	if (nan)
		return put_lit(p, "\"NaN\"");
	if (negative)
		return put_lit(p, "\"-Infinity\"");
	return put_lit(p, "\"Infinity\"");
}

char *
cdc_put_float4(char *p, float4 value)
{
	if (unlikely(isnan(value) || isinf(value)))
		return put_not_finite(p, isnan(value), value < 0);
	return p + float_to_shortest_decimal_bufn(value, p);
}

char *
cdc_put_float8(char *p, float8 value)
{
	if (unlikely(isnan(value) || isinf(value)))
		return put_not_finite(p, isnan(value), value < 0);
	return p + double_to_shortest_decimal_bufn(value, p);
}

/* ---- dates and times ---- */

/*
 * Year, month and day.  Rows that follow each other mostly carry the same
 * day, so the last one is kept.
 */
static char *
put_day(char *p, int32 date, bool *bc)
{
	static struct
	{
		int32		date;
		int			len;		/* 0: nothing kept yet */
		bool		bc;
		char		text[16];
	}			last;

	if (unlikely(last.date != date || last.len == 0))
	{
		int			year;
		int			month;
		int			day;
		char	   *q = last.text;

		j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
		last.bc = year <= 0;
		if (last.bc)
			year = 1 - year;
		if (year <= 9999)
			q = put4(q, year);
		else
			q += pg_ultoa_n(year, q);
		*q++ = '-';
		q = put2(q, month);
		*q++ = '-';
		q = put2(q, day);
		last.len = q - last.text;
		last.date = date;
	}
	*bc = last.bc;
	memcpy(p, last.text, sizeof(last.text));
	return p + last.len;
}

static char *
put_time_of_day(char *p, int64 usecs)
{
	uint32		seconds = (uint32) (usecs / USECS_PER_SEC);
	uint32		fraction = (uint32) (usecs % USECS_PER_SEC);

	p = put2(p, seconds / SECS_PER_HOUR);
	*p++ = ':';
	p = put2(p, seconds / SECS_PER_MINUTE % MINS_PER_HOUR);
	*p++ = ':';
	p = put2(p, seconds % SECS_PER_MINUTE);
	if (fraction != 0)
	{
		*p++ = '.';
		p = put2(p, fraction / 10000);
		p = put4(p, fraction % 10000);
		while (p[-1] == '0')
			p--;
	}
	return p;
}

char *
cdc_put_date(char *p, DateADT date)
{
	bool		bc;

	if (DATE_IS_NOBEGIN(date))
		return put_lit(p, "\"-infinity\"");
	if (DATE_IS_NOEND(date))
		return put_lit(p, "\"infinity\"");
	*p++ = '"';
	p = put_day(p, date, &bc);
	if (bc)
		p = put_lit(p, " BC");
	*p++ = '"';
	return p;
}

char *
cdc_put_time(char *p, TimeADT time)
{
	*p++ = '"';
	p = put_time_of_day(p, time);
	*p++ = '"';
	return p;
}

char *
cdc_put_timestamp(char *p, Timestamp t, bool utc)
{
	int64		day;
	bool		bc;

	if (TIMESTAMP_IS_NOBEGIN(t))
		return put_lit(p, "\"-infinity\"");
	if (TIMESTAMP_IS_NOEND(t))
		return put_lit(p, "\"infinity\"");
	day = t / USECS_PER_DAY;
	t -= day * USECS_PER_DAY;
	if (t < 0)
	{
		t += USECS_PER_DAY;
		day--;
	}
	*p++ = '"';
	p = put_day(p, (int32) day, &bc);
	*p++ = 'T';
	p = put_time_of_day(p, t);
	if (utc)
		*p++ = 'Z';
	if (bc)
		p = put_lit(p, " BC");
	*p++ = '"';
	return p;
}

/* ---- bytes ---- */

char *
cdc_put_hex(char *p, const unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		*p++ = hex_digits[bytes[i] >> 4];
		*p++ = hex_digits[bytes[i] & 0x0f];
	}
	return p;
}

char *
cdc_put_uuid(char *p, const unsigned char *uuid)
{
	*p++ = '"';
	p = cdc_put_hex(p, uuid, 4);
	*p++ = '-';
	p = cdc_put_hex(p, uuid + 4, 2);
	*p++ = '-';
	p = cdc_put_hex(p, uuid + 6, 2);
	*p++ = '-';
	p = cdc_put_hex(p, uuid + 8, 2);
	*p++ = '-';
	p = cdc_put_hex(p, uuid + 10, 6);
	*p++ = '"';
	return p;
}

/* ---- numeric ---- */

/*
 * On disk: a 16-bit header, for values out of the short form's range the
 * 16-bit weight, then 16-bit digits to the base of 10000, the first with the
 * given weight; zero digits at both ends are left out.  "scale" is the
 * number of decimal digits to print behind the point.
 */
#define NUM_BASE_DIGITS		4

#define NUM_FORM_MASK		0xC000	/* else the long form's sign */
#define NUM_FORM_SHORT		0x8000
#define NUM_FORM_SPECIAL	0xC000
#define NUM_LONG_NEGATIVE	0x4000
#define NUM_LONG_SCALE		0x3FFF
#define NUM_SHORT_NEGATIVE	0x2000
#define NUM_SHORT_SCALE(h)	(((h) & 0x1F80) >> 7)
#define NUM_SHORT_WEIGHT(h) (((h) & 0x003F) - ((h) & 0x0040))
#define NUM_SPECIAL_MASK	0xF000
#define NUM_SPECIAL_NAN		0xC000
#define NUM_SPECIAL_NINF	0xF000

/* nothing is known of the alignment */
static inline uint16
load_uint16(const char *s)
{
	uint16		v;

	memcpy(&v, s, sizeof(v));
	return v;
}

static void
append_numeric(CdcBuf *out, const char *data, size_t len)
{
	uint16		header;
	bool		negative;
	int			scale;
	int			weight;
	int			ndigits;
	int			i;
	char	   *p;

	if (unlikely(len < sizeof(uint16)))
		elog(ERROR, "numeric value of %zu bytes", len);
	header = load_uint16(data);
	data += sizeof(uint16);
	len -= sizeof(uint16);
	if ((header & NUM_FORM_MASK) == NUM_FORM_SPECIAL)
	{
		header &= NUM_SPECIAL_MASK;
		p = put_not_finite(cdc_buf_reserve(out, CDC_SCALAR_ROOM),
						   header == NUM_SPECIAL_NAN,
						   header == NUM_SPECIAL_NINF);
		out->len = p - out->data;
		return;
	}
	if ((header & NUM_FORM_MASK) == NUM_FORM_SHORT)
	{
		negative = (header & NUM_SHORT_NEGATIVE) != 0;
		scale = NUM_SHORT_SCALE(header);
		weight = NUM_SHORT_WEIGHT(header);
	}
	else
	{
		if (unlikely(len < sizeof(uint16)))
			elog(ERROR, "numeric value of %zu bytes", len + sizeof(uint16));
		negative = (header & NUM_FORM_MASK) == NUM_LONG_NEGATIVE;
		scale = header & NUM_LONG_SCALE;
		weight = (int16) load_uint16(data);
		data += sizeof(uint16);
		len -= sizeof(uint16);
	}
	ndigits = len / sizeof(uint16);

	/* never above 9999, but a damaged page must not lead put4 astray */
#define DIGIT(i) \
	((i) >= 0 && (i) < ndigits ? \
	 Min(load_uint16(data + (i) * sizeof(uint16)), 9999) : 0)

	/* sign, whole part, point, and the fraction in whole base digits */
	p = cdc_buf_reserve(out, 1 + (size_t) Max(weight + 1, 1) * NUM_BASE_DIGITS +
						1 + scale + NUM_BASE_DIGITS + CDC_SCALAR_ROOM);
	if (negative)
		*p++ = '-';
	if (weight < 0)
		*p++ = '0';
	else
	{
		p += pg_ultoa_n(DIGIT(0), p);
		for (i = 1; i <= weight; i++)
			p = put4(p, DIGIT(i));
	}
	if (scale > 0)
	{
		char	   *end;

		*p++ = '.';
		end = p + scale;
		for (i = weight + 1; p < end; i++)
			p = put4(p, DIGIT(i));
		p = end;
	}
	out->len = p - out->data;
}

void
cdc_append_numeric_varlena(CdcBuf *out, const void *varlena)
{
	append_numeric(out, VARDATA_ANY(varlena), VARSIZE_ANY_EXHDR(varlena));
}
