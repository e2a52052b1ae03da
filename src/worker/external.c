/*-------------------------------------------------------------------------
 * external.c
 *		External sinks of a lane's feeds: what their foreign servers stand for
 *		now.
 *
 * Each visit to the catalog resolves them again.  What has changed is taken
 * over once the visit is through: the sink is closed and opened anew as
 * after trouble, so what it had not acknowledged is decoded and sent again.
 * There are no visits while a transaction is being decoded.  A feed that does
 * nothing there but wait for its sink would get the key that makes it well at
 * the end only, so invalidations are looked at, which tell that there is
 * something to be visited.
 * A server that is gone, or may no longer be used, is trouble of the feed,
 * which goes on when that is mended.
 *
 * Runs: lane worker, main loop.  Never raises for what is wrong with a
 * server; no message shows the value of an option.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/err.h"
#include "catalog/external.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "worker/lane.h"

/* What an external sink stands for; in a context of its own, below the feed's. */
struct CdcFeedPlace
{
	MemoryContext cxt;
	char	   *text;			/* all that it follows from, with secrets */
	CdcUri	   *uri;			/* NULL: there is none, as "error" tells */
	int			nsecrets;
	char	  **secrets;
	char	   *error;
};

/* A server or a mapping, whichever, since the last visit. */
static bool some_have_changed = false;

/* Everything that is looked at, as text: the same text, the same sink. */
static char *
fingerprint(const CdcExternal *external, const CdcExternalError *error)
{
	StringInfoData buf;

	initStringInfo(&buf);
	if (external == NULL)
	{
		appendStringInfo(&buf, "!%s", error->message);
		return buf.data;
	}
	appendStringInfo(&buf, "%u %d %s", external->responsible,
					 superuser_arg(external->responsible), external->uri);
	for (int i = 0; i < external->nsecrets; i++)
		appendStringInfo(&buf, "\n%s", external->secrets[i]);
	return buf.data;
}

/* Raises unless the server's owner may have the sink for this feed. */
static void
check(const CdcFeed *feed, const CdcUri *uri, const CdcExternal *external)
{
	const CdcSinkOps *ops = cdc_sink_lookup(uri->scheme);
	CdcOptions	options = *feed->options;
	Oid			user;
	int			sec_context;

	if (ops != feed->ops)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("new sink type \"%s\" does not match original sink type \"%s\"",
						ops ? ops->name : uri->scheme, feed->ops->name)));
	options.pairs = list_copy(options.pairs);
	cdc_options_set_external(&options, external->nsecrets, external->secrets);
	cdc_sink_check_options(ops, &options);

	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(external->responsible,
						   sec_context | SECURITY_LOCAL_USERID_CHANGE);
	PG_TRY();
	{
		ops->check(uri, &options);
	}
	PG_FINALLY();
	{
		SetUserIdAndSecContext(user, sec_context);
	}
	PG_END_TRY();
}

/* What the catalog says now; no locks or pins are held in it. */
static CdcExternal *
resolve(const CdcFeed *feed, Oid owner, CdcExternalError *error)
{
	MemoryContext cxt = CurrentMemoryContext;
	CdcExternal *volatile external = NULL;

	PG_TRY();
	{
		/* the definition's URI is as it was given, for it holds no secret */
		external = cdc_external_resolve(cdc_uri_parse(feed->def->sink), owner, error);
	}
	PG_CATCH();
	{
		error->message = cdc_error_take(cxt)->message;
		external = NULL;
	}
	PG_END_TRY();
	return external;
}

static void
fill(const CdcFeed *feed, CdcFeedPlace *place, const CdcExternal *external)
{
	CdcUri	   *volatile uri = NULL;

	PG_TRY();
	{
		uri = cdc_uri_parse(external->uri);
		check(feed, uri, external);
	}
	PG_CATCH();
	{
		place->error = cdc_error_take(place->cxt)->message;
		uri = NULL;
	}
	PG_END_TRY();
	place->uri = uri;
	place->nsecrets = external->nsecrets;
	place->secrets = palloc0(sizeof(char *) * (external->nsecrets + 1));
	for (int i = 0; i < external->nsecrets; i++)
		place->secrets[i] = pstrdup(external->secrets[i]);
}

bool
lane_has_external_sink(const CdcFeed *feed)
{
	return pg_strncasecmp(feed->def->sink, CDC_EXTERNAL_SCHEME "://",
						  strlen(CDC_EXTERNAL_SCHEME "://")) == 0;
}

/*
 * Not when all caches are dropped, which says nothing of these.  Decoding
 * comes to invalidations of the past, too: then a visit finds nothing new.
 */
static void
note_change(Datum arg, int cache, uint32 hash)
{
	some_have_changed |= hash != 0;
}

static void
watch_servers(void)
{
	static bool watching = false;

	if (watching)
		return;
	watching = true;
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, note_change, (Datum) 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, note_change, (Datum) 0);
}

bool
lane_place_may_have_changed(const CdcFeed *feed)
{
	if (!lane_has_external_sink(feed) ||
		(feed->sink != NULL && feed->sink->error[0] == '\0'))
		return false;
	AcceptInvalidationMessages();
	return some_have_changed;
}

void
lane_note_places_seen(void)
{
	some_have_changed = false;
}

bool
lane_wait_for_place(CdcFeed *feed, ReorderBufferTXN *txn)
{
	if (feed->uri != NULL || !lane_has_external_sink(feed))
		return false;
	cdc_feed_detach(feed, txn);
	feed->detaches = 0;
	feed->rewind_at = 0;
	return true;
}

void
lane_resolve_place(CdcFeed *feed, Oid owner)
{
	CdcExternalError error;
	CdcExternal *external = resolve(feed, owner, &error);
	char	   *text = fingerprint(external, &error);
	MemoryContext cxt;
	MemoryContext old;
	CdcFeedPlace *place;

	watch_servers();

	/* one that was refused is looked at again: settings may have changed */
	if (feed->place_text != NULL && strcmp(feed->place_text, text) == 0 &&
		(feed->uri != NULL || external == NULL))
		return;
	cxt = AllocSetContextCreate(feed->cxt, "cdc_sink external sink",
								ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(cxt);
	place = palloc0(sizeof(CdcFeedPlace));
	place->cxt = cxt;
	place->text = pstrdup(text);
	if (external != NULL)
		fill(feed, place, external);
	else
		place->error = pstrdup(error.message);
	MemoryContextSwitchTo(old);
	feed->next_place = place;
}

void
lane_take_place(CdcFeed *feed)
{
	CdcFeedPlace *place = feed->next_place;
	MemoryContext former = feed->place_cxt;
	MemoryContext old;

	if (place == NULL)
		return;
	lane_reopen_sink(feed);
	feed->next_place = NULL;
	feed->place_cxt = place->cxt;
	feed->place_text = place->text;
	feed->uri = place->uri;
	old = MemoryContextSwitchTo(place->cxt);
	cdc_options_set_external(feed->options, place->nsecrets, place->secrets);
	MemoryContextSwitchTo(old);
	if (place->uri == NULL)
	{
		cdc_feed_trouble(feed, place->error);
		feed->sink_failures = Max(feed->sink_failures, 1);
	}
	else
	{
		feed->sink_failures = 0;
		feed->sink_open_at = 0;
	}

	/* a sink that was left open has it still, and goes before the feed */
	if (former != NULL && feed->sink == NULL)
		MemoryContextDelete(former);
}
