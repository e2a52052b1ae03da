/*-------------------------------------------------------------------------
 * alter.c
 *		From one definition of a feed to the next.
 *
 * A further version (ALTER CHANGEFEED) takes effect at one point of the
 * stream: everything before it is sent by the former definition to the
 * former sink, everything behind it by the new one.  So the feed takes
 * nothing more at that point until its queue is empty, and then starts over
 * there as a feed does that was just created: its row is written anew, its
 * sink is opened anew, tables to be read are read as of that point.
 *
 * Why no change is lost: the row does not pass that point before it tells
 * the new version, and until then a restart decodes the ALTER again.
 *
 * Runs: lane worker, main thread; decoding callbacks and main loop.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "feed/feed.h"
#include "scan/scan.h"

bool
cdc_feed_redefine(CdcFeed *feed, const CdcDefinition *def)
{
	MemoryContext cxt = CurrentMemoryContext;
	volatile bool done = false;

	/* takes no locks and opens nothing: no subtransaction to be undone */
	PG_TRY();
	{
		cdc_feed_define(feed, def);
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *data;

		MemoryContextSwitchTo(cxt);
		data = CopyErrorData();
		FlushErrorState();
		cdc_feed_end(feed, "%s", data->message);
	}
	PG_END_TRY();
	return done;
}

void
cdc_feed_adopt(CdcFeed *feed, const CdcDefinition *def, XLogRecPtr lsn, CdcHlc hlc)
{
	bool		scans = cdc_definition_scans(def);

	feed->next_def = NULL;
	cdc_feed_disconnect(feed);
	cdc_scan_free(feed);
	if (!cdc_feed_redefine(feed, def))
	{
		/* the row stays before this point */
		feed->mode = CDC_FEED_ENDING;
		return;
	}
	feed->uri = NULL;
	feed->has_secrets = false;
	feed->place_text = NULL;
	feed->finished = false;
	feed->check_lsn = InvalidXLogRecPtr;

	/* as for a feed that was just created, see store_start() in visit.c */
	feed->durable.resume_lsn = InvalidXLogRecPtr;
	feed->durable.scan_done = !scans;
	feed->start_lsn = lsn;
	feed->start_hlc = hlc;
	cdc_feed_set_position(feed, lsn, hlc);
	if (scans)
		cdc_scan_begin(feed, hlc);
}

bool
cdc_feed_alter(CdcFeed *feed, const CdcDefinition *def, XLogRecPtr lsn, int64 wall)
{
	MemoryContext old;

	if (def->version <= feed->def->version)
		return false;			/* a replay: in force already */

	if (feed->next_def != NULL && feed->next_lsn == lsn)
	{
		/* two in one transaction: the later one has it all */
		if (def->version > feed->next_def->version)
		{
			old = MemoryContextSwitchTo(feed->cxt);
			feed->next_def = cdc_definition_copy(def);
			MemoryContextSwitchTo(old);
		}
		if (cdc_definition_scans(def) &&
			cdc_hlc_cmp(feed->next_hlc, feed->queued_hlc) == 0)
			feed->next_hlc = cdc_hlc_next(feed->queued_hlc, wall);
		return false;
	}
	if (feed->next_def != NULL)
		return false;			/* comes again, behind that one */
	if (feed->mode == CDC_FEED_ACTIVE)
	{
		if (lsn < feed->queued_lsn)
			return false;		/* decoded for others */
	}
	else if (feed->mode != CDC_FEED_ENDING || lsn != feed->queued_lsn)
		return false;			/* comes again, should the feed go on */

	old = MemoryContextSwitchTo(feed->cxt);
	feed->next_def = cdc_definition_copy(def);
	MemoryContextSwitchTo(old);
	feed->next_lsn = lsn;
	feed->next_hlc = feed->queued_hlc;
	if (cdc_definition_scans(def))
		feed->next_hlc = cdc_hlc_next(feed->queued_hlc, wall);

	if (feed->mode == CDC_FEED_ENDING)
		return false;			/* where it ends, see stop_feed() */
	if (feed->scan != NULL && feed->durable.scan_done)
	{
		/*
		 * A backfill cannot end without what follows: until it is over the
		 * feed goes on, though only to record keys, and comes back to here
		 * then.
		 */
		return false;
	}
	if (feed->scan != NULL)
	{
		/*
		 * The new definition has the tables that are still to be read: all
		 * starts over, with it.
		 */
		XLogRecPtr	start = feed->durable.resume_lsn;
		CdcHlc		hlc = feed->durable.hlc;

		if (start == InvalidXLogRecPtr)
		{
			start = feed->start_lsn;
			hlc = feed->start_hlc;
		}
		cdc_feed_adopt(feed, feed->next_def, start, hlc);
		if (feed->mode == CDC_FEED_ACTIVE)
		{
			feed->mode = CDC_FEED_DETACHED;
			feed->wants_rewind = true;
		}
		return true;
	}
	if (dlist_is_empty(&feed->queue))
	{
		/* goes on with the next transaction */
		cdc_feed_adopt(feed, feed->next_def, feed->next_lsn, feed->next_hlc);
		return true;
	}
	cdc_feed_seal(feed);
	feed->mode = CDC_FEED_DETACHED;
	feed->detaches = 0;
	feed->wants_rewind = false;
	return false;
}

bool
cdc_feed_adopt_next(CdcFeed *feed)
{
	if (feed->next_def == NULL || cdc_scan_is_pending(feed, feed->next_lsn))
		return false;
	if (feed->mode == CDC_FEED_ACTIVE)
	{
		if (feed->acked_lsn < feed->next_lsn)
			return false;
		cdc_scan_await_recorded(feed);
		feed->mode = CDC_FEED_DETACHED;
	}
	else if (feed->mode != CDC_FEED_DETACHED || !dlist_is_empty(&feed->queue))
		return false;
	cdc_feed_adopt(feed, feed->next_def, feed->next_lsn, feed->next_hlc);
	if (feed->mode == CDC_FEED_DETACHED)
	{
		feed->rewind_at = 0;
		feed->wants_rewind = true;
	}
	return true;
}
