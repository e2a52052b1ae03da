/*-------------------------------------------------------------------------
 * http_compat.h
 *		What libcurl lacked before the releases the HTTP engine is written
 *		for, down to Debian 11's 7.74.  No other file tests
 *		LIBCURL_VERSION_NUM.
 *
 * Runs: wherever http_call.c does; add_authorities within calls of the
 * library, where nothing of PostgreSQL may be touched.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HTTP_COMPAT_H
#define CDC_HTTP_COMPAT_H

#include "postgres.h"

#include <curl/curl.h>

#if LIBCURL_VERSION_NUM < 0x074a00
#error "libcurl 7.74 or later is needed"
#endif

#if LIBCURL_VERSION_NUM < 0x074d00
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#endif

/* No other scheme, whatever a URL says. */
static inline CURLcode
cdc_curl_only_http(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	return curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
							(long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

/*
 * A request that is given up does not wait for the thread that resolves its
 * host's name.  Before 7.87 it does: with a name server that does not answer
 * a worker may then stand still until the resolver gives up, too.
 */
static inline CURLcode
cdc_curl_quick_exit(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075700
	return curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#else
	return CURLE_OK;
#endif
}

#if LIBCURL_VERSION_NUM < 0x074d00
static CURLcode
add_authorities(CURL *easy, void *ssl_ctx, void *pem)
{
	X509_STORE *store = X509_STORE_new();
	BIO		   *bio = BIO_new_mem_buf(pem, -1);
	X509	   *cert;
	int			n = 0;

	if (store != NULL && bio != NULL)
	{
		while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
		{
			n += X509_STORE_add_cert(store, cert) == 1;
			X509_free(cert);
		}
	}
	ERR_clear_error();			/* the last was the end of the text */
	BIO_free(bio);
	if (n == 0)
	{
		X509_STORE_free(store);
		return CURLE_SSL_CACERT_BADFILE;
	}
	/* as the library sets for authorities of its own reading */
	X509_STORE_set_flags(store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
	SSL_CTX_set_cert_store((SSL_CTX *) ssl_ctx, store);
	return CURLE_OK;
}
#endif

/*
 * Trust these authorities and no others.  The text has to stay where it is
 * as long as the handle is used.
 */
static inline CURLcode
cdc_curl_set_ca(CURL *easy, char *pem)
{
	CURLcode	rc;
#if LIBCURL_VERSION_NUM >= 0x074d00
	struct curl_blob blob;

	blob.data = pem;
	blob.len = strlen(pem);
	blob.flags = CURL_BLOB_NOCOPY;
	rc = curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
#else
	rc = curl_easy_setopt(easy, CURLOPT_CAINFO, (char *) NULL);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, add_authorities);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, pem);
#endif
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_CAPATH, (char *) NULL);
	return rc;
}

#endif							/* CDC_HTTP_COMPAT_H */
