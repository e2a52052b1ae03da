/*-------------------------------------------------------------------------
 * rule.h
 *		Targets by rule: TABLES IN SCHEMA, PUBLICATION, ALL TABLES, and what
 *		is excepted.
 *
 * All of it reads catalogs only, under whatever snapshot is in force: that
 * of a backend, or the historic one of a commit that is being decoded, so
 * that the tables a rule means are those of that commit.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_RULE_H
#define CDC_RULE_H

#include "postgres.h"

#include "catalog/job.h"
#include "nodes/pg_list.h"

/*
 * Rules are stored as text: "all", "schema <oid>", "publication <oid>",
 * "except <oid>".
 */
typedef struct CdcRules
{
	bool		all;
	List	   *schemas;		/* OIDs */
	List	   *publications;
	List	   *except;			/* of tables */
} CdcRules;

/* palloc'ed; NULL: there are none. */
extern CdcRules *cdc_rules_parse(int n, char *const *rules);

/* "TABLES IN SCHEMA s, ... EXCEPT TABLE t", by today's names; palloc'ed. */
extern char *cdc_rules_describe(const CdcRules *rules);

/*
 * The table by which a relation is sent: itself, or the topmost of the
 * partitioned tables above it that a rule means.  InvalidOid: none.
 */
extern Oid	cdc_rules_match(const CdcRules *rules, Oid relid);

/* OIDs of all tables that the rules mean, each its own match; palloc'ed. */
extern List *cdc_rules_expand(const CdcRules *rules);

/*
 * Columns that the publications tell of a table, as CdcTarget.columns ("":
 * all); palloc'ed.
 */
extern char *cdc_rules_columns(const CdcRules *rules, Oid relid);

/* Is the whole old row in the WAL?  A partitioned table has no rows of its own. */
extern bool cdc_rules_has_full_identity(Oid relid);

/*
 * Why a table that a rule means cannot be followed by a feed of this owner,
 * palloc'ed, in words to go behind its name; NULL: it can.
 */
extern char *cdc_rules_unfit(const CdcRules *rules, Oid relid, Oid owner);

#endif							/* CDC_RULE_H */
