/*-------------------------------------------------------------------------
 * aws_request.h
 *		One signed request to a service that checks AWS Signature Version 4.
 *
 * Runs: lane and probe workers, main thread.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_AWS_REQUEST_H
#define CDC_AWS_REQUEST_H

#include "postgres.h"

#include "sink/http.h"
#include "sink/sigv4.h"

typedef struct CdcAwsKey
{
	char	   *access_key;
	char	   *secret_key;
	char	   *session_token;	/* NULL: none */
} CdcAwsKey;

typedef struct CdcAwsRequest
{
	const char *method;
	bool		https;
	const char *host;			/* with its port unless default */
	const char *path;			/* escaped */
	const char *query;			/* escaped, sorted by name; "": none */
	const char *service;		/* "s3" */
	const char *region;
	const CdcAwsKey *key;
	CdcSigv4Header headers[6];	/* further ones to sign, those without a value
								 * are left out */
	const char *content_type;	/* NULL: none */
	bool		sign_body;		/* else it is protected by TLS only */
	CdcHttpRequest http;		/* slices, limits, done ...; method, URL and
								 * headers are filled in */
} CdcAwsRequest;

/*
 * Starts it.  The bytes of the slices have to stay, everything else is
 * copied.  NULL: no memory.
 */
extern CdcHttpCall *cdc_aws_start(CdcHttp *http, const CdcAwsRequest *request);

/*
 * Text between <name> and the next tag, at or behind "from"; NULL: there is
 * none, or it is empty.
 */
extern const char *cdc_aws_element(const char *from, const char *name, size_t *len);

/* "AccessDenied (HTTP status 403): message", or why there was no answer. */
extern void cdc_aws_explain(CdcHttp *http, const CdcHttpReply *reply,
							char *dst, size_t size);

#endif							/* CDC_AWS_REQUEST_H */
