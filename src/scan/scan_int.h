/*-------------------------------------------------------------------------
 * scan_int.h
 *		Shared by the files of scan/ that run in a lane.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SCAN_INT_H
#define CDC_SCAN_INT_H

#include "postgres.h"

#include "base/shmem.h"
#include "feed/feed.h"
#include "postmaster/bgworker.h"
#include "scan/keys.h"
#include "scan/scan.h"
#include "storage/dsm.h"
#include "storage/shm_mq.h"

/* A worker that could not be registered is tried again after this. */
#define CDC_SCAN_RETRY_MS	1000

struct CdcScan
{
	CdcScan    *next;			/* of the next commit that calls for one */
	const char *what;
	bool		initial;
	int			version;		/* of the definition its rows are encoded by */
	XLogRecPtr	lsn;			/* end of C: later events are recorded */
	XLogRecPtr	hold_lsn;		/* durable position until the end */
	CdcHlc		hold_hlc;
	CdcHlc		t0;
	CdcKeySet  *keys;			/* NULL: empty */

	CdcScanItem *items;
	int			nitems;
	bool	   *dropped;		/* rows of this item are not wanted any more */
	int			map_version;	/* definition that the map is for, -1: none */
	int			map_targets;	/* how many it had then */
	int		   *map;			/* from its targets to the number in the set of
								 * keys, -1: not in this scan */

	/* Decoded before C and perhaps not visible yet. */
	TransactionId *unsettled;
	int			nunsettled;
	bool		looked;			/* note_hanging_commits() was called */

	BackgroundWorkerHandle *handle; /* NULL: no worker */
	dsm_segment *seg;
	shm_mq_handle *queue;
	TimestampTz start_at;		/* not before */

	int			item;			/* of the current chunk */
	XLogRecPtr	l_hi;			/* hand over when decoded up to here */
	bool		read_all;		/* worker has sent everything */
	bool		acked;			/* and the sink has it; see cdc_scan_over() */
	CdcHlc		recorded;		/* stamp of the newest event recorded */
	char	   *pending;		/* rows received and not yet handed over */
	Size		pending_len;
	Size		pending_off;
	uint64		stalled_rows;
	TimestampTz stalled_since;	/* rows wait for room; 0: they do not */
	char		status[CDC_STATUS_SIZE];
};

/* Have all transactions become visible that were decoded before C? */
extern bool cdc_scan_settled(CdcFeed *feed, CdcScan *scan);

/* Was an event of this key emitted since C? */
extern bool cdc_scan_has_key(const CdcFeed *feed, CdcScan *scan, int target,
							 const char *key, size_t len);

/* Lets the worker go, whatever it is doing. */
extern void cdc_scan_drop_worker(CdcScan *scan);

/* Is nothing of it wanted any more? */
extern bool cdc_scan_all_dropped(const CdcScan *scan);

/* The feed's target that an item's rows belong to, -1: it has gone. */
extern int	cdc_scan_item_target(const CdcFeed *feed, const CdcScan *scan,
								 int item);

#endif							/* CDC_SCAN_INT_H */
