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

#include "miscadmin.h"
#include "base/guc.h"
#include "base/hosts.h"
#include "sink/s3_config.h"
#include "sink/sigv4.h"
#include "utils/formatting.h"

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

/* A parameter that is there and not empty, or NULL. */
static const char *
param(const CdcUri *uri, const char *name)
{
	const char *value = cdc_uri_param(uri, name);

	return value != NULL && *value != '\0' ? value : NULL;
}

/* The same, for text that goes into a header. */
static char *
header_param(const CdcUri *uri, const char *name)
{
	const char *value = param(uri, name);

	if (value == NULL)
		return NULL;
	for (const char *p = value; *p; p++)
	{
		if ((unsigned char) *p <= 0x20 || (unsigned char) *p >= 0x7f)
			FAIL(errmsg("param %s must not contain blanks or special characters", name));
	}
	return pstrdup(value);
}

/* Does a parameter name an endpoint without TLS? */
static bool
is_plain(const CdcUri *uri, const char *name)
{
	const char *endpoint = param(uri, name);

	return endpoint != NULL && pg_strncasecmp(endpoint, "http://", 7) == 0;
}

const char *
cdc_s3_forbidden(const CdcUri *uri, const char **hint)
{
	if ((is_plain(uri, "AWS_ENDPOINT") || is_plain(uri, "AWS_STS_ENDPOINT")) &&
		!cdc_allow_http_webhook)
	{
		*hint = "A superuser can allow it with the setting cdc_sink.allow_http_webhook.";
		return "must be superuser to use a store without TLS";
	}
	if (cdc_aws_is_implicit(uri) && !cdc_allow_implicit_credentials)
	{
		*hint = "Give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. A superuser can allow it with the setting cdc_sink.allow_implicit_credentials.";
		return "must be superuser to use the credentials of the server (AUTH=implicit)";
	}
	return NULL;
}

void
cdc_s3_check_access(const CdcUri *uri)
{
	const char *hint;
	const char *why = cdc_s3_forbidden(uri, &hint);

	if (why != NULL && !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s", why),
				 errhint("%s", hint)));
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

/* The path of the URI as the beginning of all keys. */
static char *
key_prefix(const CdcUri *uri)
{
	const char *path = uri->path;
	size_t		len;

	while (*path == '/')
		path++;
	len = strlen(path);
	while (len > 0 && path[len - 1] == '/')
		len--;
	if (len == 0)
		return pstrdup("");
	if (len > CDC_S3_KEY_MAX - CDC_OBJNAME_SIZE - 1)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("path of an S3 sink is too long")));
	for (const char *p = path; p < path + len;)
	{
		size_t		part = strcspn(p, "/");

		if ((part == 1 && *p == '.') || (part == 2 && strncmp(p, "..", 2) == 0) || part == 0)
			FAIL(errmsg("path of an S3 sink must not contain empty parts, \".\" or \"..\""));
		for (size_t i = 0; i < part; i++)
		{
			if ((unsigned char) p[i] < 0x20 || p[i] == 0x7f)
				FAIL(errmsg("path of an S3 sink must not contain control characters"));
		}
		p += part + 1;
	}
	return psprintf("%.*s/", (int) len, path);
}

static void
bad_endpoint(void)
{
	FAIL(errmsg("invalid param AWS_ENDPOINT"),
		 errhint("Write AWS_ENDPOINT=https://host:port."));
}

/* Takes "https://host:port/path" apart; returns its path, escaped. */
static char *
read_endpoint(CdcS3Config *config, const char *text)
{
	const char *p = text;
	const char *port;
	char	   *path;
	size_t		len;

	if (pg_strncasecmp(p, "https://", 8) == 0)
	{
		config->https = true;
		p += 8;
	}
	else if (pg_strncasecmp(p, "http://", 7) == 0)
		p += 7;
	else if (strstr(p, "://") == NULL)
		config->https = true;
	else
		bad_endpoint();
	len = strcspn(p, "/");
	if (len == 0 || strpbrk(p, "@?#\\ ") != NULL ||
		strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]") < len)
		bad_endpoint();
	config->host = asc_tolower(p, len);

	/* the header "Host" goes without the scheme's own port */
	port = strrchr(config->host, ':');
	if (port != NULL && strchr(port, ']') == NULL)
	{
		if (port == config->host || port[1] == '\0' ||
			strspn(port + 1, "0123456789") != strlen(port + 1))
			bad_endpoint();
		if (atoi(port + 1) == (config->https ? 443 : 80))
			config->host[port - config->host] = '\0';
	}

	p += len;
	len = strlen(p);
	while (len > 0 && p[len - 1] == '/')
		len--;
	path = palloc(len * 3 + 1);
	if (!cdc_sigv4_escape(path, len * 3 + 1, pnstrdup(p, len), true))
		bad_endpoint();
	return path;
}

static void
read_place(CdcS3Config *config, const CdcUri *uri)
{
	const char *endpoint = param(uri, "AWS_ENDPOINT");
	bool		path_style;
	char	   *path;

	check_bucket(uri->hosts);
	config->bucket = pstrdup(uri->hosts);
	config->prefix = key_prefix(uri);
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
	path = read_endpoint(config, endpoint);
	if (path_style)
		config->base = psprintf("%s/%s", path, config->bucket);
	else
	{
		config->host = psprintf("%s.%s", config->bucket, config->host);
		config->base = path;
	}
	cdc_hosts_require(config->host, config->https ? 443 : 80);
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
read_ca(CdcS3Config *config, const CdcUri *uri)
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
	read_ca(config, uri);

	/*
	 * Without TLS bodies are signed.  That takes a third of the time, so not
	 * where nobody can come in between, unless it is asked for.
	 */
	config->sign_bodies = !config->https &&
		!cdc_uri_bool(uri, "AWS_SKIP_CHECKSUM", is_this_machine(config->host));
	config->insecure = cdc_uri_bool(uri, "AWS_SKIP_TLS_VERIFY", false);
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
