/*-------------------------------------------------------------------------
 * stream_event.h
 *		Messages of Debezium's envelope that are of no row: those of
 *		pg_logical_emit_message(), begin and end of a transaction.
 *
 * Runs: decoding callbacks of the lane.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_STREAM_EVENT_H
#define CDC_STREAM_EVENT_H

#include "postgres.h"

#include "feed/feed.h"
#include "table/relcache.h"

/*
 * Counts an event of a row of the transaction at hand, which the feed is
 * touched by, and returns its number among those of its table; before the
 * first event goes the begin of the transaction.  If the feed's envelope tells
 * nothing of transactions it is 1 and nothing is done.  0: the feed takes
 * nothing more for now, and has to be left alone.
 */
extern uint64 event_count_row(CdcSubscriber *sub, ReorderBufferTXN *txn,
							  XLogRecPtr lsn);

/*
 * The end of a transaction with events that were counted.  Before
 * cdc_feed_end_txn(), if the feed is touched still.
 */
extern void event_end(CdcFeed *feed, ReorderBufferTXN *txn);

/*
 * A message for all feeds that want it; txn is NULL for one outside of a
 * transaction.  What is palloc'ed stays in the current context.
 */
extern void event_message(ReorderBufferTXN *txn, XLogRecPtr lsn,
						  const char *prefix, const char *content, Size size);

#endif							/* CDC_STREAM_EVENT_H */
