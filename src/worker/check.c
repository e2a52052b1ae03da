/*-------------------------------------------------------------------------
 * check.c
 *		Whether a feed may go on: rights of its owner, its tables, the WAL it
 *		holds back.  What does not allow it sets the feed's end.
 *
 * Runs: lane worker, in a visit to the catalog.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/guc.h"
#include "catalog/job.h"
#include "catalog/pg_class.h"
#include "catalog/target.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "wal/decode.h"
#include "worker/lane.h"

/* Of what somebody has to change before it can be resumed. */
static void
end_paused(CdcFeed *feed, const char *why)
{
	cdc_feed_end(feed, "the owner of the changefeed %s", why);
	feed->end_pauses = true;
	feed->mode = CDC_FEED_ENDING;
}

/* The owner's rights and the tables. */
static void
check_targets(CdcFeed *feed, const CdcJob *job)
{
	const char *why;

	if (feed->mode == CDC_FEED_ENDING || feed->mode == CDC_FEED_STOPPED ||
		feed->durable.resume_lsn == InvalidXLogRecPtr)
		return;
	if (!job->owner_exists)
	{
		end_paused(feed, psprintf("(role %u) no longer exists", feed->def->owner));
		return;
	}

	/* a foreign server vouches for what it names */
	if (feed->uri != NULL && feed->ops->forbidden != NULL &&
		pg_strncasecmp(feed->def->sink, "external:", 9) != 0 &&
		!superuser_arg(job->owner))
	{
		why = feed->ops->forbidden(feed->uri);
		if (why != NULL)
		{
			end_paused(feed, why);
			return;
		}
	}
	why = cdc_options_forbidden(feed->options, job->owner);
	if (why != NULL)
	{
		end_paused(feed, why);
		return;
	}
	for (int i = 0; i < feed->def->ntargets; i++)
	{
		const CdcTarget *target = &feed->def->targets[i];
		const char *name = strrchr(target->name, '.');
		bool		there;

		if (target->gone)
			continue;
		name = name ? name + 1 : target->name;
		there = SearchSysCacheExists1(RELOID, ObjectIdGetDatum(target->relid));
		if (!there || get_rel_persistence(target->relid) != RELPERSISTENCE_PERMANENT)
		{
			if (target->ruled)
				continue;		/* the stream comes to where it leaves */

			/*
			 * What was written before is still to be decoded.  The stream
			 * comes to the change itself, unless the feed started behind it.
			 */
			if (feed->check_lsn == InvalidXLogRecPtr)
				feed->check_lsn = cdc_compat_log_message(CDC_MESSAGE_PREFIX, "drop", 4);
			else if (cdc_decoder_position() >= feed->check_lsn &&
					 feed->mode == CDC_FEED_ACTIVE)
			{
				if (there)
					cdc_feed_end(feed, "table \"%s\" is no longer logged", target->name);
				else
					cdc_feed_end(feed, "\"%s\" was dropped", name);
				feed->mode = CDC_FEED_ENDING;
			}
			lane.want_visit |= feed->mode == CDC_FEED_ACTIVE;
			return;
		}
		if (!superuser_arg(job->owner) &&
			pg_class_aclcheck(target->relid, job->owner, ACL_SELECT) != ACLCHECK_OK &&
			pg_attribute_aclcheck_all(target->relid, job->owner, ACL_SELECT,
									  ACLMASK_ALL) != ACLCHECK_OK)
			cdc_feed_end(feed, "the owner of the changefeed may no longer read table \"%s\"",
						 target->name);
		else if (check_enable_rls(target->relid, job->owner, true) == RLS_ENABLED)
			cdc_feed_end(feed, "row security of table \"%s\" applies to the owner of the changefeed",
						 target->name);
		else
			continue;
		feed->mode = CDC_FEED_ENDING;
		return;
	}
}

/*
 * A feed must not fill the disk: behind by more than the limit it is given
 * up, and its error tells from where on changes were not sent.
 */
static void
check_retention(CdcFeed *feed)
{
	uint64		limit = (uint64) cdc_max_retained_wal * 1024 * 1024;
	uint64		behind;

	if (limit == 0 || feed->durable.resume_lsn == InvalidXLogRecPtr ||
		!cdc_decoder_is_open())
		return;
	behind = cdc_wal_flushed() - feed->durable.resume_lsn;
	if (behind <= limit)
	{
		if (behind > limit / 5 * 4 && !feed->warned_of_wal)
			ereport(WARNING,
					(errmsg("changefeed " INT64_FORMAT " holds back " UINT64_FORMAT " MB of WAL",
							feed->job_id, behind / (1024 * 1024)),
					 errdetail("It is given up at %d MB (cdc_sink.max_retained_wal).",
							   cdc_max_retained_wal)));
		feed->warned_of_wal = behind > limit / 5 * 4;
		return;
	}
	cdc_feed_end(feed, "held back more WAL than cdc_sink.max_retained_wal allows; changes after %X/%X were given up",
				 LSN_FORMAT_ARGS(feed->durable.resume_lsn));
	cdc_feed_disconnect(feed);	/* what is queued is not waited for */
	feed->mode = CDC_FEED_ENDING;
	feed->end_fails = true;
}

/*
 * The same by time, for a feed with gc_protect_expires_after: its position
 * has stood still for longer than that, because it is paused, scanning or
 * stuck.  Time during which the server was down counts for paused ones only.
 */
static void
check_protection(CdcFeed *feed, const CdcJob *job, TimestampTz first_visit)
{
	TimestampTz now = lane.visited_at;
	TimestampTz since = job->modified;
	const CdcOptions *options = feed->options;

	if (options->gc_protect_us == 0 || feed->mode == CDC_FEED_ENDING ||
		feed->durable.resume_lsn == InvalidXLogRecPtr ||
		!cdc_decoder_is_open())
		return;
	if (feed->mode == CDC_FEED_ACTIVE && feed->scan == NULL &&
		dlist_is_empty(&feed->queue) &&
		feed->acked_lsn >= cdc_decoder_position())
		return;					/* it holds back nothing */
	if (feed->mode != CDC_FEED_STOPPED)
		since = Max(since, first_visit);
	if (now - since < options->gc_protect_us)
		return;
	cdc_feed_end(feed, "held back WAL for longer than gc_protect_expires_after allows; changes after %X/%X were given up",
				 LSN_FORMAT_ARGS(feed->durable.resume_lsn));
	cdc_feed_disconnect(feed);
	feed->mode = CDC_FEED_ENDING;
	feed->end_fails = feed->expired = true;
}

void
lane_check_feed(CdcFeed *feed, const CdcJob *job, TimestampTz first_visit)
{
	check_targets(feed, job);
	check_retention(feed);
	check_protection(feed, job, first_visit);
}
