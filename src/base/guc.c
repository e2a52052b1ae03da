/*-------------------------------------------------------------------------
 * guc.c
 *		Settings cdc_sink.*
 *
 * Runs: _PG_init, in the postmaster and in every process that loads the
 * library by itself.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "base/compat.h"
#include "base/guc.h"
#include "base/hosts.h"
#include "utils/guc.h"

int			cdc_max_lanes = 64;
int			cdc_max_feeds = 256;
int			cdc_feed_memory = 48 * 1024;
int			cdc_lane_memory = 64 * 1024;
int			cdc_toast_cache = 8 * 1024;
int			cdc_isolation_delay = 2000;
int			cdc_start_timeout = 10000;
int			cdc_sink_check_timeout = 10000;
int			cdc_idle_resolved_interval = 1000;
int			cdc_max_retained_wal = 0;
int			cdc_history_retention = 0;
int			cdc_job_retention = 14 * 24 * 3600;
bool		cdc_allow_http_webhook = false;
bool		cdc_allow_implicit_credentials = false;
char	   *cdc_file_root = NULL;
char	   *cdc_allowed_sink_hosts = NULL;
int			cdc_restrict_sinks = CDC_RESTRICT_OFF;

static const struct config_enum_entry restrict_values[] = {
	{"off", CDC_RESTRICT_OFF, false},
	{"external", CDC_RESTRICT_EXTERNAL, false},
	{NULL, 0, false}
};

void
cdc_guc_init(void)
{
	/* These two size shared memory: fixed at server start. */
	if (process_shared_preload_libraries_in_progress)
	{
		DefineCustomIntVariable("cdc_sink.max_lanes",
								"Sets the number of databases that can have changefeeds at the same time.",
								NULL, &cdc_max_lanes, 64, 1, 1024,
								PGC_POSTMASTER, 0, NULL, NULL, NULL);
		DefineCustomIntVariable("cdc_sink.max_feeds",
								"Sets the number of changefeeds that can be live at the same time.",
								NULL, &cdc_max_feeds, 256, 1, 65536,
								PGC_POSTMASTER, 0, NULL, NULL, NULL);
	}
	DefineCustomIntVariable("cdc_sink.feed_memory",
							"Sets how much one changefeed may hold encoded and not yet acknowledged.",
							NULL, &cdc_feed_memory, 48 * 1024, 256, MAX_KILOBYTES,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("cdc_sink.lane_memory",
							"Sets how much all changefeeds of a database may hold encoded and not yet acknowledged.",
							NULL, &cdc_lane_memory, 64 * 1024, 1024, MAX_KILOBYTES,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("cdc_sink.toast_cache",
							"Sets how much the changefeeds of a database keep of large values, for updates that leave them alone.",
							"Zero turns it off.",
							&cdc_toast_cache, 8 * 1024, 0, MAX_KILOBYTES,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("cdc_sink.isolation_delay",
							"Sets how long a changefeed whose queue is full may hold up the others of its database.",
							NULL, &cdc_isolation_delay, 2000, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("cdc_sink.start_timeout",
							"Sets how long the creation of a changefeed waits for its exact starting point.",
							NULL, &cdc_start_timeout, 10000, 0, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("cdc_sink.sink_check_timeout",
							"Sets how long the creation of a changefeed tries to reach the sink.",
							NULL, &cdc_sink_check_timeout, 10000, 100, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("cdc_sink.idle_resolved_interval",
							"Sets the least time between resolved messages while no changes arrive.",
							NULL, &cdc_idle_resolved_interval, 1000, 10, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("cdc_sink.max_retained_wal",
							"Sets how much WAL a changefeed may hold back before it is given up.",
							"A changefeed that falls further behind fails, so that the disk does not fill up. Zero means no limit.",
							&cdc_max_retained_wal, 0, 0, INT_MAX / 2,
							PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomIntVariable("cdc_sink.history_retention",
							"Sets how long changes are kept for changefeeds that will be created with a cursor.",
							"WAL is held back for that long, within cdc_sink.max_retained_wal. Zero means as long as another changefeed needs it.",
							&cdc_history_retention, 0, 0, INT_MAX / 1000,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("cdc_sink.job_retention",
							"Sets how long finished changefeed jobs are kept.",
							NULL, &cdc_job_retention, 14 * 24 * 3600, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomBoolVariable("cdc_sink.allow_http_webhook",
							 "Allows webhooks without TLS (webhook-http).",
							 "Rows and credentials cross the network in the clear then.",
							 &cdc_allow_http_webhook, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("cdc_sink.allow_implicit_credentials",
							 "Lets everybody use the server's own credentials at cloud stores (AUTH=implicit).",
							 "Superusers always may.",
							 &cdc_allow_implicit_credentials, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("cdc_sink.file_root",
							   "Sets the directory below which nodelocal:// and file:// sinks may write.",
							   "An empty value means the directory cdc_sink in the data directory.",
							   &cdc_file_root, "",
							   PGC_SUSET, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable("cdc_sink.allowed_sink_hosts",
							   "Lists the hosts that changefeeds may connect to.",
							   "Entries are host, host:port or *.domain, separated by commas. Empty: any host.",
							   &cdc_allowed_sink_hosts, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   cdc_hosts_check_list, NULL, NULL);
	DefineCustomEnumVariable("cdc_sink.restrict_sinks",
							 "Sets which sinks users other than superusers may name.",
							 "With \"external\" only foreign servers on which they have USAGE.",
							 &cdc_restrict_sinks, CDC_RESTRICT_OFF,
							 restrict_values, PGC_SUSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("cdc_sink");
}
