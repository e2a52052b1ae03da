/*-------------------------------------------------------------------------
 * aws_creds.h
 *		Whose key signs requests to AWS: one that was given, that of the
 *		container or instance the server runs in, or one got by assuming roles.
 *
 * What has to be fetched is fetched by requests of the sink's own HTTP engine,
 * so nothing waits for it, and anew some minutes before it expires; until then
 * the former key serves.
 *
 * Runs: source: backends and workers; the rest: lane and probe workers, main
 * thread.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_AWS_CREDS_H
#define CDC_AWS_CREDS_H

#include "postgres.h"

#include "catalog/uri.h"
#include "sink/aws_request.h"
#include "sink/http.h"

#define CDC_AWS_MAX_ROLES	8

/* URI parameters that are about it. */
#define CDC_AWS_PARAM_NAMES \
	"AUTH", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", \
	"ASSUME_ROLE", "AWS_STS_ENDPOINT"

typedef enum CdcAwsKeySource
{
	CDC_AWS_GIVEN,				/* in the URI or the environment */
	CDC_AWS_WEB_IDENTITY,		/* a token in a file, for a role */
	CDC_AWS_CONTAINER,
	CDC_AWS_INSTANCE,
} CdcAwsKeySource;

typedef struct CdcAwsRole
{
	char	   *arn;
	char	   *external_id;	/* NULL: none */
} CdcAwsRole;

typedef struct CdcAwsSource
{
	CdcAwsKeySource kind;
	CdcAwsKey	key;			/* GIVEN */
	char	   *url;			/* CONTAINER: of the key; INSTANCE: of the
								 * service, without a slash at its end */
	char	   *token;			/* CONTAINER: Authorization, or NULL */
	char	   *token_file;		/* CONTAINER, WEB_IDENTITY, or NULL */
	char	   *role_arn;		/* WEB_IDENTITY */
	char	   *role_session;
	bool		sts_https;
	char	   *sts_host;
	char	   *region;
	CdcAwsRole	roles[CDC_AWS_MAX_ROLES];	/* one after the other */
	int			nroles;
} CdcAwsSource;

/*
 * What URI and environment say, palloc'ed.  Raises 22023 for what is wrong,
 * 42501 for an endpoint that is not allowed.  No I/O.
 */
extern CdcAwsSource *cdc_aws_source(const CdcUri *uri, const char *region);

/* Overwrites the secrets. */
extern void cdc_aws_source_wipe(CdcAwsSource *source);

typedef struct CdcAwsCreds CdcAwsCreds;

/* Engine and source have to stay.  NULL: out of memory. */
extern CdcAwsCreds *cdc_aws_creds_create(CdcHttp *http, const CdcAwsSource *source);

/*
 * Fetches the key if that is due.  True: there is one that holds, and it may
 * be used until this is called again.
 */
extern bool cdc_aws_creds_ready(CdcAwsCreds *creds);

/* The key; only if it is ready. */
extern const CdcAwsKey *cdc_aws_creds_key(const CdcAwsCreds *creds);

/* Why there is none, without secrets; "": it is on its way. */
extern const char *cdc_aws_creds_error(const CdcAwsCreds *creds);

/* Counts what went wrong. */
extern uint64 cdc_aws_creds_failures(const CdcAwsCreds *creds);

/* A service did not take the key: if it was fetched, it is fetched anew. */
extern void cdc_aws_creds_reject(CdcAwsCreds *creds);

/* NULL is fine; no request of its own may be under way any more. */
extern void cdc_aws_creds_free(CdcAwsCreds *creds);

#endif							/* CDC_AWS_CREDS_H */
