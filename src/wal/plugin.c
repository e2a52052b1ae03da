/*-------------------------------------------------------------------------
 * plugin.c
 *		The output plugin.  It writes nothing through core's output
 *		functions: each callback hands the change straight to the lane.
 *
 * Runs: lane worker and setup worker, inside core's decoding transaction.
 * Prepare callbacks are not registered, so that a prepared transaction comes
 * whole at its COMMIT PREPARED; stream callbacks are not, since only
 * committed data may leave.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "replication/logical.h"
#include "wal/plugin.h"

const CdcChangeSink *cdc_change_sink = NULL;

static bool permitted = false;

void
cdc_plugin_permit(bool permit)
{
	permitted = permit;
}

static void
plugin_startup(LogicalDecodingContext *ctx, OutputPluginOptions *opt,
			   bool is_init)
{
	/* pg_upgrade makes the old cluster's slots anew, and reads nothing */
	if (!permitted && !(IsBinaryUpgrade && is_init))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("output plugin \"cdc_sink\" can only be used by changefeeds"),
				 errhint("Use changefeed_create() to receive changes.")));
	opt->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
	opt->receive_rewrites = false;
}

static void
plugin_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	cdc_change_sink->begin(txn);
}

static void
plugin_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			  Relation rel, ReorderBufferChange *change)
{
	cdc_change_sink->change(txn, rel, change);
}

static void
plugin_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
				int nrelations, Relation relations[],
				ReorderBufferChange *change)
{
	cdc_change_sink->truncate(txn, nrelations, relations, change->lsn);
}

static void
plugin_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			  XLogRecPtr commit_lsn)
{
	cdc_change_sink->commit(txn);
}

static void
plugin_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			   XLogRecPtr lsn, bool transactional, const char *prefix,
			   Size size, const char *content)
{
	cdc_change_sink->message(transactional ? txn : NULL, lsn, prefix, content, size);
}

void
cdc_plugin_init(OutputPluginCallbacks *cb)
{
	cb->startup_cb = plugin_startup;
	cb->begin_cb = plugin_begin;
	cb->change_cb = plugin_change;
	cb->truncate_cb = plugin_truncate;
	cb->commit_cb = plugin_commit;
	cb->message_cb = plugin_message;
}
