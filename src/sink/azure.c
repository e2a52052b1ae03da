/*-------------------------------------------------------------------------
 * azure.c
 *		Azure Blob Storage: azure://container/path.
 *
 * Requests are signed with the account's key, carry a shared access
 * signature (SAS), or the token of an application or of the machine.
 *
 * A blob is only made where there is none of that name (If-None-Match: *):
 * so the right to create blobs is enough, also when an upload is repeated
 * because its answer was lost.
 *
 * Runs: see store.h.  The functions that write requests and read answers
 * never raise an ERROR.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "sink/azure_sign.h"
#include "sink/sigv4.h"
#include "sink/store.h"

#define SERVICE_VERSION		"2021-08-06"
#define MAX_ACCOUNT_KEY		512 /* of base64 */

/* Large blobs: the service takes 50,000 blocks. */
#define PART_MIN			(1024 * 1024)
#define MAX_BLOCKS			10000

#define IMDS_ENDPOINT		"http://169.254.169.254"

/* "https://storage.azure.com/", escaped */
#define RESOURCE			"https%3A%2F%2Fstorage.azure.com%2F"

#define LETTERS_DIGITS \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

#define FAIL(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), __VA_ARGS__))

typedef enum AzureSource
{
	AZURE_KEY,					/* key of the account */
	AZURE_SAS,					/* shared access signature */
	AZURE_CLIENT,				/* application with its secret */
	AZURE_MANAGED,				/* identity of the machine */
} AzureSource;

typedef struct AzureConfig
{
	CdcStoreConfig base;
	AzureSource source;
	char	   *account;
	char	   *container;
	char	   *key;			/* base64 */
	char	   *sas;			/* query, without its question mark */
	char	   *client_id;
	char	   *client_secret;
	char	   *token_url;
} AzureConfig;

static const char *const schemes[] = {
	"azure", "experimental-azure", "azure-blob", "experimental-azure-blob",
	"azure-storage", "experimental-azure-storage", NULL
};
static const char *const params[] = {
	CDC_OBJ_PARAM_NAMES,
	"AUTH", "AZURE_ACCOUNT_NAME", "AZURE_ACCOUNT_KEY", "AZURE_SAS_TOKEN",
	"AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID",
	"AZURE_ENVIRONMENT", "AZURE_ENDPOINT", "AZURE_AUTHORITY_HOST", "ca_cert", NULL
};

/* The clouds, their stores and who gives out tokens there. */
static const struct
{
	const char *name;
	const char *suffix;
	const char *authority;
}			environments[] = {
	{"AZUREPUBLICCLOUD", "core.windows.net", "https://login.microsoftonline.com"},
	{"AZURECHINACLOUD", "core.chinacloudapi.cn", "https://login.chinacloudapi.cn"},
	{"AZUREGERMANCLOUD", "core.cloudapi.de", "https://login.microsoftonline.de"},
	{"AZUREUSGOVERNMENTCLOUD", "core.usgovcloudapi.net", "https://login.microsoftonline.us"},
};

/* ---- configuration ------------------------------------------------------ */

static const char *
required(const CdcUri *uri, const char *name)
{
	const char *value = cdc_store_param(uri, name);

	if (value == NULL)
		FAIL(errmsg("azure uri missing \"%s\" parameter", name));
	return value;
}

/* For text that becomes part of a URL as it is. */
static char *
plain_text(const char *name, const char *value, const char *more)
{
	size_t		len = strlen(value);

	if (len > 128)
		FAIL(errmsg("invalid param %s", name));
	for (size_t i = 0; i < len; i++)
	{
		if (strchr(LETTERS_DIGITS, value[i]) == NULL && strchr(more, value[i]) == NULL)
			FAIL(errmsg("invalid param %s", name));
	}
	return pstrdup(value);
}

static int
find_environment(const CdcUri *uri)
{
	const char *name = cdc_store_param(uri, "AZURE_ENVIRONMENT");

	for (int i = 0; name != NULL && i < lengthof(environments); i++)
	{
		if (pg_strcasecmp(name, environments[i].name) == 0)
			return i;
	}
	if (name != NULL)
		FAIL(errmsg("unsupported value for param AZURE_ENVIRONMENT"),
			 errhint("Valid values are AZUREPUBLICCLOUD, AZURECHINACLOUD, AZUREGERMANCLOUD and AZUREUSGOVERNMENTCLOUD."));
	return 0;
}

static bool
decode_key(const char *base64, unsigned char *key, size_t *len)
{
	size_t		n = strlen(base64);
	int			got;

	if (n == 0 || n > MAX_ACCOUNT_KEY || n % 4 != 0)
		return false;
	got = EVP_DecodeBlock(key, (const unsigned char *) base64, (int) n);
	if (got < 0)
		return false;
	/* what stands for the padding counts there */
	*len = got - (base64[n - 1] == '=') - (base64[n - 2] == '=');
	return true;
}

static void
use_client(AzureConfig *azure, const char *id, const char *secret,
		   const char *tenant, const char *authority)
{
	/* only to check it, and bring it into its form */
	cdc_store_read_endpoint(&azure->base, "AZURE_AUTHORITY_HOST", authority);
	azure->source = AZURE_CLIENT;
	azure->client_id = plain_text("AZURE_CLIENT_ID", id, "-");
	azure->client_secret = pstrdup(secret);
	if (strlen(secret) > 512)
		FAIL(errmsg("invalid param AZURE_CLIENT_SECRET"));
	cdc_store_note_secret(&azure->base, azure->client_secret);
	azure->token_url = psprintf("http%s://%s%s/%s/oauth2/v2.0/token",
								azure->base.https ? "s" : "",
								azure->base.host, azure->base.base,
								plain_text("AZURE_TENANT_ID", tenant, "-."));
}

/* The environment of the server: an application, or the machine's own. */
static void
use_environment(AzureConfig *azure, const char *authority)
{
	const char *id = getenv("AZURE_CLIENT_ID");
	const char *secret = getenv("AZURE_CLIENT_SECRET");
	const char *tenant = getenv("AZURE_TENANT_ID");
	const char *imds = getenv("AZURE_POD_IDENTITY_AUTHORITY_HOST");

	if (imds == NULL || *imds == '\0')
		imds = IMDS_ENDPOINT;

	if (id != NULL && secret != NULL && tenant != NULL)
	{
		use_client(azure, id, secret, tenant, authority);
		return;
	}
	azure->source = AZURE_MANAGED;
	if (strncmp(imds, "http://", 7) != 0 && strncmp(imds, "https://", 8) != 0)
		FAIL(errmsg("AZURE_POD_IDENTITY_AUTHORITY_HOST in the environment of the server must begin with http:// or https://"));
	azure->token_url = psprintf("%s/metadata/identity/oauth2/token?api-version=2018-02-01&resource=%s%s%s",
								imds, RESOURCE,
								id && *id ? "&client_id=" : "",
								id && *id ? plain_text("AZURE_CLIENT_ID", id, "-") : "");
}

static void
use_parameters(AzureConfig *azure, const CdcUri *uri, const char *authority)
{
	const char *key = cdc_store_param(uri, "AZURE_ACCOUNT_KEY");
	const char *sas = cdc_store_param(uri, "AZURE_SAS_TOKEN");
	const char *client = cdc_store_param(uri, "AZURE_CLIENT_ID");
	unsigned char raw[MAX_ACCOUNT_KEY];
	size_t		len;

	if ((key != NULL) + (sas != NULL) + (client != NULL) > 1)
		FAIL(errmsg("params AZURE_ACCOUNT_KEY, AZURE_SAS_TOKEN and AZURE_CLIENT_ID do not go together"));
	if (client != NULL)
	{
		use_client(azure, client, required(uri, "AZURE_CLIENT_SECRET"),
				   required(uri, "AZURE_TENANT_ID"), authority);
	}
	else if (sas != NULL)
	{
		azure->source = AZURE_SAS;
		azure->sas = cdc_store_secret(&azure->base, "AZURE_SAS_TOKEN", sas + (*sas == '?'));
		if (strlen(azure->sas) > 2048 || strpbrk(azure->sas, "#?\\\"") != NULL ||
			strstr(azure->sas, "sig=") == NULL)
			FAIL(errmsg("invalid param AZURE_SAS_TOKEN"),
				 errhint("It has to be the whole signature, percent-encoded once more: sv%%3D...%%26sig%%3D..."));
	}
	else
	{
		azure->source = AZURE_KEY;
		azure->key = cdc_store_secret(&azure->base, "AZURE_ACCOUNT_KEY",
									  required(uri, "AZURE_ACCOUNT_KEY"));
		if (!decode_key(azure->key, raw, &len))
			FAIL(errmsg("param AZURE_ACCOUNT_KEY must be base 64 encoded"));
		explicit_bzero(raw, sizeof(raw));
	}
}

static const char *
azure_forbidden(const CdcUri *uri, const char **hint)
{
	static const char *const endpoints[] = {"AZURE_ENDPOINT", "AZURE_AUTHORITY_HOST", NULL};
	const char *why;

	if ((why = cdc_store_forbids_plain(cdc_store_param(uri, "AZURE_ENDPOINT"), hint)) != NULL ||
		(why = cdc_store_forbids_plain(cdc_store_param(uri, "AZURE_AUTHORITY_HOST"), hint)) != NULL)
		return why;
	return cdc_store_forbids_implicit(uri, endpoints, hint);
}

static CdcStoreConfig *
azure_config(const CdcUri *uri)
{
	static const char *const not_implicit[] = {
		"AZURE_ACCOUNT_KEY", "AZURE_SAS_TOKEN", "AZURE_CLIENT_ID",
		"AZURE_CLIENT_SECRET", "AZURE_TENANT_ID",
	};
	AzureConfig *azure = palloc0(sizeof(AzureConfig));
	int			env = find_environment(uri);
	const char *endpoint = cdc_store_param(uri, "AZURE_ENDPOINT");
	const char *authority = cdc_store_param(uri, "AZURE_AUTHORITY_HOST");
	bool		implicit = cdc_store_implicit(uri);
	size_t		len = strlen(uri->hosts);

	if (uri->user != NULL || uri->password != NULL)
		FAIL(errmsg("URL of an azure sink must not contain a user"),
			 errhint("Give AZURE_ACCOUNT_NAME and AZURE_ACCOUNT_KEY as parameters."));
	if (len == 0)
		FAIL(errmsg("azure sink needs a container"), errhint("Write azure://container/path."));
	if (len < 3 || len > 63 ||
		strspn(uri->hosts, "abcdefghijklmnopqrstuvwxyz0123456789-$") != len)
		FAIL(errmsg("invalid name of a container: \"%.64s\"", uri->hosts));
	azure->container = pstrdup(uri->hosts);
	azure->account = plain_text("AZURE_ACCOUNT_NAME", required(uri, "AZURE_ACCOUNT_NAME"), "");

	if (authority == NULL)
		authority = environments[env].authority;
	for (int i = 0; implicit && i < lengthof(not_implicit); i++)
	{
		if (cdc_uri_param(uri, not_implicit[i]) != NULL)
			FAIL(errmsg("param %s does not go with AUTH=implicit", not_implicit[i]));
	}
	if (implicit)
		use_environment(azure, authority);
	else
		use_parameters(azure, uri, authority);

	if (endpoint == NULL)
		endpoint = psprintf("https://%s.blob.%s", azure->account, environments[env].suffix);
	cdc_store_read_endpoint(&azure->base, "AZURE_ENDPOINT", endpoint);
	azure->base.place = psprintf("container \"%s\" at %s", azure->container, azure->base.host);
	azure->base.token_steps = azure->source == AZURE_CLIENT || azure->source == AZURE_MANAGED;
	return &azure->base;
}

/* ---- tokens ------------------------------------------------------------- */

static void
azure_token_draft(const CdcStoreConfig *config, int step, const char *token,
				  CdcStoreDraft *draft)
{
	const AzureConfig *azure = (const AzureConfig *) config;
	char		secret[512 * 3 + 1];

	cdc_draft_url(draft, "%s", azure->token_url);
	if (azure->source == AZURE_MANAGED)
	{
		draft->method = "GET";
		cdc_draft_header(draft, "Metadata: true");
		return;
	}
	draft->method = "POST";
	cdc_draft_header(draft, "Content-Type: application/x-www-form-urlencoded");
	if (cdc_sigv4_escape(secret, sizeof(secret), azure->client_secret, false))
		cdc_draft_body(draft, "grant_type=client_credentials&client_id=%s&client_secret=%s&scope=%s.default",
					   azure->client_id, secret, RESOURCE);
	else
		draft->failed = true;
	explicit_bzero(secret, sizeof(secret));
}

/* ---- blobs -------------------------------------------------------------- */

/* Adds the query's parameters to the path, which are all plain but "=". */
static void
set_url(const AzureConfig *azure, const char *escaped, const CdcAzureRequest *req,
		CdcStoreDraft *draft)
{
	char		query[256] = "";
	size_t		n = 0;

	for (int i = 0; i < req->nquery; i++)
	{
		char		value[64];

		if (!cdc_sigv4_escape(value, sizeof(value), req->query[i].value, false))
			draft->failed = true;
		n += snprintf(query + n, sizeof(query) - n, "%s%s=%s", n > 0 ? "&" : "?",
					  req->query[i].name, value);
	}
	cdc_draft_url(draft, "http%s://%s%s/%s/%s%s%s%s", azure->base.https ? "s" : "",
				  azure->base.host, azure->base.base, azure->container, escaped, query,
				  azure->source != AZURE_SAS ? "" : n > 0 ? "&" : "?",
				  azure->source == AZURE_SAS ? azure->sas : "");
}

/* The Authorization header, once all others are known. */
static void
sign(const AzureConfig *azure, CdcAzureRequest *req, const char *escaped,
	 CdcStoreDraft *draft)
{
	char		path[CDC_STORE_ESCAPED_SIZE + CDC_STORE_KEY_MAX * 3 + 80];
	char		authorization[256];
	unsigned char key[MAX_ACCOUNT_KEY];
	size_t		key_len;

	snprintf(path, sizeof(path), "%s/%s/%s", azure->base.base, azure->container, escaped);
	req->account = azure->account;
	req->path = path;
	if (decode_key(azure->key, key, &key_len) &&
		cdc_azure_authorize(req, key, key_len, authorization, sizeof(authorization)))
		cdc_draft_header(draft, "Authorization: %s", authorization);
	else
		draft->failed = true;
	explicit_bzero(key, sizeof(key));
}

/* All of an object's blocks have names of one length. */
static void
block_name(char *dst, uint32 number)
{
	char		text[16];

	snprintf(text, sizeof(text), "%09u", number);
	EVP_EncodeBlock((unsigned char *) dst, (const unsigned char *) text, 9);
}

/* Which blocks make the blob, in order. */
static void
write_block_list(const CdcObject *object, CdcStoreDraft *draft)
{
	static const char head[] = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>";
	static const char tail[] = "</BlockList>";
	size_t		size = sizeof(head) + sizeof(tail) + (size_t) object->nparts * 32;
	char	   *text = malloc(size);
	size_t		n;

	if (text == NULL)
	{
		draft->failed = true;
		return;
	}
	n = strlcpy(text, head, size);
	for (uint32 i = 0; i < object->nparts; i++)
	{
		char		name[16];

		if (object->parts[i]->bytes == 0)
			continue;
		block_name(name, i);
		n += snprintf(text + n, size - n, "<Latest>%s</Latest>", name);
	}
	strlcpy(text + n, tail, size - n);
	draft->body = text;
}

static void
azure_draft(const CdcStoreConfig *config, const CdcStoreAsk *ask, CdcStoreDraft *draft)
{
	const AzureConfig *azure = (const AzureConfig *) config;
	char		escaped[CDC_STORE_ESCAPED_SIZE];
	char		date[CDC_AZURE_DATE_SIZE];
	char		block[16];
	CdcAzurePair headers[3];
	CdcAzurePair query[2];
	CdcAzureRequest req;
	bool		creates = !ask->remove &&
		(ask->step == CDC_UPLOAD_PUT || ask->step == CDC_UPLOAD_COMMIT);

	memset(&req, 0, sizeof(req));
	req.method = draft->method = ask->remove ? "DELETE" :
		ask->step == CDC_UPLOAD_CHECK ? "HEAD" : "PUT";
	req.content_length = ask->len;
	req.content_type = creates ? "application/octet-stream" : "";
	req.if_none_match = creates ? "*" : "";
	req.headers = headers;
	req.query = query;
	cdc_azure_date(date, time(NULL));
	headers[req.nheaders++] = (CdcAzurePair) {"x-ms-date", date};
	headers[req.nheaders++] = (CdcAzurePair) {"x-ms-version", SERVICE_VERSION};
	if (!ask->remove && ask->step == CDC_UPLOAD_PUT)
		headers[req.nheaders++] = (CdcAzurePair) {"x-ms-blob-type", "BlockBlob"};
	else if (!ask->remove && ask->step == CDC_UPLOAD_PART)
	{
		block_name(block, ask->part->number);
		query[req.nquery++] = (CdcAzurePair) {"blockid", block};
		query[req.nquery++] = (CdcAzurePair) {"comp", "block"};
	}
	else if (!ask->remove && ask->step == CDC_UPLOAD_COMMIT)
	{
		query[req.nquery++] = (CdcAzurePair) {"comp", "blocklist"};
		write_block_list(ask->upload->object, draft);
		if (draft->body != NULL)
			req.content_length = strlen(draft->body);
	}
	else if (!ask->remove && ask->step != CDC_UPLOAD_CHECK)
	{
		/* nothing to begin with, and blocks that are left go by themselves */
		draft->failed = true;
	}
	if (draft->failed || !cdc_sigv4_escape(escaped, sizeof(escaped), ask->key, true))
	{
		draft->failed = true;
		return;
	}

	set_url(azure, escaped, &req, draft);
	for (int i = 0; i < req.nheaders; i++)
		cdc_draft_header(draft, "%s: %s", headers[i].name, headers[i].value);
	if (creates)
	{
		cdc_draft_header(draft, "Content-Type: %s", req.content_type);
		cdc_draft_header(draft, "If-None-Match: *");
	}
	if (azure->source == AZURE_KEY)
		sign(azure, &req, escaped, draft);
	else if (azure->source != AZURE_SAS)
		cdc_draft_header(draft, "Authorization: Bearer %s", ask->token);
}

static bool
azure_was_there(const CdcHttpReply *reply)
{
	return cdc_reply_code_is(reply, "BlobAlreadyExists");
}

static CdcUploadVerdict
azure_judge(const CdcUploadRequest *request, const CdcHttpReply *reply)
{
	if (request->step == CDC_UPLOAD_CHECK)
		return cdc_reply_judge_check(request->upload->object, reply);
	if (cdc_reply_ok(reply))
		return CDC_UPLOAD_OK;
	if (request->step != CDC_UPLOAD_COMMIT)
		return CDC_UPLOAD_RETRY;
	if (azure_was_there(reply))
		return CDC_UPLOAD_OK;

	/* some blocks are not there any more */
	if (cdc_reply_code_is(reply, "InvalidBlockList"))
		return CDC_UPLOAD_GONE;
	return CDC_UPLOAD_RETRY;
}

static void
azure_explain(const CdcHttpReply *reply, char *code, size_t code_size,
			  char *message, size_t message_size)
{
	char	   *header = cdc_http_header(reply, "x-ms-error-code");

	if (header != NULL)
		strlcpy(code, header, code_size);
	free(header);
	(void) cdc_reply_xml(reply, "Code", code, code_size);
	/* behind it come numbers that are different each time */
	if (cdc_reply_xml(reply, "Message", message, message_size))
		message[strcspn(message, "\r\n")] = '\0';
}

const CdcStoreDialect cdc_store_azure = {
	.schemes = schemes,
	.params = params,
	.forbidden = azure_forbidden,
	.config = azure_config,
	.draft = azure_draft,
	.was_there = azure_was_there,
	.judge = azure_judge,
	.no_begin = true,
	.part_min = PART_MIN,
	.max_parts = MAX_BLOCKS,
	.explain = azure_explain,
	.token_draft = azure_token_draft,
};
