/*-------------------------------------------------------------------------
 * hide.c
 *		Keeps secrets that stand in a statement out of the log and of
 *		pg_stat_activity; see hide.h.
 *
 * A secret is replaced where it stands in the statement as it is, quoted or
 * escaped.  A statement in which it cannot be found may have it in another
 * spelling, so that it is hidden altogether, unless it has no literals.
 *
 * Runs: user backends.  Never raises an ERROR of its own.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/hide.h"
#include "catalog/options.h"
#include "catalog/uri.h"
#include "lib/stringinfo.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"

#define HIDDEN		"<changefeed statement, hidden for the secrets in it>"

/* Shorter texts are found by chance, and hiding them would tell them. */
#define MIN_ANYWHERE	8

/* Is there a statement of this backend's own, and one to be shown? */
static bool
has_statement(void)
{
	/* no MessageContext: a background worker */
	return debug_query_string != NULL && MessageContext != NULL;
}

static void
show_instead(const char *text)
{
	debug_query_string = text;
	pgstat_report_activity(STATE_RUNNING, text);
}

/* Replaces a text wherever it stands; false: nowhere. */
static bool
replace(const char *secret, const char *redacted)
{
	const char *text = debug_query_string;
	size_t		len = strlen(secret);
	const char *hit;
	StringInfoData buf;
	MemoryContext old;

	if (len == 0 || strstr(text, secret) == NULL)
		return false;

	/* as long-lived as the text that it replaces */
	old = MemoryContextSwitchTo(MessageContext);
	initStringInfo(&buf);
	while ((hit = strstr(text, secret)) != NULL)
	{
		appendBinaryStringInfo(&buf, text, hit - text);
		appendStringInfoString(&buf, redacted);
		text = hit + len;
	}
	appendStringInfoString(&buf, text);
	MemoryContextSwitchTo(old);
	show_instead(buf.data);
	return true;
}

/* The same for a text between quotes of its own, or anywhere if it is long. */
static bool
replace_literal(const char *secret, const char *redacted)
{
	static const char *const quotes[] = {"'", "\"", "$$"};
	bool		found = false;

	if (strlen(secret) >= MIN_ANYWHERE)
		return replace(secret, redacted);
	for (int i = 0; i < lengthof(quotes); i++)
		found |= replace(psprintf("%s%s%s", quotes[i], secret, quotes[i]),
						 psprintf("%s%s%s", quotes[i], redacted, quotes[i]));
	return found;
}

/* As between single quotes, without these. */
static char *
quoted(const char *value)
{
	char	   *text = quote_literal_cstr(value);

	text[strlen(text) - 1] = '\0';
	return strchr(text, '\'') + 1;
}

static void
hide(const char *secret, const char *redacted)
{
	StringInfoData json;
	char	   *forms[4];
	bool		found = false;

	if (!has_statement() || secret[0] == '\0' || strcmp(redacted, secret) == 0)
		return;
	initStringInfo(&json);
	escape_json(&json, secret);
	json.data[json.len - 1] = '\0';
	forms[0] = unconstify(char *, secret);
	forms[1] = quoted(secret);
	forms[2] = json.data + 1;
	forms[3] = quoted(json.data + 1);
	for (int i = 0; i < lengthof(forms); i++)
		found |= replace_literal(forms[i], redacted);
	if (!found && strpbrk(debug_query_string, "'\"") != NULL)
		show_instead(HIDDEN);
	else if (!found && strstr(debug_query_string, "$$") != NULL)
		show_instead(HIDDEN);
}

void
cdc_hide_sink(const char *sink)
{
	if (sink != NULL)
		hide(sink, cdc_uri_redact(sink));
}

void
cdc_hide_options(List *pairs)
{
	ListCell   *lc;

	foreach(lc, pairs)
	{
		CdcOptionPair *pair = lfirst(lc);

		if (pair->value != NULL && cdc_option_is_secret(pair->name))
			hide(pair->value, CDC_REDACTED);
	}
}

void
cdc_hide_value(const char *value)
{
	hide(value, CDC_REDACTED);
}

/* Error context callback; called for every message raised meanwhile. */
static void
hide_callback(void *arg)
{
	CdcHide    *self = arg;

	errhidecontext(true);
	if (self->known)
		return;
	errhidestmt(true);
	if (has_statement())
		show_instead(HIDDEN);
}

void
cdc_hide_begin(CdcHide *hide)
{
	hide->known = false;
	hide->callback.callback = hide_callback;
	hide->callback.arg = hide;
	hide->callback.previous = error_context_stack;
	error_context_stack = &hide->callback;
}

void
cdc_hide_known(CdcHide *hide)
{
	hide->known = true;
}

void
cdc_hide_end(CdcHide *hide)
{
	error_context_stack = hide->callback.previous;
}
