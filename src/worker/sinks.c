/*-------------------------------------------------------------------------
 * sinks.c
 *		The sinks of a lane's feeds: opened when their time has come, served,
 *		replaced when they are broken.
 *
 * What a sink that goes has not acknowledged is decoded again.
 *
 * Runs: lane worker, main loop; never in a transaction but where a dead
 * letter is stored.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/epoll.h>

#include "access/xlog.h"
#include "base/err.h"
#include "base/leave.h"
#include "catalog/job.h"
#include "common/hashfn.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "scan/scan.h"
#include "utils/timestamp.h"
#include "worker/lane.h"

#define SINK_BACKOFF_MAX_MS 30000

/* Settings that this version refuses are trouble of one feed, not of all. */
static CdcSink *
try_open(CdcFeed *feed, const CdcSinkConfig *config)
{
	MemoryContext cxt = CurrentMemoryContext;
	CdcSink    *volatile sink = NULL;

	PG_TRY();
	{
		sink = feed->ops->open(config);
		if (sink == NULL)
			cdc_feed_trouble(feed, "could not open the sink: out of memory");
	}
	PG_CATCH();
	{
		cdc_feed_trouble(feed, cdc_error_take(cxt)->message);
	}
	PG_END_TRY();
	return sink;
}

/* The same for a job in all its runs, and for no other job anywhere. */
static uint64
writer_id(const CdcFeed *feed)
{
	struct
	{
		uint64		cluster;
		int64		job_id;
		uint64		database;
	}			key = {GetSystemIdentifier(), feed->job_id, MyDatabaseId};

	return hash_bytes_extended((const unsigned char *) &key, sizeof(key), 0);
}

/* The sink of a feed, if it can be had by now. */
static void
open_sink_if_due(CdcFeed *feed, TimestampTz now)
{
	CdcSinkConfig config;
	struct epoll_event event;

	if (feed->sink != NULL || feed->held || feed->uri == NULL || now < feed->sink_open_at ||
		feed->durable.resume_lsn == InvalidXLogRecPtr ||
		feed->mode == CDC_FEED_WAITING || feed->mode == CDC_FEED_STOPPED ||
		(feed->mode == CDC_FEED_ENDING && dlist_is_empty(&feed->queue) &&
		 !feed->over && !feed->last_resolved) ||
		!cdc_sink_gone(feed->job_id))
		return;

	memset(&config, 0, sizeof(config));
	config.job_id = feed->job_id;
	config.writer = writer_id(feed);
	config.uri = feed->uri;
	config.options = feed->options;
	config.topics = feed->topics;
	config.ntopics = feed->ntopics;
	config.floor = feed->acked_hlc;
	config.floor.logical++;		/* a RESOLVED of acked_hlc may be there */
	if (feed->scan != NULL &&
		cdc_hlc_cmp(cdc_scan_floor(feed), config.floor) < 0)
		config.floor = cdc_scan_floor(feed);
	cdc_threads_started();
	feed->sink = try_open(feed, &config);
	if (feed->sink == NULL)
	{
		feed->sink_failures++;
		feed->sink_open_at = TimestampTzPlusMilliseconds(now, 1000);
		return;
	}
	if (feed->sink->event_fd >= 0)
	{
		event.events = EPOLLIN;
		event.data.fd = feed->sink->event_fd;
		if (epoll_ctl(cdc_feed_epoll_fd, EPOLL_CTL_ADD, feed->sink->event_fd, &event) < 0)
			elog(ERROR, "could not watch a sink: %m");
	}
}

bool
lane_is_at_end(CdcFeed *feed)
{
	return feed->mode == CDC_FEED_ENDING && dlist_is_empty(&feed->queue) &&
		!feed->over;
}

/* Closes the sink; what it has not acknowledged is decoded again. */
static void
close_for_replay(CdcFeed *feed, TimestampTz open_at)
{
	bool		at_end = lane_is_at_end(feed);

	cdc_feed_disconnect(feed);
	feed->sink_open_at = open_at;
	if (at_end)
		return;					/* but for its last resolved */
	if (feed->mode == CDC_FEED_ENDING)
	{
		feed->end_error[0] = '\0';	/* its end is decoded again */
		feed->event_lsn = InvalidXLogRecPtr;
		feed->last_resolved = false;
		feed->end_pauses = feed->end_fails = false;
		feed->over = feed->over_stored = false;
	}
	feed->mode = CDC_FEED_DETACHED;
	feed->rewind_at = feed->sink_open_at;
}

void
lane_reopen_sink(CdcFeed *feed)
{
	if (feed->sink == NULL)
		return;
	cdc_feed_pump(feed);		/* acks that are here already */
	if (lane_is_at_end(feed))
		return;					/* has come to its end without it */
	close_for_replay(feed, 0);
}

/* A sink that cannot go on is replaced; the feed is decoded again. */
static void
replace_sink(CdcFeed *feed, TimestampTz now)
{
	int			delay = Min(500 << Min(feed->sink_failures, 6), SINK_BACKOFF_MAX_MS);

	cdc_feed_trouble(feed, feed->sink->error);
	feed->sink_failures++;
	close_for_replay(feed, TimestampTzPlusMilliseconds(now, delay));
}

/* A message that the sink can never take. */
static void
handle_poison(CdcFeed *feed, TimestampTz now)
{
	CdcSink    *sink = feed->sink;
	CdcBatch   *batch = sink->poison_batch;
	CdcMessage *msg = &batch->msgs[sink->poison_index];

	switch (feed->options->on_bad_message)
	{
		case CDC_BAD_MESSAGE_FAIL:
			/* what stands before it is sent first, if the sink still can */
			if (!sink->broken &&
				(batch != dlist_head_element(CdcBatch, node, &feed->queue) ||
				 batch->nacked < sink->poison_index))
			{
				cdc_feed_flush(feed);
				break;
			}
			cdc_feed_end(feed, "message for topic \"%s\" was refused: %s",
						 msg->topic->name, sink->poison_error);
			cdc_feed_disconnect(feed);
			feed->mode = CDC_FEED_ENDING;
			lane.want_visit = true;
			break;

		case CDC_BAD_MESSAGE_RETRY:
			cdc_feed_trouble(feed, sink->poison_error);
			if (TimestampDifferenceExceeds(feed->poison_at, now, 5000))
			{
				feed->poison_at = now;
				sink->poison_batch = NULL;
			}
			break;

		case CDC_BAD_MESSAGE_DEAD_LETTER:
			catalog_enter();
			cdc_dead_letter_insert(feed->job_id, msg->topic->name,
								   msg->key_len == CDC_LEN_NULL ? NULL : cdc_msg_key(batch, msg),
								   msg->key_len == CDC_LEN_NULL ? 0 : (int) msg->key_len,
								   msg->val_len == CDC_LEN_NULL ? NULL : cdc_msg_value(batch, msg),
								   msg->val_len == CDC_LEN_NULL ? 0 : (int) msg->val_len,
								   batch->end_lsn, msg->hlc,
								   sink->poison_error);
			catalog_leave();
			msg->flags |= CDC_MSG_SKIP;
			if (sink->broken)
				cdc_feed_give_up(feed, batch, msg);
			sink->poison_batch = NULL;
			feed->dead_letters++;
			cdc_feed_trouble(feed, sink->poison_error);
			break;
	}
}

/*
 * Serves every sink and looks after those in trouble.  True if a scan may
 * have got room for more rows.
 */
bool
lane_serve_feeds(TimestampTz now)
{
	size_t		cap = lane.feed_cap;
	bool		room = false;
	dlist_iter	iter;

	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);
		uint64		acked = cdc_feed_progress(feed);

		open_sink_if_due(feed, now);
		cdc_feed_seal(feed);
		cdc_feed_pump(feed);
		room |= feed->scan != NULL && cdc_feed_progress(feed) != acked;
		if (feed->sink != NULL && feed->sink->poison_batch != NULL)
			handle_poison(feed, now);
		if (feed->sink != NULL && feed->sink->broken)
			replace_sink(feed, now);
		else if (feed->sink != NULL && feed->sink->error[0] == '\0' &&
				 feed->dirty)
			feed->sink_failures = 0;

		if (cdc_feed_adopt_next(feed))
		{
			cdc_tables_reset_subscribers();
			lane.want_visit = true;
			lane.visited_at = 0;
		}
		if (feed->mode == CDC_FEED_DETACHED && feed->sink != NULL &&
			(feed->next_def == NULL || cdc_scan_is_pending(feed, feed->next_lsn)) &&
			now >= feed->rewind_at)
		{
			if (cdc_feed_bytes(feed) < cap / 4)
				feed->wants_rewind = true;
			else
				cdc_feed_relieve(feed);
		}
		if (feed->mode == CDC_FEED_ACTIVE && dlist_is_empty(&feed->queue))
			feed->detaches = 0;
		if (cdc_feed_has_ended(feed))
			lane.want_visit = true;
	}
	(void) cdc_sinks_closing(); /* reaps what is gone */
	return room;
}

