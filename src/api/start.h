/*-------------------------------------------------------------------------
 * start.h
 *		Asking for the lane on behalf of changefeed_create().
 *-------------------------------------------------------------------------
 */
#ifndef CDC_START_H
#define CDC_START_H

#include "postgres.h"

#include "base/shmem.h"
#include "catalog/job.h"
#include "catalog/moment.h"

/*
 * Raises 55000 (or what fits) unless this server can have changefeeds:
 * library preloaded, primary, wal_level.
 */
extern void cdc_start_check_server(void);

/*
 * Makes sure that the database has a lane, so that a definition that commits
 * from now on is decoded at its exact place; takes the lock that keeps the
 * lane from closing and keeps it to the end of the transaction.  Waits up to
 * cdc_sink.start_timeout, interruptibly.
 *
 * True: the start is exact.  False (only if "later_is_fine", that is with an
 * initial scan): the lane comes later; a NOTICE has told why.  Raises if
 * there can be no lane.
 */
extern bool cdc_start_request(bool later_is_fine);

/*
 * Raises 22023 if the changes behind a cursor are not there any more, else
 * keeps them until the lane has seen the transaction at hand.  After
 * cdc_start_request() has found the lane ready.
 */
extern void cdc_start_cursor(const CdcMoment *cursor, const CdcDefinition *def);

/*
 * Does a worker have this database's changefeeds, or is one about to?  If
 * not, requests can be completed at once.
 */
extern bool cdc_start_lane_lives(void);

/*
 * What keeps a setup worker from making the slot, for messages: "the
 * transaction of process 123 (database "x")"; NULL if it is not known.
 */
extern char *cdc_start_describe_blocker(CdcLaneState state, pid_t worker);

#endif							/* CDC_START_H */
