/*-------------------------------------------------------------------------
 * checkpoint.c
 *		The order of durability: what the sink has acknowledged goes to the
 *		checkpoint row, the row is flushed, the slot is confirmed, and only
 *		then is a resolved message sent.
 *
 * Why no change is lost: the slot is confirmed with the smallest resume_lsn
 * of all rows, each of which is a position up to which the sink has
 * acknowledged everything.  Why no row comes at or below a resolved R: the
 * row written before R holds a stamp at or above R, and every later row gets
 * a higher one, also when it is decoded again from that row.
 *
 * Runs: lane worker, main loop, between two transactions of the stream.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/guc.h"
#include "catalog/job.h"
#include "feed/members.h"
#include "feed/shapes.h"
#include "scan/scan.h"
#include "utils/timestamp.h"
#include "wal/decode.h"
#include "worker/marks.h"
#include "worker/lane.h"

/*
 * An idle feed's row follows the WAL of others in steps no smaller than
 * these, so that the row's own WAL does not call for the next one.
 */
#define IDLE_BYTES			(16 * 1024 * 1024)
#define IDLE_BYTES_SLOW		(1024 * 1024)
#define IDLE_SLOW_MS		30000

/* Idle feeds may write this much early, so that they do it together. */
#define IDLE_EARLY_US		200000

/*
 * A feed with an end_time that meets no later change ends so long after it:
 * what was committed at the last moment has reached the disk by then.
 */
#define END_GRACE_US		100000

/* What a feed ends with is pushed out so often. */
#define END_FLUSH_US		500000

/* What is to be written for one feed. */
typedef struct Due
{
	CdcFeed    *feed;
	CdcCheckpoint cp;
	bool		resolved;
	CdcHlc		r;
	bool		lifted;			/* r is above all that was decoded */
	bool		last;			/* at the feed's end_time */
} Due;

/* A feed without anything outstanding is where the decoder is. */
static void
follow_decoder(CdcFeed *feed)
{
	XLogRecPtr	pos = cdc_decoder_position();

	/* a rewind for others leaves "queued" at the decoder, "acked" behind */
	if (feed->mode == CDC_FEED_ACTIVE && dlist_is_empty(&feed->queue) &&
		pos >= feed->queued_lsn && pos > feed->acked_lsn)
	{
		feed->queued_lsn = feed->acked_lsn = pos;
		feed->acked_hlc = feed->queued_hlc;
	}
}

/*
 * Asks the sink to push out what it has, so that the acks for this point of
 * the stream come soon.
 */
static void
flush_if_due(CdcFeed *feed, TimestampTz now)
{
	int64		least = feed->options->min_checkpoint_us;

	if (feed->sink == NULL || dlist_is_empty(&feed->queue))
		return;

	/* who waits for the end need not wait for the interval as well */
	if (feed->mode == CDC_FEED_ENDING ||
		dlist_tail_element(CdcBatch, node, &feed->queue)->scan_end)
		least = Min(least, END_FLUSH_US);
	if (now - feed->flush_at < least)
		return;
	cdc_feed_seal(feed);
	cdc_feed_pump(feed);
	cdc_feed_flush(feed);
	feed->barrier_lsn = feed->queued_lsn;
	feed->barrier_hlc = feed->queued_hlc;
	feed->flush_at = now;
}

/* Which resolved may be sent now, if any. */
static bool
resolved_due(CdcFeed *feed, TimestampTz now, bool caught_up, CdcHlc *r)
{
	CdcHlc		wall = {cdc_hlc_wall(now), 0};
	XLogRecPtr	hold;
	CdcHlc		hold_hlc;
	int64		least;

	if (!feed->options->resolved || feed->resolved_pending || feed->sink == NULL)
		return false;

	if (feed->scan != NULL && cdc_scan_hold(feed, &hold, &hold_hlc))
	{
		/* rows of the scan are still to come, above this stamp */
		if (feed->acked_lsn < feed->barrier_lsn ||
			cdc_hlc_cmp(feed->barrier_hlc, hold_hlc) > 0)
			return false;
		*r = feed->barrier_hlc;
	}
	else if (feed->mode == CDC_FEED_ACTIVE && dlist_is_empty(&feed->queue) &&
		caught_up && feed->partial_lsn == InvalidXLogRecPtr &&
		cdc_decoder_position() >= feed->lift_lsn &&
		cdc_decoder_position() >= feed->queued_lsn)
		*r = cdc_hlc_max(wall, feed->queued_hlc);
	else if (feed->acked_lsn >= feed->barrier_lsn)
		*r = feed->barrier_hlc;
	else
		return false;
	if (feed->options->end_time.wall != 0 &&
		cdc_hlc_cmp(*r, feed->options->end_time) > 0)
		return false;			/* the last one is sent at its end */

	least = feed->options->resolved_us;
	if (!feed->had_rows)
	{
		CdcHlc		even;

		/*
		 * Idle feeds keep step with each other, so that one transaction
		 * serves them all: their stamps are whole multiples of the interval.
		 */
		least = Max(least, (int64) cdc_idle_resolved_interval * 1000);
		even.wall = r->wall - r->wall % (least * 1000);
		even.logical = 0;
		if (cdc_hlc_cmp(even, feed->queued_hlc) >= 0)
			*r = even;
	}
	if (cdc_hlc_cmp(*r, feed->resolved_last) <= 0 ||
		cdc_hlc_cmp(*r, cdc_scan_resolved_least(feed)) < 0)
		return false;
	return r->wall - feed->resolved_last.wall >= least * 1000;
}

/* Nothing came behind the feed's end_time so far, but the clock has passed it. */
static void
end_if_time_is_up(CdcFeed *feed, TimestampTz now, bool caught_up)
{
	if (feed->options->end_time.wall == 0 || !caught_up ||
		feed->mode != CDC_FEED_ACTIVE || feed->scan != NULL ||
		feed->durable.resume_lsn == InvalidXLogRecPtr ||
		feed->partial_lsn != InvalidXLogRecPtr ||
		cdc_decoder_position() < feed->lift_lsn ||
		cdc_decoder_position() < feed->queued_lsn ||
		cdc_hlc_wall(now - END_GRACE_US) < feed->options->end_time.wall)
		return;
	cdc_feed_reach_end(feed);
}

/*
 * The last row of a feed that has come to its end_time, before its last
 * resolved.  No row of a later stamp was taken, so the end itself is its
 * position's stamp.
 */
static bool
plan_end(CdcFeed *feed, Due *due)
{
	if (!feed->over || feed->over_stored ||
		(feed->options->resolved && feed->sink == NULL))
		return false;
	memset(due, 0, sizeof(Due));
	due->feed = feed;
	due->cp = feed->durable;
	due->cp.version = feed->def->version;
	due->cp.resume_lsn = feed->acked_lsn;
	due->cp.hlc = cdc_hlc_max(feed->acked_hlc, feed->options->end_time);
	due->cp.high_water = cdc_hlc_max(due->cp.hlc, feed->durable.high_water);
	due->resolved = feed->options->resolved;
	due->r = feed->options->end_time;
	due->last = true;
	feed->queued_hlc = feed->acked_hlc = due->cp.hlc;
	return true;
}

/*
 * A feed that stops behind a schema change tells that all before is there.
 * What it promised is durable before that resolved, as with any other; its
 * position is not, since it goes with its last state: a worker that dies in
 * between comes to the same end again, with the same stamps.
 */
static bool
plan_last_resolved(CdcFeed *feed, Due *due)
{
	if (feed->resolved_pending || feed->last_taken || feed->sink == NULL)
		return false;
	memset(due, 0, sizeof(Due));
	due->feed = feed;
	due->cp = feed->durable;
	due->r = feed->acked_hlc;
	due->cp.high_water = cdc_hlc_max(due->r, feed->durable.high_water);
	due->resolved = true;
	return true;
}

/* Decides what to write for a feed; false: nothing. */
static bool
plan_checkpoint(CdcFeed *feed, TimestampTz now, bool caught_up, Due *due)
{
	XLogRecPtr	ahead;
	XLogRecPtr	limit;
	CdcHlc		limit_hlc;
	bool		now_at_once;
	bool		write;
	int64		least;

	if (feed->durable.resume_lsn == InvalidXLogRecPtr ||
		feed->mode == CDC_FEED_WAITING || feed->mode == CDC_FEED_STOPPED)
		return false;
	if (feed->mode == CDC_FEED_ENDING && dlist_is_empty(&feed->queue))
		return feed->last_resolved ? plan_last_resolved(feed, due) :
			plan_end(feed, due);	/* else its position goes with its last state */
	if (!feed->durable.scan_done && !cdc_scan_is_done(feed))
		return false;			/* the durable position stays at C */
	limit = cdc_feed_durable_limit(feed, &limit_hlc);
	if (feed->next_def != NULL && limit >= feed->next_lsn)
		return false;			/* goes there by its new definition */

	/* a scan is over, or waits for this row */
	now_at_once = !feed->durable.scan_done ||
		(feed->scan != NULL &&
		 (cdc_scan_is_done(feed) ||
		  (limit < feed->acked_lsn && limit > feed->durable.resume_lsn)));
	least = feed->options->min_checkpoint_us;
	if (!feed->dirty)
		least -= Min(least / 4, IDLE_EARLY_US); /* its resolved is on time */
	if (!now_at_once && now - feed->checkpoint_at < least)
		return false;

	memset(due, 0, sizeof(Due));
	due->feed = feed;
	due->resolved = resolved_due(feed, now, caught_up, &due->r);
	ahead = limit - feed->durable.resume_lsn;
	write = now_at_once || due->resolved ||
		(feed->dirty && ahead > 0) ||
		ahead > IDLE_BYTES ||
		(ahead > IDLE_BYTES_SLOW &&
		 TimestampDifferenceExceeds(feed->checkpoint_at, now, IDLE_SLOW_MS));
	if (!write)
		return false;

	due->cp = feed->durable;
	due->cp.version = feed->def->version;
	due->cp.resume_lsn = limit;
	due->cp.scan_done = true;
	due->cp.hlc = limit_hlc;
	if (due->resolved && cdc_hlc_cmp(due->r, feed->acked_hlc) > 0)
	{
		/*
		 * Lifted to the wall clock: later rows are above it.  If writing the
		 * row fails, this process ends and the lift with it.
		 */
		feed->queued_hlc = feed->acked_hlc = due->cp.hlc = due->r;
		due->lifted = true;
		feed->ops->flush(feed->sink, due->r);
		feed->barrier_lsn = feed->queued_lsn;
		feed->barrier_hlc = due->r;
	}
	due->cp.high_water = cdc_hlc_max(due->resolved ? due->r : due->cp.hlc,
									 feed->durable.high_water);
	return true;
}

/* Confirms what all rows together allow. */
void
checkpoint_confirm(void)
{
	XLogRecPtr	least = cdc_decoder_position();
	dlist_iter	iter;

	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (feed->durable.resume_lsn != InvalidXLogRecPtr)
			least = Min(least, feed->durable.resume_lsn);
		else if (feed->mode != CDC_FEED_WAITING || feed->awaits_cursor)
			return;				/* started, and not yet in its row */
	}
	cdc_decoder_confirm(history_limit(least, GetCurrentTimestamp()));
}

void
checkpoint_if_due(TimestampTz now, bool caught_up)
{
	Due		   *dues = NULL;
	int			n = 0;
	int			max = 0;
	bool		lifted = false;
	dlist_iter	iter;

	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (feed->mode == CDC_FEED_ACTIVE || feed->mode == CDC_FEED_ENDING ||
			feed->mode == CDC_FEED_DETACHED)
			flush_if_due(feed, now);
		follow_decoder(feed);
		end_if_time_is_up(feed, now, caught_up);
		if (n == max)
		{
			max = Max(max * 2, 16);
			dues = dues ? repalloc(dues, sizeof(Due) * max) : palloc(sizeof(Due) * max);
		}
		if (plan_checkpoint(feed, now, caught_up, &dues[n]))
			n++;
	}
	if (n == 0)
		return;

	catalog_enter();
	for (int i = 0; i < n; i++)
	{
		cdc_checkpoint_write(&dues[i].cp);
		cdc_feed_store_shapes(dues[i].feed, dues[i].cp.resume_lsn);
		cdc_feed_store_members(dues[i].feed, dues[i].cp.resume_lsn);
		lifted |= dues[i].lifted;
		history_note(dues[i].cp.hlc);
	}
	history_take(now, lifted);
	catalog_leave();			/* committed and flushed */

	for (int i = 0; i < n; i++)
	{
		CdcFeed    *feed = dues[i].feed;

		feed->durable = dues[i].cp;
		cdc_feed_shapes_stored(feed, feed->durable.resume_lsn);
		cdc_feed_members_stored(feed, feed->durable.resume_lsn);
		feed->checkpoint_at = now;
		feed->dirty = false;
		feed->over_stored |= dues[i].last;
		if (feed->scan != NULL && cdc_scan_is_done(feed))
		{
			cdc_scan_forget_done(feed);
			feed->finished = feed->options->initial_scan == CDC_SCAN_ONLY;
			lane.want_visit |= feed->finished;
		}
	}
	checkpoint_confirm();
	for (int i = 0; i < n; i++)
	{
		CdcFeed    *feed = dues[i].feed;

		if (!dues[i].resolved)
			continue;
		feed->resolved_text.len = 0;
		cdc_encode_resolved(&feed->encode, &feed->resolved_text, dues[i].r);
		feed->resolved_hlc = dues[i].r;
		feed->resolved_last = dues[i].r;
		feed->resolved_pending = true;
		feed->had_rows = false;
		cdc_feed_pump(feed);
	}
}
