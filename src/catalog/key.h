/*-------------------------------------------------------------------------
 * key.h
 *		What identifies a row of a table.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_KEY_H
#define CDC_KEY_H

#include "postgres.h"

#include "utils/rel.h"

/* How the old row of an UPDATE or DELETE can be told. */
typedef enum CdcIdentity
{
	CDC_IDENTITY_NONE,			/* it cannot */
	CDC_IDENTITY_KEY,			/* key columns only */
	CDC_IDENTITY_FULL,			/* the whole row */
} CdcIdentity;

/*
 * Key columns of a relation: primary key, else the index of REPLICA IDENTITY
 * USING INDEX, else all columns if FULL; palloc'ed.  *nkeys = 0: none.
 */
extern AttrNumber *cdc_table_key(Relation rel, int *nkeys,
								 CdcIdentity *identity);

/* Are all columns the key, because the relation has none? */
extern bool cdc_table_is_keyless(Relation rel);

#endif							/* CDC_KEY_H */
