/*-------------------------------------------------------------------------
 * target.c
 *		Tables of a changefeed: finding, checking and naming them.
 *
 * Whatever makes a table unfit for a feed is refused here, by name and with
 * the way out: what slips through is found by the lane much later, when the
 * change that cannot be sent is already in the WAL.  The rules about keys
 * follow what the lane does with a row (table/relcache.c).
 *
 * Runs: user backends, as the user, in their transaction.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/transam.h"
#include "base/compat.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/columns.h"
#include "catalog/pg_publication.h"
#include "catalog/rule.h"
#include "catalog/shape.h"
#include "catalog/target.h"
#include "commands/dbcommands.h"
#include "encode/debezium.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/statement.h"
#include "sink/topic.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/rls.h"
#include "utils/syscache.h"

char *
cdc_target_text(const CdcTargetName *name)
{
	StringInfoData buf;

	initStringInfo(&buf);
	if (name->database)
		appendStringInfo(&buf, "%s.", quote_identifier(name->database));
	if (name->schema)
		appendStringInfo(&buf, "%s.", quote_identifier(name->schema));
	appendStringInfoString(&buf, quote_identifier(name->name));
	return buf.data;
}

char *
cdc_targets_describe(List *names)
{
	StringInfoData buf;
	ListCell   *lc;
	CdcTargetKind last = CDC_TARGET_TABLE;

	initStringInfo(&buf);
	foreach(lc, names)
	{
		CdcTargetName *name = lfirst(lc);
		ListCell   *col;

		if (name->kind == CDC_TARGET_EXCEPT && last != CDC_TARGET_EXCEPT)
			appendStringInfoString(&buf, " EXCEPT ");
		else if (buf.len > 0)
			appendStringInfoString(&buf, ", ");
		last = name->kind;
		switch (name->kind)
		{
			case CDC_TARGET_SCHEMA:
				appendStringInfo(&buf, "TABLES IN SCHEMA %s", quote_identifier(name->name));
				continue;
			case CDC_TARGET_PUBLICATION:
				appendStringInfo(&buf, "PUBLICATION %s", quote_identifier(name->name));
				continue;
			case CDC_TARGET_ALL:
				appendStringInfoString(&buf, "ALL TABLES");
				continue;
			default:
				appendStringInfo(&buf, "TABLE %s", cdc_target_text(name));
				break;
		}
		foreach(col, name->columns)
			appendStringInfo(&buf, "%s%s", col == list_head(name->columns) ? " (" : ", ",
							 quote_identifier(lfirst(col)));
		if (name->columns != NIL)
			appendStringInfoChar(&buf, ')');
	}
	return buf.data;
}

/* schema.table, for hints and messages */
static char *
sql_name_of(Oid relid)
{
	char	   *name = get_rel_name(relid);

	return name == NULL ? psprintf("%u", relid) :
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
}

static char *
sql_name(Relation rel)
{
	return sql_name_of(RelationGetRelid(rel));
}

static bool
may_read(Oid relid, Oid role)
{
	return pg_class_aclcheck(relid, role, ACL_SELECT) == ACLCHECK_OK ||
		pg_attribute_aclcheck_all(relid, role, ACL_SELECT,
								  ACLMASK_ALL) == ACLCHECK_OK;
}

void
cdc_target_check_access(Oid relid, Oid role)
{
	char	   *name = get_rel_name(relid);

	if (name == NULL)
		return;
	if (!may_read(relid, role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s", name),
				 errdetail("The owner of a changefeed needs the SELECT privilege on all of its tables.")));
	if (check_enable_rls(relid, role, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security is enabled for table \"%s\"", name),
				 errdetail("A changefeed sends every row, whatever the policies say."),
				 errhint("Create the changefeed as a role with BYPASSRLS.")));
}

static void
refuse_kind(const char *plural, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("CHANGEFEED cannot target %s: %s", plural, name)));
}

static void
check_kind(Oid relid, const char *name)
{
	Oid			nsp = get_rel_namespace(relid);
	char	   *nspname = get_namespace_name(nsp);

	if (relid < FirstNormalObjectId || IsToastNamespace(nsp))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("CHANGEFEEDs are not supported on system tables"),
				 errdetail("\"%s\" is a system table.", name)));
	if (nspname != NULL && strcmp(nspname, "cdc_sink") == 0)
		refuse_kind("tables of the extension itself", name);

	switch (get_rel_relkind(relid))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			break;
		case RELKIND_VIEW:
			refuse_kind("views", name);
			break;
		case RELKIND_MATVIEW:
			refuse_kind("materialized views", name);
			break;
		case RELKIND_SEQUENCE:
			refuse_kind("sequences", name);
			break;
		case RELKIND_FOREIGN_TABLE:
			refuse_kind("foreign tables", name);
			break;
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			refuse_kind("indexes", name);
			break;
		case RELKIND_COMPOSITE_TYPE:
			refuse_kind("types", name);
			break;
		default:
			refuse_kind("this kind of relation", name);
	}
}

/* What the checks before the lock need. */
typedef struct LookupArg
{
	const char *text;
	Oid			role;
} LookupArg;

/* Called with the relation found and not yet locked. */
static void
lookup_callback(const RangeVar *rv, Oid relid, Oid old_relid, void *arg)
{
	const LookupArg *look = arg;

	if (!OidIsValid(relid))
		return;
	check_kind(relid, look->text);
	cdc_target_check_access(relid, look->role);
}

static void
check_persistence(Relation rel)
{
	switch (rel->rd_rel->relpersistence)
	{
		case RELPERSISTENCE_TEMP:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("CHANGEFEED cannot target temporary tables: %s",
							RelationGetRelationName(rel)),
					 errdetail("Changes of temporary tables are not in the WAL.")));
			break;
		case RELPERSISTENCE_UNLOGGED:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("CHANGEFEED cannot target unlogged tables: %s",
							RelationGetRelationName(rel)),
					 errdetail("Changes of unlogged tables are not in the WAL."),
					 errhint("Use ALTER TABLE %s SET LOGGED.", sql_name(rel))));
			break;
		default:
			break;
	}
}

/* Is there a primary key that does not count, since it is deferrable? */
static bool
has_deferrable_key(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;
	bool		found = false;

	foreach(lc, indexes)
	{
		HeapTuple	tup = SearchSysCache1(INDEXRELID,
										  ObjectIdGetDatum(lfirst_oid(lc)));

		if (HeapTupleIsValid(tup))
		{
			Form_pg_index index = (Form_pg_index) GETSTRUCT(tup);

			if (index->indisprimary && !index->indimmediate)
				found = true;
			ReleaseSysCache(tup);
		}
	}
	list_free(indexes);
	return found;
}

/*
 * Can every UPDATE and DELETE of this table, which holds rows, be told by
 * its key?  The key is the primary key, else the columns of the index that
 * is the replica identity, else with REPLICA IDENTITY FULL all columns.  An
 * identity by another index than the primary key would hide the old key.
 */
static void
check_identity(Relation rel)
{
	char		ident = rel->rd_rel->relreplident;
	bool		has_pk;
	const char *name = RelationGetRelationName(rel);

	list_free(RelationGetIndexList(rel));	/* sets the two members below */
	has_pk = OidIsValid(cdc_compat_primary_key(rel));

	if (ident == REPLICA_IDENTITY_FULL ||
		(ident == REPLICA_IDENTITY_DEFAULT && has_pk) ||
		(ident == REPLICA_IDENTITY_INDEX && OidIsValid(rel->rd_replidindex) &&
		 (!has_pk || cdc_compat_primary_key(rel) == rel->rd_replidindex)))
		return;

	if (has_pk)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replica identity of table \"%s\" does not tell its primary key",
						name),
				 errdetail("Deletes and updates of the key could not be sent."),
				 errhint("Use ALTER TABLE %s REPLICA IDENTITY DEFAULT (or FULL).",
						 sql_name(rel))));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" has no primary key and no replica identity",
					name),
			 has_deferrable_key(rel) ?
			 errdetail("A deferrable primary key does not identify rows in the WAL.") :
			 errdetail("Its deletes and updates could not be told apart."),
			 errhint("Add a primary key, or use ALTER TABLE %s REPLICA IDENTITY FULL.",
					 sql_name(rel))));
}

/* The tables below a partitioned one, which hold its rows. */
static void
check_partitions(Relation root)
{
	List	   *relids;
	ListCell   *lc;
	bool		root_has_pk;

	list_free(RelationGetIndexList(root));
	root_has_pk = OidIsValid(cdc_compat_primary_key(root));

	relids = find_all_inheritors(RelationGetRelid(root), AccessShareLock, NULL);
	foreach(lc, relids)
	{
		Relation	leaf = relation_open(lfirst_oid(lc), NoLock);
		char		kind = leaf->rd_rel->relkind;

		if (kind == RELKIND_FOREIGN_TABLE)
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("CHANGEFEED cannot target foreign tables: %s",
							RelationGetRelationName(leaf)),
					 errdetail("It is a partition of \"%s\".",
							   RelationGetRelationName(root))));
		if (kind == RELKIND_RELATION)
		{
			check_persistence(leaf);
			check_identity(leaf);
			if (OidIsValid(cdc_compat_primary_key(leaf)) != root_has_pk)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("primary key of partition \"%s\" is not that of table \"%s\"",
								RelationGetRelationName(leaf),
								RelationGetRelationName(root)),
						 errhint("Add the primary key to the partitioned table.")));
		}
		relation_close(leaf, NoLock);
	}

	/* the initial scan takes its keys from the root */
	if (!root_has_pk && root->rd_rel->relreplident != REPLICA_IDENTITY_FULL)
		check_identity(root);
	list_free(relids);
}

static void
check_table(Relation rel)
{
	check_persistence(rel);
	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
	{
		if (rel->rd_rel->relispartition)
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("CHANGEFEED cannot target partitions that are partitioned themselves: %s",
							RelationGetRelationName(rel)),
					 errhint("Name the table at the top, or the partitions that hold the rows.")));
		check_partitions(rel);
		return;
	}
	check_identity(rel);
	if (!rel->rd_rel->relispartition &&
		has_subclass(RelationGetRelid(rel)) &&
		find_inheritance_children(RelationGetRelid(rel), NoLock) != NIL)
		ereport(NOTICE,
				(errmsg("rows of tables that inherit from \"%s\" are not sent",
						RelationGetRelationName(rel)),
				 errhint("Name those tables as well.")));
}

Oid
cdc_target_find(const CdcTargetName *name, LOCKMODE lockmode,
				RangeVarGetRelidCallback callback, void *arg)
{
	if (name->database != NULL &&
		strcmp(name->database, get_database_name(MyDatabaseId)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cross-database references are not implemented: %s",
						cdc_target_text(name)),
				 errhint("Create the changefeed in the database of its tables.")));
	return RangeVarGetRelidExtended(makeRangeVar(name->schema, name->name, -1),
									lockmode, RVR_MISSING_OK, callback, arg);
}

static void
refuse_missing(const CdcTargetName *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("failed to resolve targets in the CHANGEFEED stmt: table \"%s%s%s\" does not exist",
					name->schema ? name->schema : "", name->schema ? "." : "",
					name->name),
			 name->schema != NULL ? 0 :
			 errhint("Name its schema if that is not in the search_path.")));
}

static void
resolve_one(const CdcTargetName *name, Oid role, CdcTarget *target)
{
	char	   *dbname = get_database_name(MyDatabaseId);
	LookupArg	arg;
	Relation	rel;

	arg.text = cdc_target_text(name);
	arg.role = role;
	target->relid = cdc_target_find(name, AccessShareLock, lookup_callback, &arg);
	if (!OidIsValid(target->relid))
		refuse_missing(name);
	rel = relation_open(target->relid, NoLock);
	check_table(rel);
	target->name = psprintf("%s.%s.%s", dbname,
							get_namespace_name(RelationGetNamespace(rel)),
							RelationGetRelationName(rel));
	target->shape = cdc_shape_print(cdc_shape_read(target->relid));
	target->columns = cdc_columns_resolve(rel, name->columns);
	relation_close(rel, NoLock);
}

/* A table that a rule means, locked and checked like one that was named. */
static bool
resolve_ruled(const CdcRules *rules, Oid relid, Oid role, CdcTarget *target)
{
	Relation	rel;
	char	   *why;

	LockRelationOid(relid, AccessShareLock);
	rel = try_relation_open(relid, NoLock);
	if (rel == NULL)
		return false;			/* dropped meanwhile */
	cdc_target_check_access(relid, role);
	check_table(rel);
	why = cdc_rules_unfit(rules, relid, role);
	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" %s", RelationGetRelationName(rel), why),
				 errhint("Leave it out: EXCEPT TABLE %s.", sql_name(rel))));
	target->relid = relid;
	target->ruled = true;
	target->name = psprintf("%s.%s.%s", get_database_name(MyDatabaseId),
							get_namespace_name(RelationGetNamespace(rel)),
							RelationGetRelationName(rel));
	target->shape = cdc_shape_print(cdc_shape_read(relid));
	target->columns = cdc_rules_columns(rules, relid);
	relation_close(rel, NoLock);
	return true;
}

/* The rule as it is stored. */
static char *
resolve_rule(const CdcTargetName *name)
{
	Oid			oid;

	switch (name->kind)
	{
		case CDC_TARGET_ALL:
			return pstrdup("all");
		case CDC_TARGET_SCHEMA:
			oid = get_namespace_oid(name->name, false);
			if (oid < FirstNormalObjectId && oid != PG_PUBLIC_NAMESPACE)
				ereport(ERROR,
						(errcode(ERRCODE_WRONG_OBJECT_TYPE),
						 errmsg("CHANGEFEEDs are not supported on system tables"),
						 errdetail("\"%s\" is a system schema.", name->name)));
			if (strcmp(name->name, "cdc_sink") == 0)
				refuse_kind("tables of the extension itself", name->name);
			return psprintf("schema %u", oid);
		case CDC_TARGET_PUBLICATION:
			oid = get_publication_oid(name->name, false);
			if (!cdc_compat_publication_is_whole(oid))
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("publication \"%s\" does not publish all of insert, update and delete",
								name->name),
						 errhint("A changefeed sends all of them.")));
			return psprintf("publication %u", oid);
		case CDC_TARGET_EXCEPT:
			oid = cdc_target_find(name, NoLock, NULL, NULL);
			if (!OidIsValid(oid))
				refuse_missing(name);
			if (get_rel_relispartition(oid))
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot leave out a partition: %s", cdc_target_text(name)),
						 errhint("Leave out the table at the top, and name the partitions that are to be sent.")));
			return psprintf("except %u", oid);
		default:
			return NULL;
	}
}

/* No table twice, and no partition beside its root. */
static void
check_pairs(const CdcTarget *targets, List *names)
{
	int			n = list_length(names);

	for (int i = 0; i < n; i++)
	{
		List	   *ancestors = NIL;

		if (get_rel_relispartition(targets[i].relid))
			ancestors = get_partition_ancestors(targets[i].relid);
		for (int j = 0; j < n; j++)
		{
			if (j < i && targets[i].relid == targets[j].relid)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("CHANGEFEED targets TABLE %s and TABLE %s are duplicates",
								cdc_target_text(list_nth(names, j)),
								cdc_target_text(list_nth(names, i)))));
			if (list_member_oid(ancestors, targets[j].relid))
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("CHANGEFEED targets TABLE %s and TABLE %s overlap",
								cdc_target_text(list_nth(names, j)),
								cdc_target_text(list_nth(names, i))),
						 errdetail("The latter is a partition of the former, which sends its rows already.")));
		}
		list_free(ancestors);
	}
}

/* Adds what the rules mean and was not named. */
static void
expand_rules(CdcDefinition *def, Oid role)
{
	CdcRules   *rules = cdc_rules_parse(def->nrules, def->rules);
	List	   *relids = cdc_rules_expand(rules);
	int			named = def->ntargets;
	ListCell   *lc;

	def->targets = repalloc(def->targets, sizeof(CdcTarget) *
							Max(named + list_length(relids), 1));
	foreach(lc, relids)
	{
		CdcTarget  *target = &def->targets[def->ntargets];
		bool		is_named = false;

		for (int i = 0; i < named; i++)
			is_named |= def->targets[i].relid == lfirst_oid(lc);
		memset(target, 0, sizeof(CdcTarget));
		if (!is_named && resolve_ruled(rules, lfirst_oid(lc), role, target))
			def->ntargets++;
	}
	cdc_targets_check_overlap(def->targets, named, def->targets + named,
							  def->ntargets - named);
}

void
cdc_targets_resolve(List *names, Oid role, CdcDefinition *def)
{
	List	   *tables = NIL;
	bool		rules = false;
	ListCell   *lc;

	if (names == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a changefeed needs at least one table")));

	def->targets = palloc0(sizeof(CdcTarget) * list_length(names));
	def->rules = palloc0(sizeof(char *) * list_length(names));
	def->ntargets = def->nrules = 0;
	foreach(lc, names)
	{
		CdcTargetName *name = lfirst(lc);

		if (name->kind == CDC_TARGET_TABLE)
		{
			tables = lappend(tables, name);
			resolve_one(name, role, &def->targets[def->ntargets++]);
			continue;
		}
		rules |= name->kind != CDC_TARGET_EXCEPT;
		def->rules[def->nrules++] = resolve_rule(name);
	}
	if (def->nrules > 0 && !rules)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("EXCEPT goes with TABLES IN SCHEMA, PUBLICATION or ALL TABLES")));
	check_pairs(def->targets, tables);
	if (rules)
		expand_rules(def, role);
}

void
cdc_targets_check_overlap(const CdcTarget *targets, int ntargets,
						  const CdcTarget *added, int nadded)
{
	for (int i = 0; i < nadded; i++)
	{
		for (int j = 0; j < ntargets; j++)
		{
			Oid			a = added[i].relid;
			Oid			b = targets[j].relid;

			if ((get_rel_relispartition(a) &&
				 list_member_oid(get_partition_ancestors(a), b)) ||
				(get_rel_relispartition(b) &&
				 list_member_oid(get_partition_ancestors(b), a)))
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("CHANGEFEED targets %s and %s overlap",
								sql_name_of(b), sql_name_of(a)),
						 errdetail("One is a partition of the other, which sends its rows already.")));
		}
	}
}

char *
cdc_target_topic(Oid relid, const char *full_name, const char *prefix,
				 const char *topic_name, const CdcOptions *options, bool sanitise)
{
	const CdcDebeziumOptions *debezium = options->encode.debezium;
	const char *base = topic_name;
	char	   *topic;

	if (base == NULL && debezium != NULL)
		base = cdc_debezium_topic(debezium->name[0] != '\0' ? debezium->name :
								  get_database_name(MyDatabaseId),
								  get_namespace_name(get_rel_namespace(relid)),
								  get_rel_name(relid));
	else if (base == NULL)
		base = options->full_table_name ? full_name : get_rel_name(relid);
	topic = psprintf("%s%s", prefix ? prefix : "", base);
	if (sanitise)
		topic = cdc_topic_sanitise(pg_server_to_any(topic, strlen(topic), PG_UTF8));
	return topic;
}

char *
cdc_event_topic(const CdcDebeziumOptions *debezium, const char *db, const char *name,
				const char *prefix, const char *topic_name, bool sanitise)
{
	const char *base = topic_name ? topic_name : cdc_debezium_event_topic(debezium, db, name);
	char	   *topic = psprintf("%s%s", prefix ? prefix : "", base);

	if (sanitise)
		topic = cdc_topic_sanitise(pg_server_to_any(topic, strlen(topic), PG_UTF8));
	return topic;
}

List *
cdc_event_topics(const CdcOptions *options, const CdcUri *uri, bool sanitise)
{
	const CdcDebeziumOptions *debezium = options->encode.debezium;
	const char *prefix = cdc_uri_param(uri, "topic_prefix");
	const char *topic_name = cdc_uri_param(uri, "topic_name");
	const char *db = get_database_name(MyDatabaseId);
	List	   *topics = NIL;

	if (debezium == NULL || db == NULL)
		return NIL;
	if (debezium->messages != CDC_DBZ_MESSAGES_NONE)
		topics = lappend(topics, cdc_event_topic(debezium, db, CDC_DBZ_MESSAGE_TOPIC,
												 prefix, topic_name, sanitise));
	if (debezium->transactions)
		topics = lappend(topics, cdc_event_topic(debezium, db, CDC_DBZ_TRANSACTION_TOPIC,
												 prefix, topic_name, sanitise));
	return topics;
}

void
cdc_targets_set_topics(CdcTarget *targets, int ntargets, int first,
					   const char *prefix, const char *topic_name,
					   const CdcOptions *options, bool sanitise)
{
	for (int i = first; i < ntargets; i++)
	{
		targets[i].topic = cdc_target_topic(targets[i].relid, targets[i].name, prefix,
											topic_name, options, sanitise);

		for (int j = 0; topic_name == NULL && j < i; j++)
		{
			if (strcmp(targets[i].topic, targets[j].topic) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("tables %s and %s would share the topic \"%s\"",
								sql_name_of(targets[j].relid),
								sql_name_of(targets[i].relid),
								targets[i].topic),
						 errhint("Use the option full_table_name, or create a changefeed for each of them.")));
		}
	}
}
