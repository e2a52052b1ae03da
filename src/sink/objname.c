/*-------------------------------------------------------------------------
 * objname.c
 *		Names of data and RESOLVED files in the layout of the cloud sinks; see
 *		objname.h.
 *
 * Runs: anywhere, any thread.  Pure C.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "sink/objname.h"

#define NODE			1		/* there is one server, so one node */
#define CUT_MARK		"%~"
#define CUT_TAIL_LEN	(2 + 16)

#define SESSION_WRITER_BITS	22
#define SESSION_WRITER_MASK	((UINT64CONST(1) << SESSION_WRITER_BITS) - 1)

static const char hex_lower[] = "0123456789abcdef";
static const char hex_upper[] = "0123456789ABCDEF";

/* Exactly "width" digits, or as many as it takes when width is 0. */
static char *
put_number(char *dst, uint64 value, int base, int width)
{
	char		digits[64];
	int			n = 0;

	do
	{
		digits[n++] = hex_lower[value % base];
		value /= base;
	} while (width > 0 ? n < width : value > 0);
	while (n > 0)
		*dst++ = digits[--n];
	return dst;
}

static char *
put_text(char *dst, const char *text, size_t len)
{
	memcpy(dst, text, len);
	return dst + len;
}

/* Splits a stamp; the clock starts in 1970 here. */
static void
broken_down(CdcHlc h, struct tm *tm, uint32 *nanos)
{
	int64		wall = h.wall > 0 ? h.wall : 0;
	time_t		secs = (time_t) (wall / 1000000000);

	*nanos = (uint32) (wall % 1000000000);
	gmtime_r(&secs, tm);
}

size_t
cdc_objname_stamp(char *dst, CdcHlc h)
{
	struct tm	tm;
	uint32		nanos;
	char	   *p = dst;

	broken_down(h, &tm, &nanos);
	p = put_number(p, tm.tm_year + 1900, 10, 4);
	p = put_number(p, tm.tm_mon + 1, 10, 2);
	p = put_number(p, tm.tm_mday, 10, 2);
	p = put_number(p, tm.tm_hour, 10, 2);
	p = put_number(p, tm.tm_min, 10, 2);
	p = put_number(p, tm.tm_sec, 10, 2);
	p = put_number(p, nanos, 10, 9);
	p = put_number(p, h.logical, 10, 10);
	*p = '\0';
	return p - dst;
}

size_t
cdc_objname_dir(char *dst, CdcHlc h, CdcObjPartition partition)
{
	struct tm	tm;
	uint32		nanos;
	char	   *p = dst;

	if (partition != CDC_OBJ_FLAT)
	{
		broken_down(h, &tm, &nanos);
		p = put_number(p, tm.tm_year + 1900, 10, 4);
		*p++ = '-';
		p = put_number(p, tm.tm_mon + 1, 10, 2);
		*p++ = '-';
		p = put_number(p, tm.tm_mday, 10, 2);
		*p++ = '/';
		if (partition == CDC_OBJ_HOURLY)
		{
			p = put_number(p, tm.tm_hour, 10, 2);
			*p++ = '/';
		}
	}
	*p = '\0';
	return p - dst;
}

static bool
must_escape(unsigned char c)
{
	return c < 0x20 || c == 0x7f || c == '/' || c == '%';
}

/* FNV-1a, 64 bits. */
static uint64
hash_text(const char *text)
{
	uint64		h = UINT64CONST(0xcbf29ce484222325);

	for (; *text; text++)
		h = (h ^ (unsigned char) *text) * UINT64CONST(0x100000001b3);
	return h;
}

size_t
cdc_objname_topic(char *dst, const char *topic)
{
	const unsigned char *s = (const unsigned char *) topic;
	char	   *p = dst;
	char	   *cut = dst;		/* where it may be cut to have room for the
								 * tail */

	for (; *s; s++)
	{
		size_t		need = must_escape(*s) ? 3 : 1;

		/* bytes 10xxxxxx continue a character of UTF-8 */
		if ((*s & 0xc0) != 0x80 &&
			p - dst <= CDC_OBJNAME_TOPIC_MAX - CUT_TAIL_LEN)
			cut = p;
		if (p - dst + need > CDC_OBJNAME_TOPIC_MAX)
		{
			p = put_text(cut, CUT_MARK, 2);
			p = put_number(p, hash_text(topic), 16, 16);
			break;
		}
		if (need == 1)
			*p++ = (char) *s;
		else
		{
			*p++ = '%';
			*p++ = hex_upper[*s >> 4];
			*p++ = hex_upper[*s & 0xf];
		}
	}
	*p = '\0';
	return p - dst;
}

size_t
cdc_objname_data(char *dst, const CdcObjName *name, CdcObjPartition partition)
{
	char	   *p = dst;

	p += cdc_objname_dir(p, name->bound, partition);
	p += cdc_objname_stamp(p, name->bound);
	*p++ = '-';
	p = put_number(p, name->session, 16, CDC_OBJNAME_SESSION_LEN);
	*p++ = '-';
	p = put_number(p, NODE, 10, 0);
	*p++ = '-';
	p = put_number(p, (uint64) name->sink, 10, 0);
	*p++ = '-';
	p = put_number(p, name->file, 16, 8);
	*p++ = '-';
	p += cdc_objname_topic(p, name->topic);
	*p++ = '-';
	p = put_number(p, name->schema, 16, 0);
	p = put_text(p, name->ext, strnlen(name->ext, CDC_OBJNAME_EXT_MAX));
	*p = '\0';
	return p - dst;
}

size_t
cdc_objname_resolved(char *dst, CdcHlc r, CdcObjPartition partition)
{
	static const char ext[] = ".RESOLVED";
	char	   *p = dst;

	p += cdc_objname_dir(p, r, partition);
	p += cdc_objname_stamp(p, r);
	p = put_text(p, ext, sizeof(ext));	/* with its zero */
	return p - dst - 1;
}

uint64
cdc_objname_session(uint64 writer, int64 ms)
{
	return (uint64) ms << SESSION_WRITER_BITS | (writer & SESSION_WRITER_MASK);
}

bool
cdc_objname_is_former(uint64 session, uint64 mine)
{
	return session < mine && ((session ^ mine) & SESSION_WRITER_MASK) == 0;
}

bool
cdc_objname_parse_session(const char *text, uint64 *session)
{
	uint64		value = 0;

	for (int i = 0; i < CDC_OBJNAME_SESSION_LEN; i++)
	{
		if (text[i] >= '0' && text[i] <= '9')
			value = value << 4 | (text[i] - '0');
		else if (text[i] >= 'a' && text[i] <= 'f')
			value = value << 4 | (text[i] - 'a' + 10);
		else
			return false;
	}
	*session = value;
	return true;
}

bool
cdc_objname_parse_partition(const char *text, CdcObjPartition *partition)
{
	if (strcmp(text, "daily") == 0)
		*partition = CDC_OBJ_DAILY;
	else if (strcmp(text, "hourly") == 0)
		*partition = CDC_OBJ_HOURLY;
	else if (strcmp(text, "flat") == 0)
		*partition = CDC_OBJ_FLAT;
	else
		return false;
	return true;
}

bool
cdc_objname_parse_size(const char *text, int64 *bytes)
{
	static const char units[] = "kmgt";
	const char *p = text;
	double		value = 0;
	double		scale = 1;
	bool		digits = false;
	char		unit[4] = {0};
	int			n;

	for (; *p >= '0' && *p <= '9'; p++, digits = true)
		value = value * 10 + (*p - '0');
	if (*p == '.')
	{
		for (p++; *p >= '0' && *p <= '9'; p++, digits = true)
			value += (*p - '0') * (scale /= 10);
	}
	if (!digits)
		return false;
	while (*p == ' ')
		p++;
	for (n = 0; n < 3 && *p; n++, p++)
		unit[n] = (*p >= 'A' && *p <= 'Z') ? *p - 'A' + 'a' : *p;
	if (*p != '\0')
		return false;
	if (n > 0 && strcmp(unit, "b") != 0)
	{
		const char *u = strchr(units, unit[0]);
		double		factor;

		if (u == NULL)
			return false;
		if (strcmp(unit + 1, "b") == 0 || unit[1] == '\0')
			factor = 1000;
		else if (strcmp(unit + 1, "ib") == 0)
			factor = 1024;
		else
			return false;
		for (; u >= units; u--)
			value *= factor;
	}
	if (value < 1 || value > 1e15)
		return false;
	*bytes = (int64) value;
	return true;
}
