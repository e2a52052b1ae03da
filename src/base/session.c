/*-------------------------------------------------------------------------
 * session.c
 *		Settings of the extension's own processes; see session.h.
 *
 * Runs: lane, setup and scan workers, once after they have connected.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "base/session.h"
#include "utils/guc.h"

void
cdc_session_pin_settings(void)
{
	static const char *const pinned[][2] = {
		{"datestyle", "ISO, YMD"},
		{"intervalstyle", "postgres"},
		{"timezone", "UTC"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"xmlbinary", "base64"},
		{"search_path", "pg_catalog"},
		{"lc_monetary", "C"},
		{"row_security", "off"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"transaction_timeout", "0"},	/* since 17 */
		{"synchronous_commit", "local"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"session_replication_role", "origin"},
		{"check_function_bodies", "off"},
	};

	for (int i = 0; i < lengthof(pinned); i++)
	{
		if (GetConfigOption(pinned[i][0], true, false) != NULL)
			SetConfigOption(pinned[i][0], pinned[i][1], PGC_SUSET, PGC_S_OVERRIDE);
	}
}

uint64
cdc_session_system_id(void)
{
	return GetSystemIdentifier();
}
