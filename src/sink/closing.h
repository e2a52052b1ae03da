/*-------------------------------------------------------------------------
 * closing.h
 *		Book of the sinks that are closed but whose thread has not ended yet.
 *
 * A sink leaves a malloc'ed struct behind whose first member is CdcClosing;
 * its thread says when it has ended; the main thread frees it later.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_CLOSING_H
#define CDC_CLOSING_H

#include "postgres.h"

#include "lib/ilist.h"

typedef struct CdcClosing CdcClosing;

struct CdcClosing
{
	dlist_node	node;
	int64		job_id;
	void		(*reap) (CdcClosing *closing);	/* frees it all; main thread */
	bool		ended;			/* atomic */
};

/* From close(): the sink is in the book until its thread has ended. */
extern void cdc_closing_begin(CdcClosing *closing, int64 job_id,
							  void (*reap) (CdcClosing *closing));

/* The thread's last act; any thread. */
extern void cdc_closing_end(CdcClosing *closing);

/*
 * Frees what has ended and tells how many are left, of one job or (job_id 0)
 * of all.
 */
extern int	cdc_closing_count(int64 job_id);

#endif							/* CDC_CLOSING_H */
