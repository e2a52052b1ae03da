/*-------------------------------------------------------------------------
 * lane.h
 *		A lane worker's own state, shared by the files of worker/ that make
 *		up its main loop.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_LANE_H
#define CDC_LANE_H

#include "postgres.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "feed/feed.h"
#include "lib/ilist.h"
#include "wal/plugin.h"

typedef struct CdcLane
{
	CdcLaneShared *shared;
	dlist_head	feeds;			/* CdcFeed */
	size_t		feed_cap;		/* what one feed may hold, in bytes */
	MemoryContext turn_cxt;		/* reset once a turn */

	Oid			schema;			/* cdc_sink */
	Oid			definition_relid;	/* of cdc_sink.definition */
	char	   *dbname;
	uint32		seen_requests;	/* value of shared->requests at last visit */
	bool		want_visit;		/* look at the catalog before decoding on */
	TimestampTz visited_at;
	bool		in_callback;	/* a transaction is being decoded */
	bool		extension_gone; /* last visit found no extension */
	bool		passing;		/* some feed passes over transactions */
	XLogRecPtr	floor;			/* nothing before it is decoded */

	WaitEventSet *wait_set;

	TimestampTz idle_since;		/* without a live job; 0: has some */
} CdcLane;

extern CdcLane lane;

/* lane.c */
extern CdcFeed *lane_find_feed(int64 job_id);
extern void lane_forget_feed(CdcFeed *feed);
extern void lane_pump_all(void);
extern void lane_honour_stops(ReorderBufferTXN *txn);
extern void lane_wait_for_room(CdcFeed *feed, ReorderBufferTXN *txn);

/*
 * Leaves a transaction if the rest of it is of no use to anybody and a feed
 * waits for a visit to the catalog: all of it comes again.  Runs: change
 * callback, before anything is done for the change.
 */
extern void lane_abandon_if_useless(ReorderBufferTXN *txn);

/*
 * sinks.c: serves every sink and looks after those in trouble.  True if a scan
 * may have got room for more rows.
 */
extern bool lane_serve_feeds(TimestampTz now);

/*
 * Is all before the feed's end acknowledged?  Its position may lie behind what
 * ends it then, and a replay would not come to that again.
 */
extern bool lane_is_at_end(CdcFeed *feed);

/*
 * Closes a feed's sink, to be opened anew; what it has not acknowledged is
 * decoded again.  Between two transactions only.
 */
extern void lane_reopen_sink(CdcFeed *feed);

/* external.c: external sinks; resolved in a visit, taken over after it. */
extern bool lane_has_external_sink(const CdcFeed *feed);
extern void lane_resolve_place(CdcFeed *feed, Oid owner);
extern void lane_take_place(CdcFeed *feed);

/*
 * A sink's URI names topics, too.  If an external one is not known a feed
 * whose next topic depends on it is detached until it is, and this is true.
 * Runs: decoding callbacks, with a feed that takes the transaction.
 */
extern bool lane_wait_for_place(CdcFeed *feed, ReorderBufferTXN *txn);

/*
 * The feed's sink, which is in trouble, may stand for something else by now:
 * a visit should look.  Also within a transaction.
 */
extern bool lane_place_may_have_changed(const CdcFeed *feed);

/* Visits see what was changed up to now. */
extern void lane_note_places_seen(void);

/* stream.c: what is decoded, from core's callbacks to the feeds. */
extern void stream_init(void);

/* The transaction being decoded.  Runs: decoding callbacks. */
extern ReorderBufferTXN *stream_txn(void);

/* Where in the WAL a row stands, and which transaction wrote it. */
static inline void
stream_place_row(CdcRow *row, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	row->lsn = lsn;
	row->commit_lsn = txn->final_lsn;
	row->commit_time = cdc_compat_commit_time(txn);
	row->xid = txn->xid;
}

/* subscribe.c: answers what table/ asks. */
extern void subscribe_init(void);

/* Appends the message of a row for one feed. */
extern void stream_append_row(CdcTable *table, CdcSubscriber *sub,
							  ReorderBufferTXN *txn, CdcRow *row,
							  const CdcBuf *identity);

/* stream_truncate.c: tables were emptied. */
extern void stream_truncate(ReorderBufferTXN *txn, int nrels, Relation *rels,
							XLogRecPtr lsn);

/*
 * Appends the value of the message of a TRUNCATE; name: schema.table; number:
 * of event_count_row().
 */
extern void stream_encode_truncate(CdcSubscriber *sub, ReorderBufferTXN *txn,
								   XLogRecPtr lsn, const char *name,
								   uint64 number, CdcBatch *batch);

/*
 * The last message of this batch is incomplete (NULL: none is any more), and
 * is to go if an ERROR comes.
 */
extern void stream_message_open(CdcBatch *batch);

/*
 * Outside of a transaction of core's: this one is being decoded; NULL: none
 * is any more.
 */
extern void stream_set_txn(ReorderBufferTXN *txn);

/* Serves the sinks now and then during a long transaction. */
extern void stream_serve(ReorderBufferTXN *txn);

/*
 * The same in Debezium's envelope, for a change as a whole.  moved: the key
 * is another one; key_old, key_new: identities.  Unless complete, values that
 * an update left alone are marked, and so are those "recalled" (NULL: none).
 * In a table without a key an update is one event, whatever it changes.
 */
extern void stream_append_debezium(CdcTable *table, CdcSubscriber *sub,
								   ReorderBufferTXN *txn, const CdcRow *row,
								   const CdcRow *gone, bool moved, bool complete,
								   const bool *recalled, const CdcBuf *key_old,
								   const CdcBuf *key_new);

/*
 * The transaction at hand concerns a feed, also without a row for it; false:
 * the feed is over before it.  Runs: decoding callbacks.
 */
extern bool stream_touch(CdcFeed *feed, ReorderBufferTXN *txn);

/*
 * schema.c: was the definition of a watched table changed?  Runs: commit
 * callback.
 */
extern void schema_check_commit(ReorderBufferTXN *txn);

/* A feed starts at the commit at hand, which ends at lsn. */
extern void schema_begin(CdcFeed *feed, XLogRecPtr lsn);

/*
 * Before a transaction that changes catalogs: what do tables look like of
 * which a feed does not know?  Runs: begin callback.
 */
extern void schema_learn(ReorderBufferTXN *txn);

/*
 * rules.c: tables that join and leave feeds by rule; commit callback.  True:
 * the subscribers of tables have changed.
 */
extern bool rules_check_commit(ReorderBufferTXN *txn);

/* The feed starts at this position; after cdc_feed_set_position(). */
extern void rules_begin(CdcFeed *feed, XLogRecPtr lsn);

/*
 * Change callback: rows of a relation that the feed does not watch.  If a
 * rule means it and this transaction made it, it joins.  Its target or -1.
 */
extern int	rules_join_new(CdcFeed *feed, Oid relid, ReorderBufferTXN *txn);

/* The worker ends with an ERROR: remembers the change that was being encoded. */
extern void stream_note_poison(void);

/* A feed that cannot go on from here: nothing of this change or later. */
extern void stream_stop_before(CdcFeed *feed);

/* lost_row.c: what becomes of a feed whose row cannot be encoded. */
extern void stream_lose_row(CdcFeed *feed, const CdcTopic *topic,
							CdcHlc updated, const char *error);

/* Stores rows that could not be encoded.  Runs: main loop. */
extern void stream_store_dead_letters(void);

/*
 * check.c: sets the end of a feed that may not go on.  first_visit: when this
 * worker first looked at its jobs.  Runs: in a visit.
 */
extern void lane_check_feed(CdcFeed *feed, const CdcJob *job,
							TimestampTz first_visit);

/* visit.c: jobs, between two drains. */
#define CDC_SLOT_GONE	"the replication slot of the changefeed no longer exists"

extern void catalog_enter(void);
extern void catalog_leave(void);
extern bool visit_is_due(TimestampTz now);
extern void visit_catalog(void);
extern void visit_slot_lost(const char *why);

/* In a transaction: was the extension created again since it had gone? */
extern bool visit_extension_is_back(void);

/* checkpoint.c: rows, then the slot, then resolved. */
extern void checkpoint_if_due(TimestampTz now, bool caught_up);
extern void checkpoint_confirm(void);

/* publish.c: what status views see. */
extern void lane_publish(TimestampTz now);

#endif							/* CDC_LANE_H */
