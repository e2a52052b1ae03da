/*-------------------------------------------------------------------------
 * query.h
 *		Ids of jobs, for statements about several of them.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_QUERY_H
#define CDC_QUERY_H

#include "postgres.h"

#include "catalog/job.h"

/*
 * Runs a user's query, read only and with his rights, and returns the numbers
 * in its first column, palloc'ed, each once.  Raises 42804 if it has none,
 * 54000 if there are too many.
 */
extern int64 *cdc_query_job_ids(const char *query, int *n);

/*
 * Jobs in states that an event does something to, palloc'ed, with their
 * owners.  In the tables' own rights, see cdc_catalog_enter().
 */
extern int64 *cdc_job_ids_for(CdcJobEvent event, Oid **owners, int *n);

#endif							/* CDC_QUERY_H */
