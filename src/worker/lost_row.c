/*-------------------------------------------------------------------------
 * lost_row.c
 *		Rows that cannot be encoded: they end their feed, or go to the table
 *		of dead letters.
 *
 * Runs: lane worker.  Rows are lost in decoding callbacks, where nothing can
 * be written, and where rows are looked up again; they are stored by the main
 * loop, before what lies behind them is confirmed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/job.h"
#include "utils/memutils.h"
#include "wal/decode.h"
#include "worker/lane.h"

/* A row that could not be encoded, for the dead-letter table. */
typedef struct LostRow
{
	int64		job_id;
	char	   *topic;
	XLogRecPtr	lsn;
	CdcHlc		updated;
	char	   *error;
} LostRow;

static List *lost_rows = NIL;
static MemoryContext lost_cxt = NULL;

void
stream_lose_row(CdcFeed *feed, const CdcTopic *topic, CdcHlc updated,
				const char *error)
{
	LostRow    *row;
	MemoryContext old;

	if (feed->options->on_bad_message != CDC_BAD_MESSAGE_DEAD_LETTER)
	{
		cdc_feed_end(feed, "a row for topic \"%s\" could not be encoded: %s",
					 topic->name, error);
		stream_stop_before(feed);

		/* found behind its transaction, part of which would be acknowledged */
		if (!lane.in_callback)
			cdc_feed_disconnect(feed);
		return;
	}
	if (lost_cxt == NULL)
		lost_cxt = AllocSetContextCreate(TopMemoryContext, "cdc_sink lost rows",
										 ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(lost_cxt);
	row = palloc0(sizeof(LostRow));
	row->job_id = feed->job_id;
	row->topic = pstrdup(topic->name);
	row->lsn = lane.in_callback ? stream_txn()->end_lsn : feed->queued_lsn;
	row->updated = updated;
	row->error = pstrdup(error);
	lost_rows = lappend(lost_rows, row);
	MemoryContextSwitchTo(old);
	feed->dead_letters++;
}

void
stream_store_dead_letters(void)
{
	ListCell   *lc;

	if (lost_rows == NIL)
		return;
	catalog_enter();
	foreach(lc, lost_rows)
	{
		LostRow    *row = lfirst(lc);

		cdc_dead_letter_insert(row->job_id, row->topic, NULL, 0, NULL, 0,
							   row->lsn, row->updated, row->error);
	}
	catalog_leave();
	lost_rows = NIL;
	MemoryContextReset(lost_cxt);
}
