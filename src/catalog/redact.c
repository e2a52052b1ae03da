/*-------------------------------------------------------------------------
 * redact.c
 *		Texts without the secrets of the URIs in them; see uri.h.
 *
 * Works on bytes and on any text, also on one that is no URI at all.  When
 * in doubt it hides too much.
 *
 * Runs: backends, lane and probe workers.  Raises nothing of its own.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/external.h"
#include "catalog/uri.h"
#include "lib/stringinfo.h"

/* A text with more URLs in it is not worth looking at closely. */
#define MAX_REDACTED_URLS	64

/* Is it the name of a parameter that everybody may see the value of? */
static bool
is_public_name(const char *name, size_t len)
{
	char	   *text = cdc_uri_try_decode(name, len, true);
	const CdcServerOption *option = text ? cdc_server_option_of_param(text) : NULL;

	return text != NULL && !cdc_uri_is_secret_name(name, len) &&
		(option != NULL || strcmp(text, "delay") == 0);
}

/*
 * Does the "=" at eq follow the name of a parameter that may be secret?  In a
 * URI one that is not known may be a secret one, misspelt.
 */
static bool
secret_value_follows(const char *start, const char *eq, bool in_uri)
{
	const char *name = eq;

	while (name > start &&
		   (isalnum((unsigned char) name[-1]) || strchr("_%+-.", name[-1]) != NULL))
		name--;
	if (in_uri)
		return !is_public_name(name, eq - name);
	return name < eq && cdc_uri_is_secret_name(name, eq - name);
}

/* Does a value hold a URL with a password, written with escapes? */
static bool
hides_userinfo(const char *value, size_t len)
{
	char	   *plain;
	bool		found;

	if (memchr(value, '%', len) == NULL)
		return false;
	plain = cdc_uri_try_decode(value, len, true);
	found = plain != NULL && strstr(plain, "://") != NULL && strchr(plain, '@') != NULL;
	if (plain != NULL)
		pfree(plain);
	return found;
}

static const char *
last_at(const char *from, const char *to)
{
	const char *at = NULL;

	for (const char *p = from; p < to; p++)
	{
		if (*p == '@')
			at = p;
	}
	return at;
}

/*
 * Hides what stands between a colon and the last "@" in [colon, limit); all
 * of the rest if that "@" may be in a secret value itself, or up to
 * "fallback" if there is none.  Returns where to go on.
 */
static const char *
redact_password(StringInfo out, const char *start, const char *colon,
				const char *limit, const char *end, const char *fallback)
{
	const char *at = last_at(colon, limit);

	appendBinaryStringInfo(out, ":" CDC_REDACTED, strlen(":" CDC_REDACTED));
	if (at == NULL)
		return fallback;
	for (const char *p = colon; p < at; p++)
	{
		if (*p == '=' && secret_value_follows(start, p, false))
			return end;
	}
	return at;
}

/* Is everything behind this colon a list of ports and hosts? */
static bool
looks_like_port(const char *colon, const char *end)
{
	const char *p = colon + 1;

	while (p < end && isdigit((unsigned char) *p))
		p++;
	return p == end || *p == ',';
}

/* From behind "://"; returns where to go on. */
static const char *
redact_authority(StringInfo out, const char *start, const char *end)
{
	const char *stop = start;
	const char *path_end;
	const char *colon;
	const char *at;

	while (stop < end && strchr("/?#", *stop) == NULL)
		stop++;
	at = last_at(start, stop);
	for (colon = start; colon < stop && *colon != ':'; colon++)
		;
	if (colon == stop || (at == NULL ? *start == '[' : colon > at))
		return start;

	appendBinaryStringInfo(out, start, colon - start);
	if (at != NULL)
		return redact_password(out, start, colon, stop, end, stop);

	/* a password with a bare slash or question mark looks like a bad port */
	if (!looks_like_port(colon, stop))
		return redact_password(out, start, colon, end, end, stop);
	for (path_end = stop; path_end < end && *path_end != '?'; path_end++)
		;
	if (last_at(stop, path_end) != NULL)
		return redact_password(out, start, colon, path_end, end, stop);
	return colon;
}

/* hide_query: no parameter is shown, for its name may be misspelt. */
static void
redact_piece(StringInfo out, const char *start, const char *end,
			 bool hide_query)
{
	const char *p = start;
	bool		has_scheme = false;
	int			urls = 0;

	for (const char *q = start; q + 2 < end && !has_scheme; q++)
		has_scheme = memcmp(q, "://", 3) == 0;
	if (!has_scheme)
	{
		const char *colon = memchr(start, ':', end - start);

		if (colon != NULL && last_at(colon, end) != NULL)
		{
			appendBinaryStringInfo(out, start, colon - start);
			p = redact_password(out, start, colon, end, end, end);
		}
	}

	while (p < end)
	{
		if (end - p >= 3 && memcmp(p, "://", 3) == 0)
		{
			if (++urls > MAX_REDACTED_URLS)
			{
				appendStringInfoString(out, CDC_REDACTED);
				return;
			}
			appendBinaryStringInfo(out, p, 3);
			p += 3;
			p = redact_authority(out, p, end);
			if (p < end && *p == ':')
				appendStringInfoChar(out, *p++);
			continue;
		}
		appendStringInfoChar(out, *p);
		if (*p == '?' && hide_query && has_scheme && p + 1 < end)
		{
			appendStringInfoString(out, CDC_REDACTED);
			return;
		}
		if (*p++ == '=')
		{
			const char *stop = memchr(p, '&', end - p);
			bool		secret = secret_value_follows(start, p - 1, !hide_query);

			if (stop == NULL)
				stop = end;
			if (!secret && !hides_userinfo(p, stop - p))
				continue;
			if (stop > p)
				appendStringInfoString(out, CDC_REDACTED);
			p = stop;

			/* what follows without a "=" may be the rest of the secret */
			while (secret && p < end)
			{
				stop = memchr(p + 1, '&', end - p - 1);
				if (stop == NULL)
					stop = end;
				if (memchr(p, '=', stop - p) != NULL)
					break;
				if (stop > p + 1)
					appendStringInfoString(out, "&" CDC_REDACTED);
				p = stop;
			}
		}
	}
}

/*
 * Parameters of a webhook's URL are the receiver's: nobody knows which of them
 * is a secret, so all are but our own.
 */
static void
redact_webhook(StringInfo out, const char *text)
{
	static const char *const shown[] = {
		"ca_cert", "client_cert", "insecure_tls_skip_verify", "topic_prefix",
		"topic_name",
	};
	const char *query = strchr(text, '?') + 1;

	redact_piece(out, text, query, false);
	while (*query != '\0')
	{
		size_t		len = strcspn(query, "&");
		size_t		name = Min(strcspn(query, "="), len);
		bool		show = name == len;

		for (int i = 0; i < lengthof(shown); i++)
			show |= strlen(shown[i]) == name && strncmp(query, shown[i], name) == 0;
		if (show)
			appendBinaryStringInfo(out, query, len);
		else
		{
			appendBinaryStringInfo(out, query, name + 1);
			appendStringInfoString(out, CDC_REDACTED);
		}
		query += len;
		if (*query == '&')
			appendStringInfoChar(out, *query++);
	}
}

char *
cdc_uri_redact(const char *text)
{
	StringInfoData out;

	initStringInfo(&out);
	if (strlen(text) > CDC_MAX_URI)
		appendStringInfoString(&out, CDC_REDACTED);
	else if (pg_strncasecmp(text, "webhook-", 8) == 0 && strchr(text, '?') != NULL)
		redact_webhook(&out, text);
	else
		redact_piece(&out, text, text + strlen(text), false);
	return out.data;
}

char *
cdc_uri_redact_statement(const char *text)
{
	StringInfoData out;
	const char *start = text;

	initStringInfo(&out);
	for (const char *p = text;; p++)
	{
		/* a quote inside a literal does not end it */
		if ((p[0] == '\'' || p[0] == '\\') && p[1] == '\'')
		{
			p++;
			continue;
		}
		if (*p != '\'' && *p != '\0')
			continue;
		redact_piece(&out, start, p, true);
		if (*p == '\0')
			break;
		appendStringInfoChar(&out, '\'');
		start = p + 1;
	}
	return out.data;
}
