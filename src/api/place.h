/*-------------------------------------------------------------------------
 * place.h
 *		From the text behind INTO to a sink that the user may have.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_PLACE_H
#define CDC_PLACE_H

#include "postgres.h"

#include "catalog/options.h"
#include "catalog/uri.h"
#include "sink/sink.h"

/* Where a feed's messages are to go. */
typedef struct CdcPlace
{
	char	   *uri_text;		/* with secrets; what an external URI stands for */
	CdcUri	   *uri;			/* the same, parsed */
	const CdcSinkOps *ops;
	bool		external;		/* a foreign server's owner vouches for it */
} CdcPlace;

/*
 * Finds the sink for a URI, on behalf of the owner of the feed, and checks
 * all that can be known without asking it: rights, parameters, options.
 * Raises for what is wrong.  "is_new": the feed did not have this sink before,
 * so that cdc_sink.restrict_sinks counts.  Afterwards "options" has what the user mapping
 * of an external sink gives them, so store their text before.
 * Runs: backend, as the user who creates or alters the feed.
 */
extern CdcPlace *cdc_place_check(const char *sink, bool is_new, Oid owner,
								 CdcOptions *options);

/*
 * The same rights once more, those of the owner: of a job that somebody else
 * brings to life whose sink the owner may have named.  Raises 42501.
 */
extern void cdc_place_check_owner(const CdcPlace *place, Oid owner,
								  const CdcOptions *options);

#endif							/* CDC_PLACE_H */
