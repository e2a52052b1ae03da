/*-------------------------------------------------------------------------
 * columns.c
 *		Lists of columns of a target; see columns.h.
 *
 * Encoders know nothing of them: they are given a descriptor in which what
 * is not to be sent has been dropped.  A list is kept by number, so that a
 * column may be renamed; those of a partition, which may have other numbers,
 * go by the name at the time.
 *
 * Runs: user backends, scan workers, and decoding callbacks (under a
 * historic snapshot): reads catalogs only.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/columns.h"
#include "catalog/key.h"
#include "lib/stringinfo.h"
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static Bitmapset *
parse(const char *columns)
{
	Bitmapset  *set = NULL;
	const char *p = columns;

	while (*p != '\0')
	{
		char	   *end;
		long		attnum = strtol(p, &end, 10);

		if (end == p || attnum <= 0 || attnum > MaxHeapAttributeNumber)
			elog(ERROR, "malformed list of columns: %s", columns);
		set = bms_add_member(set, (int) attnum);
		p = *end == ' ' ? end + 1 : end;
	}
	return set;
}

static char *
print(const Bitmapset *set)
{
	StringInfoData buf;
	int			attnum = -1;

	initStringInfo(&buf);
	while ((attnum = bms_next_member(set, attnum)) >= 0)
		appendStringInfo(&buf, "%s%d", buf.len > 0 ? " " : "", attnum);
	return buf.data;
}

bool
cdc_columns_contain(const char *columns, AttrNumber attnum)
{
	return columns[0] == '\0' || bms_is_member(attnum, parse(columns));
}

char *
cdc_columns_union(const char *a, const char *b)
{
	return print(bms_add_members(parse(a), parse(b)));
}

char *
cdc_columns_resolve(Relation rel, List *names)
{
	Bitmapset  *set = NULL;
	CdcIdentity identity;
	AttrNumber *keyatts;
	int			nkeys;
	ListCell   *lc;

	if (names == NIL)
		return pstrdup("");
	foreach(lc, names)
	{
		const char *name = lfirst(lc);
		AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);

		if (attnum <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of relation \"%s\" does not exist",
							name, RelationGetRelationName(rel))));
		if (bms_is_member(attnum, set))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"%s\" specified more than once", name)));
		set = bms_add_member(set, attnum);
	}
	keyatts = cdc_table_key(rel, &nkeys, &identity);
	for (int i = 0; i < nkeys; i++)
	{
		if (!bms_is_member(keyatts[i], set))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
					 errmsg("column list of table \"%s\" lacks key column \"%s\"",
							RelationGetRelationName(rel),
							get_attname(RelationGetRelid(rel), keyatts[i], false)),
					 errhint("All columns of the key must be in the list.")));
	}
	return print(set);
}

char *
cdc_columns_describe(Oid relid, const char *columns)
{
	StringInfoData buf;
	Bitmapset  *set = parse(columns);
	int			attnum = -1;

	initStringInfo(&buf);
	while ((attnum = bms_next_member(set, attnum)) >= 0)
	{
		char	   *name = get_attname(relid, attnum, true);

		if (name != NULL)
			appendStringInfo(&buf, "%s%s", buf.len > 0 ? ", " : " (",
							 quote_identifier(name));
	}
	if (buf.len > 0)
		appendStringInfoChar(&buf, ')');
	return buf.data;
}

/* Name of a target's column, NULL if it was dropped. */
static char *
column_name(Oid relid, AttrNumber attnum)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relid),
										Int16GetDatum(attnum));
	char	   *name = NULL;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tuple);

		if (!att->attisdropped)
			name = pstrdup(NameStr(att->attname));
		ReleaseSysCache(tuple);
	}
	return name;
}

TupleDesc
cdc_columns_mask(TupleDesc desc, Oid relid, Oid target, const char *columns)
{
	TupleDesc	masked;
	Bitmapset  *set;
	List	   *names = NIL;
	int			attnum = -1;

	if (columns[0] == '\0')
		return desc;
	set = parse(columns);
	while (relid != target && (attnum = bms_next_member(set, attnum)) >= 0)
	{
		char	   *name = column_name(target, attnum);

		if (name != NULL)
			names = lappend(names, name);
	}

	masked = CreateTupleDescCopy(desc);
	for (int i = 0; i < masked->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(masked, i);
		bool		listed = false;
		ListCell   *lc;

		if (relid == target)
			listed = bms_is_member(att->attnum, set);
		else
			foreach(lc, names)
				listed |= strcmp(lfirst(lc), NameStr(att->attname)) == 0;
		if (!listed)
			att->attisdropped = true;
	}
	return masked;
}
