/*-------------------------------------------------------------------------
 * plugin.h
 *		The output plugin: from core's callbacks to the lane's.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_PLUGIN_H
#define CDC_PLUGIN_H

#include "postgres.h"

#include "replication/output_plugin.h"
#include "replication/reorderbuffer.h"
#include "utils/rel.h"

/*
 * The way up from wal/: what a lane does with what is decoded.  Called in
 * core's transaction under a historic snapshot: catalogs may be read, tables
 * may not; no ERROR for trouble of a sink.
 */
typedef struct CdcChangeSink
{
	void		(*begin) (ReorderBufferTXN *txn);
	void		(*change) (ReorderBufferTXN *txn, Relation rel,
						   ReorderBufferChange *change);
	void		(*truncate) (ReorderBufferTXN *txn, int nrels, Relation *rels,
							 XLogRecPtr lsn);
	void		(*commit) (ReorderBufferTXN *txn);

	/*
	 * A message of pg_logical_emit_message().  txn is NULL for one outside of
	 * a transaction: it comes between two of them, and there is no core's
	 * transaction then, so that catalogs may not be read.
	 */
	void		(*message) (ReorderBufferTXN *txn, XLogRecPtr lsn,
							const char *prefix, const char *content, Size size);
} CdcChangeSink;

/* Set once by the lane worker before it opens a decoder. */
extern const CdcChangeSink *cdc_change_sink;

/*
 * The plugin refuses to start unless our own worker opened the context: a
 * walsender must not stream around the permission checks of changefeeds.
 */
extern void cdc_plugin_permit(bool permit);

extern void cdc_plugin_init(OutputPluginCallbacks *cb);

#endif							/* CDC_PLUGIN_H */
