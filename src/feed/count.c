/*-------------------------------------------------------------------------
 * count.c
 *		How many events a transaction has for a feed, for envelopes that tell;
 *		see feed.h.
 *
 * Counts follow from what is decoded and start anew with each transaction,
 * so that one that is decoded again has the same, whatever of it was sent
 * before.
 *
 * Runs: lane worker, decoding callbacks.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "feed/feed.h"
#include "utils/memutils.h"

uint64
cdc_feed_count(CdcFeed *feed, int target, const char *collection)
{
	int			index = target + 1;
	CdcFeedCount *count;

	if (index >= feed->ncounts)
	{
		int			ncounts = Max(feed->def->ntargets + 1, index + 1);
		CdcFeedCount *counts = MemoryContextAllocZero(feed->cxt,
													  sizeof(CdcFeedCount) * ncounts);

		if (feed->ncounts > 0)
		{
			memcpy(counts, feed->counts, sizeof(CdcFeedCount) * feed->ncounts);
			pfree(feed->counts);
		}
		feed->counts = counts;
		feed->ncounts = ncounts;
	}
	count = &feed->counts[index];
	if (count->txn_number != feed->txn_number)
	{
		count->txn_number = feed->txn_number;
		count->events = 0;

		/* the first one, a renamed table, or another target than before */
		if (count->collection == NULL || strcmp(count->collection, collection) != 0)
		{
			char	   *former = count->collection;

			count->collection = MemoryContextStrdup(feed->cxt, collection);
			if (former != NULL)
				pfree(former);
		}
	}
	feed->txn_events++;
	return ++count->events;
}
