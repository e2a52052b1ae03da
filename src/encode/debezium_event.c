/*-------------------------------------------------------------------------
 * debezium_event.c
 *		Debezium's envelope without a row: messages of
 *		pg_logical_emit_message(), begin and end of a transaction; see
 *		debezium_event.h.
 *
 * Members and their order are the connector's (3.6).
 *
 * Runs: decoding callbacks of a lane.  What messages hold is anybody's, who
 * may call that function: nothing of it is trusted but its length.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "encode/debezium_event.h"
#include "encode/debezium_int.h"
#include "encode/json.h"

#define MESSAGE_KEY_SCHEMA \
	"{\"schema\":{\"type\":\"struct\",\"fields\":[" \
	CDC_DBZ_FIELD("string", "true", "prefix") \
	"],\"optional\":false,\"name\":\"io.debezium.connector.postgresql.MessageKey\",\"version\":1},\"payload\":"

#define MESSAGE_SCHEMA(content) \
	"{\"schema\":{\"type\":\"struct\",\"fields\":[" \
	CDC_DBZ_FIELD("string", "false", "op") "," \
	CDC_DBZ_FIELD("int64", "true", "ts_ms") "," \
	CDC_DBZ_SOURCE_SCHEMA "," CDC_DBZ_TRANSACTION_SCHEMA "," \
	"{\"type\":\"struct\",\"fields\":[" \
	CDC_DBZ_FIELD("string", "true", "prefix") "," CDC_DBZ_FIELD(content, "true", "content") \
	"],\"optional\":false,\"name\":\"io.debezium.connector.postgresql.Message\",\"version\":1,\"field\":\"message\"}" \
	"],\"optional\":false,\"name\":\"io.debezium.connector.postgresql.MessageValue\",\"version\":1},\"payload\":"

#define BOUNDARY_KEY_SCHEMA \
	"{\"schema\":{\"type\":\"struct\",\"fields\":[" \
	CDC_DBZ_FIELD("string", "false", "id") \
	"],\"optional\":false,\"name\":\"io.debezium.connector.common.TransactionMetadataKey\",\"version\":1},\"payload\":"

#define BOUNDARY_SCHEMA \
	"{\"schema\":{\"type\":\"struct\",\"fields\":[" \
	CDC_DBZ_FIELD("string", "false", "status") "," \
	CDC_DBZ_FIELD("string", "false", "id") "," \
	CDC_DBZ_FIELD("int64", "true", "event_count") "," \
	"{\"type\":\"array\",\"items\":{\"type\":\"struct\",\"fields\":[" \
	CDC_DBZ_FIELD("string", "false", "data_collection") "," \
	CDC_DBZ_FIELD("int64", "false", "event_count") \
	"],\"optional\":true,\"name\":\"event.collection\",\"version\":1}," \
	"\"optional\":true,\"field\":\"data_collections\"}," \
	CDC_DBZ_FIELD("int64", "false", "ts_ms") \
	"],\"optional\":false,\"name\":\"io.debezium.connector.common.TransactionMetadataValue\",\"version\":1},\"payload\":"

#define NANOS_PER_MILLI	1000000

struct CdcDebeziumEvents
{
	const CdcDebeziumOptions *opts;
	CdcDebeziumSource source;
};

CdcDebeziumEvents *
cdc_debezium_events_create(MemoryContext cxt, const CdcDebeziumOptions *opts,
						   const char *db)
{
	CdcDebeziumEvents *events = MemoryContextAllocZero(cxt, sizeof(CdcDebeziumEvents));

	events->opts = opts;
	cdc_dbz_source_init(cxt, &events->source, opts->name[0] != '\0' ? opts->name : db,
						db, "", "");
	return events;
}

static void
append_key_open(const CdcDebeziumEvents *events, CdcBuf *out, const char *schema)
{
	if (events->opts->key_schemas)
		cdc_buf_append(out, schema, strlen(schema));
}

static void
append_value_open(const CdcDebeziumEvents *events, CdcBuf *out, const char *schema)
{
	if (events->opts->value_schemas)
		cdc_buf_append(out, schema, strlen(schema));
}

/* The object with its schema is closed. */
static void
append_close(bool schemas, CdcBuf *out)
{
	if (schemas)
		cdc_buf_append_char(out, '}');
}

void
cdc_debezium_message(const CdcDebeziumEvents *events, CdcBuf *out, const CdcRow *row,
					 const char *prefix, const char *content, size_t size,
					 bool with_key, CdcParts *parts)
{
	const CdcDebeziumOptions *opts = events->opts;
	bool		texts = opts->binary != CDC_DBZ_BINARY_BYTES;
	size_t		start = out->len;

	memset(parts, 0, sizeof(CdcParts));
	parts->key_len = CDC_LEN_NULL;
	if (with_key)
	{
		append_key_open(events, out, MESSAGE_KEY_SCHEMA);
		cdc_buf_append_lit(out, "{\"prefix\":");
		cdc_json_string(out, prefix, strlen(prefix));
		cdc_buf_append_char(out, '}');
		append_close(opts->key_schemas, out);
		parts->key_len = (uint32) (out->len - start);
		start = out->len;
	}

	append_value_open(events, out, texts ? MESSAGE_SCHEMA("string") : MESSAGE_SCHEMA("bytes"));
	cdc_buf_append_lit(out, "{\"op\":\"m\",\"ts_ms\":");
	cdc_envelope_int(out, cdc_dbz_now() / NANOS_PER_MILLI);
	cdc_dbz_source(&events->source, out, row);
	cdc_dbz_transaction(out, opts->transactions && TransactionIdIsValid(row->xid) ? row : NULL);
	cdc_buf_append_lit(out, ",\"message\":{\"prefix\":");
	cdc_json_string(out, prefix, strlen(prefix));
	cdc_buf_append_lit(out, ",\"content\":");
	cdc_dbz_put_bytes(out, content, size, opts->binary);
	cdc_buf_append_lit(out, "}}");
	append_close(opts->value_schemas, out);
	parts->val_len = (uint32) (out->len - start);
}

void
cdc_debezium_boundary(const CdcDebeziumEvents *events, CdcBuf *out, TransactionId xid,
					  XLogRecPtr lsn, TimestampTz commit_time,
					  const CdcDebeziumCount *counts, int ncounts,
					  bool with_key, CdcParts *parts)
{
	const CdcDebeziumOptions *opts = events->opts;
	uint64		total = 0;
	size_t		start = out->len;
	char		id[64];

	memset(parts, 0, sizeof(CdcParts));
	parts->key_len = CDC_LEN_NULL;
	snprintf(id, sizeof(id), "\"id\":\"%u:" UINT64_FORMAT "\"", xid, lsn);
	if (with_key)
	{
		append_key_open(events, out, BOUNDARY_KEY_SCHEMA);
		cdc_buf_append_char(out, '{');
		cdc_buf_append(out, id, strlen(id));
		cdc_buf_append_char(out, '}');
		append_close(opts->key_schemas, out);
		parts->key_len = (uint32) (out->len - start);
		start = out->len;
	}

	append_value_open(events, out, BOUNDARY_SCHEMA);
	if (counts == NULL)
		cdc_buf_append_lit(out, "{\"status\":\"BEGIN\",");
	else
		cdc_buf_append_lit(out, "{\"status\":\"END\",");
	cdc_buf_append(out, id, strlen(id));
	if (counts == NULL)
		cdc_buf_append_lit(out, ",\"event_count\":null,\"data_collections\":null");
	else
	{
		for (int i = 0; i < ncounts; i++)
			total += counts[i].events;
		cdc_buf_append_lit(out, ",\"event_count\":");
		cdc_envelope_int(out, total);
		cdc_buf_append_lit(out, ",\"data_collections\":[");
		for (int i = 0; i < ncounts; i++)
		{
			if (i > 0)
				cdc_buf_append_char(out, ',');
			cdc_buf_append_lit(out, "{\"data_collection\":");
			cdc_json_string(out, counts[i].collection, strlen(counts[i].collection));
			cdc_buf_append_lit(out, ",\"event_count\":");
			cdc_envelope_int(out, counts[i].events);
			cdc_buf_append_char(out, '}');
		}
		cdc_buf_append_char(out, ']');
	}
	cdc_buf_append_lit(out, ",\"ts_ms\":");
	cdc_envelope_int(out, cdc_hlc_wall(commit_time) / NANOS_PER_MILLI);
	cdc_buf_append_char(out, '}');
	append_close(opts->value_schemas, out);
	parts->val_len = (uint32) (out->len - start);
}
