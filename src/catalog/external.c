/*-------------------------------------------------------------------------
 * external.c
 *		What external://server stands for; see external.h.
 *
 * The server is found by its name each time, so that one that was dropped
 * and made again is the same sink.  A URI adds to the server's: a path below
 * that of a store, and parameters that lead nowhere else.
 *
 * Runs: backends; lane workers between two transactions of the stream.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "base/compat.h"
#include "catalog/external.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

bool
cdc_uri_is_external(const CdcUri *uri)
{
	return strcmp(uri->scheme, CDC_EXTERNAL_SCHEME) == 0;
}

/* Complaints about the URI itself, which need no catalog. */
static void
check_form(const CdcUri *uri)
{
	if (uri->hosts[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("external sink names no foreign server"),
				 errhint("Write external://server.")));
	if (uri->user != NULL || uri->password != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("URL of an external sink must not contain a user"),
				 errhint("Put credentials into a user mapping of the server.")));
	cdc_uri_require_known(uri, CDC_EXTERNAL_SCHEME, cdc_server_option_per_feed());
	for (const char *p = uri->path; *p != '\0';)
	{
		size_t		len;

		p++;					/* a slash */
		len = strcspn(p, "/");
		if ((len == 1 && p[0] == '.') || (len == 2 && strncmp(p, "..", 2) == 0))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("path of an external sink must not contain \".\" or \"..\"")));
		p += len;
	}
}

static ForeignServer *
find_server(const char *name, Oid user, CdcExternalError *error)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	if (server == NULL)
	{
		error->code = ERRCODE_UNDEFINED_OBJECT;
		error->message = psprintf("foreign server \"%.64s\" does not exist", name);
		error->hint = psprintf("Create it: CREATE SERVER %s FOREIGN DATA WRAPPER %s OPTIONS (uri '...').",
							   quote_identifier(name), CDC_FDW_NAME);
		return NULL;
	}
	if (strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, CDC_FDW_NAME) != 0)
	{
		error->code = ERRCODE_WRONG_OBJECT_TYPE;
		error->message = psprintf("foreign server \"%s\" is not one of the foreign-data wrapper %s",
								  name, CDC_FDW_NAME);
		return NULL;
	}
	if (!cdc_compat_may_use_server(server->serverid, user))
	{
		char	   *role = GetUserNameFromId(user, true);

		error->code = ERRCODE_INSUFFICIENT_PRIVILEGE;
		error->message = psprintf("permission denied for foreign server %s", name);
		error->hint = psprintf("It takes a GRANT USAGE ON FOREIGN SERVER %s TO %s.",
							   quote_identifier(name),
							   role ? quote_identifier(role) : "its role");
		return NULL;
	}
	return server;
}

/* Options of the user's mapping, else of PUBLIC's, else NIL. */
static List *
mapping_options(Oid serverid, Oid user)
{
	HeapTuple	tuple;
	Datum		value;
	bool		isnull;
	List	   *options;

	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(user),
							ObjectIdGetDatum(serverid));
	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(serverid));
	if (!HeapTupleIsValid(tuple))
		return NIL;
	value = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple,
							Anum_pg_user_mapping_umoptions, &isnull);
	options = isnull ? NIL : untransformRelOptions(value);
	ReleaseSysCache(tuple);
	return options;
}

static CdcUriParam *
find_param(const CdcUri *uri, const char *name)
{
	ListCell   *lc;

	foreach(lc, uri->params)
	{
		CdcUriParam *param = lfirst(lc);

		if (strcmp(param->name, name) == 0)
			return param;
	}
	return NULL;
}

static void
add_param(CdcUri *uri, const char *name, char *value)
{
	CdcUriParam *param = palloc0(sizeof(CdcUriParam));

	param->name = pstrdup(name);
	param->value = value;
	uri->params = lappend(uri->params, param);
}

/* Parameters out of the server's options, but for "uri". */
static void
add_server_options(CdcUri *uri, List *options)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst(lc);
		const CdcServerOption *option = cdc_server_option_find(def->defname);

		/* one that stands in the URI too is "given more than once" there */
		if (option != NULL && (option->where & CDC_IN_SERVER))
			add_param(uri, option->param, defGetString(def));
	}
}

/* The mapping's own go before the server's. */
static void
add_mapping_options(CdcExternal *external, CdcUri *uri, List *options)
{
	ListCell   *lc;

	external->secrets = palloc0(sizeof(char *) * (list_length(options) + 1));
	foreach(lc, options)
	{
		DefElem    *def = lfirst(lc);
		const CdcServerOption *option = cdc_server_option_find(def->defname);
		char	   *value = defGetString(def);
		CdcUriParam *param;

		if (option == NULL || !(option->where & CDC_IN_MAPPING))
			continue;
		if (option->of_feed)
		{
			external->secrets[external->nsecrets++] = psprintf("%s=%s", option->param, value);
			continue;
		}
		param = find_param(uri, option->param);
		if (param != NULL)
			param->value = value;
		else
			add_param(uri, option->param, value);
	}
}

/* What the URI itself adds; false: it must not. */
static bool
add_own(CdcUri *target, const CdcUri *own, CdcExternalError *error)
{
	bool		has_path = own->path[0] != '\0' && strcmp(own->path, "/") != 0;
	ListCell   *lc;

	if (has_path && strncmp(target->scheme, "webhook-", 8) == 0)
	{
		error->code = ERRCODE_INVALID_PARAMETER_VALUE;
		error->message = psprintf("external sink \"%.64s\" takes no path", own->hosts);
		error->hint = pstrdup("The path of a webhook stands in the server's uri.");
		return false;
	}
	if (has_path)
	{
		size_t		len = strlen(target->path);

		while (len > 0 && target->path[len - 1] == '/')
			len--;
		target->path = psprintf("%.*s%s", (int) len, target->path, own->path);
	}
	foreach(lc, own->params)
	{
		CdcUriParam *param = lfirst(lc);

		if (find_param(target, param->name) != NULL)
		{
			error->code = ERRCODE_INVALID_PARAMETER_VALUE;
			error->message = psprintf("param %s is set by foreign server \"%.64s\"",
									  param->name, own->hosts);
			error->hint = pstrdup("Leave it out.");
			return false;
		}
	}
	/* twice in the URI itself is for the sink to complain of */
	target->params = list_concat(target->params, own->params);
	return true;
}

CdcExternal *
cdc_external_resolve(const CdcUri *uri, Oid user, CdcExternalError *error)
{
	CdcExternal *external = palloc0(sizeof(CdcExternal));
	ForeignServer *server;
	CdcUri	   *target = NULL;
	ListCell   *lc;

	memset(error, 0, sizeof(*error));
	check_form(uri);
	server = find_server(uri->hosts, user, error);
	if (server == NULL)
		return NULL;
	external->responsible = server->owner;

	foreach(lc, server->options)
	{
		DefElem    *def = lfirst(lc);

		if (strcmp(def->defname, "uri") == 0)
			target = cdc_uri_parse(defGetString(def));
	}
	if (target == NULL || cdc_uri_is_external(target))
	{
		error->code = ERRCODE_FDW_OPTION_NAME_NOT_FOUND;
		error->message = psprintf("foreign server \"%s\" has no usable uri", uri->hosts);
		return NULL;
	}
	add_server_options(target, server->options);
	add_mapping_options(external, target, mapping_options(server->serverid, user));
	if (!add_own(target, uri, error))
		return NULL;
	external->uri = cdc_uri_print(target);
	return external;
}
