%{
/*-------------------------------------------------------------------------
 * gram.y
 *		Grammar of the changefeed statements.
 *
 * CockroachDB's syntax, as far as changefeed_sql() takes it.  Statements
 * that are known but not supported are recognised as early as possible and
 * refused by name; all else is a syntax error.  Lists are left recursive,
 * so the parser's stack does not grow with the length of a statement.
 *
 * Runs: any backend, in the caller's memory context.  Knows nothing of
 * tables, options or sinks: only their spelling.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/options.h"
#include "nodes/pg_list.h"
#include "parser/parse_state.h"
#include "parser/gram.h"

/* The parser may not leave memory behind when it raises an error. */
#define YYMALLOC	palloc
#define YYFREE		pfree

/* An empty rule stands where the previous token ended: unknown. */
#define YYLLOC_DEFAULT(Current, Rhs, N) \
	((Current) = (N) ? YYRHSLOC(Rhs, 1) : -1)

#define STATE()		((CdcParseState *) cdc_yyget_extra(scanner))

extern void *cdc_yyget_extra(yyscan_t scanner);
extern int	cdc_yylex(YYSTYPE *lvalp, YYLTYPE *llocp, yyscan_t scanner);
extern void cdc_yyerror(YYLTYPE *llocp, yyscan_t scanner, const char *msg);

static CdcStatement *make_statement(CdcStatementKind kind);
static CdcStatement *make_create(List *targets, char *sink, List *options);
static CdcStatement *make_job(CdcStatementKind kind, int64 job_id);
static CdcAlterAction *make_action(CdcAlterKind kind, List *targets,
								   List *options);
static CdcTargetName *make_rule(CdcTargetKind kind, char *name);
static List *schema_targets(List *targets);
static List *except_targets(List *targets);
static CdcOptionPair *make_option(char *name, char *value);
static void refuse_pattern(List *parts);
static int64 job_id_value(CdcParseState *state, const char *digits,
						  int location);
%}

%define api.pure full
%expect 0
%name-prefix="cdc_yy"
%locations
%parse-param {yyscan_t scanner}
%lex-param {yyscan_t scanner}

%union
{
	char	   *str;
	const char *keyword;
	int64		ival;
	List	   *list;
	CdcTargetName *target;
	CdcOptionPair *option;
	CdcAlterAction *action;
	CdcStatement *stmt;
}

%token <str>	IDENT SCONST NUMBER INTEGER

/* Behind PAUSE JOBS and the like: all of the rest. */
%token <str>	QUERY

/* Reserved: PostgreSQL asks for quotes around a table of such a name too. */
%token <keyword>	ALL AS CREATE EXCEPT FOR IN_P INTO SELECT TABLE WITH

/* Not reserved. */
%token <keyword>	ADD ALTER CANCEL CHANGEFEED CHANGEFEEDS COMPLETE DATABASE DROP
					EXPERIMENTAL EXTERNAL FAMILY JOB JOBS OPTIONS OWNER PAUSE PUBLICATION
					REASON RESUME SCHEDULE SCHEMA SET SHOW TABLES TO UNSET WHEN

/* The text is a list of targets and nothing else. */
%token			START_TARGETS

%type <stmt>	stmt
%type <list>	target_list dotted_name opt_with option_list alter_actions
				option_names targets opt_except opt_columns column_list
%type <target>	target table_target
%type <option>	option
%type <action>	alter_action
%type <str>		opt_into name label option_name option_value opt_reason
%type <keyword>	unreserved_keyword reserved_keyword
%type <ival>	job_id job_verb

%%

input:
	stmt opt_semicolons
		{ STATE()->result = $1; }
	| START_TARGETS targets
		{ STATE()->targets = $2; }
	| START_TARGETS EXCEPT target_list
		{ STATE()->targets = except_targets($3); }
	;

opt_semicolons:
	/* empty */
	| opt_semicolons ';'
	;

stmt:
	CREATE CHANGEFEED FOR targets opt_into opt_with
		{ $$ = make_create($4, $5, $6); }
	| EXPERIMENTAL CHANGEFEED FOR targets opt_with
		{ $$ = make_create($4, NULL, $5); }
	| ALTER CHANGEFEED job_id alter_actions
		{
			$$ = make_job(CDC_STMT_ALTER, $3);
			$$->actions = $4;
		}
	| PAUSE JOB job_id opt_reason
		{
			$$ = make_job(CDC_STMT_PAUSE, $3);
			$$->reason = $4;
		}
	| RESUME JOB job_id
		{ $$ = make_job(CDC_STMT_RESUME, $3); }
	| CANCEL JOB job_id
		{ $$ = make_job(CDC_STMT_CANCEL, $3); }
	| job_verb JOBS QUERY
		{
			$$ = make_statement(CDC_STMT_REQUEST_JOBS);
			$$->event = (CdcJobEvent) $1;
			$$->query = $3;
		}
	| job_verb ALL CHANGEFEED JOBS
		{
			$$ = make_statement(CDC_STMT_REQUEST_JOBS);
			$$->event = (CdcJobEvent) $1;
		}
	| ALTER JOB job_id OWNER TO name
		{
			CdcAlterAction *action = make_action(CDC_ALTER_OWNER, NIL, NIL);

			action->role = $6;
			$$ = make_job(CDC_STMT_ALTER_JOB, $3);
			$$->actions = list_make1(action);
		}
	| SHOW CHANGEFEED JOBS
		{ $$ = make_statement(CDC_STMT_SHOW_JOBS); }
	| SHOW JOBS
		{ $$ = make_statement(CDC_STMT_SHOW_JOBS); }
	| SHOW CHANGEFEED JOB job_id
		{ $$ = make_job(CDC_STMT_SHOW_JOB, $4); }
	| SHOW JOB job_id
		{ $$ = make_job(CDC_STMT_SHOW_JOB, $3); }
	| SHOW JOB WHEN COMPLETE job_id
		{ $$ = make_job(CDC_STMT_AWAIT_JOB, $5); }
	| unsupported
		{ $$ = NULL; }
	;

/* Each of these ends its rule as soon as it cannot be anything else. */
unsupported:
	CREATE CHANGEFEED opt_into opt_with AS
		{
			cdc_parser_not_supported(STATE(), @5,
									 "CREATE CHANGEFEED ... AS SELECT", NULL);
		}
	| CREATE CHANGEFEED FOR DATABASE IDENT
		{
			cdc_parser_not_supported(STATE(), @4,
									 "a changefeed for a whole database",
									 "Use CREATE CHANGEFEED FOR ALL TABLES, or name the tables.");
		}
	| CREATE SCHEDULE
		{
			cdc_parser_not_supported(STATE(), @1, "CREATE SCHEDULE",
									 "Have pg_cron or the like run changefeed_create() with initial_scan = 'only'.");
		}
	| external_verb EXTERNAL
		{
			cdc_parser_not_supported(STATE(), @1, "EXTERNAL CONNECTION",
									 "Use CREATE SERVER ... FOREIGN DATA WRAPPER cdc_sink, and INTO 'external://server'.");
		}
	;

external_verb:
	CREATE | ALTER | DROP | SHOW
	;

job_verb:
	PAUSE
		{ $$ = CDC_EV_PAUSE; }
	| RESUME
		{ $$ = CDC_EV_RESUME; }
	| CANCEL
		{ $$ = CDC_EV_CANCEL; }
	;

alter_actions:
	alter_action
		{ $$ = list_make1($1); }
	| alter_actions alter_action
		{ $$ = lappend($1, $2); }
	;

alter_action:
	ADD targets opt_with
		{ $$ = make_action(CDC_ALTER_ADD, $2, $3); }
	| DROP target_list
		{ $$ = make_action(CDC_ALTER_DROP, $2, NIL); }
	| SET option_list
		{ $$ = make_action(CDC_ALTER_SET, NIL, $2); }
	| UNSET option_names
		{ $$ = make_action(CDC_ALTER_UNSET, NIL, $2); }
	;

option_names:
	option_name
		{ $$ = list_make1(make_option($1, NULL)); }
	| option_names ',' option_name
		{ $$ = lappend($1, make_option($3, NULL)); }
	;

target_list:
	target
		{ $$ = list_make1($1); }
	| target_list ',' target
		{ $$ = lappend($1, $3); }
	;

targets:
	target_list opt_except
		{ $$ = list_concat(schema_targets($1), $2); }
	;

opt_except:
	/* empty */
		{ $$ = NIL; }
	| EXCEPT target_list
		{ $$ = except_targets($2); }
	| EXCEPT '(' target_list ')'
		{ $$ = except_targets($3); }
	| EXCEPT TABLE '(' target_list ')'
		{ $$ = except_targets($4); }
	;

target:
	table_target
	| TABLE table_target
		{
			$$ = $2;
			$$->keyword = true;
		}
	| ALL TABLES
		{ $$ = make_rule(CDC_TARGET_ALL, NULL); }
	| TABLES IN_P SCHEMA name
		{ $$ = make_rule(CDC_TARGET_SCHEMA, $4); }
	| PUBLICATION IDENT
		{ $$ = make_rule(CDC_TARGET_PUBLICATION, $2); }
	;

table_target:
	dotted_name opt_columns
		{
			$$ = cdc_target_from_parts($1);
			if ($$ == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_SYNTAX_ERROR),
						 errmsg("improper table name (too many dotted names)"),
						 errhint("A table is named as table, schema.table or database.schema.table."),
						 cdc_parser_errposition(STATE(), @1)));
			$$->columns = $2;
		}
	| '*'
		{ refuse_pattern(NIL); }
	| dotted_name '.' '*'
		{ refuse_pattern($1); }
	| dotted_name FAMILY
		{
			cdc_parser_not_supported(STATE(), @2, "FAMILY",
									 "PostgreSQL has no column families: leave it out.");
		}
	;

opt_columns:
	/* empty */
		{ $$ = NIL; }
	| '(' column_list ')'
		{ $$ = $2; }
	;

column_list:
	label
		{ $$ = list_make1($1); }
	| column_list ',' label
		{ $$ = lappend($1, $3); }
	;

dotted_name:
	name
		{ $$ = list_make1($1); }
	| dotted_name '.' label
		{ $$ = lappend($1, $3); }
	;

opt_into:
	/* empty */
		{ $$ = NULL; }
	| INTO SCONST
		{ $$ = $2; }
	;

opt_with:
	/* empty */
		{ $$ = NIL; }
	| WITH option_list
		{ $$ = $2; }
	| WITH '(' option_list ')'
		{ $$ = $3; }
	| WITH OPTIONS '(' option_list ')'
		{ $$ = $4; }
	;

option_list:
	option
		{ $$ = list_make1($1); }
	| option_list ',' option
		{ $$ = lappend($1, $3); }
	;

option:
	option_name
		{ $$ = make_option($1, NULL); }
	| option_name '=' option_value
		{ $$ = make_option($1, $3); }
	;

option_name:
	label
	| SCONST
	;

/* Numbers are kept as they are written. */
option_value:
	SCONST
	| label
	| INTEGER
	| NUMBER
	| '-' INTEGER
		{ $$ = psprintf("-%s", $2); }
	| '-' NUMBER
		{ $$ = psprintf("-%s", $2); }
	| '+' INTEGER
		{ $$ = $2; }
	| '+' NUMBER
		{ $$ = $2; }
	;

opt_reason:
	/* empty */
		{ $$ = NULL; }
	| WITH REASON '=' SCONST
		{ $$ = $4; }
	;

job_id:
	INTEGER
		{ $$ = job_id_value(STATE(), $1, @1); }
	| '-' INTEGER
		{
			/* no syntax error in CockroachDB, there just is no such job */
			$$ = -job_id_value(STATE(), $2, @2);
		}
	;

/* What a table may be called without quotes. */
name:
	IDENT
	| unreserved_keyword
		{ $$ = pstrdup($1); }
	;

/* Where no keyword can be meant. */
label:
	name
	| reserved_keyword
		{ $$ = pstrdup($1); }
	;

unreserved_keyword:
	ADD | ALTER | CANCEL | CHANGEFEED | CHANGEFEEDS | COMPLETE | DATABASE | DROP
	| EXPERIMENTAL | EXTERNAL | FAMILY | JOB | JOBS | OPTIONS | OWNER | PAUSE | PUBLICATION
	| REASON | RESUME | SCHEDULE | SCHEMA | SET | SHOW | TABLES | TO | UNSET | WHEN
	;

reserved_keyword:
	ALL | AS | CREATE | EXCEPT | FOR | IN_P | INTO | SELECT | TABLE | WITH
	;

%%

static CdcStatement *
make_statement(CdcStatementKind kind)
{
	CdcStatement *stmt = palloc0(sizeof(CdcStatement));

	stmt->kind = kind;
	return stmt;
}

static CdcStatement *
make_create(List *targets, char *sink, List *options)
{
	CdcStatement *stmt = make_statement(CDC_STMT_CREATE);

	stmt->targets = targets;
	stmt->sink = sink;
	stmt->options = options;
	return stmt;
}

static CdcStatement *
make_job(CdcStatementKind kind, int64 job_id)
{
	CdcStatement *stmt = make_statement(kind);

	stmt->job_id = job_id;
	return stmt;
}

static CdcAlterAction *
make_action(CdcAlterKind kind, List *targets, List *options)
{
	CdcAlterAction *action = palloc0(sizeof(CdcAlterAction));

	action->kind = kind;
	action->targets = targets;
	action->options = options;
	return action;
}

static CdcTargetName *
make_rule(CdcTargetKind kind, char *name)
{
	CdcTargetName *target = palloc0(sizeof(CdcTargetName));

	target->kind = kind;
	target->name = name;
	return target;
}

/*
 * Behind TABLES IN SCHEMA a name without a keyword is that of a further
 * schema, as in CREATE PUBLICATION.
 */
static List *
schema_targets(List *targets)
{
	bool		schemas = false;
	ListCell   *lc;

	foreach(lc, targets)
	{
		CdcTargetName *target = lfirst(lc);

		if (schemas && target->kind == CDC_TARGET_TABLE && !target->keyword &&
			target->schema == NULL && target->columns == NIL)
			target->kind = CDC_TARGET_SCHEMA;
		schemas = target->kind == CDC_TARGET_SCHEMA;
	}
	return targets;
}

static List *
except_targets(List *targets)
{
	ListCell   *lc;

	foreach(lc, targets)
	{
		CdcTargetName *target = lfirst(lc);

		if (target->kind != CDC_TARGET_TABLE || target->columns != NIL)
			ereport(ERROR,
					(errcode(ERRCODE_SYNTAX_ERROR),
					 errmsg("EXCEPT takes names of tables only")));
		target->kind = CDC_TARGET_EXCEPT;
	}
	return targets;
}

static CdcOptionPair *
make_option(char *name, char *value)
{
	CdcOptionPair *pair = palloc(sizeof(CdcOptionPair));

	pair->name = name;
	pair->value = value;
	return pair;
}

/* db.*, which old versions of CockroachDB name so. */
static void
refuse_pattern(List *parts)
{
	StringInfoData pattern;
	ListCell   *lc;

	initStringInfo(&pattern);
	foreach(lc, parts)
		appendStringInfo(&pattern, "%s.", quote_identifier(lfirst(lc)));
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("CHANGEFEED cannot target %s*", pattern.data),
			 errhint("Use TABLES IN SCHEMA name, or ALL TABLES.")));
}

static int64
job_id_value(CdcParseState *state, const char *digits, int location)
{
	char	   *end;
	int64		value;

	errno = 0;
	value = strtoll(digits, &end, 10);
	if (errno != 0 || *end != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("job number \"%s\" is out of range", digits),
				 cdc_parser_errposition(state, location)));
	return value;
}
