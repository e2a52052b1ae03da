/*-------------------------------------------------------------------------
 * schema.c
 *		Changes of the definitions of watched tables, at their commit.
 *
 * Nothing is polled: a transaction that changed catalogs says which
 * relations it invalidated.  Each that a feed watches is read again at the
 * commit, under the snapshot of the commit, and compared with the shape that
 * was in force at the feed's position.  A replay therefore finds the same
 * changes at the same places.
 *
 * Runs: commit callback of the lane, under a historic snapshot, before the
 * transaction ends for its feeds.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/shape.h"
#include "feed/shapes.h"
#include "nodes/pg_list.h"
#include "scan/scan.h"
#include "table/relcache.h"
#include "utils/lsyscache.h"
#include "worker/lane.h"

/* Shapes that were read at this commit, for all feeds. */
typedef struct ReadShape
{
	Oid			relid;
	CdcShape   *shape;			/* NULL: dropped */
} ReadShape;

static const CdcShape *
read_shape(List **shapes, Oid relid)
{
	ReadShape  *entry;
	ListCell   *lc;

	foreach(lc, *shapes)
	{
		entry = lfirst(lc);
		if (entry->relid == relid)
			return entry->shape;
	}
	entry = palloc(sizeof(ReadShape));
	entry->relid = relid;
	entry->shape = cdc_shape_read(relid);
	*shapes = lappend(*shapes, entry);
	return entry->shape;
}

/* The table itself, or a partition of it that was there before. */
static bool
may_have_changed(Oid relid, const CdcShape *before)
{
	if (cdc_table_changed(relid))
		return true;
	for (int i = 0; before != NULL && i < before->nleaves; i++)
	{
		if (cdc_table_changed(before->leaves[i].relid))
			return true;
	}
	return false;
}

/* The last transaction for the feed: it is sent, and then it is over. */
static bool
end_behind(CdcFeed *feed, ReorderBufferTXN *txn)
{
	if (!stream_touch(feed, txn))
		return false;			/* it came to its end_time before */
	feed->end_at_commit = true;
	return true;
}

static CdcScanItem *
scan_item(Oid target, Oid relid)
{
	CdcScanItem *item = palloc0(sizeof(CdcScanItem));

	item->target = target;
	item->relid = relid;
	return item;
}

/*
 * Columns of which the rows that were sent have nothing, or something else:
 * added ones, and such whose values were converted.
 */
static void
mark_fresh(CdcScanItem *item, const CdcShape *before, const CdcShape *after)
{
	for (int i = 0; i < after->ncolumns; i++)
	{
		const CdcShapeColumn *column = &after->columns[i];
		bool		same = false;

		for (int j = 0; j < before->ncolumns && !same; j++)
			same = before->columns[j].attnum == column->attnum &&
				before->columns[j].type == column->type &&
				before->columns[j].typmod == column->typmod;
		if (!same)
			cdc_scan_item_mark_fresh(item, column->attnum);
	}
}

/*
 * What a backfill has to read: the table, or the partitions that joined it
 * with rows that the stream has not shown.
 */
static List *
items_to_scan(const CdcFeed *feed, Oid target, const CdcShape *before,
			  const CdcShape *after, bool whole)
{
	List	   *items = NIL;

	if (whole)
	{
		CdcScanItem *item = scan_item(target, target);

		item->known = true;
		mark_fresh(item, before, after);
		return list_make1(item);
	}
	for (int i = 0; i < after->nleaves; i++)
	{
		const CdcShapeLeaf *leaf = &after->leaves[i];

		/* it may also have been away for a part of the transaction */
		if ((cdc_shape_has_leaf(before, leaf->relid) || leaf->new_with_link) &&
			!cdc_table_has_unseen(leaf->relid, feed))
			continue;
		items = lappend(items, scan_item(target, leaf->relid));
	}
	return items;
}

static void
act(CdcFeed *feed, int target, const CdcShape *before, const CdcShape *after,
	ReorderBufferTXN *txn)
{
	const CdcTarget *t = &feed->def->targets[target];
	int			what = cdc_shape_compare(before, after, t->columns);
	int			columns = CDC_SHAPE_FILLED | CDC_SHAPE_DROPPED | CDC_SHAPE_REWRITTEN;
	char		stamp[CDC_HLC_TEXT_SIZE];
	List	   *items;

	if (feed->options->schema_change_events == CDC_EVENTS_COLUMN_CHANGES)
		columns |= CDC_SHAPE_ADDED;
	switch (feed->options->schema_change_policy)
	{
		case CDC_SCHEMA_IGNORE:
		case CDC_SCHEMA_NOBACKFILL:
			break;

		case CDC_SCHEMA_STOP:
			if ((what & (columns | CDC_SHAPE_KEY)) == 0)
				break;
			if (!stream_touch(feed, txn) || cdc_feed_was_answered(feed, txn))
				break;
			cdc_feed_end_behind(feed, txn);
			cdc_hlc_print(stamp, feed->txn_hlc);
			cdc_feed_end(feed, "schema change occurred at %s (table \"%s\")",
						 stamp, t->name);
			feed->last_resolved = feed->options->resolved && feed->durable.scan_done;
			break;

		case CDC_SCHEMA_BACKFILL:
			items = items_to_scan(feed, t->relid, before, after, (what & columns) != 0);
			if (items == NIL || !stream_touch(feed, txn))
				break;
			(void) cdc_scan_start(feed, txn->final_lsn, txn->end_lsn, items,
								  "schema change backfill");
			break;
	}
}

static void
check_target(CdcFeed *feed, int target, bool leaves, List **shapes,
			 ReorderBufferTXN *txn)
{
	const CdcTarget *t = &feed->def->targets[target];
	const CdcShape *before;
	const CdcShape *after;

	if (t->gone || (!leaves && !cdc_table_changed(t->relid)))
		return;
	before = cdc_feed_shape(feed, target);
	if (!may_have_changed(t->relid, before))
		return;
	after = read_shape(shapes, t->relid);
	if (after == NULL)
	{
		const char *name = strrchr(t->name, '.');

		if (end_behind(feed, txn))
			cdc_feed_end(feed, "\"%s\" was dropped", name ? name + 1 : t->name);
		return;
	}
	if (after->persistence != RELPERSISTENCE_PERMANENT)
	{
		if (end_behind(feed, txn))
			cdc_feed_end(feed, "table \"%s\" is no longer logged", t->name);
		return;
	}
	(void) cdc_feed_topic(feed, target,
						  cdc_shape_columns(cdc_shape_listed(after, t->columns)));
	if (before != NULL)
		act(feed, target, before, after, txn);
	cdc_feed_set_shape(feed, target, txn->end_lsn, after);
}

/* Is one of the changed relations a partition?  One that went changes its root. */
static bool
partitions_may_have_changed(void)
{
	List	   *relids = cdc_tables_changed();
	ListCell   *lc;

	foreach(lc, relids)
	{
		if (get_rel_relispartition(lfirst_oid(lc)))
			return true;
	}
	return relids == NIL;		/* any relation may have changed */
}

/*
 * A feed whose position may be before its definition's (one with a cursor,
 * or a table that was added while it was behind) does not know what the
 * table looked like there.  The snapshot of a transaction's begin tells: it
 * may be older than the feed's position, never younger, so that a change may
 * be seen that was none, but none is missed.
 */
void
schema_learn(ReorderBufferTXN *txn)
{
	List	   *shapes = NIL;
	dlist_iter	iter;

	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (!cdc_feed_takes(feed, txn))
			continue;
		for (int i = 0; i < feed->def->ntargets; i++)
		{
			const CdcTarget *t = &feed->def->targets[i];
			const CdcShape *shape;

			if (t->shape[0] != '\0' || t->gone || cdc_feed_shape(feed, i) != NULL)
				continue;
			shape = read_shape(&shapes, t->relid);
			if (shape != NULL)
				cdc_feed_set_shape(feed, i, Max(feed->queued_lsn, txn->final_lsn), shape);
		}
	}
}

/*
 * A feed starts at this commit.  What its transaction did to the tables after
 * the feed was created is no change that comes later.
 */
void
schema_begin(CdcFeed *feed, XLogRecPtr lsn)
{
	rules_begin(feed, lsn);
	for (int i = 0; i < feed->nnamed; i++)
	{
		const CdcTarget *t = &feed->def->targets[i];
		CdcShape   *shape;

		if (t->gone || !cdc_table_changed(t->relid) || cdc_feed_shape(feed, i) == NULL)
			continue;
		shape = cdc_shape_read(t->relid);
		if (shape == NULL)
			continue;			/* dropped already: told by the visit */
		cdc_feed_resume_topic(feed, i, cdc_shape_columns(cdc_shape_listed(shape, t->columns)),
							  feed->current[i]->schema_version);
		cdc_feed_set_shape(feed, i, lsn, shape);
	}
}

void
schema_check_commit(ReorderBufferTXN *txn)
{
	bool		leaves;
	List	   *shapes = NIL;
	dlist_iter	iter;

	if (!cdc_tables_any_changed())
		return;
	leaves = partitions_may_have_changed();
	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (!cdc_feed_takes(feed, txn) || feed->next_def != NULL ||
			feed->options->initial_scan == CDC_SCAN_ONLY)
			continue;
		for (int i = 0; i < feed->def->ntargets; i++)
			check_target(feed, i, leaves, &shapes, txn);
	}
}
