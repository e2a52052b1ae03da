/*-------------------------------------------------------------------------
 * option_text.c
 *		Options as texts: as they are stored, without and with their secrets,
 *		and as they are shown.
 *
 * Runs: backends and lane workers, in the caller's memory context.  What
 * others see never holds the value of a secret option.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/option_table.h"
#include "catalog/options.h"
#include "catalog/uri.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

List *
cdc_options_from_strings(int n, char **strings)
{
	List	   *pairs = NIL;

	for (int i = 0; i < n; i++)
	{
		CdcOptionPair *pair = palloc(sizeof(CdcOptionPair));
		size_t		len = strcspn(strings[i], "=");

		pair->external = false;
		pair->name = pnstrdup(strings[i], len);
		pair->value = strings[i][len] == '=' ? pstrdup(strings[i] + len + 1) : NULL;
		pairs = lappend(pairs, pair);
	}
	return pairs;
}

void
cdc_option_check_name(const char *name)
{
	if (cdc_option_find(name) == NULL)
		cdc_option_unknown(name);
}

bool
cdc_option_is_secret(const char *name)
{
	const CdcOptionSpec *spec = cdc_option_find(name);

	return spec == NULL || spec->secret == CDC_OPT_SECRET;
}

static bool
is_secret(const CdcOptionPair *pair)
{
	return pair->value != NULL && cdc_option_is_secret(pair->name);
}

char **
cdc_options_to_strings(const CdcOptions *options, int *n)
{
	char	  **strings = palloc(sizeof(char *) * Max(list_length(options->pairs), 1));
	ListCell   *lc;

	*n = 0;
	foreach(lc, options->pairs)
	{
		CdcOptionPair *pair = lfirst(lc);

		if (pair->external)
			continue;
		strings[(*n)++] = pair->value ?
			psprintf("%s=%s", pair->name,
					 is_secret(pair) ? CDC_REDACTED : pair->value) :
			pstrdup(pair->name);
	}
	return strings;
}

char **
cdc_options_secrets(const CdcOptions *options, int *n)
{
	char	  **strings = palloc(sizeof(char *) * Max(list_length(options->pairs), 1));
	ListCell   *lc;

	*n = 0;
	foreach(lc, options->pairs)
	{
		CdcOptionPair *pair = lfirst(lc);

		if (is_secret(pair) && !pair->external)
			strings[(*n)++] = psprintf("%s=%s", pair->name, pair->value);
	}
	return strings;
}

void
cdc_pairs_add_secrets(List *pairs, int n, char **strings)
{
	ListCell   *lc;

	foreach(lc, cdc_options_from_strings(n, strings))
	{
		CdcOptionPair *secret = lfirst(lc);
		CdcOptionPair *pair = cdc_pairs_find(pairs, secret->name);

		if (pair != NULL)
			pair->value = secret->value;
	}
}

static char *
value_of(const CdcOptions *options, const char *name)
{
	CdcOptionPair *pair = cdc_pairs_find(options->pairs, name);

	if (pair == NULL)
		return NULL;
	return pstrdup(pair->value ? pair->value : "");
}

void
cdc_options_take_secrets(CdcOptions *options)
{
	options->webhook_auth_header = value_of(options, "webhook_auth_header");
	options->extra_headers = value_of(options, "extra_headers");
}

void
cdc_options_add_secrets(CdcOptions *options, int n, char **strings)
{
	cdc_pairs_add_secrets(options->pairs, n, strings);
	cdc_options_take_secrets(options);
}

void
cdc_options_set_external(CdcOptions *options, int n, char **strings)
{
	ListCell   *lc;

	foreach(lc, options->pairs)
	{
		if (((CdcOptionPair *) lfirst(lc))->external)
			options->pairs = foreach_delete_current(options->pairs, lc);
	}
	foreach(lc, cdc_options_from_strings(n, strings))
	{
		CdcOptionPair *pair = lfirst(lc);

		if (cdc_pairs_find(options->pairs, pair->name) != NULL)
			continue;
		pair->external = true;
		options->pairs = lappend(options->pairs, pair);
	}
	cdc_options_take_secrets(options);
}

char *
cdc_options_describe(const CdcOptions *options)
{
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	foreach(lc, options->pairs)
	{
		CdcOptionPair *pair = lfirst(lc);
		const CdcOptionSpec *spec = cdc_option_find(pair->name);
		const char *value = pair->value;

		if (pair->external)
			continue;
		appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "", pair->name);
		if (value == NULL)
			continue;
		if (is_secret(pair))
			value = CDC_REDACTED;
		else if (spec->secret == CDC_OPT_SECRET_URL)
			value = cdc_uri_redact(value);
		appendStringInfo(&text, " = %s", quote_literal_cstr(value));
	}
	return text.data;
}
