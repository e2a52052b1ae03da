/*-------------------------------------------------------------------------
 * columns.h
 *		Lists of columns of a target: numbers of the target's columns as text,
 *		"1 3 4"; "" stands for all, also for those that are added later.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_COLUMNS_H
#define CDC_COLUMNS_H

#include "postgres.h"

#include "access/attnum.h"
#include "access/tupdesc.h"
#include "nodes/pg_list.h"
#include "utils/rel.h"

extern bool cdc_columns_contain(const char *columns, AttrNumber attnum);

/* Columns of either list, neither of which is ""; palloc'ed. */
extern char *cdc_columns_union(const char *a, const char *b);

/*
 * From the names a user gave (list of C strings, NIL: all) of a relation,
 * palloc'ed.  Raises if one is not there or twice, or if the key is not
 * among them.  Runs: backend.
 */
extern char *cdc_columns_resolve(Relation rel, List *names);

/* " (a, b)" for a description, "" for all; palloc'ed. */
extern char *cdc_columns_describe(Oid relid, const char *columns);

/*
 * A descriptor in which the columns that are not listed look as if they were
 * dropped; desc itself if all are.  "target" is the table that the list is
 * of, "relid" the one that desc is of: the same, or a partition of it.
 * Reads catalogs under the snapshot in force.
 */
extern TupleDesc cdc_columns_mask(TupleDesc desc, Oid relid, Oid target,
								  const char *columns);

#endif							/* CDC_COLUMNS_H */
