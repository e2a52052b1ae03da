/*-------------------------------------------------------------------------
 * sweep.h
 *		Gives up the multipart uploads that earlier runs of the same feed left
 *		behind when they were killed: nobody sees them, but they are paid for.
 *
 * For stores whose requests for it are those of S3.  Ours are known by the
 * names of their objects, which hold the number of the job and its session;
 * the lower bits of that tell this job of this cluster.  Nobody else's upload
 * is touched.  Should another cluster's be hit in spite of all, its feed finds
 * that out and sends the rows again.
 *
 * Runs: lane worker, main thread; in the background of the sink's work.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SWEEP_H
#define CDC_SWEEP_H

#include "postgres.h"

#include "sink/http.h"
#include "sink/sink.h"

typedef struct CdcSweepRequest
{
	const char *name;			/* of an object, below the sink's path: DELETE;
								 * NULL: GET of the bucket itself */
	const char *query;			/* escaped, sorted by name */
	size_t		max_body;		/* of the answer; 0: CDC_HTTP_BODY_MAX */
	CdcHttpDone done;
	void	   *arg;
} CdcSweepRequest;

typedef struct CdcSweepOps
{
	/* May requests be made by now? */
	bool		(*ready) (CdcSink *sink);

	/* Starts one; everything in it is copied.  NULL: no memory. */
	CdcHttpCall *(*start) (CdcSink *sink, const CdcSweepRequest *request);
} CdcSweepOps;

typedef struct CdcSweep CdcSweep;

/*
 * "prefix" begins the names of all objects of the sink and stays, as do the
 * sink and "ops"; "session" is that of its store.  NULL: out of memory.
 */
extern CdcSweep *cdc_sweep_create(CdcSink *sink, const CdcSweepOps *ops,
								  const char *prefix, uint64 session);

/* Does the next step if it is time; cheap when there is nothing to do. */
extern void cdc_sweep_run(CdcSweep *sweep);

/* NULL is fine; no request of its own may be under way any more. */
extern void cdc_sweep_free(CdcSweep *sweep);

#endif							/* CDC_SWEEP_H */
