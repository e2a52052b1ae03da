/*-------------------------------------------------------------------------
 * token.c
 *		An access token that is fetched and renewed; see token.h.
 *
 * A token is renewed when a fifth of its life, and no more than five minutes,
 * are left, by a request that goes beside those that still use it.  Nobody
 * asks, nothing is fetched: an idle feed makes no requests.
 *
 * Runs: lane and probe workers, main thread.  Never raises an ERROR.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/jsonpick.h"
#include "sink/token.h"

#define MAX_TOKEN			8192
#define RENEW_BEFORE_MS		(5 * 60 * 1000)

/* Between attempts, twice as long each time. */
#define FIRST_DELAY_MS		100
#define MAX_DELAY_MS		30000

/* Where an answer does not say how long it holds. */
#define DEFAULT_LIFE_S		3600
#define MAX_LIFE_S			86400

struct CdcToken
{
	CdcHttp    *http;
	const CdcStoreConfig *config;
	void		(*changed) (void *arg, const char *error);
	void	   *arg;
	char	   *value;			/* NULL: none */
	int64		expires;		/* these by cdc_http_now_ms() */
	int64		renew;
	char	   *old;			/* the one before, or of the step before: not to
								 * be shown either */
	CdcStoreDraft draft;		/* of the request under way */
	bool		fetching;
	int			step;
	int			delay_ms;		/* 0: no trouble */
	int64		not_before;		/* no fetch before */
};

CdcToken *
cdc_token_create(CdcHttp *http, const CdcStoreConfig *config,
				 void (*changed) (void *arg, const char *error), void *arg)
{
	CdcToken   *token = calloc(1, sizeof(CdcToken));

	if (token == NULL)
		return NULL;
	token->http = http;
	token->config = config;
	token->changed = changed;
	token->arg = arg;
	return token;
}

static void
wipe(char **text)
{
	if (*text != NULL)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

static void
redact_one(const char *secret, char *text)
{
	size_t		len = secret ? strlen(secret) : 0;

	for (char *p = text; len > 0 && (p = strstr(p, secret)) != NULL; p += len)
		memset(p, '*', len);
}

void
cdc_token_redact(const CdcToken *token, char *text)
{
	redact_one(token->value, text);
	redact_one(token->old, text);
}

static void step_done(void *arg, const CdcHttpReply *reply);

/* No token this time; while the last one holds, nobody has to know. */
static void
failed(CdcToken *token, const char *error)
{
	token->delay_ms = Min(Max(token->delay_ms * 2, FIRST_DELAY_MS), MAX_DELAY_MS);
	token->not_before = cdc_http_now_ms() + token->delay_ms;
	cdc_http_wake_in(token->http, token->delay_ms);
	if (token->value == NULL)
		token->changed(token->arg, error);
}

/* False: no memory. */
static bool
start_step(CdcToken *token, const char *former)
{
	cdc_draft_free(&token->draft);
	token->config->dialect->token_draft(token->config, token->step, former,
										&token->draft);
	token->fetching = cdc_draft_start(&token->draft, token->http, NULL, 0,
									  step_done, token) != NULL;
	if (!token->fetching)
		cdc_draft_free(&token->draft);
	return token->fetching;
}

static void
start_fetch(CdcToken *token)
{
	token->step = 0;
	if (!start_step(token, NULL))
		failed(token, "could not get an access token: out of memory");
}

/* "host: invalid_grant (HTTP status 400): Invalid JWT Signature." */
static void
tell_failure(CdcToken *token, const CdcHttpReply *reply)
{
	const char *url = token->draft.url;
	const char *scheme_end = strstr(url, "://");
	const char *host = scheme_end ? scheme_end + 3 : url;
	char		raw[512];
	char		code[64] = "";
	char		message[256] = "";
	char		text[CDC_SINK_ERROR_SIZE];

	if (reply->status == 0 || !reply->complete)
		strlcpy(message, reply->error[0] != '\0' ? reply->error : "no answer", sizeof(message));
	else
	{
		if (cdc_json_pick(reply->body, "error.status", raw, sizeof(raw)) ||
			cdc_json_pick(reply->body, "error", raw, sizeof(raw)))
			cdc_http_clean(token->http, code, sizeof(code), raw, strlen(raw));
		if (cdc_json_pick(reply->body, "error.message", raw, sizeof(raw)) ||
			cdc_json_pick(reply->body, "error_description", raw, sizeof(raw)))
			cdc_http_clean(token->http, message, sizeof(message), raw,
						   strcspn(raw, "\r\n"));
		else if (cdc_reply_ok(reply))
			strlcpy(message, "the answer holds no token", sizeof(message));
	}
	if (reply->status == 0)
		snprintf(text, sizeof(text), "could not get an access token from %.*s: %s",
				 (int) strcspn(host, "/?"), host, message);
	else
		snprintf(text, sizeof(text), "could not get an access token from %.*s: %s%sHTTP status %d%s%s%s",
				 (int) strcspn(host, "/?"), host, code, code[0] ? " (" : "",
				 reply->status, code[0] ? ")" : "", message[0] ? ": " : "", message);
	cdc_token_redact(token, text);
	failed(token, text);
}

/* What the answer holds, malloc'ed; NULL: no token, or no memory. */
static char *
read_answer(const CdcHttpReply *reply, int64 *life_ms)
{
	char	   *value;
	char		number[32];
	long		seconds = 0;

	if (!cdc_reply_ok(reply) || (value = malloc(MAX_TOKEN)) == NULL)
		return NULL;
	if ((!cdc_json_pick(reply->body, "access_token", value, MAX_TOKEN) &&
		 !cdc_json_pick(reply->body, "accessToken", value, MAX_TOKEN)) ||
		value[0] == '\0' || value[strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=")] != '\0')
	{
		explicit_bzero(value, MAX_TOKEN);
		free(value);
		return NULL;
	}
	if (cdc_json_pick(reply->body, "expires_in", number, sizeof(number)))
		seconds = strtol(number, NULL, 10);
	if (seconds <= 0)
		seconds = DEFAULT_LIFE_S;
	*life_ms = (int64) Min(seconds, MAX_LIFE_S) * 1000;
	return value;
}

static void
step_done(void *arg, const CdcHttpReply *reply)
{
	CdcToken   *token = arg;
	int64		life_ms = 0;
	char	   *value = read_answer(reply, &life_ms);

	token->fetching = false;
	if (value == NULL)
	{
		tell_failure(token, reply);
		cdc_draft_free(&token->draft);
		return;
	}
	if (++token->step < token->config->token_steps)
	{
		bool		ok;

		wipe(&token->old);
		token->old = value;
		ok = start_step(token, value);
		if (!ok)
			failed(token, "could not get an access token: out of memory");
		return;
	}
	cdc_draft_free(&token->draft);
	if (token->value != NULL)
	{
		wipe(&token->old);
		token->old = token->value;
	}
	token->value = value;
	token->expires = cdc_http_now_ms() + life_ms;
	token->renew = token->expires - Min(RENEW_BEFORE_MS, life_ms / 5);
	token->delay_ms = 0;
	token->changed(token->arg, NULL);
}

const char *
cdc_token_get(CdcToken *token)
{
	int64		now = cdc_http_now_ms();

	if (token->value != NULL && now >= token->expires)
		cdc_token_reject(token);
	if (!token->fetching && now >= token->not_before &&
		(token->value == NULL || now >= token->renew))
		start_fetch(token);
	return token->value;
}

void
cdc_token_reject(CdcToken *token)
{
	if (token->value == NULL)
		return;
	wipe(&token->old);
	token->old = token->value;
	token->value = NULL;
}

void
cdc_token_free(CdcToken *token)
{
	cdc_draft_free(&token->draft);
	wipe(&token->value);
	wipe(&token->old);
	free(token);
}
