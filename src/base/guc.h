/*-------------------------------------------------------------------------
 * guc.h
 *		Settings cdc_sink.*
 *-------------------------------------------------------------------------
 */
#ifndef CDC_GUC_H
#define CDC_GUC_H

#include "postgres.h"

typedef enum CdcRestrictSinks
{
	CDC_RESTRICT_OFF,
	CDC_RESTRICT_EXTERNAL,			/* non-superusers: external:// only */
} CdcRestrictSinks;

extern int	cdc_max_lanes;			/* postmaster */
extern int	cdc_max_feeds;			/* postmaster */
extern int	cdc_feed_memory;		/* kB, sighup */
extern int	cdc_lane_memory;		/* kB, sighup */
extern int	cdc_toast_cache;		/* kB, sighup, 0: off */
extern int	cdc_isolation_delay;	/* ms, sighup */
extern int	cdc_start_timeout;		/* ms, user */
extern int	cdc_sink_check_timeout; /* ms, user */
extern int	cdc_idle_resolved_interval; /* ms, sighup */
extern int	cdc_max_retained_wal;	/* MB, sighup, 0: no limit */
extern int	cdc_history_retention;	/* s, sighup: how far back a cursor can be */
extern int	cdc_job_retention;		/* s, sighup: how long finished jobs stay */
extern bool cdc_allow_http_webhook; /* superuser: webhooks without TLS */
extern bool cdc_allow_implicit_credentials;	/* superuser: AUTH=implicit */
extern char *cdc_file_root;			/* superuser: root of nodelocal:// */

extern char *cdc_allowed_sink_hosts;	/* sighup, "": any; see hosts.h */
extern int	cdc_restrict_sinks;		/* superuser: CdcRestrictSinks */

extern void cdc_guc_init(void);

#endif							/* CDC_GUC_H */
