/*-------------------------------------------------------------------------
 * hlc.c
 *		Hybrid logical clock of a changefeed; see hlc.h.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "base/hlc.h"

#define EPOCH_DIFF_USECS \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

int64
cdc_hlc_wall(TimestampTz t)
{
	return (t + EPOCH_DIFF_USECS) * 1000;
}

TimestampTz
cdc_hlc_timestamptz(CdcHlc h)
{
	return h.wall / 1000 - EPOCH_DIFF_USECS;
}

CdcHlc
cdc_hlc_next(CdcHlc h, int64 wall)
{
	CdcHlc		next;

	if (wall > h.wall)
	{
		next.wall = wall;
		next.logical = 0;
	}
	else if (h.logical <= PG_UINT32_MAX - 2)
	{
		next.wall = h.wall;
		next.logical = h.logical + 2;
	}
	else
	{
		/* two billion transactions under a stopped clock: borrow one ns */
		next.wall = h.wall + 1;
		next.logical = 0;
	}
	return next;
}

int
cdc_hlc_print(char *dst, CdcHlc h)
{
	char		digits[20];
	uint64		wall = h.wall < 0 ? 0 - (uint64) h.wall : (uint64) h.wall;
	uint32		logical = h.logical;
	int			n = 0;
	char	   *p = dst;

	/* once per transaction: snprintf would take longer than the row */
	do
		digits[n++] = '0' + wall % 10;
	while ((wall /= 10) != 0);
	if (h.wall < 0)
		*p++ = '-';
	while (n > 0)
		*p++ = digits[--n];
	*p++ = '.';
	for (int i = 9; i >= 0; i--, logical /= 10)
		p[i] = '0' + logical % 10;
	p += 10;
	*p = '\0';
	return p - dst;
}

bool
cdc_hlc_parse(const char *text, CdcHlc *h)
{
	const char *p = text;
	int64		wall = 0;
	uint64		logical = 0;
	int			digits;

	if (!isdigit((unsigned char) *p))
		return false;
	for (; isdigit((unsigned char) *p); p++)
	{
		int			d = *p - '0';

		if (wall > (PG_INT64_MAX - d) / 10)
			return false;
		wall = wall * 10 + d;
	}
	if (*p == '.')
	{
		p++;
		for (digits = 0; isdigit((unsigned char) *p) && digits < 10; digits++)
			logical = logical * 10 + (*p++ - '0');
		if (digits == 0)
			return false;
		for (; digits < 10; digits++)
			logical *= 10;		/* a decimal fraction may drop its zeros */
		if (logical > PG_UINT32_MAX)
			return false;
	}
	if (*p != '\0')
		return false;
	h->wall = wall;
	h->logical = (uint32) logical;
	return true;
}
