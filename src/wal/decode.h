/*-------------------------------------------------------------------------
 * decode.h
 *		The lane's decoder: one slot, one decoding context, one reader.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_DECODE_H
#define CDC_DECODE_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "base/compat.h"
#include "datatype/timestamp.h"

/*
 * Acquires the slot and starts decoding at "start" (or at the slot's
 * confirmed position if that is further on).  Raises 55000 if the server has
 * given up the slot's WAL.
 */
extern void cdc_decoder_open(XLogRecPtr start);

/* Ends decoding and lets the slot go; no-op if nothing is open. */
extern void cdc_decoder_close(void);

extern bool cdc_decoder_is_open(void);

/*
 * Decodes until all flushed WAL is read or budget_us have passed.  Returns
 * true while there is more to read at once.
 */
extern bool cdc_decode_some(int64 budget_us);

/* Every transaction whose commit ends at or before this has been handed out. */
extern XLogRecPtr cdc_decoder_position(void);

/* Where the reader stands; behind cdc_decoder_position() after a start. */
extern XLogRecPtr cdc_decoder_read_ptr(void);

/* Stops cdc_decode_some() after the record at hand. */
extern void cdc_decoder_break(void);

/*
 * Hands out no more of the transaction at hand, and all of it once more:
 * cdc_decode_some() goes back to before its commit and returns true.  Only
 * for transactions without changes of the catalogs.  Runs: change callback;
 * what it keeps of the transaction is for it to forget before.
 */
pg_noreturn extern void cdc_decoder_abandon(void);

/*
 * Sets a time at or before which all transactions of this database before
 * "to" were committed, as far back as the last checkpoint's WAL tells, and
 * not further than max_bytes.  False: it cannot tell.
 */
extern bool cdc_wal_last_commit(XLogRecPtr to, uint64 max_bytes,
								TimestampTz *bound);

/* WAL up to here is flushed (asks shared memory). */
extern XLogRecPtr cdc_wal_flushed(void);

/*
 * Tells the slot that nothing at or before "lsn" will be asked for again.
 * Only ever called with what the checkpoint rows hold durably.
 */
extern void cdc_decoder_confirm(XLogRecPtr lsn);

/* The slot's confirmed position. */
extern XLogRecPtr cdc_decoder_confirmed(void);

#endif							/* CDC_DECODE_H */
