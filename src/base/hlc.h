/*-------------------------------------------------------------------------
 * hlc.h
 *		Hybrid logical clock of a changefeed: the value of "updated" and
 *		"resolved".
 *
 * A stamp is (nanoseconds since the Unix epoch, logical counter) and is
 * printed as "<ns>.<counter, 10 digits>".  The stamp of a transaction is a
 * pure function of the stamp before it and its commit time, so that replay
 * from a checkpoint gives identical stamps.  Streamed transactions use even
 * distances; odd counters are left for rows that have to fit between two.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HLC_H
#define CDC_HLC_H

#include "postgres.h"

#include "datatype/timestamp.h"

typedef struct CdcHlc
{
	int64		wall;			/* ns since 1970-01-01 00:00 UTC */
	uint32		logical;
} CdcHlc;

/* Longest text form, with its terminating zero. */
#define CDC_HLC_TEXT_SIZE	32

static inline int
cdc_hlc_cmp(CdcHlc a, CdcHlc b)
{
	if (a.wall != b.wall)
		return a.wall < b.wall ? -1 : 1;
	if (a.logical != b.logical)
		return a.logical < b.logical ? -1 : 1;
	return 0;
}

static inline CdcHlc
cdc_hlc_max(CdcHlc a, CdcHlc b)
{
	return cdc_hlc_cmp(a, b) >= 0 ? a : b;
}

/* PostgreSQL's time (us since 2000-01-01) in ns since the Unix epoch. */
extern int64 cdc_hlc_wall(TimestampTz t);

/* The inverse, rounded down to microseconds. */
extern TimestampTz cdc_hlc_timestamptz(CdcHlc h);

/* Stamp of a transaction committed at "wall" that follows stamp "h". */
extern CdcHlc cdc_hlc_next(CdcHlc h, int64 wall);

/* Writes the text form, returns its length without the terminating zero. */
extern int	cdc_hlc_print(char *dst, CdcHlc h);

/* Reads the text form ("ns" or "ns.counter"); false if it is not one. */
extern bool cdc_hlc_parse(const char *text, CdcHlc *h);

#endif							/* CDC_HLC_H */
