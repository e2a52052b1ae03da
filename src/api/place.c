/*-------------------------------------------------------------------------
 * place.c
 *		From the text behind INTO to a sink that the user may have, and the
 *		validator of the foreign-data wrapper cdc_sink.
 *
 * Whoever has USAGE on a foreign server needs no other right on its sink:
 * what the server may lead to (files anywhere, the server's own credentials)
 * is decided by the rights of the server's owner.
 *
 * Runs: user backends, as the user.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "api/place.h"
#include "api/hide.h"
#include "base/guc.h"
#include "catalog/external.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "sink/store.h"

extern PGDLLEXPORT Datum cdc_fdw_validator(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(cdc_fdw_validator);

/* May he send anything there?  See cdc_sink.restrict_sinks. */
static void
check_restriction(Oid user)
{
	if (cdc_restrict_sinks != CDC_RESTRICT_EXTERNAL || superuser_arg(user))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("changefeeds of users can only be used with external connection sinks"),
			 errdetail("The setting cdc_sink.restrict_sinks is \"external\"."),
			 errhint("Name a foreign server that you have USAGE on: INTO 'external://server'.")));
}

/* Checks with the rights of a role; an ERROR gives them back by itself. */
static void
check_as(Oid role, const CdcSinkOps *ops, const CdcUri *uri,
		 const CdcOptions *options)
{
	Oid			user;
	int			sec_context;

	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(role, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	ops->check(uri, options);
	SetUserIdAndSecContext(user, sec_context);
}

void
cdc_place_check_owner(const CdcPlace *place, Oid owner, const CdcOptions *options)
{
	if (place->external || superuser_arg(owner))
		return;
	check_restriction(owner);
	check_as(owner, place->ops, place->uri, options);
}

CdcPlace *
cdc_place_check(const char *sink, bool is_new, Oid owner, CdcOptions *options)
{
	CdcPlace   *place = palloc0(sizeof(CdcPlace));
	CdcUri	   *uri = cdc_uri_parse(sink);
	Oid			responsible = GetUserId();

	place->uri_text = pstrdup(sink);
	place->uri = uri;
	if (cdc_uri_is_external(uri))
	{
		CdcExternalError error;
		CdcExternal *external = cdc_external_resolve(uri, owner, &error);

		if (external == NULL)
			ereport(ERROR,
					(errcode(error.code),
					 errmsg("%s", error.message),
					 error.hint ? errhint("%s", error.hint) : 0));
		responsible = external->responsible;
		place->external = true;
		place->uri_text = external->uri;
		place->uri = cdc_uri_parse(external->uri);
		cdc_options_set_external(options, external->nsecrets, external->secrets);
	}
	else if (is_new)
		check_restriction(GetUserId());

	place->ops = cdc_sink_lookup(place->uri->scheme);
	if (place->ops == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unsupported sink: %s", place->uri->scheme),
				 errhint("Supported are kafka, s3, gs, azure, file-https, webhook-https, file, nodelocal, external and null.")));
	cdc_sink_check_options(place->ops, options);
	check_as(responsible, place->ops, place->uri, options);
	return place;
}

/* ------------------------------------------------------------------------
 * The foreign-data wrapper
 * ------------------------------------------------------------------------
 */

/*
 * Users make mappings for themselves, and where a server leads is not theirs
 * to say: the key of a service account holds who is asked for tokens.
 */
static void
check_token_uri(List *options)
{
	ListCell   *lc;

	if (superuser())
		return;
	foreach(lc, options)
	{
		DefElem    *def = lfirst(lc);
		const CdcServerOption *option = cdc_server_option_find(def->defname);

		if (option != NULL && strcmp(option->param, "CREDENTIALS") == 0 &&
			!cdc_gcs_asks_google(defGetString(def)))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("must be superuser to have another token_uri than Google's in a user mapping"),
					 errhint("Leave the token_uri out of the credentials, or have a superuser make the mapping.")));
	}
}

/* A URI hides its own secrets, of what is unknown nothing is shown. */
static void
hide_values(List *options)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst(lc);
		const CdcServerOption *option = cdc_server_option_find(def->defname);

		if (strcmp(def->defname, "uri") == 0)
			cdc_hide_sink(defGetString(def));
		else if (option == NULL || !(option->where & CDC_IN_SERVER))
			cdc_hide_value(defGetString(def));
	}
}

Datum
cdc_fdw_validator(PG_FUNCTION_ARGS)
{
	CdcHide		hide;
	List	   *options;
	Oid			catalog = PG_GETARG_OID(1);

	cdc_hide_begin(&hide);
	options = untransformRelOptions(PG_GETARG_DATUM(0));
	hide_values(options);
	cdc_hide_known(&hide);

	if (catalog == ForeignServerRelationId)
	{
		ListCell   *lc;

		cdc_server_options_check(options, CDC_IN_SERVER);
		foreach(lc, options)
		{
			DefElem    *def = lfirst(lc);
			CdcUri	   *uri;

			if (strcmp(def->defname, "uri") != 0)
				continue;
			uri = cdc_uri_parse(defGetString(def));
			if (cdc_sink_lookup(uri->scheme) == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("unsupported sink: %s", uri->scheme)));
		}
	}
	else if (catalog == UserMappingRelationId)
	{
		cdc_server_options_check(options, CDC_IN_MAPPING);
		check_token_uri(options);
	}
	else if (catalog == ForeignTableRelationId || catalog == AttributeRelationId)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("foreign-data wrapper cdc_sink has no foreign tables"),
				 errhint("Its servers are sinks of changefeeds: CREATE CHANGEFEED ... INTO 'external://server'.")));
	else
		cdc_server_options_check(options, 0);
	cdc_hide_end(&hide);
	PG_RETURN_VOID();
}
