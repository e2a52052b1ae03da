/*-------------------------------------------------------------------------
 * shapes.c
 *		The definitions of a feed's tables that are in force at its position;
 *		see shapes.h.
 *
 * Why no schema change is missed or seen twice: a commit is compared with
 * what was in force right before it on the feed's own way through the WAL.
 * Whatever takes the feed back takes the shapes back with it, and those at
 * the durable position are in the same transaction as that position.
 *
 * Runs: lane worker, main thread.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "feed/shapes.h"
#include "utils/memutils.h"

typedef struct FeedShape
{
	MemoryContext cxt;			/* it and all of its own */
	Oid			relid;
	XLogRecPtr	since;			/* 0: from before the durable position */
	bool		stored;
	int			schema_version;
	char	   *text;
	CdcShape   *shape;
} FeedShape;

/* The newest entry of a relation, or NULL. */
static FeedShape *
find_shape(const CdcFeed *feed, Oid relid)
{
	FeedShape  *found = NULL;
	ListCell   *lc;

	foreach(lc, feed->shapes)
	{
		FeedShape  *entry = lfirst(lc);

		if (entry->relid == relid)
			found = entry;
	}
	return found;
}

static FeedShape *
add_shape(CdcFeed *feed, Oid relid, const char *text)
{
	MemoryContext cxt = AllocSetContextCreate(feed->cxt, "cdc_sink shape",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	FeedShape  *entry = palloc0(sizeof(FeedShape));

	entry->cxt = cxt;
	entry->relid = relid;
	entry->text = pstrdup(text);
	entry->shape = cdc_shape_parse(text);
	MemoryContextSwitchTo(feed->cxt);
	feed->shapes = lappend(feed->shapes, entry);
	MemoryContextSwitchTo(old);
	return entry;
}

const CdcShape *
cdc_feed_shape(CdcFeed *feed, int target)
{
	const CdcTarget *t = &feed->def->targets[target];
	FeedShape  *entry = find_shape(feed, t->relid);

	if (entry == NULL)
	{
		if (t->shape[0] == '\0')
			return NULL;
		entry = add_shape(feed, t->relid, t->shape);
		entry->stored = true;
		entry->schema_version = feed->current[target]->schema_version;
		if (feed->columns[target] == NULL)
			cdc_feed_resume_topic(feed, target,
								  cdc_shape_columns(cdc_shape_listed(entry->shape, t->columns)),
								  entry->schema_version);
	}
	return entry->shape;
}

void
cdc_feed_set_shape(CdcFeed *feed, int target, XLogRecPtr since,
				   const CdcShape *shape)
{
	FeedShape  *last = find_shape(feed, feed->def->targets[target].relid);
	char	   *text = cdc_shape_print(shape);

	if (last == NULL || strcmp(last->text, text) != 0)
	{
		FeedShape  *entry = add_shape(feed, feed->def->targets[target].relid, text);

		entry->since = since;
		entry->schema_version = feed->current[target]->schema_version;
		feed->new_shapes = true;
	}
	pfree(text);
}

void
cdc_feed_rewind_shapes(CdcFeed *feed, XLogRecPtr lsn)
{
	ListCell   *lc;

	foreach(lc, feed->shapes)
	{
		FeedShape  *entry = lfirst(lc);

		if (entry->since <= lsn)
			continue;
		feed->shapes = foreach_delete_current(feed->shapes, lc);
		MemoryContextDelete(entry->cxt);
	}
}

void
cdc_feed_load_shapes(CdcFeed *feed)
{
	ListCell   *lc;

	foreach(lc, feed->shapes)
		MemoryContextDelete(((FeedShape *) lfirst(lc))->cxt);
	list_free(feed->shapes);
	feed->shapes = NIL;
	feed->new_shapes = false;

	foreach(lc, cdc_shapes_load(feed->job_id))
	{
		CdcStoredShape *stored = lfirst(lc);
		FeedShape  *entry = add_shape(feed, stored->relid, stored->text);

		entry->stored = true;
		entry->schema_version = stored->schema_version;
	}
	for (int i = 0; i < feed->def->ntargets; i++)
	{
		const CdcShape *shape = cdc_feed_shape(feed, i);
		FeedShape  *entry = find_shape(feed, feed->def->targets[i].relid);

		if (shape != NULL)
			cdc_feed_resume_topic(feed, i,
								  cdc_shape_columns(cdc_shape_listed(shape, feed->def->targets[i].columns)),
								  entry->schema_version);
	}
}

void
cdc_feed_store_shapes(CdcFeed *feed, XLogRecPtr lsn)
{
	ListCell   *lc;

	if (!feed->new_shapes)
		return;
	foreach(lc, feed->shapes)
	{
		FeedShape  *entry = lfirst(lc);
		CdcStoredShape stored;

		if (entry->stored || entry->since > lsn)
			continue;
		stored.relid = entry->relid;
		stored.schema_version = entry->schema_version;
		stored.text = entry->text;
		cdc_shape_store(feed->job_id, &stored);
	}
}

void
cdc_feed_shapes_stored(CdcFeed *feed, XLogRecPtr lsn)
{
	ListCell   *lc;

	if (!feed->new_shapes)
		return;
	feed->new_shapes = false;
	foreach(lc, feed->shapes)
	{
		FeedShape  *entry = lfirst(lc);

		if (entry->since <= lsn)
			entry->stored = true;
		else
			feed->new_shapes = true;
	}

	/* what a later stored one has taken the place of */
	foreach(lc, feed->shapes)
	{
		FeedShape  *entry = lfirst(lc);
		bool		replaced = false;
		ListCell   *other;

		foreach(other, feed->shapes)
		{
			FeedShape  *later = lfirst(other);

			if (later->relid == entry->relid && later->stored &&
				later->since > entry->since)
				replaced = true;
		}
		if (!replaced)
			continue;
		feed->shapes = foreach_delete_current(feed->shapes, lc);
		MemoryContextDelete(entry->cxt);
	}
}
