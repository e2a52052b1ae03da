/*-------------------------------------------------------------------------
 * hosts.h
 *		Where the server may be made to connect: cdc_sink.allowed_sink_hosts.
 *
 * Every sink asks for each address that a user can choose: brokers, the
 * host of a webhook, endpoints of stores and of whatever hands out tokens.
 * Asked in the backend, and again in the worker when it opens the sink.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HOSTS_H
#define CDC_HOSTS_H

#include "postgres.h"

#include "utils/guc.h"

/*
 * Raises 42501 unless all of "host[:port],[::1]:9092,..." are in the list;
 * without a port default_port counts.  No I/O; no catalog access.
 */
extern void cdc_hosts_require(const char *hosts, int default_port);

/* GUC check hook. */
extern bool cdc_hosts_check_list(char **newval, void **extra, GucSource source);

#endif							/* CDC_HOSTS_H */
