/*-------------------------------------------------------------------------
 * target_options.c
 *		What the options of a changefeed ask of its tables; see target.h.
 *
 * The lane looks at the same things again when a table has changed
 * (worker/stream.c).
 *
 * Runs: user backends, with the tables locked.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "base/compat.h"
#include "catalog/columns.h"
#include "catalog/key.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "catalog/target.h"
#include "encode/debezium.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static char *
sql_name(Relation rel)
{
	return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
									  RelationGetRelationName(rel));
}

/* The column, which must be stored: virtual ones are not in the WAL. */
static Form_pg_attribute
required_column(Relation rel, const char *name)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0 &&
			att->attgenerated != ATTRIBUTE_GENERATED_VIRTUAL)
			return att;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("required column %s not present on table %s",
					name, RelationGetRelationName(rel))));
	return NULL;
}

static void
check_headers_column(Relation rel, const char *name)
{
	Form_pg_attribute att = required_column(rel, name);
	Oid			type = getBaseType(att->atttypid);

	if (type != JSONOID && type != JSONBOID)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column %s of type %s does not match required type json",
						name, format_type_be(att->atttypid)),
				 errhint("Option headers_json_column_name takes a column of type json or jsonb.")));
}

/* Deletes tell the key of a table and no more, unless its identity is FULL. */
static void
check_key_column(Relation rel, const char *name)
{
	Form_pg_attribute att = required_column(rel, name);
	CdcIdentity identity;
	int			nkeys;
	AttrNumber *keyatts = cdc_table_key(rel, &nkeys, &identity);

	if (identity == CDC_IDENTITY_FULL)
		return;
	for (int i = 0; i < nkeys; i++)
	{
		if (keyatts[i] == att->attnum)
			return;
	}
	ereport(NOTICE,
			(errmsg("the changefeed will end when a row of table \"%s\" is deleted",
					RelationGetRelationName(rel)),
			 errdetail("What stood in column \"%s\" of a deleted row is not known.", name),
			 errhint("Use ALTER TABLE %s REPLICA IDENTITY FULL.", sql_name(rel))));
}

static void
check_diff(Relation rel)
{
	if (rel->rd_rel->relreplident != REPLICA_IDENTITY_FULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("option diff needs REPLICA IDENTITY FULL on table \"%s\"",
						RelationGetRelationName(rel)),
				 errdetail("Else the row before a change is not in the WAL."),
				 errhint("Use ALTER TABLE %s REPLICA IDENTITY FULL.", sql_name(rel))));
}

/* A column that an option names must be among those that are sent. */
static void
check_listed(const CdcTarget *target, const char *name)
{
	AttrNumber	attnum = name ? get_attnum(target->relid, name) : InvalidAttrNumber;

	if (attnum > 0 && !cdc_columns_contain(target->columns, attnum))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("required column %s not present on table %s",
						name, get_rel_name(target->relid)),
				 errdetail("It is not in the list of columns.")));
}

/* A table that holds rows. */
static void
check_storage(Relation rel, const CdcEncodeOptions *encode)
{
	if (encode->diff)
		check_diff(rel);
	if (encode->key_column != NULL)
		check_key_column(rel, encode->key_column);
	if (encode->headers_column != NULL)
		check_headers_column(rel, encode->headers_column);
}

/*
 * Messages of pg_logical_emit_message() may be of any user, about anything:
 * who may have them is who may have a replication slot.
 */
const char *
cdc_options_forbidden(const CdcOptions *options, Oid role)
{
	const CdcDebeziumOptions *debezium = options->encode.debezium;

	/* not all releases count a superuser among those with REPLICATION */
	if (debezium == NULL || debezium->messages == CDC_DBZ_MESSAGES_NONE ||
		superuser_arg(role) || has_rolreplication(role))
		return NULL;
	return "must be superuser or replication role to have messages of pg_logical_emit_message() sent";
}

void
cdc_options_check_owner(const CdcOptions *options, Oid owner)
{
	const char *why = cdc_options_forbidden(options, owner);

	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the owner of the changefeed %s", why),
				 errdetail("They may be of any user of the database."),
				 errhint("Use ALTER ROLE %s REPLICATION, or leave message.prefix.include.list and message.prefix.exclude.list out of debezium_config.",
						 quote_identifier(GetUserNameFromId(owner, false)))));
}

void
cdc_targets_check_options(const CdcTarget *targets, int ntargets,
						  const CdcOptions *options)
{
	const CdcEncodeOptions *encode = &options->encode;

	if (!encode->diff && encode->key_column == NULL &&
		encode->headers_column == NULL)
		return;
	for (int i = 0; i < ntargets; i++)
	{
		List	   *relids = list_make1_oid(targets[i].relid);
		ListCell   *lc;

		check_listed(&targets[i], encode->key_column);
		check_listed(&targets[i], encode->headers_column);

		/* tables that inherit are not sent */
		if (get_rel_relkind(targets[i].relid) == RELKIND_PARTITIONED_TABLE)
			relids = find_all_inheritors(targets[i].relid, AccessShareLock, NULL);
		foreach(lc, relids)
		{
			Relation	rel = try_relation_open(lfirst_oid(lc), AccessShareLock);

			if (rel == NULL)
				continue;		/* a target of old, which has gone */
			if (rel->rd_rel->relkind == RELKIND_RELATION)
				check_storage(rel, encode);
			else
			{
				if (encode->key_column != NULL)
					(void) required_column(rel, encode->key_column);
				if (encode->headers_column != NULL)
					check_headers_column(rel, encode->headers_column);
			}
			relation_close(rel, NoLock);
		}
		list_free(relids);
	}
}
