/*-------------------------------------------------------------------------
 * jwt.h
 *		JSON Web Tokens signed with an RSA key (RS256, RFC 7515), which service
 *		accounts show to get their access tokens.
 *
 * Runs: anywhere, any thread.  Nothing of the server is called.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_JWT_H
#define CDC_JWT_H

#include "postgres.h"

/* Is it an RSA key in PEM, without a passphrase? */
extern bool cdc_jwt_key_ok(const char *pem);

/*
 * Writes base64url(header).base64url(claims).base64url(signature).  False: it
 * does not fit, or OpenSSL refuses the key.
 */
extern bool cdc_jwt_sign(const char *header, const char *claims,
						 const char *pem, char *dst, size_t size);

#endif							/* CDC_JWT_H */
