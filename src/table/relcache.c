/*-------------------------------------------------------------------------
 * relcache.c
 *		Per-relation state of a lane, kept in step with DDL.
 *
 * An entry is marked stale by invalidation callbacks and looked at again
 * when the next change of its relation is decoded, under the historic
 * snapshot of that change: so later or aborted DDL is never seen early.  An
 * invalidation is not a schema change (VACUUM and GRANT invalidate, too):
 * what was invalidated in a transaction is looked at once more at its end,
 * see worker/schema.c.
 *
 * The callbacks are registered once for the process, since they cannot be
 * taken back and core has room for few of them.
 *
 * Runs: decoding callbacks of the lane.  Keeps no pointer into core's caches.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/columns.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/shape.h"
#include "table/relcache.h"
#include "table/toast_cache.h"
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

/* Relations that were invalidated; more than fit: any may have been. */
#define MAX_CHANGED 64

static Oid	changed[MAX_CHANGED];
static int	nchanged = 0;
static bool any_may_have_changed = false;
uint64		cdc_tables_transaction = 0;

static void
note_changed(Oid relid)
{
	if (any_may_have_changed || cdc_table_changed(relid))
		return;
	if (nchanged == MAX_CHANGED || !OidIsValid(relid))
		any_may_have_changed = true;
	else
		changed[nchanged++] = relid;
}

void
cdc_tables_watch_changes(void)
{
	nchanged = 0;
	any_may_have_changed = false;
	cdc_tables_transaction++;
}

bool
cdc_tables_any_changed(void)
{
	return nchanged > 0 || any_may_have_changed;
}

bool
cdc_table_changed(Oid relid)
{
	for (int i = 0; i < nchanged; i++)
	{
		if (changed[i] == relid)
			return true;
	}
	return any_may_have_changed;
}

List *
cdc_tables_changed(void)
{
	List	   *relids = NIL;

	for (int i = 0; i < nchanged && !any_may_have_changed; i++)
		relids = lappend_oid(relids, changed[i]);
	return relids;
}

static bool
is_watcher(const CdcTable *table, const struct CdcFeed *feed)
{
	for (int i = 0; i < table->nwatchers; i++)
	{
		if (table->watchers[i] == feed)
			return true;
	}
	return false;
}

void
cdc_table_note_watchers(CdcTable *table)
{
	int			n = 0;

	if (table->nsubs > table->maxwatchers)
	{
		struct CdcFeed **watchers =
		MemoryContextAlloc(TopMemoryContext, sizeof(struct CdcFeed *) * table->nsubs);

		if (table->nwatchers > 0)
			memcpy(watchers, table->watchers, sizeof(struct CdcFeed *) * table->nwatchers);
		if (table->watchers != NULL)
			pfree(table->watchers);
		table->watchers = watchers;
		table->maxwatchers = table->nsubs;
	}
	if (table->written != cdc_tables_transaction)
	{
		for (; n < table->nsubs; n++)
			table->watchers[n] = table->subs[n].feed;
	}
	else
	{
		/* who has come meanwhile has not seen all of it */
		for (int i = 0; i < table->nwatchers; i++)
		{
			bool		stays = false;

			for (int j = 0; j < table->nsubs; j++)
				stays |= table->subs[j].feed == table->watchers[i];
			if (stays)
				table->watchers[n++] = table->watchers[i];
		}
	}
	table->nwatchers = n;
	table->written = cdc_tables_transaction;
	table->noted = table->builds;
}

bool
cdc_table_has_unseen(Oid relid, const struct CdcFeed *feed)
{
	CdcTable   *table = hash_search(tables, &relid, HASH_FIND, NULL);

	return table != NULL && table->written == cdc_tables_transaction &&
		!is_watcher(table, feed);
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
	note_changed(relid);
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

	/* what comes until a table is watched again is not seen */
	cdc_toast_cache_clear();
	hash_seq_init(&scan, tables);
	while ((table = hash_seq_search(&scan)) != NULL)
	{
		retire(table->cxt);
		if (table->watchers != NULL)
			pfree(table->watchers);
		hash_search(tables, &table->relid, HASH_REMOVE, NULL);
	}
}

static CdcRowEncoder *
make_encoder(CdcTable *table, Relation rel, TupleDesc listed, CdcSubscriber *sub)
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
	described.relid = table->relid;
	described.desc = listed;
	described.nkeys = table->nkeys;
	described.keyatts = table->keyatts;
	described.keyless = table->keyless;
	described.topic = sub->topic->name;
	described.schema = get_namespace_name(get_rel_namespace(target));
	described.name = name;
	return cdc_encoder_create(table->cxt, &described, hooks->encode_options(sub));
}

/* Does the table still have what the feed's options ask of it? */
static const char *
find_unfit(CdcTable *table, Relation rel, TupleDesc listed,
		   const CdcEncodeOptions *encode)
{
	const char *missing = cdc_encode_missing_column(listed, encode);

	if (missing != NULL)
		return psprintf("required column %s not present on table %s",
						missing, RelationGetRelationName(rel));
	if (encode->diff && table->identity != CDC_IDENTITY_FULL)
		return psprintf("option diff needs REPLICA IDENTITY FULL on table \"%s\"",
						table->name);
	return NULL;
}

static int
keep_wanted(AttrNumber *atts, int natts, const bool *wanted)
{
	int			n = 0;

	for (int i = 0; i < natts; i++)
	{
		if (wanted[atts[i] - 1])
			atts[n++] = atts[i];
	}
	return n;
}

/* Fills what depends on the relation's definition; subs are set already. */
static void
build_entry(CdcTable *table, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	MemoryContext outer = CurrentMemoryContext;
	bool	   *wanted = palloc0(sizeof(bool) * Max(desc->natts, 1));

	table->cxt = AllocSetContextCreate(TopMemoryContext, "cdc_sink table",
									   ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(table->cxt);
	table->name = psprintf("%s.%s",
						   get_namespace_name(RelationGetNamespace(rel)),
						   RelationGetRelationName(rel));
	table->natts = desc->natts;
	table->desc = CreateTupleDescCopy(desc);
	table->keyatts = cdc_table_key(rel, &table->nkeys, &table->identity);
	table->keyless = cdc_table_is_keyless(rel);

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

	for (int i = 0; i < table->nsubs; i++)
	{
		CdcSubscriber *sub = &table->subs[i];
		TupleDesc	listed = cdc_columns_mask(desc, table->relid,
											  hooks->target_relid(sub),
											  hooks->columns(sub));
		char	   *columns = cdc_desc_columns(listed);

		sub->topic = hooks->topic(sub, columns);
		sub->encoder = make_encoder(table, rel, listed, sub);
		sub->unfit = find_unfit(table, rel, listed, hooks->encode_options(sub));
		for (int att = 0; att < desc->natts; att++)
			wanted[att] |= !TupleDescAttr(listed, att)->attisdropped;
		pfree(columns);
	}

	/* a value that nobody is sent need not be had */
	table->ntoastable = keep_wanted(table->toastable, table->ntoastable, wanted);
	table->keeps_large = table->ntoastable > 0 && table->nkeys > 0 &&
		table->identity == CDC_IDENTITY_KEY;
	MemoryContextSwitchTo(outer);
	pfree(wanted);
}

/* Are large values that were kept of it found by the same key and number? */
static bool
keeps_the_same(const CdcTable *table, const CdcTable *old)
{
	return table->built && old->built && table->keeps_large && old->keeps_large &&
		table->nkeys == old->nkeys && table->ntoastable == old->ntoastable &&
		memcmp(table->keyatts, old->keyatts, sizeof(AttrNumber) * table->nkeys) == 0 &&
		memcmp(table->toastable, old->toastable, sizeof(AttrNumber) * table->ntoastable) == 0;
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
	table->built = table->keeps_large = false;
	table->builds++;
	table->nsubs = hooks->subscribe(RelationGetRelid(rel), ancestors, &subs);
	table->subs = NULL;
	if (table->nsubs > 0)
	{
		table->subs = MemoryContextAlloc(TopMemoryContext,
										 sizeof(CdcSubscriber) * table->nsubs);
		memcpy(table->subs, subs, sizeof(CdcSubscriber) * table->nsubs);
		build_entry(table, rel);
		/* one life with the rest of the entry */
		subs = MemoryContextAlloc(table->cxt,
								  sizeof(CdcSubscriber) * table->nsubs);
		memcpy(subs, table->subs, sizeof(CdcSubscriber) * table->nsubs);
		pfree(table->subs);
		table->subs = subs;
		table->built = true;
	}
	if (!keeps_the_same(table, &old))
		cdc_toast_cache_forget(table);
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
