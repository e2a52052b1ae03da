/*-------------------------------------------------------------------------
 * test_azure_sign.c
 *		Shared Key signatures: the text to sign against the example in the
 *		service's documentation, the whole against values computed apart
 *		(Python's hmac), with the well-known key of the storage emulator.
 *-------------------------------------------------------------------------
 */
/* sources: src/sink/azure_sign.c */
/* libs: -lcrypto */
#include "postgres.h"

#include <openssl/evp.h>

#include "check.h"
#include "pg_snprintf.h"
#include "sink/azure_sign.h"

#define EMULATOR_KEY \
	"Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

static void
test_string(void)
{
	CdcAzurePair headers[] = {
		{"x-ms-version", "2015-02-21"}, {"x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT"},
	};
	CdcAzurePair query[] = {
		{"timeout", "20"}, {"restype", "container"}, {"comp", "metadata"},
	};
	CdcAzureRequest req = {
		.method = "GET", .content_type = "", .if_none_match = "",
		.headers = headers, .nheaders = 2, .account = "myaccount",
		.path = "/mycontainer", .query = query, .nquery = 3,
	};
	static const char want[] =
		"GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n"
		"x-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:metadata\n"
		"restype:container\ntimeout:20";
	char		got[1024];

	check(cdc_azure_string_to_sign(&req, got, sizeof(got)), "string to sign", "");
	check(strcmp(got, want) == 0, want, got);
	check(!cdc_azure_string_to_sign(&req, got, strlen(want)), "no room", got);
	check(cdc_azure_string_to_sign(&req, got, strlen(want) + 1), "just enough room", got);
	req.nquery = CDC_AZURE_MAX_PAIRS + 1;
	check(!cdc_azure_string_to_sign(&req, got, sizeof(got)), "too many pairs", got);
}

static void
test_signature(void)
{
	CdcAzurePair headers[] = {
		{"x-ms-blob-type", "BlockBlob"}, {"x-ms-date", "Mon, 23 Nov 2026 07:00:00 GMT"},
		{"x-ms-version", "2021-08-06"},
	};
	CdcAzurePair query[] = {{"comp", "block"}, {"blockid", "AAAAAA=="}};
	CdcAzureRequest req = {
		.method = "PUT", .content_length = 11, .content_type = "application/octet-stream",
		.if_none_match = "*", .headers = headers, .nheaders = 3,
		.account = "devstoreaccount1", .path = "/devstoreaccount1/box/a%20b/c.ndjson",
	};
	unsigned char key[80];
	int			len = EVP_DecodeBlock(key, (const unsigned char *) EMULATOR_KEY, strlen(EMULATOR_KEY)) - 2;
	char		got[256];

	check(len == 64, "key", "");
	check(cdc_azure_authorize(&req, key, len, got, sizeof(got)), "authorize", "");
	check(strcmp(got, "SharedKey devstoreaccount1:vOm3rqYAVDHWY9gkeMFHGeVIHOLLI2Dro9nCg7i66Ts=") == 0, "Put Blob", got);
	check(!cdc_azure_authorize(&req, key, len, got, strlen(got)), "no room", got);
	req.query = query;
	req.nquery = 2;
	req.if_none_match = "";
	check(cdc_azure_authorize(&req, key, len, got, sizeof(got)), "authorize", "");
	check(strcmp(got, "SharedKey devstoreaccount1:7NL50KY614dfRadF0hBCumgnDlBI7FpX5hzbHUY0g5M=") == 0, "Put Block", got);
}

int
main(void)
{
	char		date[CDC_AZURE_DATE_SIZE];

	test_string();
	test_signature();
	cdc_azure_date(date, 1435361952);
	check(strcmp(date, "Fri, 26 Jun 2015 23:39:12 GMT") == 0, "date", date);
	return failures > 0;
}
