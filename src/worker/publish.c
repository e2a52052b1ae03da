/*-------------------------------------------------------------------------
 * publish.c
 *		What the status views see of a lane and its feeds.
 *
 * Runs: lane worker, main loop and waits; a few times a second at most.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "scan/scan.h"
#include "utils/timestamp.h"
#include "wal/decode.h"
#include "worker/lane.h"

#define PUBLISH_MS	50

static TimestampTz published_at = 0;

/* Is there trouble at this moment, and in which words? */
static const char *
current_trouble(const CdcFeed *feed)
{
	if (feed->sink != NULL && feed->sink->poison_batch != NULL)
		return feed->sink->poison_error;
	if (feed->sink != NULL && feed->sink->error[0] != '\0')
		return feed->sink->error;
	if (feed->sink == NULL && feed->sink_failures > 0)
		return feed->last_error;
	return NULL;
}

static void
describe(const CdcFeed *feed, char *dst, size_t size)
{
	const char *trouble = current_trouble(feed);
	const char *scan = cdc_scan_status(feed);
	CdcHlc		r = feed->durable.high_water;

	if (feed->mode == CDC_FEED_STOPPED)
		dst[0] = '\0';
	else if (trouble != NULL)
		snprintf(dst, size, "transient error: %s", trouble);
	else if (feed->mode == CDC_FEED_ENDING)
		snprintf(dst, size, "ending: %s",
				 feed->over ? "everything up to end_time is being sent" : feed->end_error);
	else if (feed->awaits_former)
		strlcpy(dst, "waiting for the former connection to the sink to end", size);
	else if (scan != NULL)
		strlcpy(dst, scan, size);
	else if (feed->mode == CDC_FEED_WAITING)
		strlcpy(dst, "waiting for its creation to be decoded", size);
	else if (feed->passing)
		strlcpy(dst, "on the way to its cursor", size);
	else if (feed->next_def != NULL)
		strlcpy(dst, "sending what came before ALTER CHANGEFEED", size);
	else if (feed->mode == CDC_FEED_DETACHED)
		strlcpy(dst, "catching up: its queue was full", size);
	else
		snprintf(dst, size, "running: resolved=" INT64_FORMAT ".%09d,%u",
				 r.wall / 1000000000, (int) (r.wall % 1000000000), r.logical);
}

void
lane_publish(TimestampTz now)
{
	dlist_iter	iter;

	if (!TimestampDifferenceExceeds(published_at, now, PUBLISH_MS))
		return;
	published_at = now;

	/* asking may reap a library's threads: not under a lock that commits take */
	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		feed->awaits_former = feed->sink == NULL && !feed->held &&
			!cdc_sink_gone(feed->job_id);
	}

	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	if (cdc_decoder_is_open())
	{
		lane.shared->decoded_lsn = cdc_decoder_position();
		lane.shared->confirmed_lsn = cdc_decoder_confirmed();
	}
	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);
		CdcFeedShared *s = cdc_shmem_feed(feed->job_id, MyDatabaseId, true);
		const char *trouble;
		CdcHlc		limit_hlc;

		if (s == NULL)
			continue;			/* cdc_sink.max_feeds: no counters */
		s->messages = feed->sink_messages;
		s->bytes = feed->sink_bytes;
		s->retries = feed->sink_retries;
		if (feed->sink != NULL)
		{
			s->messages += feed->sink->sent_messages;
			s->bytes += feed->sink->sent_bytes;
			s->retries += feed->sink->retries;
		}
		s->resolved_messages = feed->resolved_count;
		s->dead_letters = feed->dead_letters;
		s->scanned_rows = feed->scanned_rows;
		s->queued_bytes = (int64) cdc_feed_bytes(feed);

		/*
		 * With the initial scan under way nothing is complete, not even the
		 * state as of the feed's start; with another, what lies behind its
		 * commit is not.
		 */
		if (feed->scan == NULL || feed->durable.scan_done)
		{
			s->acked_lsn = cdc_feed_durable_limit(feed, &limit_hlc);
			if (feed->next_def != NULL)
				s->acked_lsn = Min(s->acked_lsn, feed->next_lsn);
		}
		else
			s->acked_lsn = feed->durable.resume_lsn == InvalidXLogRecPtr ?
				InvalidXLogRecPtr : feed->durable.resume_lsn - 1;
		s->acked_hlc = feed->acked_hlc;
		s->acked_time = feed->acked_time;
		s->last_message = feed->last_message;
		s->last_error_time = feed->last_error_time;
		strlcpy(s->last_error, feed->last_error, sizeof(s->last_error));
		trouble = current_trouble(feed);
		s->in_trouble = trouble != NULL;
		s->stopped = feed->mode == CDC_FEED_STOPPED || feed->held;
		s->scanning = !cdc_scan_is_done(feed);
		describe(feed, s->running_status, sizeof(s->running_status));
	}
	LWLockRelease(cdc_shared->lock);
}
