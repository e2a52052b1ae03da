/*-------------------------------------------------------------------------
 * test_sigv4.c
 *		Signatures against the examples that AWS publishes: those of the S3
 *		API reference and the plain one of the Signature Version 4 suite.
 *-------------------------------------------------------------------------
 */
/* sources: src/sink/sigv4.c */
/* libs: -lcrypto */
#include "postgres.h"

#include "check.h"
#include "sink/sigv4.h"

#define EMPTY_HASH	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define PUT_HASH	"44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"

/* The signature of a request to examplebucket of the S3 examples. */
static void
s3_example(const char *method, const char *path, const char *query,
		   const char *hash, const CdcSigv4Header *more, int nmore,
		   const char *want)
{
	CdcSigv4Header headers[8] = {
		{"x-amz-date", "20130524T000000Z"},
		{"x-amz-content-sha256", hash},
		{"host", "examplebucket.s3.amazonaws.com"},
	};
	CdcSigv4Request req = {
		.method = method, .path = path, .query = query,
		.headers = headers, .nheaders = 3 + nmore,
		.payload_hash = hash, .date = "20130524T000000Z",
		.access_key = "AKIAIOSFODNN7EXAMPLE",
		.secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		.region = "us-east-1", .service = "s3",
	};
	char		got[1024];

	memcpy(headers + 3, more, sizeof(CdcSigv4Header) * nmore);
	check(cdc_sigv4_authorize(&req, got, sizeof(got)), "authorize", "");
	check(strcmp(got, want) == 0, want, got);

	/* one byte less than it needs */
	check(!cdc_sigv4_authorize(&req, got, strlen(want)), "no room", got);
	check(cdc_sigv4_authorize(&req, got, strlen(want) + 1), "just enough room", got);
}

#define CREDENTIAL "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"

static void
test_s3(void)
{
	CdcSigv4Header range[] = {{"range", "bytes=0-9"}};
	CdcSigv4Header put[] = {
		{"x-amz-storage-class", "REDUCED_REDUNDANCY"},
		{"date", "Fri, 24 May 2013 00:00:00 GMT"},
	};
	char		path[64];

	s3_example("GET", "/test.txt", "", EMPTY_HASH, range, 1,
			   CREDENTIAL "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
			   "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	check(cdc_sigv4_escape(path, sizeof(path), "/test$file.text", true), "escape", path);
	s3_example("PUT", path, "", PUT_HASH, put, 2,
			   CREDENTIAL "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,"
			   "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
	s3_example("GET", "/", "lifecycle=", EMPTY_HASH, put, 0,
			   CREDENTIAL "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
			   "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	s3_example("GET", "/", "max-keys=2&prefix=J", EMPTY_HASH, put, 0,
			   CREDENTIAL "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
			   "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void
test_vanilla(void)
{
	CdcSigv4Header headers[] = {
		{"host", "example.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"},
	};
	CdcSigv4Request req = {
		.method = "GET", .path = "/", .query = "",
		.headers = headers, .nheaders = 2,
		.payload_hash = EMPTY_HASH, .date = "20150830T123600Z",
		.access_key = "AKIDEXAMPLE",
		.secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
		.region = "us-east-1", .service = "service",
	};
	char		got[1024];
	char		long_secret[600];

	check(cdc_sigv4_authorize(&req, got, sizeof(got)), "authorize", "");
	check(strstr(got, "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31") != NULL,
		  "get-vanilla", got);

	memset(long_secret, 'x', sizeof(long_secret) - 1);
	long_secret[sizeof(long_secret) - 1] = '\0';
	req.secret_key = long_secret;
	check(!cdc_sigv4_authorize(&req, got, sizeof(got)), "secret too long", got);
	req.nheaders = CDC_SIGV4_MAX_HEADERS + 1;
	check(!cdc_sigv4_authorize(&req, got, sizeof(got)), "too many headers", got);
}

/* More of the suite that AWS published; each with the vanilla key and date. */
static void
suite(const char *name, const char *method, const char *path, const char *query,
	  const char *payload_hash, CdcSigv4Header *more, int nmore, const char *want)
{
	CdcSigv4Header headers[CDC_SIGV4_MAX_HEADERS] = {
		{"host", "example.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"},
	};
	CdcSigv4Request req = {
		.method = method, .path = path, .query = query,
		.headers = headers, .nheaders = 2 + nmore,
		.payload_hash = payload_hash, .date = "20150830T123600Z",
		.access_key = "AKIDEXAMPLE",
		.secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
		.region = "us-east-1", .service = "service",
	};
	char		got[1024];

	for (int i = 0; i < nmore; i++)
		headers[2 + i] = more[i];
	check(cdc_sigv4_authorize(&req, got, sizeof(got)) && strstr(got, want) != NULL, name, got);
}

static void
test_suite(void)
{
	static const char sts_token[] =
		"AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
	CdcSigv4Header token[] = {{"x-amz-security-token", sts_token}};
	CdcSigv4Header form[] = {{"content-type", "application/x-www-form-urlencoded"}};
	char		path[64];

	suite("post-vanilla", "POST", "/", "", EMPTY_HASH, NULL, 0,
		  "Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
	suite("get-vanilla-query-order-key-case", "GET", "/", "Param1=value1&Param2=value2",
		  EMPTY_HASH, NULL, 0,
		  "Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
	suite("get-unreserved", "GET",
		  "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "",
		  EMPTY_HASH, NULL, 0,
		  "Signature=07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f");
	check(cdc_sigv4_escape(path, sizeof(path), "/\xe1\x88\xb4", true), "escape", path);
	suite("get-utf8", "GET", path, "", EMPTY_HASH, NULL, 0,
		  "Signature=8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85");
	suite("post-sts-header-before", "POST", "/", "", EMPTY_HASH, token, 1,
		  "Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead");
	suite("post-x-www-form-urlencoded", "POST", "/", "",
		  "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e", form, 1,
		  "Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a");
}

static void
test_text(void)
{
	char		got[64];
	char		hex[CDC_SHA256_HEX_SIZE];
	unsigned char hash[32];

	check(cdc_sigv4_escape(got, sizeof(got), "a b/%~\xc3\xa9+", true) &&
		  strcmp(got, "a%20b/%25~%C3%A9%2B") == 0, "escape", got);
	check(cdc_sigv4_escape(got, sizeof(got), "a/b", false) &&
		  strcmp(got, "a%2Fb") == 0, "escape a slash", got);
	check(!cdc_sigv4_escape(got, 5, "abcd ", true), "no room for an escape", got);
	check(cdc_sigv4_escape(got, 5, "abcd", true), "just room", got);
	check(!cdc_sigv4_escape(got, 4, "abcd", true), "no room for the zero", got);
	cdc_sigv4_date(got, 1369353600);
	check(strcmp(got, "20130524T000000Z") == 0, "date", got);
	memset(hash, 0xa5, sizeof(hash));
	cdc_sigv4_hex(hex, hash);
	check(strlen(hex) == 64 && strncmp(hex, "a5a5", 4) == 0, "hex", hex);
}

int
main(void)
{
	test_s3();
	test_vanilla();
	test_suite();
	test_text();
	return failures > 0;
}
