/*-------------------------------------------------------------------------
 * toast_cache.c
 *		Large values that passed by, for updates that leave them alone; see
 *		toast_cache.h.
 *
 * Rows are found by the bytes of their key, not by its text, which a renamed
 * enum label changes.  A key that is unique at each moment is: replica
 * identities are never deferrable.  An older value is dropped before a newer
 * one is kept, so that for want of room or memory there is none, and never
 * the wrong one.  What is kept is limited by cdc_sink.toast_cache; the rows
 * not seen for longest go first.
 *
 * Runs: decoding callbacks and main loop of the lane.  Must never read
 * tables or catalogs, nor follow a pointer to a value on disk.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "base/buf.h"
#include "base/compat.h"
#include "base/guc.h"
#include "common/hashfn.h"
#include "lib/ilist.h"
#include "table/toast_cache.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* A value, with its key, takes at most this part of the whole. */
#define VALUE_SHARE		8

/* Blocks for small values; larger ones have their own. */
#define BLOCK_SIZE		(128 * 1024)

/* What a row takes in the hash table, about. */
#define ROW_OVERHEAD	(sizeof(KeptRow) + 2 * sizeof(void *))

typedef struct KeptValue
{
	struct KeptValue *next;
	AttrNumber	att;
	bool		pointer_known;	/* an UPDATE has shown it already */
	struct varatt_external pointer;
	union
	{
		struct varlena value;	/* as stored: may be compressed */
		double		align;
	}			data;
} KeptValue;

typedef struct RowKey
{
	CdcTable   *table;
	uint32		hash;
	uint32		len;
	const char *bytes;
} RowKey;

typedef struct KeptRow
{
	RowKey		key;			/* hash key */
	dlist_node	lru;			/* in lru, last seen first */
	dlist_node	of_table;		/* in table->kept_rows */
	KeptValue  *values;
} KeptRow;

static MemoryContext cache_cxt = NULL;	/* values and the bytes of keys */
static HTAB *rows = NULL;
static dlist_head lru = DLIST_STATIC_INIT(lru);
static Size used = 0;

/* Keys of the change at hand. */
static CdcBuf new_key;
static CdcBuf old_key;

static uint32
hash_key(const void *key, Size keysize)
{
	return ((const RowKey *) key)->hash;
}

static int
match_key(const void *a, const void *b, Size keysize)
{
	const RowKey *x = a;
	const RowKey *y = b;

	return x->table == y->table && x->hash == y->hash && x->len == y->len &&
		memcmp(x->bytes, y->bytes, x->len) == 0 ? 0 : 1;
}

static void
start_cache(void)
{
	HASHCTL		ctl;

	if (cache_cxt == NULL)
		cache_cxt = AllocSetContextCreate(TopMemoryContext,
										  "cdc_sink large values",
										  0, 8 * 1024, BLOCK_SIZE);
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(RowKey);
	ctl.entrysize = sizeof(KeptRow);
	ctl.hash = hash_key;
	ctl.match = match_key;
	ctl.hcxt = TopMemoryContext;
	rows = hash_create("cdc_sink rows with large values", 256, &ctl,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

void
cdc_toast_cache_clear(void)
{
	dlist_iter	iter;

	if (rows == NULL)
		return;
	dlist_foreach(iter, &lru)
		dlist_init(&dlist_container(KeptRow, lru, iter.cur)->key.table->kept_rows);
	dlist_init(&lru);
	hash_destroy(rows);
	rows = NULL;
	MemoryContextReset(cache_cxt);
	used = 0;
}

static void
free_value(KeptValue *value)
{
	used -= GetMemoryChunkSpace(value);
	pfree(value);
}

static void
free_row(KeptRow *row)
{
	void	   *bytes = unconstify(char *, row->key.bytes);

	while (row->values != NULL)
	{
		KeptValue  *value = row->values;

		row->values = value->next;
		free_value(value);
	}
	dlist_delete(&row->lru);
	dlist_delete(&row->of_table);
	used -= ROW_OVERHEAD + GetMemoryChunkSpace(bytes);
	hash_search(rows, &row->key, HASH_REMOVE, NULL);
	pfree(bytes);
}

void
cdc_toast_cache_forget(CdcTable *table)
{
	while (!dlist_is_empty(&table->kept_rows))
		free_row(dlist_head_element(KeptRow, of_table, &table->kept_rows));
}

/* Makes room, but not at the cost of the row at hand. */
static bool
make_room(Size need, const KeptRow *row)
{
	Size		limit = (Size) cdc_toast_cache * 1024;

	while (used + need > limit)
	{
		KeptRow    *last;

		if (dlist_is_empty(&lru))
			return false;
		last = dlist_tail_element(KeptRow, lru, &lru);
		if (last == row)
			return false;
		free_row(last);
	}
	return true;
}

static RowKey
row_key(CdcTable *table, const CdcBuf *bytes)
{
	RowKey		key;

	memset(&key, 0, sizeof(key));
	key.table = table;
	key.bytes = bytes->data;
	key.len = (uint32) bytes->len;
	key.hash = hash_bytes((const unsigned char *) bytes->data, (int) bytes->len) ^
		murmurhash32(table->relid);
	return key;
}

static KeptRow *
find_row(CdcTable *table, const CdcBuf *bytes)
{
	RowKey		key = row_key(table, bytes);

	return hash_search(rows, &key, HASH_FIND, NULL);
}

/* NULL: there is no memory. */
static KeptRow *
add_row(CdcTable *table, const CdcBuf *bytes)
{
	RowKey		key = row_key(table, bytes);
	KeptRow    *row;
	char	   *copy = MemoryContextAllocExtended(cache_cxt, key.len, MCXT_ALLOC_NO_OOM);

	if (copy == NULL)
		return NULL;
	memcpy(copy, bytes->data, key.len);
	key.bytes = copy;
	row = hash_search(rows, &key, HASH_ENTER, NULL);
	row->values = NULL;
	dlist_push_head(&lru, &row->lru);
	dlist_push_head(&table->kept_rows, &row->of_table);
	used += ROW_OVERHEAD + GetMemoryChunkSpace(copy);
	return row;
}

static KeptValue *
find_value(const KeptRow *row, AttrNumber att)
{
	KeptValue  *value = row == NULL ? NULL : row->values;

	while (value != NULL && value->att != att)
		value = value->next;
	return value;
}

static void
drop_value(KeptRow *row, AttrNumber att)
{
	KeptValue **link = row == NULL ? NULL : &row->values;

	while (link != NULL && *link != NULL)
	{
		KeptValue  *value = *link;

		if (value->att == att)
		{
			*link = value->next;
			free_value(value);
			return;
		}
		link = &value->next;
	}
}

/* A new value, which an indirect datum leads to. */
static void
keep_value(KeptRow **row, CdcTable *table, const CdcBuf *key, AttrNumber att,
		   struct varlena *datum)
{
	struct varatt_indirect redirect;
	KeptValue  *value;
	Size		len;
	Size		size;

	drop_value(*row, att);
	VARATT_EXTERNAL_GET_POINTER(redirect, datum);
	if (VARATT_IS_EXTERNAL(redirect.pointer))
		return;
	len = VARSIZE_ANY(redirect.pointer);
	size = offsetof(KeptValue, data) + len;
	if (size + key->len > (Size) cdc_toast_cache * 1024 / VALUE_SHARE ||
		size > MaxAllocSize)
		return;
	if (!make_room(size + (*row == NULL ? ROW_OVERHEAD + key->len : 0), *row))
		return;
	if (*row == NULL)
		*row = add_row(table, key);
	if (*row == NULL)
		return;
	value = MemoryContextAllocExtended(cache_cxt, Max(size, sizeof(KeptValue)),
									   MCXT_ALLOC_NO_OOM);
	if (value == NULL)
		return;
	value->att = att;
	value->pointer_known = false;
	memcpy(&value->data.value, redirect.pointer, len);
	value->next = (*row)->values;
	(*row)->values = value;
	used += GetMemoryChunkSpace(value);
}

/*
 * Is it the value behind the pointer?  It is, if all that toast_cache.h says
 * is true; this finds out, mostly, if it should not be.
 */
static bool
is_value_of(KeptValue *value, struct varlena *datum)
{
	Datum		kept = PointerGetDatum(&value->data.value);
	struct varatt_external pointer;

	VARATT_EXTERNAL_GET_POINTER(pointer, datum);
	if (value->pointer_known)
		return memcmp(&pointer, &value->pointer, sizeof(pointer)) == 0;
	if (toast_raw_datum_size(kept) != toast_raw_datum_size(PointerGetDatum(datum)) ||
		toast_datum_size(kept) != toast_datum_size(PointerGetDatum(datum)) + VARHDRSZ)
		return false;
	value->pointer = pointer;
	value->pointer_known = true;
	return true;
}

/* The bytes of a row's key; false: they cannot be told. */
static bool
put_key(CdcBuf *key, const CdcTable *table, const Datum *values, const bool *nulls)
{
	key->len = 0;
	for (int i = 0; i < table->nkeys; i++)
	{
		int			att = table->keyatts[i] - 1;
		Form_pg_attribute form;
		Datum		value;

		if (att < 0 || att >= table->natts || nulls[att])
			return false;
		form = TupleDescAttr(table->desc, att);
		value = values[att];
		if (form->attbyval)
			cdc_buf_append(key, (char *) &value, sizeof(value));
		else if (form->attlen > 0)
			cdc_buf_append(key, DatumGetPointer(value), form->attlen);
		else if (form->attlen == -1 &&
				 !VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
		{
			/* stored with one header or the other, compressed or not */
			struct varlena *plain = pg_detoast_datum_packed((struct varlena *)
															DatumGetPointer(value));
			uint32		len = VARSIZE_ANY_EXHDR(plain);

			cdc_buf_append(key, (char *) &len, sizeof(len));
			cdc_buf_append(key, VARDATA_ANY(plain), len);
			if ((Pointer) plain != DatumGetPointer(value))
				pfree(plain);
		}
		else
			return false;
	}
	return true;
}

/* The row has another key now.  NULL: there is no room, it is forgotten. */
static KeptRow *
move_row(KeptRow *row, const CdcBuf *bytes)
{
	KeptRow    *moved = NULL;

	if (make_room(ROW_OVERHEAD + bytes->len, row))
		moved = add_row(row->key.table, bytes);
	if (moved != NULL)
	{
		moved->values = row->values;
		row->values = NULL;
	}
	free_row(row);
	return moved;
}

/*
 * What is kept of the row so far, under its new key if it has one.  False:
 * it cannot be told which row it is.
 */
static bool
follow_row(CdcTable *table, bool have_old, bool have_new, bool inserted,
		   KeptRow **row)
{
	bool		moved = have_old;
	KeptRow    *other = NULL;

	*row = NULL;
	if ((have_new && !put_key(&new_key, table, table->values, table->nulls)) ||
		(have_old && !put_key(&old_key, table, table->old_values, table->old_nulls)))
		return false;
	if (have_old && have_new)
		moved = old_key.len != new_key.len ||
			memcmp(old_key.data, new_key.data, old_key.len) != 0;
	*row = find_row(table, moved ? &old_key : &new_key);
	if (moved && have_new)
		other = find_row(table, &new_key);

	/* nobody can have the new key; if somebody has, he is not trusted */
	if (other != NULL)
		free_row(other);
	if (*row != NULL && (inserted || !have_new))
	{
		free_row(*row);
		*row = NULL;
	}
	else if (*row != NULL)
	{
		dlist_move_head(&lru, &(*row)->lru);
		if (moved)
			*row = move_row(*row, &new_key);
	}
	return true;
}

bool
cdc_toast_cache_pass(CdcTable *table, const ReorderBufferChange *change,
					 const bool **recalled)
{
	bool		have_new = cdc_compat_new_tuple(change) != NULL;
	bool		have_old = cdc_compat_old_tuple(change) != NULL;
	bool		inserted = change->action == REORDER_BUFFER_CHANGE_INSERT;
	bool		complete = true;
	bool		usable = cdc_toast_cache > 0;
	KeptRow    *row = NULL;

	/* pieces that are free inside of the context do not count as used */
	if (rows != NULL &&
		(!usable || MemoryContextMemAllocated(cache_cxt, false) >
		 2 * (Size) cdc_toast_cache * 1024 + BLOCK_SIZE))
		cdc_toast_cache_clear();
	if (usable && rows == NULL)
		start_cache();
	if (table->kept_file != cdc_compat_change_file(change))
	{
		cdc_toast_cache_forget(table);
		table->kept_file = cdc_compat_change_file(change);
	}
	if (usable && ((!have_new && !have_old) ||
				   (!have_new && change->action != REORDER_BUFFER_CHANGE_DELETE) ||
				   !follow_row(table, have_old, have_new, inserted, &row)))
	{
		cdc_toast_cache_forget(table);
		usable = false;
	}

	for (int i = 0; have_new && i < table->ntoastable; i++)
	{
		AttrNumber	att = table->toastable[i];
		struct varlena *datum = (struct varlena *) DatumGetPointer(table->values[att - 1]);

		if (table->nulls[att - 1] || !VARATT_IS_EXTERNAL(datum))
			drop_value(row, att);
		else if (!VARATT_IS_EXTERNAL_ONDISK(datum))
		{
			if (usable && VARATT_IS_EXTERNAL_INDIRECT(datum))
				keep_value(&row, table, &new_key, att, datum);
			else
				drop_value(row, att);
		}
		else
		{
			KeptValue  *value = find_value(row, att);

			if (value == NULL || !is_value_of(value, datum))
			{
				drop_value(row, att);
				complete = false;
				continue;
			}
			table->values[att - 1] = PointerGetDatum(&value->data.value);
			if (*recalled == NULL)
				*recalled = palloc0(sizeof(bool) * table->natts);
			unconstify(bool *, *recalled)[att - 1] = true;
		}
	}
	if (row != NULL && row->values == NULL)
		free_row(row);
	return complete;
}
