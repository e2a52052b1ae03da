/*-------------------------------------------------------------------------
 * connect.h
 *		Schemas in the manner of Kafka Connect, as JSON text.
 *
 * A node is an object with the members field (its name in a struct), fields
 * (of a struct), items (type of an array's elements), name, optional,
 * parameters and type.
 *
 * Runs: as encode.h, when an encoder is made.  Reads catalogs.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_CONNECT_H
#define CDC_CONNECT_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "encode/datum.h"
#include "lib/stringinfo.h"

/*
 * Appends a struct with a node for each of the fields, which are columns of
 * desc.  field: its name in the struct around it, NULL: none.
 */
extern void cdc_connect_row(StringInfo out, TupleDesc desc,
							const CdcFields *fields, const char *field,
							const char *name, bool optional);

/* Appends the opening and the closing of a struct whose nodes are written between. */
extern void cdc_connect_open(StringInfo out, const char *field);
extern void cdc_connect_close(StringInfo out, const char *name, bool optional);

/* Appends a node of a plain type, with a comma before it if "next". */
extern void cdc_connect_plain(StringInfo out, const char *field,
							  const char *type, bool optional, bool next);

#endif							/* CDC_CONNECT_H */
