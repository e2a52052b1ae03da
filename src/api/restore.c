/*-------------------------------------------------------------------------
 * restore.c
 *		Jobs that came out of a dump, or with the tables of another cluster.
 *
 * Of such a job there is its statement, with full names and without secrets,
 * and its owner by name.  It has no position and holds nothing; resuming it
 * is creating it, under its id, as what its owner may do by now.  What of its
 * secrets is missing has to be given before, by ALTER CHANGEFEED.
 *
 * Runs: user backends.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/changefeed.h"
#include "catalog/options.h"
#include "catalog/rows.h"
#include "catalog/saved.h"
#include "catalog/target.h"
#include "catalog/uri.h"
#include "miscadmin.h"
#include "parser/statement.h"
#include "sink/sink.h"
#include "utils/acl.h"
#include "utils/builtins.h"

/* Reads a restored job; raises if it is not the user's. */
static bool
find(int64 job_id, CdcSaved *saved)
{
	CdcCatalogUser user;
	bool		found;

	cdc_catalog_enter(&user);
	found = cdc_saved_find(job_id, saved);
	cdc_catalog_leave(&user);
	if (found &&
		!(OidIsValid(saved->owner) ?
		  has_privs_of_role(GetUserId(), saved->owner) : superuser()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of job " INT64_FORMAT, job_id)));
	return found;
}

/*
 * The statement as it can be run here: tables of this database, and no
 * position of another cluster.
 */
static CdcStatement *
statement_of(const CdcSaved *saved)
{
	CdcStatement *stmt = cdc_parse_statement(saved->statement);
	ListCell   *lc;

	foreach(lc, stmt->targets)
		((CdcTargetName *) lfirst(lc))->database = NULL;
	if (cdc_pairs_find(stmt->options, "cursor") != NULL)
	{
		stmt->options = cdc_pairs_remove(stmt->options, "cursor");
		if (cdc_pairs_find(stmt->options, "initial_scan") == NULL &&
			cdc_pairs_find(stmt->options, "no_initial_scan") == NULL)
			stmt->options = list_concat(stmt->options,
										cdc_options_from_strings(1, (char *[]) {"no_initial_scan"}));
	}
	if (saved->sink_uri != NULL)
		stmt->sink = saved->sink_uri;
	cdc_pairs_add_secrets(stmt->options, saved->nsecrets, saved->secrets);
	return stmt;
}

/* Raises if a secret is still missing. */
static void
check_secrets(int64 job_id, const CdcStatement *stmt)
{
	ListCell   *lc;

	if (strstr(stmt->sink, CDC_REDACTED) != NULL &&
		strcmp(cdc_uri_redact(stmt->sink), stmt->sink) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the sink of job " INT64_FORMAT " is not known completely",
						job_id),
				 errdetail("The job was restored from a dump, which holds no passwords."),
				 errhint("Give the sink again: ALTER CHANGEFEED " INT64_FORMAT " SET sink = '...'.",
						 job_id)));
	foreach(lc, stmt->options)
	{
		CdcOptionPair *pair = lfirst(lc);

		if (pair->value != NULL && strcmp(pair->value, CDC_REDACTED) == 0 &&
			cdc_option_is_secret(pair->name))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("option \"%s\" of job " INT64_FORMAT " is not known",
							pair->name, job_id),
					 errdetail("The job was restored from a dump, which holds no passwords."),
					 errhint("Give it again: ALTER CHANGEFEED " INT64_FORMAT " SET %s = '...'.",
							 job_id, pair->name)));
	}
}

static void
resume(int64 job_id, const CdcSaved *saved)
{
	CdcStatement *stmt = statement_of(saved);

	if (!OidIsValid(saved->owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\", owner of job " INT64_FORMAT ", does not exist",
						saved->owner_name, job_id),
				 errhint("Create the role, or cancel the job and create the changefeed as another one.")));
	check_secrets(job_id, stmt);
	(void) cdc_create_changefeed(stmt->targets, stmt->sink, stmt->options,
								 job_id, saved->owner);
}

bool
cdc_restored_request(int64 job_id, CdcJobEvent event)
{
	CdcSaved	saved;
	CdcCatalogUser user;

	if (!find(job_id, &saved))
		return false;
	switch (event)
	{
		case CDC_EV_RESUME:
			resume(job_id, &saved);
			break;
		case CDC_EV_CANCEL:
			cdc_catalog_enter(&user);
			cdc_saved_cancel(job_id, &saved);
			cdc_catalog_leave(&user);
			break;
		default:
			break;				/* it is paused */
	}
	return true;
}

/* Applies one clause to the statement. */
static void
alter(CdcStatement *stmt, const CdcAlterAction *action)
{
	ListCell   *lc;

	if (action->targets != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the targets of a job that was restored from a dump cannot be altered"),
				 errhint("Resume it first.")));
	foreach(lc, action->options)
	{
		CdcOptionPair *pair = lfirst(lc);

		if (strcmp(pair->name, "sink") == 0)
		{
			if (action->kind == CDC_ALTER_UNSET || pair->value == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("cannot unset option \"sink\"")));
			stmt->sink = pair->value;
			continue;
		}
		stmt->options = cdc_pairs_remove(stmt->options, pair->name);
		if (action->kind == CDC_ALTER_SET)
			stmt->options = lappend(stmt->options, pair);
	}
}

bool
cdc_restored_alter(int64 job_id, List *actions)
{
	CdcSaved	saved;
	CdcStatement *stmt;
	CdcOptions *options;
	CdcCatalogUser user;
	char	   *text;
	char	  **secrets;
	int			nsecrets;
	ListCell   *lc;

	if (!find(job_id, &saved))
		return false;
	stmt = statement_of(&saved);
	foreach(lc, actions)
		alter(stmt, lfirst(lc));

	options = cdc_options_parse(stmt->options);
	(void) cdc_uri_parse(stmt->sink);
	secrets = cdc_options_secrets(options, &nsecrets);
	text = cdc_describe_changefeed(cdc_targets_describe(stmt->targets),
								   cdc_uri_redact(stmt->sink), options);

	cdc_catalog_enter(&user);
	cdc_saved_alter(job_id, text, stmt->sink, nsecrets, secrets);
	cdc_catalog_leave(&user);
	return true;
}
