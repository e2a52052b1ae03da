/*-------------------------------------------------------------------------
 * store_config.c
 *		What the configurations of all stores have in common; see store.h.
 *
 * No error shows a key, a token, or a value that may be one by mistake.
 *
 * Runs: backends, lane and probe workers, main thread.  No I/O.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "base/guc.h"
#include "base/hosts.h"
#include "sink/sigv4.h"
#include "sink/store.h"
#include "utils/formatting.h"

#define HOST_CHARS \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]"

#define FAIL(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), __VA_ARGS__))

const char *
cdc_store_param(const CdcUri *uri, const char *name)
{
	const char *value = cdc_uri_param(uri, name);

	return value != NULL && *value != '\0' ? value : NULL;
}

void
cdc_store_note_secret(CdcStoreConfig *config, char *text)
{
	if (config->nsecrets == CDC_STORE_MAX_SECRETS)
		elog(ERROR, "too many secrets");
	config->secrets[config->nsecrets++] = text;
}

char *
cdc_store_secret_text(const char *name, const char *value)
{
	char	   *text = pstrdup(value);

	for (char *p = text; *p; p++)
	{
		if (*p == ' ')
			*p = '+';
		else if ((unsigned char) *p < 0x20 || (unsigned char) *p >= 0x7f)
			FAIL(errmsg("param %s must not contain special characters", name));
	}
	return text;
}

char *
cdc_store_secret(CdcStoreConfig *config, const char *name, const char *value)
{
	char	   *text = cdc_store_secret_text(name, value);

	cdc_store_note_secret(config, text);
	return text;
}

bool
cdc_store_implicit(const CdcUri *uri)
{
	const char *auth = cdc_store_param(uri, "AUTH");

	if (auth == NULL || strcmp(auth, "specified") == 0)
		return false;
	if (strcmp(auth, "implicit") != 0)
		FAIL(errmsg("unsupported value for param AUTH"),
			 errhint("Valid values are specified and implicit."));
	return true;
}

const char *
cdc_store_forbids_plain(const char *url, const char **hint)
{
	if (url == NULL || pg_strncasecmp(url, "http://", 7) != 0 || cdc_allow_http_webhook)
		return NULL;
	*hint = "A superuser can allow it with the setting cdc_sink.allow_http_webhook.";
	return "must be superuser to use a store without TLS";
}

const char *
cdc_store_forbids_implicit(const CdcUri *uri, const char *const *endpoints,
						   const char **hint)
{
	if (!cdc_store_implicit(uri))
		return NULL;
	if (!cdc_allow_implicit_credentials)
	{
		*hint = "Give credentials as parameters. A superuser can allow it with the setting cdc_sink.allow_implicit_credentials.";
		return "must be superuser to use the credentials of the server (AUTH=implicit)";
	}

	/* to use them is not to have them told to a host of one's own */
	if (cdc_allowed_sink_hosts != NULL && cdc_allowed_sink_hosts[0] != '\0')
		return NULL;			/* and no other */
	for (; *endpoints != NULL; endpoints++)
	{
		if (cdc_store_param(uri, *endpoints) == NULL)
			continue;
		*hint = "Leave out the parameter that names it. A superuser can list the hosts that may be used in the setting cdc_sink.allowed_sink_hosts.";
		return "must be superuser to send the credentials of the server (AUTH=implicit) to another endpoint";
	}
	return NULL;
}

void
cdc_store_require_allowed(const char *why, const char *hint)
{
	if (why != NULL && !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s", why),
				 errhint("%s", hint)));
}

void
cdc_store_read_prefix(CdcStoreConfig *config, const CdcUri *uri, const char *sink)
{
	const char *path = uri->path;
	size_t		len;

	while (*path == '/')
		path++;
	len = strlen(path);
	while (len > 0 && path[len - 1] == '/')
		len--;
	if (len > CDC_STORE_KEY_MAX - CDC_OBJNAME_SIZE - 1)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("path of %s is too long", sink)));
	for (const char *p = path; p < path + len;)
	{
		size_t		part = strcspn(p, "/");

		if ((part == 1 && *p == '.') || (part == 2 && strncmp(p, "..", 2) == 0) || part == 0)
			FAIL(errmsg("path of %s must not contain empty parts, \".\" or \"..\"", sink));
		for (size_t i = 0; i < part; i++)
		{
			if ((unsigned char) p[i] < 0x20 || p[i] == 0x7f)
				FAIL(errmsg("path of %s must not contain control characters", sink));
		}
		p += part + 1;
	}
	config->prefix = len > 0 ? psprintf("%.*s/", (int) len, path) : pstrdup("");
}

static void
bad_endpoint(const char *name)
{
	FAIL(errmsg("invalid param %s", name),
		 errhint("Write %s=https://host:port.", name));
}

const char *
cdc_store_split_endpoint(CdcStoreConfig *config, const char *name, const char *text)
{
	const char *p = text;
	const char *start;
	const char *port;
	size_t		len;

	config->https = true;
	if (pg_strncasecmp(p, "https://", 8) == 0)
		p += 8;
	else if (pg_strncasecmp(p, "http://", 7) == 0)
	{
		config->https = false;
		p += 7;
	}
	else if (strstr(p, "://") != NULL)
		bad_endpoint(name);
	start = p;
	len = strcspn(p, "/");
	if (len == 0 || strpbrk(p, "@?#\\ ") != NULL || strspn(p, HOST_CHARS) < len)
		bad_endpoint(name);
	config->host = asc_tolower(p, len);

	/* the header "Host" goes without the scheme's own port */
	port = strrchr(config->host, ':');
	if (port != NULL && strchr(port, ']') == NULL)
	{
		if (port == config->host || port[1] == '\0' ||
			strspn(port + 1, "0123456789") != strlen(port + 1))
			bad_endpoint(name);
		if (atoi(port + 1) == (config->https ? 443 : 80))
			config->host[port - config->host] = '\0';
	}

	p += len;
	len = strlen(p);
	while (len > 0 && p[len - 1] == '/')
		len--;
	config->base = palloc(len * 3 + 1);
	if (!cdc_sigv4_escape(config->base, len * 3 + 1, pnstrdup(p, len), true))
		bad_endpoint(name);
	return start;
}

void
cdc_store_read_endpoint(CdcStoreConfig *config, const char *name, const char *text)
{
	const char *start = cdc_store_split_endpoint(config, name, text);

	if (strcspn(start, "/") > 255 || strlen(start) > CDC_STORE_KEY_MAX)
		bad_endpoint(name);
	cdc_hosts_require(config->host, config->https ? 443 : 80);
}

void
cdc_store_read_ca(CdcStoreConfig *config, const CdcUri *uri)
{
	int			len;

	config->ca = cdc_uri_base64(uri, "ca_cert", &len);
	if (config->ca != NULL && strlen(config->ca) != len)
		FAIL(errmsg("invalid param ca_cert"),
			 errhint("It has to be base64 of PEM text."));
}

void
cdc_store_wipe(CdcStoreConfig *config)
{
	for (int i = 0; i < config->nsecrets; i++)
		explicit_bzero(config->secrets[i], strlen(config->secrets[i]));
}
