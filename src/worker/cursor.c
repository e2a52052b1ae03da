/*-------------------------------------------------------------------------
 * cursor.c
 *		Feeds that start in the past, at a cursor.
 *
 * Once the creation of such a feed has been decoded, its place is looked up
 * in the lane's history and the decoder goes back there.  Transactions up to
 * the cursor are passed over one by one; the feed starts with the first that
 * is not, or with its own creation.  Only then does it get its first row: a
 * crash before that finds the place anew.
 *
 * Why no change is lost: until that row is durable the slot is not confirmed
 * (before the creation was decoded, because of the hold of the backend or of
 * a feed that awaits its cursor; then because it has no row).  A transaction
 * is passed over only if its commit time, and every stamp that any feed can
 * have given it, is at or below the cursor: the clock of the history, plus
 * all commit times since then, is below it, and nobody has promised a higher
 * stamp in between.
 *
 * Runs: lane worker; catalog visits, and the begin callback of decoding.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/history.h"
#include "scan/scan.h"
#include "wal/decode.h"
#include "worker/cursor.h"
#include "worker/marks.h"
#include "worker/lane.h"

/* The feed starts here, behind what it has passed over. */
static void
start_here(CdcFeed *feed, CdcHlc stamp)
{
	feed->passing = false;
	feed->start_lsn = feed->queued_lsn;
	feed->start_hlc = stamp;
	feed->queued_hlc = feed->acked_hlc = feed->barrier_hlc = stamp;
	feed->barrier_lsn = feed->queued_lsn;
	history_note(stamp);
	if (!feed->durable.scan_done)
		cdc_scan_begin(feed, stamp);
	lane.want_visit = true;
	lane.visited_at = 0;		/* its row, at once */
}

static void
too_old(CdcFeed *feed)
{
	cdc_feed_end(feed, "cursor %s is older than the history of changes",
				 cdc_moment_print(&feed->options->cursor));
	feed->awaits_cursor = false;
	feed->end_fails = true;		/* nothing to resume */
	feed->mode = CDC_FEED_ENDING;
}

void
cursor_place(CdcFeed *feed)
{
	const CdcMoment *cursor = &feed->options->cursor;
	XLogRecPtr	floor = cdc_decoder_confirmed();
	HistoryPlace place;
	XLogRecPtr	exact = InvalidXLogRecPtr;

	if (cursor->lsn != InvalidXLogRecPtr)
	{
		if (!history_find_lsn(cursor->lsn, floor, &place))
		{
			too_old(feed);
			return;
		}
	}
	else
	{
		Oid		   *relids = palloc(sizeof(Oid) * Max(feed->def->ntargets, 1));

		for (int i = 0; i < feed->def->ntargets; i++)
			relids[i] = feed->def->targets[i].relid;
		exact = cdc_history_exact(cursor->hlc, floor, relids, feed->def->ntargets);
		if (exact != InvalidXLogRecPtr)
			place.lsn = exact;
		else if (!history_find(cursor->hlc, floor, feed->created_lsn, &place))
		{
			too_old(feed);
			return;
		}
	}

	feed->awaits_cursor = false;
	feed->mode = CDC_FEED_DETACHED;
	feed->wants_rewind = true;
	feed->rewind_at = 0;
	cdc_feed_set_position(feed, place.lsn, feed->queued_hlc);
	cdc_tables_reset_subscribers();
	if (exact != InvalidXLogRecPtr || place.exact_until == place.lsn)
	{
		start_here(feed, exact != InvalidXLogRecPtr ? cursor->hlc : place.clock);
		return;
	}
	feed->passing = lane.passing = true;
	feed->pass_clock = place.clock;
	feed->pass_limit = feed->created_lsn;
	if (place.exact_until != InvalidXLogRecPtr)
		feed->pass_limit = Min(feed->pass_limit, place.exact_until);
}

void
cursor_pass(CdcFeed *feed, const ReorderBufferTXN *txn)
{
	const CdcMoment *cursor = &feed->options->cursor;
	CdcHlc		commit = {cdc_hlc_wall(cdc_compat_commit_time(txn)), 0};
	bool		pass;

	if (!feed->passing || feed->mode != CDC_FEED_ACTIVE ||
		txn->end_lsn <= feed->queued_lsn)
		return;
	if (cursor->lsn != InvalidXLogRecPtr)
		pass = txn->end_lsn <= cursor->lsn;
	else
		pass = feed->pass_clock.wall < cursor->hlc.wall &&
			commit.wall <= cursor->hlc.wall;
	if (!pass || txn->end_lsn > feed->pass_limit)
	{
		cursor_stop_passing(feed);
		return;
	}
	feed->pass_clock = cdc_hlc_max(feed->pass_clock, commit);
	feed->queued_lsn = feed->acked_lsn = txn->end_lsn;
}

void
cursor_stop_passing(CdcFeed *feed)
{
	/* all that follows is above the cursor */
	start_here(feed, cdc_hlc_max(feed->pass_clock, feed->options->cursor.hlc));
}
