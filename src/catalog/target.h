/*-------------------------------------------------------------------------
 * target.h
 *		From the tables a user named to the targets of a definition.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_TARGET_H
#define CDC_TARGET_H

#include "postgres.h"

#include "catalog/job.h"
#include "catalog/namespace.h"
#include "catalog/options.h"
#include "catalog/uri.h"
#include "nodes/pg_list.h"
#include "parser/statement.h"

/*
 * The table that a name means, locked in that mode, or InvalidOid; raises if
 * it names another database.  The callback is that of
 * RangeVarGetRelidExtended, or NULL.  Runs: backend.
 */
extern Oid	cdc_target_find(const CdcTargetName *name, LOCKMODE lockmode,
							RangeVarGetRelidCallback callback, void *arg);

/*
 * Resolves names (a list of CdcTargetName) and validates that "role" may
 * watch each of them and that every change can be told by its key.  Locks
 * them in ACCESS SHARE mode to the end of the transaction.  Sets targets,
 * palloc'ed, but for their topics, and rules of "def".  Runs: backend.
 */
extern void cdc_targets_resolve(List *names, Oid role, CdcDefinition *def);

/*
 * Sets the topic of each target from the first on: prefix + (topic_name, or
 * the table, or db.schema.table, as the options ask).  Raises if two tables would share a topic
 * that nobody asked them to share.
 */
extern void cdc_targets_set_topics(CdcTarget *targets, int ntargets, int first,
								   const char *prefix, const char *topic_name,
								   const CdcOptions *options, bool sanitise);

/* The topic of one table; full_name: db.schema.table. */
extern char *cdc_target_topic(Oid relid, const char *full_name,
							  const char *prefix, const char *topic_name,
							  const CdcOptions *options, bool sanitise);

struct CdcDebeziumOptions;

/*
 * The topic of what is of no table: "message" or "transaction"; db: name of
 * the database.  Reads no catalogs.  Runs: also in lane workers.
 */
extern char *cdc_event_topic(const struct CdcDebeziumOptions *debezium,
							 const char *db, const char *name,
							 const char *prefix, const char *topic_name,
							 bool sanitise);

/* Names of those that a feed has besides those of its tables. */
extern List *cdc_event_topics(const CdcOptions *options, const CdcUri *uri,
							  bool sanitise);

/* Raises if one of the added targets is a partition of a target, or has one. */
extern void cdc_targets_check_overlap(const CdcTarget *targets, int ntargets,
									  const CdcTarget *added, int nadded);

/*
 * Raises 42501 unless "role" may read all of a table, with no row security
 * in between.  A table that is gone raises nothing: that is found elsewhere.
 */
extern void cdc_target_check_access(Oid relid, Oid role);

struct CdcTargetName;

/* As the user named it, parts quoted where needed. */
extern char *cdc_target_text(const struct CdcTargetName *name);

/*
 * Raises unless each target has what the options ask of it: the columns that
 * they name, the replica identity that they need.  Runs: backend, with the
 * targets locked.
 */
extern void cdc_targets_check_options(const CdcTarget *targets, int ntargets,
									  const CdcOptions *options);

/*
 * Why a role may not have what the options ask of the whole database, in the
 * words of an error; NULL: it may.  Runs: also in lane workers.
 */
extern const char *cdc_options_forbidden(const CdcOptions *options, Oid role);

/* Raises 42501 if it may not. */
extern void cdc_options_check_owner(const CdcOptions *options, Oid owner);

/* "TABLE foo, TABLE s.bar", quoted where needed, as the user named them. */
extern char *cdc_targets_describe(List *names);

#endif							/* CDC_TARGET_H */
