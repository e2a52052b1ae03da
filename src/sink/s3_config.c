/*-------------------------------------------------------------------------
 * s3_config.c
 *		Where an S3 sink writes and with whose key; see s3_config.h.
 *
 * No error shows a key, a token, or a value that may be one by mistake.
 *
 * Runs: backends, lane and probe workers, main thread.  No I/O.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/hosts.h"
#include "sink/s3_config.h"

#define DEFAULT_REGION	"us-east-1"

#define FAIL(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), __VA_ARGS__))

static const char *const known_params[] = {
	CDC_OBJ_PARAM_NAMES,
	CDC_AWS_PARAM_NAMES,
	"AWS_REGION", "AWS_ENDPOINT", "AWS_USE_PATH_STYLE", "AWS_SKIP_CHECKSUM",
	"AWS_SKIP_TLS_VERIFY", "AWS_SERVER_ENC_MODE", "AWS_SERVER_KMS_ID",
	"S3_STORAGE_CLASS", "ca_cert", NULL
};

/* A parameter that goes into a header; NULL: not there, or empty. */
static char *
header_param(const CdcUri *uri, const char *name)
{
	const char *value = cdc_store_param(uri, name);

	if (value == NULL)
		return NULL;
	for (const char *p = value; *p; p++)
	{
		if ((unsigned char) *p <= 0x20 || (unsigned char) *p >= 0x7f)
			FAIL(errmsg("param %s must not contain blanks or special characters", name));
	}
	return pstrdup(value);
}

/* Steps over a piece that may be there, in any case. */
static const char *
skip(const char *text, const char *piece)
{
	size_t		len = strlen(piece);

	return pg_strncasecmp(text, piece, len) == 0 ? text + len : text;
}

/* Is it this, in any case, up to the end or a path? */
static bool
ends_with(const char *text, const char *end)
{
	const char *rest = skip(text, end);

	return rest != text && (*rest == '\0' || *rest == '/');
}

/*
 * Is it an address of the service that Amazon itself serves, so that nobody
 * else hears what is sent there?  Just any name below amazonaws.com will not
 * do: customers' own servers and functions have such names, too.
 */
static bool
is_amazon(const char *url, const char *service)
{
	const char *start = skip(url, "https://");
	const char *p = skip(start, service);

	if (start == url || p == start)
		return false;
	p = skip(skip(p, "-fips"), ".dualstack");
	if (ends_with(p, ".amazonaws.com"))
		return true;
	if (*p != '.')
		return false;

	/* the region */
	p++;
	p += strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789-");
	return ends_with(p, ".amazonaws.com") || ends_with(p, ".amazonaws.com.cn");
}

const char *
cdc_s3_forbidden(const CdcUri *uri, const char **hint)
{
	static const char *const names[] = {"AWS_ENDPOINT", "AWS_STS_ENDPOINT"};
	static const char *const services[] = {"s3", "sts"};
	const char *others[lengthof(names) + 1] = {NULL};
	int			nothers = 0;

	for (int i = 0; i < lengthof(names); i++)
	{
		const char *url = cdc_store_param(uri, names[i]);
		const char *why = cdc_store_forbids_plain(url, hint);

		if (why != NULL)
			return why;
		if (url != NULL && !is_amazon(url, services[i]))
			others[nothers++] = names[i];
	}
	return cdc_store_forbids_implicit(uri, others, hint);
}

static void
check_bucket(const char *bucket)
{
	size_t		len = strlen(bucket);

	if (len == 0)
		FAIL(errmsg("S3 sink needs a bucket"),
			 errhint("Write s3://bucket/path."));
	if (len < 3 || len > 255 || bucket[0] == '.' || bucket[0] == '-' ||
		strstr(bucket, "..") != NULL ||
		strspn(bucket, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != len)
		FAIL(errmsg("invalid name of a bucket: \"%.64s\"", bucket));
}

static void
read_place(CdcS3Config *config, const CdcUri *uri)
{
	const char *endpoint = cdc_store_param(uri, "AWS_ENDPOINT");
	CdcStoreConfig *base = &config->base;
	bool		path_style;

	check_bucket(uri->hosts);
	config->bucket = pstrdup(uri->hosts);
	cdc_store_read_prefix(base, uri, "an S3 sink");
	config->region = header_param(uri, "AWS_REGION");
	if (config->region == NULL)
		config->region = pstrdup(DEFAULT_REGION);
	if (strlen(config->region) > 64 ||
		strspn(config->region, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != strlen(config->region))
		FAIL(errmsg("invalid param AWS_REGION"));

	/* a certificate for *.host does not hold for a bucket with dots */
	path_style = cdc_uri_bool(uri, "AWS_USE_PATH_STYLE",
							  endpoint != NULL || strchr(config->bucket, '.') != NULL);
	if (endpoint == NULL)
		endpoint = psprintf("https://s3.%s.amazonaws.com%s", config->region,
							strncmp(config->region, "cn-", 3) == 0 ? ".cn" : "");
	cdc_store_split_endpoint(base, "AWS_ENDPOINT", endpoint);
	if (path_style)
		base->base = psprintf("%s/%s", base->base, config->bucket);
	else
		base->host = psprintf("%s.%s", config->bucket, base->host);
	base->place = psprintf("bucket \"%s\" at %s", config->bucket, base->host);
	cdc_hosts_require(base->host, base->https ? 443 : 80);
}

static bool
is_this_machine(const char *host)
{
	static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};

	for (int i = 0; i < lengthof(names); i++)
	{
		size_t		len = strlen(names[i]);

		if (strncmp(host, names[i], len) == 0 && (host[len] == ':' || host[len] == '\0'))
			return true;
	}
	return false;
}

static void
read_ca(CdcStoreConfig *config, const CdcUri *uri)
{
	int			len;

	config->ca = cdc_uri_base64(uri, "ca_cert", &len);
	if (config->ca != NULL &&
		(memchr(config->ca, '\0', len) != NULL ||
		 strstr(config->ca, "-----BEGIN CERTIFICATE-----") == NULL))
		FAIL(errmsg("param ca_cert is not a certificate in PEM format"));
}

CdcS3Config *
cdc_s3_config(const CdcUri *uri)
{
	CdcS3Config *config = palloc0(sizeof(CdcS3Config));

	cdc_uri_require_known(uri, uri->scheme, known_params);
	if (uri->user != NULL || uri->password != NULL)
		FAIL(errmsg("URL of an S3 sink must not contain a user"),
			 errhint("Give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY as parameters."));
	read_place(config, uri);
	config->source = cdc_aws_source(uri, config->region);
	read_ca(&config->base, uri);

	/*
	 * Without TLS bodies are signed.  That takes a third of the time, so not
	 * where nobody can come in between, unless it is asked for.
	 */
	config->sign_bodies = !config->base.https &&
		!cdc_uri_bool(uri, "AWS_SKIP_CHECKSUM", is_this_machine(config->base.host));

	/*
	 * A server may take what has come of a body for all of it when the
	 * connection breaks, unless it has a checksum.  Some that are not
	 * Amazon's refuse that header, though: they have to be asked for it.
	 */
	config->checksums =
		!cdc_uri_bool(uri, "AWS_SKIP_CHECKSUM",
					  cdc_store_param(uri, "AWS_ENDPOINT") != NULL &&
					  !is_this_machine(config->base.host));
	config->base.insecure = cdc_uri_bool(uri, "AWS_SKIP_TLS_VERIFY", false);
	config->storage_class = header_param(uri, "S3_STORAGE_CLASS");
	config->enc_mode = header_param(uri, "AWS_SERVER_ENC_MODE");
	config->kms_id = header_param(uri, "AWS_SERVER_KMS_ID");
	if (config->enc_mode != NULL && strcmp(config->enc_mode, "AES256") != 0 &&
		strcmp(config->enc_mode, "aws:kms") != 0)
		FAIL(errmsg("unsupported server encryption mode"),
			 errhint("Supported values of AWS_SERVER_ENC_MODE are AES256 and aws:kms."));
	if (config->enc_mode != NULL && strcmp(config->enc_mode, "aws:kms") == 0 &&
		config->kms_id == NULL)
		FAIL(errmsg("AWS_SERVER_KMS_ID must be set with AWS_SERVER_ENC_MODE=aws:kms"));
	if (config->kms_id != NULL &&
		(config->enc_mode == NULL || strcmp(config->enc_mode, "aws:kms") != 0))
		FAIL(errmsg("AWS_SERVER_KMS_ID needs AWS_SERVER_ENC_MODE=aws:kms"));
	return config;
}

void
cdc_s3_wipe(CdcS3Config *config)
{
	cdc_aws_source_wipe(config->source);
}
