/*-------------------------------------------------------------------------
 * aws_request.c
 *		One signed request to a service that checks AWS Signature Version 4;
 *		see aws_request.h.
 *
 * Runs: lane and probe workers, main thread.  Never raises an ERROR: memory
 * is malloc'ed or on the stack.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "sink/aws_request.h"

#define HEADER_SIZE			2304
#define MAX_HEADERS			12

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
make_headers(Headers *h, const CdcAwsRequest *request, const char *payload_hash)
{
	CdcSigv4Request sig;
	char		date[CDC_SIGV4_DATE_SIZE];
	char		authorization[HEADER_SIZE];

	cdc_sigv4_date(date, time(NULL));
	add_header(h, "host", request->host, true);
	add_header(h, "x-amz-content-sha256", payload_hash, true);
	add_header(h, "x-amz-date", date, true);
	add_header(h, "x-amz-security-token", request->key->session_token, true);
	for (int i = 0; i < lengthof(request->headers); i++)
		add_header(h, request->headers[i].name, request->headers[i].value, true);
	add_header(h, "content-type", request->content_type, false);
	if (h->failed)
		return false;

	memset(&sig, 0, sizeof(sig));
	sig.method = request->method;
	sig.path = request->path;
	sig.query = request->query;
	sig.headers = h->signed_ones;
	sig.nheaders = h->nsigned;
	sig.payload_hash = payload_hash;
	sig.date = date;
	sig.access_key = request->key->access_key;
	sig.secret_key = request->key->secret_key;
	sig.region = request->region;
	sig.service = request->service;
	if (!cdc_sigv4_authorize(&sig, authorization, sizeof(authorization)))
		return false;
	add_header(h, "authorization", authorization, false);
	return !h->failed;
}

CdcHttpCall *
cdc_aws_start(CdcHttp *http, const CdcAwsRequest *request)
{
	CdcHttpRequest r = request->http;
	CdcHttpCall *call = NULL;
	Headers		headers;
	char		hash[CDC_SHA256_HEX_SIZE] = "UNSIGNED-PAYLOAD";
	size_t		size = strlen("https://") + strlen(request->host) +
		strlen(request->path) + 1 + strlen(request->query) + 1;
	char	   *url = malloc(size);

	memset(&headers, 0, sizeof(headers));
	if (url == NULL)
		return NULL;
	snprintf(url, size, "http%s://%s%s%s%s", request->https ? "s" : "", request->host,
			 request->path, request->query[0] ? "?" : "", request->query);
	if ((!request->sign_body || hash_body(hash, r.slices, r.nslices)) &&
		make_headers(&headers, request, hash))
	{
		r.method = request->method;
		r.url = url;
		r.headers = (const char *const *) headers.lines;
		call = cdc_http_start(http, &r);
	}
	free_headers(&headers);
	free(url);
	return call;
}

const char *
cdc_aws_element(const char *from, const char *name, size_t *len)
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
cdc_aws_explain(CdcHttp *http, const CdcHttpReply *reply, char *dst, size_t size)
{
	char		code[64] = "";
	char		message[256] = "";
	size_t		len;
	const char *text;

	if (reply->status == 0 || (reply->status < 300 && !reply->complete))
	{
		strlcpy(dst, reply->error[0] != '\0' ? reply->error : "no answer", size);
		return;
	}
	if ((text = cdc_aws_element(reply->body, "Code", &len)) != NULL)
		cdc_http_clean(http, code, sizeof(code), text, len);
	if ((text = cdc_aws_element(reply->body, "Message", &len)) != NULL)
		cdc_http_clean(http, message, sizeof(message), text, len);
	snprintf(dst, size, "%s%sHTTP status %d%s%s%s",
			 code, code[0] ? " (" : "", reply->status, code[0] ? ")" : "",
			 message[0] ? ": " : "", message);
}
