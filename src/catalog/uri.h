/*-------------------------------------------------------------------------
 * uri.h
 *		The URI behind INTO: parsing, parameters, redaction.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_URI_H
#define CDC_URI_H

#include "postgres.h"

#include "nodes/pg_list.h"

/* Far more than any sink needs; a bundle of certificates fits. */
#define CDC_MAX_URI		(256 * 1024)

/* Stands in the place of a secret, wherever one is shown or told. */
#define CDC_REDACTED	"redacted"

typedef struct CdcUriParam
{
	char	   *name;			/* percent-decoded, case kept */
	char	   *value;			/* percent-decoded, "" if none was given */
	bool		suspect;		/* may be part of a secret with a bare "&":
								 * its name is not to be shown */
} CdcUriParam;

typedef struct CdcUri
{
	char	   *scheme;			/* lower case */
	char	   *user;			/* percent-decoded, NULL if none */
	char	   *password;		/* percent-decoded, NULL if none */
	char	   *hosts;			/* authority without user info, "" if none:
								 * "h1:9092,h2:9092" */
	char	   *path;			/* percent-decoded, with its leading slash, ""
								 * if none */
	List	   *params;			/* CdcUriParam in the order written */
} CdcUri;

/* Parses; palloc'ed in the current context.  Raises 22023. */
extern CdcUri *cdc_uri_parse(const char *text);

/*
 * The text that gives the same URI, with its secrets.  May be longer than
 * what cdc_uri_parse() takes.
 */
extern char *cdc_uri_print(const CdcUri *uri);

/*
 * Is it the name of a parameter that holds a secret, or sounds like one?  The
 * second takes it as it stands in a text, with escapes.
 */
extern bool cdc_uri_is_secret(const char *name);
extern bool cdc_uri_is_secret_name(const char *name, size_t len);

/*
 * Resolves escapes; palloc'ed.  NULL if one is malformed or stands for a zero
 * byte.
 */
extern char *cdc_uri_try_decode(const char *text, size_t len, bool plus_is_space);

/* Value of a parameter, or NULL.  Raises 22023 if it stands twice. */
extern const char *cdc_uri_param(const CdcUri *uri, const char *name);

/* Boolean parameter; raises "param <x> must be a bool". */
extern bool cdc_uri_bool(const CdcUri *uri, const char *name, bool dflt);

/* Base64 parameter decoded, NULL if absent; raises if it is not base64. */
extern char *cdc_uri_base64(const CdcUri *uri, const char *name, int *len);

/*
 * Raises "unknown <sink> query parameters: [x, y]" (22023) with a hint that
 * lists the known ones, if the URI has a parameter that is not in the
 * NULL-terminated list.
 */
extern void cdc_uri_require_known(const CdcUri *uri, const char *sink,
								  const char *const *known);

/*
 * The text with the values of secret parameters and the password replaced by
 * "redacted"; works on any text, also on one that does not parse.
 */
extern char *cdc_uri_redact(const char *text);

/*
 * For a statement, in which URIs stand between single quotes: what follows
 * the quote is kept, and all parameters are hidden.
 */
extern char *cdc_uri_redact_statement(const char *text);

#endif							/* CDC_URI_H */
