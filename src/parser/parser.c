/*-------------------------------------------------------------------------
 * parser.c
 *		Entry points of the statement parser, and its errors.
 *
 * The text is an argument of a function, so errors carry it as an internal
 * query with a position.  A statement may hold secrets (in the URI, in
 * webhook_auth_header): what an error shows of it goes through
 * visible_text() first.
 *
 * Runs: any backend, in the caller's memory context.  Everything allocated
 * here is palloc'ed: an error leaves nothing behind.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/options.h"
#include "catalog/uri.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/parse_state.h"
#include "parser/gram.h"
#include "parser/scansup.h"
#include "utils/varlena.h"

/* Far more than any statement needs. */
#define MAX_STATEMENT_BYTES		(1024 * 1024)

/* Most of a token that a message shows. */
#define MAX_NEAR_BYTES			64

/* Made by flex and bison; their headers are not for us. */
typedef struct yy_buffer_state *YY_BUFFER_STATE;

extern int	cdc_yylex_init_extra(CdcParseState *state, yyscan_t *scanner);
extern int	cdc_yylex_destroy(yyscan_t scanner);
extern YY_BUFFER_STATE cdc_yy_scan_buffer(char *base, size_t size,
										  yyscan_t scanner);
extern void *cdc_yyget_extra(yyscan_t scanner);
extern int	cdc_yyparse(yyscan_t scanner);
extern void cdc_yyerror(YYLTYPE *location, yyscan_t scanner,
						const char *message);

static char *visible_text(const char *text, size_t len, bool *cut);

static CdcParseState
parse(const char *text, int start_token)
{
	CdcParseState state = {0};
	yyscan_t	scanner;
	size_t		len = strlen(text);

	if (len > MAX_STATEMENT_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("changefeed statement is too long"),
				 errdetail("It has %zu bytes, the limit is %d.",
						   len, MAX_STATEMENT_BYTES)));

	state.text = text;
	state.len = len;
	state.start_token = start_token;
	state.scanbuf = palloc0(len + 2);
	memcpy(state.scanbuf, text, len);
	initStringInfo(&state.literal);

	if (cdc_yylex_init_extra(&state, &scanner) != 0)
		elog(ERROR, "could not set up the changefeed scanner");
	cdc_yy_scan_buffer(state.scanbuf, len + 2, scanner);
	if (cdc_yyparse(scanner) != 0 ||
		(start_token == 0 ? (void *) state.result : (void *) state.targets) == NULL)
		elog(ERROR, "changefeed parser gave no statement");
	cdc_yylex_destroy(scanner);

	pfree(state.literal.data);
	pfree(state.scanbuf);
	return state;
}

CdcStatement *
cdc_parse_statement(const char *text)
{
	return parse(text, 0).result;
}

List *
cdc_parse_target(const char *text)
{
	List	   *parts;
	List	   *copy = NIL;
	ListCell   *lc;

	/* cuts its argument in pieces and folds them like identifiers */
	if (SplitIdentifierString(pstrdup(text), '.', &parts))
	{
		CdcTargetName *target;

		foreach(lc, parts)
			copy = lappend(copy, pstrdup(lfirst(lc)));
		target = cdc_target_from_parts(copy);
		if (target != NULL)
			return list_make1(target);
	}
	if (strpbrk(text, " \t\n\r\f\v(") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid table name \"%s\"", text),
				 errhint("A table is named as table, schema.table or database.schema.table.")));
	return parse(text, START_TARGETS).targets;
}

CdcTargetName *
cdc_target_from_parts(List *parts)
{
	CdcTargetName *target = palloc0(sizeof(CdcTargetName));

	switch (list_length(parts))
	{
		case 1:
			target->name = linitial(parts);
			break;
		case 2:
			target->schema = linitial(parts);
			target->name = lsecond(parts);
			break;
		case 3:
			target->database = linitial(parts);
			target->schema = lsecond(parts);
			target->name = lthird(parts);
			break;
		default:
			pfree(target);
			return NULL;
	}
	return target;
}

void
cdc_yyerror(YYLTYPE *location, yyscan_t scanner, const char *message)
{
	cdc_parser_error(cdc_yyget_extra(scanner), *location, message);
}

/*
 * While the scanner runs, its buffer has a zero byte behind the newest piece
 * of the token, so the token can be read as a string.
 */
void
cdc_parser_error(CdcParseState *state, int location, const char *message)
{
	const char *token = state->scanbuf + location;
	size_t		len = strlen(token);
	bool		cut;
	char	   *near;
	int			shown;

	if (len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("%s at end of input", message),
				 cdc_parser_errposition(state, location)));

	/* behind the name of a secret option nothing may be quoted */
	(void) visible_text(state->text, location + len, &cut);
	if (cut)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("%s", message),
				 cdc_parser_errposition(state, location)));

	near = visible_text(token, len, &cut);
	shown = pg_mbcliplen(near, strlen(near), MAX_NEAR_BYTES);
	near[shown] = '\0';
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("%s at or near \"%s\"", message, near),
			 cdc_parser_errposition(state, location)));
}

void
cdc_parser_not_supported(CdcParseState *state, int location,
						 const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s is not supported yet", what),
			 hint ? errhint("%s", hint) : 0,
			 cdc_parser_errposition(state, location)));
}

/*
 * What stands before and behind the position is made presentable each on its
 * own, so that the position stays right.  Positions are where tokens begin,
 * so no secret is cut in two by this.
 */
int
cdc_parser_errposition(CdcParseState *state, int location)
{
	char	   *before;
	char	   *after;
	bool		cut;

	if (location < 0 || location > state->len)
		return 0;
	before = visible_text(state->text, location, &cut);
	after = cut ? pstrdup("") :
		visible_text(state->text + location, state->len - location, &cut);
	internalerrposition(pg_mbstrlen(before) + 1);
	internalerrquery(psprintf("%s%s", before, after));
	return 0;
}

/*
 * The text without its secrets: those of a URI are replaced, and everything
 * behind the name of an option that is a secret itself is cut off, for it
 * may be spelled in ways that nobody foresees.
 */
static char *
visible_text(const char *text, size_t len, bool *cut)
{
	char	   *visible = pnstrdup(text, len);
	const char *name;

	*cut = false;
	for (int i = 0; (name = cdc_option_secret_name(i)) != NULL; i++)
	{
		size_t		n = strlen(name);

		for (char *p = visible; *p != '\0'; p++)
		{
			if (pg_strncasecmp(p, name, n) == 0)
			{
				p[n] = '\0';
				*cut = true;
				break;
			}
		}
	}
	return cdc_uri_redact_statement(visible);
}
