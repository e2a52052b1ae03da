/*-------------------------------------------------------------------------
 * relcache.c
 *		Per-relation state of a lane, kept in step with DDL.
 *
 * An entry is marked stale by invalidation callbacks and looked at again
 * when the next change of its relation is decoded, under the historic
 * snapshot of that change: so later or aborted DDL is never seen early.  An
 * invalidation is not a schema change (VACUUM and GRANT invalidate, too):
 * only a different fingerprint of the columns makes a new schema version.
 *
 * The callbacks are registered once for the process, since they cannot be
 * taken back and core has room for few of them.
 *
 * Runs: decoding callbacks of the lane.  Keeps no pointer into core's caches.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "lib/stringinfo.h"
#include "table/relcache.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

static HTAB *tables = NULL;
static const CdcTableHooks *hooks = NULL;

static List *retired = NIL;		/* contexts of former entries */
static bool keep_retired = false;

static void
retire(MemoryContext cxt)
{
	MemoryContext old;

	if (cxt == NULL)
		return;
	if (!keep_retired)
	{
		MemoryContextDelete(cxt);
		return;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	retired = lappend(retired, cxt);
	MemoryContextSwitchTo(old);
}

void
cdc_table_keep_retired(bool keep)
{
	ListCell   *lc;

	keep_retired = keep;
	if (keep)
		return;
	foreach(lc, retired)
		MemoryContextDelete(lfirst(lc));
	list_free(retired);
	retired = NIL;
}

static void
mark_all_stale(void)
{
	HASH_SEQ_STATUS scan;
	CdcTable   *table;

	hash_seq_init(&scan, tables);
	while ((table = hash_seq_search(&scan)) != NULL)
		table->valid = false;
}

static void
rel_callback(Datum arg, Oid relid)
{
	if (tables == NULL)
		return;
	if (OidIsValid(relid))
	{
		CdcTable   *table = hash_search(tables, &relid, HASH_FIND, NULL);

		if (table != NULL)
			table->valid = false;
	}
	else
		mark_all_stale();
}

/* Renamed schemas and types do not invalidate the relations that use them. */
static void
syscache_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	if (tables != NULL)
		mark_all_stale();
}

void
cdc_tables_init(const CdcTableHooks *table_hooks)
{
	HASHCTL		ctl;

	hooks = table_hooks;
	if (tables != NULL)
		return;
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(CdcTable);
	ctl.hcxt = TopMemoryContext;
	tables = hash_create("cdc_sink tables", 256, &ctl,
						 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(rel_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, syscache_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, syscache_callback, (Datum) 0);
}

void
cdc_tables_reset_subscribers(void)
{
	HASH_SEQ_STATUS scan;
	CdcTable   *table;

	hash_seq_init(&scan, tables);
	while ((table = hash_seq_search(&scan)) != NULL)
	{
		retire(table->cxt);
		hash_search(tables, &table->relid, HASH_REMOVE, NULL);
	}
}

static char *
fingerprint_columns(TupleDesc desc)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		appendStringInfo(&buf, "%d %u %d %c %s\n", att->attnum, att->atttypid,
						 att->atttypmod,
						 att->attgenerated ? att->attgenerated : '-',
						 NameStr(att->attname));
	}
	return buf.data;
}

static CdcRowEncoder *
make_encoder(CdcTable *table, Relation rel, CdcSubscriber *sub)
{
	CdcEncodeTable described;
	Oid			target = hooks->target_relid(sub);
	char	   *name = get_rel_name(target);

	/* a root that is not there any more leaves the partition's own name */
	if (name == NULL)
	{
		target = table->relid;
		name = RelationGetRelationName(rel);
	}
	described.desc = RelationGetDescr(rel);
	described.nkeys = table->nkeys;
	described.keyatts = table->keyatts;
	described.topic = sub->topic->name;
	described.schema = get_namespace_name(get_rel_namespace(target));
	described.name = name;
	return cdc_encoder_create(table->cxt, &described, hooks->encode_options(sub));
}

/* Fills what depends on the relation's definition; subs are set already. */
static void
build_entry(CdcTable *table, Relation rel, CdcTable *old)
{
	TupleDesc	desc = RelationGetDescr(rel);
	MemoryContext outer = CurrentMemoryContext;
	bool		columns_changed;

	table->cxt = AllocSetContextCreate(TopMemoryContext, "cdc_sink table",
									   ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(table->cxt);
	table->name = psprintf("%s.%s",
						   get_namespace_name(RelationGetNamespace(rel)),
						   RelationGetRelationName(rel));
	table->natts = desc->natts;
	table->desc = CreateTupleDescCopy(desc);
	table->permanent = rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT;
	table->keyatts = cdc_table_key(rel, &table->nkeys, &table->identity);
	table->columns = fingerprint_columns(desc);
	table->keyprint = cdc_table_keyprint(rel);

	table->toastable = palloc(sizeof(AttrNumber) * Max(desc->natts, 1));
	table->ntoastable = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && att->attlen == -1 &&
			att->attstorage != TYPSTORAGE_PLAIN)
			table->toastable[table->ntoastable++] = att->attnum;
	}
	table->values = palloc(sizeof(Datum) * Max(desc->natts, 1));
	table->nulls = palloc(sizeof(bool) * Max(desc->natts, 1));
	table->old_values = palloc(sizeof(Datum) * Max(desc->natts, 1));
	table->old_nulls = palloc(sizeof(bool) * Max(desc->natts, 1));

	columns_changed = old->built && strcmp(old->columns, table->columns) != 0;
	for (int i = 0; i < table->nsubs; i++)
	{
		CdcSubscriber *sub = &table->subs[i];

		sub->topic = hooks->topic(sub, table->relid, columns_changed);
		sub->encoder = make_encoder(table, rel, sub);
	}
	MemoryContextSwitchTo(outer);
}

static void
refresh(CdcTable *table, Relation rel)
{
	CdcTable	old = *table;
	CdcSubscriber *subs;
	List	   *ancestors = NIL;

	if (rel->rd_rel->relispartition)
		ancestors = get_partition_ancestors(RelationGetRelid(rel));
	/* an invalidation that arrives while we build must not be lost */
	table->valid = true;
	table->cxt = NULL;
	table->built = false;
	table->nsubs = hooks->subscribe(RelationGetRelid(rel), ancestors, &subs);
	table->subs = NULL;
	if (table->nsubs > 0)
	{
		table->subs = MemoryContextAlloc(TopMemoryContext,
										 sizeof(CdcSubscriber) * table->nsubs);
		memcpy(table->subs, subs, sizeof(CdcSubscriber) * table->nsubs);
		build_entry(table, rel, &old);
		/* one life with the rest of the entry */
		subs = MemoryContextAlloc(table->cxt,
								  sizeof(CdcSubscriber) * table->nsubs);
		memcpy(subs, table->subs, sizeof(CdcSubscriber) * table->nsubs);
		pfree(table->subs);
		table->subs = subs;
		table->built = true;
	}
	if (table->built)
		hooks->key_seen(table);
	retire(old.cxt);
}

CdcTable *
cdc_table_get(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	CdcTable   *table;
	bool		found;

	table = hash_search(tables, &relid, HASH_ENTER, &found);
	if (!found)
	{
		memset((char *) table + sizeof(Oid), 0, sizeof(CdcTable) - sizeof(Oid));
		table->relid = relid;
	}
	if (unlikely(!table->valid))
		refresh(table, rel);
	return table;
}
