/*-------------------------------------------------------------------------
 * kafka_config.c
 *		What a Kafka URI asks for, as properties of librdkafka.
 *
 * No property reaches the library that is not written here by name: a user
 * must not be able to load plug-ins, read files or lift guarantees by a URI.
 *
 * Runs: backend (CdcSinkOps.check) and workers.  Pure computation; raises
 * ERRORs; messages hold no values of parameters that may be secrets.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "base/hosts.h"
#include "lib/stringinfo.h"
#include "sink/headers.h"
#include "sink/kafka.h"

#define DEFAULT_PORT		9092

const char *const cdc_kafka_schemes[] = {
	"kafka", "confluent-cloud", "azure-event-hub", NULL
};

static const char *const known_parameters[] = {
	"topic_prefix", "topic_name", "schema_topic",
	"tls_enabled", "ca_cert", "client_cert", "client_key",
	"insecure_tls_skip_verify",
	"sasl_enabled", "sasl_handshake", "sasl_mechanism", "sasl_user",
	"sasl_password",
	"sasl_client_id", "sasl_client_secret", "sasl_token_url",
	"sasl_grant_type", "sasl_scopes",
	"sasl_aws_region", "sasl_aws_iam_role_arn", "sasl_aws_iam_session_name",
	"sasl_kerberos_service_name", "sasl_kerberos_realm",
	"sasl_kerberos_principal", "sasl_kerberos_keytab_path",
	"sasl_kerberos_config",
	"api_key", "api_secret", "shared_access_key_name", "shared_access_key",
	NULL
};

/* Login mechanisms; the parameters that belong to those we do not have. */
static const struct
{
	const char *name;
	const char *spelling;		/* second spelling */
	bool		supported;
	const char *parameters;		/* prefix of its own parameters */
}			mechanisms[] =
{
	{"PLAIN", "SASL-PLAIN", true, NULL},
	{"SCRAM-SHA-256", "SASL-SCRAM-SHA-256", true, NULL},
	{"SCRAM-SHA-512", "SASL-SCRAM-SHA-512", true, NULL},
	{"OAUTHBEARER", NULL, false, NULL},
	{"AWS_MSK_IAM", NULL, false, "sasl_aws_"},
	{"GSSAPI", NULL, false, "sasl_kerberos_"},
};

static const char *const oauth_parameters[] = {
	"sasl_client_id", "sasl_client_secret", "sasl_token_url",
	"sasl_grant_type", "sasl_scopes", NULL
};

/* Login as the URI asks for it. */
typedef struct Login
{
	bool		tls;
	bool		sasl;
	const char *mechanism;
	const char *user;
	const char *password;
} Login;

void
cdc_kafka_bad(const char *fmt,...)
{
	char		text[256];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", text)));
}

static void
unsupported(const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s is not supported yet", what),
			 hint ? errhint("%s", hint) : 0));
}

void
cdc_kafka_set(CdcKafkaConfig *config, const char *name, const char *value)
{
	CdcKafkaProperty *p = palloc(sizeof(CdcKafkaProperty));

	p->name = name;
	p->value = pstrdup(value);
	config->properties = lappend(config->properties, p);
}

/* ---- brokers --------------------------------------------------------- */

/* Appends one address with its port; raises an error if it is none. */
static void
add_broker(StringInfo out, const char *address, size_t len)
{
	const char *end = address + len;
	const char *host_end;
	const char *port = NULL;
	int64		number = DEFAULT_PORT;

	while (address < end && isspace((unsigned char) *address))
		address++;
	while (end > address && isspace((unsigned char) end[-1]))
		end--;

	if (address < end && *address == '[')
	{
		host_end = memchr(address, ']', end - address);
		if (host_end == NULL)
			cdc_kafka_bad("broker address lacks the bracket that ends an IPv6 address");
		for (const char *c = address + 1; c < host_end; c++)
		{
			if (!isxdigit((unsigned char) *c) && *c != ':' && *c != '.')
				cdc_kafka_bad("invalid IPv6 address of a broker");
		}
		if (host_end == address + 1)
			cdc_kafka_bad("broker address without a host name");
		host_end++;
		if (host_end < end && *host_end != ':')
			cdc_kafka_bad("invalid character behind the IPv6 address of a broker");
		if (host_end < end)
			port = host_end + 1;
	}
	else
	{
		host_end = memchr(address, ':', end - address);
		if (host_end == NULL)
			host_end = end;
		else
			port = host_end + 1;
		if (host_end == address)
			cdc_kafka_bad("broker address without a host name");
		for (const char *c = address; c < host_end; c++)
		{
			if (!isalnum((unsigned char) *c) && strchr("-._", *c) == NULL)
				cdc_kafka_bad("invalid character in the host name of a broker");
		}
		if (port != NULL && memchr(port, ':', end - port) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid port of broker \"%.*s\"",
							(int) (host_end - address), address),
					 errhint("Write an IPv6 address in brackets, as in [::1]:9092.")));
	}

	if (port != NULL)
	{
		number = 0;
		for (const char *c = port; c < end; c++)
		{
			if (!isdigit((unsigned char) *c) || c - port >= 5)
			{
				number = -1;
				break;
			}
			number = number * 10 + (*c - '0');
		}
		if (number < 1 || number > 65535)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid port of broker \"%.*s\"",
							(int) (host_end - address), address),
					 errhint("A port is a number from 1 to 65535.")));
	}
	appendStringInfo(out, "%s%.*s:%d", out->len > 0 ? "," : "",
					 (int) (host_end - address), address, (int) number);
}

static void
set_brokers(CdcKafkaConfig *config, const CdcUri *uri)
{
	StringInfoData out;
	const char *p = uri->hosts;

	if (uri->user != NULL || uri->password != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a %s URI takes no user before the host", uri->scheme),
				 errhint("Use the parameters sasl_enabled, sasl_user and sasl_password.")));
	if (uri->path[0] != '\0' && strcmp(uri->path, "/") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a %s URI takes no path", uri->scheme),
				 errhint("Topics are named after the tables; see the parameters topic_prefix and topic_name.")));
	if (p[0] == '\0')
		cdc_kafka_bad("%s URI names no broker", uri->scheme);

	initStringInfo(&out);
	for (;;)
	{
		size_t		len = strcspn(p, ",");

		add_broker(&out, p, len);
		if (p[len] == '\0')
			break;
		p += len + 1;
	}
	cdc_hosts_require(out.data, DEFAULT_PORT);
	cdc_kafka_set(config, "bootstrap.servers", out.data);
}

/* ---- encryption and login -------------------------------------------- */

static bool
has(const CdcUri *uri, const char *name)
{
	return cdc_uri_param(uri, name) != NULL;
}

/* A preset needs this parameter. */
static const char *
required(const CdcUri *uri, const char *name)
{
	const char *value = cdc_uri_param(uri, name);

	if (value == NULL || value[0] == '\0')
		cdc_kafka_bad("scheme %s requires parameter %s", uri->scheme, name);
	return value;
}

/* A preset fixes this boolean to true. */
static void
forced(const CdcUri *uri, const char *name)
{
	if (!cdc_uri_bool(uri, name, true))
		cdc_kafka_bad("unsupported value false for parameter %s, please use true instead", name);
}

static void
apply_preset(const CdcUri *uri, Login *login)
{
	bool		azure_key = has(uri, "shared_access_key") ||
		has(uri, "shared_access_key_name");
	bool		confluent = strcmp(uri->scheme, "confluent-cloud") == 0;
	bool		azure = strcmp(uri->scheme, "azure-event-hub") == 0 ||
		(azure_key && !confluent);
	const char *mechanism = cdc_uri_param(uri, "sasl_mechanism");

	if (!confluent && (has(uri, "api_key") || has(uri, "api_secret")))
		cdc_kafka_bad("parameters api_key and api_secret need the scheme confluent-cloud");
	if (confluent && azure_key)
		cdc_kafka_bad("parameters shared_access_key and shared_access_key_name do not go with the scheme confluent-cloud");
	if (!confluent && !azure)
		return;

	forced(uri, "tls_enabled");
	forced(uri, "sasl_enabled");
	forced(uri, "sasl_handshake");
	if (mechanism != NULL && pg_strcasecmp(mechanism, "PLAIN") != 0)
		cdc_kafka_bad("unsupported value for parameter sasl_mechanism, please use PLAIN instead");
	if (has(uri, "sasl_user") || has(uri, "sasl_password"))
		cdc_kafka_bad("parameters sasl_user and sasl_password do not go with %s",
			confluent ? "the scheme confluent-cloud" : "shared_access_key");

	login->tls = login->sasl = true;
	login->mechanism = "PLAIN";
	if (confluent)
	{
		login->user = required(uri, "api_key");
		login->password = required(uri, "api_secret");
	}
	else
	{
		const char *key = required(uri, "shared_access_key");
		const char *name = required(uri, "shared_access_key_name");

		login->user = "$ConnectionString";
		login->password =
			psprintf("Endpoint=sb://%.*s/;SharedAccessKeyName=%s;SharedAccessKey=%s",
					 (int) strcspn(uri->hosts, ":,"), uri->hosts, name, key);
	}
}

/* Parameters of login mechanisms that are not there yet. */
static void
refuse_foreign_parameters(const CdcUri *uri)
{
	for (const char *const *p = oauth_parameters; *p != NULL; p++)
	{
		if (has(uri, *p))
			cdc_kafka_bad("%s is only a valid parameter for sasl_mechanism=OAUTHBEARER", *p);
	}
	for (const char *const *p = known_parameters; *p != NULL; p++)
	{
		for (int i = 0; i < lengthof(mechanisms); i++)
		{
			const char *prefix = mechanisms[i].parameters;

			if (prefix != NULL && strncmp(*p, prefix, strlen(prefix)) == 0 &&
				has(uri, *p))
				cdc_kafka_bad("%s is only a valid parameter for sasl_mechanism=%s",
					*p, mechanisms[i].name);
		}
	}
}

static void
read_sasl(const CdcUri *uri, Login *login)
{
	const char *mechanism = cdc_uri_param(uri, "sasl_mechanism");

	login->sasl = cdc_uri_bool(uri, "sasl_enabled", false);
	if (!login->sasl)
	{
		if (has(uri, "sasl_handshake"))
			cdc_kafka_bad("sasl_enabled must be enabled to configure SASL handshake behavior");
		if (mechanism != NULL)
			cdc_kafka_bad("sasl_enabled must be enabled to configure SASL mechanism");
		if (has(uri, "sasl_user"))
			cdc_kafka_bad("sasl_enabled must be enabled if sasl_user is provided");
		if (has(uri, "sasl_password"))
			cdc_kafka_bad("sasl_enabled must be enabled if sasl_password is provided");
		refuse_foreign_parameters(uri);
		return;
	}

	if (mechanism == NULL)
		login->mechanism = "PLAIN";
	for (int i = 0; mechanism != NULL && i < lengthof(mechanisms); i++)
	{
		if (pg_strcasecmp(mechanism, mechanisms[i].name) != 0 &&
			(mechanisms[i].spelling == NULL ||
			 pg_strcasecmp(mechanism, mechanisms[i].spelling) != 0))
			continue;
		if (!mechanisms[i].supported)
			unsupported(psprintf("sasl_mechanism %s", mechanisms[i].name),
						"Use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.");
		login->mechanism = mechanisms[i].name;
	}
	if (login->mechanism == NULL)
		cdc_kafka_bad("param sasl_mechanism must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, AWS_MSK_IAM, or GSSAPI");
	refuse_foreign_parameters(uri);
	if (!cdc_uri_bool(uri, "sasl_handshake", true))
		unsupported("sasl_handshake=false", "Kafka 0.10 and later shake hands.");

	login->user = cdc_uri_param(uri, "sasl_user");
	login->password = cdc_uri_param(uri, "sasl_password");
	if (login->user == NULL || login->user[0] == '\0')
		cdc_kafka_bad("sasl_user must be provided when SASL is enabled using mechanism %s",
			login->mechanism);
	if (login->password == NULL || login->password[0] == '\0')
		cdc_kafka_bad("sasl_password must be provided when SASL is enabled using mechanism %s",
			login->mechanism);
}

/* Base64 parameter that holds PEM text with this mark; NULL if absent. */
static char *
read_pem(const CdcUri *uri, const char *name, const char *mark)
{
	int			len;
	char	   *text = cdc_uri_base64(uri, name, &len);

	if (text == NULL)
		return NULL;
	if (memchr(text, '\0', len) != NULL)
		cdc_kafka_bad("param %s is not in PEM format", name);
	text = pnstrdup(text, len);
	if (strstr(text, "-----BEGIN ") == NULL || strstr(text, mark) == NULL ||
		strstr(text, "-----END ") == NULL)
	{
		if (strncmp(name, "client", 6) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid client certificate data provided"),
					 errdetail("Parameter %s is not in PEM format.", name)));
		cdc_kafka_bad("param %s is not in PEM format", name);
	}
	return text;
}

static void
set_security(CdcKafkaConfig *config, const CdcUri *uri)
{
	Login		login = {0};
	int			len;
	bool		skip_verify = cdc_uri_bool(uri, "insecure_tls_skip_verify", false);

	login.tls = cdc_uri_bool(uri, "tls_enabled", false);
	(void) cdc_uri_bool(uri, "sasl_enabled", false);
	(void) cdc_uri_bool(uri, "sasl_handshake", true);
	apply_preset(uri, &login);

	/* Base64 errors first, as the mildest typing error. */
	(void) cdc_uri_base64(uri, "ca_cert", &len);
	(void) cdc_uri_base64(uri, "client_cert", &len);
	(void) cdc_uri_base64(uri, "client_key", &len);
	if (!login.tls && has(uri, "ca_cert"))
		cdc_kafka_bad("ca_cert requires tls_enabled=true");
	if (!login.tls && has(uri, "client_cert"))
		cdc_kafka_bad("client_cert requires tls_enabled=true");
	if (has(uri, "client_cert") && !has(uri, "client_key"))
		cdc_kafka_bad("client_cert requires client_key to be set");
	if (has(uri, "client_key") && !has(uri, "client_cert"))
		cdc_kafka_bad("client_key requires client_cert to be set");

	if (!login.sasl)
		read_sasl(uri, &login);

	if (login.tls)
	{
		char	   *ca = read_pem(uri, "ca_cert", "CERTIFICATE-----");
		char	   *cert = read_pem(uri, "client_cert", "CERTIFICATE-----");
		char	   *key = read_pem(uri, "client_key", "PRIVATE KEY-----");

		if (ca != NULL)
			cdc_kafka_set(config, "ssl.ca.pem", ca);
		if (cert != NULL)
		{
			if (strstr(key, "ENCRYPTED") != NULL)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("invalid client certificate data provided"),
						 errdetail("The private key in client_key is encrypted.")));
			cdc_kafka_set(config, "ssl.certificate.pem", cert);
			cdc_kafka_set(config, "ssl.key.pem", key);
		}
		cdc_kafka_set(config, "enable.ssl.certificate.verification",
			skip_verify ? "false" : "true");
		cdc_kafka_set(config, "ssl.endpoint.identification.algorithm",
			skip_verify ? "none" : "https");
	}
	cdc_kafka_set(config, "security.protocol",
		login.sasl ? (login.tls ? "sasl_ssl" : "sasl_plaintext")
		: (login.tls ? "ssl" : "plaintext"));
	if (login.sasl)
	{
		cdc_kafka_set(config, "sasl.mechanism", login.mechanism);
		cdc_kafka_set(config, "sasl.username", login.user);
		cdc_kafka_set(config, "sasl.password", login.password);
		config->password = pstrdup(login.password);
	}
}

/* ---- the whole ------------------------------------------------------- */

CdcKafkaConfig *
cdc_kafka_config(const CdcUri *uri, const CdcOptions *options)
{
	CdcKafkaConfig *config = palloc0(sizeof(CdcKafkaConfig));
	const char *topic_name = cdc_uri_param(uri, "topic_name");

	if (has(uri, "schema_topic"))
		cdc_kafka_bad("schema_topic is not yet supported");
	cdc_uri_require_known(uri, "kafka", known_parameters);
	if (topic_name != NULL && topic_name[0] == '\0')
		cdc_kafka_bad("param topic_name must not be empty");
	set_security(config, uri);
	set_brokers(config, uri);
	cdc_kafka_sink_config(config, options->kafka_sink_config);
	config->headers = cdc_headers_parse(options->extra_headers);

	/*
	 * Nothing is ever given up by the library: what takes long is shown, and
	 * goes on.
	 */
	cdc_kafka_set(config, "message.timeout.ms", "0");
	cdc_kafka_set(config, "allow.auto.create.topics", "true");
	cdc_kafka_set(config, "topic.metadata.refresh.interval.ms", "30000");
	cdc_kafka_set(config, "socket.nagle.disable", "true");
	cdc_kafka_set(config, "socket.keepalive.enable", "true");
	cdc_kafka_set(config, "socket.timeout.ms", "30000");
	cdc_kafka_set(config, "reconnect.backoff.ms", "100");
	cdc_kafka_set(config, "reconnect.backoff.max.ms", "2000");
	return config;
}
