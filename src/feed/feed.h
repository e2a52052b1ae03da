/*-------------------------------------------------------------------------
 * feed.h
 *		One changefeed in a lane: what it watches, what is queued for its
 *		sink, how far it is.
 *
 * Positions of a feed, none of which ever passes the one before it:
 *
 *		queued		the decoder's transactions up to here are encoded and in the
 *					queue (or do not concern the feed)
 *		acked		the sink has acknowledged everything up to here
 *		durable		the same, as the checkpoint row says
 *
 * Each goes with the stamp (CdcHlc) in force there; replay from "durable"
 * gives the same stamps again.
 *
 * Runs: lane worker, main thread.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_FEED_H
#define CDC_FEED_H

#include "postgres.h"

#include "base/shmem.h"
#include "catalog/job.h"
#include "catalog/options.h"
#include "catalog/uri.h"
#include "feed/batch.h"
#include "replication/reorderbuffer.h"
#include "sink/sink.h"
#include "table/relcache.h"

struct CdcDebeziumEvents;
struct CdcScan;
typedef struct CdcFeedPlace CdcFeedPlace;

typedef enum CdcFeedMode
{
	CDC_FEED_WAITING,			/* its creation has not been decoded yet */
	CDC_FEED_ACTIVE,			/* gets what is decoded */
	CDC_FEED_DETACHED,			/* does not: its queue is full or its sink is
								 * being replaced; a rewind brings it back */
	CDC_FEED_ENDING,			/* gets nothing more; ends when the queue is
								 * empty */
	CDC_FEED_STOPPED,			/* paused: only its position is kept */
} CdcFeedMode;

/* Events of one target in a transaction, for envelopes that count them. */
typedef struct CdcFeedCount
{
	uint64		txn_number;		/* which transaction, see CdcFeed */
	uint64		events;
	char	   *collection;		/* what the envelope calls the target */
} CdcFeedCount;

/* Topics of messages that are of no target. */
typedef enum CdcEventTopic
{
	CDC_TOPIC_MESSAGES,
	CDC_TOPIC_TRANSACTIONS,
} CdcEventTopic;

#define CDC_EVENT_TOPICS	(CDC_TOPIC_TRANSACTIONS + 1)

typedef struct CdcFeed
{
	dlist_node	node;			/* lane's list */
	int64		job_id;
	MemoryContext cxt;
	CdcFeedMode mode;
	CdcJobStatus status;		/* as last seen in the catalog */

	CdcDefinition *def;			/* targets by rule are added, see members.h */
	int			nnamed;			/* targets that are the definition's own */
	struct CdcRules *rules;		/* NULL: none */
	List	   *members;		/* see members.c */
	bool		new_members;	/* some are not stored yet */
	List	   *unfit;			/* OIDs of tables that were left out */
	CdcOptions *options;
	CdcEncodeOptions encode;
	CdcUri	   *uri;			/* with secrets, NULL until known */
	bool		has_secrets;	/* options, and "uri" unless external, are those
								 * of the definition */

	/* What an external sink stands for; see worker/external.c. */
	MemoryContext place_cxt;	/* of uri, and of options out of a mapping */
	char	   *place_text;		/* all that it follows from, NULL: not known */
	CdcFeedPlace *next_place;	/* to be taken after the visit under way */
	const CdcSinkOps *ops;
	CdcTopic  **topics;			/* all, grows with schema versions */
	int			ntopics;
	int			maxtopics;
	CdcTopic  **current;		/* of each target, its newest */
	char	  **columns;		/* what it is for, see cdc_desc_columns; NULL:
								 * nothing was seen yet */
	struct CdcDebeziumEvents *events;	/* these and the topics: NULL until needed */
	CdcTopic   *event_topics[CDC_EVENT_TOPICS];
	List	   *shapes;			/* see feed/shapes.h */
	bool		new_shapes;		/* some are not stored yet */

	CdcSink    *sink;			/* NULL: closed */
	TimestampTz sink_open_at;	/* not before */
	int			sink_failures;	/* in a row */
	bool		awaits_former;	/* the sink before it has not let go yet */
	uint64		sink_retries;	/* of earlier incarnations */
	uint64		sink_messages;
	uint64		sink_bytes;

	CdcCheckpoint durable;
	XLogRecPtr	start_lsn;		/* C and T0, until they are durable */
	CdcHlc		start_hlc;

	/* With a cursor, see worker/cursor.c. */
	bool		awaits_cursor;	/* WAITING: its place is still to be found */
	bool		passing;		/* passes over transactions up to it */
	CdcHlc		pass_clock;		/* nothing passed over is above */
	XLogRecPtr	pass_limit;		/* nothing behind it is passed over */
	XLogRecPtr	created_lsn;	/* behind its creation, when decoded */

	XLogRecPtr	queued_lsn;
	CdcHlc		queued_hlc;
	XLogRecPtr	acked_lsn;
	CdcHlc		acked_hlc;
	TimestampTz acked_time;		/* commit time behind acked_lsn, 0: unknown */

	/* A definition to come, met in the stream; NULL: none. */
	CdcDefinition *next_def;
	XLogRecPtr	next_lsn;		/* where it takes effect */
	CdcHlc		next_hlc;

	/* The transaction being decoded. */
	bool		touched;
	uint64		txn_rows;
	uint64		txn_events;		/* for envelopes that count them */
	uint64		txn_number;		/* of transactions begun, repeats included */
	CdcFeedCount *counts;		/* of messages, then of each target; grows */
	int			ncounts;
	CdcHlc		txn_hlc;
	bool		end_at_commit;	/* goes ENDING when it is over */
	XLogRecPtr	event_lsn;		/* its end, if what ends the feed is an event
								 * there that can be answered */

	/* Rows of this transaction that are in the queue already (detach). */
	XLogRecPtr	partial_lsn;
	uint64		partial_rows;

	/*
	 * Option txn: the newest message of the transaction at hand, the last of
	 * its batch, waits with it until the next message is there, or the end
	 * of the transaction, which is then written into it.  NULL: none.
	 */
	CdcBatch   *newest;
	size_t		newest_flag;	/* where in the batch's buffer, 0: the message's
								 * value is still to be fetched */
	size_t		newest_deferred;	/* of deferred_bytes */
	uint64		newest_row;		/* its number in the transaction */

	dlist_head	queue;			/* CdcBatch, oldest first */
	CdcBatch   *open;			/* last of the queue, still growing */
	size_t		queued_bytes;	/* of sealed batches */
	size_t		deferred_bytes; /* rows that wait for their values */
	uint64		acked_rows;		/* progress, for the stall clock */

	/* Back-pressure. */
	XLogRecPtr	wait_lsn;		/* transaction the clock below is for */
	TimestampTz wait_begin;		/* first wait in it */
	int64		waited_us;		/* in all */
	TimestampTz rewind_at;		/* detached: not before */
	int			detaches;		/* in a row, for back-off */
	bool		wants_rewind;
	bool		held;			/* told to stop; its row is still to be read */

	/* Checkpoints. */
	TimestampTz checkpoint_at;	/* last row written */
	TimestampTz flush_at;		/* last flush asked for */
	bool		dirty;			/* rows were acknowledged since the last row */
	XLogRecPtr	barrier_lsn;	/* flush was asked for up to here ... */
	CdcHlc		barrier_hlc;
	XLogRecPtr	lift_lsn;		/* stamps may be lifted to the wall clock only
								 * once the decoder has passed this */
	bool		had_rows;		/* rows since the last resolved */

	/* Resolved. */
	bool		resolved_pending;
	CdcHlc		resolved_hlc;	/* durable already, to be sent */
	CdcHlc		resolved_last;	/* last one sent */
	CdcHlc		resolved_least; /* see cdc_scan_resolved_least() */
	CdcBuf		resolved_text;
	uint64		resolved_count;

	struct CdcScan *scan;		/* oldest of those under way, NULL: none */

	/* Why it ends; empty: it does not. */
	char		end_error[CDC_ERROR_SIZE];
	bool		end_pauses;		/* pause, whatever on_error says */
	bool		end_fails;		/* fail, whatever on_error says */
	bool		last_resolved;	/* ends with a resolved of its last row */
	bool		last_taken;		/* which its sink has, but may still lose */
	bool		expired;		/* cancel: gc_protect_expires_after */
	bool		warned_of_wal;	/* it holds back much */
	bool		finished;		/* it came to its end as it was asked to */
	bool		over;			/* ENDING because of end_time */
	bool		over_stored;	/* and its last row says so */
	bool		visited;		/* seen by the visit under way */
	bool		committing;		/* its creation was not visible before */
	XLogRecPtr	check_lsn;		/* end not before the decoder is here */
	XLogRecPtr	seen_lsn;		/* WAITING: its creation lies before this */
	TransactionId created_xid;	/* ACTIVE and not yet seen in the catalog */

	/*
	 * Messages in the dead-letter table that will be decoded again, because
	 * the sink broke over them: copies, compared byte for byte.
	 */
	List	   *given_up;		/* CdcGivenUp */

	/* For the status views. */
	TimestampTz poison_at;		/* on_bad_message=retry: last try */
	uint64		dead_letters;
	uint64		scanned_rows;
	TimestampTz last_message;
	TimestampTz last_error_time;
	char		last_error[CDC_ERROR_SIZE];
} CdcFeed;

/*
 * Descriptor in which the lane waits for the sinks; a sink's own descriptor
 * leaves it before the sink is closed.
 */
extern int	cdc_feed_epoll_fd;

/*
 * Makes a feed from its definition.  NULL, with the reason, if this version
 * of the extension can make nothing of it.
 */
extern CdcFeed *cdc_feed_try_create(const CdcDefinition *def,
									char *error, size_t error_size);
extern void cdc_feed_destroy(CdcFeed *feed);

/* Gives a feed (anew) what follows from its definition; may raise an ERROR. */
extern void cdc_feed_define(CdcFeed *feed, const CdcDefinition *def);

/* The same; false: the feed ends with the error. */
extern bool cdc_feed_redefine(CdcFeed *feed, const CdcDefinition *def);

/*
 * A further version was met in the stream, at the commit that ends at lsn
 * and whose time is wall.  True: the feed has taken it over, and wants its
 * row written; false: it does so later, or need not.
 */
extern bool cdc_feed_alter(CdcFeed *feed, const CdcDefinition *def,
						   XLogRecPtr lsn, int64 wall);

/*
 * Takes over the definition to come, when all before is acknowledged and no
 * scan from before is under way; true: it has.
 */
extern bool cdc_feed_adopt_next(CdcFeed *feed);

/*
 * Starts over at a position that the feed has come to (its queue is dropped),
 * by another definition.
 */
extern void cdc_feed_adopt(CdcFeed *feed, const CdcDefinition *def,
						   XLogRecPtr lsn, CdcHlc hlc);

/* Puts all positions of a feed to one place, with an empty queue. */
extern void cdc_feed_set_position(CdcFeed *feed, XLogRecPtr lsn, CdcHlc hlc);

/* Does the feed take rows of this transaction? */
static inline bool
cdc_feed_takes(const CdcFeed *feed, const ReorderBufferTXN *txn)
{
	return feed->mode == CDC_FEED_ACTIVE && txn->end_lsn > feed->queued_lsn;
}

/*
 * Starts the next row of a transaction.  False: the row is in the queue
 * already and has to be left out.
 */
extern bool cdc_feed_begin_row(CdcFeed *feed, ReorderBufferTXN *txn);

/*
 * A transaction concerns the feed without a row of its own: its stamp is
 * used up as if it had one.  Before cdc_feed_end_txn().
 */
extern void cdc_feed_touch(CdcFeed *feed, ReorderBufferTXN *txn);

/* How far its position may become durable, and the stamp there. */
extern XLogRecPtr cdc_feed_durable_limit(const CdcFeed *feed, CdcHlc *hlc);

/*
 * The last message of a batch waits for what comes behind it in its
 * transaction; the one that waited so far is free to go.  flag_at: see
 * newest_flag.
 */
extern void cdc_feed_hold(CdcFeed *feed, CdcBatch *batch, size_t flag_at,
						  size_t deferred_bytes);

/* The batch that rows are appended to. */
extern CdcBatch *cdc_feed_open_batch(CdcFeed *feed);

/* Seals the open batch, if any and not empty. */
extern void cdc_feed_seal(CdcFeed *feed);

/*
 * Would this transaction get a stamp behind the feed's end_time?  Then the
 * feed takes nothing more.  Asked before its first row is taken.
 */
extern bool cdc_feed_check_end(CdcFeed *feed, ReorderBufferTXN *txn);

/* Everything up to end_time is in the queue, or has left it. */
extern void cdc_feed_reach_end(CdcFeed *feed);

/*
 * Is it ENDING with nothing left to send?  Then its last state can be
 * written.
 */
extern bool cdc_feed_has_ended(CdcFeed *feed);

/* A touched transaction is over. */
extern void cdc_feed_end_txn(CdcFeed *feed, ReorderBufferTXN *txn);

/* Encoded and not yet acknowledged bytes, but for a batch that must wait. */
extern size_t cdc_feed_bytes(const CdcFeed *feed);

/* Hands sealed batches to the sink, serves it, collects acks. */
extern void cdc_feed_pump(CdcFeed *feed);

/*
 * Asks the sink to push out what it has.  Later rows have stamps above the
 * queued one, but for rows of scans, which all have the stamp of theirs.
 */
extern void cdc_feed_flush(CdcFeed *feed);

/*
 * The feed is full: has a sink that holds on to what fills it bring it away,
 * if it must before its time.  Harmless without a sink.
 */
extern void cdc_feed_relieve(CdcFeed *feed);

/* Changes whenever the sink has got something done. */
extern uint64 cdc_feed_progress(const CdcFeed *feed);

/*
 * Drops the queue and closes the sink; positions go back to "acked", or to
 * the start of a scan that is not over.
 */
extern void cdc_feed_disconnect(CdcFeed *feed);

/*
 * Ends the feed once its queue is empty; text holds no secret.  The first
 * reason counts.
 */
extern void cdc_feed_end(CdcFeed *feed, const char *fmt,...) pg_attribute_printf(2, 3);

/*
 * What ends the feed is an event of this transaction, which is sent to its
 * end; once it has paused the feed it does not again.  Before cdc_feed_end().
 */
extern void cdc_feed_end_behind(CdcFeed *feed, const ReorderBufferTXN *txn);

/* Has an event of this transaction paused the feed, and was it resumed? */
static inline bool
cdc_feed_was_answered(const CdcFeed *feed, const ReorderBufferTXN *txn)
{
	return txn->end_lsn <= feed->durable.answered_lsn;
}

/* Stops taking rows at this point of the stream. */
extern void cdc_feed_detach(CdcFeed *feed, ReorderBufferTXN *txn);

/*
 * given_up.c: this message is not to be sent when it comes again (it is in the
 * dead-letter table).
 */
extern void cdc_feed_give_up(CdcFeed *feed, const CdcBatch *batch,
							 const CdcMessage *msg);

/*
 * Marks the messages of a batch that were given up.  They stay known until
 * they have been passed for good, since the sink may break once more before.
 */
extern void cdc_feed_skip_given_up(CdcFeed *feed, CdcBatch *batch);

/* Records trouble for the status view. */
extern void cdc_feed_trouble(CdcFeed *feed, const char *text);

/*
 * Topic of a target, a further version if these are other columns than
 * before; columns: see cdc_desc_columns(), NULL: the newest one.
 */
extern CdcTopic *cdc_feed_topic(CdcFeed *feed, int target, const char *columns);

/* One more topic of the feed, version 1 of none of its targets. */
extern CdcTopic *cdc_feed_add_topic(CdcFeed *feed, const char *name);

/*
 * Counts an event of the transaction at hand and returns the count of its
 * target (-1: messages) with it.
 */
extern uint64 cdc_feed_count(CdcFeed *feed, int target, const char *collection);

/* The newest topic of a target is of these columns and of this version. */
extern void cdc_feed_resume_topic(CdcFeed *feed, int target,
								  const char *columns, uint32 schema_version);

/* Index of the target that a relation (or an ancestor) is, or -1. */
extern int	cdc_feed_find_target(const CdcFeed *feed, Oid relid,
								 const List *ancestors);

#endif							/* CDC_FEED_H */
