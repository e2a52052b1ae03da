/*-------------------------------------------------------------------------
 * toast.h
 *		Values that an UPDATE left alone and that are not in the WAL.
 *
 * Ladder, from best to last: the old row of REPLICA IDENTITY FULL (filled in
 * by the stream itself); what was kept of the version before (toast_cache.h);
 * the row as it stands in the table now, if its pointer is the same; the
 * marker CDC_UNAVAILABLE in place of the value.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_TOAST_H
#define CDC_TOAST_H

#include "postgres.h"

#include "feed/batch.h"
#include "table/relcache.h"

/*
 * Puts off message "index" of a batch: it follows with cdc_toast_resolve().
 * row->values, which are table->values, hold the new row, with pointers for
 * what is missing; its old row is not kept.  Returns what the message will
 * take, about.  Runs: decoding callback.
 */
extern size_t cdc_toast_defer(CdcTable *table, const CdcSubscriber *sub,
							  CdcBatch *batch, uint32 index, bool key_beside,
							  const CdcRow *row);

/* That message is the last of its transaction; or it is taken back. */
extern void cdc_toast_set_last(CdcBatch *batch, uint32 index);
extern void cdc_toast_forget(CdcBatch *batch, uint32 index);

/* Told of a row that cannot be encoded; its message is not sent. */
typedef void (*CdcLostRow) (struct CdcFeed *feed, const CdcTopic *topic,
							CdcHlc updated, const char *error);

/* Are there messages that wait for their values? */
extern bool cdc_toast_pending(void);

/*
 * Fetches what was put off and completes the messages.  Runs: main loop, in
 * a transaction with an active snapshot, caches as of now.
 */
extern void cdc_toast_resolve(CdcLostRow lost);

#endif							/* CDC_TOAST_H */
