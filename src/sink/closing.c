/*-------------------------------------------------------------------------
 * closing.c
 *		Book of the sinks that are closed but whose thread has not ended yet;
 *		see closing.h.
 *
 * Runs: lane and probe workers, main thread; cdc_closing_end() on any thread.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/closing.h"

static dlist_head closing_sinks = DLIST_STATIC_INIT(closing_sinks);

void
cdc_closing_begin(CdcClosing *closing, int64 job_id,
				  void (*reap) (CdcClosing *closing))
{
	closing->job_id = job_id;
	closing->reap = reap;
	dlist_push_tail(&closing_sinks, &closing->node);
}

void
cdc_closing_end(CdcClosing *closing)
{
	/* The main thread may free it from here on. */
	__atomic_store_n(&closing->ended, true, __ATOMIC_RELEASE);
}

int
cdc_closing_count(int64 job_id)
{
	dlist_mutable_iter iter;
	int			n = 0;

	dlist_foreach_modify(iter, &closing_sinks)
	{
		CdcClosing *closing = dlist_container(CdcClosing, node, iter.cur);

		if (__atomic_load_n(&closing->ended, __ATOMIC_ACQUIRE))
		{
			dlist_delete(&closing->node);
			closing->reap(closing);
		}
		else if (job_id == 0 || closing->job_id == job_id)
			n++;
	}
	return n;
}
