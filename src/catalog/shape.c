/*-------------------------------------------------------------------------
 * shape.c
 *		What was changed in a table's definition; see shape.h.
 *
 * The caches are passed by on purpose: while a transaction is decoded they
 * may hold entries of another moment than its end, and a shape that is
 * wrong once would be taken for a change.
 *
 * Runs: backends, decoding callbacks (under a historic snapshot).  Reads
 * catalogs only.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "base/compat.h"
#include "catalog/indexing.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/columns.h"
#include "catalog/shape.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "parser/parse_coerce.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

/* Copies the fixed part of a table's row in pg_class; false: none. */
static bool
read_class(Relation pg_class, Oid relid, FormData_pg_class *form)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(pg_class, ClassOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
		memcpy(form, GETSTRUCT(tuple), CLASS_TUPLE_SIZE);
	systable_endscan(scan);
	return tuple != NULL;
}

static void
read_columns(Oid relid, CdcShape *shape)
{
	Relation	pg_attribute = table_open(AttributeRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	int			max = 16;

	shape->columns = palloc(sizeof(CdcShapeColumn) * max);
	ScanKeyInit(&keys[0], Anum_pg_attribute_attrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	ScanKeyInit(&keys[1], Anum_pg_attribute_attnum, BTGreaterStrategyNumber,
				F_INT2GT, Int16GetDatum(0));
	scan = systable_beginscan(pg_attribute, AttributeRelidNumIndexId, true,
							  NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tuple);
		CdcShapeColumn *column;

		if (att->attisdropped)
			continue;
		if (shape->ncolumns == max)
		{
			max *= 2;
			shape->columns = repalloc(shape->columns, sizeof(CdcShapeColumn) * max);
		}
		column = &shape->columns[shape->ncolumns++];
		column->attnum = att->attnum;
		column->type = att->atttypid;
		column->typmod = att->atttypmod;
		column->generated = att->attgenerated ? att->attgenerated : '-';
		column->not_null = att->attnotnull;
		column->has_default = att->atthasdef;
		column->has_missing = att->atthasmissing;
		column->written = HeapTupleHeaderGetRawXmin(tuple->t_data);
		column->name = pstrdup(NameStr(att->attname));
	}
	systable_endscan(scan);
	table_close(pg_attribute, AccessShareLock);
}

/* The type of a column, InvalidOid if there is no such column. */
static Oid
column_type(const CdcShape *shape, AttrNumber attnum)
{
	for (int i = 0; i < shape->ncolumns; i++)
	{
		if (shape->columns[i].attnum == attnum)
			return shape->columns[i].type;
	}
	return InvalidOid;
}

/* The same rules as cdc_table_key(). */
static void
read_key(Oid relid, char replident, CdcShape *shape)
{
	Relation	pg_index = table_open(IndexRelationId, AccessShareLock);
	StringInfoData primary;
	StringInfoData identity;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		pk_is_identity = false;

	initStringInfo(&primary);
	initStringInfo(&identity);
	ScanKeyInit(&key, Anum_pg_index_indrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(pg_index, IndexIndrelidIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_index index = (Form_pg_index) GETSTRUCT(tuple);

		if (!index->indislive || !index->indimmediate ||
			!(index->indisprimary || index->indisreplident) ||
			(!index->indisvalid && !index->indisprimary))
			continue;
		for (int i = 0; i < index->indnkeyatts; i++)
		{
			AttrNumber	attnum = index->indkey.values[i];

			if (index->indisprimary)
				appendStringInfo(&primary, " %d/%u", attnum,
								 column_type(shape, attnum));
			if (index->indisreplident)
				appendStringInfo(&identity, " %d/%u", attnum,
								 column_type(shape, attnum));
		}
		if (index->indisprimary && index->indisreplident)
			pk_is_identity = true;
	}
	systable_endscan(scan);
	table_close(pg_index, AccessShareLock);

	/* f: the old row, k: its key, n: neither */
	if (replident == REPLICA_IDENTITY_FULL)
		shape->key = psprintf("f%s", primary.len > 0 ? primary.data : " *");
	else if (primary.len > 0)
		shape->key = psprintf("%c%s",
							  replident == REPLICA_IDENTITY_DEFAULT ||
							  (replident == REPLICA_IDENTITY_INDEX && pk_is_identity) ? 'k' : 'n',
							  primary.data);
	else if (replident == REPLICA_IDENTITY_INDEX && identity.len > 0)
		shape->key = psprintf("k%s", identity.data);
	else
		shape->key = pstrdup("n");
}

/* Who wrote the row of column ctid, which is never updated. */
TransactionId
cdc_shape_made_by(Oid relid)
{
	Relation	pg_attribute = table_open(AttributeRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	TransactionId xid = InvalidTransactionId;

	ScanKeyInit(&keys[0], Anum_pg_attribute_attrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	ScanKeyInit(&keys[1], Anum_pg_attribute_attnum, BTEqualStrategyNumber,
				F_INT2EQ, Int16GetDatum(SelfItemPointerAttributeNumber));
	scan = systable_beginscan(pg_attribute, AttributeRelidNumIndexId, true,
							  NULL, 2, keys);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
		xid = HeapTupleHeaderGetRawXmin(tuple->t_data);
	systable_endscan(scan);
	table_close(pg_attribute, AccessShareLock);
	return xid;
}

static int
compare_leaves(const void *a, const void *b)
{
	Oid			l = ((const CdcShapeLeaf *) a)->relid;
	Oid			r = ((const CdcShapeLeaf *) b)->relid;

	return l < r ? -1 : l > r;
}

/* Adds the partitions below a table, those below them included. */
static void
read_leaves(Relation pg_class, Relation pg_inherits, Oid parent,
			CdcShape *shape, int *max)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *below = NIL;
	ListCell   *lc;

	check_stack_depth();
	ScanKeyInit(&key, Anum_pg_inherits_inhparent, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(parent));
	scan = systable_beginscan(pg_inherits, InheritsParentIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Oid			relid = ((Form_pg_inherits) GETSTRUCT(tuple))->inhrelid;
		TransactionId linked = HeapTupleHeaderGetRawXmin(tuple->t_data);
		FormData_pg_class form;

		if (!read_class(pg_class, relid, &form))
			continue;
		if (form.relkind == RELKIND_PARTITIONED_TABLE)
			below = lappend_oid(below, relid);
		if (form.relkind != RELKIND_RELATION)
			continue;
		if (shape->nleaves == *max)
		{
			*max = Max(*max * 2, 16);
			shape->leaves = shape->leaves == NULL ?
				palloc(sizeof(CdcShapeLeaf) * *max) :
				repalloc(shape->leaves, sizeof(CdcShapeLeaf) * *max);
		}
		shape->leaves[shape->nleaves].relid = relid;
		shape->leaves[shape->nleaves].filenode = form.relfilenode;
		shape->leaves[shape->nleaves].new_with_link = linked == cdc_shape_made_by(relid);
		shape->nleaves++;
	}
	systable_endscan(scan);
	foreach(lc, below)
		read_leaves(pg_class, pg_inherits, lfirst_oid(lc), shape, max);
	list_free(below);
}

CdcShape *
cdc_shape_read(Oid relid)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	FormData_pg_class form;
	CdcShape   *shape = NULL;

	if (read_class(pg_class, relid, &form))
	{
		shape = palloc0(sizeof(CdcShape));
		shape->kind = form.relkind;
		shape->persistence = form.relpersistence;
		shape->filenode = form.relfilenode;
		read_columns(relid, shape);
		read_key(relid, form.relreplident, shape);
		if (form.relkind == RELKIND_PARTITIONED_TABLE)
		{
			Relation	pg_inherits = table_open(InheritsRelationId, AccessShareLock);
			int			max = 0;

			read_leaves(pg_class, pg_inherits, relid, shape, &max);
			table_close(pg_inherits, AccessShareLock);
			if (shape->nleaves > 0)
				qsort(shape->leaves, shape->nleaves, sizeof(CdcShapeLeaf), compare_leaves);
		}
	}
	table_close(pg_class, AccessShareLock);
	return shape;
}

char *
cdc_shape_print(const CdcShape *shape)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%c %c %u %d %d %s\n", shape->kind,
					 shape->persistence, shape->filenode, shape->ncolumns,
					 shape->nleaves, shape->key);
	for (int i = 0; i < shape->ncolumns; i++)
	{
		const CdcShapeColumn *c = &shape->columns[i];

		appendStringInfo(&buf, "%d %u %d %c %d %d %d %u %d %s\n", c->attnum,
						 c->type, c->typmod, c->generated, c->not_null,
						 c->has_default, c->has_missing, c->written,
						 (int) strlen(c->name), c->name);
	}
	for (int i = 0; i < shape->nleaves; i++)
		appendStringInfo(&buf, "%u %u\n", shape->leaves[i].relid,
						 shape->leaves[i].filenode);
	return buf.data;
}

pg_noreturn static void
damaged(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("the stored definition of a changefeed's table is damaged")));
}

CdcShape *
cdc_shape_parse(const char *text)
{
	CdcShape   *shape = palloc0(sizeof(CdcShape));
	const char *p = text;
	const char *end;
	int			used = 0;

	if (sscanf(p, "%c %c %u %d %d %n", &shape->kind, &shape->persistence,
			   &shape->filenode, &shape->ncolumns, &shape->nleaves, &used) != 5 ||
		used == 0 || shape->ncolumns < 0 || shape->ncolumns > MaxHeapAttributeNumber ||
		shape->nleaves < 0 || shape->nleaves > (int) (strlen(text) / 2))
		damaged();
	p += used;
	end = strchr(p, '\n');
	if (end == NULL)
		damaged();
	shape->key = pnstrdup(p, end - p);
	p = end + 1;

	shape->columns = palloc0(sizeof(CdcShapeColumn) * Max(shape->ncolumns, 1));
	for (int i = 0; i < shape->ncolumns; i++)
	{
		CdcShapeColumn *c = &shape->columns[i];
		int			attnum;
		int			flags[3];
		int			len;

		used = 0;
		if (sscanf(p, "%d %u %d %c %d %d %d %u %d%n", &attnum, &c->type,
				   &c->typmod, &c->generated, &flags[0], &flags[1], &flags[2],
				   &c->written, &len, &used) != 9 ||
			used == 0 || len < 0 || strlen(p) < (size_t) used + len + 2)
			damaged();
		c->attnum = (AttrNumber) attnum;
		c->not_null = flags[0] != 0;
		c->has_default = flags[1] != 0;
		c->has_missing = flags[2] != 0;
		c->name = pnstrdup(p + used + 1, len);
		p += used + len + 2;
	}
	shape->leaves = palloc0(sizeof(CdcShapeLeaf) * Max(shape->nleaves, 1));
	for (int i = 0; i < shape->nleaves; i++)
	{
		CdcShapeLeaf *leaf = &shape->leaves[i];

		used = 0;
		if (sscanf(p, "%u %u%n", &leaf->relid, &leaf->filenode, &used) != 2 ||
			used == 0 || p[used] != '\n')
			damaged();
		p += used + 1;
	}
	return shape;
}

static const CdcShapeColumn *
find_column(const CdcShape *shape, AttrNumber attnum)
{
	for (int i = 0; i < shape->ncolumns; i++)
	{
		if (shape->columns[i].attnum == attnum)
			return &shape->columns[i];
	}
	return NULL;
}

const CdcShape *
cdc_shape_listed(const CdcShape *shape, const char *columns)
{
	CdcShape   *listed;

	if (shape == NULL || columns[0] == '\0')
		return shape;
	listed = palloc(sizeof(CdcShape));
	*listed = *shape;
	listed->columns = palloc(sizeof(CdcShapeColumn) * Max(shape->ncolumns, 1));
	listed->ncolumns = 0;
	for (int i = 0; i < shape->ncolumns; i++)
	{
		if (cdc_columns_contain(columns, shape->columns[i].attnum))
			listed->columns[listed->ncolumns++] = shape->columns[i];
	}
	return listed;
}

bool
cdc_shape_has_leaf(const CdcShape *shape, Oid relid)
{
	CdcShapeLeaf key;

	key.relid = relid;
	return shape->nleaves > 0 &&
		bsearch(&key, shape->leaves, shape->nleaves, sizeof(CdcShapeLeaf),
				compare_leaves) != NULL;
}

/* Were the rows written anew, those of a partition that stayed included? */
static bool
has_new_file(const CdcShape *before, const CdcShape *after)
{
	if (before->filenode != after->filenode)
		return true;
	for (int i = 0; i < after->nleaves; i++)
	{
		CdcShapeLeaf *old = before->nleaves == 0 ? NULL :
			bsearch(&after->leaves[i], before->leaves, before->nleaves,
					sizeof(CdcShapeLeaf), compare_leaves);

		if (old != NULL && old->filenode != after->leaves[i].filenode)
			return true;
	}
	return false;
}

/*
 * A column whose row in pg_attribute was written in the course of a change
 * that wrote the table anew was converted, by ALTER TYPE, also to the type
 * it had.  VACUUM FULL and CLUSTER leave that row alone, but for filling in
 * the value that older rows lack.
 */
static bool
was_converted(const CdcShapeColumn *before, const CdcShapeColumn *after,
			  bool new_file)
{
	if (new_file)
		return before->type != after->type || before->typmod != after->typmod ||
			(before->written != after->written &&
			 before->has_missing == after->has_missing);
	return before->type != after->type &&
		!IsBinaryCoercible(before->type, after->type);
}

int
cdc_shape_compare(const CdcShape *before, const CdcShape *after,
				  const char *listed)
{
	bool		new_file = has_new_file(before, after);
	int			bits = 0;

	for (int i = 0; i < after->ncolumns; i++)
	{
		const CdcShapeColumn *c = &after->columns[i];
		const CdcShapeColumn *old = find_column(before, c->attnum);

		if (c->generated == ATTRIBUTE_GENERATED_VIRTUAL ||
			!cdc_columns_contain(listed, c->attnum))
			continue;
		if (old == NULL)
			bits |= c->not_null || c->has_missing || c->generated == 's' ||
				(c->has_default && after->kind == RELKIND_PARTITIONED_TABLE) ||
				new_file ? CDC_SHAPE_FILLED : CDC_SHAPE_ADDED;
		else if (was_converted(old, c, new_file))
			bits |= CDC_SHAPE_REWRITTEN;
	}
	for (int i = 0; i < before->ncolumns; i++)
	{
		if (before->columns[i].generated != ATTRIBUTE_GENERATED_VIRTUAL &&
			cdc_columns_contain(listed, before->columns[i].attnum) &&
			find_column(after, before->columns[i].attnum) == NULL)
			bits |= CDC_SHAPE_DROPPED;
	}
	if (strcmp(before->key + 1, after->key + 1) != 0)
		bits |= CDC_SHAPE_KEY;
	for (int i = 0; i < after->nleaves; i++)
	{
		if (!cdc_shape_has_leaf(before, after->leaves[i].relid))
			bits |= CDC_SHAPE_ATTACHED;
	}
	return bits;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const CdcShapeColumn *) a)->name,
				  ((const CdcShapeColumn *) b)->name);
}

char *
cdc_shape_columns(const CdcShape *shape)
{
	CdcShapeColumn *sorted = palloc(sizeof(CdcShapeColumn) * Max(shape->ncolumns, 1));
	StringInfoData buf;

	initStringInfo(&buf);
	if (shape->ncolumns > 0)
	{
		memcpy(sorted, shape->columns, sizeof(CdcShapeColumn) * shape->ncolumns);
		qsort(sorted, shape->ncolumns, sizeof(CdcShapeColumn), compare_names);
	}
	for (int i = 0; i < shape->ncolumns; i++)
		appendStringInfo(&buf, "%u %d %c %s\n", sorted[i].type, sorted[i].typmod,
						 sorted[i].generated, sorted[i].name);
	pfree(sorted);
	return buf.data;
}

char *
cdc_desc_columns(TupleDesc desc)
{
	CdcShape	shape;
	char	   *text;

	memset(&shape, 0, sizeof(shape));
	shape.columns = palloc0(sizeof(CdcShapeColumn) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		CdcShapeColumn *column = &shape.columns[shape.ncolumns];

		if (att->attisdropped)
			continue;
		column->type = att->atttypid;
		column->typmod = att->atttypmod;
		column->generated = att->attgenerated ? att->attgenerated : '-';
		column->name = NameStr(att->attname);
		shape.ncolumns++;
	}
	text = cdc_shape_columns(&shape);
	pfree(shape.columns);
	return text;
}
