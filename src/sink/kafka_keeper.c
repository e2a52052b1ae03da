/*-------------------------------------------------------------------------
 * kafka_keeper.c
 *		The thread that does what may block of a Kafka producer: asking for
 *		metadata, and destroying it; see kafka.h.
 *
 * rd_kafka_destroy() joins the library's threads, of which one may sit in
 * the resolver for a long time.  So it is never called by the main thread.
 *
 * Runs: cdc_kafka_* on the main thread; keeper_main and what it calls on the
 * keeper's thread, with all signals blocked: malloc'ed memory, its mutex, the
 * eventfd and librdkafka only, nothing of PostgreSQL.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#include "sink/closing.h"
#include "sink/kafka.h"

/* How long the brokers may take to tell about the topics. */
#define METADATA_TIMEOUT_MS		2000

/* Partitions may be added: look again after this time. */
#define REFRESH_MS				30000

/* Topics that are missing or brokers that do not answer: look again sooner. */
#define MIN_RETRY_MS			50
#define MAX_RETRY_MS			1000

/*
 * What is on its way when a producer is closed should have arrived, or not,
 * before the next one starts: a late request must not overtake it.
 */
#define DRAIN_MS				500

struct CdcKafkaKeeper
{
	CdcClosing	closing;
	rd_kafka_t *rk;
	int			event_fd;
	pthread_t	thread;

	/* Main thread, for after the end. */
	void		(*release) (void *arg);
	void	   *arg;

	/* Guarded by the mutex, which nobody holds while blocking. */
	pthread_mutex_t mutex;
	pthread_cond_t wakeup;
	bool		kicked;
	bool		stop;
	bool		have_news;
	const struct rd_kafka_metadata *md;
};

static void
add_ms(struct timespec *t, int ms)
{
	t->tv_sec += ms / 1000;
	t->tv_nsec += (ms % 1000) * 1000000L;
	if (t->tv_nsec >= 1000000000L)
	{
		t->tv_sec++;
		t->tv_nsec -= 1000000000L;
	}
}

/* Waits until there is something to do; false: stop. */
static bool
keeper_wait(CdcKafkaKeeper *k, int ms)
{
	struct timespec until;
	bool		stop;

	clock_gettime(CLOCK_MONOTONIC, &until);
	add_ms(&until, ms);
	pthread_mutex_lock(&k->mutex);
	while (!k->stop && !k->kicked)
	{
		if (pthread_cond_timedwait(&k->wakeup, &k->mutex, &until) != 0)
			break;
	}
	k->kicked = false;
	stop = k->stop;
	pthread_mutex_unlock(&k->mutex);
	return !stop;
}

/* Hands the answer to the main thread. */
static void
keeper_post(CdcKafkaKeeper *k, const struct rd_kafka_metadata *md)
{
	const struct rd_kafka_metadata *old;
	uint64		one = 1;

	pthread_mutex_lock(&k->mutex);
	old = k->md;
	k->md = md;
	k->have_news = true;
	if (!k->stop && write(k->event_fd, &one, sizeof(one)) < 0)
	{
		/* its counter is full, so it is readable */
	}
	pthread_mutex_unlock(&k->mutex);
	if (old != NULL)
		rd_kafka_metadata_destroy(old);
}

static bool
is_complete(const struct rd_kafka_metadata *md)
{
	for (int i = 0; i < md->topic_cnt; i++)
	{
		if (md->topics[i].err != RD_KAFKA_RESP_ERR_NO_ERROR ||
			md->topics[i].partition_cnt == 0)
			return false;
	}
	return true;
}

/* Nothing but the thread uses the producer any more. */
static void
keeper_destroy(CdcKafkaKeeper *k)
{
	rd_kafka_queue_t *queue = rd_kafka_queue_get_main(k->rk);
	struct timespec until;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &until);
	add_ms(&until, DRAIN_MS);
	rd_kafka_purge(k->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING);
	while (rd_kafka_outq_len(k->rk) > 0)
	{
		rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 10);

		if (event != NULL)
			rd_kafka_event_destroy(event);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec > until.tv_sec ||
			(now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec))
			break;
	}
	rd_kafka_purge(k->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
				   RD_KAFKA_PURGE_F_NON_BLOCKING);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy_flags(k->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

static void *
keeper_main(void *arg)
{
	CdcKafkaKeeper *k = arg;
	int			retry = MIN_RETRY_MS;
	int			pause = REFRESH_MS; /* the first kick comes before */

	while (keeper_wait(k, pause))
	{
		const struct rd_kafka_metadata *md = NULL;

		if (k->rk == NULL)
			continue;

		/* All topics that have a handle; missing ones are made, if allowed. */
		if (rd_kafka_metadata(k->rk, 0, NULL, &md, METADATA_TIMEOUT_MS) != 0)
			md = NULL;
		if (md != NULL && is_complete(md))
		{
			retry = MIN_RETRY_MS;
			pause = REFRESH_MS;
		}
		else
		{
			pause = retry;
			retry = Min(retry * 2, MAX_RETRY_MS);
		}
		keeper_post(k, md);
	}
	if (k->rk != NULL)
		keeper_destroy(k);
	cdc_closing_end(&k->closing);
	return NULL;
}

CdcKafkaKeeper *
cdc_kafka_keeper_start(int event_fd)
{
	CdcKafkaKeeper *k = calloc(1, sizeof(CdcKafkaKeeper));
	pthread_condattr_t attr;
	sigset_t	all;
	sigset_t	old;
	int			rc;

	if (k == NULL)
		return NULL;
	k->event_fd = event_fd;
	pthread_mutex_init(&k->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&k->wakeup, &attr);
	pthread_condattr_destroy(&attr);

	/* The thread inherits the mask. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&k->thread, NULL, keeper_main, k);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0)
	{
		pthread_cond_destroy(&k->wakeup);
		pthread_mutex_destroy(&k->mutex);
		free(k);
		return NULL;
	}
	return k;
}

void
cdc_kafka_keeper_adopt(CdcKafkaKeeper *k, rd_kafka_t *rk)
{
	pthread_mutex_lock(&k->mutex);
	k->rk = rk;
	pthread_mutex_unlock(&k->mutex);
}

void
cdc_kafka_keeper_kick(CdcKafkaKeeper *k)
{
	pthread_mutex_lock(&k->mutex);
	k->kicked = true;
	pthread_cond_signal(&k->wakeup);
	pthread_mutex_unlock(&k->mutex);
}

bool
cdc_kafka_keeper_take(CdcKafkaKeeper *k, const struct rd_kafka_metadata **md)
{
	bool		result;

	pthread_mutex_lock(&k->mutex);
	result = k->have_news;
	*md = k->md;
	k->md = NULL;
	k->have_news = false;
	pthread_mutex_unlock(&k->mutex);
	return result;
}

static void
keeper_reap(CdcClosing *closing)
{
	CdcKafkaKeeper *k = (CdcKafkaKeeper *) closing;

	/* It has said its last word: this does not wait. */
	pthread_join(k->thread, NULL);
	k->release(k->arg);
	if (k->md != NULL)
		rd_kafka_metadata_destroy(k->md);
	close(k->event_fd);
	pthread_cond_destroy(&k->wakeup);
	pthread_mutex_destroy(&k->mutex);
	free(k);
}

void
cdc_kafka_keeper_close(CdcKafkaKeeper *k, int64 job_id,
					   void (*release) (void *arg), void *arg)
{
	k->release = release;
	k->arg = arg;
	cdc_closing_begin(&k->closing, job_id, keeper_reap);
	pthread_mutex_lock(&k->mutex);
	k->stop = true;
	pthread_cond_signal(&k->wakeup);
	pthread_mutex_unlock(&k->mutex);
}
