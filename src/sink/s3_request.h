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

#include "sink/aws_request.h"
#include "sink/http.h"
#include "sink/s3_config.h"

typedef struct CdcS3Request
{
	const char *method;
	const char *name;			/* of the object, below the sink's path; NULL:
								 * the bucket itself */
	const char *query;			/* escaped, sorted by name; NULL: none */
	bool		creates;		/* an object: its class and encryption are told */
	bool		held;			/* see http.h */
	bool		last_will;
	const CdcHttpSlice *slices; /* body */
	int			nslices;
	size_t		max_body;		/* of the answer; 0: CDC_HTTP_BODY_MAX */
	CdcHttpDone done;
	void	   *arg;
} CdcS3Request;

/*
 * Starts a signed request.  The bytes of the slices have to stay, everything
 * else is copied.  NULL: no memory.
 */
extern CdcHttpCall *cdc_s3_start(CdcHttp *http, const CdcS3Config *config,
								 const CdcAwsKey *key,
								 const CdcS3Request *request);

/*
 * "bucket "b" at host: NoSuchBucket (HTTP 404): The specified ...", in one line
 * of ASCII without secrets.
 */
extern void cdc_s3_explain(CdcHttp *http, const CdcS3Config *config,
						   const CdcHttpReply *reply, char *dst, size_t size);

#endif							/* CDC_S3_REQUEST_H */
