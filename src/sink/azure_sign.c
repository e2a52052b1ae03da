/*-------------------------------------------------------------------------
 * azure_sign.c
 *		Azure Storage's "Shared Key" signature; see azure_sign.h.
 *
 * Runs: anywhere, any thread.  Plain C and OpenSSL only.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "sink/azure_sign.h"

#define SHA256_LEN		32
#define MAX_STRING		8192

/* A text that grows in a buffer of fixed size. */
typedef struct Text
{
	char	   *dst;
	size_t		size;
	size_t		n;
	bool		ok;
} Text;

/* Not strftime's names, which follow the server's locale. */
void
cdc_azure_date(char *dst, time_t now)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm	tm;

	gmtime_r(&now, &tm);
	snprintf(dst, CDC_AZURE_DATE_SIZE, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
			 days + tm.tm_wday * 3, tm.tm_mday, months + tm.tm_mon * 3,
			 (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static void
add(Text *text, const char *more)
{
	size_t		len = strlen(more);

	if (!text->ok || text->size - text->n <= len)
	{
		text->ok = false;
		return;
	}
	memcpy(text->dst + text->n, more, len + 1);
	text->n += len;
}

/* A line of its own. */
static void
add_line(Text *text, const char *line)
{
	add(text, line);
	add(text, "\n");
}

/* A copy in the order of the names; there are only a few. */
static void
sort_pairs(CdcAzurePair *dst, const CdcAzurePair *pairs, int n)
{
	for (int i = 0; i < n; i++)
	{
		int			at = i;

		for (; at > 0 && strcmp(pairs[i].name, dst[at - 1].name) < 0; at--)
			dst[at] = dst[at - 1];
		dst[at] = pairs[i];
	}
}

bool
cdc_azure_string_to_sign(const CdcAzureRequest *req, char *dst, size_t size)
{
	Text		text = {dst, size, 0, size > 0};
	CdcAzurePair pairs[CDC_AZURE_MAX_PAIRS];
	char		length[24] = "";

	if (req->nheaders > CDC_AZURE_MAX_PAIRS || req->nquery > CDC_AZURE_MAX_PAIRS)
		return false;
	if (req->content_length > 0)
		snprintf(length, sizeof(length), UINT64_FORMAT, req->content_length);
	add_line(&text, req->method);
	add_line(&text, "");		/* Content-Encoding */
	add_line(&text, "");		/* Content-Language */
	add_line(&text, length);
	add_line(&text, "");		/* Content-MD5 */
	add_line(&text, req->content_type);
	add_line(&text, "");		/* Date: x-ms-date stands for it */
	add_line(&text, "");		/* If-Modified-Since */
	add_line(&text, "");		/* If-Match */
	add_line(&text, req->if_none_match);
	add_line(&text, "");		/* If-Unmodified-Since */
	add_line(&text, "");		/* Range */

	sort_pairs(pairs, req->headers, req->nheaders);
	for (int i = 0; i < req->nheaders; i++)
	{
		add(&text, pairs[i].name);
		add(&text, ":");
		add_line(&text, pairs[i].value);
	}

	add(&text, "/");
	add(&text, req->account);
	add(&text, req->path);
	sort_pairs(pairs, req->query, req->nquery);
	for (int i = 0; i < req->nquery; i++)
	{
		add(&text, "\n");
		add(&text, pairs[i].name);
		add(&text, ":");
		add(&text, pairs[i].value);
	}
	return text.ok;
}

bool
cdc_azure_authorize(const CdcAzureRequest *req, const unsigned char *key,
					size_t key_len, char *dst, size_t size)
{
	char		string[MAX_STRING];
	unsigned char hash[SHA256_LEN];
	unsigned int hash_len = sizeof(hash);
	char		base64[48];		/* 44 and a zero */
	Text		text = {dst, size, 0, size > 0};

	if (key_len > 1024 ||
		!cdc_azure_string_to_sign(req, string, sizeof(string)) ||
		HMAC(EVP_sha256(), key, (int) key_len, (const unsigned char *) string,
			 strlen(string), hash, &hash_len) == NULL)
		return false;
	EVP_EncodeBlock((unsigned char *) base64, hash, sizeof(hash));
	add(&text, "SharedKey ");
	add(&text, req->account);
	add(&text, ":");
	add(&text, base64);
	return text.ok;
}
