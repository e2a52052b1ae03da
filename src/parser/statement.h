/*-------------------------------------------------------------------------
 * statement.h
 *		CockroachDB's changefeed statements, as changefeed_sql() takes them.
 *
 * Not called parser.h: executor/spi.h includes core's "parser/parser.h" and
 * would get ours.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_STATEMENT_H
#define CDC_STATEMENT_H

#include "postgres.h"

#include "catalog/job.h"
#include "nodes/pg_list.h"

typedef enum CdcStatementKind
{
	CDC_STMT_CREATE,
	CDC_STMT_ALTER,
	CDC_STMT_PAUSE,
	CDC_STMT_RESUME,
	CDC_STMT_CANCEL,
	CDC_STMT_REQUEST_JOBS,		/* PAUSE, RESUME, CANCEL of several */
	CDC_STMT_ALTER_JOB,
	CDC_STMT_AWAIT_JOB,			/* SHOW JOB WHEN COMPLETE */
	CDC_STMT_SHOW_JOBS,
	CDC_STMT_SHOW_JOB,
} CdcStatementKind;

typedef enum CdcTargetKind
{
	CDC_TARGET_TABLE,
	CDC_TARGET_SCHEMA,			/* TABLES IN SCHEMA name */
	CDC_TARGET_PUBLICATION,		/* PUBLICATION name */
	CDC_TARGET_ALL,				/* ALL TABLES */
	CDC_TARGET_EXCEPT,			/* a table that the rules do not mean */
} CdcTargetKind;

/* A table as it was named, or a rule; parts that were not given are NULL. */
typedef struct CdcTargetName
{
	CdcTargetKind kind;
	char	   *database;
	char	   *schema;
	char	   *name;
	List	   *columns;		/* String list: only these; NIL: all */
	bool		keyword;		/* TABLE was written before it */
} CdcTargetName;

typedef enum CdcAlterKind
{
	CDC_ALTER_ADD,
	CDC_ALTER_DROP,
	CDC_ALTER_SET,
	CDC_ALTER_UNSET,
	CDC_ALTER_OWNER,			/* of ALTER JOB */
} CdcAlterKind;

/* One clause of ALTER CHANGEFEED; they are applied in their order. */
typedef struct CdcAlterAction
{
	CdcAlterKind kind;
	List	   *targets;		/* CdcTargetName: ADD, DROP */
	List	   *options;		/* CdcOptionPair: ADD ... WITH, SET, UNSET */
	char	   *role;			/* OWNER */
} CdcAlterAction;

typedef struct CdcStatement
{
	CdcStatementKind kind;
	List	   *targets;		/* CdcTargetName */
	char	   *sink;			/* NULL: no INTO */
	List	   *options;		/* CdcOptionPair */
	List	   *actions;		/* CdcAlterAction */
	int64		job_id;
	char	   *reason;			/* PAUSE ... WITH REASON, or NULL */
	CdcJobEvent event;			/* of REQUEST_JOBS */
	char	   *query;			/* likewise: which jobs, NULL: all */
} CdcStatement;

/*
 * Parses one statement (a trailing semicolon is fine); palloc'ed in the
 * current context.  A syntax error is 42601 with the position in the text; a
 * statement that is known but not supported is 0A000.  Neither shows a
 * secret that stands in the statement.
 */
extern CdcStatement *cdc_parse_statement(const char *text);

/*
 * Parses one element of changefeed_create's array: the name of a table, by
 * the rules of identifiers and of one to three parts, or anything that can
 * stand behind CREATE CHANGEFEED FOR.  List of CdcTargetName.  Raises 42602
 * or 42601.
 */
extern List *cdc_parse_target(const char *text);

#endif							/* CDC_STATEMENT_H */
