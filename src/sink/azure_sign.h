/*-------------------------------------------------------------------------
 * azure_sign.h
 *		Azure Storage's "Shared Key" signature of one request (the form of
 *		service version 2015-02-21 and later).
 *
 * Runs: anywhere, any thread.  Nothing of the server is called.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_AZURE_SIGN_H
#define CDC_AZURE_SIGN_H

#include "postgres.h"

#include <time.h>

#define CDC_AZURE_DATE_SIZE		30	/* "Fri, 26 Jun 2015 23:39:12 GMT" */
#define CDC_AZURE_MAX_PAIRS		16

typedef struct CdcAzurePair
{
	const char *name;			/* lower case */
	const char *value;
} CdcAzurePair;

typedef struct CdcAzureRequest
{
	const char *method;
	uint64		content_length;
	const char *content_type;	/* these two: "" if there is none */
	const char *if_none_match;
	const CdcAzurePair *headers;	/* all that begin with x-ms-, any order */
	int			nheaders;		/* at most CDC_AZURE_MAX_PAIRS */
	const char *account;
	const char *path;			/* of the URL, escaped as it is sent */
	const CdcAzurePair *query;	/* not escaped, any order */
	int			nquery;			/* at most CDC_AZURE_MAX_PAIRS */
} CdcAzureRequest;

/* The text for "x-ms-date". */
extern void cdc_azure_date(char *dst, time_t now);

/* The text that is signed.  False: does not fit, or too many pairs. */
extern bool cdc_azure_string_to_sign(const CdcAzureRequest *req,
									 char *dst, size_t size);

/*
 * Writes "SharedKey account:signature".  False: does not fit, too many pairs,
 * or OpenSSL refuses.
 */
extern bool cdc_azure_authorize(const CdcAzureRequest *req,
								const unsigned char *key, size_t key_len,
								char *dst, size_t size);

#endif							/* CDC_AZURE_SIGN_H */
