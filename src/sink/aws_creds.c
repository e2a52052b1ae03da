/*-------------------------------------------------------------------------
 * aws_creds.c
 *		Fetches and renews the key for AWS; see aws_creds.h.
 *
 * A fetch is a chain of requests, each begun by the answer to the one before:
 * the key of the instance (a token, the name of its role, the role's key), of
 * the container or of a web identity, or the one that was given; with it the
 * first role is assumed, with the key of that the second, and so on.
 *
 * Runs: lane and probe workers, main thread.  Memory is malloc'ed; never
 * raises an ERROR.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "sink/aws_creds.h"
#include "sink/jsonpick.h"

#define CONNECT_TIMEOUT_MS	3000
#define TIMEOUT_MS			15000
#define FIRST_DELAY_MS		500
#define MAX_DELAY_MS		30000
#define REJECTED_DELAY_MS	5000	/* between keys that nobody takes */

#define EARLY_SECONDS		300		/* renewed so long before it expires */
#define ROLE_SECONDS		3600
#define MAX_VALUE			8192
#define MAX_TOKEN			16384
#define MAX_ANSWER			65536
#define MAX_URL				4096

typedef enum Step
{
	STEP_INSTANCE_TOKEN,
	STEP_INSTANCE_ROLE,
	STEP_INSTANCE_KEY,
	STEP_CONTAINER,
	STEP_WEB_IDENTITY,
	STEP_ROLE,
} Step;

struct CdcAwsCreds
{
	CdcHttp    *http;
	const CdcAwsSource *source;

	CdcAwsKey	key;
	bool		have;
	bool		rejected;
	time_t		fetched;
	time_t		expires;		/* 0: never */

	/* The fetch under way. */
	bool		active;
	Step		step;
	int			role;
	CdcAwsKey	next;
	time_t		next_expires;
	char	   *body;
	char		token[MAX_TOKEN + 1];	/* the instance's */

	int64		not_before;
	int			delay_ms;
	uint64		failures;
	char		error[CDC_HTTP_ERROR_SIZE * 2];
};

static void start_step(CdcAwsCreds *creds, Step step);

static void
free_secret(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
}

static void
free_key(CdcAwsKey *key)
{
	free(key->access_key);
	free_secret(key->secret_key);
	free_secret(key->session_token);
	memset(key, 0, sizeof(CdcAwsKey));
}

static bool
copy_key(CdcAwsKey *dst, const CdcAwsKey *src)
{
	memset(dst, 0, sizeof(CdcAwsKey));
	dst->access_key = strdup(src->access_key);
	dst->secret_key = strdup(src->secret_key);
	if (src->session_token != NULL)
		dst->session_token = strdup(src->session_token);
	if (dst->access_key == NULL || dst->secret_key == NULL ||
		(src->session_token != NULL && dst->session_token == NULL))
	{
		free_key(dst);
		return false;
	}
	return true;
}

static bool
has_to_fetch(const CdcAwsCreds *creds)
{
	return creds->source->kind != CDC_AWS_GIVEN || creds->source->nroles > 0;
}

CdcAwsCreds *
cdc_aws_creds_create(CdcHttp *http, const CdcAwsSource *source)
{
	CdcAwsCreds *creds = calloc(1, sizeof(CdcAwsCreds));

	if (creds == NULL)
		return NULL;
	creds->http = http;
	creds->source = source;
	cdc_http_add_secret(http, source->token);
	if (source->kind == CDC_AWS_GIVEN)
	{
		cdc_http_add_secret(http, source->key.secret_key);
		cdc_http_add_secret(http, source->key.session_token);
	}
	if (!has_to_fetch(creds))
	{
		creds->have = copy_key(&creds->key, &source->key);
		if (!creds->have)
		{
			free(creds);
			return NULL;
		}
	}
	return creds;
}

void
cdc_aws_creds_free(CdcAwsCreds *creds)
{
	if (creds == NULL)
		return;
	free_key(&creds->key);
	free_key(&creds->next);
	free_secret(creds->body);
	explicit_bzero(creds->token, sizeof(creds->token));
	free(creds);
}

/* ---- the end of a fetch ---------------------------------------------- */

/* What this step is after, in words. */
static void
describe(const CdcAwsCreds *creds, char *dst, size_t size)
{
	switch (creds->step)
	{
		case STEP_INSTANCE_TOKEN:
		case STEP_INSTANCE_ROLE:
		case STEP_INSTANCE_KEY:
			strlcpy(dst, "could not get the credentials of the instance", size);
			break;
		case STEP_CONTAINER:
			strlcpy(dst, "could not get the credentials of the container", size);
			break;
		case STEP_WEB_IDENTITY:
			snprintf(dst, size, "could not assume role \"%.128s\" with a web identity",
					 creds->source->role_arn);
			break;
		case STEP_ROLE:
			snprintf(dst, size, "could not assume role \"%.128s\"",
					 creds->source->roles[creds->role].arn);
			break;
	}
}

static void
fail(CdcAwsCreds *creds, const char *why)
{
	char		what[192];

	describe(creds, what, sizeof(what));
	snprintf(creds->error, sizeof(creds->error), "%s: %s", what, why);
	creds->failures++;
	creds->active = false;
	free_key(&creds->next);
	creds->delay_ms = Min(Max(creds->delay_ms * 2, FIRST_DELAY_MS), MAX_DELAY_MS);
	creds->not_before = cdc_http_now_ms() + creds->delay_ms;
}

static void
succeed(CdcAwsCreds *creds)
{
	free_key(&creds->key);
	creds->key = creds->next;
	memset(&creds->next, 0, sizeof(CdcAwsKey));
	creds->expires = creds->next_expires;
	creds->fetched = time(NULL);
	creds->have = true;
	creds->rejected = false;
	creds->active = false;
	creds->delay_ms = 0;
	creds->error[0] = '\0';
}

/* ---- requests -------------------------------------------------------- */

/* A small file, without blanks at its end; false: it cannot be read. */
static bool
read_file(const char *path, char *dst, size_t size)
{
	int			fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t		n;

	if (fd < 0)
		return false;
	n = read(fd, dst, size);
	close(fd);
	if (n <= 0 || n >= size)
		return false;
	while (n > 0 && (dst[n - 1] == '\n' || dst[n - 1] == '\r' || dst[n - 1] == ' '))
		n--;
	dst[n] = '\0';
	return n > 0;
}

static void answered(void *arg, const CdcHttpReply *reply);

static void
set_limits(CdcAwsCreds *creds, CdcHttpRequest *request)
{
	request->connect_timeout_ms = CONNECT_TIMEOUT_MS;
	request->timeout_ms = TIMEOUT_MS;
	request->max_body = MAX_ANSWER;
	request->public_tls = true;
	request->done = answered;
	request->arg = creds;
}

/* Asks what is on this machine, or close by. */
static bool
start_local(CdcAwsCreds *creds, const char *method, const char *url,
			const char *header, const char *value)
{
	CdcHttpRequest request;
	char		line[MAX_TOKEN + 64];
	const char *headers[] = {line, NULL};
	bool		ok;

	memset(&request, 0, sizeof(request));
	set_limits(creds, &request);
	request.method = method;
	request.url = url;
	request.no_proxy = true;
	if (value != NULL)
	{
		snprintf(line, sizeof(line), "%s: %s", header, value);
		request.headers = headers;
	}
	ok = cdc_http_start(creds->http, &request) != NULL;
	explicit_bzero(line, sizeof(line));
	return ok;
}

/* Appends "&name=value", escaped; false: does not fit. */
static bool
add_field(char *dst, size_t size, const char *name, const char *value)
{
	size_t		n = strlen(dst);
	int			len = snprintf(dst + n, size - n, "&%s=", name);

	return n + len < size &&
		cdc_sigv4_escape(dst + n + len, size - n - len, value, false);
}

/* Sends creds->body; signed with key, or not (NULL). */
static bool
start_sts(CdcAwsCreds *creds, const CdcAwsKey *key)
{
	static const char *const headers[] = {
		"Content-Type: application/x-www-form-urlencoded", NULL
	};
	const CdcAwsSource *source = creds->source;
	CdcHttpSlice slice = {creds->body, strlen(creds->body)};
	CdcHttpRequest request;
	CdcAwsRequest r;
	char		url[512];

	memset(&request, 0, sizeof(request));
	set_limits(creds, &request);
	request.slices = &slice;
	request.nslices = 1;
	if (key == NULL)
	{
		snprintf(url, sizeof(url), "http%s://%s/", source->sts_https ? "s" : "", source->sts_host);
		request.method = "POST";
		request.url = url;
		request.headers = headers;
		return cdc_http_start(creds->http, &request) != NULL;
	}
	memset(&r, 0, sizeof(r));
	r.method = "POST";
	r.https = source->sts_https;
	r.host = source->sts_host;
	r.path = "/";
	r.query = "";
	r.service = "sts";
	r.region = source->region;
	r.key = key;
	r.content_type = "application/x-www-form-urlencoded";
	r.sign_body = true;
	r.http = request;
	return cdc_aws_start(creds->http, &r) != NULL;
}

static bool
start_web_identity(CdcAwsCreds *creds)
{
	const CdcAwsSource *source = creds->source;
	size_t		size = 3 * (MAX_TOKEN + MAX_VALUE);
	char		token[MAX_TOKEN + 1];
	bool		ok;

	creds->body = malloc(size);
	if (creds->body == NULL || !read_file(source->token_file, token, sizeof(token)))
		return false;
	cdc_http_add_secret(creds->http, token);
	strlcpy(creds->body, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15", size);
	ok = add_field(creds->body, size, "RoleArn", source->role_arn) &&
		add_field(creds->body, size, "RoleSessionName",
				  source->role_session ? source->role_session : "cdc_sink") &&
		add_field(creds->body, size, "WebIdentityToken", token);
	explicit_bzero(token, sizeof(token));
	return ok && start_sts(creds, NULL);
}

static bool
start_role(CdcAwsCreds *creds)
{
	const CdcAwsRole *role = &creds->source->roles[creds->role];
	const CdcAwsKey *key = creds->next.access_key ? &creds->next : &creds->source->key;
	size_t		size = 16384;
	char		seconds[16];

	creds->body = malloc(size);
	if (creds->body == NULL)
		return false;
	snprintf(seconds, sizeof(seconds), "%d", ROLE_SECONDS);
	strlcpy(creds->body, "Action=AssumeRole&Version=2011-06-15", size);
	return add_field(creds->body, size, "RoleArn", role->arn) &&
		add_field(creds->body, size, "RoleSessionName", "cdc_sink") &&
		add_field(creds->body, size, "DurationSeconds", seconds) &&
		(role->external_id == NULL ||
		 add_field(creds->body, size, "ExternalId", role->external_id)) &&
		start_sts(creds, key);
}

static bool
start_container(CdcAwsCreds *creds)
{
	const CdcAwsSource *source = creds->source;
	char		token[MAX_TOKEN + 1];
	bool		ok;

	if (source->token_file == NULL)
		return start_local(creds, "GET", source->url, "Authorization", source->token);
	if (!read_file(source->token_file, token, sizeof(token)))
		return false;
	cdc_http_add_secret(creds->http, token);
	ok = start_local(creds, "GET", source->url, "Authorization", token);
	explicit_bzero(token, sizeof(token));
	return ok;
}

static void
start_step(CdcAwsCreds *creds, Step step)
{
	const char *base = creds->source->url;
	char		url[MAX_URL];
	bool		ok = false;

	creds->active = true;
	creds->step = step;
	switch (step)
	{
		case STEP_INSTANCE_TOKEN:
			ok = snprintf(url, sizeof(url), "%s/latest/api/token", base) < sizeof(url) &&
				start_local(creds, "PUT", url,
							"X-aws-ec2-metadata-token-ttl-seconds", "21600");
			break;
		case STEP_INSTANCE_ROLE:
			ok = snprintf(url, sizeof(url), "%s/latest/meta-data/iam/security-credentials/", base) < sizeof(url) &&
				start_local(creds, "GET", url, "X-aws-ec2-metadata-token", creds->token);
			break;
		case STEP_INSTANCE_KEY:
			/* its address is made of the answer before: see read_instance_role */
			break;
		case STEP_CONTAINER:
			ok = start_container(creds);
			break;
		case STEP_WEB_IDENTITY:
			ok = start_web_identity(creds);
			break;
		case STEP_ROLE:
			ok = start_role(creds);
			break;
	}
	if (!ok)
		fail(creds, creds->source->token_file != NULL && step != STEP_ROLE ?
			 "its token file cannot be read, or out of memory" : "out of memory");
}

static void
start_fetch(CdcAwsCreds *creds)
{
	creds->role = 0;
	creds->next_expires = 0;
	switch (creds->source->kind)
	{
		case CDC_AWS_GIVEN:
			start_step(creds, STEP_ROLE);
			break;
		case CDC_AWS_WEB_IDENTITY:
			start_step(creds, STEP_WEB_IDENTITY);
			break;
		case CDC_AWS_CONTAINER:
			start_step(creds, STEP_CONTAINER);
			break;
		case CDC_AWS_INSTANCE:
			start_step(creds, STEP_INSTANCE_TOKEN);
			break;
	}
}

/* ---- answers --------------------------------------------------------- */

/* "2026-11-23T07:00:00Z", with or without a fraction; 0: it is not one. */
static time_t
parse_time(const char *text)
{
	struct tm	tm;

	memset(&tm, 0, sizeof(tm));
	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
			   &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return timegm(&tm);
}

/* Values go into headers. */
static bool
is_clean(const char *text)
{
	for (; *text; text++)
	{
		if ((unsigned char) *text <= 0x20 || (unsigned char) *text >= 0x7f)
			return false;
	}
	return true;
}

typedef struct Values
{
	char		access_key[MAX_VALUE];
	char		secret_key[MAX_VALUE];
	char		token[MAX_TOKEN];
	char		expires[64];
} Values;

static void
copy_element(const char *body, const char *name, char *dst, size_t size)
{
	size_t		len;
	const char *text = cdc_aws_element(body, name, &len);

	if (text != NULL && len < size)
	{
		memcpy(dst, text, len);
		dst[len] = '\0';
	}
}

/* The key in an answer becomes the next one; false: it has none. */
static bool
take_key(CdcAwsCreds *creds, const char *body, bool xml)
{
	Values	   *v = calloc(1, sizeof(Values));
	CdcAwsKey	key;
	bool		ok;

	if (v == NULL)
		return false;
	if (xml)
	{
		copy_element(body, "AccessKeyId", v->access_key, sizeof(v->access_key));
		copy_element(body, "SecretAccessKey", v->secret_key, sizeof(v->secret_key));
		copy_element(body, "SessionToken", v->token, sizeof(v->token));
		copy_element(body, "Expiration", v->expires, sizeof(v->expires));
	}
	else
	{
		(void) cdc_json_pick(body, "AccessKeyId", v->access_key, sizeof(v->access_key));
		(void) cdc_json_pick(body, "SecretAccessKey", v->secret_key, sizeof(v->secret_key));
		(void) cdc_json_pick(body, "Token", v->token, sizeof(v->token));
		(void) cdc_json_pick(body, "Expiration", v->expires, sizeof(v->expires));
	}
	key.access_key = v->access_key;
	key.secret_key = v->secret_key;
	key.session_token = v->token[0] ? v->token : NULL;
	free_key(&creds->next);
	ok = v->access_key[0] != '\0' && v->secret_key[0] != '\0' &&
		strpbrk(v->access_key, "/, ") == NULL && is_clean(v->access_key) &&
		is_clean(v->secret_key) && is_clean(v->token) &&
		copy_key(&creds->next, &key);
	if (ok)
	{
		time_t		expires = parse_time(v->expires);

		cdc_http_add_secret(creds->http, v->secret_key);
		cdc_http_add_secret(creds->http, v->token);
		if (expires != 0 && (creds->next_expires == 0 || expires < creds->next_expires))
			creds->next_expires = expires;
	}
	explicit_bzero(v, sizeof(Values));
	free(v);
	return ok;
}

/* The next role, or the end. */
static void
go_on(CdcAwsCreds *creds)
{
	if (creds->step == STEP_ROLE)
		creds->role++;
	if (creds->role < creds->source->nroles)
		start_step(creds, STEP_ROLE);
	else
		succeed(creds);
}

/* The first line names the role that the instance has. */
static void
read_instance_role(CdcAwsCreds *creds, const char *body)
{
	size_t		len = strcspn(body, "\r\n");
	char		name[256];
	char		escaped[3 * sizeof(name)];
	char		url[MAX_URL];

	if (len == 0 || len >= sizeof(name))
	{
		fail(creds, "it has no role");
		return;
	}
	memcpy(name, body, len);
	name[len] = '\0';
	creds->step = STEP_INSTANCE_KEY;
	if (!cdc_sigv4_escape(escaped, sizeof(escaped), name, false) ||
		snprintf(url, sizeof(url), "%s/latest/meta-data/iam/security-credentials/%s",
				 creds->source->url, escaped) >= sizeof(url) ||
		!start_local(creds, "GET", url, "X-aws-ec2-metadata-token", creds->token))
		fail(creds, "out of memory");
}

static void
answered(void *arg, const CdcHttpReply *reply)
{
	CdcAwsCreds *creds = arg;
	bool		sts = creds->step == STEP_ROLE || creds->step == STEP_WEB_IDENTITY;

	free_secret(creds->body);
	creds->body = NULL;
	if (reply->status < 200 || reply->status >= 300 || !reply->complete)
	{
		char		why[CDC_HTTP_ERROR_SIZE * 2];

		cdc_aws_explain(creds->http, reply, why, sizeof(why));
		fail(creds, why);
		return;
	}
	switch (creds->step)
	{
		case STEP_INSTANCE_TOKEN:
			if (reply->body_len == 0 || reply->body_len > MAX_TOKEN || !is_clean(reply->body))
			{
				fail(creds, "its answer is not understood");
				return;
			}
			strlcpy(creds->token, reply->body, sizeof(creds->token));
			cdc_http_add_secret(creds->http, creds->token);
			start_step(creds, STEP_INSTANCE_ROLE);
			break;
		case STEP_INSTANCE_ROLE:
			read_instance_role(creds, reply->body);
			break;
		case STEP_INSTANCE_KEY:
		case STEP_CONTAINER:
		case STEP_WEB_IDENTITY:
		case STEP_ROLE:
			if (take_key(creds, reply->body, sts))
				go_on(creds);
			else
				fail(creds, "there is no key in the answer");
			break;
	}
}

/* ---- what the sink asks ---------------------------------------------- */

/* When is it time for another? */
static time_t
renew_at(const CdcAwsCreds *creds)
{
	time_t		life = creds->expires - creds->fetched;

	return creds->expires - Min(EARLY_SECONDS, Max(life / 3, 0));
}

bool
cdc_aws_creds_ready(CdcAwsCreds *creds)
{
	time_t		now = time(NULL);

	if (!has_to_fetch(creds))
		return true;
	if (!creds->active && cdc_http_now_ms() >= creds->not_before &&
		(!creds->have || creds->rejected ||
		 (creds->expires != 0 && now >= renew_at(creds))))
		start_fetch(creds);
	return creds->have && !creds->rejected &&
		(creds->expires == 0 || now < creds->expires);
}

const CdcAwsKey *
cdc_aws_creds_key(const CdcAwsCreds *creds)
{
	return &creds->key;
}

const char *
cdc_aws_creds_error(const CdcAwsCreds *creds)
{
	return creds->error;
}

uint64
cdc_aws_creds_failures(const CdcAwsCreds *creds)
{
	return creds->failures;
}

void
cdc_aws_creds_reject(CdcAwsCreds *creds)
{
	if (!has_to_fetch(creds) || !creds->have || creds->rejected)
		return;
	creds->rejected = true;
	if (time(NULL) - creds->fetched < REJECTED_DELAY_MS / 1000)
		creds->not_before = cdc_http_now_ms() + REJECTED_DELAY_MS;
}
