/*-------------------------------------------------------------------------
 * enriched.c
 *		The enriched envelope: the operation, where the change comes from
 *		(property source), and Kafka Connect's schemas (property schema).
 *
 * Members come in alphabetical order: after, before, key, op, source, topic,
 * ts_ns; with schemas all of it is the member payload.  Keys are objects.
 * The time in ts_ns is that of encoding: it differs when the same change is
 * sent again.
 *
 * Runs: decoding callbacks of a lane, scan workers.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "base/session.h"
#include "commands/dbcommands.h"
#include "encode/connect.h"
#include "encode/envelope.h"
#include "encode/json.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

typedef struct EnrichedState
{
	CdcText		after_null;
	CdcFields  *before;			/* option diff */
	CdcFields  *key;			/* members of the key as an object */
	CdcText		key_open;		/* what stands before the first of them */
	CdcText		key_close;
	CdcFields  *inner_key;		/* the same for the key in the value */
	CdcText		source_head;	/* up to mvcc_timestamp */
	CdcText		source_rest;	/* up to ts_hlc */
	CdcText		close;			/* behind ts_ns */
} EnrichedState;

static const CdcText inner_key_open = {"{", 1};

/* ---- when the encoder is made ---- */

static void
init_source(CdcRowEncoder *enc, EnrichedState *state, const CdcEncodeTable *table)
{
	StringInfoData buf;
	char		host[256] = "";
	char		number[32];

	initStringInfo(&buf);
	appendStringInfoString(&buf, ", \"source\": {");
	cdc_json_member(&buf, "changefeed_sink", enc->opts.sink_name ? enc->opts.sink_name : "");
	snprintf(number, sizeof(number), UINT64_FORMAT, cdc_session_system_id());
	cdc_json_member(&buf, "cluster_id", number);
	cdc_json_member(&buf, "cluster_name", cluster_name ? cluster_name : "");
	cdc_json_member(&buf, "database_name", get_database_name(MyDatabaseId));
	cdc_json_member(&buf, "db_version", "PostgreSQL " PG_VERSION);
	snprintf(number, sizeof(number), INT64_FORMAT, enc->opts.job_id);
	cdc_json_member(&buf, "job_id", number);
	state->source_head = cdc_text(enc->cxt, buf.data);

	resetStringInfo(&buf);
	(void) gethostname(host, sizeof(host) - 1);
	cdc_json_member(&buf, "node_id", "1");
	cdc_json_member(&buf, "node_name", host);
	cdc_json_member(&buf, "origin", "cockroachdb");
	appendStringInfoString(&buf, "\"primary_keys\": [");
	for (int i = 0; i < table->nkeys; i++)
	{
		char	   *quoted = cdc_json_quote(CurrentMemoryContext,
											NameStr(TupleDescAttr(table->desc, table->keyatts[i] - 1)->attname));

		appendStringInfo(&buf, "%s%s", i > 0 ? ", " : "", quoted);
		pfree(quoted);
	}
	appendStringInfoString(&buf, "], ");
	cdc_json_member(&buf, "schema_name", table->schema ? table->schema : "");
	cdc_json_member(&buf, "source_node_locality", "");
	cdc_json_member(&buf, "table_name", table->name);
	buf.data[buf.len - 2] = '\0';	/* the last separator */
	state->source_rest = cdc_text(enc->cxt, buf.data);
	pfree(buf.data);
}

static void
append_source_schema(CdcRowEncoder *enc, StringInfo out)
{
	static const char *const texts[] = {
		"changefeed_sink", "cluster_id", "cluster_name", "database_name",
		"db_version", "job_id", "mvcc_timestamp", "node_id", "node_name",
		"origin", "primary_keys", "schema_name", "source_node_locality",
		"table_name", "ts_hlc",
	};
	bool		next = false;

	cdc_connect_open(out, "source");
	for (int i = 0; i < lengthof(texts); i++)
	{
		if ((strcmp(texts[i], "mvcc_timestamp") == 0 && !enc->opts.mvcc_timestamp) ||
			(strcmp(texts[i], "ts_hlc") == 0 && !enc->opts.updated))
			continue;
		if (strcmp(texts[i], "primary_keys") == 0)
			appendStringInfoString(out, ", {\"field\": \"primary_keys\", \"items\": \"string\", \"optional\": false, \"type\": \"array\"}");
		else
			cdc_connect_plain(out, texts[i], "string",
							  strcmp(texts[i], "mvcc_timestamp") == 0 ||
							  strcmp(texts[i], "ts_hlc") == 0, next);
		next = true;
	}
	if (enc->opts.updated)
		cdc_connect_plain(out, "ts_ns", "int64", true, true);
	cdc_connect_close(out, "cockroachdb.source", true);
}

/* What follows ts_ns: the end of the payload, and its schema. */
static void
init_value_schema(CdcRowEncoder *enc, EnrichedState *state,
				  const CdcEncodeTable *table)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "}, \"schema\": ");
	cdc_connect_open(&buf, NULL);
	cdc_connect_row(&buf, table->desc, enc->row, "after",
					psprintf("%s.after.value", table->name), true);
	if (enc->opts.diff)
	{
		appendStringInfoString(&buf, ", ");
		cdc_connect_row(&buf, table->desc, enc->row, "before",
						psprintf("%s.before.value", table->name), true);
	}
	if (enc->opts.key_in_value)
	{
		appendStringInfoString(&buf, ", ");
		cdc_connect_row(&buf, table->desc, state->key, "key",
						psprintf("%s.key", table->name), false);
	}
	cdc_connect_plain(&buf, "op", "string", false, true);
	if (enc->opts.enriched_source)
	{
		appendStringInfoString(&buf, ", ");
		append_source_schema(enc, &buf);
	}
	if (enc->opts.topic_in_value)
		cdc_connect_plain(&buf, "topic", "string", false, true);
	cdc_connect_plain(&buf, "ts_ns", "int64", false, true);
	cdc_connect_close(&buf, "cockroachdb.envelope", false);
	appendStringInfoChar(&buf, '}');
	state->close = cdc_text(enc->cxt, buf.data);
	pfree(buf.data);
}

static void
init_key(CdcRowEncoder *enc, EnrichedState *state, const CdcEncodeTable *table)
{
	bool	   *wanted = palloc0(sizeof(bool) * Max(table->desc->natts, 1));
	StringInfoData buf;

	for (int i = 0; i < enc->key->n; i++)
		wanted[enc->key->field[i].att] = true;
	state->key_open = cdc_text(enc->cxt, enc->opts.enriched_schema ?
							   "{\"payload\": {" : "{");
	state->key = cdc_fields_object(enc->cxt, table->desc, state->key_open.data, wanted);
	state->inner_key = cdc_fields_object(enc->cxt, table->desc, "{", wanted);
	pfree(wanted);

	initStringInfo(&buf);
	if (enc->opts.enriched_schema)
	{
		appendStringInfoString(&buf, ", \"schema\": ");
		cdc_connect_row(&buf, table->desc, state->key, NULL,
						psprintf("%s.key", table->name), false);
		appendStringInfoChar(&buf, '}');
	}
	state->key_close = cdc_text(enc->cxt, buf.data);
	pfree(buf.data);
}

static void
enriched_init(CdcRowEncoder *enc, const CdcEncodeTable *table)
{
	EnrichedState *state = MemoryContextAllocZero(enc->cxt, sizeof(EnrichedState));
	bool		schema = enc->opts.enriched_schema;

	enc->row_open = cdc_text(enc->cxt, schema ?
							 "{\"payload\": {\"after\": {" : "{\"after\": {");
	state->after_null = cdc_text(enc->cxt, schema ?
								 "{\"payload\": {\"after\": null" : "{\"after\": null");
	enc->row = cdc_envelope_fields(enc, table->desc, enc->row_open.data);
	if (enc->opts.diff)
		state->before = cdc_envelope_fields(enc, table->desc, CDC_BEFORE_OPEN);
	init_key(enc, state, table);
	if (enc->opts.enriched_source)
		init_source(enc, state, table);
	if (schema)
		init_value_schema(enc, state, table);
	else
		state->close = cdc_text(enc->cxt, "}");
	enc->state = state;
}

/* ---- for each row ---- */

static void
enriched_key(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row)
{
	EnrichedState *state = enc->state;

	cdc_envelope_object(state->key, &state->key_open, out, cdc_row_values(row),
						cdc_row_nulls(row), row->unavailable);
	cdc_buf_append(out, state->key_close.data, state->key_close.len);
}

static void
append_source(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row)
{
	EnrichedState *state = enc->state;

	cdc_buf_append(out, state->source_head.data, state->source_head.len);
	if (enc->opts.mvcc_timestamp)
	{
		cdc_buf_append_lit(out, "\"mvcc_timestamp\": \"");
		cdc_envelope_stamp(&enc->mvcc, out, row->mvcc);
		cdc_buf_append_lit(out, "\", ");
	}
	cdc_buf_append(out, state->source_rest.data, state->source_rest.len);
	if (enc->opts.updated)
	{
		cdc_buf_append_lit(out, ", \"ts_hlc\": \"");
		cdc_envelope_stamp(&enc->updated, out, row->updated);
		cdc_buf_append_lit(out, "\", \"ts_ns\": ");
		cdc_envelope_int(out, row->updated.wall);
	}
	cdc_buf_append_char(out, '}');
}

static bool
enriched_value(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row)
{
	EnrichedState *state = enc->state;

	if (row->values != NULL)
		cdc_envelope_object(enc->row, &enc->row_open, out, row->values,
							row->nulls, row->unavailable);
	else
		cdc_buf_append(out, state->after_null.data, state->after_null.len);
	if (enc->opts.diff)
		cdc_envelope_before(state->before, out, row);
	if (enc->opts.key_in_value)
	{
		cdc_buf_append_lit(out, ", \"key\": ");
		cdc_envelope_object(state->inner_key, &inner_key_open, out,
							cdc_row_values(row), cdc_row_nulls(row),
							row->unavailable);
	}
	cdc_buf_append_lit(out, ", \"op\": \"");
	cdc_buf_append_char(out, row->op != 'r' ? row->op :
						row->old_values != NULL ? 'u' : 'c');
	cdc_buf_append_char(out, '"');
	if (enc->opts.enriched_source)
		append_source(enc, out, row);
	cdc_buf_append(out, enc->topic.data, enc->topic.len);
	cdc_buf_append_lit(out, ", \"ts_ns\": ");
	cdc_envelope_int(out, cdc_hlc_wall(GetCurrentTimestamp()));
	cdc_buf_append(out, state->close.data, state->close.len);
	return true;
}

const CdcEnvelopeOps cdc_envelope_enriched = {
	.init = enriched_init,
	.key = enriched_key,
	.value = enriched_value,
	.resolved_open = "{\"resolved\":\"",
	.resolved_close = "\"}",
	.is_volatile = true,
};
