/*-------------------------------------------------------------------------
 * job.h
 *		Jobs: rows of the extension's tables and their states.  Only this folder
 *		reads or writes those tables (SPI, through rows.h).
 *
 * All functions run inside a transaction with an active snapshot, in a
 * backend or between two drains of a lane.  They qualify every name with
 * the schema cdc_sink and run as the extension's owner (the lane worker is
 * the bootstrap superuser; backends switch user around the calls).
 *-------------------------------------------------------------------------
 */
#ifndef CDC_JOB_H
#define CDC_JOB_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "base/hlc.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef enum CdcJobStatus
{
	CDC_JOB_PENDING,			/* made, its start not yet decoded */
	CDC_JOB_RUNNING,
	CDC_JOB_PAUSE_REQUESTED,
	CDC_JOB_PAUSED,
	CDC_JOB_CANCEL_REQUESTED,
	CDC_JOB_CANCELED,
	CDC_JOB_SUCCEEDED,
	CDC_JOB_FAILED,
} CdcJobStatus;

typedef enum CdcJobEvent
{
	/* from users */
	CDC_EV_PAUSE,
	CDC_EV_RESUME,
	CDC_EV_CANCEL,
	/* from the lane */
	CDC_EV_STARTED,				/* the feed has a durable position */
	CDC_EV_STOPPED,				/* the lane let go after a request */
	CDC_EV_FINISHED,			/* scan-only feed is done */
	CDC_EV_ERROR_FAIL,			/* terminal error, on_error=fail */
	CDC_EV_ERROR_PAUSE,			/* terminal error, on_error=pause */
	CDC_EV_EXPIRED,				/* gc_protect_expires_after has passed */
} CdcJobEvent;

extern const char *cdc_job_status_name(CdcJobStatus status);
extern CdcJobStatus cdc_job_status_parse(const char *name);
extern bool cdc_job_is_terminal(CdcJobStatus status);

/*
 * The state machine: the state that follows, *changed tells whether it is
 * another one.  A user's event that is not allowed raises
 * 55000 "job with status X cannot be requested to be paused" (resumed,
 * canceled); repeating a request is no error.  An event of the lane that
 * does not fit leaves the state alone.
 */
extern CdcJobStatus cdc_job_next(CdcJobStatus status, CdcJobEvent event,
								 bool *changed);

/* One table of a feed, as it was when the definition was written. */
typedef struct CdcTarget
{
	Oid			relid;
	char	   *name;			/* db.schema.table at creation */
	char	   *topic;			/* final topic name */
	int			partitions;		/* of the topic at creation, 0: none */
	char	   *shape;			/* when it was made a target, see
								 * catalog/shape.h; "": the feed may be at an
								 * earlier position */
	bool		scan;			/* its rows are read where the definition
								 * takes effect */
	bool		ruled;			/* meant by a rule, not by name */
	bool		gone;			/* by rule, and no more; not stored here */
	char	   *columns;		/* only these, see columns.h; "": all */
} CdcTarget;

/* A definition; insert-only, so a version never changes. */
typedef struct CdcDefinition
{
	int64		job_id;
	int			version;
	Oid			owner;
	char	   *sink;			/* URI with secrets redacted */
	char	   *sink_type;		/* CdcSinkOps.name, which the URI of an external
								 * sink does not tell */
	int			noptions;
	char	  **options;		/* see cdc_options_to_strings */
	int			ntargets;
	CdcTarget  *targets;
	int			nrules;
	char	  **rules;			/* see rule.h */
} CdcDefinition;

/*
 * Column numbers of cdc_sink.definition, for the lane, which reads the rows
 * out of the WAL as they are inserted.
 */
enum
{
	CDC_DEF_JOB_ID = 1,			/* bigint */
	CDC_DEF_VERSION,			/* integer */
	CDC_DEF_OWNER,				/* oid */
	CDC_DEF_SINK,				/* text, redacted */
	CDC_DEF_OPTIONS,			/* text[] */
	CDC_DEF_RELIDS,				/* oid[] */
	CDC_DEF_NAMES,				/* text[] */
	CDC_DEF_TOPICS,				/* text[] */
	CDC_DEF_PARTITIONS,			/* integer[] */
	CDC_DEF_SHAPES,				/* text[] */
	CDC_DEF_SINK_TYPE,			/* text */
	CDC_DEF_SCANS,				/* boolean[] */
	CDC_DEF_RULED,				/* boolean[] */
	CDC_DEF_COLUMNS,			/* text[] */
	CDC_DEF_RULES,				/* text[] */
	CDC_DEF_NATTS = CDC_DEF_RULES
};

/* palloc'ed, nothing shared. */
extern CdcDefinition *cdc_definition_copy(const CdcDefinition *def);

/* Number of the target that is this relation, also of one that is gone, or -1. */
extern int	cdc_definition_find(const CdcDefinition *def, Oid relid);

/* Are any tables read where this version takes effect? */
extern bool cdc_definition_scans(const CdcDefinition *def);

/* Builds a definition from the columns above, palloc'ed (deep copy). */
extern CdcDefinition *cdc_definition_from_datums(const Datum *values,
												 const bool *nulls);

/* Where a feed stands, durably. */
typedef struct CdcCheckpoint
{
	int64		job_id;
	int			version;		/* definition in force at resume_lsn */
	XLogRecPtr	resume_lsn;		/* InvalidXLogRecPtr: not started yet */
	CdcHlc		hlc;			/* stamp at resume_lsn */
	bool		scan_done;		/* initial scan acknowledged (or none) */
	CdcHlc		high_water;		/* what the sink has and was told durable;
								 * wall 0: none yet */
	XLogRecPtr	answered_lsn;	/* see cdc_checkpoint_answer() */
} CdcCheckpoint;

/* Everything a lane needs of one live job. */
typedef struct CdcJob
{
	int64		job_id;
	CdcJobStatus status;
	Oid			owner;
	bool		owner_exists;
	char	   *sink_uri;		/* with secrets: never to be logged */
	int			nsecrets;
	char	  **secrets;		/* values of secret options, likewise */
	CdcDefinition *definition;	/* in force at the checkpoint's position */
	CdcCheckpoint checkpoint;	/* its version is an earlier one if the job was
								 * altered while it was paused */
	TimestampTz modified;		/* of its rows, the last time */
} CdcJob;

/*
 * Writes job, definition (version 1), secret and checkpoint rows; secrets:
 * see cdc_options_secrets.
 */
extern void cdc_job_insert(const CdcDefinition *def, const char *sink_uri,
						   int nsecrets, char **secrets,
						   const char *description, const char *format,
						   bool has_topics, bool scan_done);

extern int64 cdc_job_new_id(void);

/*
 * Sink and secrets that go with a version of a definition, palloc'ed.  False
 * while that version is not visible yet, or not any more.
 */
extern bool cdc_job_secret(int64 job_id, int version, char **sink_uri,
						   int *nsecrets, char ***secrets);

/*
 * Deletes the secrets that no definition from this version on goes with; in
 * the transaction of the checkpoint that tells the version.  Runs: lane.
 */
extern void cdc_job_forget_secrets(int64 job_id, int version);

/* What ALTER CHANGEFEED starts from. */
typedef struct CdcAlterBase
{
	CdcJobStatus status;
	Oid			owner;
	bool		scan_done;		/* of what is in force */
	CdcDefinition *definition;	/* the newest, in force or not; "scan" is set
								 * where rows may still have to be read */
	char	   *sink_uri;		/* with secrets; NULL: the job has ended */
	int			nsecrets;
	char	  **secrets;
} CdcAlterBase;

/*
 * Locks a job's row to the end of the transaction and reads what is newest;
 * palloc'ed.  False: no such job.
 */
extern bool cdc_job_alter_begin(int64 job_id, CdcAlterBase *base);

/*
 * Writes a new version.  at_position: of a job that is paused, in force from
 * its position on; else from the commit of this transaction on, where the
 * lane meets it.  sink_uri is NULL if neither it nor the secrets have changed.
 */
extern void cdc_job_alter_write(const CdcDefinition *def, bool at_position,
								const char *sink_uri, int nsecrets,
								char **secrets, const char *description,
								const char *format, bool has_topics);

/* Jobs that are not in a terminal state; palloc'ed in the caller's context. */
extern List *cdc_job_list_live(void);

/* One version of a live job's definition, palloc'ed; NULL: there is none. */
extern CdcDefinition *cdc_definition_load(int64 job_id, int version);

/*
 * Applies an event under the row's lock.  error goes to the job's error
 * column (NULL: leave; "" : clear).  Returns false if there is no such job,
 * or, for an event of the lane, if somebody else holds its row.
 * *status is the state afterwards.
 */
extern bool cdc_job_apply(int64 job_id, CdcJobEvent event, const char *error,
						  CdcJobStatus *status);

/* True while a job is not in a terminal state. */
extern bool cdc_job_any_live(void);

/* Text of PAUSE JOB ... WITH REASON; goes away with the next state. */
extern void cdc_job_set_reason(int64 job_id, const char *reason);

/* A job as a backend needs it. */
typedef struct CdcJobLook
{
	CdcJobStatus status;
	Oid			owner;
	char	   *error;
	int			nrelids;
	Oid		   *relids;
	XLogRecPtr	resume_lsn;
} CdcJobLook;

/* Reads the newest committed state of a job; false if there is none. */
extern bool cdc_job_look(int64 job_id, CdcJobLook *look);

/*
 * Removes jobs that ended more than cdc_sink.job_retention ago; returns how
 * many definitions went.
 */
extern uint64 cdc_job_purge(void);

extern void cdc_checkpoint_write(const CdcCheckpoint *cp);

/*
 * A TRUNCATE or a schema change at this commit pauses the feed.  Resuming it
 * is the answer to that and to all before: should the feed go back behind
 * them, for a scan that was not over, it passes them.
 */
extern void cdc_checkpoint_answer(int64 job_id, XLogRecPtr lsn);

/*
 * The shape of a table as of the feed's durable position, if it is not that
 * of the definition; text: see cdc_shape_print().
 */
typedef struct CdcStoredShape
{
	Oid			relid;
	int			schema_version;
	char	   *text;
} CdcStoredShape;

/* List of CdcStoredShape *, palloc'ed. */
extern List *cdc_shapes_load(int64 job_id);

/* With the checkpoint of the same transaction. */
extern void cdc_shape_store(int64 job_id, const CdcStoredShape *shape);

extern void cdc_dead_letter_insert(int64 job_id, const char *topic,
								   const char *key, int key_len,
								   const char *value, int value_len,
								   XLogRecPtr lsn, CdcHlc updated,
								   const char *error);

#endif							/* CDC_JOB_H */
