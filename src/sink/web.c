/*-------------------------------------------------------------------------
 * web.c
 *		Files on a web server that takes PUT (WebDAV): file-https://host/path.
 *
 * Each file is one PUT.  That it is there whole or not at all is up to the
 * server: nginx and Apache write a body to another file first, and rename it.
 *
 * Runs: see store.h.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "sink/sigv4.h"
#include "sink/store.h"

#define MAX_USER	512			/* name and password */

#define FAIL(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), __VA_ARGS__))

typedef struct WebConfig
{
	CdcStoreConfig base;
	char	   *user;			/* base64 of "user:password", NULL: none */
} WebConfig;

static const char *const schemes[] = {
	"file-https", "file-http", "https", "http", "experimental-https",
	"experimental-http", NULL
};
static const char *const params[] = {CDC_OBJ_PARAM_NAMES, "ca_cert", NULL};

static bool
has_tls(const CdcUri *uri)
{
	return uri->scheme[strlen(uri->scheme) - 1] == 's';
}

static const char *
web_forbidden(const CdcUri *uri, const char **hint)
{
	return cdc_store_forbids_plain(has_tls(uri) ? NULL : "http://", hint);
}

static void
read_user(WebConfig *web, const CdcUri *uri)
{
	char	   *text;

	if (uri->user == NULL && uri->password == NULL)
		return;
	text = psprintf("%s:%s", uri->user ? uri->user : "", uri->password ? uri->password : "");
	if (strlen(text) > MAX_USER)
		FAIL(errmsg("user and password of the sink's URL are too long"));
	if (uri->password != NULL && uri->password[0] != '\0')
		cdc_store_note_secret(&web->base, pstrdup(uri->password));
	web->user = palloc0((strlen(text) + 2) / 3 * 4 + 1);
	EVP_EncodeBlock((unsigned char *) web->user, (const unsigned char *) text,
					(int) strlen(text));
	explicit_bzero(text, strlen(text));
	cdc_store_note_secret(&web->base, web->user);
}

static CdcStoreConfig *
web_config(const CdcUri *uri)
{
	WebConfig  *web = palloc0(sizeof(WebConfig));

	if (uri->hosts[0] == '\0' || strchr(uri->hosts, ',') != NULL)
		FAIL(errmsg("%s sink needs one host", uri->scheme),
			 errhint("Write file-https://host:port/path."));
	cdc_store_read_endpoint(&web->base, "host",
							psprintf("http%s://%s", has_tls(uri) ? "s" : "", uri->hosts));
	web->base.place = pstrdup(web->base.host);
	read_user(web, uri);
	return &web->base;
}

static void
web_draft(const CdcStoreConfig *config, const CdcStoreAsk *ask,
		  CdcStoreDraft *draft)
{
	const WebConfig *web = (const WebConfig *) config;
	char		escaped[CDC_STORE_ESCAPED_SIZE];

	if (!cdc_sigv4_escape(escaped, sizeof(escaped), ask->key, true))
	{
		draft->failed = true;
		return;
	}
	draft->method = ask->remove ? "DELETE" : "PUT";
	cdc_draft_url(draft, "http%s://%s/%s", config->https ? "s" : "", config->host, escaped);
	if (web->user != NULL)
		cdc_draft_header(draft, "Authorization: Basic %s", web->user);
	if (!ask->remove)
		cdc_draft_header(draft, "Content-Type: application/octet-stream");
}

/* A body may say what is wrong, if it is no page for people. */
static void
web_explain(const CdcHttpReply *reply, char *code, size_t code_size,
			char *message, size_t message_size)
{
	if (reply->body[0] != '<')
		strlcpy(message, reply->body, message_size);
}

const CdcStoreDialect cdc_store_web = {
	.schemes = schemes,
	.params = params,
	.forbidden = web_forbidden,
	.config = web_config,
	.draft = web_draft,
	.explain = web_explain,
};
