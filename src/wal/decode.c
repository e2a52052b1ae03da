/*-------------------------------------------------------------------------
 * decode.c
 *		Life of the decoding context and the loop that reads WAL into it.
 *
 * Contexts are opened inside a transaction: opened outside of one, core sets
 * PROC_IN_LOGICAL_DECODING on this process for as long as the slot is held,
 * and VACUUM then ignores every snapshot it takes, also those of our own
 * catalog visits.
 *
 * After an ERROR in a callback the context is of no use any more, since core
 * has dropped the transaction it was in: the worker leaves and is started
 * again from the checkpoint rows.  A rewind closes and opens in good order.
 * A transaction that is abandoned makes use of both: an ERROR of our own ends
 * it, and the context is opened anew before its commit.
 *
 * Runs: lane worker.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "base/compat.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/slot.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "wal/decode.h"
#include "wal/plugin.h"
#include "wal/slot.h"

/* The clock is looked at once in so many records. */
#define RECORDS_PER_CLOCK	64

#define WROTE_MAX			64

/* Of the ERROR that abandons a transaction; nobody else sees it. */
#define ERRCODE_ABANDONED	MAKE_SQLSTATE('C', 'D', 'C', '0', '1')

static LogicalDecodingContext *decoder = NULL;
static MemoryContext decoder_cxt = NULL;
static XLogRecPtr start_position = InvalidXLogRecPtr;
static XLogRecPtr known_flush = InvalidXLogRecPtr;
static bool break_wanted = false;

XLogRecPtr
cdc_wal_flushed(void)
{
	return cdc_compat_flush_ptr();
}

/*
 * Reads a page that is flushed up to the wanted byte, or says that it is
 * not: XLogReadRecord then gives NULL without an error and can be called
 * again later.  Never waits.
 */
static int
page_read(XLogReaderState *state, XLogRecPtr page, int req_len,
		  XLogRecPtr target, char *buf)
{
	WALReadError error;
	int			avail;

	if (page + req_len > known_flush)
	{
		known_flush = cdc_compat_flush_ptr();
		if (page + req_len > known_flush)
			return -1;
	}
	cdc_compat_determine_timeline(state, page, req_len);
	avail = (int) Min((XLogRecPtr) XLOG_BLCKSZ, known_flush - page);

	/*
	 * Read the whole page: what lies behind avail is not looked at, and the
	 * read stays aligned.
	 */
	if (!WALRead(state, buf, page, XLOG_BLCKSZ,
				 cdc_compat_read_tli(state), &error))
		WALReadRaiseError(&error);
	return avail;
}

/*
 * What a stretch of WAL tells of commit times.  A transaction takes its
 * commit time after it has written all its other records: so what was
 * committed before the stretch was so before the commit of any transaction
 * that has another record in it.
 */
typedef struct CommitTimes
{
	TransactionId wrote[WROTE_MAX]; /* have a record in it */
	int			nwrote;
	TimestampTz earliest;		/* first commit of one of these, 0: none */
	TimestampTz last;			/* last commit in this database */
} CommitTimes;

static void
look_at_record(XLogReaderState *reader, CommitTimes *times)
{
	uint8		info = XLogRecGetInfo(reader);
	uint8		op = info & XLOG_XACT_OPMASK;
	TransactionId xid = XLogRecGetXid(reader);
	xl_xact_commit *commit;
	xl_xact_parsed_commit parsed;

	if (XLogRecGetRmid(reader) != RM_XACT_ID ||
		(op != XLOG_XACT_COMMIT && op != XLOG_XACT_COMMIT_PREPARED))
	{
		if (times->earliest == 0 && times->nwrote < WROTE_MAX &&
			TransactionIdIsNormal(xid))
			times->wrote[times->nwrote++] = xid;
		return;
	}
	commit = (xl_xact_commit *) XLogRecGetData(reader);
	ParseCommitRecord(info, commit, &parsed);
	for (int i = 0; i < times->nwrote && times->earliest == 0; i++)
	{
		if (times->wrote[i] == xid)
			times->earliest = commit->xact_time;
	}
	if (!OidIsValid(parsed.dbId) || parsed.dbId == MyDatabaseId)
		times->last = Max(times->last, commit->xact_time);
}

bool
cdc_wal_last_commit(XLogRecPtr to, uint64 max_bytes, TimestampTz *bound)
{
	XLogReaderRoutine routine = {
		.page_read = page_read,
		.segment_open = wal_segment_open,
		.segment_close = wal_segment_close,
	};
	XLogReaderState *reader;
	XLogRecPtr	redo = GetRedoRecPtr();
	CommitTimes times;
	bool		read_all;

	if (redo >= to || to - redo > max_bytes)
		return false;
	reader = XLogReaderAllocate(wal_segment_size, NULL, &routine, NULL);
	if (reader == NULL)
		return false;
	memset(&times, 0, sizeof(times));
	XLogBeginRead(reader, redo);
	while (reader->EndRecPtr < to)
	{
		char	   *error = NULL;

		if (XLogReadRecord(reader, &error) == NULL)
			break;
		CHECK_FOR_INTERRUPTS();
		look_at_record(reader, &times);
	}
	read_all = reader->EndRecPtr >= to;
	XLogReaderFree(reader);
	*bound = Max(times.earliest, times.last);
	return read_all && times.earliest != 0;
}

void
cdc_decoder_open(XLogRecPtr start)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext old;

	Assert(decoder == NULL);
	cdc_slot_allow_plugin();
	if (decoder_cxt == NULL)
		decoder_cxt = AllocSetContextCreate(TopMemoryContext,
											"cdc_sink decoder",
											ALLOCSET_DEFAULT_SIZES);

	cdc_compat_slot_acquire(cdc_slot_name(MyDatabaseId));
	if (cdc_compat_slot_invalidated())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the server has removed WAL that the changefeeds of this database still need"),
				 errhint("Raise max_slot_wal_keep_size.")));

	StartTransactionCommand();
	old = MemoryContextSwitchTo(decoder_cxt);
	cdc_plugin_permit(true);
	decoder = CreateDecodingContext(start, NIL, false,
									XL_ROUTINE(.page_read = page_read,
											   .segment_open = wal_segment_open,
											   .segment_close = wal_segment_close),
									NULL, NULL, NULL);
	cdc_plugin_permit(false);
	MemoryContextSwitchTo(old);
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);

	if (cdc_compat_snapshot_unprotected())
		elog(ERROR, "snapshots of this process are not protected from VACUUM");

	start_position = Max(start, MyReplicationSlot->data.confirmed_flush);
	XLogBeginRead(decoder->reader, MyReplicationSlot->data.restart_lsn);
	InvalidateSystemCaches();
}

void
cdc_decoder_close(void)
{
	if (decoder != NULL)
	{
		/* frees the reader, which closes the segment file */
		FreeDecodingContext(decoder);
		decoder = NULL;
		MemoryContextReset(decoder_cxt);
	}
	if (MyReplicationSlot != NULL)
		ReplicationSlotRelease();
	InvalidateSystemCaches();
}

bool
cdc_decoder_is_open(void)
{
	return decoder != NULL;
}

static bool
decode_some(int64 budget_us)
{
	instr_time	begin;
	int			n = 0;

	if (decoder->reader->EndRecPtr >= known_flush)
	{
		known_flush = cdc_compat_flush_ptr();
		if (decoder->reader->EndRecPtr >= known_flush)
			return false;
	}

	break_wanted = false;
	INSTR_TIME_SET_CURRENT(begin);
	while (decoder->reader->EndRecPtr < known_flush)
	{
		char	   *error = NULL;
		XLogRecord *record = XLogReadRecord(decoder->reader, &error);

		if (error != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("could not read WAL at %X/%X: %s",
							LSN_FORMAT_ARGS(decoder->reader->EndRecPtr), error)));
		if (record == NULL)
			return false;		/* the tail of a record is not flushed yet */

		LogicalDecodingProcessRecord(decoder, decoder->reader);
		CHECK_FOR_INTERRUPTS();

		if (unlikely(break_wanted))
			return true;
		if (++n % RECORDS_PER_CLOCK == 0)
		{
			instr_time	now;

			INSTR_TIME_SET_CURRENT(now);
			INSTR_TIME_SUBTRACT(now, begin);
			if ((int64) INSTR_TIME_GET_MICROSEC(now) >= budget_us)
				return true;
		}
	}
	return decoder->reader->EndRecPtr < cdc_compat_flush_ptr();
}

bool
cdc_decode_some(int64 budget_us)
{
	/*
	 * The reader allocates what it keeps in the current context, when it
	 * first needs it.
	 */
	MemoryContext old = MemoryContextSwitchTo(decoder_cxt);
	volatile bool more = true;
	volatile bool again = false;

	PG_TRY();
	{
		more = decode_some(budget_us);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_ABANDONED)
			PG_RE_THROW();

		/* core has ended its own transaction and dropped the one decoded */
		MemoryContextSwitchTo(old);
		FlushErrorState();
		again = true;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	if (again)
	{
		XLogRecPtr	commit = decoder->reader->ReadRecPtr;

		cdc_decoder_close();
		cdc_decoder_open(commit);
	}
	return more;
}

void
cdc_decoder_abandon(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_ABANDONED),
			 errmsg_internal("the transaction is handed out again")));
	pg_unreachable();
}

XLogRecPtr
cdc_decoder_position(void)
{
	/*
	 * The reader starts at restart_lsn, before the point from which
	 * transactions are handed out.
	 */
	return Max(decoder->reader->EndRecPtr, start_position);
}

XLogRecPtr
cdc_decoder_read_ptr(void)
{
	return decoder->reader->EndRecPtr;
}

void
cdc_decoder_break(void)
{
	break_wanted = true;
}

void
cdc_decoder_confirm(XLogRecPtr lsn)
{
	/* Some minor releases assign blindly: never move back. */
	if (lsn > MyReplicationSlot->data.confirmed_flush)
		LogicalConfirmReceivedLocation(lsn);
}

XLogRecPtr
cdc_decoder_confirmed(void)
{
	return MyReplicationSlot->data.confirmed_flush;
}
