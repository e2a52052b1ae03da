/*-------------------------------------------------------------------------
 * webhook_options.c
 *		What the URI and the options of a webhook feed say; see webhook.h.
 *
 * The URI's parameters are the request's, but for those about TLS and topics.
 * The fields of webhook_sink_config are CockroachDB's.
 *
 * Runs: backend (CdcSinkOps.check) and workers.  Pure computation; raises
 * ERRORs.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/hosts.h"
#include "lib/stringinfo.h"
#include "sink/headers.h"
#include "sink/http.h"
#include "sink/sink_config.h"
#include "sink/webhook.h"

#define DEFAULT_BACKOFF_US	500000
#define MAX_BACKOFF_US		30000000
#define MAX_FREQUENCY_US	(INT64CONST(24) * 3600 * 1000000)
#define MAX_TIMEOUT_US		(INT64CONST(3600) * 1000000)

/* Shorter values are found in any text, so they are no use to hide. */
#define MIN_SECRET			4

#define BAD(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), __VA_ARGS__))

/* These are ours, all others are the request's. */
static const char *const own_params[] = {
	"ca_cert", "client_cert", "client_key", "insecure_tls_skip_verify",
	"topic_prefix", "topic_name",
};

/* ---- webhook_sink_config ---------------------------------------------- */

static void
read_field(void *config, const char *field, const JsonbValue *v)
{
	CdcWebhookConfig *c = config;

	if (pg_strcasecmp(field, "Flush.Messages") == 0)
		c->messages = cdc_sink_config_count(field, v);
	else if (pg_strcasecmp(field, "Flush.Bytes") == 0)
		c->bytes = cdc_sink_config_count(field, v);
	else if (pg_strcasecmp(field, "Flush.Frequency") == 0)
		c->frequency_ms = (cdc_sink_config_duration(field, v, MAX_FREQUENCY_US) + 999) / 1000;
	else if (pg_strcasecmp(field, "Retry.Backoff") == 0)
		c->backoff_ms = (int) ((cdc_sink_config_duration(field, v, MAX_BACKOFF_US) + 999) / 1000);
	else if (pg_strcasecmp(field, "Retry.Max") == 0)
	{
		/* Checked only: messages are retried until they are through. */
		if (v->type == jbvNumeric)
		{
			if (cdc_sink_config_int(field, v) <= 0)
				BAD(errmsg("Retry.Max must be a positive integer. use 'inf' for infinite retries."));
		}
		else if (v->type != jbvString || pg_strcasecmp(cdc_sink_config_string(field, v), "inf") != 0)
			BAD(errmsg("Retry.Max must be either a positive int or 'inf' for infinite retries."));
	}
	else
		BAD(errmsg("unknown field \"%s\" in webhook_sink_config", field),
			errhint("Fields are Flush.{Messages, Bytes, Frequency} and Retry.{Max, Backoff}."));
}

static void
read_sink_config(CdcWebhookConfig *c, const char *json)
{
	c->backoff_ms = DEFAULT_BACKOFF_US / 1000;
	if (json == NULL)
		return;
	cdc_sink_config_read("webhook_sink_config", json, read_field, c);
	if (c->frequency_ms == 0 && (c->messages > 0 || c->bytes > 0))
		BAD(errmsg("invalid sink config, Flush.Frequency is not set, messages may never be sent"));
	c->backoff_ms = Max(c->backoff_ms, 1);
}

/* ---- headers ---------------------------------------------------------- */

static void
add_secret(List **secrets, const char *value)
{
	if (strlen(value) >= MIN_SECRET)
		*secrets = lappend(*secrets, pstrdup(value));
}

static bool
has_control(const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (((unsigned char) *text < ' ' && *text != '\t') || *text == 0x7f)
			return true;
	}
	return false;
}

static void
check_header_name(const char *name, bool have_auth)
{
	static const char *const ours[] = {
		"content-type", "content-length", "content-encoding",
		"transfer-encoding", "connection", "host", "expect", "idempotency-key",
	};
	static const char token[] = "!#$%&'*+-.^_`|~0123456789"
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

	if (strspn(name, token) != strlen(name))
		BAD(errmsg("invalid name of a header in extra_headers"),
			errdetail("Names of headers hold letters, digits and \"-\"."));
	for (int i = 0; i < lengthof(ours); i++)
	{
		if (pg_strcasecmp(name, ours[i]) == 0)
			BAD(errmsg("header \"%s\" in extra_headers is set by the sink", name));
	}
	if (have_auth && pg_strcasecmp(name, "authorization") == 0)
		BAD(errmsg("cannot specify both webhook_auth_header and an Authorization header in extra_headers"));
}

static void
read_extra_headers(const char *json, bool have_auth, List **headers, List **secrets)
{
	ListCell   *lc;

	foreach(lc, cdc_headers_parse(json))
	{
		CdcHeader  *header = lfirst(lc);

		check_header_name(header->name, have_auth);
		if (has_control(header->value))
			BAD(errmsg("header \"%s\" in extra_headers holds a control character",
					   header->name));
		*headers = lappend(*headers, psprintf("%s: %s", header->name, header->value));
		add_secret(secrets, header->value);
	}
}

static char **
string_array(List *strings)
{
	char	  **result = palloc0(sizeof(char *) * (list_length(strings) + 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, strings)
		result[n++] = lfirst(lc);
	return result;
}

static void
read_headers(CdcWebhookConfig *c, const CdcOptions *options, List *secrets)
{
	List	   *headers = list_make1(pstrdup("Content-Type: application/json"));
	const char *auth = options->webhook_auth_header;

	if (auth != NULL)
	{
		const char *space = strchr(auth, ' ');

		if (has_control(auth))
			BAD(errmsg("webhook_auth_header holds a control character"));
		headers = lappend(headers, psprintf("Authorization: %s", auth));
		add_secret(&secrets, auth);
		if (space != NULL)
			add_secret(&secrets, space + 1);	/* without "Bearer" */
	}
	read_extra_headers(options->extra_headers, auth != NULL, &headers, &secrets);
	c->headers = string_array(headers);
	c->secrets = string_array(secrets);
}

/* ---- the URI ---------------------------------------------------------- */

static char *
read_pem(const CdcUri *uri, const char *name)
{
	int			len;
	char	   *text = cdc_uri_base64(uri, name, &len);

	if (text == NULL)
		return NULL;
	if (memchr(text, '\0', len) != NULL || strstr(text, "-----BEGIN ") == NULL ||
		strstr(text, "-----END ") == NULL)
		BAD(errmsg("param %s is not in PEM format", name));
	return text;
}

static bool
is_own_param(const char *name)
{
	for (int i = 0; i < lengthof(own_params); i++)
	{
		if (strcmp(name, own_params[i]) == 0)
			return true;
	}
	return false;
}

static void
read_uri(CdcWebhookConfig *c, const CdcUri *uri, List **secrets)
{
	StringInfoData url;
	char		separator = '?';
	ListCell   *lc;

	c->secure = strcmp(uri->scheme, "webhook-https") == 0;
	if (uri->user != NULL || uri->password != NULL)
		BAD(errmsg("webhook URLs have no user"),
			errhint("Give credentials with the option webhook_auth_header."));
	if (uri->hosts[0] == '\0' || uri->hosts[0] == ':')
		BAD(errmsg("webhook URL has no host"));
	if (strpbrk(uri->hosts, ", \\\"<>^`{|}") != NULL)
		BAD(errmsg("webhook URL must have one host"));

	cdc_hosts_require(uri->hosts, c->secure ? 443 : 80);

	initStringInfo(&url);
	appendStringInfo(&url, "%s://%s", c->secure ? "https" : "http", uri->hosts);
	if (uri->path[0] == '\0')
		appendStringInfoChar(&url, '/');
	cdc_http_escape(&url, uri->path, "/:@!$&'()*+,;=");
	foreach(lc, uri->params)
	{
		CdcUriParam *param = lfirst(lc);

		if (is_own_param(param->name))
			continue;
		appendStringInfoChar(&url, separator);
		separator = '&';
		cdc_http_escape(&url, param->name, NULL);
		appendStringInfoChar(&url, '=');
		cdc_http_escape(&url, param->value, NULL);
		/* nobody knows what it is to the receiver */
		add_secret(secrets, param->value);
	}
	c->url = url.data;

	c->insecure = cdc_uri_bool(uri, "insecure_tls_skip_verify", false);
	c->ca = read_pem(uri, "ca_cert");
	c->cert = read_pem(uri, "client_cert");
	c->key = read_pem(uri, "client_key");
	if ((c->cert == NULL) != (c->key == NULL))
		BAD(errmsg("client_cert and client_key must be given together"));
	if (!c->secure && (c->ca != NULL || c->cert != NULL || c->insecure))
		BAD(errmsg("webhook-http has no TLS: %s is not usable",
				   c->ca ? "ca_cert" : c->cert ? "client_cert" : "insecure_tls_skip_verify"));
}

CdcWebhookConfig *
cdc_webhook_config(const CdcUri *uri, const CdcOptions *options)
{
	CdcWebhookConfig *c = palloc0(sizeof(CdcWebhookConfig));
	List	   *secrets = NIL;

	read_uri(c, uri, &secrets);
	read_sink_config(c, options->webhook_sink_config);
	c->compression = cdc_compression_parse(options->compression);
	if (options->webhook_client_timeout_us > MAX_TIMEOUT_US)
		BAD(errmsg("webhook_client_timeout is longer than an hour"));
	c->timeout_ms = (int) Max((options->webhook_client_timeout_us + 999) / 1000, 1);
	read_headers(c, options, secrets);
	return c;
}
