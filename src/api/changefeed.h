/*-------------------------------------------------------------------------
 * changefeed.h
 *		What the files of api/ share: from what a user wrote to what is
 *		stored, and who may do what to a job.
 *
 * Runs: user backends, as the user.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_CHANGEFEED_H
#define CDC_CHANGEFEED_H

#include "postgres.h"

#include "catalog/job.h"
#include "catalog/options.h"
#include "catalog/uri.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/jsonb.h"

/*
 * CREATE CHANGEFEED.  names: list of CdcTargetName; pairs: list of
 * CdcOptionPair; job_id: 0, or that of a restored job; owner: InvalidOid
 * means the user.  Returns the id of the job.
 */
extern int64 cdc_create_changefeed(List *names, const char *sink, List *pairs,
								   int64 job_id, Oid owner);

/* "TABLE db.schema.table, ...", as the tables are called now. */
extern char *cdc_describe_targets(const CdcDefinition *def);

/*
 * Jobs that were restored from a dump: false if this is none.  event: one of
 * the users'.
 */
extern bool cdc_restored_request(int64 job_id, CdcJobEvent event);
extern bool cdc_restored_alter(int64 job_id, List *actions);

/* The statement that makes a feed of these. */
extern char *cdc_describe_changefeed(const char *targets,
									 const char *redacted_sink,
									 const CdcOptions *options);

/* "changefeed will emit to topic ...", for targets from "first" on. */
extern void cdc_notice_topics(const CdcDefinition *def, int first);

/* Reads a job; raises if there is none or if it is not the user's. */
extern void cdc_look_up_job(int64 job_id, bool to_manage, CdcJobLook *look);

/* PAUSE, RESUME or CANCEL of a job; raises if that cannot be. */
extern void cdc_request_job(int64 job_id, CdcJobEvent event, const char *reason);

/*
 * The same for those that a user's query gives, or for all that are his and
 * in a state for it; how many.
 */
extern int64 cdc_request_jobs(const char *query, CdcJobEvent event);
extern int64 cdc_request_all_jobs(CdcJobEvent event);

/* Waits, interruptibly, until a job is in a terminal state. */
extern void cdc_await_end(int64 job_id);

/* text[] of names to CdcTargetName, JSON object to CdcOptionPair. */
extern List *cdc_names_from_array(ArrayType *array);
extern List *cdc_pairs_from_jsonb(Jsonb *jb);

/* text[] of names of options to CdcOptionPair without values. */
extern List *cdc_pairs_from_names(ArrayType *array);

/*
 * ALTER CHANGEFEED: actions is a list of CdcAlterAction.  A job that is not
 * paused is refused unless "running_too".
 */
extern void cdc_alter_changefeed(int64 job_id, List *actions, bool running_too);

/* Hides the secrets that its actions hold, see hide.h. */
extern void cdc_hide_actions(List *actions);

#endif							/* CDC_CHANGEFEED_H */
