/*-------------------------------------------------------------------------
 * plugin.c
 *		The changefeed encoder as an output plugin: a line of JSON for each
 *		change, under the snapshots and with the values decoding has.
 *
 * Runs in a backend that reads a slot.  The key is the first column.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "encode/encode.h"
#include "replication/logical.h"
#include "replication/output_plugin.h"
#include "utils/memutils.h"
#include "utils/rel.h"

extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *cb);

/* One encoder for each state of a table, kept while decoding goes on. */
typedef struct State
{
	MemoryContext cxt;
	MemoryContext row_cxt;
	Oid			relid;
	int			natts;
	CdcRowEncoder *enc;
} State;

static void
plugin_startup(LogicalDecodingContext *ctx, OutputPluginOptions *opt, bool is_init)
{
	State	   *state = palloc0(sizeof(State));

	state->cxt = AllocSetContextCreate(ctx->context, "encoders", ALLOCSET_DEFAULT_SIZES);
	state->row_cxt = AllocSetContextCreate(ctx->context, "row", ALLOCSET_DEFAULT_SIZES);
	ctx->output_plugin_private = state;
	opt->output_type = OUTPUT_PLUGIN_TEXTUAL_OUTPUT;
}

static void
plugin_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
}

static void
plugin_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation rel,
			  ReorderBufferChange *change)
{
	State	   *state = ctx->output_plugin_private;
	TupleDesc	desc = RelationGetDescr(rel);
	HeapTuple	tuple = cdc_compat_new_tuple(change);
	CdcBuf		buf = {0};
	MemoryContext old = MemoryContextSwitchTo(state->row_cxt);
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);
	CdcRow		row = {0};
	CdcParts	parts;
	StringInfoData line;

	if (tuple == NULL)
		tuple = cdc_compat_old_tuple(change);
	if (state->enc == NULL || state->relid != RelationGetRelid(rel) || state->natts != desc->natts)
	{
		CdcEncodeOptions opts = {0};
		AttrNumber	key = 1;
		CdcEncodeTable table = {desc, 1, &key, "", "public", RelationGetRelationName(rel)};

		MemoryContextReset(state->cxt);
		state->enc = cdc_encoder_create(state->cxt, &table, &opts);
		state->relid = RelationGetRelid(rel);
		state->natts = desc->natts;
	}
	heap_deform_tuple(tuple, desc, values, nulls);
	for (int i = 0; i < desc->natts; i++)
		if (!nulls[i] && TupleDescAttr(desc, i)->attlen == -1 && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(values[i])))
			nulls[i] = true;	/* unchanged; of no interest here */

	if (change->action == REORDER_BUFFER_CHANGE_DELETE)
	{
		row.old_values = values;
		row.old_nulls = nulls;
	}
	else
	{
		row.values = values;
		row.nulls = nulls;
	}
	cdc_encode_message(state->enc, &buf, &row, true, NULL, &parts);
	initStringInfo(&line);
	appendBinaryStringInfo(&line, buf.data, parts.key_len);
	appendStringInfoString(&line, "->");
	appendBinaryStringInfo(&line, buf.data + parts.key_len, parts.val_len);
	MemoryContextSwitchTo(old);
	OutputPluginPrepareWrite(ctx, true);
	appendBinaryStringInfo(ctx->out, line.data, line.len);
	OutputPluginWrite(ctx, true);
	cdc_buf_free(&buf);
	MemoryContextReset(state->row_cxt);
}

static void
plugin_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
}

void
_PG_output_plugin_init(OutputPluginCallbacks *cb)
{
	cb->startup_cb = plugin_startup;
	cb->begin_cb = plugin_begin;
	cb->change_cb = plugin_change;
	cb->commit_cb = plugin_commit;
}
