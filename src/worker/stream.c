/*-------------------------------------------------------------------------
 * stream.c
 *		From a decoded change to messages in the feeds' batches.
 *
 * Runs: decoding callbacks of the lane, inside core's transaction under a
 * historic snapshot.  Reads catalogs, never tables; raises no ERROR for
 * trouble of a sink.  An ERROR from an output function passes through: the
 * worker leaves, and the change is guarded in its next life.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/err.h"
#include "encode/encode.h"
#include "miscadmin.h"
#include "scan/scan.h"
#include "table/relcache.h"
#include "table/toast.h"
#include "table/toast_cache.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "wal/decode.h"
#include "wal/plugin.h"
#include "worker/cursor.h"
#include "worker/marks.h"
#include "worker/lane.h"
#include "worker/stream_event.h"

/* Sinks are served once in so many rows of a long transaction. */
#define ROWS_PER_SERVICE	512

/* Whether there is still use for it is asked once in so many of its changes. */
#define CHANGES_PER_LOOK	1024

/* Definitions inserted by the transaction at hand. */
static List *new_definitions = NIL;
static MemoryContext definition_cxt;

static CdcFeed **touched = NULL;
static int	ntouched = 0;
static int	maxtouched = 0;

static MemoryContext row_cxt;
static CdcBuf key_old;
static CdcBuf key_new;
static uint32 rows_since_service = 0;
static ReorderBufferTXN *current_txn = NULL;

/* The change at hand: its number in the transaction, and is it being encoded? */
static uint64 change_number = 0;
static bool encoding = false;
static bool counts = false;		/* the transaction changes a user's table */
static CdcBatch *open_message = NULL;	/* its last message is incomplete */

static void
note_touched(CdcFeed *feed)
{
	if (ntouched == maxtouched)
	{
		maxtouched = Max(maxtouched * 2, 16);
		if (touched == NULL)
			touched = MemoryContextAlloc(TopMemoryContext,
										 sizeof(CdcFeed *) * maxtouched);
		else
			touched = repalloc(touched, sizeof(CdcFeed *) * maxtouched);
	}
	touched[ntouched++] = feed;
}

/* The feed is about to take a row of this transaction; false: it is over. */
static inline bool
touch(CdcFeed *feed, ReorderBufferTXN *txn)
{
	if (!feed->touched)
	{
		if (unlikely(cdc_feed_check_end(feed, txn)))
		{
			lane.want_visit = true;
			return false;
		}
		note_touched(feed);
	}
	return true;
}

bool
stream_touch(CdcFeed *feed, ReorderBufferTXN *txn)
{
	if (!touch(feed, txn))
		return false;
	cdc_feed_touch(feed, txn);
	return true;
}

/* Feeds on the way to their cursor. */
static void
pass_over(ReorderBufferTXN *txn)
{
	dlist_iter	iter;

	lane.passing = false;
	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (feed->passing)
			cursor_pass(feed, txn);
		lane.passing |= feed->passing;
	}
}

static void
stream_begin(ReorderBufferTXN *txn)
{
	lane.in_callback = true;
	current_txn = txn;
	change_number = 0;
	ntouched = 0;
	cdc_tables_watch_changes();
	counts = false;
	if (unlikely(lane.passing))
		pass_over(txn);
	if (unlikely(rbtxn_has_catalog_changes(txn)))
		schema_learn(txn);
}

void
stream_message_open(CdcBatch *batch)
{
	open_message = batch;
}

/* Encodes one message into the feed's open batch. */
static inline void
put_message(CdcSubscriber *sub, const CdcRow *row, const CdcBuf *identity)
{
	CdcFeed    *feed = sub->feed;
	CdcBatch   *batch = cdc_feed_open_batch(feed);
	CdcMessage *msg = cdc_batch_add(batch, sub->topic);
	CdcParts	parts;

	msg->hlc = row->updated;
	open_message = batch;
	cdc_encode_message(sub->encoder, &batch->buf, row,
					   cdc_sink_has_keys(feed->ops), identity, &parts);
	cdc_batch_set_parts(msg, &parts);
	open_message = NULL;
	if (unlikely(feed->encode.txn))
		cdc_feed_hold(feed, batch, parts.last_at == 0 ? 0 :
					  cdc_msg_value(batch, msg) + parts.last_at - batch->buf.data, 0);
}

/*
 * With "diff" the first event of a key that a scan has not sent yet, and now
 * never will, is preceded by the row as the scan would have sent it: the old
 * row, since nobody has touched the key after the scan's commit.  These
 * messages do not count as rows of the transaction: when its beginning is
 * stepped over later, the key is known.
 */
static void
put_old_images(CdcSubscriber *sub, TupleDesc desc, const CdcRow *row,
			   const CdcBuf *identity, const CdcUnsent *unsent, int n)
{
	CdcRow		image = {0};

	if (row->old_values == NULL || !row->old_full)
		return;
	image.op = 'r';
	image.values = row->old_values;
	image.nulls = row->old_nulls;
	image.old_full = true;
	for (int i = 0; i < n; i++)
	{
		image.updated = image.mvcc = unsent[i].stamp;
		if (unsent[i].item->known)
		{
			image.old_values = row->old_values;
			image.old_nulls = row->old_nulls;
			image.old_absent = cdc_scan_item_absent(unsent[i].item, desc);
		}
		put_message(sub, &image, identity);
	}
}

/*
 * Starts the message of a row for one feed.  False: it is in the queue
 * already.
 */
static inline bool
begin_row(CdcTable *table, CdcSubscriber *sub, ReorderBufferTXN *txn,
		  CdcRow *row, const CdcBuf *identity)
{
	CdcFeed    *feed = sub->feed;
	CdcUnsent  *unsent = NULL;
	int			nunsent = 0;

	if (!touch(feed, txn))
		return false;
	if (unlikely(feed->scan != NULL))
	{
		cdc_feed_touch(feed, txn);
		nunsent = cdc_scan_record(feed, sub->target, table->relid,
								  identity->data, identity->len,
								  feed->encode.diff ? &unsent : NULL);
	}
	if (!cdc_feed_begin_row(feed, txn))
		return false;
	if (unlikely(nunsent > 0))
		put_old_images(sub, table->desc, row, identity, unsent, nunsent);
	row->updated = row->mvcc = feed->txn_hlc;
	row->seq = feed->txn_rows;
	return true;
}

void
stream_append_row(CdcTable *table, CdcSubscriber *sub, ReorderBufferTXN *txn,
				  CdcRow *row, const CdcBuf *identity)
{
	if (!begin_row(table, sub, txn, row, identity))
		return;
	put_message(sub, row, identity);
	if (unlikely(cdc_feed_bytes(sub->feed) >= lane.feed_cap))
		lane_wait_for_room(sub->feed, txn);
}

void
stream_stop_before(CdcFeed *feed)
{
	feed->mode = CDC_FEED_ENDING;
	feed->touched = false;
	feed->newest = NULL;
	cdc_feed_seal(feed);
}

/*
 * An UPDATE that leaves an out-of-line value alone carries a pointer to it,
 * which must not be followed here.  The old row of REPLICA IDENTITY FULL has
 * the value itself, and so has the old key.  False: something is missing.
 */
static bool
fill_unchanged(CdcTable *table, bool have_old)
{
	bool		complete = true;

	for (int i = 0; i < table->ntoastable; i++)
	{
		int			att = table->toastable[i] - 1;

		if (att >= table->natts || table->nulls[att] ||
			!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(table->values[att])))
			continue;
		if (!have_old || table->old_nulls[att] ||
			VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(table->old_values[att])))
			complete = false;
		else
			table->values[att] = table->old_values[att];
	}
	return complete;
}

/*
 * Appends a message whose value is fetched when the transaction is over.
 * When its queue is full the feed is detached at once: nothing can leave
 * before the end of the transaction, so waiting is of no use.
 */
static void
append_deferred(CdcSubscriber *sub, ReorderBufferTXN *txn, CdcTable *table,
				CdcRow *row, const CdcBuf *identity)
{
	CdcFeed    *feed = sub->feed;
	CdcBatch   *batch;
	size_t		size;

	if (!begin_row(table, sub, txn, row, identity))
		return;
	batch = cdc_feed_open_batch(feed);
	cdc_batch_add(batch, sub->topic)->hlc = feed->txn_hlc;
	size = cdc_toast_defer(table, sub, batch, batch->nmsgs - 1,
						   cdc_sink_has_keys(feed->ops), row);
	feed->deferred_bytes += size;
	if (feed->encode.txn)
		cdc_feed_hold(feed, batch, 0, size);
	if (unlikely(cdc_feed_bytes(feed) >= lane.feed_cap))
	{
		cdc_feed_detach(feed, txn);
		feed->detaches = 0;
		feed->rewind_at = 0;
	}
}

static void
watched_change(CdcTable *table, ReorderBufferTXN *txn, Relation rel,
			   ReorderBufferChange *change)
{
	TupleDesc	desc = RelationGetDescr(rel);
	HeapTuple	newtuple = NULL;
	HeapTuple	oldtuple = NULL;
	bool		key_moved = false;
	bool		need_key = false;
	bool		complete = true;
	const bool *recalled = NULL;
	CdcRow		row = {0};		/* the new one */
	CdcRow		gone;			/* the old one, when its key goes */

	switch (change->action)
	{
		case REORDER_BUFFER_CHANGE_INSERT:
			newtuple = cdc_compat_new_tuple(change);
			break;
		case REORDER_BUFFER_CHANGE_UPDATE:
			newtuple = cdc_compat_new_tuple(change);
			oldtuple = cdc_compat_old_tuple(change);
			break;
		case REORDER_BUFFER_CHANGE_DELETE:
			oldtuple = cdc_compat_old_tuple(change);
			break;
		default:
			return;
	}

	if (newtuple != NULL)
		heap_deform_tuple(newtuple, desc, table->values, table->nulls);
	if (oldtuple != NULL)
		heap_deform_tuple(oldtuple, desc, table->old_values, table->old_nulls);
	if (change->action == REORDER_BUFFER_CHANGE_UPDATE && newtuple != NULL)
		complete = fill_unchanged(table, oldtuple != NULL);

	/* before any feed is asked: it must not miss a version of a row */
	if (cdc_toast_cache_concerns(table, newtuple))
		complete = cdc_toast_cache_pass(table, change, &recalled);

	stream_place_row(&row, txn, change->lsn);
	if (oldtuple != NULL)
	{
		gone = row;
		gone.op = 'd';
		gone.old_values = table->old_values;
		gone.old_nulls = table->old_nulls;
		gone.old_full = table->identity == CDC_IDENTITY_FULL;
	}

	/* The same text of what identifies the row serves all feeds of a table. */
	for (int i = 0; i < table->nsubs && !need_key; i++)
		need_key = table->subs[i].feed->scan != NULL;
	key_old.len = key_new.len = 0;
	if (newtuple != NULL && (need_key || oldtuple != NULL))
		cdc_encode_identity(table->subs[0].encoder, &key_new, table->values, table->nulls);
	if (oldtuple != NULL)
	{
		cdc_encode_identity(table->subs[0].encoder, &key_old, table->old_values,
							table->old_nulls);
		key_moved = newtuple != NULL &&
			(key_old.len != key_new.len ||
			 memcmp(key_old.data, key_new.data, key_old.len) != 0);
	}
	if (newtuple != NULL)
	{
		row.op = change->action == REORDER_BUFFER_CHANGE_INSERT || key_moved ? 'c' : 'u';
		row.values = table->values;
		row.nulls = table->nulls;
		if (oldtuple != NULL && !key_moved)
		{
			row.old_values = table->old_values;
			row.old_nulls = table->old_nulls;
			row.old_full = gone.old_full;
		}
	}

	for (int i = 0; i < table->nsubs; i++)
	{
		CdcSubscriber *sub = &table->subs[i];
		CdcFeed    *feed = sub->feed;

		if (!cdc_feed_takes(feed, txn))
			continue;
		if (unlikely(feed->next_def != NULL))
		{
			if (feed->scan != NULL && stream_touch(feed, txn))
				cdc_scan_record_both(feed, sub->target, table->relid, &key_old, &key_new);
			continue;			/* it comes again, by that definition */
		}
		if (unlikely(sub->unfit != NULL))
		{
			if (!touch(feed, txn))
				continue;
			cdc_feed_end(feed, "%s", sub->unfit);
			stream_stop_before(feed);
			continue;
		}
		if (table->nkeys == 0 && table->identity != CDC_IDENTITY_FULL)
		{
			if (!touch(feed, txn))
				continue;
			cdc_feed_end(feed, "table \"%s\" has neither a primary key nor another replica identity any more",
						 table->name);
			stream_stop_before(feed);
			continue;
		}
		if ((change->action == REORDER_BUFFER_CHANGE_DELETE && oldtuple == NULL) ||
			(change->action != REORDER_BUFFER_CHANGE_INSERT &&
			 table->identity == CDC_IDENTITY_NONE))
		{
			if (!touch(feed, txn))
				continue;
			cdc_feed_end(feed, "a row of table \"%s\" was changed, but its replica identity does not tell which",
						 table->name);
			stream_stop_before(feed);
			continue;
		}
		if (unlikely(feed->encode.envelope == CDC_ENVELOPE_DEBEZIUM))
			stream_append_debezium(table, sub, txn, &row, &gone, key_moved, complete,
								   recalled, &key_old, &key_new);
		else if (newtuple == NULL)
			stream_append_row(table, sub, txn, &gone, &key_old);
		else
		{
			if (key_moved)
				stream_append_row(table, sub, txn, &gone, &key_old);

			/* waiting for room may have detached it */
			if (!cdc_feed_takes(feed, txn))
				continue;
			if (complete)
				stream_append_row(table, sub, txn, &row, &key_new);
			else
				append_deferred(sub, txn, table, &row, &key_new);
		}
	}
}

/*
 * A change up to the one that ended the last worker: it, or another before
 * it, cannot be encoded.  A subtransaction is too dear for each row, but not
 * for these.  All feeds of the table are treated alike,
 * also one that had its message already: it may get the row twice.
 */
static void
guarded_change(CdcTable *table, ReorderBufferTXN *txn, Relation rel,
			   ReorderBufferChange *change)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(cxt);
		watched_change(table, txn, rel, change);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(cxt);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error = cdc_error_take_subxact(cxt, owner);
		CdcBatch   *batch = open_message;

		/* it may not have come to the end of it */
		cdc_toast_cache_clear();
		if (batch != NULL)
		{
			/* cut off what is incomplete */
			batch->nmsgs--;
			batch->buf.len = batch->msgs[batch->nmsgs].off;
			open_message = NULL;
		}
		ereport(LOG,
				(errmsg("a row of table \"%s\" could not be encoded: %s",
						table->name, error->message)));
		for (int i = 0; i < table->nsubs; i++)
		{
			CdcFeed    *feed = table->subs[i].feed;

			if (cdc_feed_takes(feed, txn))
				stream_lose_row(feed, table->subs[i].topic,
								feed->touched ? feed->txn_hlc : feed->queued_hlc,
								error->message);
		}
	}
	PG_END_TRY();
}

void
stream_note_poison(void)
{
	if (!encoding || current_txn == NULL)
		return;
	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);

	/* it was not guarded, so it lies behind the one remembered before */
	lane.shared->poison_lsn = current_txn->end_lsn;
	lane.shared->poison_change = change_number;
	LWLockRelease(cdc_shared->lock);
}

void
stream_serve(ReorderBufferTXN *txn)
{
	if (unlikely(++rows_since_service >= ROWS_PER_SERVICE))
	{
		rows_since_service = 0;
		lane_honour_stops(txn);
		lane_pump_all();
	}
}

static void
stream_change(ReorderBufferTXN *txn, Relation rel, ReorderBufferChange *change)
{
	MemoryContext old;
	CdcTable   *table;

	if (unlikely(RelationGetRelid(rel) == lane.definition_relid))
	{
		if (change->action == REORDER_BUFFER_CHANGE_INSERT)
		{
			TupleDesc	desc = RelationGetDescr(rel);
			Datum	   *values = palloc(sizeof(Datum) * desc->natts);
			bool	   *nulls = palloc(sizeof(bool) * desc->natts);

			heap_deform_tuple(cdc_compat_new_tuple(change), desc, values, nulls);
			old = MemoryContextSwitchTo(definition_cxt);
			new_definitions = lappend(new_definitions,
									  cdc_definition_from_datums(values, nulls));
			MemoryContextSwitchTo(old);
		}
		return;
	}

	if (unlikely(++change_number % CHANGES_PER_LOOK == 0) && new_definitions == NIL)
		lane_abandon_if_useless(txn);
	table = cdc_table_get(rel);
	cdc_table_note_write(table);
	if (table->nsubs == 0)
	{
		counts |= rel->rd_rel->relnamespace != lane.schema;
		return;
	}
	counts = true;
	old = MemoryContextSwitchTo(row_cxt);
	encoding = true;
	if (unlikely(txn->end_lsn <= lane.shared->poison_lsn &&
				 (txn->end_lsn < lane.shared->poison_lsn ||
				  change_number <= lane.shared->poison_change)))
		guarded_change(table, txn, rel, change);
	else
		watched_change(table, txn, rel, change);
	encoding = false;
	MemoryContextSwitchTo(old);
	MemoryContextReset(row_cxt);

	stream_serve(txn);
}

static void
on_truncate(ReorderBufferTXN *txn, int nrels, Relation *rels, XLogRecPtr lsn)
{
	counts = true;
	stream_truncate(txn, nrels, rels, lsn);
}

static void
visit_at_once(void)
{
	lane.want_visit = true;
	lane.visited_at = 0;
	cdc_decoder_break();
}

/* A definition takes effect at the commit of its transaction. */
static void
begin_feed(CdcDefinition *def, ReorderBufferTXN *txn)
{
	CdcFeed    *feed = lane_find_feed(def->job_id);
	CdcHlc		t0 = {0, 0};

	if (feed != NULL && feed->mode != CDC_FEED_WAITING)
	{
		/* ALTER, or a replay */
		if (feed->passing)
			cursor_stop_passing(feed);
		if (cdc_feed_alter(feed, def, txn->end_lsn,
						   cdc_hlc_wall(cdc_compat_commit_time(txn))))
		{
			cdc_tables_reset_subscribers();
			visit_at_once();
		}
		return;
	}
	if (def->version > 1)
		return;					/* the job is over, or its start is not here */
	if (feed == NULL)
	{
		/*
		 * Not seen in the catalog so far.  The visit that follows at once
		 * gives it its sink, or takes it away if the job is over already
		 * (this may be a replay).
		 */
		char		error[CDC_ERROR_SIZE];

		feed = cdc_feed_try_create(def, error, sizeof(error));
		if (feed == NULL)
			return;				/* the visit fails its job, if it is alive */
		dlist_push_tail(&lane.feeds, &feed->node);
	}
	if (feed->awaits_cursor)
	{
		feed->created_lsn = txn->end_lsn;
		feed->created_xid = txn->xid;
		visit_at_once();
		return;					/* the visit finds where it starts */
	}

	t0 = cdc_hlc_next(t0, cdc_hlc_wall(cdc_compat_commit_time(txn)));
	feed->mode = CDC_FEED_ACTIVE;
	feed->created_xid = txn->xid;
	feed->start_lsn = txn->end_lsn;
	feed->start_hlc = t0;
	cdc_feed_set_position(feed, txn->end_lsn, t0);
	schema_begin(feed, txn->end_lsn);
	if (!feed->durable.scan_done)
		cdc_scan_begin(feed, t0);
	cdc_tables_reset_subscribers();
	visit_at_once();
}

static void
stream_commit(ReorderBufferTXN *txn)
{
	ListCell   *lc;

	/* a scan that begins here has to see this transaction, too */
	cdc_scan_note_xid(txn->xid);
	if (unlikely(rbtxn_has_catalog_changes(txn)))
	{
		bool		joined = rules_check_commit(txn);

		schema_check_commit(txn);
		if (joined)
			cdc_tables_reset_subscribers();
	}
	for (int i = 0; i < ntouched; i++)
	{
		if (touched[i]->touched && unlikely(touched[i]->txn_events > 0))
			event_end(touched[i], txn);
		if (touched[i]->touched)
			cdc_feed_end_txn(touched[i], txn);
		history_note(touched[i]->queued_hlc);
	}
	ntouched = 0;
	if (counts)
	{
		CdcHlc		commit = {cdc_hlc_wall(cdc_compat_commit_time(txn)), 0};

		history_note(commit);
	}
	if (unlikely(new_definitions != NIL))
	{
		foreach(lc, new_definitions)
			begin_feed(lfirst(lc), txn);
		new_definitions = NIL;
		MemoryContextReset(definition_cxt);
	}
	lane.in_callback = false;
}

static void
stream_message(ReorderBufferTXN *txn, XLogRecPtr lsn, const char *prefix,
			   const char *content, Size size)
{
	MemoryContext old = MemoryContextSwitchTo(row_cxt);

	event_message(txn, lsn, prefix, content, size);
	MemoryContextSwitchTo(old);
	MemoryContextReset(row_cxt);
}

void
stream_set_txn(ReorderBufferTXN *txn)
{
	current_txn = txn;
	lane.in_callback = txn != NULL;
}

ReorderBufferTXN *
stream_txn(void)
{
	return current_txn;
}

void
stream_init(void)
{
	static const CdcChangeSink sink = {
		.begin = stream_begin,
		.change = stream_change,
		.truncate = on_truncate,
		.commit = stream_commit,
		.message = stream_message,
	};

	row_cxt = AllocSetContextCreate(TopMemoryContext, "cdc_sink row",
									ALLOCSET_DEFAULT_SIZES);
	definition_cxt = AllocSetContextCreate(TopMemoryContext, "cdc_sink definitions",
										   ALLOCSET_SMALL_SIZES);
	cdc_change_sink = &sink;
	subscribe_init();
}
