/*-------------------------------------------------------------------------
 * relcache.h
 *		What a lane knows of each relation that shows up in the WAL: who
 *		watches it, how its rows are encoded, what its key is.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_RELCACHE_H
#define CDC_RELCACHE_H

#include "postgres.h"

#include "catalog/key.h"
#include "encode/encode.h"
#include "lib/ilist.h"
#include "sink/sink.h"
#include "utils/rel.h"

struct CdcFeed;

/* One feed that watches a relation (or an ancestor of it). */
typedef struct CdcSubscriber
{
	struct CdcFeed *feed;
	int			target;			/* index in the feed's definition */
	CdcTopic   *topic;			/* of the current schema version */
	CdcRowEncoder *encoder;
	const char *unfit;			/* why the feed cannot send its rows, NULL: it
								 * can */
} CdcSubscriber;

typedef struct CdcTable
{
	Oid			relid;			/* hash key */
	bool		valid;			/* nothing was invalidated since built */
	bool		built;			/* the members below are set */

	int			nsubs;			/* 0: nobody watches it */
	CdcSubscriber *subs;

	MemoryContext cxt;			/* of everything below, NULL if not watched */
	char	   *name;			/* schema.table, for messages */
	TupleDesc	desc;			/* a copy */
	int			natts;
	int			nkeys;
	AttrNumber *keyatts;
	CdcIdentity identity;
	bool		keyless;		/* all columns are the key, for want of one */
	int			ntoastable;		/* columns that can be stored out of line */
	AttrNumber *toastable;

	/* See toast_cache.h. */
	bool		keeps_large;
	Oid			kept_file;		/* of the heap whose rows these are */
	dlist_head	kept_rows;

	/* Who has watched it all through the transaction that wrote it last. */
	uint64		written;		/* number of that transaction */
	uint64		builds;			/* how often the subscribers were looked up */
	uint64		noted;			/* builds at its last change */
	struct CdcFeed **watchers;
	int			nwatchers;
	int			maxwatchers;

	/* Scratch for heap_deform_tuple. */
	Datum	   *values;
	bool	   *nulls;
	Datum	   *old_values;
	bool	   *old_nulls;
} CdcTable;

/*
 * The way up to the lane.  "subscribe" returns the feeds that watch relid or
 * one of the ancestors, as a palloc'ed array; target, feed set, topic and
 * encoder still NULL.  "topic" gives the topic for a subscriber while the
 * relation has these columns (see cdc_desc_columns), "target_relid" the
 * table that was named (the root of a partition).
 */
typedef struct CdcTableHooks
{
	int			(*subscribe) (Oid relid, List *ancestors, CdcSubscriber **subs);
	CdcTopic   *(*topic) (CdcSubscriber *sub, const char *columns);
	const CdcEncodeOptions *(*encode_options) (CdcSubscriber *sub);
	const char *(*columns) (CdcSubscriber *sub);
	Oid			(*target_relid) (CdcSubscriber *sub);
} CdcTableHooks;

/* Once per process. */
extern void cdc_tables_init(const CdcTableHooks *hooks);

/* Feeds came or went: look up the subscribers of every relation anew. */
extern void cdc_tables_reset_subscribers(void);

/*
 * Entry of a relation, current as of the historic snapshot in force.
 * Runs: decoding callback.
 */
extern CdcTable *cdc_table_get(Relation rel);

/*
 * Which relations were invalidated since cdc_tables_watch_changes(): those
 * whose definition may have changed, and some more.
 */
extern void cdc_tables_watch_changes(void);
extern bool cdc_tables_any_changed(void);
extern bool cdc_table_changed(Oid relid);

/* Their OIDs, palloc'ed; NIL if any of all may have been. */
extern List *cdc_tables_changed(void);

/*
 * A row of it was changed.  A table may be watched by one feed only from
 * some point of a transaction on, while another has watched it all along.
 */
extern void cdc_table_note_watchers(CdcTable *table);
extern uint64 cdc_tables_transaction;

static inline void
cdc_table_note_write(CdcTable *table)
{
	if (unlikely(table->written != cdc_tables_transaction ||
				 table->noted != table->builds))
		cdc_table_note_watchers(table);
}

/*
 * Were rows of it changed since cdc_tables_watch_changes() while the feed did
 * not watch it?
 */
extern bool cdc_table_has_unseen(Oid relid, const struct CdcFeed *feed);

/*
 * While "keep", encoders and descriptors of former entries stay in memory:
 * rows that wait for their values refer to them.
 */
extern void cdc_table_keep_retired(bool keep);

#endif							/* CDC_RELCACHE_H */
