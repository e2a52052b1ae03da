/*-------------------------------------------------------------------------
 * rule.c
 *		Which tables a rule means; see rule.h.
 *
 * Never meant are system tables, the extension's own, temporary and unlogged
 * tables, and whatever holds no rows of its own.
 *
 * Runs: user backends, and decoding callbacks of the lane under a historic
 * snapshot: catalogs only, and no ERROR for what a table is like.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "base/compat.h"
#include "catalog/catalog.h"
#include "catalog/columns.h"
#include "catalog/key.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/rule.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

CdcRules *
cdc_rules_parse(int n, char *const *rules)
{
	CdcRules   *parsed;

	if (n == 0)
		return NULL;
	parsed = palloc0(sizeof(CdcRules));
	for (int i = 0; i < n; i++)
	{
		const char *space = strchr(rules[i], ' ');
		Oid			oid = space ? (Oid) strtoul(space + 1, NULL, 10) : InvalidOid;

		if (strcmp(rules[i], "all") == 0)
			parsed->all = true;
		else if (strncmp(rules[i], "schema ", 7) == 0)
			parsed->schemas = lappend_oid(parsed->schemas, oid);
		else if (strncmp(rules[i], "publication ", 12) == 0)
			parsed->publications = lappend_oid(parsed->publications, oid);
		else if (strncmp(rules[i], "except ", 7) == 0)
			parsed->except = lappend_oid(parsed->except, oid);
		else
			elog(ERROR, "unknown rule of a changefeed: %s", rules[i]);
	}
	return parsed;
}

static void
append_rule(StringInfo buf, const char *what, const char *name, Oid oid)
{
	appendStringInfo(buf, "%s%s ", buf->len > 0 ? ", " : "", what);
	if (name != NULL)
		appendStringInfoString(buf, quote_identifier(name));
	else
		appendStringInfo(buf, "%u", oid);	/* it has gone */
}

char *
cdc_rules_describe(const CdcRules *rules)
{
	StringInfoData buf;
	ListCell   *lc;
	bool		first = true;

	initStringInfo(&buf);
	foreach(lc, rules->schemas)
		append_rule(&buf, "TABLES IN SCHEMA", get_namespace_name(lfirst_oid(lc)),
					lfirst_oid(lc));
	foreach(lc, rules->publications)
		append_rule(&buf, "PUBLICATION",
					cdc_compat_publication_name(lfirst_oid(lc)), lfirst_oid(lc));
	if (rules->all)
		appendStringInfo(&buf, "%sALL TABLES", buf.len > 0 ? ", " : "");
	foreach(lc, rules->except)
	{
		char	   *name = get_rel_name(lfirst_oid(lc));

		if (name == NULL)
			continue;
		appendStringInfo(&buf, "%s%s", first ? " EXCEPT TABLE " : ", ",
						 quote_qualified_identifier(get_namespace_name(get_rel_namespace(lfirst_oid(lc))),
													name));
		first = false;
	}
	return buf.data;
}

/* Could any rule mean this relation? */
static bool
is_candidate(Oid relid, Form_pg_class rel)
{
	char	   *nspname;
	bool		own;

	if (relid < FirstNormalObjectId ||
		(rel->relkind != RELKIND_RELATION &&
		 rel->relkind != RELKIND_PARTITIONED_TABLE) ||
		rel->relpersistence != RELPERSISTENCE_PERMANENT ||
		IsCatalogNamespace(rel->relnamespace) ||
		IsToastNamespace(rel->relnamespace))
		return false;
	nspname = get_namespace_name(rel->relnamespace);
	own = nspname == NULL || strcmp(nspname, "cdc_sink") == 0;
	if (nspname != NULL)
		pfree(nspname);
	return !own;
}

/* Does a rule mean just this relation? */
static bool
matches(const CdcRules *rules, Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class rel;
	bool		found = false;
	ListCell   *lc;

	if (!HeapTupleIsValid(tuple))
		return false;
	rel = (Form_pg_class) GETSTRUCT(tuple);
	if (is_candidate(relid, rel) && !list_member_oid(rules->except, relid))
	{
		found = rules->all || list_member_oid(rules->schemas, rel->relnamespace);
		foreach(lc, rules->publications)
		{
			if (found)
				break;
			found = cdc_compat_publishes(lfirst_oid(lc), relid, rel->relnamespace);
		}
	}
	ReleaseSysCache(tuple);
	return found;
}

Oid
cdc_rules_match(const CdcRules *rules, Oid relid)
{
	Oid			match = InvalidOid;

	if (get_rel_relispartition(relid))
	{
		/* from the one right above up to the root: the last that matches */
		List	   *ancestors = get_partition_ancestors(relid);
		ListCell   *lc;

		foreach(lc, ancestors)
		{
			if (list_member_oid(rules->except, lfirst_oid(lc)))
			{
				list_free(ancestors);
				return InvalidOid;
			}
			if (matches(rules, lfirst_oid(lc)))
				match = lfirst_oid(lc);
		}
		list_free(ancestors);
		if (list_member_oid(rules->except, relid))
			return InvalidOid;
	}
	if (!OidIsValid(match) && matches(rules, relid))
		match = relid;
	return match;
}

List *
cdc_rules_expand(const CdcRules *rules)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(pg_class, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	List	   *relids = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class rel = (Form_pg_class) GETSTRUCT(tuple);

		if (is_candidate(rel->oid, rel) && cdc_rules_match(rules, rel->oid) == rel->oid)
			relids = lappend_oid(relids, rel->oid);
	}
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);

	/* the order of creation, not that of the catalog's pages */
	list_sort(relids, list_oid_cmp);
	return relids;
}

char *
cdc_rules_columns(const CdcRules *rules, Oid relid)
{
	char	   *columns = NULL;
	ListCell   *lc;

	if (rules->all || list_member_oid(rules->schemas, get_rel_namespace(relid)))
		return pstrdup("");
	foreach(lc, rules->publications)
	{
		char	   *list;

		if (!cdc_compat_publishes(lfirst_oid(lc), relid, get_rel_namespace(relid)))
			continue;
		list = cdc_compat_publication_columns(lfirst_oid(lc), relid);

		/* what one of them tells in full is told in full */
		if (list[0] == '\0')
			return list;
		columns = columns == NULL ? list : cdc_columns_union(columns, list);
	}
	return columns ? columns : pstrdup("");
}

static char *
unfit_identity(Relation rel, const char *columns)
{
	CdcIdentity identity;
	int			nkeys;
	AttrNumber *keyatts = cdc_table_key(rel, &nkeys, &identity);

	if (identity == CDC_IDENTITY_NONE)
		return pstrdup("has no primary key, or a replica identity that does not tell it");
	for (int i = 0; i < nkeys; i++)
	{
		if (!cdc_columns_contain(columns, keyatts[i]))
			return pstrdup("is published without all columns of its key");
	}
	return NULL;
}

bool
cdc_rules_has_full_identity(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		full = false;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_class rel = (Form_pg_class) GETSTRUCT(tuple);

		full = rel->relkind != RELKIND_RELATION ||
			rel->relreplident == REPLICA_IDENTITY_FULL;
		ReleaseSysCache(tuple);
	}
	return full;
}

char *
cdc_rules_unfit(const CdcRules *rules, Oid relid, Oid owner)
{
	Relation	rel;
	char	   *columns = cdc_rules_columns(rules, relid);
	char	   *why = NULL;
	ListCell   *lc;

	if (!superuser_arg(owner) &&
		pg_class_aclcheck(relid, owner, ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, owner, ACL_SELECT,
								  ACLMASK_ALL) != ACLCHECK_OK)
		return pstrdup("may not be read by the owner of the changefeed");

	rel = RelationIdGetRelation(relid);
	if (rel == NULL)
		return pstrdup("has gone");
	if (rel->rd_rel->relrowsecurity && !superuser_arg(owner) &&
		!has_bypassrls_privilege(owner) &&
		(rel->rd_rel->relforcerowsecurity ||
		 !has_privs_of_role(owner, rel->rd_rel->relowner)))
		why = pstrdup("has row-level security that applies to the owner of the changefeed");
	else if (rel->rd_rel->relkind == RELKIND_RELATION ||
			 rel->rd_rel->relreplident != REPLICA_IDENTITY_FULL)
		why = unfit_identity(rel, columns);
	RelationClose(rel);

	foreach(lc, rules->publications)
	{
		if (why == NULL && !rules->all &&
			cdc_compat_publication_filters(lfirst_oid(lc), relid))
			why = pstrdup("has a row filter in its publication, which changefeeds do not apply");
	}
	return why;
}
