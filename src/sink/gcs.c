/*-------------------------------------------------------------------------
 * gcs.c
 *		Google Cloud Storage: gs://bucket/path.
 *
 * Who asks for a token: a service account with its key (a signed JWT), a
 * user's refresh token, or the machine by its metadata server; ASSUME_ROLE
 * then goes on to the token of another service account.
 *
 * An object is only made where there is none of that name
 * (ifGenerationMatch=0): so the right to create objects is enough, also when
 * an upload is repeated because its answer was lost.
 *
 * Runs: see store.h.  The functions that write requests and read answers
 * never raise an ERROR.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "sink/jsonpick.h"
#include "sink/jwt.h"
#include "sink/multipart.h"
#include "sink/sigv4.h"
#include "sink/store.h"
#include "storage/fd.h"

#define DEFAULT_ENDPOINT	"https://storage.googleapis.com"
#define DEFAULT_TOKEN_URI	"https://oauth2.googleapis.com/token"
#define DEFAULT_IAM			"https://iamcredentials.googleapis.com"
#define DEFAULT_METADATA	"metadata.google.internal"
#define SCOPE_STORAGE		"https://www.googleapis.com/auth/devstorage.read_write"
#define SCOPE_IAM			"https://www.googleapis.com/auth/iam"

#define MAX_CREDENTIALS		16384
#define MAX_ROLES			8

#define FAIL(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), __VA_ARGS__))

typedef enum GcsSource
{
	GCS_BEARER,					/* a token as it is */
	GCS_KEY,					/* key of a service account */
	GCS_REFRESH,				/* refresh token of a user */
	GCS_METADATA,				/* metadata server of the machine */
} GcsSource;

typedef struct GcsConfig
{
	CdcStoreConfig base;
	char	   *bucket;
	GcsSource	source;
	char	   *bearer;
	char	   *email;			/* of the service account, and its key */
	char	   *key_id;
	char	   *key;
	char	   *client_id;		/* these three: of a refresh token */
	char	   *client_secret;
	char	   *refresh_token;
	char	   *token_url;
	char	   *role;			/* to act as; NULL: as oneself */
	char	   *delegates;		/* JSON array of the roles on the way there */
	char	   *iam;
} GcsConfig;

static const char *const schemes[] = {"gs", "experimental-gs", NULL};
static const char *const params[] = {
	CDC_OBJ_PARAM_NAMES,
	"AUTH", "CREDENTIALS", "BEARER_TOKEN", "ASSUME_ROLE", "GCS_ENDPOINT",
	"GCS_IAM_ENDPOINT", "ca_cert", NULL
};

/* ---- configuration ------------------------------------------------------ */

static bool
has_quotes(const char *text)
{
	for (; *text; text++)
	{
		if ((unsigned char) *text <= 0x20 || (unsigned char) *text >= 0x7f ||
			*text == '"' || *text == '\\')
			return true;
	}
	return false;
}

/* A member of the credentials; NULL: not there. */
static char *
member(const char *json, const char *name, size_t size)
{
	char	   *value = palloc(size);

	if (cdc_json_pick(json, name, value, size) && value[0] != '\0')
		return value;
	pfree(value);
	return NULL;
}

/* "CREDENTIALS" or the file that the environment names: "what" they are. */
static void
read_credentials(GcsConfig *gcs, const char *json, const char *what)
{
	char	   *type = member(json, "type", 64);

	gcs->token_url = member(json, "token_uri", 512);
	if (gcs->token_url == NULL)
		gcs->token_url = pstrdup(DEFAULT_TOKEN_URI);
	if (has_quotes(gcs->token_url) || strstr(gcs->token_url, "://") == NULL)
		FAIL(errmsg("invalid token_uri in %s", what));

	/* only to check it */
	cdc_store_read_endpoint(&gcs->base, "token_uri", gcs->token_url);

	if (type == NULL || strcmp(type, "service_account") == 0)
	{
		gcs->source = GCS_KEY;
		gcs->email = member(json, "client_email", 256);
		gcs->key_id = member(json, "private_key_id", 128);
		gcs->key = member(json, "private_key", MAX_CREDENTIALS);
		if (gcs->email == NULL || gcs->key == NULL)
			FAIL(errmsg("%s is not the JSON key of a service account", what),
				 errdetail("It has no client_email or no private_key."));
		cdc_store_note_secret(&gcs->base, gcs->key);
		if (has_quotes(gcs->email) || (gcs->key_id != NULL && has_quotes(gcs->key_id)))
			FAIL(errmsg("invalid client_email or private_key_id in %s", what));
		if (!cdc_jwt_key_ok(gcs->key))
			FAIL(errmsg("invalid private_key in %s", what),
				 errdetail("It is not an RSA key in PEM, or has a passphrase."));
	}
	else if (strcmp(type, "authorized_user") == 0)
	{
		gcs->source = GCS_REFRESH;
		gcs->client_id = member(json, "client_id", 512);
		gcs->client_secret = member(json, "client_secret", 512);
		gcs->refresh_token = member(json, "refresh_token", 2048);
		if (gcs->client_id == NULL || gcs->client_secret == NULL || gcs->refresh_token == NULL)
			FAIL(errmsg("%s has no client_id, client_secret or refresh_token", what));
		cdc_store_note_secret(&gcs->base, gcs->client_secret);
		cdc_store_note_secret(&gcs->base, gcs->refresh_token);
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("credentials of this type are not supported yet"),
				 errhint("Use those of a service account.")));
}

bool
cdc_gcs_asks_google(const char *credentials)
{
	CdcUriParam param = {.name = "CREDENTIALS", .value = unconstify(char *, credentials)};
	CdcUri		uri = {0};
	char	   *json;
	char		token_url[512];
	size_t		host_len;
	const char *host = token_url + strlen("https://");
	int			len;
	bool		google;

	uri.params = list_make1(&param);
	json = cdc_uri_base64(&uri, "CREDENTIALS", &len);
	if (!cdc_json_pick(json, "token_uri", token_url, sizeof(token_url)) &&
		strstr(json, "token_uri") == NULL)
		strlcpy(token_url, DEFAULT_TOKEN_URI, sizeof(token_url));
	explicit_bzero(json, len);
	if (pg_strncasecmp(token_url, "https://", strlen("https://")) != 0)
		return false;
	host_len = strcspn(host, "/");
	google = strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-.") == host_len &&
		((host_len == strlen("accounts.google.com") &&
		  strncmp(host, "accounts.google.com", host_len) == 0) ||
		 (host_len > strlen(".googleapis.com") &&
		  strncmp(host + host_len - strlen(".googleapis.com"), ".googleapis.com",
				  strlen(".googleapis.com")) == 0));
	return google;
}

/* The environment of the server: a file with a key, or the machine's own. */
static void
read_environment(GcsConfig *gcs)
{
	static const char name[] = "GOOGLE_APPLICATION_CREDENTIALS";
	const char *path = getenv(name);
	const char *metadata = getenv("GCE_METADATA_HOST");
	char	   *json;
	size_t		len;
	FILE	   *file;

	if (path == NULL || *path == '\0')
	{
		if (metadata == NULL || *metadata == '\0')
			metadata = DEFAULT_METADATA;
		gcs->source = GCS_METADATA;
		gcs->token_url = psprintf("http://%s/computeMetadata/v1/instance/service-accounts/default/token",
								  metadata);
		return;
	}
	file = AllocateFile(path, "r");
	if (file == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open the file that %s names: %m", name)));
	json = palloc(MAX_CREDENTIALS);
	len = fread(json, 1, MAX_CREDENTIALS - 1, file);
	FreeFile(file);
	json[len] = '\0';
	read_credentials(gcs, json, name);
	explicit_bzero(json, MAX_CREDENTIALS);
}

/* "a,b,c": c is whose token is wanted, by way of a and b. */
static void
read_roles(GcsConfig *gcs, const char *text)
{
	StringInfoData delegates;
	char	   *list;
	char	   *rest;
	int			n = 0;

	if (text == NULL)
		return;
	initStringInfo(&delegates);
	list = pstrdup(text);
	for (char *role = strtok_r(list, ",", &rest); role != NULL; role = strtok_r(NULL, ",", &rest))
	{
		size_t		len = strlen(role);

		if (++n > MAX_ROLES || len > 256 || strchr(role, '@') == NULL ||
			strspn(role, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@:") != len)
			FAIL(errmsg("invalid param ASSUME_ROLE"),
				 errhint("Give the e-mail addresses of up to %d service accounts, separated by commas.", MAX_ROLES));
		if (gcs->role != NULL)
			appendStringInfo(&delegates, "%s\"projects/-/serviceAccounts/%s\"",
							 delegates.len > 0 ? "," : "", gcs->role);
		gcs->role = role;
	}
	gcs->delegates = delegates.data;
}

static void
check_bucket(const char *bucket)
{
	size_t		len = strlen(bucket);

	if (len == 0)
		FAIL(errmsg("gs sink needs a bucket"), errhint("Write gs://bucket/path."));
	if (len < 3 || len > 222 ||
		strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != len)
		FAIL(errmsg("invalid name of a bucket: \"%.64s\"", bucket));
}

static const char *
gcs_forbidden(const CdcUri *uri, const char **hint)
{
	static const char *const endpoints[] = {"GCS_ENDPOINT", "GCS_IAM_ENDPOINT", NULL};
	const char *why;
	char	   *json;
	char		token_url[512];
	int			len;

	if ((why = cdc_store_forbids_plain(cdc_store_param(uri, "GCS_ENDPOINT"), hint)) != NULL ||
		(why = cdc_store_forbids_plain(cdc_store_param(uri, "GCS_IAM_ENDPOINT"), hint)) != NULL ||
		(why = cdc_store_forbids_implicit(uri, endpoints, hint)) != NULL)
		return why;
	json = cdc_uri_base64(uri, "CREDENTIALS", &len);
	if (json == NULL || !cdc_json_pick(json, "token_uri", token_url, sizeof(token_url)))
		return NULL;
	return cdc_store_forbids_plain(token_url, hint);
}

static CdcStoreConfig *
gcs_config(const CdcUri *uri)
{
	GcsConfig  *gcs = palloc0(sizeof(GcsConfig));
	const char *bearer = cdc_store_param(uri, "BEARER_TOKEN");
	const char *endpoint = cdc_store_param(uri, "GCS_ENDPOINT");
	const char *iam = cdc_store_param(uri, "GCS_IAM_ENDPOINT");
	bool		implicit = cdc_store_implicit(uri);
	char	   *json;
	int			len;

	if (uri->user != NULL || uri->password != NULL)
		FAIL(errmsg("URL of a gs sink must not contain a user"),
			 errhint("Give CREDENTIALS as a parameter."));
	check_bucket(uri->hosts);
	gcs->bucket = pstrdup(uri->hosts);
	json = cdc_uri_base64(uri, "CREDENTIALS", &len);
	if (implicit && (json != NULL || bearer != NULL))
		FAIL(errmsg("param %s does not go with AUTH=implicit",
					json ? "CREDENTIALS" : "BEARER_TOKEN"));
	if (json != NULL && bearer != NULL)
		FAIL(errmsg("params CREDENTIALS and BEARER_TOKEN do not go together"));
	if (implicit)
		read_environment(gcs);
	else if (bearer != NULL)
	{
		gcs->source = GCS_BEARER;
		gcs->bearer = cdc_store_secret(&gcs->base, "BEARER_TOKEN", bearer);
	}
	else if (json != NULL && len < MAX_CREDENTIALS && strlen(json) == len)
		read_credentials(gcs, json, "CREDENTIALS");
	else if (json != NULL)
		FAIL(errmsg("%s is not the JSON key of a service account", "CREDENTIALS"));
	else
		FAIL(errmsg("AUTH is set to 'specified', but CREDENTIALS is not set"));
	if (json != NULL)
		explicit_bzero(json, len);
	read_roles(gcs, cdc_store_param(uri, "ASSUME_ROLE"));
	if (iam != NULL || gcs->role != NULL)
	{
		/* only to check it, and bring it into its form */
		cdc_store_read_endpoint(&gcs->base, "GCS_IAM_ENDPOINT", iam ? iam : DEFAULT_IAM);
		gcs->iam = psprintf("http%s://%s%s", gcs->base.https ? "s" : "",
							gcs->base.host, gcs->base.base);
	}
	cdc_store_read_endpoint(&gcs->base, "GCS_ENDPOINT",
							endpoint ? endpoint : DEFAULT_ENDPOINT);
	gcs->base.place = psprintf("bucket \"%s\" at %s", gcs->bucket, gcs->base.host);
	gcs->base.token_steps = (gcs->source != GCS_BEARER) + (gcs->role != NULL);
	return &gcs->base;
}

/* ---- tokens ------------------------------------------------------------- */

static void
draft_own_token(const GcsConfig *gcs, CdcStoreDraft *draft)
{
	const char *scope = gcs->role ? SCOPE_IAM : SCOPE_STORAGE;

	draft->method = "POST";
	cdc_draft_url(draft, "%s", gcs->token_url);
	if (gcs->source == GCS_METADATA)
	{
		draft->method = "GET";
		cdc_draft_header(draft, "Metadata-Flavor: Google");
		return;
	}
	cdc_draft_header(draft, "Content-Type: application/x-www-form-urlencoded");
	if (gcs->source == GCS_KEY)
	{
		char		header[256];
		char		claims[2048];
		char		jwt[4096];
		int64		now = (int64) time(NULL);
		int			n;

		snprintf(header, sizeof(header), "{\"alg\":\"RS256\",\"typ\":\"JWT\"%s%s%s}",
				 gcs->key_id ? ",\"kid\":\"" : "", gcs->key_id ? gcs->key_id : "",
				 gcs->key_id ? "\"" : "");
		n = snprintf(claims, sizeof(claims),
					 "{\"iss\":\"%s\",\"scope\":\"%s\",\"aud\":\"%s\",\"iat\":" INT64_FORMAT
					 ",\"exp\":" INT64_FORMAT "}",
					 gcs->email, scope, gcs->token_url, now, now + 3600);
		if (n >= sizeof(claims) ||
			!cdc_jwt_sign(header, claims, gcs->key, jwt, sizeof(jwt)))
		{
			draft->failed = true;
			return;
		}
		cdc_draft_body(draft, "grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3Ajwt-bearer&assertion=%s", jwt);
		explicit_bzero(jwt, sizeof(jwt));
	}
	else
	{
		char		id[512 * 3 + 1];
		char		secret[512 * 3 + 1];
		char		refresh[2048 * 3 + 1];

		if (!cdc_sigv4_escape(id, sizeof(id), gcs->client_id, false) ||
			!cdc_sigv4_escape(secret, sizeof(secret), gcs->client_secret, false) ||
			!cdc_sigv4_escape(refresh, sizeof(refresh), gcs->refresh_token, false))
			draft->failed = true;
		else
			cdc_draft_body(draft, "grant_type=refresh_token&client_id=%s&client_secret=%s&refresh_token=%s",
						   id, secret, refresh);
		explicit_bzero(secret, sizeof(secret));
		explicit_bzero(refresh, sizeof(refresh));
	}
}

static void
gcs_token_draft(const CdcStoreConfig *config, int step, const char *token,
				CdcStoreDraft *draft)
{
	const GcsConfig *gcs = (const GcsConfig *) config;

	if (step == 0 && gcs->source != GCS_BEARER)
	{
		draft_own_token(gcs, draft);
		return;
	}
	draft->method = "POST";
	cdc_draft_url(draft, "%s/v1/projects/-/serviceAccounts/%s:generateAccessToken",
				  gcs->iam, gcs->role);
	cdc_draft_header(draft, "Content-Type: application/json");
	cdc_draft_header(draft, "Authorization: Bearer %s", token ? token : gcs->bearer);
	cdc_draft_body(draft, "{\"delegates\":[%s],\"scope\":[\"" SCOPE_STORAGE "\"],\"lifetime\":\"3600s\"}",
				   gcs->delegates);
}

/* ---- objects ------------------------------------------------------------ */

/* Small objects, by the JSON interface. */
static void
draft_small(const GcsConfig *gcs, const CdcStoreAsk *ask, CdcStoreDraft *draft)
{
	const CdcStoreConfig *config = &gcs->base;
	char		escaped[CDC_STORE_ESCAPED_SIZE];

	if (!cdc_sigv4_escape(escaped, sizeof(escaped), ask->key, false))
	{
		draft->failed = true;
		return;
	}
	if (ask->remove)
	{
		draft->method = "DELETE";
		cdc_draft_url(draft, "http%s://%s%s/storage/v1/b/%s/o/%s",
					  config->https ? "s" : "", config->host, config->base, gcs->bucket, escaped);
		return;
	}
	draft->method = "POST";
	cdc_draft_url(draft, "http%s://%s%s/upload/storage/v1/b/%s/o?uploadType=media&ifGenerationMatch=0&name=%s",
				  config->https ? "s" : "", config->host, config->base, gcs->bucket, escaped);
	cdc_draft_header(draft, "Content-Type: application/octet-stream");
}

/* Large ones, by the XML interface: it takes parts in any order. */
static void
draft_large(const GcsConfig *gcs, const CdcStoreAsk *ask, CdcStoreDraft *draft)
{
	const CdcStoreConfig *config = &gcs->base;
	char		escaped[CDC_STORE_ESCAPED_SIZE];
	char		query[CDC_MULTIPART_QUERY_SIZE];

	if (!cdc_sigv4_escape(escaped, sizeof(escaped), ask->key, true) ||
		!cdc_multipart_query(ask->upload, ask->step, ask->part, query))
	{
		draft->failed = true;
		return;
	}
	cdc_draft_url(draft, "http%s://%s%s/%s/%s%s%s", config->https ? "s" : "",
				  config->host, config->base, gcs->bucket, escaped,
				  query[0] ? "?" : "", query);
	switch (ask->step)
	{
		case CDC_UPLOAD_BEGIN:
			draft->method = "POST";
			cdc_draft_header(draft, "Content-Type: application/octet-stream");
			break;
		case CDC_UPLOAD_PUT:
		case CDC_UPLOAD_PART:
			draft->method = "PUT";
			break;
		case CDC_UPLOAD_COMMIT:
			draft->method = "POST";
			draft->body = cdc_multipart_list(ask->upload->object);
			draft->failed |= draft->body == NULL;
			cdc_draft_header(draft, "Content-Type: application/xml");
			break;
		case CDC_UPLOAD_CHECK:
			draft->method = "HEAD";
			break;
		case CDC_UPLOAD_ABORT:
			draft->method = "DELETE";
			draft->last_will = true;
			break;
	}
}

static void
draft_sweep(const GcsConfig *gcs, const CdcStoreAsk *ask, CdcStoreDraft *draft)
{
	const CdcStoreConfig *config = &gcs->base;
	char		escaped[CDC_STORE_ESCAPED_SIZE] = "";

	if (ask->key != NULL && !cdc_sigv4_escape(escaped, sizeof(escaped), ask->key, true))
	{
		draft->failed = true;
		return;
	}
	draft->method = ask->key ? "DELETE" : "GET";
	cdc_draft_url(draft, "http%s://%s%s/%s%s%s?%s", config->https ? "s" : "",
				  config->host, config->base, gcs->bucket, ask->key ? "/" : "",
				  escaped, ask->sweep);
}

static void
gcs_draft(const CdcStoreConfig *config, const CdcStoreAsk *ask,
		  CdcStoreDraft *draft)
{
	const GcsConfig *gcs = (const GcsConfig *) config;

	cdc_draft_header(draft, "Authorization: Bearer %s", ask->token ? ask->token : gcs->bearer);
	if (ask->sweep != NULL)
		draft_sweep(gcs, ask, draft);
	else if (ask->remove || ask->step == CDC_UPLOAD_PUT)
		draft_small(gcs, ask, draft);
	else
		draft_large(gcs, ask, draft);
}

static bool
gcs_was_there(const CdcHttpReply *reply)
{
	return reply->status == 412 && reply->complete;
}

static void
gcs_explain(const CdcHttpReply *reply, char *code, size_t code_size,
			char *message, size_t message_size)
{
	if (cdc_reply_xml(reply, "Code", code, code_size))
	{
		(void) cdc_reply_xml(reply, "Message", message, message_size);
		return;
	}
	if (!cdc_json_pick(reply->body, "error.errors.reason", code, code_size))
		(void) cdc_json_pick(reply->body, "error.status", code, code_size);
	(void) cdc_json_pick(reply->body, "error.message", message, message_size);
}

const CdcStoreDialect cdc_store_gcs = {
	.schemes = schemes,
	.params = params,
	.forbidden = gcs_forbidden,
	.config = gcs_config,
	.draft = gcs_draft,
	.was_there = gcs_was_there,
	.judge = cdc_multipart_judge,
	.part_min = CDC_MULTIPART_MIN_PART,
	.max_parts = CDC_MULTIPART_MAX_PARTS,
	.sweeps = true,
	.explain = gcs_explain,
	.token_draft = gcs_token_draft,
};
