/*-------------------------------------------------------------------------
 * webhook.h
 *		What the URI and the options of a webhook feed say.
 *
 * Runs: backend (check) and workers.  Raises ERRORs, none of which shows the
 * value of a secret option.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_WEBHOOK_H
#define CDC_WEBHOOK_H

#include "postgres.h"

#include "catalog/options.h"
#include "catalog/uri.h"
#include "sink/compress.h"

/* All strings are palloc'ed. */
typedef struct CdcWebhookConfig
{
	char	   *url;			/* of requests */
	bool		secure;			/* https */
	char	   *ca;				/* PEM or NULL */
	char	   *cert;
	char	   *key;
	bool		insecure;
	char	  **headers;		/* "Name: value", NULL-terminated: all but
								 * those that depend on the body */
	char	  **secrets;		/* what must not be shown, NULL-terminated */

	CdcCompression compression;
	int			timeout_ms;
	int			backoff_ms;		/* first pause between two tries */

	/* Flush; all 0: a message does not wait for others. */
	int64		messages;
	int64		bytes;
	int64		frequency_ms;
} CdcWebhookConfig;

/* Reads it all; raises 22023. */
extern CdcWebhookConfig *cdc_webhook_config(const CdcUri *uri,
											const CdcOptions *options);

#endif							/* CDC_WEBHOOK_H */
