/*-------------------------------------------------------------------------
 * sigv4.h
 *		AWS Signature Version 4 of one request, in the Authorization header.
 *
 * Own code and not libcurl's, whose versions differ in what they do
 * with escapes, query strings and further headers.
 *
 * Runs: anywhere, any thread.  Nothing of the server is called.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SIGV4_H
#define CDC_SIGV4_H

#include "postgres.h"

#include <time.h>

#define CDC_SIGV4_DATE_SIZE		17	/* "20130524T000000Z" */
#define CDC_SHA256_HEX_SIZE		65
#define CDC_SIGV4_MAX_HEADERS	16

typedef struct CdcSigv4Header
{
	const char *name;			/* lower case */
	const char *value;			/* without blanks at its ends */
} CdcSigv4Header;

typedef struct CdcSigv4Request
{
	const char *method;
	const char *path;			/* escaped as cdc_sigv4_escape() does */
	const char *query;			/* escaped and sorted by name, "" if none */
	const CdcSigv4Header *headers;	/* all to be signed, "host" and
									 * "x-amz-date" among them, any order */
	int			nheaders;		/* at most CDC_SIGV4_MAX_HEADERS */
	const char *payload_hash;	/* hexadecimal, or "UNSIGNED-PAYLOAD" */
	const char *date;			/* as in "x-amz-date" */
	const char *access_key;
	const char *secret_key;
	const char *region;
	const char *service;
} CdcSigv4Request;

/* The text for "x-amz-date". */
extern void cdc_sigv4_date(char *dst, time_t now);

/*
 * Escapes all but letters, digits and "-_.~" (and "/" if keep_slash), with a
 * terminating zero.  False: does not fit.
 */
extern bool cdc_sigv4_escape(char *dst, size_t size, const char *text,
							 bool keep_slash);

/* 64 digits and a zero. */
extern void cdc_sigv4_hex(char *dst, const unsigned char *sha256);

/*
 * Writes the value of the Authorization header.  False: does not fit, too
 * many headers, or OpenSSL refuses.
 */
extern bool cdc_sigv4_authorize(const CdcSigv4Request *req,
								char *dst, size_t size);

#endif							/* CDC_SIGV4_H */
