/*-------------------------------------------------------------------------
 * members.c
 *		Tables that joined or left a feed by rule; see members.h.
 *
 * Why none is missed: at a position of the feed those are its members that
 * the stored rows and the commits decoded since make so, and rows are
 * stored with the position they belong to.
 *
 * Runs: lane worker, main thread.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/member.h"
#include "feed/members.h"
#include "utils/memutils.h"

/* A table joined or left; in the order of the stream. */
typedef struct Member
{
	CdcStoredMember row;
	XLogRecPtr	since;			/* 0: from before the durable position */
	bool		stored;
} Member;

/* Room for one more target. */
static int
add_target(CdcFeed *feed, const CdcStoredMember *row)
{
	CdcDefinition *def = feed->def;
	int			n = def->ntargets;
	MemoryContext old = MemoryContextSwitchTo(feed->cxt);
	CdcTarget  *target;

	def->targets = repalloc(def->targets, sizeof(CdcTarget) * (n + 1));
	feed->current = repalloc(feed->current, sizeof(CdcTopic *) * (n + 1));
	feed->columns = repalloc(feed->columns, sizeof(char *) * (n + 1));
	feed->current[n] = NULL;
	feed->columns[n] = NULL;
	target = &def->targets[n];
	memset(target, 0, sizeof(CdcTarget));
	target->relid = row->relid;
	target->name = pstrdup(row->name);
	target->topic = pstrdup(row->topic);
	target->columns = pstrdup(row->columns);
	target->shape = pstrdup("");
	target->ruled = true;

	/* a scan that starts over where the feed was created reads it, too */
	target->scan = feed->options->initial_scan != CDC_SCAN_NO;
	def->ntargets++;
	MemoryContextSwitchTo(old);
	(void) cdc_feed_topic(feed, n, NULL);
	return n;
}

static int
apply(CdcFeed *feed, const CdcStoredMember *row)
{
	int			i = cdc_definition_find(feed->def, row->relid);

	if (i < 0)
		i = add_target(feed, row);
	else if (strcmp(feed->def->targets[i].columns, row->columns) != 0)
		feed->def->targets[i].columns = MemoryContextStrdup(feed->cxt, row->columns);
	feed->def->targets[i].gone = !row->joined;
	return i;
}

void
cdc_feed_apply_members(CdcFeed *feed)
{
	ListCell   *lc;

	for (int i = 0; i < feed->def->ntargets; i++)
	{
		if (feed->def->targets[i].ruled)
			feed->def->targets[i].gone = i >= feed->nnamed;
	}
	foreach(lc, feed->members)
		(void) apply(feed, &((Member *) lfirst(lc))->row);
}

static Member *
add_member(CdcFeed *feed, const CdcStoredMember *row)
{
	MemoryContext old = MemoryContextSwitchTo(feed->cxt);
	Member	   *member = palloc0(sizeof(Member));

	member->row.relid = row->relid;
	member->row.joined = row->joined;
	member->row.name = pstrdup(row->name);
	member->row.topic = pstrdup(row->topic);
	member->row.columns = pstrdup(row->columns);
	feed->members = lappend(feed->members, member);
	MemoryContextSwitchTo(old);
	return member;
}

static void
free_member(Member *member)
{
	pfree(member->row.name);
	pfree(member->row.topic);
	pfree(member->row.columns);
	pfree(member);
}

int
cdc_feed_join(CdcFeed *feed, const CdcTarget *target, XLogRecPtr since)
{
	CdcStoredMember row;
	int			known = cdc_definition_find(feed->def, target->relid);

	row.relid = target->relid;
	row.joined = true;
	row.name = target->name;

	/* one that comes back has the topic that it had */
	row.topic = known >= 0 ? feed->def->targets[known].topic : target->topic;
	row.columns = target->columns;
	add_member(feed, &row)->since = since;
	feed->new_members = true;
	feed->dirty = true;			/* the views are to show it soon */
	return apply(feed, &row);
}

void
cdc_feed_leave(CdcFeed *feed, int i, XLogRecPtr since)
{
	const CdcTarget *target = &feed->def->targets[i];
	CdcStoredMember row;

	row.relid = target->relid;
	row.joined = false;
	row.name = target->name;
	row.topic = target->topic;
	row.columns = target->columns;
	add_member(feed, &row)->since = since;
	feed->new_members = true;
	feed->dirty = true;
	(void) apply(feed, &row);
}

bool
cdc_feed_joined_at(const CdcFeed *feed, Oid relid, XLogRecPtr lsn)
{
	bool		joined = false;
	ListCell   *lc;

	foreach(lc, feed->members)
	{
		Member	   *member = lfirst(lc);

		if (member->row.relid == relid)
			joined = member->row.joined && member->since == lsn;
	}
	return joined;
}

void
cdc_feed_rewind_members(CdcFeed *feed, XLogRecPtr lsn)
{
	bool		any = false;
	ListCell   *lc;

	foreach(lc, feed->members)
	{
		Member	   *member = lfirst(lc);

		if (member->since <= lsn)
			continue;
		feed->members = foreach_delete_current(feed->members, lc);
		free_member(member);
		any = true;
	}
	if (any)
		cdc_feed_apply_members(feed);
}

void
cdc_feed_load_members(CdcFeed *feed)
{
	ListCell   *lc;

	if (feed->rules == NULL)
		return;
	foreach(lc, feed->members)
		free_member(lfirst(lc));
	list_free(feed->members);
	feed->members = NIL;
	feed->new_members = false;
	foreach(lc, cdc_members_load(feed->job_id))
		add_member(feed, lfirst(lc))->stored = true;
	cdc_feed_apply_members(feed);
}

void
cdc_feed_store_members(CdcFeed *feed, XLogRecPtr lsn)
{
	ListCell   *lc;

	if (!feed->new_members)
		return;

	/* in their order: the last of a table stays */
	foreach(lc, feed->members)
	{
		Member	   *member = lfirst(lc);

		if (!member->stored && member->since <= lsn)
			cdc_member_store(feed->job_id, &member->row);
	}
}

void
cdc_feed_members_stored(CdcFeed *feed, XLogRecPtr lsn)
{
	ListCell   *lc;

	if (!feed->new_members)
		return;
	feed->new_members = false;
	foreach(lc, feed->members)
	{
		Member	   *member = lfirst(lc);

		if (member->since <= lsn)
			member->stored = true;
		else
			feed->new_members = true;
	}

	/* what a later one has taken the place of */
	foreach(lc, feed->members)
	{
		Member	   *member = lfirst(lc);
		bool		replaced = false;
		ListCell   *other;

		for_each_cell(other, feed->members, lnext(feed->members, lc))
		{
			Member	   *later = lfirst(other);

			replaced |= later->row.relid == member->row.relid && later->stored;
		}
		if (!replaced)
			continue;
		feed->members = foreach_delete_current(feed->members, lc);
		free_member(member);
	}
}
