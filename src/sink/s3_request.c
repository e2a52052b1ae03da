/*-------------------------------------------------------------------------
 * s3_request.c
 *		One signed request to an S3 store; see s3_request.h.
 *
 * Runs: lane and probe workers, main thread.  Never raises an ERROR: memory
 * is malloc'ed or on the stack.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "sink/s3_request.h"
#include "sink/sigv4.h"

#define CONNECT_TIMEOUT_MS	10000
#define STALL_TIMEOUT_MS	20000

/* A request takes no longer than this, plus 1 s for each 100 kB. */
#define BASE_TIMEOUT_MS		60000
#define BYTES_PER_MS		100

/* Hashing more would hold up the lane; TLS protects what goes over it. */
#define MAX_SIGNED_BODY		(16 * 1024 * 1024)

#define HEADER_SIZE			2304
#define MAX_HEADERS			10
#define ESCAPED_KEY_SIZE	(CDC_S3_KEY_MAX * 3 + 1)

typedef struct Headers
{
	char	   *lines[MAX_HEADERS + 1];
	CdcSigv4Header signed_ones[MAX_HEADERS];
	int			nlines;
	int			nsigned;
	bool		failed;
} Headers;

static void
add_header(Headers *h, const char *name, const char *value, bool is_signed)
{
	size_t		size;
	char	   *line;

	if (value == NULL || h->failed)
		return;
	size = strlen(name) + 2 + strlen(value) + 1;
	line = malloc(size);
	if (line == NULL || h->nlines >= MAX_HEADERS)
	{
		free(line);
		h->failed = true;
		return;
	}
	snprintf(line, size, "%s: %s", name, value);
	if (is_signed)
	{
		h->signed_ones[h->nsigned].name = name;
		h->signed_ones[h->nsigned++].value = value;
	}
	h->lines[h->nlines++] = line;
}

/* Lines may hold a session token or a signature. */
static void
free_headers(Headers *h)
{
	for (int i = 0; i < h->nlines; i++)
	{
		explicit_bzero(h->lines[i], strlen(h->lines[i]));
		free(h->lines[i]);
	}
}

static bool
hash_body(char *hex, const CdcHttpSlice *slices, int nslices)
{
	EVP_MD_CTX *cxt = EVP_MD_CTX_new();
	unsigned char hash[EVP_MAX_MD_SIZE];
	bool		ok;

	if (cxt == NULL)
		return false;
	ok = EVP_DigestInit_ex(cxt, EVP_sha256(), NULL) == 1;
	for (int i = 0; i < nslices && ok; i++)
		ok = EVP_DigestUpdate(cxt, slices[i].data, slices[i].len) == 1;
	ok = ok && EVP_DigestFinal_ex(cxt, hash, NULL) == 1;
	EVP_MD_CTX_free(cxt);
	if (ok)
		cdc_sigv4_hex(hex, hash);
	return ok;
}

/* Fills in and signs the headers of a request. */
static bool
make_headers(Headers *h, const CdcS3Config *config, const CdcS3Request *request,
			 const char *path, const char *payload_hash)
{
	CdcSigv4Request sig;
	char		date[CDC_SIGV4_DATE_SIZE];
	char		authorization[HEADER_SIZE];

	cdc_sigv4_date(date, time(NULL));
	add_header(h, "host", config->host, true);
	add_header(h, "x-amz-content-sha256", payload_hash, true);
	add_header(h, "x-amz-date", date, true);
	add_header(h, "x-amz-security-token", config->session_token, true);
	if (request->creates)
	{
		add_header(h, "x-amz-server-side-encryption", config->enc_mode, true);
		add_header(h, "x-amz-server-side-encryption-aws-kms-key-id", config->kms_id, true);
		add_header(h, "x-amz-storage-class", config->storage_class, true);
	}
	if (request->creates || request->nslices > 0)
		add_header(h, "content-type", "application/octet-stream", false);
	if (h->failed)
		return false;

	memset(&sig, 0, sizeof(sig));
	sig.method = request->method;
	sig.path = path;
	sig.query = request->query ? request->query : "";
	sig.headers = h->signed_ones;
	sig.nheaders = h->nsigned;
	sig.payload_hash = payload_hash;
	sig.date = date;
	sig.access_key = config->access_key;
	sig.secret_key = config->secret_key;
	sig.region = config->region;
	sig.service = "s3";
	if (!cdc_sigv4_authorize(&sig, authorization, sizeof(authorization)))
		return false;
	add_header(h, "authorization", authorization, false);
	return !h->failed;
}

/*
 * The URL without its query, malloc'ed, and where its path begins; NULL: no
 * memory, or the key is too long.
 */
static char *
make_url(const CdcS3Config *config, const char *name, const char **path)
{
	const char *scheme = config->https ? "https://" : "http://";
	char		key[CDC_S3_KEY_MAX + 1];
	char		escaped[ESCAPED_KEY_SIZE] = "";
	const char *slash = "/";
	char	   *url;
	size_t		size;

	if (name != NULL &&
		(snprintf(key, sizeof(key), "%s%s", config->prefix, name) >= sizeof(key) ||
		 !cdc_sigv4_escape(escaped, sizeof(escaped), key, true)))
		return NULL;
	if (name == NULL && config->base[0] != '\0')
		slash = "";
	size = strlen(scheme) + strlen(config->host) + strlen(config->base) + 1 +
		strlen(escaped) + 1;
	url = malloc(size);
	if (url == NULL)
		return NULL;
	snprintf(url, size, "%s%s%s%s%s", scheme, config->host, config->base, slash, escaped);
	*path = url + strlen(scheme) + strlen(config->host);
	return url;
}

CdcHttpCall *
cdc_s3_start(CdcHttp *http, const CdcS3Config *config, const CdcS3Request *request)
{
	CdcHttpRequest r;
	CdcHttpCall *call = NULL;
	Headers		headers;
	char		hash[CDC_SHA256_HEX_SIZE] = "UNSIGNED-PAYLOAD";
	const char *path;
	char	   *url = make_url(config, request->name, &path);
	char	   *full = NULL;
	size_t		len = 0;

	memset(&headers, 0, sizeof(headers));
	if (url != NULL && request->query != NULL)
	{
		size_t		size = strlen(url) + 1 + strlen(request->query) + 1;

		full = malloc(size);
		if (full != NULL)
			snprintf(full, size, "%s?%s", url, request->query);
	}
	for (int i = 0; i < request->nslices; i++)
		len += request->slices[i].len;
	if (url != NULL && (request->query == NULL || full != NULL) &&
		(config->https || len > MAX_SIGNED_BODY ||
		 hash_body(hash, request->slices, request->nslices)) &&
		make_headers(&headers, config, request, path, hash))
	{
		memset(&r, 0, sizeof(r));
		r.method = request->method;
		r.url = full ? full : url;
		r.headers = (const char *const *) headers.lines;
		r.slices = request->slices;
		r.nslices = request->nslices;
		r.last_will = request->last_will;
		r.connect_timeout_ms = CONNECT_TIMEOUT_MS;
		r.timeout_ms = BASE_TIMEOUT_MS + (int) Min(len / BYTES_PER_MS, 3600 * 1000);
		r.stall_timeout_ms = STALL_TIMEOUT_MS;
		r.max_body = request->max_body;
		r.done = request->done;
		r.arg = request->arg;
		call = cdc_http_start(http, &r);
	}
	free_headers(&headers);
	free(full);
	free(url);
	return call;
}

bool
cdc_s3_succeeded(const CdcHttpReply *reply)
{
	return reply->status >= 200 && reply->status < 300 && reply->complete;
}

const char *
cdc_s3_element(const char *from, const char *name, size_t *len)
{
	char		tag[64];
	const char *start;
	const char *end;

	snprintf(tag, sizeof(tag), "<%s>", name);
	start = strstr(from, tag);
	if (start == NULL)
		return NULL;
	start += strlen(tag);
	end = strchr(start, '<');
	if (end == NULL || end == start)
		return NULL;
	*len = end - start;
	return start;
}

void
cdc_s3_explain(CdcHttp *http, const CdcS3Config *config,
			   const CdcHttpReply *reply, char *dst, size_t size)
{
	char		code[64] = "";
	char		message[256] = "";
	size_t		len;
	const char *text;

	if (reply->status == 0 || (reply->status < 300 && !reply->complete))
	{
		snprintf(dst, size, "bucket \"%s\" at %s: %s", config->bucket, config->host,
				 reply->error[0] != '\0' ? reply->error : "no answer");
		return;
	}
	if ((text = cdc_s3_element(reply->body, "Code", &len)) != NULL)
		cdc_http_clean(http, code, sizeof(code), text, len);
	if ((text = cdc_s3_element(reply->body, "Message", &len)) != NULL)
		cdc_http_clean(http, message, sizeof(message), text, len);
	snprintf(dst, size, "bucket \"%s\" at %s: %s%sHTTP status %d%s%s%s",
			 config->bucket, config->host,
			 code, code[0] ? " (" : "", reply->status, code[0] ? ")" : "",
			 message[0] ? ": " : "", message);
}
