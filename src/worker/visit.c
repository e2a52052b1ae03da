/*-------------------------------------------------------------------------
 * visit.c
 *		The lane's visits to the catalog: jobs that came, requests to pause,
 *		resume or cancel, rights that were lost, feeds that end.
 *
 * Between decoding and SQL the caches change sides: decoding fills them as
 * of the past, SQL as of now, and nothing corrects an entry that is already
 * there.  Hence catalog_enter() and catalog_leave(), which drop them, and
 * hence visits are rare: on request, and once in a while.
 *
 * Runs: lane worker, main loop, between two transactions of the stream.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/guc.h"
#include "catalog/job.h"
#include "catalog/namespace.h"
#include "catalog/saved.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "pgstat.h"
#include "feed/members.h"
#include "feed/shapes.h"
#include "scan/scan.h"
#include "storage/ipc.h"
#include "storage/procarray.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "wal/decode.h"
#include "worker/cursor.h"
#include "worker/marks.h"
#include "worker/lane.h"

#define VISIT_MS	2000	/* without a reason */
#define AGAIN_MS	10		/* when something is waited for */
#define PURGE_MS	3600000	/* between looks for jobs that ended long ago */

static TimestampTz purged_at = 0;
static TimestampTz first_visit_at = 0;

void
catalog_enter(void)
{
	InvalidateSystemCaches();
	if (cdc_compat_snapshot_unprotected())
		elog(ERROR, "snapshots of this process are not protected from VACUUM");
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(lane.turn_cxt);
}

void
catalog_leave(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	InvalidateSystemCaches();
	MemoryContextSwitchTo(lane.turn_cxt);
}

bool
visit_is_due(TimestampTz now)
{
	return (lane.want_visit &&
			TimestampDifferenceExceeds(lane.visited_at, now, AGAIN_MS)) ||
		pg_atomic_read_u32(&lane.shared->requests) != lane.seen_requests ||
		TimestampDifferenceExceeds(lane.visited_at, now, VISIT_MS);
}

/* Is the extension there, with the tables that we know? */
static bool
find_extension(void)
{
	Oid			nspid = get_namespace_oid("cdc_sink", true);
	Oid			relid;

	if (!OidIsValid(get_extension_oid("cdc_sink", true)) || !OidIsValid(nspid))
		return false;
	relid = get_relname_relid("definition", nspid);
	if (OidIsValid(lane.definition_relid) && OidIsValid(relid) &&
		relid != lane.definition_relid)
	{
		/*
		 * Dropped and created again: nothing that this process knows is true
		 * any more, and definitions in the new table may have been decoded
		 * unseen.  The slot has not been confirmed past them.
		 */
		ereport(LOG,
				(errmsg("the extension cdc_sink was created anew, starting over")));
		proc_exit(1);
	}
	lane.schema = nspid;
	lane.definition_relid = relid;
	return OidIsValid(relid);
}

bool
visit_extension_is_back(void)
{
	if (!find_extension())
		return false;
	lane.extension_gone = false;
	lane.want_visit = true;
	return true;
}

/* Puts a feed where its row says it is. */
static void
load_position(CdcFeed *feed, const CdcCheckpoint *cp)
{
	feed->durable = *cp;
	cdc_feed_set_position(feed, cp->resume_lsn, cp->hlc);
	feed->resolved_last = cp->high_water;
	feed->end_error[0] = '\0';
	feed->event_lsn = InvalidXLogRecPtr;
	feed->last_resolved = false;
	cdc_feed_load_members(feed);
	cdc_feed_load_shapes(feed);
	feed->check_lsn = InvalidXLogRecPtr;
	feed->finished = feed->over = feed->over_stored = false;
	feed->awaits_cursor = feed->passing = false;
	cdc_scan_free(feed);
	if (!cp->scan_done)
		cdc_scan_begin(feed, cp->hlc);
}

static void
release_hold(CdcFeed *feed)
{
	CdcFeedShared *s;

	feed->held = false;
	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	s = cdc_shmem_feed(feed->job_id, MyDatabaseId, false);
	if (s != NULL)
		s->stop_requested = false;
	LWLockRelease(cdc_shared->lock);
}

/* Sends nothing more and keeps the durable position. */
static void
stop_feed(CdcFeed *feed)
{
	CdcCheckpoint cp = feed->durable;
	XLogRecPtr	limit;
	CdcHlc		limit_hlc;

	if (feed->sink != NULL)
		cdc_feed_pump(feed);	/* acks that are here already */
	limit = cdc_feed_durable_limit(feed, &limit_hlc);
	if (cp.resume_lsn != InvalidXLogRecPtr && cp.scan_done &&
		limit > cp.resume_lsn)
	{
		cp.resume_lsn = limit;
		cp.hlc = limit_hlc;
		cp.version = feed->def->version;
		if (feed->next_def != NULL && cp.resume_lsn >= feed->next_lsn)
		{
			/* it has come to an ALTER, which must not be passed unseen */
			cp.resume_lsn = feed->next_lsn;
			cp.hlc = feed->next_hlc;
			cp.version = feed->next_def->version;
			cp.scan_done = !cdc_definition_scans(feed->next_def);
		}
		if (cp.scan_done && cdc_hlc_cmp(cp.hlc, cp.high_water) > 0)
			cp.high_water = cp.hlc;
		cdc_checkpoint_write(&cp);
		cdc_feed_store_shapes(feed, cp.resume_lsn);
		cdc_feed_store_members(feed, cp.resume_lsn);
	}
	feed->next_def = NULL;		/* is in the row, or behind it */
	cdc_feed_disconnect(feed);
	cdc_scan_free(feed);
	feed->durable = cp;
	feed->mode = CDC_FEED_STOPPED;
	release_hold(feed);
	cdc_tables_reset_subscribers();
}

/*
 * A TRUNCATE or a schema change has paused the feed.  An initial scan that is
 * under way starts anew behind it: all before is at the sink, the scan shows
 * what that has led to, and its stamp is above all of that.  Any other scan
 * needs the stream from its own beginning on, which then passes the event.
 */
static void
answer_event(CdcFeed *feed)
{
	CdcCheckpoint *cp = &feed->durable;

	if (!cp->scan_done && cdc_scan_is_only_initial(feed) && feed->next_def == NULL &&
		feed->acked_lsn >= feed->event_lsn)
	{
		cp->resume_lsn = feed->acked_lsn;
		cp->hlc = cdc_hlc_max(feed->acked_hlc, cp->high_water);
		cp->hlc.logical++;
		cdc_checkpoint_write(cp);
		cdc_feed_store_shapes(feed, cp->resume_lsn);
		cdc_feed_store_members(feed, cp->resume_lsn);
	}
	cp->answered_lsn = feed->event_lsn;
	cdc_checkpoint_answer(feed->job_id, cp->answered_lsn);
}

/* Brings a feed that has come to its end into its last state. */
static void
finish_if_over(CdcFeed *feed)
{
	CdcJobEvent event;
	CdcJobStatus status;

	if (feed->over && !feed->end_fails && cdc_feed_has_ended(feed))
		feed->finished = true;
	if (feed->finished)
		event = CDC_EV_FINISHED;
	else if (feed->mode == CDC_FEED_ENDING && dlist_is_empty(&feed->queue) &&
			 !feed->last_resolved &&
			 (!feed->over || feed->end_error[0] != '\0'))
	{
		event = feed->expired ? CDC_EV_EXPIRED : !feed->end_fails &&
			(feed->end_pauses || feed->options->on_error == CDC_ON_ERROR_PAUSE) ?
			CDC_EV_ERROR_PAUSE : CDC_EV_ERROR_FAIL;
	}
	else if (feed->end_error[0] != '\0' && feed->mode == CDC_FEED_ACTIVE &&
			 feed->scan != NULL)
	{
		/* the scan cannot go on: neither can the feed */
		feed->mode = CDC_FEED_ENDING;
		return;
	}
	else
		return;

	/*
	 * Paused, it is to go on: not before its start is in its row, with the
	 * version of its definition.  An ALTER whose commit is decoded and not
	 * visible yet would be passed for good.
	 */
	if (event == CDC_EV_ERROR_PAUSE && !feed->has_secrets &&
		feed->durable.resume_lsn == InvalidXLogRecPtr &&
		feed->start_lsn != InvalidXLogRecPtr)
	{
		lane.want_visit = true;
		return;
	}

	/*
	 * A request that is not committed yet holds the row: again later.  The
	 * position, which may lie behind the TRUNCATE that is the end, goes with
	 * the state or not at all.
	 */
	if (!cdc_job_apply(feed->job_id, event,
					   feed->finished ? NULL : feed->end_error, &status))
		return;
	if (event == CDC_EV_ERROR_PAUSE && feed->event_lsn > feed->durable.answered_lsn)
		answer_event(feed);
	stop_feed(feed);
	feed->end_pauses = false;
	if (!feed->finished)
		ereport(LOG,
				(errmsg("changefeed " INT64_FORMAT " has ended: %s",
						feed->job_id, feed->end_error)));
	feed->status = status;
}

static void
apply_request(CdcFeed *feed, const CdcJob *job)
{
	CdcJobStatus status = feed->status;

	switch (job->status)
	{
		case CDC_JOB_PAUSED:

			/* done by a backend while no lane was there */
			if (feed->mode != CDC_FEED_STOPPED && feed->mode != CDC_FEED_WAITING &&
				feed->durable.resume_lsn != InvalidXLogRecPtr)
				stop_feed(feed);
			break;

		case CDC_JOB_PAUSE_REQUESTED:
			if (feed->mode == CDC_FEED_WAITING)
				break;			/* it needs a position first */
			if (feed->durable.resume_lsn == InvalidXLogRecPtr)
				break;
			if (feed->mode == CDC_FEED_ENDING && dlist_is_empty(&feed->queue) &&
				!feed->over)
				feed->last_resolved = false;	/* a sink that is down may
												 * never take it */
			if (cdc_feed_has_ended(feed))
				break;			/* has come to its end, which says why */
			if (feed->mode != CDC_FEED_STOPPED)
				stop_feed(feed);
			(void) cdc_job_apply(feed->job_id, CDC_EV_STOPPED, NULL, &status);
			break;

		case CDC_JOB_CANCEL_REQUESTED:
			if (feed->mode != CDC_FEED_STOPPED)
				stop_feed(feed);
			(void) cdc_job_apply(feed->job_id, CDC_EV_STOPPED, NULL, &status);
			break;

		case CDC_JOB_PENDING:
		case CDC_JOB_RUNNING:
			if (feed->held)
			{
				/* taken back before we read it */
				release_hold(feed);
				feed->rewind_at = feed->sink_open_at = 0;
				feed->wants_rewind |= feed->passing;
			}
			if (feed->mode == CDC_FEED_STOPPED &&
				job->checkpoint.resume_lsn != InvalidXLogRecPtr)
			{
				load_position(feed, &job->checkpoint);
				feed->mode = CDC_FEED_DETACHED;
				feed->rewind_at = 0;
				feed->detaches = 0;
				feed->wants_rewind = true;
				feed->sink_open_at = 0;
			}
			break;

		default:
			break;
	}
	feed->status = status;
}

/* A feed that has begun gets its first row. */
static void
store_start(CdcFeed *feed)
{
	CdcCheckpoint cp = feed->durable;
	CdcJobStatus status;

	if (feed->mode == CDC_FEED_WAITING || !feed->has_secrets)
		return;
	if (cp.resume_lsn != InvalidXLogRecPtr)
	{
		/* the row may have been locked when the position was written */
		if (feed->status == CDC_JOB_PENDING &&
			cdc_job_apply(feed->job_id, CDC_EV_STARTED, NULL, &status))
			feed->status = status;
		return;
	}
	if (feed->passing && feed->status == CDC_JOB_PAUSE_REQUESTED)
		cursor_stop_passing(feed);
	if (feed->start_lsn == InvalidXLogRecPtr)
		return;					/* still on the way to its cursor */
	cp.job_id = feed->job_id;
	cp.version = feed->def->version;
	cp.resume_lsn = feed->start_lsn;
	cp.hlc = feed->start_hlc;
	cp.scan_done = feed->scan == NULL;
	cdc_checkpoint_write(&cp);
	cdc_feed_store_shapes(feed, cp.resume_lsn);
	cdc_feed_store_members(feed, cp.resume_lsn);
	if (cp.version > 1)
		cdc_job_forget_secrets(feed->job_id, cp.version);
	if (cdc_job_apply(feed->job_id, CDC_EV_STARTED, NULL, &status))
		feed->status = status;
	feed->durable = cp;
}

/*
 * A feed whose creation was committed before the first transaction that the
 * slot decodes: once the decoder has passed a position behind that commit
 * and has not met it, the feed starts where the decoder is.  Its scan covers
 * everything before.
 */
static void
begin_unseen(CdcFeed *feed)
{
	if (feed->mode != CDC_FEED_WAITING || !cdc_decoder_is_open())
		return;
	if (feed->awaits_cursor && feed->created_lsn != InvalidXLogRecPtr)
	{
		cursor_place(feed);
		return;
	}
	if (feed->seen_lsn == InvalidXLogRecPtr)
	{
		feed->seen_lsn = cdc_compat_log_message(CDC_MESSAGE_PREFIX, "seen", 4);
		lane.want_visit = true;
		return;
	}
	if (cdc_decoder_position() < feed->seen_lsn)
	{
		lane.want_visit = true;
		return;
	}
	if (feed->awaits_cursor)
	{
		feed->created_lsn = cdc_decoder_position();
		cursor_place(feed);
		return;
	}
	if (feed->durable.scan_done && feed->def->version == 1 &&
		feed->options->initial_scan == CDC_SCAN_NO)
	{
		/* without a scan it was created behind the slot's start: another's */
		cdc_feed_end(feed, CDC_SLOT_GONE);
		feed->mode = CDC_FEED_ENDING;
		feed->end_fails = true;
		return;
	}
	feed->start_lsn = cdc_decoder_position();
	feed->start_hlc.wall = cdc_hlc_wall(GetCurrentTimestamp());
	feed->start_hlc.logical = 0;
	feed->mode = CDC_FEED_ACTIVE;
	cdc_feed_set_position(feed, feed->start_lsn, feed->start_hlc);
	rules_begin(feed, feed->start_lsn);
	if (!feed->durable.scan_done)
		cdc_scan_begin(feed, feed->start_hlc);
	cdc_tables_reset_subscribers();
}

/*
 * The job was altered while it was paused: it goes on from its position, by
 * the new definition.  Rows that are read there have a stamp of their own,
 * above all that was resolved.
 */
static void
adopt_at_rest(CdcFeed *feed, const CdcDefinition *def)
{
	bool		stopped = feed->mode == CDC_FEED_STOPPED;
	XLogRecPtr	lsn;
	CdcHlc		hlc;

	if (feed->mode == CDC_FEED_WAITING)
	{
		if (!cdc_feed_redefine(feed, def))
			feed->mode = CDC_FEED_ENDING;
		feed->durable.scan_done = !cdc_definition_scans(def);
		return;
	}
	if (feed->passing)
		cursor_stop_passing(feed);	/* it is where it is */
	if (feed->sink != NULL)
		cdc_feed_pump(feed);	/* acks that are here already */
	if (feed->durable.resume_lsn == InvalidXLogRecPtr)
	{
		lsn = feed->start_lsn;
		hlc = feed->start_hlc;
	}
	else if (feed->scan != NULL || !feed->durable.scan_done)
	{
		lsn = feed->durable.resume_lsn;
		hlc = feed->durable.hlc;
	}
	else
	{
		cdc_feed_disconnect(feed);
		lsn = feed->acked_lsn;
		hlc = feed->acked_hlc;
	}
	if (feed->durable.resume_lsn != InvalidXLogRecPtr && feed->durable.scan_done &&
		cdc_definition_scans(def))
	{
		hlc = cdc_hlc_max(hlc, feed->durable.high_water);
		hlc.logical++;
	}
	cdc_feed_adopt(feed, def, lsn, hlc);
	if (feed->mode != CDC_FEED_ENDING)
	{
		feed->mode = stopped ? CDC_FEED_STOPPED : CDC_FEED_DETACHED;
		feed->wants_rewind = !stopped;
		feed->rewind_at = 0;
	}
	cdc_tables_reset_subscribers();
}

/*
 * The sink's URI and the secrets that go with the feed's definition.  One
 * that was decoded may not be visible yet: until it is, the feed has no sink
 * and its row stays as it is.
 */
static void
take_secrets(CdcFeed *feed, CdcJob *job)
{
	MemoryContext old;

	if (feed->def->version != job->definition->version &&
		!cdc_job_secret(feed->job_id, feed->def->version, &job->sink_uri,
						&job->nsecrets, &job->secrets))
	{
		lane.want_visit = true;
		return;
	}
	old = MemoryContextSwitchTo(feed->cxt);
	cdc_options_add_secrets(feed->options, job->nsecrets, job->secrets);
	if (!lane_has_external_sink(feed))
		feed->uri = cdc_uri_parse(job->sink_uri);
	feed->has_secrets = true;
	MemoryContextSwitchTo(old);
}

/* A job whose tables came here from another cluster, without their WAL. */
static bool
strand_job(const CdcJob *job)
{
	if (!cdc_saved_strand(job->job_id))
		return false;
	ereport(LOG,
			(errmsg("changefeed " INT64_FORMAT " comes from another cluster and waits to be resumed",
					job->job_id),
			 errdetail("What was written after %s is not sent, except by its initial scan.",
					   job->checkpoint.high_water.wall == 0 ? "its creation" :
					   timestamptz_to_str(cdc_hlc_timestamptz(job->checkpoint.high_water)))));
	return true;
}

/*
 * Looks at a job that this process sees for the first time.  No feed stands
 * before the slot: one that does has another slot's position, and what lies
 * between is gone.
 */
static bool
has_lost_its_place(const CdcJob *job)
{
	CdcJobStatus status;

	if (job->checkpoint.resume_lsn >= lane.floor &&
		job->checkpoint.resume_lsn != InvalidXLogRecPtr)
		return false;
	if (strand_job(job))
		return true;
	if (job->checkpoint.resume_lsn == InvalidXLogRecPtr)
		return false;
	if (!cdc_job_apply(job->job_id, CDC_EV_ERROR_FAIL, CDC_SLOT_GONE, &status))
		lane.want_visit = true; /* somebody holds its row: again later */
	return true;
}

static void
visit_job(CdcJob *job)
{
	CdcFeed    *feed = lane_find_feed(job->job_id);
	CdcJobStatus status;
	char		error[CDC_ERROR_SIZE];

	if (feed == NULL)
	{
		if (has_lost_its_place(job))
			return;
		feed = cdc_feed_try_create(job->definition, error, sizeof(error));
		if (feed == NULL)
		{
			(void) cdc_job_apply(job->job_id, CDC_EV_ERROR_FAIL, error, &status);
			return;
		}
		dlist_push_tail(&lane.feeds, &feed->node);
		if (job->checkpoint.resume_lsn != InvalidXLogRecPtr)
		{
			load_position(feed, &job->checkpoint);
			if (job->status == CDC_JOB_PAUSED || job->status == CDC_JOB_PAUSE_REQUESTED)
				feed->mode = CDC_FEED_STOPPED;
			else
			{
				feed->mode = CDC_FEED_DETACHED;
				feed->wants_rewind = true;
			}
		}
	}
	feed->created_xid = InvalidTransactionId;
	feed->visited = true;
	if (feed->def->version < job->definition->version ||
		(feed->durable.resume_lsn != InvalidXLogRecPtr &&
		 feed->durable.version < job->definition->version))
		adopt_at_rest(feed, job->definition);
	if (!feed->has_secrets)
		take_secrets(feed, job);
	if (feed->has_secrets && job->owner_exists && lane_has_external_sink(feed))
		lane_resolve_place(feed, job->owner);

	feed->status = job->status;
	begin_unseen(feed);
	store_start(feed);
	if (feed->durable.resume_lsn != InvalidXLogRecPtr)
		job->checkpoint = feed->durable;
	apply_request(feed, job);
	lane_check_feed(feed, job, first_visit_at);
	finish_if_over(feed);
}

void
visit_catalog(void)
{
	List	   *jobs;
	ListCell   *lc;
	dlist_mutable_iter iter;

	lane.want_visit = false;
	lane.visited_at = GetCurrentTimestamp();
	if (first_visit_at == 0)
		first_visit_at = lane.visited_at;
	lane.seen_requests = pg_atomic_read_u32(&lane.shared->requests);

	/*
	 * Whether a creation is still on its way is asked before the snapshot is
	 * taken: one that is not must then be in it.
	 */
	dlist_foreach_modify(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		feed->visited = false;
		feed->committing = TransactionIdIsValid(feed->created_xid) &&
			TransactionIdIsInProgress(feed->created_xid);
	}

	catalog_enter();
	lane_note_places_seen();
	if (lane.dbname == NULL)
		lane.dbname = MemoryContextStrdup(TopMemoryContext, get_database_name(MyDatabaseId));
	if (!find_extension())
	{
		lane.extension_gone = true;
		catalog_leave();
		dlist_foreach_modify(iter, &lane.feeds)
			lane_forget_feed(dlist_container(CdcFeed, node, iter.cur));
		return;
	}
	jobs = cdc_job_list_live();
	foreach(lc, jobs)
		visit_job(lfirst(lc));
	if (TimestampDifferenceExceeds(purged_at, lane.visited_at, PURGE_MS))
	{
		purged_at = lane.visited_at;
		(void) cdc_job_purge();
	}
	history_take(lane.visited_at, false);
	catalog_leave();

	dlist_foreach_modify(iter, &lane.feeds)
	{
		CdcFeed    *feed = dlist_container(CdcFeed, node, iter.cur);

		lane_take_place(feed);

		/*
		 * Over, or never to be: unless its creation is decoded already and
		 * not visible yet (a commit that waits for its standby).
		 */
		if (cdc_job_is_terminal(feed->status) ||
			(!feed->visited && !feed->committing))
			lane_forget_feed(feed);
		else if (!feed->visited)
			lane.want_visit = true;
	}
	if (cdc_decoder_is_open())
		checkpoint_confirm();
}

/* All jobs that have a position have lost what lies behind it. */
void
visit_slot_lost(const char *why)
{
	List	   *jobs;
	ListCell   *lc;
	bool		pending = false;
	bool		again = false;

	catalog_enter();
	jobs = cdc_job_list_live();
	foreach(lc, jobs)
	{
		CdcJob	   *job = lfirst(lc);
		CdcJobStatus status;

		if (job->checkpoint.resume_lsn == InvalidXLogRecPtr)
			pending = true;
		else if (!strand_job(job) && !cdc_job_apply(job->job_id, CDC_EV_ERROR_FAIL, why, &status))
			again = true;		/* somebody holds its row */
	}
	catalog_leave();
	LWLockAcquire(cdc_shared->lock, LW_EXCLUSIVE);
	lane.shared->wanted |= pending;
	lane.shared->sweep |= again;
	LWLockRelease(cdc_shared->lock);
}
