/*-------------------------------------------------------------------------
 * feed.c
 *		One changefeed in a lane; see feed.h.
 *
 * Why no change is lost here: rows enter the queue in the order they are
 * decoded and leave it only from its head, when the sink has acknowledged
 * all of a batch.  acked_lsn moves only to the end of a transaction whose
 * rows, and everything before them, have left the queue that way.
 *
 * Runs: lane worker, main thread; decoding callbacks and main loop.  Never
 * raises an ERROR for trouble of a sink.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/epoll.h>

#include "base/compat.h"
#include "feed/feed.h"
#include "catalog/rule.h"
#include "feed/members.h"
#include "feed/shapes.h"
#include "scan/scan.h"
#include "table/toast.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A batch is sealed when it reaches this; one row may make it larger. */
#define BATCH_BYTES			(128 * 1024)
#define BATCH_SLACK			(16 * 1024)

int			cdc_feed_epoll_fd = -1;

void
cdc_feed_define(CdcFeed *feed, const CdcDefinition *def)
{
	MemoryContext old = MemoryContextSwitchTo(feed->cxt);
	CdcDefinition *former = feed->def;
	CdcTopic  **former_topics = feed->current;
	char	  **former_columns = feed->columns;
	CdcDefinition *copy = cdc_definition_copy(def);
	CdcOptions *options = cdc_options_parse(cdc_options_from_strings(def->noptions,
																	 def->options));
	const CdcSinkOps *ops = cdc_sink_of_type(def->sink_type);
	CdcEncodeOptions encode;

	if (ops == NULL)
		elog(ERROR, "changefeed " INT64_FORMAT " has a sink of unknown kind",
			 feed->job_id);
	encode = cdc_effective_encode(ops, options, def);

	/* tables that stay have the shape that they had for the feed */
	for (int i = 0; former != NULL && i < former->ntargets; i++)
		(void) cdc_feed_shape(feed, i);

	/* from here on nothing can be wrong with it */
	feed->def = copy;
	feed->nnamed = def->ntargets;
	feed->rules = cdc_rules_parse(def->nrules, def->rules);
	feed->options = options;
	feed->ops = ops;
	feed->encode = encode;
	feed->topics = NULL;
	feed->ntopics = feed->maxtopics = 0;
	feed->events = NULL;
	memset(feed->event_topics, 0, sizeof(feed->event_topics));
	feed->current = palloc0(sizeof(CdcTopic *) * Max(def->ntargets, 1));
	feed->columns = palloc0(sizeof(char *) * Max(def->ntargets, 1));
	for (int i = 0; i < def->ntargets; i++)
	{
		CdcTopic   *topic = cdc_feed_topic(feed, i, NULL);

		/* a table that stays has its schema version, too */
		for (int j = 0; former != NULL && j < former->ntargets; j++)
		{
			if (former->targets[j].relid != def->targets[i].relid)
				continue;
			topic->schema_version = former_topics[j]->schema_version;
			feed->columns[i] = former_columns[j];
		}
	}
	if (feed->rules != NULL)
		cdc_feed_apply_members(feed);
	for (int i = feed->nnamed; former != NULL && i < feed->def->ntargets; i++)
	{
		for (int j = 0; j < former->ntargets; j++)
		{
			if (former->targets[j].relid != feed->def->targets[i].relid)
				continue;
			feed->current[i]->schema_version = former_topics[j]->schema_version;
			feed->columns[i] = former_columns[j];
		}
	}
	MemoryContextSwitchTo(old);
}

static CdcFeed *
feed_create(const CdcDefinition *def)
{
	MemoryContext cxt;
	MemoryContext old;
	CdcFeed    *feed;

	cxt = AllocSetContextCreate(TopMemoryContext, "cdc_sink feed",
								ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(cxt);
	feed = palloc0(sizeof(CdcFeed));
	feed->cxt = cxt;
	feed->job_id = def->job_id;
	feed->mode = CDC_FEED_WAITING;
	feed->status = CDC_JOB_PENDING;
	dlist_init(&feed->queue);
	cdc_feed_define(feed, def);
	feed->awaits_cursor = cdc_moment_given(&feed->options->cursor);
	feed->durable.job_id = def->job_id;
	feed->durable.version = def->version;
	feed->durable.scan_done = !cdc_definition_scans(def);
	MemoryContextSwitchTo(old);
	return feed;
}

CdcFeed *
cdc_feed_try_create(const CdcDefinition *def, char *error, size_t error_size)
{
	MemoryContext cxt = CurrentMemoryContext;
	CdcFeed    *volatile feed = NULL;

	/*
	 * Parsing takes no locks and opens nothing, so that what it raises needs
	 * no subtransaction to be undone.
	 */
	PG_TRY();
	{
		feed = feed_create(def);
	}
	PG_CATCH();
	{
		ErrorData  *data;

		MemoryContextSwitchTo(cxt);
		data = CopyErrorData();
		FlushErrorState();
		strlcpy(error, data->message, error_size);
		feed = NULL;
	}
	PG_END_TRY();
	return feed;
}

void
cdc_feed_destroy(CdcFeed *feed)
{
	cdc_feed_disconnect(feed);
	cdc_scan_free(feed);
	cdc_buf_free(&feed->resolved_text);

	/*
	 * Batches that a sink still refers to point at topics: those stay, a few
	 * hundred bytes for each feed that ends while its sink hangs.
	 */
	MemoryContextDelete(feed->cxt);
}

static void
set_columns(CdcFeed *feed, int target, const char *columns)
{
	if (feed->columns[target] != NULL)
		pfree(feed->columns[target]);
	feed->columns[target] = MemoryContextStrdup(feed->cxt, columns);
}

void
cdc_feed_resume_topic(CdcFeed *feed, int target, const char *columns,
					  uint32 schema_version)
{
	set_columns(feed, target, columns);
	feed->current[target]->schema_version = schema_version;
}

/* It outlives the feed's definition: see cdc_feed_destroy(). */
CdcTopic *
cdc_feed_add_topic(CdcFeed *feed, const char *name)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	CdcTopic   *topic = palloc0(sizeof(CdcTopic));

	topic->name = pstrdup(name);
	topic->schema_version = 1;
	MemoryContextSwitchTo(feed->cxt);
	if (feed->ntopics == feed->maxtopics)
	{
		int			maxtopics = Max(feed->maxtopics * 2, 8);
		CdcTopic  **topics = palloc0(sizeof(CdcTopic *) * maxtopics);

		if (feed->ntopics > 0)
			memcpy(topics, feed->topics, sizeof(CdcTopic *) * feed->ntopics);
		feed->topics = topics;
		feed->maxtopics = maxtopics;
	}
	feed->topics[feed->ntopics++] = topic;
	MemoryContextSwitchTo(old);
	return topic;
}

/*
 * The first row may be one that a transaction wrote behind its own ALTER
 * TABLE: what the topic held so far is what the table looked like before.
 */
static void
know_columns(CdcFeed *feed, int target)
{
	const CdcShape *shape = cdc_feed_shape(feed, target);

	if (shape != NULL && feed->columns[target] == NULL)
		cdc_feed_resume_topic(feed, target,
							  cdc_shape_columns(cdc_shape_listed(shape, feed->def->targets[target].columns)),
							  feed->current[target]->schema_version);
}

CdcTopic *
cdc_feed_topic(CdcFeed *feed, int target, const char *columns)
{
	CdcTopic   *topic = feed->current[target];

	if (topic != NULL && columns != NULL && feed->columns[target] == NULL)
		know_columns(feed, target);
	if (topic != NULL)
	{
		bool		same = columns == NULL || feed->columns[target] == NULL ||
			strcmp(columns, feed->columns[target]) == 0;

		if (columns != NULL && (!same || feed->columns[target] == NULL))
			set_columns(feed, target, columns);
		if (same)
			return topic;
	}

	topic = cdc_feed_add_topic(feed, feed->def->targets[target].topic);
	topic->partitions = feed->def->targets[target].partitions;
	if (feed->current[target] != NULL)
		topic->schema_version = feed->current[target]->schema_version + 1;
	feed->current[target] = topic;
	return topic;
}

int
cdc_feed_find_target(const CdcFeed *feed, Oid relid, const List *ancestors)
{
	for (int i = 0; i < feed->def->ntargets; i++)
	{
		if (feed->def->targets[i].gone)
			continue;
		if (feed->def->targets[i].relid == relid ||
			list_member_oid(ancestors, feed->def->targets[i].relid))
			return i;
	}
	return -1;
}

void
cdc_feed_set_position(CdcFeed *feed, XLogRecPtr lsn, CdcHlc hlc)
{
	Assert(dlist_is_empty(&feed->queue));
	feed->queued_lsn = feed->acked_lsn = lsn;
	feed->queued_hlc = feed->acked_hlc = hlc;
	feed->barrier_lsn = lsn;
	feed->barrier_hlc = hlc;
	feed->partial_lsn = InvalidXLogRecPtr;
	feed->partial_rows = 0;
	feed->touched = false;
	feed->newest = NULL;
	feed->lift_lsn = cdc_compat_flush_ptr();
	cdc_scan_rewind(feed, lsn);
	cdc_feed_rewind_shapes(feed, lsn);
	cdc_feed_rewind_members(feed, lsn);
}

void
cdc_feed_hold(CdcFeed *feed, CdcBatch *batch, size_t flag_at, size_t deferred_bytes)
{
	feed->newest = batch;
	feed->newest_flag = flag_at;
	feed->newest_deferred = deferred_bytes;
	feed->newest_row = feed->txn_rows;
}

/* The message that waits is the last of its transaction. */
static void
tell_last(CdcFeed *feed)
{
	CdcBatch   *batch = feed->newest;
	uint32		index = batch->nmsgs - 1;
	size_t		less = strlen(CDC_LAST_NO) - strlen(CDC_LAST_YES);
	char	   *end = batch->buf.data + batch->buf.len;
	char	   *flag = batch->buf.data + feed->newest_flag;

	feed->newest = NULL;
	if (feed->newest_flag == 0)
	{
		cdc_toast_set_last(batch, index);
		return;
	}
	Assert(batch->nsubmitted <= index);
	memcpy(flag, CDC_LAST_YES, strlen(CDC_LAST_YES));
	flag += strlen(CDC_LAST_YES);
	memmove(flag, flag + less, end - flag - less);
	batch->buf.len -= less;
	batch->msgs[index].val_len -= less;
}

/* The message that waits is taken back: it comes again with its transaction. */
static void
drop_newest(CdcFeed *feed)
{
	CdcBatch   *batch = feed->newest;
	uint32		index = batch->nmsgs - 1;

	feed->newest = NULL;
	Assert(batch->nsubmitted <= index);
	if (feed->newest_flag == 0)
	{
		cdc_toast_forget(batch, index);
		feed->deferred_bytes -= Min(feed->deferred_bytes, feed->newest_deferred);
	}
	batch->buf.len = batch->msgs[index].off;
	batch->nmsgs--;
}

bool
cdc_feed_begin_row(CdcFeed *feed, ReorderBufferTXN *txn)
{
	if (!feed->touched)
	{
		feed->touched = true;
		feed->txn_rows = 0;
		feed->txn_events = 0;
		feed->txn_number++;
		feed->txn_hlc = cdc_hlc_next(feed->queued_hlc,
									 cdc_hlc_wall(cdc_compat_commit_time(txn)));
	}
	feed->txn_rows++;
	if (unlikely(feed->partial_lsn == txn->end_lsn &&
				 feed->txn_rows <= feed->partial_rows))
		return false;
	return true;
}

void
cdc_feed_touch(CdcFeed *feed, ReorderBufferTXN *txn)
{
	if (feed->touched)
		return;
	(void) cdc_feed_begin_row(feed, txn);
	feed->txn_rows--;
}

XLogRecPtr
cdc_feed_durable_limit(const CdcFeed *feed, CdcHlc *hlc)
{
	XLogRecPtr	hold;

	if (!cdc_scan_hold(feed, &hold, hlc) || feed->acked_lsn < hold)
	{
		*hlc = feed->acked_hlc;
		return feed->acked_lsn;
	}
	return hold;
}

/*
 * While the initial scan is under way the feed goes on past its end: a row
 * that is changed meanwhile is sent as that change only, so that leaving it
 * out would leave the state at the end incomplete.
 */
bool
cdc_feed_check_end(CdcFeed *feed, ReorderBufferTXN *txn)
{
	CdcHlc		stamp;

	if (feed->options->end_time.wall == 0 || feed->scan != NULL)
		return false;
	stamp = cdc_hlc_next(feed->queued_hlc,
						 cdc_hlc_wall(cdc_compat_commit_time(txn)));
	if (cdc_hlc_cmp(stamp, feed->options->end_time) <= 0)
		return false;
	cdc_feed_reach_end(feed);
	return true;
}

void
cdc_feed_reach_end(CdcFeed *feed)
{
	feed->over = true;
	feed->over_stored = false;
	feed->mode = CDC_FEED_ENDING;
	feed->flush_at = 0;			/* what is queued goes at once */
	cdc_feed_seal(feed);
}

/* Has every resolved that the sink took arrived? */
static bool
is_settled(const CdcFeed *feed)
{
	return !feed->sink->broken &&
		(feed->ops->settled == NULL || feed->ops->settled(feed->sink));
}

bool
cdc_feed_has_ended(CdcFeed *feed)
{
	if (feed->mode != CDC_FEED_ENDING || !dlist_is_empty(&feed->queue))
		return false;
	if (!feed->over)
		return !feed->last_resolved;

	/*
	 * Also its last row is written and its last resolved is at the sink.  One
	 * that broke may have lost that: it is replaced, and sent again.
	 */
	return feed->over_stored && !feed->resolved_pending &&
		(feed->sink == NULL || is_settled(feed));
}

CdcBatch *
cdc_feed_open_batch(CdcFeed *feed)
{
	CdcBatch   *batch = feed->open;

	if (batch != NULL)
	{
		if (likely(batch->buf.len < BATCH_BYTES))
			return batch;
		cdc_feed_seal(feed);
	}
	batch = cdc_batch_create(BATCH_BYTES + BATCH_SLACK);
	dlist_push_tail(&feed->queue, &batch->node);
	feed->open = batch;
	return batch;
}

void
cdc_feed_seal(CdcFeed *feed)
{
	CdcBatch   *batch = feed->open;

	if (batch == NULL)
		return;
	feed->open = NULL;
	if (batch->nmsgs == 0 && batch->end_lsn == InvalidXLogRecPtr)
	{
		/* its only row was taken back */
		dlist_delete(&batch->node);
		cdc_batch_unref(batch);
		return;
	}
	cdc_buf_trim(&batch->buf);
	batch->counted = batch->buf.len;
	batch->account = &feed->queued_bytes;
	feed->queued_bytes += batch->counted;
}

size_t
cdc_feed_bytes(const CdcFeed *feed)
{
	size_t		bytes = feed->queued_bytes + feed->deferred_bytes +
		(feed->open ? feed->open->buf.len : 0) +
		(feed->sink ? feed->sink->own_bytes : 0);
	const CdcBatch *newest = feed->newest;

	/* waiting does not make it go, only what comes behind it */
	if (unlikely(newest != NULL))
		bytes -= feed->newest_deferred +
			(newest == feed->open ? newest->buf.len : newest->counted);
	return bytes;
}

void
cdc_feed_end_txn(CdcFeed *feed, ReorderBufferTXN *txn)
{
	Assert(feed->touched);
	if (unlikely(feed->newest != NULL))
		tell_last(feed);
	feed->touched = false;
	feed->queued_lsn = txn->end_lsn;
	feed->queued_hlc = feed->txn_hlc;
	feed->partial_lsn = InvalidXLogRecPtr;
	feed->partial_rows = 0;
	feed->had_rows = true;
	if (dlist_is_empty(&feed->queue))
	{
		/* all its rows were acknowledged while it was being decoded */
		feed->acked_lsn = feed->queued_lsn;
		feed->acked_hlc = feed->queued_hlc;
		feed->acked_time = cdc_compat_commit_time(txn);
		feed->dirty = true;
	}
	else
	{
		CdcBatch   *last = dlist_tail_element(CdcBatch, node, &feed->queue);

		last->end_lsn = feed->queued_lsn;
		last->end_hlc = feed->queued_hlc;
		last->end_time = cdc_compat_commit_time(txn);
	}
	if (feed->end_at_commit)
	{
		feed->end_at_commit = false;
		feed->mode = CDC_FEED_ENDING;
	}
}

static void
collect_acks(CdcFeed *feed)
{
	while (!dlist_is_empty(&feed->queue))
	{
		CdcBatch   *batch = dlist_head_element(CdcBatch, node, &feed->queue);

		if (batch == feed->open || batch->nacked < batch->nmsgs)
			break;
		dlist_delete(&batch->node);
		feed->queued_bytes -= batch->counted;
		feed->acked_rows += batch->nmsgs;
		feed->last_message = GetCurrentTimestamp();
		feed->dirty = true;
		if (batch->end_lsn != InvalidXLogRecPtr)
		{
			feed->acked_lsn = batch->end_lsn;
			feed->acked_hlc = batch->end_hlc;
			feed->acked_time = batch->end_time;
		}
		if (feed->scan != NULL)
			cdc_scan_batch_acked(feed, batch);
		cdc_batch_unref(batch);
	}
}

void
cdc_feed_pump(CdcFeed *feed)
{
	dlist_iter	iter;

	if (feed->sink == NULL)
		return;
	feed->ops->service(feed->sink);
	if (!feed->sink->broken && feed->sink->poison_batch == NULL)
	{
		dlist_foreach(iter, &feed->queue)
		{
			CdcBatch   *batch = dlist_container(CdcBatch, node, iter.cur);

			if (batch == feed->open || batch->deferred > 0 || batch == feed->newest ||
				(unlikely(batch->barrier) &&
				 batch != dlist_head_element(CdcBatch, node, &feed->queue)))
				break;
			if (batch->nsubmitted < batch->nmsgs)
			{
				if (unlikely(feed->given_up != NIL))
					cdc_feed_skip_given_up(feed, batch);
				feed->ops->submit(feed->sink, batch);
				if (batch->nsubmitted < batch->nmsgs)
					break;
			}
			if (unlikely(batch->barrier))
				break;
		}
	}
	collect_acks(feed);
	if (feed->resolved_pending && !feed->sink->broken &&
		feed->ops->resolved(feed->sink, feed->resolved_text.data,
							feed->resolved_text.len, feed->resolved_hlc))
	{
		feed->resolved_pending = false;
		/* one from before the end may have been on its way still */
		feed->last_taken = feed->mode == CDC_FEED_ENDING &&
			cdc_hlc_cmp(feed->resolved_hlc, feed->queued_hlc) >= 0;
		feed->resolved_last = feed->resolved_hlc;
		feed->resolved_count++;
	}
	/* what the sink took is lost if it is closed before it is through */
	if (unlikely(feed->last_taken) && is_settled(feed))
		feed->last_resolved = feed->last_taken = false;
	if (feed->sink->error[0] != '\0' &&
		strcmp(feed->sink->error, feed->last_error) != 0)
		cdc_feed_trouble(feed, feed->sink->error);
}

void
cdc_feed_flush(CdcFeed *feed)
{
	CdcHlc		floor = feed->queued_hlc;
	CdcHlc		submitted = feed->acked_hlc;
	dlist_iter	iter;

	/* a sink that is full has not taken all of the queue yet */
	dlist_foreach(iter, &feed->queue)
	{
		CdcBatch   *batch = dlist_container(CdcBatch, node, iter.cur);

		if (batch->nsubmitted < batch->nmsgs)
		{
			floor = submitted;
			break;
		}
		if (batch->end_lsn != InvalidXLogRecPtr)
			submitted = batch->end_hlc;
	}
	if (feed->scan != NULL)
	{
		CdcHlc		below = cdc_scan_floor(feed);

		if (below.logical > 0)
			below.logical--;
		else
			below.wall--;
		if (cdc_hlc_cmp(below, floor) < 0)
			floor = below;
	}
	feed->ops->flush(feed->sink, floor);
}

void
cdc_feed_relieve(CdcFeed *feed)
{
	if (feed->sink != NULL && feed->ops->relieve != NULL && !feed->sink->broken)
		feed->ops->relieve(feed->sink);
}

uint64
cdc_feed_progress(const CdcFeed *feed)
{
	return feed->acked_rows + (feed->sink ? feed->sink->progress : 0);
}

/*
 * To what is acknowledged; with "diff" to the start of a scan under way: of
 * events behind it that are sent again, the first of a key has to find the
 * key unknown, so that the row goes before it once more.
 */
static void
go_back(CdcFeed *feed)
{
	XLogRecPtr	lsn = feed->acked_lsn;
	CdcHlc		hlc = feed->acked_hlc;
	XLogRecPtr	hold;
	CdcHlc		hold_hlc;

	if (feed->encode.diff && cdc_scan_hold(feed, &hold, &hold_hlc))
	{
		if (hold < lsn)
		{
			lsn = hold;
			hlc = hold_hlc;
		}
		cdc_scan_forget_keys(feed);
	}
	cdc_feed_set_position(feed, lsn, hlc);
}

void
cdc_feed_disconnect(CdcFeed *feed)
{
	if (feed->sink != NULL)
	{
		feed->sink_retries += feed->sink->retries;
		feed->sink_messages += feed->sink->sent_messages;
		feed->sink_bytes += feed->sink->sent_bytes;
		if (feed->sink->event_fd >= 0)
			(void) epoll_ctl(cdc_feed_epoll_fd, EPOLL_CTL_DEL,
							 feed->sink->event_fd, NULL);
		feed->ops->close(feed->sink);
		feed->sink = NULL;
	}
	while (!dlist_is_empty(&feed->queue))
	{
		CdcBatch   *batch = dlist_head_element(CdcBatch, node, &feed->queue);

		dlist_delete(&batch->node);
		batch->account = NULL;
		cdc_batch_unref(batch);
	}
	feed->open = NULL;
	if (feed->next_def != NULL && feed->acked_lsn < feed->next_lsn)
		feed->next_def = NULL;	/* is met again, behind what is lost here */
	feed->queued_bytes = 0;
	feed->resolved_pending = feed->last_taken = false;
	go_back(feed);
	cdc_scan_restart(feed);
	for (int i = 0; i < feed->ntopics; i++)
		feed->topics[i]->sink_data = NULL;
}

void
cdc_feed_end(CdcFeed *feed, const char *fmt,...)
{
	va_list		args;

	if (feed->end_error[0] != '\0')
		return;
	va_start(args, fmt);
	vsnprintf(feed->end_error, sizeof(feed->end_error), fmt, args);
	va_end(args);
}

void
cdc_feed_end_behind(CdcFeed *feed, const ReorderBufferTXN *txn)
{
	feed->end_at_commit = true;
	if (feed->end_error[0] == '\0')
		feed->event_lsn = txn->end_lsn; /* the first reason, so the one told */
}

void
cdc_feed_detach(CdcFeed *feed, ReorderBufferTXN *txn)
{
	TimestampTz now = GetCurrentTimestamp();
	int			delay = Min(1000 << Min(feed->detaches, 5), 30000);

	Assert(feed->mode == CDC_FEED_ACTIVE);
	feed->mode = CDC_FEED_DETACHED;
	if (feed->touched && txn != NULL)
	{
		feed->partial_lsn = txn->end_lsn;
		feed->partial_rows = feed->txn_rows;
		if (feed->newest != NULL && feed->newest_row == feed->txn_rows)
		{
			drop_newest(feed);
			feed->partial_rows--;
		}
		else
		{
			/* a message that tells nothing of the transaction is behind it */
			feed->newest = NULL;
		}
	}
	feed->touched = false;
	feed->end_at_commit = false;
	feed->lift_lsn = cdc_compat_flush_ptr();
	feed->detaches++;
	feed->rewind_at = TimestampTzPlusMilliseconds(now, delay);
	cdc_feed_seal(feed);
}

void
cdc_feed_trouble(CdcFeed *feed, const char *text)
{
	strlcpy(feed->last_error, text, sizeof(feed->last_error));
	feed->last_error_time = GetCurrentTimestamp();
}
