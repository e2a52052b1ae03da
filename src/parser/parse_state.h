/*-------------------------------------------------------------------------
 * parse_state.h
 *		What scanner, grammar and parser.c share while one statement is
 *		parsed.  Private to src/parser.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_PARSE_STATE_H
#define CDC_PARSE_STATE_H

#include "postgres.h"

#include "base/compat.h"
#include "catalog/options.h"
#include "lib/stringinfo.h"
#include "parser/statement.h"

/* Positions are byte offsets into the text. */
#define YYLTYPE int

typedef void *yyscan_t;

typedef struct CdcParseState
{
	const char *text;			/* the statement as given */
	char	   *scanbuf;		/* flex' copy, ends in two zero bytes */
	size_t		len;			/* bytes of text */

	/* of the scanner */
	StringInfoData literal;		/* string or identifier so far */
	int			token_start;	/* where the token of several pieces began */
	int			comment_depth;
	char	   *dollar_tag;		/* "$tag$" of the open literal */
	bool		check_encoding; /* literal holds bytes written as escapes */

	int			nwords;			/* so far */
	bool		after_verb;		/* first word is PAUSE, RESUME or CANCEL */
	int			start_token;	/* given before the first one, 0: none */

	CdcStatement *result;
	List	   *targets;		/* instead of it, for START_TARGETS */
} CdcParseState;

/*
 * For use in ereport(): shows the statement, without its secrets, and the
 * position "location" in it.
 */
extern int	cdc_parser_errposition(CdcParseState *state, int location);

/* Raises "<message> at or near ..." with what the scanner has at location. */
pg_noreturn extern void cdc_parser_error(CdcParseState *state, int location,
										 const char *message);

/* Raises 0A000 "<what> is not supported yet". */
pg_noreturn extern void cdc_parser_not_supported(CdcParseState *state, int location,
												 const char *what, const char *hint);

/* A name of one to three parts out of a list of strings. */
extern CdcTargetName *cdc_target_from_parts(List *parts);

#endif							/* CDC_PARSE_STATE_H */
