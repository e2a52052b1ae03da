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
#include "sink/store.h"

typedef struct CdcS3Config
{
	CdcStoreConfig base;		/* without dialect, token and secrets */
	char	   *bucket;
	char	   *region;
	CdcAwsSource *source;		/* of the key */
	char	   *enc_mode;		/* these three: NULL: none */
	char	   *kms_id;
	char	   *storage_class;
	bool		sign_bodies;
	bool		checksums;		/* with bodies that are objects as a whole */
} CdcS3Config;

/*
 * Reads URI and environment, palloc'ed in the current context.  Raises 22023
 * for what is wrong, 42501 or 0A000 for what may not or cannot be had.
 */
extern CdcS3Config *cdc_s3_config(const CdcUri *uri);

/*
 * What of it is for superusers only, in the words of an error, and what to
 * do; NULL: nothing.  Raises 22023.
 */
extern const char *cdc_s3_forbidden(const CdcUri *uri, const char **hint);

/* Overwrites the secrets. */
extern void cdc_s3_wipe(CdcS3Config *config);

#endif							/* CDC_S3_CONFIG_H */
