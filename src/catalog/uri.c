/*-------------------------------------------------------------------------
 * uri.c
 *		The URI behind INTO: parsing and parameters; see uri.h.
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

#define MAX_HOSTS		4096
#define MAX_PATH		4096
#define MAX_PARAMS		128
#define MAX_NAME		128

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

char *
cdc_uri_try_decode(const char *text, size_t len, bool plus_is_space)
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
	char	   *result = cdc_uri_try_decode(text, len, plus_is_space);

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
bool
cdc_uri_is_secret_name(const char *name, size_t len)
{
	static const char *const exact[] = {
		"client_key", "shared_access_key", "azure_account_key", "access_key",
		"account_key", "private_key",
	};
	static const char *const part[] = {
		"password", "passwd", "passphrase", "secret", "credential",
	};
	static const char *const tail[] = {"token", "_pass", "_pwd"};
	char	   *lower = cdc_uri_try_decode(name, len, true);
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
	return cdc_uri_is_secret_name(name, strlen(name));
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
				after_secret = cdc_uri_is_secret_name(text, name_len);
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
	if (strlen(text) > CDC_MAX_URI)
		too_long("it", CDC_MAX_URI);
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
