/*-------------------------------------------------------------------------
 * shapes.h
 *		The definitions of a feed's tables that are in force at its position.
 *
 * The oldest is that of the feed's definition or, if the table was changed
 * since, the one that was stored with the checkpoint; changes that are
 * decoded come behind it, each with the position from which it holds, until
 * a checkpoint has passed them.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SHAPES_H
#define CDC_SHAPES_H

#include "postgres.h"

#include "catalog/shape.h"
#include "feed/feed.h"

/* The newest shape of a target; NULL: it is not known. */
extern const CdcShape *cdc_feed_shape(CdcFeed *feed, int target);

/* A target has this shape from "since" (the end of a commit) on. */
extern void cdc_feed_set_shape(CdcFeed *feed, int target, XLogRecPtr since,
							   const CdcShape *shape);

/* The feed goes back to this position: later shapes will be decoded again. */
extern void cdc_feed_rewind_shapes(CdcFeed *feed, XLogRecPtr lsn);

/*
 * Those that were stored, instead of all that are in memory.  Runs: main
 * loop, in a catalog visit.
 */
extern void cdc_feed_load_shapes(CdcFeed *feed);

/*
 * Writes the shapes in force at "lsn" that are not stored yet, in the
 * transaction of the checkpoint; and, when that is durable, takes note.
 */
extern void cdc_feed_store_shapes(CdcFeed *feed, XLogRecPtr lsn);
extern void cdc_feed_shapes_stored(CdcFeed *feed, XLogRecPtr lsn);

#endif							/* CDC_SHAPES_H */
