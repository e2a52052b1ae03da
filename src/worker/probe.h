/*-------------------------------------------------------------------------
 * probe.h
 *		Tries a sink from a short-lived worker on behalf of
 *		changefeed_create(), so that no library thread ever lives in a
 *		user's backend.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_PROBE_H
#define CDC_PROBE_H

#include "postgres.h"

#include "catalog/job.h"
#include "nodes/pg_list.h"

/*
 * Tries the sink at sink_uri for the definition's topics and others (a list
 * of names), waiting at most
 * cdc_sink.sink_check_timeout (interruptible).  Fills in the partitions of
 * def->targets.  Raises 08001 with the sink's words if it cannot be reached,
 * 53400 naming max_worker_processes if no worker is to be had.
 * Runs: backend.
 */
extern void cdc_probe_sink(CdcDefinition *def, const char *sink_uri,
						   List *others);

/* Entry point of the worker. */
extern PGDLLEXPORT void cdc_probe_main(Datum arg);

#endif							/* CDC_PROBE_H */
