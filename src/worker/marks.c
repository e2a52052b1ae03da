/*-------------------------------------------------------------------------
 * marks.c
 *		What a lane remembers of its past, to place feeds with a cursor.
 *
 * A cursor is a stamp; stamps are issued by feeds, each of which has a clock
 * of its own.  What they have in common is the lane's clock: the highest of
 * all commit times decoded and all stamps issued or promised so far.  Now and
 * then a mark is made: the decoder's position with that clock.  Everything up
 * to the newest mark whose clock is not above the cursor is at or below the
 * cursor, for all feeds; from there on the clock is followed transaction by
 * transaction (see cursor.c).  That holds as far as no feed has promised
 * (resolved) a stamp that no transaction had: those get a mark of their own.
 *
 * Marks are kept in memory; in the table cdc_sink.history too while the slot
 * is held back, so that they outlive the worker.
 *
 * Runs: lane worker, main loop; history_note() in decoding callbacks too.
 * Never writes but inside a catalog visit.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/guc.h"
#include "catalog/history.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "wal/decode.h"
#include "worker/marks.h"
#include "worker/lane.h"

#define MAX_MARKS			2048
#define MARK_US				1000000
#define MARK_BYTES			(1024 * 1024)	/* or so much WAL, which the slot
											 * can let go of then */
#define PRUNE_US			60000000
#define MAX_START_BYTES		(64 * 1024 * 1024)

typedef struct Mark
{
	CdcHistoryRow row;
	XLogRecPtr	exact_until;	/* 0: up to the next mark */
	bool		stored;			/* in the table as well */
} Mark;

static Mark *marks = NULL;
static int	nmarks = 0;
static CdcHlc lane_clock = {0, 0};

/* Rows of the table that memory has forgotten. */
static XLogRecPtr stale_before = InvalidXLogRecPtr;
static XLogRecPtr *thinned = NULL;
static int	nthinned = 0;
static TimestampTz pruned_at = 0;

void
history_note(CdcHlc stamp)
{
	lane_clock = cdc_hlc_max(lane_clock, stamp);
}

/* Is there a reason for marks to outlive this worker? */
static bool
worth_storing(void)
{
	dlist_iter	iter;

	if (cdc_history_retention > 0)
		return true;
	dlist_foreach(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		if (feed->mode == CDC_FEED_STOPPED || feed->mode == CDC_FEED_DETACHED)
			return true;
	}
	return false;
}

/* The gap behind the mark before it is not exact any more. */
static void
drop_mark(int i)
{
	if (i > 0 && marks[i - 1].exact_until == InvalidXLogRecPtr)
		marks[i - 1].exact_until = marks[i].row.lsn;
	memmove(&marks[i], &marks[i + 1], sizeof(Mark) * (nmarks - i - 1));
	nmarks--;
}

/* Every second one of the older half goes. */
static void
thin_out(void)
{
	for (int i = (nmarks / 2 - 1) | 1; i > 0; i -= 2)
	{
		if (marks[i].stored && nthinned < MAX_MARKS)
			thinned[nthinned++] = marks[i].row.lsn;
		drop_mark(i);
	}
}

static void
add_mark(const CdcHistoryRow *row, bool stored)
{
	if (nmarks == MAX_MARKS)
		thin_out();
	marks[nmarks].row = *row;
	marks[nmarks].exact_until = InvalidXLogRecPtr;
	marks[nmarks].stored = stored;
	nmarks++;
}

/* The decoder's position and what is known of it. */
static CdcHistoryRow
here(TimestampTz now)
{
	CdcHistoryRow row;
	dlist_iter	iter;

	row.lsn = cdc_decoder_position();
	row.above = lane_clock;
	row.at = now;
	dlist_foreach(iter, &lane.feeds)
	{
		/* its stamps for what was decoded are still to be issued */
		if (dlist_container(CdcFeed, node, iter.cur)->mode == CDC_FEED_DETACHED)
			row.above.logical = PG_UINT32_MAX;
	}
	return row;
}

/* Tells backends how far back a cursor may be; the caller holds the lock. */
static void
publish(XLogRecPtr confirmed)
{
	CdcHlc		oldest = {PG_INT64_MAX, 0};

	for (int i = 0; i < nmarks; i++)
	{
		if (marks[i].row.lsn >= confirmed)
		{
			oldest = marks[i].row.above;
			break;
		}
	}
	lane.shared->confirmed_lsn = confirmed;
	lane.shared->oldest_cursor = oldest;
}

void
history_load(XLogRecPtr start)
{
	CdcHistoryRow *rows;
	CdcHistoryRow first;
	int			n = cdc_history_read(&rows);
	int			next = 0;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz bound;

	if (marks == NULL)
	{
		marks = MemoryContextAlloc(TopMemoryContext, sizeof(Mark) * MAX_MARKS);
		thinned = MemoryContextAlloc(TopMemoryContext,
									 sizeof(XLogRecPtr) * MAX_MARKS);
	}
	nmarks = 0;
	for (int i = 0; i < n; i++)
	{
		history_note(rows[i].above);
		if (rows[i].lsn < start)
			stale_before = start;
	}
	history_note(cdc_history_highest());

	/*
	 * The mark at the start, if there is none: all that lies before was
	 * committed before now, or before the time that the WAL tells, and no
	 * feed got further than its checkpoint says.
	 */
	while (next < n && rows[next].lsn < start)
		next++;
	if (next == n)
	{
		if (!cdc_wal_last_commit(start, MAX_START_BYTES, &bound) || bound > now)
			bound = now;
		first.above.wall = cdc_hlc_wall(bound);
		first.above.logical = 0;
		history_note(first.above);
		first.lsn = start;
		first.above = lane_clock;
		first.at = now;
		add_mark(&first, false);
	}
	else if (rows[next].lsn > start)
	{
		/* what holds up to the next mark holds up to here */
		first = rows[next];
		first.lsn = start;
		add_mark(&first, false);
		marks[nmarks - 1].exact_until = start;
	}

	/* what feeds have promised since each mark is not known any more */
	for (int i = next; i < n; i++)
	{
		add_mark(&rows[i], true);
		marks[nmarks - 1].exact_until = rows[i].lsn;
	}
	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	publish(start);
	LWLockRelease(cdc_shared->lock);
}

/* Brings the table up to date with what memory has forgotten. */
static void
prune_table(TimestampTz now)
{
	if ((stale_before == InvalidXLogRecPtr && nthinned == 0) ||
		now - pruned_at < PRUNE_US)
		return;
	cdc_history_delete(stale_before, thinned, nthinned);
	stale_before = InvalidXLogRecPtr;
	nthinned = 0;
	pruned_at = now;
}

void
history_take(TimestampTz now, bool lifted)
{
	const Mark *last;
	CdcHistoryRow row;
	bool		store;

	if (nmarks == 0 || !cdc_decoder_is_open())
		return;
	prune_table(now);
	last = &marks[nmarks - 1];
	row = here(now);
	if (row.lsn <= last->row.lsn ||
		(!lifted && now - last->row.at < MARK_US &&
		 row.lsn - last->row.lsn < MARK_BYTES))
		return;
	store = cdc_hlc_cmp(row.above, last->row.above) != 0 && worth_storing();
	if (store)
		cdc_history_insert(&row);
	add_mark(&row, store);
}

/* Up to where the setting lets go of the slot. */
static XLogRecPtr
retention_limit(TimestampTz now)
{
	TimestampTz then = now - (int64) cdc_history_retention * USECS_PER_SEC;
	XLogRecPtr	limit = marks[0].row.lsn;

	for (int i = 1; i < nmarks && marks[i].row.at <= then; i++)
		limit = marks[i].row.lsn;
	if (cdc_max_retained_wal > 0)
	{
		uint64		max = (uint64) cdc_max_retained_wal * 1024 * 1024;
		XLogRecPtr	flushed = cdc_wal_flushed();

		limit = Max(limit, flushed > max ? flushed - max : 0);
	}
	return limit;
}

XLogRecPtr
history_limit(XLogRecPtr lsn, TimestampTz now)
{
	XLogRecPtr	confirmed = cdc_decoder_confirmed();
	int			gone = 0;

	if (cdc_history_retention > 0)
		lsn = Min(lsn, retention_limit(now));

	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	lsn = Min(lsn, cdc_history_held(lane.shared, cdc_decoder_position()));

	/* the slot stands at a mark, so that there is none without one before */
	while (gone + 1 < nmarks && marks[gone + 1].row.lsn <= lsn)
		gone++;
	lsn = marks[gone].row.lsn <= lsn ? Max(marks[gone].row.lsn, confirmed) : confirmed;
	publish(lsn);
	LWLockRelease(cdc_shared->lock);

	/* what lies before is of no use any more */
	if (gone > 0)
	{
		stale_before = marks[gone].row.lsn;
		nmarks -= gone;
		memmove(&marks[0], &marks[gone], sizeof(Mark) * nmarks);
	}
	return lsn;
}

bool
history_keeps_lane(TimestampTz idle_since, TimestampTz now)
{
	return now - idle_since < (int64) cdc_history_retention * USECS_PER_SEC;
}

static void
set_place(HistoryPlace *place, int i)
{
	place->lsn = marks[i].row.lsn;
	place->clock = marks[i].row.above;
	place->exact_until = marks[i].exact_until;
	if (place->exact_until == InvalidXLogRecPtr && i + 1 < nmarks)
		place->exact_until = marks[i + 1].row.lsn;
}

bool
history_find(CdcHlc cursor, XLogRecPtr floor, XLogRecPtr ceiling,
			 HistoryPlace *place)
{
	int			found = -1;

	for (int i = 0; i < nmarks && marks[i].row.lsn <= ceiling; i++)
	{
		int			cmp = cdc_hlc_cmp(marks[i].row.above, cursor);

		if (marks[i].row.lsn < floor)
			continue;
		if (cmp <= 0)
			found = i;
		if (cmp == 0)
			break;				/* it was promised here */
	}
	if (found >= 0)
		set_place(place, found);
	return found >= 0;
}

bool
history_find_lsn(XLogRecPtr cursor, XLogRecPtr floor, HistoryPlace *place)
{
	int			found = 0;

	if (cursor < floor || nmarks == 0)
		return false;
	while (found + 1 < nmarks && marks[found + 1].row.lsn <= cursor)
		found++;
	set_place(place, found);
	place->lsn = Max(Min(place->lsn, cursor), floor);
	place->exact_until = InvalidXLogRecPtr;
	return true;
}
