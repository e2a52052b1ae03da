/*-------------------------------------------------------------------------
 * s3_config.h
 *		Where an S3 sink writes and with whose key: its URI, checked.
 *
 * Runs: backends, lane and probe workers, main thread.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_S3_CONFIG_H
#define CDC_S3_CONFIG_H

#include "postgres.h"

#include "sink/aws_creds.h"
#include "sink/objstore.h"

/* Longest key of an object. */
#define CDC_S3_KEY_MAX		1024

typedef struct CdcS3Config
{
	bool		https;
	char	   *host;			/* lower case, with its port unless default */
	char	   *base;			/* escaped path of the bucket: "" or "/bucket" */
	char	   *bucket;
	char	   *prefix;			/* of all keys, "" or with a slash at its end */
	char	   *region;
	CdcAwsSource *source;		/* of the key */
	char	   *enc_mode;		/* these three: NULL: none */
	char	   *kms_id;
	char	   *storage_class;
	bool		sign_bodies;
	char	   *ca;				/* PEM; NULL: the system's authorities */
	bool		insecure;		/* any certificate will do */
} CdcS3Config;

/*
 * Reads URI and environment, palloc'ed in the current context.  Raises 22023
 * for what is wrong, 42501 or 0A000 for what may not or cannot be had.
 */
extern CdcS3Config *cdc_s3_config(const CdcUri *uri);

/*
 * Raises 42501 if the current user may not have it.  Runs: backend, before
 * cdc_s3_config().
 */
extern void cdc_s3_check_access(const CdcUri *uri);

/*
 * What of it is for superusers only, in the words of an error, and what to
 * do; NULL: nothing.  Raises 22023.
 */
extern const char *cdc_s3_forbidden(const CdcUri *uri, const char **hint);

/* Overwrites the secrets. */
extern void cdc_s3_wipe(CdcS3Config *config);

#endif							/* CDC_S3_CONFIG_H */
