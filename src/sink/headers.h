/*-------------------------------------------------------------------------
 * headers.h
 *		The option extra_headers: constant headers of messages and requests.
 *
 * Runs: backends and workers.  Pure computation; raises ERRORs, none of
 * which shows a value.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HEADERS_H
#define CDC_HEADERS_H

#include "postgres.h"

#include "nodes/pg_list.h"

/* All names and values together, and how many there may be. */
#define CDC_HEADERS_BYTES	16384
#define CDC_HEADERS_MAX		64

typedef struct CdcHeader
{
	char	   *name;			/* not empty */
	char	   *value;
} CdcHeader;

/*
 * Reads a JSON object of strings: a list of CdcHeader, palloc'ed, NIL for
 * NULL.  Raises 22023.
 */
extern List *cdc_headers_parse(const char *json);

#endif							/* CDC_HEADERS_H */
