/*-------------------------------------------------------------------------
 * given_up.c
 *		Messages that are in the dead-letter table, and must not stop the feed
 *		again when they are decoded once more.
 *
 * Runs: lane worker, main loop.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "feed/feed.h"
#include "utils/memutils.h"

/* A message that is in the dead-letter table. */
typedef struct CdcGivenUp
{
	char	   *topic;
	XLogRecPtr	until;			/* passed for good when acked up to here */
	CdcHlc		hlc;			/* a replay gives it the same stamp */
	uint32		len;
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
} CdcGivenUp;

void
cdc_feed_give_up(CdcFeed *feed, const CdcBatch *batch, const CdcMessage *msg)
{
	MemoryContext old = MemoryContextSwitchTo(feed->cxt);
	uint32		len = cdc_msg_bytes(msg);
	CdcGivenUp *copy = MemoryContextAllocHuge(feed->cxt,
											  offsetof(CdcGivenUp, bytes) + len);

	copy->topic = pstrdup(msg->topic->name);
	copy->until = Max(feed->queued_lsn, feed->partial_lsn);
	copy->hlc = msg->hlc;
	copy->len = len;
	memcpy(copy->bytes, batch->buf.data + msg->off, len);
	feed->given_up = lappend(feed->given_up, copy);
	MemoryContextSwitchTo(old);
}

/*
 * Do two messages say the same?  If the envelope tells the time of day, long
 * numbers (a time in milliseconds has 13 digits) may differ.
 */
static bool
same_bytes(const CdcFeed *feed, const char *a, const char *b, uint32 len)
{
	uint32		digits = 0;		/* start of the run of digits at i */

	if (!cdc_encode_is_volatile(&feed->encode))
		return memcmp(a, b, len) == 0;
	for (uint32 i = 0; i < len; i++)
	{
		bool		digit = isdigit((unsigned char) a[i]);
		uint32		end = i + 1;

		if (digit != (isdigit((unsigned char) b[i]) != 0))
			return false;
		if (!digit)
			digits = i + 1;
		if (a[i] == b[i])
			continue;
		while (end < len && isdigit((unsigned char) a[end]) &&
			   isdigit((unsigned char) b[end]))
			end++;
		if (!digit || end - digits < 13)
			return false;
		i = end - 1;
	}
	return true;
}

void
cdc_feed_skip_given_up(CdcFeed *feed, CdcBatch *batch)
{
	ListCell   *lc;

	foreach(lc, feed->given_up)
	{
		CdcGivenUp *copy = lfirst(lc);

		if (feed->acked_lsn >= copy->until)
		{
			feed->given_up = foreach_delete_current(feed->given_up, lc);
			pfree(copy->topic);
			pfree(copy);
			continue;
		}
		for (uint32 i = batch->nsubmitted; i < batch->nmsgs; i++)
		{
			CdcMessage *msg = &batch->msgs[i];

			if (copy->len == cdc_msg_bytes(msg) &&
				cdc_hlc_cmp(copy->hlc, msg->hlc) == 0 &&
				strcmp(copy->topic, msg->topic->name) == 0 &&
				same_bytes(feed, copy->bytes, batch->buf.data + msg->off, copy->len))
				msg->flags |= CDC_MSG_SKIP;
		}
	}
}
