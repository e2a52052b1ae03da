/*-------------------------------------------------------------------------
 * s3_sweep.h
 *		Gives up the multipart uploads that earlier runs of the same feed left
 *		behind when they were killed: nobody sees them, but they are paid for.
 *
 * Ours are known by the names of their objects, which hold the number of the
 * job and its session; the lower bits of that tell this job of this cluster.
 * Nobody else's upload is touched.  Should another cluster's be hit in spite
 * of all, its feed finds that out and sends the rows again.
 *
 * Runs: lane worker, main thread; in the background of the sink's work.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_S3_SWEEP_H
#define CDC_S3_SWEEP_H

#include "postgres.h"

#include "sink/http.h"
#include "sink/objstore.h"
#include "sink/s3_config.h"

typedef struct CdcS3Sweep CdcS3Sweep;

/* All of these have to stay.  NULL: out of memory. */
extern CdcS3Sweep *cdc_s3_sweep_create(CdcHttp *http, const CdcS3Config *config,
									   CdcAwsCreds *creds,
									   const CdcObjStore *store, int64 job_id);

/* Does the next step if it is time; cheap when there is nothing to do. */
extern void cdc_s3_sweep_run(CdcS3Sweep *sweep);

/* NULL is fine; no request of its own may be under way any more. */
extern void cdc_s3_sweep_free(CdcS3Sweep *sweep);

#endif							/* CDC_S3_SWEEP_H */
