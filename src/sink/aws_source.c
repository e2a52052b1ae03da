/*-------------------------------------------------------------------------
 * aws_source.c
 *		Where the key for AWS comes from, as URI and environment say; see
 *		aws_creds.h.
 *
 * The names of the environment are those that AWS's own programs know.  No
 * error shows a key, a token, or a value that may be one by mistake.
 *
 * Runs: backends, lane and probe workers, main thread.  No I/O.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/hosts.h"
#include "sink/aws_creds.h"
#include "sink/store.h"
#include "utils/formatting.h"

#define CONTAINER_HOST		"http://169.254.170.2"
#define INSTANCE_URL		"http://169.254.169.254"
#define MAX_VALUE			8192
#define MAX_ARN				2048
#define MAX_EXTERNAL_ID		1224

#define FAIL(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), __VA_ARGS__))

static const char *const key_names[] = {
	"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
};

/* A variable of the environment that is there and not empty, or NULL. */
static const char *
env(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && *value != '\0' ? value : NULL;
}

static void
check_text(const char *name, const char *value)
{
	if (strlen(value) > MAX_VALUE)
		FAIL(errmsg("%s is too long", name));
	for (const char *p = value; *p; p++)
	{
		if ((unsigned char) *p <= 0x20 || (unsigned char) *p >= 0x7f)
			FAIL(errmsg("%s must not contain blanks or special characters", name));
	}
}

static char *
env_text(const char *name)
{
	const char *value = env(name);

	if (value == NULL)
		return NULL;
	check_text(name, value);
	return pstrdup(value);
}

/* A key or token; NULL: there is none. */
static char *
secret_text(const char *name, const char *value)
{
	char	   *text;

	if (value == NULL)
		return NULL;
	text = cdc_store_secret_text(name, value);
	if (strlen(text) > MAX_VALUE)
		FAIL(errmsg("param %s is too long", name));
	return text;
}

static void
set_key(CdcAwsKey *key, const char *access, const char *secret, const char *token)
{
	key->access_key = secret_text(key_names[0], access);
	key->secret_key = secret_text(key_names[1], secret);
	key->session_token = secret_text(key_names[2], token);

	/* it goes into a header with commas and slashes of its own */
	if (strpbrk(key->access_key, "/, ") != NULL)
		FAIL(errmsg("param %s must not contain slashes or commas", key_names[0]));
}

/*
 * Who is asked for the container's key hears its token: by TLS, or on this
 * machine and at the addresses that containers know.
 */
static void
check_container_url(const char *url)
{
	static const char *const hosts[] = {
		"127.0.0.1", "localhost", "[::1]", "169.254.170.2", "169.254.170.23",
		"[fd00:ec2::23]",
	};
	size_t		len;

	if (strncmp(url, "https://", 8) == 0)
		return;
	if (strncmp(url, "http://", 7) == 0)
	{
		for (int i = 0; i < lengthof(hosts); i++)
		{
			len = strlen(hosts[i]);
			if (strncmp(url + 7, hosts[i], len) == 0 &&
				(url[7 + len] == ':' || url[7 + len] == '/' || url[7 + len] == '\0'))
				return;
		}
	}
	FAIL(errmsg("AWS_CONTAINER_CREDENTIALS_FULL_URI in the environment of the server must be of this machine or use https"));
}

/* What the server's environment has to offer, in the order of AWS's programs. */
static void
read_implicit(CdcAwsSource *source, const CdcUri *uri)
{
	char	   *text;

	for (int i = 0; i < lengthof(key_names); i++)
	{
		if (cdc_uri_param(uri, key_names[i]) != NULL)
			FAIL(errmsg("param %s does not go with AUTH=implicit", key_names[i]));
	}
	if (env(key_names[0]) != NULL && env(key_names[1]) != NULL)
	{
		source->kind = CDC_AWS_GIVEN;
		set_key(&source->key, env(key_names[0]), env(key_names[1]), env(key_names[2]));
	}
	else if ((source->token_file = env_text("AWS_WEB_IDENTITY_TOKEN_FILE")) != NULL &&
			 (source->role_arn = env_text("AWS_ROLE_ARN")) != NULL)
	{
		source->kind = CDC_AWS_WEB_IDENTITY;
		source->role_session = env_text("AWS_ROLE_SESSION_NAME");
	}
	else if ((text = env_text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")) != NULL ||
			 env("AWS_CONTAINER_CREDENTIALS_FULL_URI") != NULL)
	{
		source->kind = CDC_AWS_CONTAINER;
		if (text != NULL)
			source->url = psprintf("%s%s%s", CONTAINER_HOST, text[0] == '/' ? "" : "/", text);
		else
		{
			source->url = env_text("AWS_CONTAINER_CREDENTIALS_FULL_URI");
			check_container_url(source->url);
		}
		source->token_file = env_text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
		text = env_text("AWS_CONTAINER_AUTHORIZATION_TOKEN");
		if (source->token_file == NULL)
			source->token = text;
	}
	else
	{
		const char *off = env("AWS_EC2_METADATA_DISABLED");

		if (off != NULL && pg_strcasecmp(off, "true") == 0)
			FAIL(errmsg("AUTH is set to 'implicit', but the environment of the server has no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
				 errdetail("Metadata of the instance is not asked for, since AWS_EC2_METADATA_DISABLED is set."));
		source->kind = CDC_AWS_INSTANCE;
		source->url = env_text("AWS_EC2_METADATA_SERVICE_ENDPOINT");
		if (source->url == NULL)
			source->url = pstrdup(INSTANCE_URL);
		if (strncmp(source->url, "http://", 7) != 0)
			FAIL(errmsg("AWS_EC2_METADATA_SERVICE_ENDPOINT in the environment of the server must begin with http://"));
		while (source->url[strlen(source->url) - 1] == '/')
			source->url[strlen(source->url) - 1] = '\0';
	}
}

static void
read_given(CdcAwsSource *source, const CdcUri *uri)
{
	source->kind = CDC_AWS_GIVEN;
	for (int i = 0; i < 2; i++)
	{
		if (cdc_store_param(uri, key_names[i]) == NULL)
			FAIL(errmsg("AUTH is set to 'specified', but %s is not set", key_names[i]));
	}
	set_key(&source->key, cdc_store_param(uri, key_names[0]), cdc_store_param(uri, key_names[1]),
			cdc_store_param(uri, key_names[2]));
}

/* "arn;external_id=x,arn,...": each is assumed with the key of the one before. */
static void
read_roles(CdcAwsSource *source, const char *text)
{
	while (*text != '\0')
	{
		size_t		len = strcspn(text, ",");
		char	   *role = pnstrdup(text, len);
		char	   *extra = strchr(role, ';');
		CdcAwsRole *r = &source->roles[source->nroles];

		if (source->nroles == CDC_AWS_MAX_ROLES)
			FAIL(errmsg("param ASSUME_ROLE names more than %d roles", CDC_AWS_MAX_ROLES));
		if (extra != NULL)
			*extra++ = '\0';
		if (strncmp(role, "arn:", 4) != 0 || strlen(role) > MAX_ARN)
			FAIL(errmsg("invalid param ASSUME_ROLE"),
				 errhint("Write ASSUME_ROLE=arn:aws:iam::123456789012:role/name, several joined by commas, each with ;external_id=... if it needs one."));
		check_text("param ASSUME_ROLE", role);
		if (extra != NULL)
		{
			if (strncmp(extra, "external_id=", 12) != 0 || strchr(extra, ';') != NULL)
				FAIL(errmsg("invalid param ASSUME_ROLE"),
					 errhint("A role may only be followed by ;external_id=..."));
			extra += 12;
			if (strlen(extra) < 2 || strlen(extra) > MAX_EXTERNAL_ID)
				FAIL(errmsg("external_id in param ASSUME_ROLE must have 2 to %d characters",
							MAX_EXTERNAL_ID));
			check_text("param ASSUME_ROLE", extra);
			r->external_id = extra;
		}
		r->arn = role;
		source->nroles++;
		text += len;
		if (*text == ',')
			text++;
	}
}

static void
read_sts(CdcAwsSource *source, const CdcUri *uri)
{
	const char *text = cdc_store_param(uri, "AWS_STS_ENDPOINT");
	bool		chosen = text != NULL;
	size_t		len;

	/* it would hear a token that serves anybody who has it */
	if (chosen && source->kind == CDC_AWS_WEB_IDENTITY)
		FAIL(errmsg("param AWS_STS_ENDPOINT does not go with a web identity"),
			 errhint("Set AWS_ENDPOINT_URL_STS in the environment of the server."));
	if (text == NULL)
		text = env("AWS_ENDPOINT_URL_STS");
	if (text == NULL)
		text = psprintf("https://sts.%s.amazonaws.com%s", source->region,
						strncmp(source->region, "cn-", 3) == 0 ? ".cn" : "");
	source->sts_https = strncmp(text, "https://", 8) == 0;
	if (!source->sts_https && strncmp(text, "http://", 7) != 0)
		FAIL(errmsg("invalid param AWS_STS_ENDPOINT"),
			 errhint("Write AWS_STS_ENDPOINT=https://host:port."));
	text += source->sts_https ? 8 : 7;
	len = strcspn(text, "/");
	if (len == 0 || (text[len] == '/' && text[len + 1] != '\0') ||
		strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]") < len)
		FAIL(errmsg("invalid param AWS_STS_ENDPOINT"),
			 errhint("Write AWS_STS_ENDPOINT=https://host:port."));
	source->sts_host = asc_tolower(text, len);
	if (chosen)
		cdc_hosts_require(source->sts_host, source->sts_https ? 443 : 80);
}

CdcAwsSource *
cdc_aws_source(const CdcUri *uri, const char *region)
{
	CdcAwsSource *source = palloc0(sizeof(CdcAwsSource));
	const char *roles = cdc_store_param(uri, "ASSUME_ROLE");

	source->region = pstrdup(region);
	if (cdc_store_implicit(uri))
		read_implicit(source, uri);
	else
		read_given(source, uri);
	if (roles != NULL)
		read_roles(source, roles);
	read_sts(source, uri);
	return source;
}

static void
wipe(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
}

void
cdc_aws_source_wipe(CdcAwsSource *source)
{
	wipe(source->key.secret_key);
	wipe(source->key.session_token);
	wipe(source->token);
}
