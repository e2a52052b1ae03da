/*-------------------------------------------------------------------------
 * marks.h
 *		What a lane remembers of its past, to place feeds with a cursor.
 *
 * Runs: lane worker.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_MARKS_H
#define CDC_MARKS_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "base/hlc.h"
#include "datatype/timestamp.h"

/* A stamp was issued, or a transaction committed at this time. */
extern void history_note(CdcHlc stamp);

/* Before decoding starts at "start"; inside a catalog visit. */
extern void history_load(XLogRecPtr start);

/*
 * Takes note of the decoder's position if it is time to; inside a catalog
 * visit, between two transactions of the stream.  lifted: a stamp above all
 * that was decoded is promised from here on.
 */
extern void history_take(TimestampTz now, bool lifted);

/*
 * The slot may be confirmed up to "lsn" as far as the feeds are concerned;
 * returns up to where the history allows it.
 */
extern XLogRecPtr history_limit(XLogRecPtr lsn, TimestampTz now);

/* Does the history keep a lane without feeds alive, idle since then? */
extern bool history_keeps_lane(TimestampTz idle_since, TimestampTz now);

/* Where a cursor lies. */
typedef struct HistoryPlace
{
	XLogRecPtr	lsn;			/* a position at or before it */
	CdcHlc		clock;			/* nothing up to there is above */
	XLogRecPtr	exact_until;	/* stamps follow from "clock" and the commit
								 * times up to here, 0: without end */
} HistoryPlace;

/*
 * False: before everything that is remembered from "floor" to "ceiling", or
 * for a WAL position before "floor".
 */
extern bool history_find(CdcHlc cursor, XLogRecPtr floor, XLogRecPtr ceiling,
						 HistoryPlace *place);
extern bool history_find_lsn(XLogRecPtr cursor, XLogRecPtr floor,
							 HistoryPlace *place);

#endif							/* CDC_MARKS_H */
