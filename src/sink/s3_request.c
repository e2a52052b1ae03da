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
make_headers(Headers *h, const CdcS3Config *config, const char *method,
			 const char *path, const char *payload_hash)
{
	CdcSigv4Request sig;
	char		date[CDC_SIGV4_DATE_SIZE];
	char		authorization[HEADER_SIZE];
	bool		put = strcmp(method, "PUT") == 0;

	cdc_sigv4_date(date, time(NULL));
	add_header(h, "host", config->host, true);
	add_header(h, "x-amz-content-sha256", payload_hash, true);
	add_header(h, "x-amz-date", date, true);
	add_header(h, "x-amz-security-token", config->session_token, true);
	if (put)
	{
		add_header(h, "x-amz-server-side-encryption", config->enc_mode, true);
		add_header(h, "x-amz-server-side-encryption-aws-kms-key-id", config->kms_id, true);
		add_header(h, "x-amz-storage-class", config->storage_class, true);
		add_header(h, "content-type", "application/octet-stream", false);
	}
	if (h->failed)
		return false;

	memset(&sig, 0, sizeof(sig));
	sig.method = method;
	sig.path = path;
	sig.query = "";
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

CdcHttpCall *
cdc_s3_start(CdcHttp *http, const CdcS3Config *config, const char *method,
			 const char *name, const CdcHttpSlice *slices, int nslices,
			 CdcHttpDone done, void *arg)
{
	CdcHttpRequest request;
	CdcHttpCall *call = NULL;
	Headers		headers;
	char		key[CDC_S3_KEY_MAX + 1];
	char		escaped[ESCAPED_KEY_SIZE];
	char		hash[CDC_SHA256_HEX_SIZE] = "UNSIGNED-PAYLOAD";
	char	   *url;
	char	   *path;
	size_t		size;
	size_t		len = 0;

	memset(&headers, 0, sizeof(headers));
	if (snprintf(key, sizeof(key), "%s%s", config->prefix, name) >= sizeof(key) ||
		!cdc_sigv4_escape(escaped, sizeof(escaped), key, true))
		return NULL;
	size = strlen("https://") + strlen(config->host) + strlen(config->base) + 1 +
		strlen(escaped) + 1;
	url = malloc(size);
	if (url == NULL)
		return NULL;
	snprintf(url, size, "http%s://%s%s/%s", config->https ? "s" : "", config->host,
			 config->base, escaped);
	path = url + strlen(config->https ? "https://" : "http://") + strlen(config->host);

	for (int i = 0; i < nslices; i++)
		len += slices[i].len;
	if ((config->https || len > MAX_SIGNED_BODY || hash_body(hash, slices, nslices)) &&
		make_headers(&headers, config, method, path, hash))
	{
		memset(&request, 0, sizeof(request));
		request.method = method;
		request.url = url;
		request.headers = (const char *const *) headers.lines;
		request.slices = slices;
		request.nslices = nslices;
		request.connect_timeout_ms = CONNECT_TIMEOUT_MS;
		request.timeout_ms = BASE_TIMEOUT_MS + (int) Min(len / BYTES_PER_MS, 3600 * 1000);
		request.stall_timeout_ms = STALL_TIMEOUT_MS;
		request.done = done;
		request.arg = arg;
		call = cdc_http_start(http, &request);
	}
	free_headers(&headers);
	free(url);
	return call;
}

bool
cdc_s3_succeeded(const CdcHttpReply *reply)
{
	return reply->status >= 200 && reply->status < 300 && reply->complete;
}

/* Text of the first element of that name; NULL: there is none. */
static const char *
element(const CdcHttpReply *reply, const char *name, size_t *len)
{
	char		tag[32];
	const char *start;
	const char *end;

	if (reply->body == NULL)
		return NULL;
	snprintf(tag, sizeof(tag), "<%s>", name);
	start = strstr(reply->body, tag);
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
	if ((text = element(reply, "Code", &len)) != NULL)
		cdc_http_clean(http, code, sizeof(code), text, len);
	if ((text = element(reply, "Message", &len)) != NULL)
		cdc_http_clean(http, message, sizeof(message), text, len);
	snprintf(dst, size, "bucket \"%s\" at %s: %s%sHTTP status %d%s%s%s",
			 config->bucket, config->host,
			 code, code[0] ? " (" : "", reply->status, code[0] ? ")" : "",
			 message[0] ? ": " : "", message);
}
