/*-------------------------------------------------------------------------
 * sink.h
 *		What a feed knows of the place its messages go to.
 *
 * A sink is one const CdcSinkOps and one struct whose first member is
 * CdcSink.  It lives in a lane worker (or, for a moment, in a probe worker)
 * and never in a user's backend; only "check" runs there.
 *
 * Rules for every function but "check":
 *	- never raises an ERROR for trouble of the sink: it records it with
 *	  cdc_sink_trouble() and returns;
 *	- never blocks for more than a few milliseconds; what can block (DNS,
 *	  fsync, connect) happens in a library's or the sink's own thread, which
 *	  has all signals blocked and touches malloc'ed memory, atomics and its
 *	  eventfd only, nothing of PostgreSQL;
 *	- memory is malloc'ed (or in the process' TopMemoryContext), since it
 *	  outlives transactions and decoding contexts.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SINK_H
#define CDC_SINK_H

#include "postgres.h"

#include "base/hlc.h"
#include "catalog/job.h"
#include "catalog/options.h"
#include "catalog/uri.h"
#include "feed/batch.h"

#define CDC_SINK_ERROR_SIZE		512

typedef struct CdcSink CdcSink;

/*
 * Where messages of one table in one schema version go.  Owned by the feed,
 * never freed or moved while the sink is open.  Several may carry the same
 * name (option topic_name, further schema versions).
 */
typedef struct CdcTopic
{
	char	   *name;			/* final name, already sanitised, with prefix */
	uint32		schema_version; /* counts up when the table's columns change */
	int			partitions;		/* count at creation of the feed, 0: none */
	void	   *sink_data;		/* the sink's own, NULL at first */
} CdcTopic;

typedef struct CdcSinkConfig
{
	int64		job_id;
	const CdcUri *uri;			/* with its secrets */
	const CdcOptions *options;
	CdcTopic  **topics;			/* topics of the feed when it opens; more may
								 * appear in later batches */
	int			ntopics;
	CdcHlc		floor;			/* no row submitted is older than this */
	uint64		writer;			/* of this job in this cluster, in each run the
								 * same; 0: unknown */
} CdcSinkConfig;

typedef struct CdcSinkOps
{
	const char *name;			/* "kafka", "file", "null" */
	const char *const *schemes; /* NULL-terminated URI schemes */
	bool		has_topics;		/* column "topics" of changefeed_jobs is set */
	bool		forces_key_in_value;	/* keys have no place beside the value */
	bool		sanitises_topics;	/* Kafka's rule for topic names */
	bool		forces_topic_in_value;	/* nor have topics */
	bool		orders_by_key;	/* wants keys beside the value all the same */
	const char *const *options; /* options of single sinks that it knows,
								 * NULL-terminated, or NULL: none */

	/*
	 * Validates URI and options without I/O; raises an ERROR (22023) for
	 * what is wrong and must use up every URI parameter it knows.
	 * Runs: backend, and again before open.
	 */
	void		(*check) (const CdcUri *uri, const CdcOptions *options);

	/*
	 * What only superusers may have of a sink that check() has passed, in the
	 * words of an error; NULL: nothing.  The lane looks from time to time
	 * whether the owner still may.  May be NULL.
	 */
	const char *(*forbidden) (const CdcUri *uri);

	/*
	 * Tries the sink for real, blocking at most timeout_ms (it must poll
	 * CHECK_FOR_INTERRUPTS at least every 100 ms).  Fills in
	 * topics[i]->partitions.  On failure returns false with a message that
	 * holds no secret in error.  Runs: probe worker only.
	 */
	bool		(*probe) (const CdcSinkConfig *config, int timeout_ms,
						  char *error, size_t error_size);

	/* Opens; connection goes on in the background.  NULL: out of memory. */
	CdcSink    *(*open) (const CdcSinkConfig *config);

	/*
	 * Hands over batch->msgs[batch->nsubmitted ...].  Advances nsubmitted by
	 * what it took; takes nothing while it is busy or in trouble.  A message
	 * with CDC_MSG_SKIP set is stepped over and acknowledged at once.
	 * The batch stays in memory, unmoved, until all its messages are
	 * acknowledged with cdc_batch_ack().
	 */
	void		(*submit) (CdcSink *sink, CdcBatch *batch);

	/* Does what is pending: acks, errors, timers.  Called at least once a
	 * second and whenever event_fd was readable. */
	void		(*service) (CdcSink *sink);

	/*
	 * Pushes out everything submitted so far, so that its acks come soon.
	 * Whatever is submitted later has stamps above "floor".
	 */
	void		(*flush) (CdcSink *sink, CdcHlc floor);

	/*
	 * The feed has no room left: brings away what holds it, unless enough is
	 * on its way already.  May be NULL: flush() does it.
	 */
	void		(*relieve) (CdcSink *sink);

	/*
	 * Sends a resolved message to every partition of every topic.  Called
	 * only with everything at or below r acknowledged.  False: busy, call
	 * again.
	 */
	bool		(*resolved) (CdcSink *sink, const char *payload, size_t len,
							 CdcHlc r);

	/*
	 * Has all that resolved() took arrived?  NULL: it takes nothing before
	 * that.
	 */
	bool		(*settled) (CdcSink *sink);

	/*
	 * Lets go.  Returns at once; what is not acknowledged will be sent again
	 * by a later incarnation, and nothing of this one may reach the sink
	 * after cdc_sink_gone() says true for it.  All batches are detached: the
	 * sink must not touch them after close unless it owns a reference (see
	 * cdc_batch_ref).
	 */
	void		(*close) (CdcSink *sink);
} CdcSinkOps;

struct CdcSink
{
	const CdcSinkOps *ops;
	int64		job_id;
	int			event_fd;		/* readable when service() has work, or -1 */

	/* Trouble, in words that hold no secret; empty when all is well. */
	char		error[CDC_SINK_ERROR_SIZE];
	uint64		retries;		/* counts trouble that led to a retry */
	bool		broken;			/* fatal for this incarnation: close, reopen
								 * and replay from the checkpoint */

	/* A message the sink can never take (too large, refused). */
	CdcBatch   *poison_batch;	/* NULL: none; submit() stops there */
	uint32		poison_index;
	char		poison_error[CDC_SINK_ERROR_SIZE];

	size_t		own_bytes;		/* rows in memory of its own, in place of those
								 * whose bytes it has released */
	uint64		progress;		/* counts what got away without being
								 * acknowledged yet */

	/* Counters, for pg_stat_changefeed. */
	uint64		sent_bytes;		/* key and value bytes acknowledged */
	uint64		sent_messages;	/* row messages acknowledged */
};

/* Records trouble that is being retried. */
extern void cdc_sink_trouble(CdcSink *sink, const char *fmt,...) pg_attribute_printf(2, 3);

/* All is well again. */
extern void cdc_sink_healthy(CdcSink *sink);

/*
 * What a feed's encoder does, given the options and where messages go.  May
 * allocate, in the current memory context.  Runs: main thread.
 */
extern CdcEncodeOptions cdc_effective_encode(const CdcSinkOps *ops,
											 const CdcOptions *options,
											 const CdcDefinition *def);

/* Do messages have their key beside the value? */
static inline bool
cdc_sink_has_keys(const CdcSinkOps *ops)
{
	return !ops->forces_key_in_value || ops->orders_by_key;
}

/* Sink for a scheme, or NULL. */
extern const CdcSinkOps *cdc_sink_lookup(const char *scheme);

/* Sink by its name, as a definition has it, or NULL. */
extern const CdcSinkOps *cdc_sink_of_type(const char *name);

/* Raises 22023 if a feed of this sink was given an option that is not for it. */
extern void cdc_sink_check_options(const CdcSinkOps *ops, const CdcOptions *options);

/*
 * Number of closed sinks whose library threads have not ended yet.  0 means
 * that the process may leave by exit(); see base/leave.c.
 */
extern int	cdc_sinks_closing(void);

/* True once nothing of a closed incarnation of this job's sink is left. */
extern bool cdc_sink_gone(int64 job_id);

extern const CdcSinkOps cdc_sink_kafka;
extern const CdcSinkOps cdc_sink_file;
extern const CdcSinkOps cdc_sink_s3;
extern const CdcSinkOps cdc_sink_store;
extern const CdcSinkOps cdc_sink_webhook;
extern const CdcSinkOps cdc_sink_null;

#endif							/* CDC_SINK_H */
