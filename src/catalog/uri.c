/*-------------------------------------------------------------------------
 * uri.c
 *		The URI behind INTO: parsing, parameters, redaction; see uri.h.
 *
 * Escapes are decoded once, a "+" in the query means a space there, as in a
 * form.  No error shows a value out of the URI: a typo may have made any
 * piece of it part of a secret.
 *
 * Runs: backends, lane and probe workers.  Allocates by palloc only.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/external.h"
#include "catalog/uri.h"
#include "common/base64.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/formatting.h"

/* Longest parameter name that a message shows. */
#define MAX_SHOWN_NAME	64

/* Far more than any sink needs; a bundle of certificates fits. */
#define MAX_URI			(256 * 1024)
#define MAX_HOSTS		4096
#define MAX_PATH		4096
#define MAX_PARAMS		128
#define MAX_NAME		128

/* A text with more URLs in it is not worth looking at closely. */
#define MAX_REDACTED_URLS	64

static void
bad_uri(const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid sink URL: %s", what),
			 hint ? errhint("%s", hint) : 0));
}

static void
too_long(const char *what, int limit)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("invalid sink URL: %s is too long", what),
			 errdetail("The limit is %d bytes.", limit)));
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/*
 * Decodes len bytes; NULL if an escape is malformed or stands for a zero
 * byte.
 */
static char *
try_decode(const char *text, size_t len, bool plus_is_space)
{
	char	   *result = palloc(len + 1);
	size_t		n = 0;

	for (size_t i = 0; i < len; i++)
	{
		char		c = text[i];

		if (c == '%')
		{
			int			hi = len - i > 2 ? hex_value(text[i + 1]) : -1;
			int			lo = len - i > 2 ? hex_value(text[i + 2]) : -1;

			if (hi < 0 || lo < 0 || (hi == 0 && lo == 0))
			{
				pfree(result);
				return NULL;
			}
			c = (char) (hi * 16 + lo);
			i += 2;
		}
		else if (c == '+' && plus_is_space)
			c = ' ';
		result[n++] = c;
	}
	result[n] = '\0';
	return result;
}

static char *
decode(const char *text, size_t len, bool plus_is_space)
{
	char	   *result = try_decode(text, len, plus_is_space);

	if (result == NULL)
		bad_uri("malformed percent escape",
				"Write a literal % as %25.");
	if (!pg_verifymbstr(result, strlen(result), true))
		bad_uri("escapes make an invalid byte sequence for the database encoding",
				NULL);
	return result;
}

/*
 * Names of parameters whose value nobody may see: the known ones, and what
 * sounds like one, for the parameter may be unknown or misspelt.
 */
static bool
is_secret_name(const char *name, size_t len)
{
	static const char *const exact[] = {
		"client_key", "shared_access_key", "azure_account_key", "access_key",
		"account_key", "private_key",
	};
	static const char *const part[] = {
		"password", "passwd", "passphrase", "secret", "credential",
	};
	static const char *const tail[] = {"token", "_pass", "_pwd"};
	char	   *lower = try_decode(name, len, true);
	bool		secret = false;
	size_t		n;

	if (lower == NULL)
		lower = pnstrdup(name, len);
	n = strlen(lower);
	for (size_t i = 0; i < n; i++)
		lower[i] = pg_ascii_tolower((unsigned char) lower[i]);

	for (int i = 0; i < lengthof(exact); i++)
		secret |= strcmp(lower, exact[i]) == 0;
	for (int i = 0; i < lengthof(part); i++)
		secret |= strstr(lower, part[i]) != NULL;
	for (int i = 0; i < lengthof(tail); i++)
	{
		size_t		m = strlen(tail[i]);

		secret |= n >= m && strcmp(lower + n - m, tail[i]) == 0;
	}
	pfree(lower);
	return secret;
}

bool
cdc_uri_is_secret(const char *name)
{
	return is_secret_name(name, strlen(name));
}

/* Raises unless each host of "h1:9092,[::1]:9092" has no port or a number. */
static void
check_hosts(const char *hosts)
{
	const char *p = hosts;

	while (*p != '\0')
	{
		if (*p == '[')
		{
			p += strcspn(p, "],");
			if (*p != ']')
				bad_uri("\"[\" without \"]\" in the host", NULL);
			p++;
			if (*p != ':' && *p != ',' && *p != '\0')
				bad_uri("malformed host", NULL);
		}
		else
			p += strcspn(p, ":,");
		if (*p == ':')
		{
			p++;
			p += strspn(p, "0123456789");
			if (*p != ',' && *p != '\0')
				bad_uri("the port of a host is not a number",
						"Special characters in a password have to be percent-encoded.");
		}
		if (*p == ',')
			p++;
	}
}

static void
parse_authority(CdcUri *uri, const char *text, size_t len)
{
	const char *end = text + len;
	const char *at = NULL;

	for (const char *p = text; p < end; p++)
	{
		if (*p == '@')
			at = p;
	}
	if (at != NULL)
	{
		const char *colon = memchr(text, ':', at - text);

		uri->user = decode(text, (colon ? colon : at) - text, false);
		if (colon)
			uri->password = decode(colon + 1, at - colon - 1, false);
		text = at + 1;
	}
	if (end - text > MAX_HOSTS)
		too_long("its list of hosts", MAX_HOSTS);
	uri->hosts = decode(text, end - text, false);
	check_hosts(uri->hosts);
}

static void
parse_query(CdcUri *uri, const char *text)
{
	bool		after_secret = false;

	while (*text != '\0')
	{
		size_t		len = strcspn(text, "&");
		const char *eq = memchr(text, '=', len);
		size_t		name_len = eq ? eq - text : len;

		if (len > 0)
		{
			CdcUriParam *param = palloc0(sizeof(CdcUriParam));

			if (name_len > MAX_NAME)
				too_long("the name of a parameter", MAX_NAME);
			if (list_length(uri->params) >= MAX_PARAMS)
				bad_uri("it has too many parameters", NULL);
			param->name = decode(text, name_len, true);
			param->value = eq ? decode(eq + 1, len - name_len - 1, true) : pstrdup("");
			param->suspect = eq == NULL && after_secret;
			uri->params = lappend(uri->params, param);
			if (eq != NULL)
				after_secret = is_secret_name(text, name_len);
		}
		text += len;
		if (*text == '&')
			text++;
	}
}

CdcUri *
cdc_uri_parse(const char *text)
{
	CdcUri	   *uri = palloc0(sizeof(CdcUri));
	const char *p = text;
	size_t		len;

	if (*text == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sink URL is empty"),
				 errhint("Name a sink, for example kafka://broker:9092 or file:///directory.")));
	if (strlen(text) > MAX_URI)
		too_long("it", MAX_URI);
	for (p = text; *p != '\0'; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			bad_uri("it holds a control character", NULL);
	}

	p = text;
	if (isalpha((unsigned char) *p))
	{
		while (isascii((unsigned char) *p) &&
			   (isalnum((unsigned char) *p) || strchr("+-.", *p) != NULL) &&
			   *p != '\0')
			p++;
	}
	if (p == text || strncmp(p, "://", 3) != 0)
	{
		/* without its marks nobody knows where a secret begins */
		bool		unsafe = strlen(text) > 256 || strpbrk(text, "@?=") != NULL ||
		strstr(text, "%40") != NULL ||
		strstr(text, "%3f") != NULL || strstr(text, "%3F") != NULL ||
		strstr(text, "%3d") != NULL || strstr(text, "%3D") != NULL;

		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no scheme found for sink URL \"%s\"",
						unsafe ? CDC_REDACTED : cdc_uri_redact(text)),
				 errhint("A sink URL looks like scheme://host:port/path?parameter=value.")));
	}
	uri->scheme = asc_tolower(text, p - text);
	p += 3;

	if (strchr(p, '#') != NULL)
		bad_uri("it has a fragment", "Write a literal # as %23.");

	len = strcspn(p, "/?");
	parse_authority(uri, p, len);
	p += len;

	len = strcspn(p, "?");
	if (len > MAX_PATH)
		too_long("its path", MAX_PATH);
	uri->path = decode(p, len, false);
	p += len;

	if (*p == '?')
		parse_query(uri, p + 1);
	return uri;
}

const char *
cdc_uri_param(const CdcUri *uri, const char *name)
{
	const char *value = NULL;
	ListCell   *lc;

	foreach(lc, uri->params)
	{
		CdcUriParam *param = lfirst(lc);

		if (strcmp(param->name, name) != 0)
			continue;
		if (value != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("param %s is given more than once", name)));
		value = param->value;
	}
	return value;
}

bool
cdc_uri_bool(const CdcUri *uri, const char *name, bool dflt)
{
	const char *value = cdc_uri_param(uri, name);
	bool		result;

	if (value == NULL)
		return dflt;
	if (!parse_bool(value, &result))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("param %s must be a bool", name),
				 errhint("Write %s=true or %s=false.", name, name)));
	return result;
}

char *
cdc_uri_base64(const CdcUri *uri, const char *name, int *len)
{
	const char *value = cdc_uri_param(uri, name);
	char	   *text;
	char	   *result;
	int			size;

	if (value == NULL)
		return NULL;

	/* a "+" of base64 that was not escaped has become a space */
	text = pstrdup(value);
	for (char *p = text; *p != '\0'; p++)
	{
		if (*p == ' ')
			*p = '+';
	}
	size = pg_b64_dec_len(strlen(text));
	result = palloc(size + 1);
	*len = pg_b64_decode(text, strlen(text), (void *) result, size);
	if (*len < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("param %s must be base 64 encoded", name)));
	result[*len] = '\0';
	pfree(text);
	return result;
}

static void
print_escaped(StringInfo out, const char *text, const char *plain)
{
	for (const char *p = text; *p != '\0'; p++)
	{
		unsigned char c = *p;

		if (isascii(c) && (isalnum(c) || strchr(plain, c) != NULL))
			appendStringInfoChar(out, c);
		else
			appendStringInfo(out, "%%%02X", c);
	}
}

char *
cdc_uri_print(const CdcUri *uri)
{
	StringInfoData out;
	char		separator = '?';
	ListCell   *lc;

	initStringInfo(&out);
	appendStringInfo(&out, "%s://", uri->scheme);
	if (uri->user != NULL)
		print_escaped(&out, uri->user, "-._~");
	if (uri->password != NULL)
	{
		appendStringInfoChar(&out, ':');
		print_escaped(&out, uri->password, "-._~");
	}
	if (uri->user != NULL || uri->password != NULL)
		appendStringInfoChar(&out, '@');
	print_escaped(&out, uri->hosts, "-._~:,[]");
	print_escaped(&out, uri->path, "-._~/");
	foreach(lc, uri->params)
	{
		CdcUriParam *param = lfirst(lc);

		appendStringInfoChar(&out, separator);
		separator = '&';
		print_escaped(&out, param->name, "-._~");
		appendStringInfoChar(&out, '=');
		print_escaped(&out, param->value, "-._~");
	}
	return out.data;
}

/* The name as a message may show it. */
static const char *
shown_name(const CdcUriParam *param)
{
	size_t		len = strlen(param->name);

	if (param->suspect || len == 0 || len > MAX_SHOWN_NAME)
		return CDC_REDACTED;
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = param->name[i];

		if (!(isascii(c) && (isalnum(c) || strchr("_-.", c) != NULL)))
			return CDC_REDACTED;
	}
	return param->name;
}

void
cdc_uri_require_known(const CdcUri *uri, const char *sink,
					  const char *const *known)
{
	StringInfoData unknown;
	StringInfoData list;
	int			nknown = 0;
	ListCell   *lc;

	initStringInfo(&unknown);
	foreach(lc, uri->params)
	{
		CdcUriParam *param = lfirst(lc);
		bool		found = false;

		for (int i = 0; known[i] != NULL && !found; i++)
			found = strcmp(param->name, known[i]) == 0;
		if (!found)
			appendStringInfo(&unknown, "%s%s", unknown.len > 0 ? ", " : "",
							 shown_name(param));
	}
	if (unknown.len == 0)
	{
		pfree(unknown.data);
		return;
	}

	initStringInfo(&list);
	for (; known[nknown] != NULL; nknown++)
		appendStringInfo(&list, "%s%s", nknown > 0 ? ", " : "", known[nknown]);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown %s query parameters: [%s]", sink, unknown.data),
			 nknown > 0 ? errhint("Known parameters are %s.", list.data) :
			 errhint("This sink has no parameters.")));
}

/* ----------------------------------------------------------------
 *						redaction
 *
 * Works on bytes and on any text.  When in doubt it hides too much.
 * ----------------------------------------------------------------
 */

/* Is it the name of a parameter that everybody may see the value of? */
static bool
is_public_name(const char *name, size_t len)
{
	char	   *text = try_decode(name, len, true);
	const CdcServerOption *option = text ? cdc_server_option_of_param(text) : NULL;

	return text != NULL && !is_secret_name(name, len) &&
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
	return name < eq && is_secret_name(name, eq - name);
}

/* Does a value hold a URL with a password, written with escapes? */
static bool
hides_userinfo(const char *value, size_t len)
{
	char	   *plain;
	bool		found;

	if (memchr(value, '%', len) == NULL)
		return false;
	plain = try_decode(value, len, true);
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
	if (strlen(text) > MAX_URI)
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
