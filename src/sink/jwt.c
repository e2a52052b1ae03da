/*-------------------------------------------------------------------------
 * jwt.c
 *		JSON Web Tokens signed with an RSA key; see jwt.h.
 *
 * Runs: anywhere, any thread.  Plain C and OpenSSL only.  A key with a
 * passphrase is refused: OpenSSL would ask the terminal for it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "sink/jwt.h"

#define MAX_SIGNATURE	1024	/* bytes: RSA of 8192 bits */

static int
no_passphrase(char *buf, int size, int for_writing, void *arg)
{
	return -1;
}

static EVP_PKEY *
read_key(const char *pem)
{
	BIO		   *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY   *key;

	if (bio == NULL)
		return NULL;
	key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	if (key != NULL && EVP_PKEY_base_id(key) != EVP_PKEY_RSA)
	{
		EVP_PKEY_free(key);
		key = NULL;
	}
	/* or somebody else's call would find our error */
	ERR_clear_error();
	return key;
}

bool
cdc_jwt_key_ok(const char *pem)
{
	EVP_PKEY   *key = read_key(pem);
	bool		ok = key != NULL && EVP_PKEY_size(key) <= MAX_SIGNATURE;

	EVP_PKEY_free(key);
	return ok;
}

/* Appends at *n, without "=" at the end; false: no room. */
static bool
append_base64url(char *dst, size_t size, size_t *n, const void *data, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const unsigned char *p = data;

	if (size - *n <= (len * 4 + 2) / 3)
		return false;
	for (size_t i = 0; i < len; i += 3)
	{
		size_t		got = Min(len - i, 3);
		uint32		bits = (uint32) p[i] << 16;

		if (got > 1)
			bits |= (uint32) p[i + 1] << 8;
		if (got > 2)
			bits |= p[i + 2];
		for (size_t j = 0; j <= got; j++)
			dst[(*n)++] = digits[(bits >> (18 - 6 * j)) & 0x3f];
	}
	dst[*n] = '\0';
	return true;
}

static bool
sign(EVP_PKEY *key, const char *text, size_t len, unsigned char *signature,
	 size_t *signature_len)
{
	EVP_MD_CTX *cxt = EVP_MD_CTX_new();
	bool		ok;

	if (cxt == NULL)
		return false;
	ok = EVP_DigestSignInit(cxt, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(cxt, signature, signature_len,
					   (const unsigned char *) text, len) == 1;
	EVP_MD_CTX_free(cxt);
	ERR_clear_error();
	return ok;
}

bool
cdc_jwt_sign(const char *header, const char *claims, const char *pem,
			 char *dst, size_t size)
{
	EVP_PKEY   *key = read_key(pem);
	unsigned char signature[MAX_SIGNATURE];
	size_t		signature_len = sizeof(signature);
	size_t		n = 0;
	bool		ok;

	if (key == NULL)
		return false;
	ok = EVP_PKEY_size(key) <= MAX_SIGNATURE &&
		append_base64url(dst, size, &n, header, strlen(header)) &&
		size - n > 1;
	if (ok)
	{
		dst[n++] = '.';
		ok = append_base64url(dst, size, &n, claims, strlen(claims)) &&
			sign(key, dst, n, signature, &signature_len) &&
			size - n > 1;
	}
	if (ok)
	{
		dst[n++] = '.';
		ok = append_base64url(dst, size, &n, signature, signature_len);
	}
	EVP_PKEY_free(key);
	return ok;
}
