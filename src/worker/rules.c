/*-------------------------------------------------------------------------
 * rules.c
 *		Which tables a feed by rule watches, at each commit of the stream.
 *
 * A rule is looked at where its answer can change: at the creation of the
 * feed, and at the commit of a transaction that changed catalogs, for the
 * relations that it invalidated, under the snapshot of that commit.  So a
 * replay finds the same tables at the same places.
 *
 * A table that was made by the transaction joins with its first row, so that
 * all of its rows are in the stream.  One that was there before, or got rows
 * before a rule meant it, joins at the commit and is scanned there.  One that
 * the feed could not follow is left out, with a word in the log and the
 * views, until it can be; then it joins with its rows.  That is no end of the
 * feed: the stream shows things as they were, so that no resume could ever
 * get past it.
 *
 * Runs: decoding callbacks of the lane, under a historic snapshot; the
 * creation also in the main loop, in a catalog visit.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/columns.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/rule.h"
#include "catalog/shape.h"
#include "catalog/target.h"
#include "feed/members.h"
#include "feed/shapes.h"
#include "nodes/pg_list.h"
#include "scan/scan.h"
#include "table/relcache.h"
#include "utils/lsyscache.h"
#include "worker/lane.h"

/* Was the relation made by this transaction? */
static bool
made_here(Oid relid, ReorderBufferTXN *txn)
{
	TransactionId xid = cdc_shape_made_by(relid);
	dlist_iter	iter;

	if (xid == txn->xid)
		return true;
	dlist_foreach(iter, &txn->subtxns)
	{
		if (dlist_container(ReorderBufferTXN, node, iter.cur)->xid == xid)
			return true;
	}
	return false;
}

/* Rows of it that the stream has not shown, or that it had before. */
static bool
has_unseen_rows(const CdcFeed *feed, Oid relid, const CdcShape *shape,
				ReorderBufferTXN *txn)
{
	if (!made_here(relid, txn) || cdc_table_has_unseen(relid, feed))
		return true;
	for (int i = 0; i < shape->nleaves; i++)
	{
		if (!made_here(shape->leaves[i].relid, txn) ||
			cdc_table_has_unseen(shape->leaves[i].relid, feed))
			return true;
	}
	return false;
}

static bool
has_column(Oid relid, const char *columns, const char *name)
{
	AttrNumber	attnum = get_attnum(relid, name);

	return attnum > 0 && cdc_columns_contain(columns, attnum);
}

/* What the options ask of a table; NULL: it has it. */
static const char *
unfit_for_options(const CdcFeed *feed, Oid relid, const char *columns)
{
	const CdcEncodeOptions *encode = &feed->encode;

	if (encode->key_column != NULL && !has_column(relid, columns, encode->key_column))
		return "has no column for the option key_column";
	if (encode->headers_column != NULL && !has_column(relid, columns, encode->headers_column))
		return "has no column for the option headers_json_column_name";
	if (encode->diff && !cdc_rules_has_full_identity(relid))
		return "has no REPLICA IDENTITY FULL, which the option diff needs";
	return NULL;
}

/* Says once that a table is left out. */
static void
note_unfit(CdcFeed *feed, Oid relid, const char *why)
{
	char		text[CDC_ERROR_SIZE];
	MemoryContext old;

	if (list_member_oid(feed->unfit, relid))
		return;
	old = MemoryContextSwitchTo(feed->cxt);
	feed->unfit = lappend_oid(feed->unfit, relid);
	MemoryContextSwitchTo(old);
	snprintf(text, sizeof(text), "table \"%s.%s\" is left out: it %s",
			 get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid), why);
	cdc_feed_trouble(feed, text);
	ereport(LOG,
			(errmsg("changefeed " INT64_FORMAT ": %s", feed->job_id, text)));
}

static bool
overlap(Oid a, Oid b)
{
	return (get_rel_relispartition(a) && list_member_oid(get_partition_ancestors(a), b)) ||
		(get_rel_relispartition(b) && list_member_oid(get_partition_ancestors(b), a));
}

/* Can the feed follow a table that its rules mean?  Describes it if so. */
static bool
can_join(CdcFeed *feed, Oid relid, CdcTarget *target)
{
	const CdcUri *uri = feed->uri ? feed->uri : cdc_uri_parse(feed->def->sink);
	int			known = cdc_definition_find(feed->def, relid);
	const char *why = cdc_rules_unfit(feed->rules, relid, feed->def->owner);

	memset(target, 0, sizeof(CdcTarget));
	target->relid = relid;
	target->ruled = true;
	target->name = psprintf("%s.%s.%s", lane.dbname,
							get_namespace_name(get_rel_namespace(relid)),
							get_rel_name(relid));
	target->columns = cdc_rules_columns(feed->rules, relid);
	if (why == NULL)
		why = unfit_for_options(feed, relid, target->columns);
	target->topic = cdc_target_topic(relid, target->name,
									 cdc_uri_param(uri, "topic_prefix"),
									 cdc_uri_param(uri, "topic_name"), feed->options,
									 feed->ops->sanitises_topics);
	for (int i = 0; why == NULL && known < 0 && i < feed->def->ntargets; i++)
	{
		if (cdc_uri_param(uri, "topic_name") == NULL &&
			!feed->def->targets[i].gone &&
			get_rel_name(feed->def->targets[i].relid) != NULL &&
			strcmp(feed->def->targets[i].topic, target->topic) == 0)
			why = psprintf("would share the topic \"%s\" with table %s",
						   target->topic, feed->def->targets[i].name);
	}
	for (int i = 0; why == NULL && i < feed->def->ntargets; i++)
	{
		if (!feed->def->targets[i].gone && overlap(feed->def->targets[i].relid, relid))
			why = psprintf("holds rows that are those of table %s, too",
						   feed->def->targets[i].name);
	}
	if (why != NULL)
	{
		note_unfit(feed, relid, why);
		return false;
	}
	feed->unfit = list_delete_oid(feed->unfit, relid);
	return true;
}

static int
join(CdcFeed *feed, const CdcTarget *target, const CdcShape *shape, XLogRecPtr since)
{
	int			i = cdc_feed_join(feed, target, since);

	cdc_feed_set_shape(feed, i, since, shape);
	return i;
}

int
rules_join_new(CdcFeed *feed, Oid relid, ReorderBufferTXN *txn)
{
	Oid			match = cdc_rules_match(feed->rules, relid);
	int			known;
	CdcTarget	target;
	CdcShape   *shape;

	if (!OidIsValid(match) || !made_here(match, txn))
		return -1;
	known = cdc_definition_find(feed->def, match);
	if (known >= 0 && !feed->def->targets[known].gone)
		return known;
	shape = cdc_shape_read(match);
	if (shape == NULL || lane_wait_for_place(feed, txn) || !can_join(feed, match, &target))
		return -1;
	return join(feed, &target, shape, txn->end_lsn);
}

/* Looks at one relation after a commit; true: it has joined or left. */
static bool
check_relation(CdcFeed *feed, Oid relid, ReorderBufferTXN *txn, List **items)
{
	int			known = cdc_definition_find(feed->def, relid);
	bool		was = known >= 0 && !feed->def->targets[known].gone;
	bool		is = cdc_rules_match(feed->rules, relid) == relid;
	CdcTarget	target;
	CdcShape   *shape;

	if (known >= 0 && !feed->def->targets[known].ruled)
		return false;			/* it was named, whatever the rules say */
	if (was && !is)
	{
		cdc_feed_leave(feed, known, txn->end_lsn);
		return true;
	}
	if (was)
	{
		char	   *columns = cdc_rules_columns(feed->rules, relid);

		if (strcmp(columns, feed->def->targets[known].columns) != 0)
		{
			/* its publication tells other columns from now on */
			target = feed->def->targets[known];
			target.columns = columns;
			(void) cdc_feed_join(feed, &target, txn->end_lsn);
			return true;
		}

		/* it joined with a row of this transaction: are there others? */
		if (!cdc_feed_joined_at(feed, relid, txn->end_lsn))
			return false;
	}
	if (!is)
		return false;
	shape = cdc_shape_read(relid);
	if (shape == NULL || (!was && !can_join(feed, relid, &target)))
		return false;
	if (!was)
		(void) join(feed, &target, shape, txn->end_lsn);
	if (has_unseen_rows(feed, relid, shape, txn))
	{
		CdcScanItem *item = palloc0(sizeof(CdcScanItem));

		item->target = item->relid = relid;
		*items = lappend(*items, item);
	}
	return !was;
}

/* OIDs to look at: all that may have changed, or everything there is. */
static List *
relations_to_check(CdcFeed *feed)
{
	List	   *relids = cdc_tables_changed();
	bool		all = relids == NIL;
	ListCell   *lc;

	/* what a partitioned table covers or not shows in its partitions */
	foreach(lc, relids)
		all |= get_rel_relkind(lfirst_oid(lc)) == RELKIND_PARTITIONED_TABLE ||
			get_rel_relispartition(lfirst_oid(lc));
	if (!all)
		return relids;

	relids = list_concat_unique_oid(relids, cdc_rules_expand(feed->rules));
	for (int i = 0; i < feed->def->ntargets; i++)
		relids = list_append_unique_oid(relids, feed->def->targets[i].relid);
	return relids;
}

bool
rules_check_commit(ReorderBufferTXN *txn)
{
	bool		any = false;
	dlist_iter	iter;

	if (!cdc_tables_any_changed())
		return false;
	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);
		List	   *items = NIL;
		ListCell   *lc;

		if (feed->rules == NULL || !cdc_feed_takes(feed, txn) ||
			feed->next_def != NULL ||
			feed->options->initial_scan == CDC_SCAN_ONLY ||
			lane_wait_for_place(feed, txn))
			continue;
		foreach(lc, relations_to_check(feed))
			any |= check_relation(feed, lfirst_oid(lc), txn, &items);
		if (items != NIL && stream_touch(feed, txn))
			(void) cdc_scan_start(feed, txn->final_lsn, txn->end_lsn, items,
								  "scan of tables that joined");
	}
	return any;
}

void
rules_begin(CdcFeed *feed, XLogRecPtr lsn)
{
	List	   *relids;
	ListCell   *lc;

	if (feed->rules == NULL)
		return;
	relids = cdc_rules_expand(feed->rules);
	for (int i = 0; i < feed->def->ntargets; i++)
	{
		if (feed->def->targets[i].ruled &&
			!list_member_oid(relids, feed->def->targets[i].relid))
			cdc_feed_leave(feed, i, lsn);
	}
	foreach(lc, relids)
	{
		CdcTarget	target;
		CdcShape   *shape;

		/* made between the statement and its commit */
		if (cdc_definition_find(feed->def, lfirst_oid(lc)) >= 0)
			continue;
		shape = cdc_shape_read(lfirst_oid(lc));
		if (shape == NULL || !can_join(feed, lfirst_oid(lc), &target))
			continue;
		(void) join(feed, &target, shape, lsn);
	}
	feed->durable.scan_done = !cdc_definition_scans(feed->def);
}
