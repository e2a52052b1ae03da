/*-------------------------------------------------------------------------
 * cursor.h
 *		Feeds that start in the past, at a cursor.
 *
 * Runs: lane worker.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_LANE_CURSOR_H
#define CDC_LANE_CURSOR_H

#include "postgres.h"

#include "feed/feed.h"

/*
 * The feed's creation has been decoded: finds its place and asks for a
 * rewind, or ends the feed.  Inside a catalog visit.
 */
extern void cursor_place(CdcFeed *feed);

/* A transaction begins: is it one up to the cursor?  Decoding callback. */
extern void cursor_pass(CdcFeed *feed, const ReorderBufferTXN *txn);

/* Nothing more is passed over; the feed starts where it is. */
extern void cursor_stop_passing(CdcFeed *feed);

#endif							/* CDC_LANE_CURSOR_H */
