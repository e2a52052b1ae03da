/*-------------------------------------------------------------------------
 * key.c
 *		What identifies a row of a table; see key.h.
 *
 * Runs: user backends, scan workers, and decoding callbacks (under a
 * historic snapshot): reads catalogs only.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/key.h"
#include "catalog/pg_class.h"
#include "utils/relcache.h"

AttrNumber *
cdc_table_key(Relation rel, int *nkeys, CdcIdentity *identity)
{
	char		replident = rel->rd_rel->relreplident;
	AttrNumber *keyatts = NULL;
	Oid			index_oid = InvalidOid;

	list_free(RelationGetIndexList(rel));	/* sets rd_pkindex, rd_replidindex */
	if (OidIsValid(cdc_compat_primary_key(rel)))
		index_oid = cdc_compat_primary_key(rel);
	else if (replident == REPLICA_IDENTITY_INDEX)
		index_oid = rel->rd_replidindex;

	*nkeys = 0;
	if (OidIsValid(index_oid))
	{
		Relation	index = RelationIdGetRelation(index_oid);

		if (index == NULL)
			elog(ERROR, "could not open index %u", index_oid);
		*nkeys = index->rd_index->indnkeyatts;
		keyatts = palloc(sizeof(AttrNumber) * *nkeys);
		for (int i = 0; i < *nkeys; i++)
			keyatts[i] = index->rd_index->indkey.values[i];
		RelationClose(index);
	}
	else if (replident == REPLICA_IDENTITY_FULL)
	{
		TupleDesc	desc = RelationGetDescr(rel);

		keyatts = palloc(sizeof(AttrNumber) * Max(desc->natts, 1));
		for (int i = 0; i < desc->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);

			if (!att->attisdropped &&
				att->attgenerated != ATTRIBUTE_GENERATED_VIRTUAL)
				keyatts[(*nkeys)++] = att->attnum;
		}
	}

	if (replident == REPLICA_IDENTITY_FULL)
		*identity = CDC_IDENTITY_FULL;
	else if ((replident == REPLICA_IDENTITY_DEFAULT && OidIsValid(cdc_compat_primary_key(rel))) ||
			 (replident == REPLICA_IDENTITY_INDEX && OidIsValid(index_oid) &&
			  rel->rd_replidindex == index_oid))
		*identity = CDC_IDENTITY_KEY;
	else
		*identity = CDC_IDENTITY_NONE;
	return keyatts;
}

bool
cdc_table_is_keyless(Relation rel)
{
	if (rel->rd_rel->relreplident != REPLICA_IDENTITY_FULL)
		return false;
	list_free(RelationGetIndexList(rel));
	return !OidIsValid(cdc_compat_primary_key(rel));
}
