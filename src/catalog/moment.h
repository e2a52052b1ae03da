/*-------------------------------------------------------------------------
 * moment.h
 *		A point of the stream as users write it: option values "cursor" and
 *		"end_time".
 *-------------------------------------------------------------------------
 */
#ifndef CDC_MOMENT_H
#define CDC_MOMENT_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "base/hlc.h"

typedef struct CdcMoment
{
	XLogRecPtr	lsn;			/* InvalidXLogRecPtr: by the clock */
	CdcHlc		hlc;			/* wall 0 and no lsn: none given */
} CdcMoment;

static inline bool
cdc_moment_given(const CdcMoment *m)
{
	return m->lsn != InvalidXLogRecPtr || m->hlc.wall != 0;
}

/*
 * Reads nanoseconds since 1970 with or without a counter, a WAL position, a
 * timestamp (UTC unless it says otherwise) or a signed interval from now.
 * Raises 22023 naming the option.
 */
extern CdcMoment cdc_moment_parse(const char *option, const char *text);

/* The form that means the same whenever and wherever it is read; palloc'ed. */
extern char *cdc_moment_print(const CdcMoment *m);

#endif							/* CDC_MOMENT_H */
