/*-------------------------------------------------------------------------
 * multipart.h
 *		Multipart uploads in the language that S3 and Google Cloud Storage
 *		share: begun by POST ?uploads, parts by PUT ?partNumber=n&uploadId=id,
 *		completed by POST ?uploadId=id with a list of the parts' tags.
 *
 * Runs: lane worker, main thread.  Never raises an ERROR.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_MULTIPART_H
#define CDC_MULTIPART_H

#include "postgres.h"

#include "sink/upload.h"

#define CDC_MULTIPART_MIN_PART		(5 * 1024 * 1024)
#define CDC_MULTIPART_MAX_PARTS		10000

/* Longest id of an upload, and room for "partNumber=n&uploadId=id". */
#define CDC_MULTIPART_MAX_ID		2048
#define CDC_MULTIPART_QUERY_SIZE	(CDC_MULTIPART_MAX_ID * 3 + 64)

/*
 * The query of a request, sorted and escaped, "" if it has none.  False: it
 * does not fit.
 */
extern bool cdc_multipart_query(const CdcUpload *upload, CdcUploadStep step,
								const CdcObjPart *part, char *dst);

/* Body of a COMMIT, malloc'ed.  NULL: no memory. */
extern char *cdc_multipart_list(const CdcObject *object);

/* What an answer means, to all steps but PUT. */
extern CdcUploadVerdict cdc_multipart_judge(const CdcUploadRequest *request,
											const CdcHttpReply *reply);

#endif							/* CDC_MULTIPART_H */
