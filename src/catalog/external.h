/*-------------------------------------------------------------------------
 * external.h
 *		Sinks of the form external://server: foreign servers and their user
 *		mappings.
 *
 * The server's option "uri" says where the sink is, its other options are
 * parameters of that URI; secrets stand in the user mapping.  The table of
 * options is in server_option.c.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_EXTERNAL_H
#define CDC_EXTERNAL_H

#include "postgres.h"

#include "catalog/uri.h"
#include "nodes/pg_list.h"

/* Name of the foreign-data wrapper, and scheme of the URIs. */
#define CDC_FDW_NAME		"cdc_sink"
#define CDC_EXTERNAL_SCHEME	"external"

/* Where an option may stand. */
#define CDC_IN_SERVER		0x01
#define CDC_IN_MAPPING		0x02
#define CDC_PER_FEED		0x04	/* also as parameter of external:// */

typedef struct CdcServerOption
{
	const char *param;			/* of the URI; its name in lower case is the
								 * option's, also without "aws_" or the like */
	int			where;
	bool		of_feed;		/* an option of the feed, not of its URI */
} CdcServerOption;

/* NULL: there is none. */
extern const CdcServerOption *cdc_server_option_find(const char *name);
extern const CdcServerOption *cdc_server_option_of_param(const char *param);

/* Name under which an option is shown, palloc'ed. */
extern char *cdc_server_option_name(const CdcServerOption *option);

/* Parameters that may stand behind external://, NULL-terminated. */
extern const char *const *cdc_server_option_per_feed(void);

/*
 * Validates the options (DefElem) of a server (CDC_IN_SERVER) or a user
 * mapping (CDC_IN_MAPPING), or of what takes none (0).  Raises HV00D, or
 * 22023, with a hint; never shows a value.
 */
extern void cdc_server_options_check(List *options, int where);

/* What a URI of the form external://server stands for. */
typedef struct CdcExternal
{
	char	   *uri;			/* with its secrets */
	int			nsecrets;
	char	  **secrets;		/* options of the feed as "name=value" */
	Oid			responsible;	/* owner of the server: his rights decide what
								 * the server may lead to */
} CdcExternal;

/* Why it stands for nothing. */
typedef struct CdcExternalError
{
	int			code;			/* SQLSTATE */
	char	   *message;		/* these three hold no secret */
	char	   *hint;			/* or NULL */
} CdcExternalError;

extern bool cdc_uri_is_external(const CdcUri *uri);

/*
 * Resolves for a user, palloc'ed in the current context.  NULL with *error
 * filled in if there is no such server, or the user may not use it.  Raises
 * 22023 for a URI that is malformed by itself.  Needs a transaction, reads
 * system caches only.
 */
extern CdcExternal *cdc_external_resolve(const CdcUri *uri, Oid user,
										 CdcExternalError *error);

#endif							/* CDC_EXTERNAL_H */
