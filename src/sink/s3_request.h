/*-------------------------------------------------------------------------
 * s3_request.h
 *		One signed request to an S3 store, and what its answer says.
 *
 * Runs: lane and probe workers, main thread.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_S3_REQUEST_H
#define CDC_S3_REQUEST_H

#include "postgres.h"

#include "sink/http.h"
#include "sink/s3_config.h"

/*
 * Starts a request for the object of that name below the sink's path.
 * The bytes of the slices have to stay, the array does not.  NULL: no memory.
 */
extern CdcHttpCall *cdc_s3_start(CdcHttp *http, const CdcS3Config *config,
								 const char *method, const char *name,
								 const CdcHttpSlice *slices, int nslices,
								 CdcHttpDone done, void *arg);

/* Did the store do as it was asked? */
extern bool cdc_s3_succeeded(const CdcHttpReply *reply);

/*
 * "bucket "b" at host: NoSuchBucket (HTTP 404): The specified ...", in one line
 * of ASCII without secrets.
 */
extern void cdc_s3_explain(CdcHttp *http, const CdcS3Config *config,
						   const CdcHttpReply *reply, char *dst, size_t size);

#endif							/* CDC_S3_REQUEST_H */
