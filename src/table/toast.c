/*-------------------------------------------------------------------------
 * toast.c
 *		Values that an UPDATE left alone and that are not in the WAL.
 *
 * A new row carries a pointer to such a value.  In a decoding callback the
 * pointer must not be followed: the value is not protected from VACUUM there
 * and its number may have been given to another one.  So the row is kept
 * aside and looked up by its key once the transaction has been decoded,
 * under an ordinary snapshot: a live row with the very same pointer has the
 * very same value, since values are never changed in place.
 *
 * A pointer that differs, or a row that is gone, means that a later event of
 * this key is still to come; the value cannot be had any more and is marked.
 *
 * Runs: lane worker; decoding callback (defer) and main loop (resolve).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/err.h"
#include "executor/tuptable.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "table/toast.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

typedef struct DeferredRow
{
	dlist_node	node;
	CdcBatch   *batch;			/* a reference of ours */
	uint32		index;
	bool		key_beside;
	CdcRow		row;			/* but for its values */
	Oid			relid;
	int			nkeys;
	struct CdcFeed *feed;
	CdcRowEncoder *encoder;
	HeapTuple	tuple;
	TupleDesc	desc;
	AttrNumber *keyatts;
} DeferredRow;

static dlist_head deferred = DLIST_STATIC_INIT(deferred);
static MemoryContext deferred_cxt = NULL;

bool
cdc_toast_pending(void)
{
	return !dlist_is_empty(&deferred);
}

size_t
cdc_toast_defer(CdcTable *table, const CdcSubscriber *sub, CdcBatch *batch,
				uint32 index, bool key_beside, const CdcRow *change)
{
	MemoryContext old;
	DeferredRow *row;
	size_t		size;

	if (deferred_cxt == NULL)
		deferred_cxt = AllocSetContextCreate(TopMemoryContext,
											 "cdc_sink deferred rows",
											 ALLOCSET_DEFAULT_SIZES);

	/* reassembled values live only as long as the callback */
	for (int i = 0; i < table->ntoastable; i++)
	{
		int			att = table->toastable[i] - 1;

		if (att < table->natts && !table->nulls[att] &&
			VARATT_IS_EXTERNAL_INDIRECT(DatumGetPointer(table->values[att])))
			table->values[att] =
				PointerGetDatum(detoast_external_attr((struct varlena *)
													  DatumGetPointer(table->values[att])));
	}

	old = MemoryContextSwitchTo(deferred_cxt);
	row = palloc0(sizeof(DeferredRow));
	row->batch = batch;
	row->index = index;
	row->key_beside = key_beside;
	row->row = *change;
	row->row.old_values = NULL;
	row->row.old_nulls = NULL;
	row->row.old_full = false;
	row->relid = table->relid;
	row->nkeys = table->nkeys;
	row->keyatts = table->keyatts;
	row->feed = sub->feed;
	row->encoder = sub->encoder;
	row->desc = table->desc;
	row->tuple = heap_form_tuple(table->desc, table->values, table->nulls);
	dlist_push_tail(&deferred, &row->node);
	MemoryContextSwitchTo(old);
	size = sizeof(DeferredRow) + row->tuple->t_len;
	for (int i = 0; i < table->ntoastable; i++)
	{
		int			att = table->toastable[i] - 1;
		struct varatt_external pointer;

		if (att >= table->natts || table->nulls[att] ||
			!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(table->values[att])))
			continue;
		VARATT_EXTERNAL_GET_POINTER(pointer, DatumGetPointer(table->values[att]));
		size += pointer.va_rawsize;
	}

	cdc_batch_ref(batch);
	batch->deferred++;
	cdc_table_keep_retired(true);
	return size;
}

/* A message that was put off a moment ago. */
static DeferredRow *
find_deferred(CdcBatch *batch, uint32 index)
{
	dlist_iter	iter;

	dlist_reverse_foreach(iter, &deferred)
	{
		DeferredRow *row = dlist_container(DeferredRow, node, iter.cur);

		if (row->batch == batch && row->index == index)
			return row;
	}
	return NULL;
}

void
cdc_toast_set_last(CdcBatch *batch, uint32 index)
{
	DeferredRow *row = find_deferred(batch, index);

	if (row != NULL)
		row->row.last = true;
}

void
cdc_toast_forget(CdcBatch *batch, uint32 index)
{
	DeferredRow *row = find_deferred(batch, index);

	if (row == NULL)
		return;
	dlist_delete(&row->node);
	batch->deferred--;
	cdc_batch_unref(batch);
}

/* Looks the row up by its primary key; false: not there. */
static bool
fetch_current(Relation rel, const DeferredRow *row, const Datum *values,
			  TupleTableSlot *slot)
{
	Relation	index;
	IndexScanDesc scan;
	ScanKey		keys;
	bool		found;

	list_free(RelationGetIndexList(rel));
	if (!OidIsValid(cdc_compat_primary_key(rel)))
		return false;
	index = index_open(cdc_compat_primary_key(rel), AccessShareLock);
	if (index->rd_index->indnkeyatts != row->nkeys)
	{
		index_close(index, AccessShareLock);
		return false;
	}
	keys = palloc(sizeof(ScanKeyData) * row->nkeys);
	for (int i = 0; i < row->nkeys; i++)
	{
		Oid			opfamily = index->rd_opfamily[i];
		Oid			type = index->rd_opcintype[i];
		Oid			eq = get_opfamily_member(opfamily, type, type,
											 BTEqualStrategyNumber);

		if (!OidIsValid(eq) ||
			index->rd_index->indkey.values[i] != row->keyatts[i])
		{
			index_close(index, AccessShareLock);
			return false;
		}
		ScanKeyInit(&keys[i], i + 1, BTEqualStrategyNumber, get_opcode(eq),
					values[row->keyatts[i] - 1]);
		keys[i].sk_collation = index->rd_indcollation[i];
	}
	scan = cdc_compat_index_beginscan(rel, index, GetActiveSnapshot(), row->nkeys);
	index_rescan(scan, keys, row->nkeys, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, slot);
	if (found)
		slot_getallattrs(slot);
	index_endscan(scan);
	index_close(index, AccessShareLock);
	return found;
}

static bool
same_pointer(Datum a, Datum b)
{
	struct varatt_external pa;
	struct varatt_external pb;

	if (!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(b)))
		return false;
	VARATT_EXTERNAL_GET_POINTER(pa, DatumGetPointer(a));
	VARATT_EXTERNAL_GET_POINTER(pb, DatumGetPointer(b));
	return memcmp(&pa, &pb, sizeof(pa)) == 0;
}

/* Fills in what the table still has; marks the rest as unavailable. */
static void
fill_row(DeferredRow *row, Datum *values, bool *nulls, bool *unavailable)
{
	Relation	rel = try_relation_open(row->relid, AccessShareLock);
	TupleTableSlot *slot = NULL;
	bool		found = false;

	if (rel != NULL)
	{
		slot = table_slot_create(rel, NULL);
		found = fetch_current(rel, row, values, slot);
	}
	for (int i = 0; i < row->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(row->desc, i);

		if (att->attisdropped || att->attlen != -1 || nulls[i] ||
			!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(values[i])))
			continue;
		if (found && i < slot->tts_tupleDescriptor->natts &&
			!slot->tts_isnull[i] &&
			!TupleDescAttr(slot->tts_tupleDescriptor, i)->attisdropped &&
			same_pointer(values[i], slot->tts_values[i]))
			values[i] = PointerGetDatum(detoast_attr((struct varlena *)
													 DatumGetPointer(values[i])));
		else
			unavailable[i] = true;
	}
	if (slot != NULL)
		ExecDropSingleTupleTableSlot(slot);
	if (rel != NULL)
		relation_close(rel, AccessShareLock);
}

static void
complete_message(DeferredRow *row, const Datum *values, const bool *nulls,
				 const bool *unavailable)
{
	CdcBatch   *batch = row->batch;
	CdcMessage *msg = &batch->msgs[row->index];
	CdcParts	parts;

	row->row.values = values;
	row->row.nulls = nulls;
	row->row.unavailable = unavailable;
	msg->off = (uint32) batch->buf.len;
	cdc_encode_message(row->encoder, &batch->buf, &row->row, row->key_beside,
					   NULL, &parts);
	cdc_batch_set_parts(msg, &parts);
	batch->deferred--;
}

/* The same; a row that cannot be encoded is told to the lane. */
static void
complete_guarded(DeferredRow *row, const Datum *values, const bool *nulls,
				 const bool *unavailable, CdcLostRow lost)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	size_t		len = row->batch->buf.len;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(cxt);
	PG_TRY();
	{
		complete_message(row, values, nulls, unavailable);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error = cdc_error_take_subxact(cxt, owner);

		row->batch->buf.len = len;
		row->batch->msgs[row->index].key_len = CDC_LEN_NULL;
		row->batch->msgs[row->index].val_len = CDC_LEN_NULL;
		row->batch->msgs[row->index].headers_len = 0;
		row->batch->msgs[row->index].flags |= CDC_MSG_SKIP;
		row->batch->deferred--;
		lost(row->feed, row->batch->msgs[row->index].topic, row->row.updated,
			 error->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;
}

void
cdc_toast_resolve(CdcLostRow lost)
{
	MemoryContext row_cxt = AllocSetContextCreate(CurrentMemoryContext,
												  "cdc_sink deferred row",
												  ALLOCSET_DEFAULT_SIZES);

	while (!dlist_is_empty(&deferred))
	{
		DeferredRow *row = dlist_container(DeferredRow, node,
										   dlist_pop_head_node(&deferred));
		CdcBatch   *batch = row->batch;

		/* with us as the only one left, its feed has dropped it */
		if (batch->refs > 1)
		{
			MemoryContext old = MemoryContextSwitchTo(row_cxt);
			int			natts = row->desc->natts;
			Datum	   *values = palloc(sizeof(Datum) * natts);
			bool	   *nulls = palloc(sizeof(bool) * natts);
			bool	   *unavailable = palloc0(sizeof(bool) * natts);

			heap_deform_tuple(row->tuple, row->desc, values, nulls);
			fill_row(row, values, nulls, unavailable);
			complete_guarded(row, values, nulls, unavailable, lost);
			MemoryContextSwitchTo(old);
			MemoryContextReset(row_cxt);
		}
		cdc_batch_unref(batch);
	}
	MemoryContextDelete(row_cxt);
	MemoryContextReset(deferred_cxt);
	cdc_table_keep_retired(false);
}
