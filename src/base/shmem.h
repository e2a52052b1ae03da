/*-------------------------------------------------------------------------
 * shmem.h
 *		What launcher, workers and backends share: one entry per lane
 *		(database) and one per live feed.
 *
 * Everything but the atomics is guarded by CdcShared->lock (an LWLock, held
 * for a few instructions only, never while waiting or touching tables).
 * Latches are reached through proc numbers under that lock, so that a latch
 * of a process that has left is never set.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SHMEM_H
#define CDC_SHMEM_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "base/hlc.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#define CDC_ERROR_SIZE		512
#define CDC_STATUS_SIZE		256

typedef enum CdcLaneState
{
	CDC_LANE_NONE,				/* no worker */
	CDC_LANE_SETUP,				/* setup worker makes the slot */
	CDC_LANE_STARTING,			/* lane worker registered */
	CDC_LANE_RUNNING,			/* slot acquired, decoding: exact starts */
	CDC_LANE_CLOSED,			/* dropped its slot and is leaving */
} CdcLaneState;

/*
 * A backend that creates a feed with a cursor: the slot must not move past
 * "lsn" until the lane has decoded that creation.
 */
typedef struct CdcCursorHold
{
	XLogRecPtr	lsn;			/* 0: free */
	XLogRecPtr	until;			/* let go behind this, 0: not committed yet */
} CdcCursorHold;

#define CDC_MAX_CURSOR_HOLDS	16

typedef struct CdcLaneShared
{
	bool		used;
	Oid			dboid;
	CdcLaneState state;
	bool		wanted;			/* somebody asked for a lane: make the slot
								 * if there is none */
	bool		sweep;			/* look once whether there is work */
	pid_t		pid;			/* of the lane or setup worker, 0: none */
	Latch	   *latch;			/* of the lane worker, NULL: none */
	int			failures;		/* in a row, for the launcher's back-off */
	TimestampTz not_before;		/* launcher: no restart before */
	TimestampTz aside_until;	/* likewise: DROP DATABASE wants it away */
	char		error[CDC_ERROR_SIZE];	/* why the last worker could not do
										 * its work, "" if it could */

	/* The commit callback reads these without the lock. */
	pg_atomic_uint32 sleeping;	/* lane waits on its latch for WAL */
	pg_atomic_uint32 requests;	/* bumped by pause, resume, cancel, create */

	/*
	 * The change whose encoding ended the last worker with an ERROR: all up
	 * to it are guarded when they come again.
	 */
	XLogRecPtr	poison_lsn;		/* end of its transaction, 0: none */
	uint64		poison_change;	/* its number in there */

	/* Told by the lane now and then, for status views. */
	XLogRecPtr	decoded_lsn;
	XLogRecPtr	confirmed_lsn;

	/* How far back a cursor may be; goes with confirmed_lsn. */
	CdcHlc		oldest_cursor;
	CdcCursorHold holds[CDC_MAX_CURSOR_HOLDS];
} CdcLaneShared;

typedef struct CdcFeedShared
{
	int64		job_id;			/* 0: free */
	Oid			dboid;
	uint64		messages;		/* rows acknowledged by the sink */
	uint64		bytes;
	uint64		resolved_messages;
	uint64		retries;
	uint64		dead_letters;
	uint64		scanned_rows;	/* sent by the initial scan */
	int64		queued_bytes;	/* encoded, not yet acknowledged */
	XLogRecPtr	acked_lsn;		/* everything up to here is at the sink */
	CdcHlc		acked_hlc;
	TimestampTz acked_time;		/* commit time that goes with acked_lsn */
	TimestampTz last_message;
	TimestampTz last_error_time;
	char		last_error[CDC_ERROR_SIZE];
	bool		in_trouble;		/* last_error is of now */
	bool		stop_requested; /* pause or cancel: send nothing more */
	bool		stopped;		/* nothing more is sent */
	bool		scanning;		/* a scan is under way */
	char		running_status[CDC_STATUS_SIZE];
} CdcFeedShared;

typedef struct CdcShared
{
	LWLock	   *lock;
	Latch	   *launcher_latch;
	pid_t		launcher_pid;
	bool		launcher_started;	/* since shared memory was made */
	int			nlanes;
	int			nfeeds;
	CdcFeedShared *feeds;		/* nfeeds entries behind the lanes */
	CdcLaneShared lanes[FLEXIBLE_ARRAY_MEMBER];
} CdcShared;

/* NULL unless the library is in shared_preload_libraries. */
extern CdcShared *cdc_shared;

extern void cdc_shmem_init(void);	/* from _PG_init while preloading */

/*
 * Entry of a database; makes one when "create".  NULL when there is none or
 * no room (cdc_sink.max_lanes).  The caller holds cdc_shared->lock
 * (exclusively to create).
 */
extern CdcLaneShared *cdc_shmem_lane(Oid dboid, bool create);

/* Entry of a feed; likewise. */
extern CdcFeedShared *cdc_shmem_feed(int64 job_id, Oid dboid, bool create);
extern void cdc_shmem_forget_feed(int64 job_id, Oid dboid);

/* Bumps the lane's request counter and wakes it (and the launcher). */
extern void cdc_wake_lane(Oid dboid);

/*
 * At commit of the current transaction: the lane sends nothing more for this
 * job, also in the middle of decoding a transaction.  The job's row says what
 * it is to become.
 */
extern void cdc_stop_feed_at_commit(int64 job_id);

/* Has somebody asked for that?  Takes the lock. */
extern bool cdc_feed_stop_requested(int64 job_id, Oid dboid);

/*
 * Until the lane has decoded the current transaction, should it commit, its
 * slot does not move past where it stands now.  False: no entry is free.
 * *lsn and *oldest are how far back a cursor may be.
 */
extern bool cdc_hold_history(XLogRecPtr *lsn, CdcHlc *oldest);

/* What the lane may confirm at most; the caller holds the lock. */
extern XLogRecPtr cdc_history_held(CdcLaneShared *lane, XLogRecPtr decoded);

/* The same at commit of the current transaction (once). */
extern void cdc_wake_lane_at_commit(void);

#endif							/* CDC_SHMEM_H */
