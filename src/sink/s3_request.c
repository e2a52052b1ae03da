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

#include "port/pg_bswap.h"
#include "port/pg_crc32c.h"
#include "sink/s3_request.h"
#include "sink/sigv4.h"

/* Hashing more would hold up the lane; TLS protects what goes over it. */
#define MAX_SIGNED_BODY		(32 * 1024 * 1024)

/* The path of an object, or of the bucket itself, malloc'ed; NULL: no memory. */
static char *
make_path(const CdcS3Config *config, const char *name)
{
	char		key[CDC_STORE_KEY_MAX + 1];
	char		escaped[CDC_STORE_ESCAPED_SIZE] = "";
	const char *slash = name == NULL && config->base.base[0] != '\0' ? "" : "/";
	size_t		size;
	char	   *path;

	if (name != NULL &&
		(snprintf(key, sizeof(key), "%s%s", config->base.prefix, name) >= sizeof(key) ||
		 !cdc_sigv4_escape(escaped, sizeof(escaped), key, true)))
		return NULL;
	size = strlen(config->base.base) + 1 + strlen(escaped) + 1;
	path = malloc(size);
	if (path != NULL)
		snprintf(path, size, "%s%s%s", config->base.base, slash, escaped);
	return path;
}

/* As x-amz-checksum-crc32c has it: eight characters of base64. */
static void
checksum_of(char *dst, const CdcHttpSlice *slices, int nslices)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	for (int i = 0; i < nslices; i++)
		COMP_CRC32C(crc, slices[i].data, slices[i].len);
	FIN_CRC32C(crc);
	crc = pg_hton32(crc);
	(void) EVP_EncodeBlock((unsigned char *) dst, (const unsigned char *) &crc, sizeof(crc));
}

CdcHttpCall *
cdc_s3_start(CdcHttp *http, const CdcS3Config *config, const CdcAwsKey *key,
			 const CdcS3Request *request)
{
	CdcAwsRequest r;
	CdcHttpCall *call;
	char		checksum[16];
	char	   *path = make_path(config, request->name);
	size_t		len = 0;

	if (path == NULL)
		return NULL;
	for (int i = 0; i < request->nslices; i++)
		len += request->slices[i].len;
	memset(&r, 0, sizeof(r));
	r.method = request->method;
	r.https = config->base.https;
	r.host = config->base.host;
	r.path = path;
	r.query = request->query ? request->query : "";
	r.service = "s3";
	r.region = config->region;
	r.key = key;
	if (request->creates)
	{
		r.headers[0].name = "x-amz-server-side-encryption";
		r.headers[0].value = config->enc_mode;
		r.headers[1].name = "x-amz-server-side-encryption-aws-kms-key-id";
		r.headers[1].value = config->kms_id;
		r.headers[2].name = "x-amz-storage-class";
		r.headers[2].value = config->storage_class;
	}
	if (request->creates || request->nslices > 0)
		r.content_type = "application/octet-stream";
	r.sign_body = config->sign_bodies && len <= MAX_SIGNED_BODY;
	if (request->creates && request->nslices > 0 &&
		(config->checksums || (config->sign_bodies && !r.sign_body)))
	{
		checksum_of(checksum, request->slices, request->nslices);
		r.headers[3].name = "x-amz-checksum-crc32c";
		r.headers[3].value = checksum;
	}
	r.http.slices = request->slices;
	r.http.nslices = request->nslices;
	r.http.held = request->held;
	r.http.last_will = request->last_will;
	cdc_store_timeouts(&r.http, len);
	r.http.max_body = request->max_body;
	r.http.done = request->done;
	r.http.arg = request->arg;
	call = cdc_aws_start(http, &r);
	free(path);
	return call;
}

void
cdc_s3_explain(CdcHttp *http, const CdcS3Config *config,
			   const CdcHttpReply *reply, char *dst, size_t size)
{
	int			n = snprintf(dst, size, "%s: ", config->base.place);

	if (n < size)
		cdc_aws_explain(http, reply, dst + n, size - n);
}
