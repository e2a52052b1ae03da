/*-------------------------------------------------------------------------
 * saved.h
 *		What a dump of the database keeps of each live job: its owner and its
 *		statement, without secrets.  A row here without a job is one that was
 *		restored: it is shown as paused, holds nothing, and is created anew,
 *		under its id, when it is resumed.
 *
 * As job.h: inside a transaction with an active snapshot, as the catalog's
 * owner.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SAVED_H
#define CDC_SAVED_H

#include "postgres.h"

/* A restored job. */
typedef struct CdcSaved
{
	char	   *owner_name;
	Oid			owner;			/* InvalidOid: no such role here */
	char	   *statement;		/* secrets redacted */
	char	   *sink_uri;		/* with secrets, or NULL: not known */
	int			nsecrets;
	char	  **secrets;		/* see cdc_options_secrets */
} CdcSaved;

/* A live job is created or altered; secrets are redacted in "statement". */
extern void cdc_saved_write(int64 job_id, Oid owner, const char *statement);

/*
 * False: there is no restored job of this id.  Takes no lock, which would be
 * in the way of the lane's slot: who comes second finds the job there.
 */
extern bool cdc_saved_find(int64 job_id, CdcSaved *saved);

/* Stores what ALTER gives to a restored job. */
extern void cdc_saved_alter(int64 job_id, const char *statement,
							const char *sink_uri, int nsecrets, char **secrets);

/* A restored job is canceled: becomes a job that has ended. */
extern void cdc_saved_cancel(int64 job_id, const CdcSaved *saved);

/*
 * A restored job is to be created: removes what it has kept of its secrets,
 * so that it can be written as any other.
 */
extern void cdc_saved_take(int64 job_id);

/*
 * Was this job made by another cluster, of which this one has the tables but
 * not the WAL (pg_upgrade)?  Then it becomes a restored one, and true is
 * returned.
 */
extern bool cdc_saved_strand(int64 job_id);

#endif							/* CDC_SAVED_H */
