/*-------------------------------------------------------------------------
 * sigv4.c
 *		AWS Signature Version 4; see sigv4.h.
 *
 * Runs: anywhere, any thread.  Plain C and OpenSSL only; no secret stays
 * behind on the stack.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "sink/sigv4.h"

#define ALGORITHM		"AWS4-HMAC-SHA256"
#define SHA256_LEN		32
#define MAX_SECRET		512

/* Text that is hashed piece by piece. */
typedef struct Digest
{
	EVP_MD_CTX *cxt;
	bool		ok;
} Digest;

static const char hex_digits[] = "0123456789abcdef";

void
cdc_sigv4_date(char *dst, time_t now)
{
	struct tm	tm;

	gmtime_r(&now, &tm);
	strftime(dst, CDC_SIGV4_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm);
}

bool
cdc_sigv4_escape(char *dst, size_t size, const char *text, bool keep_slash)
{
	static const char upper[] = "0123456789ABCDEF";
	size_t		n = 0;

	for (const unsigned char *s = (const unsigned char *) text; *s; s++)
	{
		bool		plain = (*s >= 'A' && *s <= 'Z') || (*s >= 'a' && *s <= 'z') ||
			(*s >= '0' && *s <= '9') || strchr("-_.~", *s) != NULL ||
			(keep_slash && *s == '/');

		if (n + (plain ? 1 : 3) >= size)
			return false;
		if (plain)
			dst[n++] = (char) *s;
		else
		{
			dst[n++] = '%';
			dst[n++] = upper[*s >> 4];
			dst[n++] = upper[*s & 0xf];
		}
	}
	if (n >= size)
		return false;
	dst[n] = '\0';
	return true;
}

void
cdc_sigv4_hex(char *dst, const unsigned char *sha256)
{
	for (int i = 0; i < SHA256_LEN; i++)
	{
		*dst++ = hex_digits[sha256[i] >> 4];
		*dst++ = hex_digits[sha256[i] & 0xf];
	}
	*dst = '\0';
}

static void
digest_text(Digest *digest, const char *text)
{
	digest->ok = digest->ok && EVP_DigestUpdate(digest->cxt, text, strlen(text)) == 1;
}

/* Header values: runs of blanks count as one. */
static void
digest_value(Digest *digest, const char *text)
{
	for (const char *p = text; *p; p++)
	{
		if (*p != ' ' || p == text || p[-1] != ' ')
			digest->ok = digest->ok && EVP_DigestUpdate(digest->cxt, p, 1) == 1;
	}
}

/* A copy in the order of the names; there are only a few. */
static void
sort_headers(CdcSigv4Header *dst, const CdcSigv4Header *headers, int n)
{
	for (int i = 0; i < n; i++)
	{
		int			at = i;

		for (; at > 0 && strcmp(headers[i].name, dst[at - 1].name) < 0; at--)
			dst[at] = dst[at - 1];
		dst[at] = headers[i];
	}
}

/* Names joined by semicolons. */
static void
digest_names(Digest *digest, const CdcSigv4Header *headers, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			digest_text(digest, ";");
		digest_text(digest, headers[i].name);
	}
}

/* Hash of the canonical request. */
static bool
hash_request(const CdcSigv4Request *req, const CdcSigv4Header *headers, char *hex)
{
	Digest		digest = {EVP_MD_CTX_new(), true};
	unsigned char hash[SHA256_LEN];

	if (digest.cxt == NULL)
		return false;
	digest.ok = EVP_DigestInit_ex(digest.cxt, EVP_sha256(), NULL) == 1;
	digest_text(&digest, req->method);
	digest_text(&digest, "\n");
	digest_text(&digest, req->path);
	digest_text(&digest, "\n");
	digest_text(&digest, req->query);
	digest_text(&digest, "\n");
	for (int i = 0; i < req->nheaders; i++)
	{
		digest_text(&digest, headers[i].name);
		digest_text(&digest, ":");
		digest_value(&digest, headers[i].value);
		digest_text(&digest, "\n");
	}
	digest_text(&digest, "\n");
	digest_names(&digest, headers, req->nheaders);
	digest_text(&digest, "\n");
	digest_text(&digest, req->payload_hash);
	digest.ok = digest.ok && EVP_DigestFinal_ex(digest.cxt, hash, NULL) == 1;
	EVP_MD_CTX_free(digest.cxt);
	if (digest.ok)
		cdc_sigv4_hex(hex, hash);
	return digest.ok;
}

static bool
hmac(const void *key, int key_len, const char *text, unsigned char *result)
{
	unsigned int len = SHA256_LEN;

	return HMAC(EVP_sha256(), key, key_len, (const unsigned char *) text,
				strlen(text), result, &len) != NULL;
}

static bool
sign(const CdcSigv4Request *req, const char *day, const char *text, char *hex)
{
	char		first[4 + MAX_SECRET];
	unsigned char key[SHA256_LEN];
	unsigned char next[SHA256_LEN];
	size_t		len = strlen(req->secret_key);
	bool		ok;

	if (len > MAX_SECRET)
		return false;
	memcpy(first, "AWS4", 4);
	memcpy(first + 4, req->secret_key, len);
	ok = hmac(first, (int) len + 4, day, key) &&
		hmac(key, SHA256_LEN, req->region, next) &&
		hmac(next, SHA256_LEN, req->service, key) &&
		hmac(key, SHA256_LEN, "aws4_request", next) &&
		hmac(next, SHA256_LEN, text, key);
	if (ok)
		cdc_sigv4_hex(hex, key);
	OPENSSL_cleanse(first, sizeof(first));
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(next, sizeof(next));
	return ok;
}

/* Appends to dst at *n, as far as there is room. */
static void
append(char *dst, size_t size, size_t *n, const char *text)
{
	size_t		len = strlen(text);

	if (*n < size && len < size - *n)
		memcpy(dst + *n, text, len + 1);
	*n += len;
}

bool
cdc_sigv4_authorize(const CdcSigv4Request *req, char *dst, size_t size)
{
	CdcSigv4Header headers[CDC_SIGV4_MAX_HEADERS];
	char		day[9];
	char		hash[CDC_SHA256_HEX_SIZE];
	char		signature[CDC_SHA256_HEX_SIZE];
	char		scope[256];
	char		text[512];
	size_t		n = 0;

	if (req->nheaders > CDC_SIGV4_MAX_HEADERS || strlen(req->date) < 8)
		return false;
	sort_headers(headers, req->headers, req->nheaders);
	memcpy(day, req->date, 8);
	day[8] = '\0';

	append(scope, sizeof(scope), &n, day);
	append(scope, sizeof(scope), &n, "/");
	append(scope, sizeof(scope), &n, req->region);
	append(scope, sizeof(scope), &n, "/");
	append(scope, sizeof(scope), &n, req->service);
	append(scope, sizeof(scope), &n, "/aws4_request");
	if (n >= sizeof(scope) || !hash_request(req, headers, hash))
		return false;

	n = 0;
	append(text, sizeof(text), &n, ALGORITHM "\n");
	append(text, sizeof(text), &n, req->date);
	append(text, sizeof(text), &n, "\n");
	append(text, sizeof(text), &n, scope);
	append(text, sizeof(text), &n, "\n");
	append(text, sizeof(text), &n, hash);
	if (n >= sizeof(text) || !sign(req, day, text, signature))
		return false;

	n = 0;
	append(dst, size, &n, ALGORITHM " Credential=");
	append(dst, size, &n, req->access_key);
	append(dst, size, &n, "/");
	append(dst, size, &n, scope);
	append(dst, size, &n, ",SignedHeaders=");
	for (int i = 0; i < req->nheaders; i++)
	{
		if (i > 0)
			append(dst, size, &n, ";");
		append(dst, size, &n, headers[i].name);
	}
	append(dst, size, &n, ",Signature=");
	append(dst, size, &n, signature);
	return n < size;
}
