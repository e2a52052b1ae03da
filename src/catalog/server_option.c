/*-------------------------------------------------------------------------
 * server_option.c
 *		Options of foreign servers and user mappings; see external.h.
 *
 * A new parameter of a sink's URI is one line here.  A secret may stand in a
 * user mapping only, for everybody can read the options of a server.  Where
 * a server leads must not depend on a user mapping, which users make for
 * themselves: hosts, paths, buckets, accounts stand in the server only.
 *
 * Runs: backends and lane workers.  No option's value is ever shown.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/external.h"
#include "commands/defrem.h"
#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "utils/formatting.h"
#include "utils/varlena.h"

#define MAX_VALUE	(256 * 1024)

#define BOTH		(CDC_IN_SERVER | CDC_IN_MAPPING)
#define ANYBODY		(CDC_IN_SERVER | CDC_PER_FEED)

static const CdcServerOption server_options[] = {
	/* topics and files */
	{"topic_prefix", ANYBODY},
	{"topic_name", ANYBODY},
	{"partition_format", ANYBODY},
	{"file_size", ANYBODY},

	/* TLS, of Kafka and webhooks */
	{"tls_enabled", CDC_IN_SERVER},
	{"ca_cert", CDC_IN_SERVER},
	{"insecure_tls_skip_verify", CDC_IN_SERVER},
	{"client_cert", BOTH},
	{"client_key", CDC_IN_MAPPING},

	/* Kafka */
	{"sasl_enabled", CDC_IN_SERVER},
	{"sasl_handshake", CDC_IN_SERVER},
	{"sasl_mechanism", CDC_IN_SERVER},
	{"sasl_user", BOTH},
	{"sasl_password", CDC_IN_MAPPING},
	{"sasl_client_id", BOTH},
	{"sasl_client_secret", CDC_IN_MAPPING},
	{"sasl_token_url", CDC_IN_SERVER},
	{"sasl_grant_type", CDC_IN_SERVER},
	{"sasl_scopes", CDC_IN_SERVER},
	{"sasl_aws_region", CDC_IN_SERVER},
	{"sasl_aws_iam_role_arn", CDC_IN_SERVER},
	{"sasl_aws_iam_session_name", CDC_IN_SERVER},
	{"api_key", BOTH},
	{"api_secret", CDC_IN_MAPPING},
	{"shared_access_key_name", BOTH},
	{"shared_access_key", CDC_IN_MAPPING},

	/* webhooks; headers of Kafka */
	{"webhook_auth_header", CDC_IN_MAPPING, true},
	{"extra_headers", CDC_IN_MAPPING, true},

	/* stores */
	{"AUTH", CDC_IN_SERVER},
	{"ASSUME_ROLE", CDC_IN_SERVER},
	{"AWS_STS_ENDPOINT", CDC_IN_SERVER},
	{"AWS_REGION", CDC_IN_SERVER},
	{"AWS_ENDPOINT", CDC_IN_SERVER},
	{"AWS_USE_PATH_STYLE", CDC_IN_SERVER},
	{"AWS_SKIP_CHECKSUM", CDC_IN_SERVER},
	{"AWS_SKIP_TLS_VERIFY", CDC_IN_SERVER},
	{"AWS_SERVER_ENC_MODE", CDC_IN_SERVER},
	{"AWS_SERVER_KMS_ID", CDC_IN_SERVER},
	{"S3_STORAGE_CLASS", ANYBODY},
	{"AWS_ACCESS_KEY_ID", BOTH},
	{"AWS_SECRET_ACCESS_KEY", CDC_IN_MAPPING},
	{"AWS_SESSION_TOKEN", CDC_IN_MAPPING},
	{"GCS_ENDPOINT", CDC_IN_SERVER},
	{"GCS_IAM_ENDPOINT", CDC_IN_SERVER},
	{"CREDENTIALS", CDC_IN_MAPPING},
	{"BEARER_TOKEN", CDC_IN_MAPPING},
	{"AZURE_ACCOUNT_NAME", CDC_IN_SERVER},
	{"AZURE_ENDPOINT", CDC_IN_SERVER},
	{"AZURE_ENVIRONMENT", CDC_IN_SERVER},
	{"AZURE_AUTHORITY_HOST", CDC_IN_SERVER},
	{"AZURE_CLIENT_ID", BOTH},
	{"AZURE_TENANT_ID", CDC_IN_SERVER},
	{"AZURE_ACCOUNT_KEY", CDC_IN_MAPPING},
	{"AZURE_CLIENT_SECRET", CDC_IN_MAPPING},
	{"AZURE_SAS_TOKEN", CDC_IN_MAPPING},
};

/* Without these an option's name is still clear. */
static const char *const prefixes[] = {"aws_", "azure_", "gcs_", "s3_"};

/* The name with a prefix that can be left out taken off. */
static const char *
short_name(const char *name)
{
	for (int i = 0; i < lengthof(prefixes); i++)
	{
		if (pg_strncasecmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return name + strlen(prefixes[i]);
	}
	return name;
}

char *
cdc_server_option_name(const CdcServerOption *option)
{
	return asc_tolower(option->param, strlen(option->param));
}

const CdcServerOption *
cdc_server_option_of_param(const char *param)
{
	for (int i = 0; i < lengthof(server_options); i++)
	{
		if (strcmp(server_options[i].param, param) == 0)
			return &server_options[i];
	}
	return NULL;
}

/* A short name that is several options' is none's ("endpoint"). */
const CdcServerOption *
cdc_server_option_find(const char *name)
{
	const CdcServerOption *found = NULL;
	int			nfound = 0;

	for (const char *p = name; *p != '\0'; p++)
	{
		if (*p >= 'A' && *p <= 'Z')
			return NULL;		/* options are written in lower case */
	}
	for (int i = 0; i < lengthof(server_options); i++)
	{
		const CdcServerOption *option = &server_options[i];

		if (pg_strcasecmp(option->param, name) == 0)
			return option;
		if (pg_strcasecmp(short_name(option->param), name) == 0)
		{
			found = option;
			nfound++;
		}
	}
	return nfound == 1 ? found : NULL;
}

const char *const *
cdc_server_option_per_feed(void)
{
	static const char *names[lengthof(server_options) + 1];
	int			n = 0;

	for (int i = 0; i < lengthof(server_options); i++)
	{
		if (server_options[i].where & CDC_PER_FEED)
			names[n++] = server_options[i].param;
	}
	names[n] = NULL;
	return names;
}

/* An option that may stand there and is written much alike, or NULL. */
static char *
similar_option(const char *name, int where)
{
	char	   *best = NULL;
	int			best_distance = 4;
	int			len = strlen(name);

	if (len > 64)
		return NULL;
	for (int i = 0; i < lengthof(server_options); i++)
	{
		char	   *full = cdc_server_option_name(&server_options[i]);
		const char *forms[] = {full, short_name(full)};

		if (!(server_options[i].where & where))
			continue;
		for (int j = 0; j < lengthof(forms); j++)
		{
			int			distance;

			/* a short name of several is none */
			if (cdc_server_option_find(forms[j]) != &server_options[i])
				continue;
			distance = varstr_levenshtein_less_equal(name, len, forms[j],
																 strlen(forms[j]), 1, 1, 1,
																 best_distance, true);

			if (distance < best_distance && distance <= len / 2)
			{
				best = pstrdup(forms[j]);
				best_distance = distance;
			}
		}
	}
	return best;
}

static void
unknown_option(const char *name, int where)
{
	char	   *similar = where ? similar_option(name, where) : NULL;
	StringInfoData list;

	initStringInfo(&list);
	if (where & CDC_IN_SERVER)
		appendStringInfoString(&list, "uri");
	for (int i = 0; i < lengthof(server_options); i++)
	{
		if (server_options[i].where & where)
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "",
							 cdc_server_option_name(&server_options[i]));
	}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%.64s\"", name),
			 similar != NULL ? errhint("Perhaps you meant the option \"%s\".", similar) :
			 where != 0 ? errhint("Valid options in this context are: %s.", list.data) :
			 errhint("There are no valid options in this context.")));
}

static void
wrong_place(const CdcServerOption *option, int where)
{
	char	   *name = cdc_server_option_name(option);

	if (where & CDC_IN_SERVER)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("secret option \"%s\" must not stand in a server", name),
				 errdetail("Everybody can read the options of a server."),
				 errhint("Put it into a user mapping: CREATE USER MAPPING FOR role SERVER server OPTIONS (%s '...').",
						 name)));
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("option \"%s\" must not stand in a user mapping", name),
			 errhint("Put it into the server: ALTER SERVER server OPTIONS (ADD %s '...').",
					 name)));
}

/* The URI of a server, as far as it can be told without the user mapping. */
static CdcUri *
check_uri(const char *text)
{
	CdcUri	   *uri = cdc_uri_parse(text);
	ListCell   *lc;

	if (cdc_uri_is_external(uri))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("uri of a server must not be an external one")));
	if (uri->password != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("uri of a server must not hold a password"),
				 errdetail("Everybody can read the options of a server."),
				 errhint("Put credentials into a user mapping.")));
	foreach(lc, uri->params)
	{
		const char *name = ((CdcUriParam *) lfirst(lc))->name;
		const CdcServerOption *option = cdc_server_option_of_param(name);

		if (option != NULL && !(option->where & CDC_IN_SERVER))
			wrong_place(option, CDC_IN_SERVER);
		if (option == NULL && cdc_uri_is_secret(name))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("uri of a server must not hold a secret"),
					 errdetail("Everybody can read the options of a server."),
					 errhint("Put credentials into a user mapping.")));
	}
	return uri;
}

void
cdc_server_options_check(List *options, int where)
{
	List	   *seen = NIL;
	CdcUri	   *uri = NULL;
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst(lc);
		char	   *value = defGetString(def);
		const CdcServerOption *option;

		if (strlen(value) > MAX_VALUE)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("value of option \"%.64s\" is too long", def->defname),
					 errdetail("The limit is %d bytes.", MAX_VALUE)));
		if ((where & CDC_IN_SERVER) && strcmp(def->defname, "uri") == 0)
		{
			uri = check_uri(value);
			continue;
		}
		option = cdc_server_option_find(def->defname);
		if (option == NULL || where == 0)
			unknown_option(def->defname, where);
		if (!(option->where & where))
			wrong_place(option, where);
		if (list_member_ptr(seen, option))
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("option \"%s\" is given more than once",
							cdc_server_option_name(option))));
		seen = lappend(seen, unconstify(CdcServerOption *, option));
	}
	foreach(lc, uri == NULL ? NIL : seen)
	{
		const CdcServerOption *option = lfirst(lc);

		if (cdc_uri_param(uri, option->param) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("option \"%s\" stands in the uri, too",
							cdc_server_option_name(option))));
	}
	if ((where & CDC_IN_SERVER) && uri == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"uri\" is required"),
				 errhint("It says where the sink is, for example OPTIONS (uri 'kafka://broker:9092').")));
}
