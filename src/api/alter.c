/*-------------------------------------------------------------------------
 * alter.c
 *		ALTER CHANGEFEED: from the newest definition of a job to the next.
 *
 * The clauses are applied in their order to a copy of the newest definition;
 * what comes out is validated as a creation would be, and written as a
 * further version in the caller's transaction.  Nothing else is touched:
 * where the version takes effect is up to the lane (feed/alter.c).
 *
 * Runs: user backends, as the user; as the bootstrap superuser only around
 * the calls that read and write the extension's own tables.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/changefeed.h"
#include "api/hide.h"
#include "api/place.h"
#include "api/start.h"
#include "base/compat.h"
#include "base/shmem.h"
#include "catalog/columns.h"
#include "catalog/external.h"
#include "catalog/namespace.h"
#include "catalog/options.h"
#include "catalog/rows.h"
#include "catalog/saved.h"
#include "catalog/rule.h"
#include "catalog/target.h"
#include "catalog/uri.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/statement.h"
#include "sink/sink.h"
#include "sink/topic.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "worker/probe.h"

extern PGDLLEXPORT Datum changefeed_alter(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(changefeed_alter);

/* Options that only mean something when a feed is created. */
static const char *const fixed_options[] = {
	"cursor", "end_time", "initial_scan", "initial_scan_only", "no_initial_scan",
};

/* The definition in the making. */
typedef struct Alter
{
	CdcAlterBase base;
	CdcDefinition def;
	int			nkept;			/* targets before this are of the base */
	List	   *pairs;			/* CdcOptionPair, secrets in the clear */
	char	   *sink;			/* URI, in the clear */
	const CdcSinkOps *ops;
	bool		new_sink;
	bool		new_sink_options;	/* those that only its sink knows */
	bool		scan_only;
	bool		new_owner;
} Alter;

/* Nothing of the feed is sent any more, whatever its row says so far. */
static bool
lane_let_go(int64 job_id)
{
	CdcFeedShared *feed;
	bool		stopped;

	if (!cdc_start_lane_lives())
		return true;
	LWLockAcquire(cdc_shared->lock, LW_SHARED);
	feed = cdc_shmem_feed(job_id, MyDatabaseId, false);
	stopped = feed != NULL && feed->stopped;
	LWLockRelease(cdc_shared->lock);
	return stopped;
}

/* True: the job stands still; raises if it is in no state to be altered. */
static bool
check_status(int64 job_id, const CdcAlterBase *base, bool running_too)
{
	if (base->status == CDC_JOB_PAUSED ||
		(base->status == CDC_JOB_PAUSE_REQUESTED && lane_let_go(job_id)))
		return true;
	if (!running_too)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("job " INT64_FORMAT " is not paused", job_id),
				 errdetail("Its status is %s.", cdc_job_status_name(base->status)),
				 base->status != CDC_JOB_RUNNING ? 0 :
				 errhint("Use PAUSE JOB " INT64_FORMAT " first, or changefeed_alter(), which alters running changefeeds, too.",
						 job_id)));
	if (base->status != CDC_JOB_RUNNING && base->status != CDC_JOB_PAUSE_REQUESTED)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("job with status %s cannot be altered",
						cdc_job_status_name(base->status)),
				 base->status != CDC_JOB_PENDING ? 0 :
				 errhint("Wait until it runs, or pause it.")));
	for (int i = 0; i < base->definition->ntargets; i++)
	{
		if (base->definition->targets[i].scan)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("a scan of job " INT64_FORMAT " is not done yet", job_id),
					 errhint("Wait until it is, or use PAUSE JOB " INT64_FORMAT " first.",
							 job_id)));
	}
	return false;
}

/* ------------------------------------------------------------------------
 * ADD and DROP
 * ------------------------------------------------------------------------
 */

/* ADD ... WITH initial_scan | no_initial_scan: is the table to be read? */
static bool
wants_scan(const Alter *alter, List *pairs)
{
	CdcOptions *options;
	ListCell   *lc;

	foreach(lc, pairs)
	{
		const char *name = ((CdcOptionPair *) lfirst(lc))->name;

		if (strcmp(name, "initial_scan") != 0 && strcmp(name, "no_initial_scan") != 0 &&
			strcmp(name, "initial_scan_only") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid option \"%s\"", name),
					 errhint("ADD takes the options initial_scan and no_initial_scan.")));
	}
	if (alter->scan_only)
		return true;			/* there is nothing else to it */
	if (pairs == NIL)
		return false;
	options = cdc_options_parse(pairs);
	if (options->initial_scan == CDC_SCAN_ONLY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot add a target with initial_scan='only' to a changefeed that follows changes"),
				 errhint("Create a changefeed of its own for it.")));
	return options->initial_scan == CDC_SCAN_YES;
}

/* What a changefeed by rule sends is up to the rule. */
static void
refuse_rules(const CdcDefinition *def, List *names)
{
	ListCell   *lc;
	bool		ruled = def->nrules > 0;

	foreach(lc, names)
		ruled |= ((CdcTargetName *) lfirst(lc))->kind != CDC_TARGET_TABLE;
	if (ruled)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot alter targets of a changefeed by rule"),
				 errhint("Change what its publication or schema holds, or create a new changefeed.")));
}

static void
add_targets(Alter *alter, List *names, List *pairs)
{
	CdcDefinition *def = &alter->def;
	bool		scan = wants_scan(alter, pairs);
	CdcDefinition resolved = {0};
	CdcTarget  *added;
	int			nadded;

	refuse_rules(def, names);
	cdc_targets_resolve(names, def->owner, &resolved);
	added = resolved.targets;
	nadded = resolved.ntargets;
	for (int i = 0; i < nadded; i++)
	{
		if (cdc_definition_find(def, added[i].relid) >= 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("target \"%s\" already watched by changefeed",
							cdc_target_text(list_nth(names, i)))));
		added[i].scan = scan;
	}
	cdc_targets_check_overlap(def->targets, def->ntargets, added, nadded);
	def->targets = repalloc(def->targets,
							sizeof(CdcTarget) * (def->ntargets + nadded));
	memcpy(def->targets + def->ntargets, added, sizeof(CdcTarget) * nadded);
	def->ntargets += nadded;
}

/* A table that is gone is still known by the name that it had. */
static int
find_by_former_name(const CdcDefinition *def, const CdcTargetName *name)
{
	for (int i = 0; i < def->ntargets; i++)
	{
		const char *table = strrchr(def->targets[i].name, '.');

		if (get_rel_name(def->targets[i].relid) == NULL && table != NULL &&
			strcmp(table + 1, name->name) == 0 &&
			(name->schema == NULL ||
			 strcmp(def->targets[i].name,
					psprintf("%s.%s.%s", get_database_name(MyDatabaseId),
							 name->schema, name->name)) == 0))
			return i;
	}
	return -1;
}

static void
drop_targets(Alter *alter, List *names)
{
	CdcDefinition *def = &alter->def;
	ListCell   *lc;

	refuse_rules(def, names);
	foreach(lc, names)
	{
		const CdcTargetName *name = lfirst(lc);
		Oid			relid;
		int			found;

		relid = cdc_target_find(name, NoLock, NULL, NULL);
		found = OidIsValid(relid) ? cdc_definition_find(def, relid) :
			find_by_former_name(def, name);
		if (found < 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 OidIsValid(relid) ?
					 errmsg("target \"%s\" is not watched by changefeed",
							cdc_target_text(name)) :
					 errmsg("target \"%s\" does not exist",
							cdc_target_text(name))));
		memmove(&def->targets[found], &def->targets[found + 1],
				sizeof(CdcTarget) * (def->ntargets - found - 1));
		def->ntargets--;
		if (found < alter->nkept)
			alter->nkept--;
	}
}

/* ------------------------------------------------------------------------
 * SET and UNSET
 * ------------------------------------------------------------------------
 */

static void
check_alterable(Alter *alter, const char *name)
{
	cdc_option_check_name(name);
	for (int i = 0; i < lengthof(fixed_options); i++)
	{
		if (strcmp(fixed_options[i], name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cannot alter option \"%s\"", name),
					 errhint("It counts when a changefeed is created.")));
	}
	for (int i = 0; alter->ops->options != NULL && alter->ops->options[i] != NULL; i++)
		alter->new_sink_options |= strcmp(alter->ops->options[i], name) == 0;
}

static void
check_sink_type(const Alter *alter, const CdcSinkOps *ops, const CdcUri *uri)
{
	if (ops != alter->ops)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("new sink type \"%s\" does not match original sink type \"%s\"",
						ops ? ops->name : uri->scheme, alter->ops->name),
				 errdetail("Altering the sink type of a changefeed is disallowed."),
				 errhint("Create a new changefeed instead.")));
}

static void
set_sink(Alter *alter, const char *sink)
{
	CdcUri	   *uri;

	if (sink == NULL || sink[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"sink\" requires a value")));
	uri = cdc_uri_parse(sink);
	if (!cdc_uri_is_external(uri))
		check_sink_type(alter, cdc_sink_lookup(uri->scheme), uri);
	alter->sink = pstrdup(sink);
	alter->new_sink = true;
}

static void
set_options(Alter *alter, List *pairs)
{
	ListCell   *lc;

	foreach(lc, pairs)
	{
		CdcOptionPair *pair = lfirst(lc);

		if (cdc_pairs_find(pairs, pair->name) != pair)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" is given more than once", pair->name)));
		if (strcmp(pair->name, "sink") == 0)
		{
			set_sink(alter, pair->value);
			continue;
		}
		check_alterable(alter, pair->name);
		alter->pairs = cdc_pairs_remove(alter->pairs, pair->name);
		alter->pairs = lappend(alter->pairs, pair);
	}
}

static void
unset_options(Alter *alter, List *pairs)
{
	ListCell   *lc;

	foreach(lc, pairs)
	{
		const char *name = ((CdcOptionPair *) lfirst(lc))->name;

		if (strcmp(name, "sink") == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cannot unset option \"sink\""),
					 errhint("Use SET sink = 'uri' to name another one.")));
		check_alterable(alter, name);
		alter->pairs = cdc_pairs_remove(alter->pairs, name);
	}
}

/* ------------------------------------------------------------------------
 * The whole
 * ------------------------------------------------------------------------
 */

static char *
topic_text(const Alter *alter, const char *prefix, const char *base)
{
	char	   *topic = psprintf("%s%s", prefix ? prefix : "", base);

	if (alter->ops->sanitises_topics)
		topic = cdc_topic_sanitise(pg_server_to_any(topic, strlen(topic), PG_UTF8));
	return topic;
}

/* URI of the sink so far, as far as it can be told of an external one. */
static CdcUri *
former_uri(const Alter *alter)
{
	CdcUri	   *uri = cdc_uri_parse(alter->base.sink_uri);
	CdcExternalError error;
	CdcExternal *external;

	if (!cdc_uri_is_external(uri))
		return uri;
	external = cdc_external_resolve(uri, alter->base.owner, &error);
	return external == NULL ? uri : cdc_uri_parse(external->uri);
}

/*
 * Topics of tables that stay keep their names, whatever the tables are
 * called by now; of another sink's URI they take prefix and topic_name.
 */
static void
move_topics(Alter *alter, const CdcUri *uri)
{
	CdcUri	   *former = former_uri(alter);
	const char *prefix = cdc_uri_param(uri, "topic_prefix");
	const char *name = cdc_uri_param(uri, "topic_name");
	const char *old_prefix = topic_text(alter, cdc_uri_param(former, "topic_prefix"), "");
	bool		had_name = cdc_uri_param(former, "topic_name") != NULL;

	for (int i = 0; i < alter->nkept; i++)
	{
		CdcTarget  *target = &alter->def.targets[i];
		const char *base = name;
		size_t		n = strlen(old_prefix);

		if (base == NULL && had_name)
		{
			base = strrchr(target->name, '.');
			base = base ? base + 1 : target->name;
		}
		else if (base == NULL)
			base = strncmp(target->topic, old_prefix, n) == 0 ?
				target->topic + n : target->topic;
		target->topic = topic_text(alter, prefix, base);
	}
}

char *
cdc_describe_targets(const CdcDefinition *def)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < def->ntargets; i++)
	{
		Oid			relid = def->targets[i].relid;
		char	   *name = get_rel_name(relid);

		if (def->targets[i].ruled)
			continue;
		appendStringInfo(&buf, "%sTABLE ", buf.len > 0 ? ", " : "");
		if (name == NULL)
			appendStringInfoString(&buf, def->targets[i].name);
		else
			appendStringInfo(&buf, "%s.%s",
							 quote_identifier(get_database_name(MyDatabaseId)),
							 quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
														name));
		appendStringInfoString(&buf, cdc_columns_describe(relid, def->targets[i].columns));
	}
	if (def->nrules > 0)
		appendStringInfo(&buf, "%s%s", buf.len > 0 ? ", " : "",
						 cdc_rules_describe(cdc_rules_parse(def->nrules, def->rules)));
	return buf.data;
}

static void
start_from_base(Alter *alter)
{
	CdcDefinition *base = alter->base.definition;
	CdcOptions *options;

	alter->def = *cdc_definition_copy(base);
	alter->def.version = base->version + 1;
	alter->nkept = base->ntargets;
	options = cdc_options_parse(cdc_options_from_strings(base->noptions, base->options));
	cdc_options_add_secrets(options, alter->base.nsecrets, alter->base.secrets);
	alter->pairs = options->pairs;
	alter->scan_only = options->initial_scan == CDC_SCAN_ONLY;
	alter->sink = alter->base.sink_uri;
	alter->ops = cdc_sink_of_type(base->sink_type);
	if (alter->ops == NULL)
		elog(ERROR, "changefeed " INT64_FORMAT " has a sink of unknown kind",
			 base->job_id);
}

/* The new owner must be able to have the feed, and the user to be him. */
static void
set_owner(Alter *alter, const char *role)
{
	CdcDefinition *def = &alter->def;
	Oid			owner = strcmp(role, "current_user") == 0 ? GetUserId() :
		get_role_oid(role, false);
	CdcRules   *rules = cdc_rules_parse(def->nrules, def->rules);
	ListCell   *lc;

	cdc_compat_check_can_own(GetUserId(), owner);
	for (int i = 0; i < def->ntargets; i++)
	{
		if (!def->targets[i].gone)
			cdc_target_check_access(def->targets[i].relid, owner);
	}
	foreach(lc, rules == NULL ? NIL : cdc_rules_expand(rules))
	{
		char	   *why = cdc_rules_unfit(rules, lfirst_oid(lc), owner);

		if (why != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("table \"%s\" %s", get_rel_name(lfirst_oid(lc)), why)));
	}
	def->owner = alter->base.owner = owner;
	alter->new_owner = true;
}

/* What only superusers may name, a feed of theirs may not go on with. */
static void
check_new_owner(const Alter *alter, const CdcPlace *place)
{
	const char *why;

	if (!alter->new_owner || superuser_arg(alter->base.owner) ||
		alter->ops->forbidden == NULL ||
		cdc_uri_is_external(cdc_uri_parse(alter->sink)))
		return;
	why = alter->ops->forbidden(place->uri);
	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the new owner %s", why)));
}

/* Counts of partitions that keys were spread over so far stay. */
static void
try_sink(Alter *alter, const CdcPlace *place, List *others)
{
	CdcDefinition *def = &alter->def;
	int		   *partitions = palloc(sizeof(int) * Max(alter->nkept, 1));

	for (int i = 0; i < alter->nkept; i++)
		partitions[i] = def->targets[i].partitions;
	cdc_probe_sink(def, place->uri_text, others);
	for (int i = 0; i < alter->nkept && !alter->new_sink; i++)
		def->targets[i].partitions = partitions[i];
}

/* Validates what has come out, and writes it. */
static void
finish(Alter *alter, bool at_position)
{
	CdcDefinition *def = &alter->def;
	CdcOptions *options = cdc_options_parse(alter->pairs);
	CdcPlace   *place;
	CdcCatalogUser user;
	char	   *description;
	char	  **secrets;
	int			nsecrets;
	bool		new_secrets;

	/* the feed may take it over at an earlier position, and learns there */
	for (int i = alter->nkept; i < def->ntargets; i++)
		def->targets[i].shape = "";
	if (def->ntargets == 0 && def->nrules == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot drop all targets"),
				 errhint("Use CANCEL JOB " INT64_FORMAT " to end the changefeed.",
						 def->job_id)));
	place = cdc_place_check(alter->sink, alter->new_sink, alter->base.owner, options);
	check_sink_type(alter, place->ops, place->uri);
	check_new_owner(alter, place);
	cdc_targets_check_options(def->targets, def->ntargets, options);
	cdc_options_check_owner(options, alter->base.owner);

	if (alter->new_sink)
		move_topics(alter, place->uri);
	cdc_options_notices(options);
	cdc_targets_set_topics(def->targets, def->ntargets, alter->nkept,
						   cdc_uri_param(place->uri, "topic_prefix"),
						   cdc_uri_param(place->uri, "topic_name"),
						   options, alter->ops->sanitises_topics);
	def->sink = cdc_uri_redact(alter->sink);
	(void) cdc_effective_encode(alter->ops, options, def);	/* the worker reads it */
	def->options = cdc_options_to_strings(options, &def->noptions);
	secrets = cdc_options_secrets(options, &nsecrets);
	new_secrets = alter->new_sink || nsecrets != alter->base.nsecrets;
	for (int i = 0; i < nsecrets && !new_secrets; i++)
		new_secrets = strcmp(secrets[i], alter->base.secrets[i]) != 0;

	if (alter->ops->probe != NULL &&
		(alter->new_sink || alter->new_sink_options || def->ntargets > alter->nkept))
		try_sink(alter, place, cdc_event_topics(options, place->uri,
												alter->ops->sanitises_topics));
	if (alter->ops->has_topics)
		cdc_notice_topics(def, alter->new_sink ? 0 : alter->nkept);

	description = cdc_describe_changefeed(cdc_describe_targets(def), def->sink, options);

	cdc_catalog_enter(&user);
	cdc_job_alter_write(def, at_position, new_secrets ? alter->sink : NULL,
						nsecrets, secrets, description, "json",
						alter->ops->has_topics);
	cdc_saved_write(def->job_id, def->owner, description);
	cdc_catalog_leave(&user);
	cdc_wake_lane_at_commit();
}

void
cdc_hide_actions(List *actions)
{
	ListCell   *lc;
	ListCell   *lo;

	foreach(lc, actions)
	{
		CdcAlterAction *action = lfirst(lc);

		cdc_hide_options(action->options);
		foreach(lo, action->options)
		{
			CdcOptionPair *pair = lfirst(lo);

			if (strcmp(pair->name, "sink") == 0)
				cdc_hide_sink(pair->value);
		}
	}
}

void
cdc_alter_changefeed(int64 job_id, List *actions, bool running_too)
{
	Alter		alter = {0};
	CdcJobLook	look;
	CdcCatalogUser user;
	ListCell   *lc;
	bool		at_position;

	PreventCommandIfReadOnly("ALTER CHANGEFEED");
	PreventCommandIfParallelMode("ALTER CHANGEFEED");
	cdc_start_check_server();
	if (cdc_restored_alter(job_id, actions))
		return;
	cdc_look_up_job(job_id, true, &look);

	cdc_catalog_enter(&user);
	if (!cdc_job_alter_begin(job_id, &alter.base))
		elog(ERROR, "job " INT64_FORMAT " vanished", job_id);
	cdc_catalog_leave(&user);
	at_position = check_status(job_id, &alter.base, running_too);
	if (alter.base.sink_uri == NULL)
		elog(ERROR, "sink of job " INT64_FORMAT " is not known", job_id);

	start_from_base(&alter);
	foreach(lc, actions)
	{
		CdcAlterAction *action = lfirst(lc);

		switch (action->kind)
		{
			case CDC_ALTER_ADD:
				add_targets(&alter, action->targets, action->options);
				break;
			case CDC_ALTER_DROP:
				drop_targets(&alter, action->targets);
				break;
			case CDC_ALTER_SET:
				set_options(&alter, action->options);
				break;
			case CDC_ALTER_UNSET:
				unset_options(&alter, action->options);
				break;
			case CDC_ALTER_OWNER:
				set_owner(&alter, action->role);
				break;
		}
	}
	finish(&alter, at_position);
}

/* In front of the others. */
static List *
add_action(List *actions, CdcAlterKind kind, List *targets, List *options)
{
	CdcAlterAction *action = palloc(sizeof(CdcAlterAction));

	action->kind = kind;
	action->targets = targets;
	action->options = options;
	return lcons(action, actions);
}

static List *
names_of(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NIL :
		cdc_names_from_array(PG_GETARG_ARRAYTYPE_P(arg));
}

/* changefeed_alter(job_id, add, drop, set, unset, initial_scan) */
Datum
changefeed_alter(PG_FUNCTION_ARGS)
{
	CdcHide		hide;
	List	   *names;
	List	   *pairs;
	List	   *actions = NIL;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	/* what may hold secrets goes first, and takes effect last */
	cdc_hide_begin(&hide);
	pairs = PG_ARGISNULL(3) ? NIL : cdc_pairs_from_jsonb(PG_GETARG_JSONB_P(3));
	if (pairs != NIL)
		actions = add_action(NIL, CDC_ALTER_SET, NIL, pairs);
	cdc_hide_actions(actions);
	cdc_hide_known(&hide);

	pairs = PG_ARGISNULL(4) ? NIL : cdc_pairs_from_names(PG_GETARG_ARRAYTYPE_P(4));
	if (pairs != NIL)
		actions = add_action(actions, CDC_ALTER_UNSET, NIL, pairs);
	names = names_of(fcinfo, 1);
	if (names != NIL)
		actions = add_action(actions, CDC_ALTER_ADD, names,
							 !PG_ARGISNULL(5) && PG_GETARG_BOOL(5) ?
							 cdc_options_from_strings(1, (char *[]) {"initial_scan"}) : NIL);
	names = names_of(fcinfo, 2);
	if (names != NIL)
		actions = add_action(actions, CDC_ALTER_DROP, names, NIL);
	if (actions == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("nothing to alter"),
				 errhint("Give at least one of the arguments add, drop, set and unset.")));
	cdc_alter_changefeed(PG_GETARG_INT64(0), actions, true);
	cdc_hide_end(&hide);
	PG_RETURN_VOID();
}
