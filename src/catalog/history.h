/*-------------------------------------------------------------------------
 * history.h
 *		Rows of the table cdc_sink.history, and what checkpoints tell of
 *		earlier positions.  As job.h: inside a transaction with a snapshot.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HISTORY_H
#define CDC_HISTORY_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "base/hlc.h"
#include "datatype/timestamp.h"

/* No transaction handed out up to "lsn" has a stamp or commit time above. */
typedef struct CdcHistoryRow
{
	XLogRecPtr	lsn;
	CdcHlc		above;
	TimestampTz at;				/* when it was noted */
} CdcHistoryRow;

/* All rows by position, palloc'ed; returns how many. */
extern int	cdc_history_read(CdcHistoryRow **rows);

extern void cdc_history_insert(const CdcHistoryRow *row);

/* Removes the rows before "lsn" and those of the positions given. */
extern void cdc_history_delete(XLogRecPtr before, const XLogRecPtr *lsns, int n);

/* The highest stamp that any job's checkpoint holds. */
extern CdcHlc cdc_history_highest(void);

/*
 * Where a job stood at exactly this stamp, which watches all of these tables:
 * the earliest such position at or behind "floor", or InvalidXLogRecPtr.
 */
extern XLogRecPtr cdc_history_exact(CdcHlc stamp, XLogRecPtr floor,
									const Oid *relids, int nrelids);

#endif							/* CDC_HISTORY_H */
