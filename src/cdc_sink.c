/*-------------------------------------------------------------------------
 * cdc_sink.c
 *		Module entry points: wiring only.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/hooks.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/shmem.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "wal/plugin.h"
#include "worker/launcher.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);
extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *cb);

void
_PG_init(void)
{
	cdc_guc_init();
	if (process_shared_preload_libraries_in_progress)
	{
		cdc_shmem_init();

		/*
		 * Under pg_upgrade nothing may write: neither to the old cluster,
		 * whose rows are copied with the transaction ids that it had, nor to
		 * a new one that is still being filled.
		 */
		if (!IsBinaryUpgrade)
			cdc_launcher_register();
		cdc_hooks_init();
	}
}

void
_PG_output_plugin_init(OutputPluginCallbacks *cb)
{
	cdc_plugin_init(cb);
}
