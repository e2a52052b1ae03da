/*-------------------------------------------------------------------------
 * token.h
 *		An access token that has to be fetched, and renewed before it expires,
 *		by requests that the store's dialect writes down.
 *
 * Nothing waits: who needs the token asks for it, goes without when there is
 * none yet, and is called when that has changed.
 *
 * Runs: lane and probe workers, main thread.  malloc'ed memory only.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_TOKEN_H
#define CDC_TOKEN_H

#include "postgres.h"

#include "sink/store.h"

typedef struct CdcToken CdcToken;

/*
 * changed(arg, error) is called when a fetch has ended; error is NULL when
 * there is a token now, else it says why there is none, without secrets.
 * NULL: no memory.
 */
extern CdcToken *cdc_token_create(CdcHttp *http, const CdcStoreConfig *config,
								  void (*changed) (void *arg, const char *error),
								  void *arg);

/*
 * The token; NULL: there is none, a fetch of it is under way or waits a little
 * after one that failed.
 */
extern const char *cdc_token_get(CdcToken *token);

/* The store does not take it any more. */
extern void cdc_token_reject(CdcToken *token);

/* Overwrites and frees it; its engine must be at its end. */
extern void cdc_token_free(CdcToken *token);

/* Replaces what stands in a text of the token, in place. */
extern void cdc_token_redact(const CdcToken *token, char *text);

#endif							/* CDC_TOKEN_H */
