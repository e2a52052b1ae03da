/*-------------------------------------------------------------------------
 * webhook_start.c
 *		The webhook sink's beginning and end: check, probe, open, close.
 *
 * Runs: lane and probe workers, main thread, but for webhook_check, which
 * runs in backends.  What outlives a call is malloc'ed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/guc.h"
#include "sink/webhook_int.h"

/* With nothing asked for, what comes while others are on their way. */
#define DEFAULT_MESSAGES	100
#define DEFAULT_BYTES		(1024 * 1024)

/* Whatever is asked for. */
#define MAX_MESSAGES		10000
#define MAX_BYTES			(8 * 1024 * 1024)

static const char *const schemes[] = {"webhook-https", "webhook-http", NULL};
static const char *const options_known[] = {
	"compression", "extra_headers", "webhook_auth_header",
	"webhook_client_timeout", "webhook_sink_config", NULL
};

static void
free_strings(char **strings)
{
	if (strings == NULL)
		return;
	for (char **s = strings; *s != NULL; s++)
	{
		explicit_bzero(*s, strlen(*s));
		free(*s);
	}
	free(strings);
}

static char **
copy_strings(char **strings)
{
	int			n = 0;
	char	  **result;

	while (strings[n] != NULL)
		n++;
	result = calloc(n + 1, sizeof(char *));
	if (result == NULL)
		return NULL;
	for (int i = 0; i < n; i++)
	{
		result[i] = strdup(strings[i]);
		if (result[i] == NULL)
		{
			free_strings(result);
			return NULL;
		}
	}
	return result;
}

/* Main thread; nobody reads the bytes of any request any more. */
static void
webhook_release(void *arg)
{
	WebhookSink *w = arg;

	for (int i = 0; i < WEBHOOK_WINDOW; i++)
	{
		if (w->slots[i] != NULL)
			cdc_webhook_free_request(w->slots[i]);
	}
	free(w->resolved_text);
	free(w->holders);
	free_strings(w->headers);
	free(w->url);
	free(w);
}

static CdcHttp *
open_http(const CdcWebhookConfig *c, int64 job_id)
{
	CdcHttpConfig config;

	memset(&config, 0, sizeof(config));
	config.job_id = job_id;
	config.ca = c->ca;
	config.cert = c->cert;
	config.key = c->key;
	config.insecure = c->insecure;
	config.secrets = (const char *const *) c->secrets;
	return cdc_http_open(&config);
}

static CdcSink *
webhook_open(const CdcSinkConfig *config)
{
	CdcWebhookConfig *c = cdc_webhook_config(config->uri, config->options);
	WebhookSink *w = calloc(1, sizeof(WebhookSink));

	if (w == NULL)
		return NULL;
	w->base.ops = &cdc_sink_webhook;
	w->base.job_id = config->job_id;
	w->next = w->oldest = 1;	/* 0: never held */
	w->compression = c->compression;
	w->timeout_ms = c->timeout_ms;
	w->backoff_ms = c->backoff_ms;
	w->frequency_ms = c->frequency_ms;
	w->immediate = c->frequency_ms == 0;
	w->max_messages = w->immediate ? DEFAULT_MESSAGES :
		c->messages > 0 ? Min(c->messages, MAX_MESSAGES) : MAX_MESSAGES;
	w->max_bytes = w->immediate ? DEFAULT_BYTES :
		c->bytes > 0 ? Min(c->bytes, MAX_BYTES) : MAX_BYTES;
	if (!pg_strong_random(&w->session, sizeof(w->session)))
		w->session = (uint64) cdc_http_now_ms();
	w->holders = calloc(WEBHOOK_HOLDERS, sizeof(uint32));
	w->url = strdup(c->url);
	w->headers = copy_strings(c->headers);
	if (w->holders != NULL && w->url != NULL && w->headers != NULL)
		w->http = open_http(c, config->job_id);
	if (w->http == NULL)
	{
		webhook_release(w);
		return NULL;
	}
	w->base.event_fd = cdc_http_event_fd(w->http);
	return &w->base;
}

static void
webhook_close(CdcSink *sink)
{
	WebhookSink *w = (WebhookSink *) sink;

	cdc_http_close(w->http, webhook_release, w);
}

static void
webhook_check(const CdcUri *uri, const CdcOptions *options)
{
	CdcWebhookConfig *c = cdc_webhook_config(uri, options);

	if (!c->secure && !cdc_allow_http_webhook)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("this sink requires webhook-https"),
				 errdetail("Without TLS anyone on the way can read and change what is sent."),
				 errhint("A superuser can allow it with the setting cdc_sink.allow_http_webhook.")));
	if (c->insecure && !AmBackgroundWorkerProcess())
		ereport(WARNING,
				(errmsg("the webhook's certificate is not checked"),
				 errhint("Give the authority's certificate as parameter ca_cert instead.")));
}

typedef struct ProbeResult
{
	bool		ok;
	char		error[CDC_HTTP_ERROR_SIZE];
} ProbeResult;

static void
probe_done(void *arg, const CdcHttpReply *reply)
{
	ProbeResult *result = arg;

	result->ok = reply->error[0] == '\0';
	strlcpy(result->error, reply->error, sizeof(result->error));
}

/* Connects and looks at the certificate; sends nothing. */
static bool
webhook_probe(const CdcSinkConfig *config, int timeout_ms,
			  char *error, size_t error_size)
{
	CdcOptions	options = *config->options;
	CdcWebhookConfig *c;
	CdcHttp    *http;
	CdcHttpRequest request;
	ProbeResult result;

	/* not needed, and the values are not here */
	options.webhook_auth_header = NULL;
	options.extra_headers = NULL;
	c = cdc_webhook_config(config->uri, &options);
	http = open_http(c, 0);
	if (http == NULL)
	{
		snprintf(error, error_size, "out of memory");
		return false;
	}
	memset(&request, 0, sizeof(request));
	memset(&result, 0, sizeof(result));
	strlcpy(result.error, "timeout", sizeof(result.error));
	request.method = "GET";
	request.url = c->url;
	request.connect_only = true;
	request.connect_timeout_ms = timeout_ms;
	request.timeout_ms = timeout_ms;
	request.done = probe_done;
	request.arg = &result;
	if (cdc_http_start(http, &request) == NULL)
		strlcpy(result.error, "malformed URL", sizeof(result.error));
	else
		(void) cdc_http_wait(http, timeout_ms);
	cdc_http_close(http, NULL, NULL);
	if (!result.ok)
		snprintf(error, error_size, "webhook cannot be reached: %s", result.error);
	return result.ok;
}

const CdcSinkOps cdc_sink_webhook = {
	.name = "webhook",
	.schemes = schemes,
	.options = options_known,
	.has_topics = false,
	.forces_key_in_value = true,
	.forces_topic_in_value = true,
	.orders_by_key = true,
	.sanitises_topics = false,
	.check = webhook_check,
	.probe = webhook_probe,
	.open = webhook_open,
	.submit = cdc_webhook_submit,
	.service = cdc_webhook_service,
	.flush = cdc_webhook_flush,
	.resolved = cdc_webhook_resolved,
	.close = webhook_close,
};
