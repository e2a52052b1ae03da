/*-------------------------------------------------------------------------
 * scan.h
 *		The initial scan of a feed, from the lane's side.
 *
 * The feed starts at the commit C of its creation; T0 is C's stamp.  From C
 * on every event is emitted and its key recorded.  A scan worker reads the
 * tables in chunks; rows of a chunk read under snapshot S are handed over
 * once the decoder has passed L_hi, a WAL position taken right after S and
 * flushed, and are dropped if their key is recorded.  So what is handed over
 * is a row that nobody touched between C and L_hi: the row as of C, stamped
 * T0, and nothing newer of its key was sent before it.
 *
 * S must see every transaction that was decoded before C.  A commit is
 * decodable before it is visible (it may wait for a synchronous standby), so
 * the scan starts only when all of those have become visible.
 *
 * Runs: lane worker, main thread (recording: decoding callback).
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SCAN_H
#define CDC_SCAN_H

#include "postgres.h"

#include "base/hlc.h"
#include "feed/batch.h"

struct CdcFeed;
typedef struct CdcScan CdcScan;

/* A transaction was decoded: it may not be visible yet. */
extern void cdc_scan_note_xid(TransactionId xid);

/*
 * Prepares the scan of a feed that starts now.  Called in the commit
 * callback of its creation, or in the main loop when that commit lies before
 * everything the slot decodes.
 */
extern void cdc_scan_begin(struct CdcFeed *feed, CdcHlc t0);

/* The stamp of all its rows. */
extern CdcHlc cdc_scan_t0(const struct CdcFeed *feed);

/* An event of this key was emitted.  Runs: decoding callback. */
extern void cdc_scan_record(CdcScan *scan, int target, const char *key,
							size_t len);

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

/* All rows of the scan are at the sink. */
extern bool cdc_scan_is_done(const struct CdcFeed *feed);

extern void cdc_scan_free(struct CdcFeed *feed);

/*
 * Wire format between scan worker and lane: one shm_mq message each, first
 * byte the kind.
 */
#define CDC_SCAN_CHUNK	'C'		/* int32 target, XLogRecPtr l_hi */
#define CDC_SCAN_ROWS	'R'		/* (uint32 key_len, uint32 val_len, key, value) * */
#define CDC_SCAN_END	'E'		/* nothing: all tables are read */
#define CDC_SCAN_ERROR	'X'		/* text */

#define CDC_SCAN_MAGIC	0x63646373
#define CDC_SCAN_QUEUE_SIZE (512 * 1024)

/* At the start of the segment that lane and scan worker share. */
typedef struct CdcScanHeader
{
	Oid			dboid;
	int64		job_id;
	CdcHlc		t0;
	bool		one_snapshot;	/* initial_scan='only': a state of one moment */
} CdcScanHeader;

/* Entry point of the scan worker. */
extern PGDLLEXPORT void cdc_scan_main(Datum arg);

#endif							/* CDC_SCAN_H */
