/*-------------------------------------------------------------------------
 * scan.h
 *		Scans of a feed's tables at a commit, beside the stream, from the
 *		lane's side.
 *
 * A scan belongs to a commit C in the stream: the creation of the feed (the
 * initial scan, T0 is C's stamp), a schema change, a table that joins.  All
 * of its rows carry one stamp T, above that of C's own rows and below that
 * of every later row.  From C on every event is emitted and its key
 * recorded.  A scan worker reads the tables in chunks; rows of a chunk read
 * under snapshot S are handed over once the decoder has passed L_hi, a WAL
 * position taken right after S and flushed, and are dropped if their key is
 * recorded.  So what is handed over is a row that nobody touched between C
 * and L_hi: the row as of C, stamped T, and nothing newer of its key was
 * sent before it.
 *
 * S must see every transaction that was decoded up to C.  A commit is
 * decodable before it is visible (it may wait for a synchronous standby), so
 * the scan starts only when all of those have become visible.
 *
 * Until the sink has acknowledged all of a scan, and the events that took the
 * place of its rows, the feed's durable position stays at the scan's hold,
 * right before C, and no resolved above the stamp there is sent: a replay decodes C again, which starts the scan again with
 * the same T.  A scan reads nothing before its hold is the durable position,
 * so that what was sent before C is acknowledged by then.
 *
 * Several scans of a feed wait for each other, in the order of their
 * commits; each records the keys since its own C.  A table that a later scan
 * reads again is not read to the end for an earlier one.
 *
 * Runs: lane worker, main thread (start, recording: decoding callback).
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SCAN_H
#define CDC_SCAN_H

#include "postgres.h"

#include "access/htup_details.h"
#include "base/hlc.h"
#include "encode/encode.h"
#include "feed/batch.h"
#include "nodes/pg_list.h"

struct CdcFeed;
typedef struct CdcScan CdcScan;

/*
 * What to read: "relid", of which the rows are sent as those of the feed's
 * target "target".  The same OID, or a partition and its root.
 */
typedef struct CdcScanItem
{
	Oid			target;
	Oid			relid;

	/*
	 * Rows of it were sent before: with "diff" they have a row before, the
	 * same but for the columns of "target" marked in "fresh", which were not
	 * there or had other values.
	 */
	bool		known;
	uint8		fresh[(MaxHeapAttributeNumber + 8) / 8];
} CdcScanItem;

static inline void
cdc_scan_item_mark_fresh(CdcScanItem *item, AttrNumber att)
{
	item->fresh[att / 8] |= 1 << (att % 8);
}

static inline bool
cdc_scan_item_is_fresh(const CdcScanItem *item, AttrNumber att)
{
	return (item->fresh[att / 8] & (1 << (att % 8))) != 0;
}

/*
 * Marks for each attribute of a row type, by name the columns of the target;
 * palloc'ed.  NULL: none is fresh.  Reads catalogs.
 */
extern bool *cdc_scan_item_absent(const CdcScanItem *item, TupleDesc desc);

/* A row that a scan has not sent and now never will. */
typedef struct CdcUnsent
{
	CdcHlc		stamp;			/* of the scan's rows */
	const CdcScanItem *item;	/* the scan's */
} CdcUnsent;

/* A transaction was decoded: it may not be visible yet. */
extern void cdc_scan_note_xid(TransactionId xid);

/*
 * Prepares the scan of a feed that starts now (anew), of the tables that its
 * definition says are to be read.  Called in
 * the commit callback of its creation, or in the main loop when that commit
 * lies before everything the slot decodes; after cdc_feed_set_position().
 */
extern void cdc_scan_begin(struct CdcFeed *feed, CdcHlc t0);

/*
 * Scans some tables of a running feed at the commit C at hand, while the
 * stream goes on.  commit_lsn: where C's record starts (txn->final_lsn);
 * end_lsn: behind it (txn->end_lsn).  Whoever calls it must do so again, with the same items,
 * whenever the feed decodes this commit again (cdc_feed_takes() says so):
 * nothing about the scan is stored, it is the hold of the durable position
 * that makes a crash, a detach, a pause and a rewind exact.  Calls for the
 * same C are merged.
 *
 * items: CdcScanItem *; copied.  Their targets must be in feed->def as it is
 * now, which is the definition that the rows are encoded by.  A definition
 * that comes later may drop them: rows of a target that has gone are not
 * sent.  what: "backfill", "scan of added tables": for running_status, a
 * string constant.
 *
 * Runs: commit callback, after the transaction's rows and before
 * cdc_feed_end_txn().  The feed must be touched (cdc_feed_touch()); its
 * stamp of the transaction is moved up to T, so that all later rows are
 * above it.  Returns T.
 */
extern CdcHlc cdc_scan_start(struct CdcFeed *feed, XLogRecPtr commit_lsn,
							 XLogRecPtr end_lsn, List *items,
							 const char *what);

/*
 * With a scan under way no row to come is below this stamp.  It is the
 * same in every incarnation of the sink until the scan is over: files are
 * named by it, and rows of an incarnation that went must not sort behind
 * those that came later.
 */
extern CdcHlc cdc_scan_floor(const struct CdcFeed *feed);

/*
 * May the durable position not pass a scan's hold?  If so, sets where it is
 * and the stamp there.
 */
extern bool cdc_scan_hold(const struct CdcFeed *feed, XLogRecPtr *lsn,
						  CdcHlc *hlc);

/*
 * No resolved may be sent below this stamp.  A row that an event kept a scan
 * from sending is there with that event only; before that a reader would
 * miss it.
 */
extern CdcHlc cdc_scan_resolved_least(const struct CdcFeed *feed);

/*
 * An event of this key in relation "relid" was emitted, in the transaction
 * that the feed is at (cdc_feed_touch()).  Returns the number
 * of scans that may not have sent the key's row yet, and now never will, of
 * which *unsent becomes a palloc'ed array, oldest first; unsent == NULL: not
 * wanted, returns 0.  Runs: decoding callback.
 */
extern int	cdc_scan_record(struct CdcFeed *feed, int target, Oid relid,
							const char *key, size_t len, CdcUnsent **unsent);

/*
 * A target was truncated: rows of it that are not handed over yet are of no
 * interest any more.  Not the whole of it, but a partition: what was read so
 * far is read again.  Runs: decoding callback, with the feed touched.
 */
extern void cdc_scan_drop_target(struct CdcFeed *feed, int target, bool whole);

/*
 * Starts the worker when it may, takes over rows while the feed has room for
 * them.  Returns true if there may be more to take at once.
 */
extern bool cdc_scan_pump(struct CdcFeed *feed, size_t room);

/* What the scan is doing, for running_status; NULL: nothing to tell. */
extern const char *cdc_scan_status(const struct CdcFeed *feed);

/* The queue's head left it.  Ends the scan when its last row has gone. */
extern void cdc_scan_batch_acked(struct CdcFeed *feed, const CdcBatch *batch);

/* Rows that were not acknowledged are lost with the queue: read again. */
extern void cdc_scan_restart(struct CdcFeed *feed);

/*
 * Forgets what was recorded: the feed goes back to where the oldest scan that
 * is not over began, with nothing sent.
 */
extern void cdc_scan_forget_keys(struct CdcFeed *feed);

/*
 * The feed goes back to this position: scans of later commits go, they will
 * be decoded again.
 */
extern void cdc_scan_rewind(struct CdcFeed *feed, XLogRecPtr lsn);

/* Records the keys of a change that is not sent yet; an empty one is none. */
extern void cdc_scan_record_both(struct CdcFeed *feed, int target, Oid relid,
								 const CdcBuf *key_old, const CdcBuf *key_new);

/* No resolved before the events that were recorded: they are still to be sent. */
extern void cdc_scan_await_recorded(struct CdcFeed *feed);

/* Is a scan of this commit or an earlier one not over? */
extern bool cdc_scan_is_pending(const struct CdcFeed *feed, XLogRecPtr lsn);

/* The feed's scan of its beginning is under way, and no other one is wanted. */
extern bool cdc_scan_is_only_initial(const struct CdcFeed *feed);

/* All rows of the oldest scan are at the sink, or there is no scan. */
extern bool cdc_scan_is_done(const struct CdcFeed *feed);

/* A checkpoint without the holds of scans that are done is durable. */
extern void cdc_scan_forget_done(struct CdcFeed *feed);

extern void cdc_scan_free(struct CdcFeed *feed);

/*
 * Wire format between scan worker and lane: one shm_mq message each, first
 * byte the kind.
 */
#define CDC_SCAN_CHUNK	'C'		/* int32 item, XLogRecPtr l_hi */
#define CDC_SCAN_ROWS	'R'		/* (CdcScanRow, identity, parts) * */
#define CDC_SCAN_END	'E'		/* nothing: all tables are read */
#define CDC_SCAN_ERROR	'X'		/* text */

typedef struct CdcScanRow
{
	uint32		identity_len;
	bool		identity_is_key;	/* of a sink that has keys */
	CdcParts	parts;
} CdcScanRow;

#define CDC_SCAN_MAGIC	0x63646373
#define CDC_SCAN_QUEUE_SIZE (512 * 1024)

/* At the start of the segment that lane and scan worker share. */
typedef struct CdcScanHeader
{
	Oid			dboid;
	int64		job_id;
	int			version;		/* of the definition */
	CdcHlc		t0;
	bool		one_snapshot;	/* initial_scan='only': a state of one moment */
	Size		queue_off;		/* where the queue starts */
	int			nitems;
	CdcScanItem items[FLEXIBLE_ARRAY_MEMBER];
	/* then for each item two strings: topic and list of columns, see columns.h */
} CdcScanHeader;

#define CDC_SCAN_HEADER_SIZE(nitems) \
	(offsetof(CdcScanHeader, items) + sizeof(CdcScanItem) * (nitems))

/* Entry point of the scan worker. */
extern PGDLLEXPORT void cdc_scan_main(Datum arg);

#endif							/* CDC_SCAN_H */
