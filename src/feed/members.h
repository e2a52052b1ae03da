/*-------------------------------------------------------------------------
 * members.h
 *		Tables that joined or left a feed by rule since its definition.
 *
 * They are targets of feed->def like those that the definition names, behind
 * them; one that has left stays there, marked "gone", so that the numbers of
 * targets stay.  What is in force at the feed's durable position is stored
 * with the checkpoint; what is decoded behind it goes when the feed goes
 * back, and is found again.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_MEMBERS_H
#define CDC_MEMBERS_H

#include "postgres.h"

#include "feed/feed.h"

/*
 * A table joins at "since", the end of a commit; relid, name, topic and
 * columns of "target" count.  Returns its number.
 */
extern int	cdc_feed_join(CdcFeed *feed, const CdcTarget *target,
						  XLogRecPtr since);

/* A target by rule is one no more. */
extern void cdc_feed_leave(CdcFeed *feed, int target, XLogRecPtr since);

/* Is this where a table joined the last time? */
extern bool cdc_feed_joined_at(const CdcFeed *feed, Oid relid, XLogRecPtr lsn);

/* The feed goes back to this position. */
extern void cdc_feed_rewind_members(CdcFeed *feed, XLogRecPtr lsn);

/* The feed has another definition: what joined and left is so in that, too. */
extern void cdc_feed_apply_members(CdcFeed *feed);

/* Those that were stored, instead of all in memory.  Runs: catalog visit. */
extern void cdc_feed_load_members(CdcFeed *feed);

/*
 * Writes what is in force at "lsn" and not stored yet, in the transaction of
 * the checkpoint; and, when that is durable, takes note.
 */
extern void cdc_feed_store_members(CdcFeed *feed, XLogRecPtr lsn);
extern void cdc_feed_members_stored(CdcFeed *feed, XLogRecPtr lsn);

#endif							/* CDC_MEMBERS_H */
