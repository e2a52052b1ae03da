/*-------------------------------------------------------------------------
 * subscribe.c
 *		Which feeds a table has, and how each wants its rows: what table/ asks
 *		of the lane when it makes its entry of a relation.
 *
 * Runs: decoding callbacks of the lane, under a historic snapshot.  Must not
 * read tables, nor keep what it is given beyond the call.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "table/relcache.h"
#include "worker/lane.h"

static int
hook_subscribe(Oid relid, List *ancestors, CdcSubscriber **subs)
{
	int			n = 0;
	int			max = 8;
	dlist_iter	iter;

	*subs = NULL;
	if (relid < FirstNormalObjectId)
		return 0;				/* whatever a definition says */

	*subs = palloc0(sizeof(CdcSubscriber) * max);
	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);
		int			target;

		/* an export of one moment follows no changes */
		if (feed->mode == CDC_FEED_STOPPED ||
			feed->options->initial_scan == CDC_SCAN_ONLY)
			continue;
		target = cdc_feed_find_target(feed, relid, ancestors);
		if (target < 0 && unlikely(feed->rules != NULL) &&
			cdc_feed_takes(feed, stream_txn()))
			target = rules_join_new(feed, relid, stream_txn());
		if (target < 0)
			continue;
		if (n == max)
		{
			*subs = repalloc(*subs, sizeof(CdcSubscriber) * max * 2);
			memset(*subs + max, 0, sizeof(CdcSubscriber) * max);
			max *= 2;
		}
		(*subs)[n].feed = feed;
		(*subs)[n].target = target;
		n++;
	}
	return n;
}

static CdcTopic *
hook_topic(CdcSubscriber *sub, const char *columns)
{
	/* a replay shows old columns to feeds that are further on */
	return cdc_feed_topic(sub->feed, sub->target,
						  cdc_feed_takes(sub->feed, stream_txn()) ? columns : NULL);
}

static const CdcEncodeOptions *
hook_encode_options(CdcSubscriber *sub)
{
	return &sub->feed->encode;
}

/* Columns of the target that are sent. */
static const char *
hook_columns(CdcSubscriber *sub)
{
	return sub->feed->def->targets[sub->target].columns;
}

static Oid
hook_target_relid(CdcSubscriber *sub)
{
	return sub->feed->def->targets[sub->target].relid;
}

void
subscribe_init(void)
{
	static const CdcTableHooks hooks = {
		.subscribe = hook_subscribe,
		.topic = hook_topic,
		.encode_options = hook_encode_options,
		.target_relid = hook_target_relid,
		.columns = hook_columns,
	};

	cdc_tables_init(&hooks);
}
