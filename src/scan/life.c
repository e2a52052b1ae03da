/*-------------------------------------------------------------------------
 * life.c
 *		Scans of a feed: how they come, what they record, when they are over;
 *		see scan.h for why no row is lost, stale or doubled.
 *
 * Why a scan is exact over a crash: until its last row is acknowledged the
 * durable position stays at its hold, so that C is decoded again; and as
 * nothing of it leaves before that position is durable, a replay never
 * starts before the hold of a scan that has sent rows.
 *
 * Runs: lane worker, main thread; decoding callbacks and main loop.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "scan/scan_int.h"
#include "storage/procarray.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Recently decoded transactions, pruned when the array is full. */
static TransactionId *recent = NULL;
static int	nrecent = 0;
static int	maxrecent = 0;

/* Keeps those that are still in progress for everybody else. */
static int
prune_settled(TransactionId *xids, int n)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
	{
		if (TransactionIdIsInProgress(xids[i]))
			xids[kept++] = xids[i];
	}
	return kept;
}

void
cdc_scan_note_xid(TransactionId xid)
{
	if (nrecent == maxrecent)
	{
		if (recent == NULL)
		{
			maxrecent = 1024;
			recent = MemoryContextAlloc(TopMemoryContext,
										sizeof(TransactionId) * maxrecent);
		}
		else
			nrecent = prune_settled(recent, nrecent);

		/* as many may hang as there are backends and prepared transactions */
		if (nrecent > maxrecent / 2)
		{
			maxrecent *= 2;
			recent = repalloc(recent, sizeof(TransactionId) * maxrecent);
		}
	}
	recent[nrecent++] = xid;
}

/*
 * A lane that started anew has not decoded itself what its predecessor did:
 * whatever is committed by now and still in progress for everybody else may
 * lie before C.  Runs: main loop, outside of a transaction.
 */
static void
note_hanging_commits(CdcFeed *feed, CdcScan *scan)
{
	MemoryContext old = CurrentMemoryContext;
	Snapshot	snapshot;

	StartTransactionCommand();
	snapshot = GetLatestSnapshot();
	MemoryContextSwitchTo(feed->cxt);
	scan->unsettled = repalloc(scan->unsettled, sizeof(TransactionId) *
							   (scan->nunsettled + snapshot->xcnt + 1));
	for (uint32 i = 0; i < snapshot->xcnt; i++)
	{
		if (TransactionIdDidCommit(snapshot->xip[i]))
			scan->unsettled[scan->nunsettled++] = snapshot->xip[i];
	}
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	scan->looked = true;
}

bool
cdc_scan_settled(CdcFeed *feed, CdcScan *scan)
{
	if (!scan->looked)
		note_hanging_commits(feed, scan);
	scan->nunsettled = prune_settled(scan->unsettled, scan->nunsettled);
	return scan->nunsettled == 0;
}

/* A scan of these items at the end of the list. */
static CdcScan *
add_scan(CdcFeed *feed, int nitems, const char *what)
{
	MemoryContext old = MemoryContextSwitchTo(feed->cxt);
	CdcScan    *scan = palloc0(sizeof(CdcScan));
	CdcScan   **end = &feed->scan;

	scan->what = what;
	snprintf(scan->status, sizeof(scan->status), "%s is about to start", what);
	scan->version = feed->def->version;
	scan->map_version = -1;
	scan->items = palloc(sizeof(CdcScanItem) * Max(nitems, 1));
	scan->dropped = palloc0(sizeof(bool) * Max(nitems, 1));
	nrecent = prune_settled(recent, nrecent);
	scan->nunsettled = nrecent;
	scan->unsettled = palloc(sizeof(TransactionId) * Max(nrecent, 1));
	if (nrecent > 0)
		memcpy(scan->unsettled, recent, sizeof(TransactionId) * nrecent);
	while (*end != NULL)
		end = &(*end)->next;
	*end = scan;
	MemoryContextSwitchTo(old);
	return scan;
}

void
cdc_scan_begin(CdcFeed *feed, CdcHlc t0)
{
	CdcScan    *scan = add_scan(feed, feed->def->ntargets,
								feed->def->version == 1 ? "initial scan" : "scan");

	Assert(feed->scan == scan);
	scan->initial = true;
	scan->lsn = scan->hold_lsn = feed->queued_lsn;
	scan->t0 = scan->hold_hlc = t0;
	for (int i = 0; i < feed->def->ntargets; i++)
	{
		if (!feed->def->targets[i].scan || feed->def->targets[i].gone)
			continue;
		memset(&scan->items[scan->nitems], 0, sizeof(CdcScanItem));
		scan->items[scan->nitems].target = feed->def->targets[i].relid;
		scan->items[scan->nitems++].relid = feed->def->targets[i].relid;
	}
}

/*
 * A table that is read again at a later commit need not be read to the end
 * for an earlier one: every row comes with the later stamp.  No row of the
 * later scan leaves before its hold is durable, so a replay that sends the
 * earlier rows after all sends them before.  The initial scan is not cut
 * short: its rows are the table as it was when the feed was created.
 */
static void
supersede(CdcFeed *feed, const CdcScan *by, const CdcScanItem *item)
{
	for (CdcScan *scan = feed->scan; scan != NULL; scan = scan->next)
	{
		if (scan == by || scan->initial)
			continue;
		for (int i = 0; i < scan->nitems; i++)
		{
			if (scan->items[i].relid == item->relid ||
				(item->relid == item->target && scan->items[i].target == item->target))
			{
				scan->dropped[i] = true;
				scan->recorded = by->t0;
			}
		}
	}
}

CdcHlc
cdc_scan_start(CdcFeed *feed, XLogRecPtr commit_lsn, XLogRecPtr end_lsn,
			   List *items, const char *what)
{
	CdcScan    *scan = feed->scan;
	ListCell   *lc;

	Assert(feed->touched);
	while (scan != NULL && scan->next != NULL)
		scan = scan->next;
	if (scan != NULL && scan->lsn == end_lsn && !scan->initial)
	{
		scan->items = repalloc(scan->items, sizeof(CdcScanItem) *
							   (scan->nitems + list_length(items)));
		scan->dropped = repalloc(scan->dropped, sizeof(bool) *
								 (scan->nitems + list_length(items)));
		scan->map_version = -1;
	}
	else
	{
		scan = add_scan(feed, list_length(items), what);
		scan->lsn = end_lsn;
		scan->hold_lsn = Max(feed->queued_lsn, commit_lsn);
		scan->hold_hlc = feed->queued_hlc;

		/* rows of C itself may differ from what is read: another stamp */
		feed->txn_hlc.logical++;
		scan->t0 = feed->txn_hlc;
	}
	foreach(lc, items)
	{
		const CdcScanItem *item = lfirst(lc);
		bool		known = false;

		for (int i = 0; i < scan->nitems && !known; i++)
			known = scan->items[i].relid == item->relid;
		if (known)
			continue;
		scan->dropped[scan->nitems] = false;
		scan->items[scan->nitems++] = *item;
		supersede(feed, scan, item);
	}
	return scan->t0;
}

bool
cdc_scan_all_dropped(const CdcScan *scan)
{
	for (int i = 0; i < scan->nitems; i++)
	{
		if (!scan->dropped[i])
			return false;
	}
	return true;
}

/*
 * Does the sink have all of it: its rows, and the events on whose account
 * rows were dropped?  One of which nothing is wanted any more has no rows to
 * wait for.
 */
static bool
scan_over(const CdcFeed *feed, const CdcScan *scan)
{
	bool		rows_gone = scan->acked ||
		(!scan->initial && !scan->read_all && cdc_scan_all_dropped(scan));

	return rows_gone && cdc_hlc_cmp(feed->acked_hlc, scan->recorded) >= 0;
}

CdcHlc
cdc_scan_resolved_least(const CdcFeed *feed)
{
	CdcHlc		least = feed->resolved_least;

	for (const CdcScan *scan = feed->scan;
		 scan != NULL && scan_over(feed, scan); scan = scan->next)
		least = cdc_hlc_max(least, scan->recorded);
	return least;
}

bool
cdc_scan_hold(const CdcFeed *feed, XLogRecPtr *lsn, CdcHlc *hlc)
{
	const CdcScan *scan = feed->scan;

	while (scan != NULL && scan_over(feed, scan))
		scan = scan->next;
	if (scan == NULL)
		return false;
	*lsn = scan->hold_lsn;
	*hlc = scan->hold_hlc;
	return true;
}

int
cdc_scan_item_target(const CdcFeed *feed, const CdcScan *scan, int item)
{
	int			i = cdc_definition_find(feed->def, scan->items[item].target);

	return i >= 0 && !feed->def->targets[i].gone ? i : -1;
}

/* The number of a target in the set of keys, -1: not in this scan. */
static int
key_space(const CdcFeed *feed, CdcScan *scan, int target)
{
	if (scan->map_version != feed->def->version ||
		scan->map_targets != feed->def->ntargets)
	{
		if (scan->map != NULL)
			pfree(scan->map);
		scan->map = MemoryContextAlloc(feed->cxt, sizeof(int) *
									   Max(feed->def->ntargets, 1));
		for (int i = 0; i < feed->def->ntargets; i++)
		{
			scan->map[i] = -1;
			for (int j = 0; j < scan->nitems && scan->map[i] < 0; j++)
			{
				if (scan->items[j].target == feed->def->targets[i].relid)
					scan->map[i] = j;
			}
		}
		scan->map_version = feed->def->version;
		scan->map_targets = feed->def->ntargets;
	}
	return scan->map[target];
}

bool *
cdc_scan_item_absent(const CdcScanItem *item, TupleDesc desc)
{
	bool	   *absent = palloc0(sizeof(bool) * Max(desc->natts, 1));
	bool		any = false;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		AttrNumber	attnum;

		if (att->attisdropped)
			continue;
		attnum = get_attnum(item->target, NameStr(att->attname));
		absent[i] = attnum > 0 && cdc_scan_item_is_fresh(item, attnum);
		any |= absent[i];
	}
	if (any)
		return absent;
	pfree(absent);
	return NULL;
}

/* The item by which a scan would send this row, NULL: it would not. */
static const CdcScanItem *
item_of_row(const CdcFeed *feed, const CdcScan *scan, int target, Oid relid)
{
	for (int i = 0; i < scan->nitems; i++)
	{
		const CdcScanItem *item = &scan->items[i];

		if (!scan->dropped[i] &&
			item->target == feed->def->targets[target].relid &&
			(item->relid == item->target || item->relid == relid))
			return item;
	}
	return NULL;
}

int
cdc_scan_record(CdcFeed *feed, int target, Oid relid, const char *key,
				size_t len, CdcUnsent **unsent)
{
	int			n = 0;

	for (CdcScan *scan = feed->scan; scan != NULL; scan = scan->next)
	{
		int			space;

		if (scan->read_all && scan->pending == NULL)
			continue;
		space = key_space(feed, scan, target);
		if (space >= 0)
			scan->recorded = feed->txn_hlc;
		if (scan->keys == NULL)
			scan->keys = cdc_keys_create();
		if (space >= 0 && cdc_keys_add(scan->keys, space, key, len))
		{
			const CdcScanItem *item = unsent == NULL ? NULL :
				item_of_row(feed, scan, target, relid);

			if (item != NULL)
			{
				*unsent = n == 0 ? palloc(sizeof(CdcUnsent)) :
					repalloc(*unsent, sizeof(CdcUnsent) * (n + 1));
				(*unsent)[n].stamp = scan->t0;
				(*unsent)[n++].item = item;
			}
		}
	}
	return n;
}

void
cdc_scan_record_both(CdcFeed *feed, int target, Oid relid,
					 const CdcBuf *key_old, const CdcBuf *key_new)
{
	if (key_old->len > 0)
		(void) cdc_scan_record(feed, target, relid, key_old->data, key_old->len, NULL);
	if (key_new->len > 0)
		(void) cdc_scan_record(feed, target, relid, key_new->data, key_new->len, NULL);
}

void
cdc_scan_await_recorded(CdcFeed *feed)
{
	for (CdcScan *scan = feed->scan; scan != NULL; scan = scan->next)
		feed->resolved_least = cdc_hlc_max(feed->resolved_least, scan->recorded);
}

void
cdc_scan_forget_keys(CdcFeed *feed)
{
	for (CdcScan *scan = feed->scan; scan != NULL; scan = scan->next)
	{
		if (scan->acked || scan->keys == NULL)
			continue;
		cdc_keys_free(scan->keys);
		scan->keys = NULL;
	}
}

bool
cdc_scan_has_key(const CdcFeed *feed, CdcScan *scan, int target,
				 const char *key, size_t len)
{
	return scan->keys != NULL &&
		cdc_keys_contain(scan->keys, key_space(feed, scan, target), key, len);
}

void
cdc_scan_drop_target(CdcFeed *feed, int target, bool whole)
{
	for (CdcScan *scan = feed->scan; scan != NULL; scan = scan->next)
	{
		for (int i = 0; i < scan->nitems; i++)
		{
			if (scan->items[i].target != feed->def->targets[target].relid)
				continue;
			scan->dropped[i] |= whole;
			scan->recorded = feed->txn_hlc;
		}
	}
	if (!whole && feed->scan != NULL && !feed->scan->read_all)
		cdc_scan_restart(feed);
}

void
cdc_scan_restart(CdcFeed *feed)
{
	CdcScan    *scan = feed->scan;

	if (scan == NULL || scan->acked)
		return;
	cdc_scan_drop_worker(scan);
	scan->read_all = false;
	scan->start_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 CDC_SCAN_RETRY_MS);
	feed->scanned_rows = 0;
}

static void
free_scan(CdcScan *scan)
{
	cdc_scan_drop_worker(scan);
	if (scan->keys != NULL)
		cdc_keys_free(scan->keys);
	if (scan->map != NULL)
		pfree(scan->map);
	pfree(scan->items);
	pfree(scan->dropped);
	pfree(scan->unsettled);
	pfree(scan);
}

void
cdc_scan_rewind(CdcFeed *feed, XLogRecPtr lsn)
{
	CdcScan   **link = &feed->scan;

	while (*link != NULL)
	{
		CdcScan    *scan = *link;

		if (scan->lsn <= lsn)
		{
			link = &scan->next;
			continue;
		}
		*link = scan->next;
		free_scan(scan);
	}
}

void
cdc_scan_forget_done(CdcFeed *feed)
{
	while (feed->scan != NULL && scan_over(feed, feed->scan))
	{
		CdcScan    *scan = feed->scan;

		feed->resolved_least = cdc_hlc_max(feed->resolved_least, scan->recorded);
		feed->scan = scan->next;
		free_scan(scan);
	}
}

void
cdc_scan_free(CdcFeed *feed)
{
	while (feed->scan != NULL)
	{
		CdcScan    *scan = feed->scan;

		feed->scan = scan->next;
		free_scan(scan);
	}
}

CdcHlc
cdc_scan_floor(const CdcFeed *feed)
{
	CdcHlc		floor = feed->scan->hold_hlc;

	if (!feed->scan->initial)
		floor.logical++;		/* the initial one holds at its own T0 */
	return floor;
}

bool
cdc_scan_is_only_initial(const CdcFeed *feed)
{
	return feed->scan != NULL && feed->scan->initial && feed->scan->next == NULL;
}

bool
cdc_scan_is_done(const CdcFeed *feed)
{
	return feed->scan == NULL || scan_over(feed, feed->scan);
}

bool
cdc_scan_is_pending(const CdcFeed *feed, XLogRecPtr lsn)
{
	for (const CdcScan *scan = feed->scan; scan != NULL; scan = scan->next)
	{
		if (scan->lsn <= lsn && !scan_over(feed, scan))
			return true;
	}
	return false;
}

void
cdc_scan_batch_acked(CdcFeed *feed, const CdcBatch *batch)
{
	/* nothing but the scan that set the mark could take it for its own */
	if (batch->scan_end && feed->scan->read_all)
		feed->scan->acked = true;
}

const char *
cdc_scan_status(const CdcFeed *feed)
{
	if (feed->scan == NULL || feed->scan->acked)
		return NULL;
	return feed->scan->status;
}
