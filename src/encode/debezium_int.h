/*-------------------------------------------------------------------------
 * debezium_int.h
 *		What all messages of Debezium's envelope have in common: where they
 *		come from, and their transaction; private to encode/.
 *
 * Runs: as encode.h.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_DEBEZIUM_INT_H
#define CDC_DEBEZIUM_INT_H

#include "postgres.h"

#include "encode/debezium.h"
#include "encode/envelope.h"

/* Schemas of Kafka Connect, as JSON text. */
#define CDC_DBZ_FIELD(type, optional, name) \
	"{\"type\":\"" type "\",\"optional\":" optional ",\"field\":\"" name "\"}"

#define CDC_DBZ_SOURCE_SCHEMA \
	"{\"type\":\"struct\",\"fields\":[" \
	CDC_DBZ_FIELD("string", "false", "version") "," \
	CDC_DBZ_FIELD("string", "false", "connector") "," \
	CDC_DBZ_FIELD("string", "false", "name") "," \
	CDC_DBZ_FIELD("int64", "false", "ts_ms") "," \
	"{\"type\":\"string\",\"optional\":true,\"name\":\"io.debezium.data.Enum\",\"version\":1," \
	"\"parameters\":{\"allowed\":\"true,first,first_in_data_collection,last_in_data_collection,last,false,incremental\"}," \
	"\"default\":\"false\",\"field\":\"snapshot\"}," \
	CDC_DBZ_FIELD("string", "false", "db") "," \
	CDC_DBZ_FIELD("string", "true", "sequence") "," \
	CDC_DBZ_FIELD("int64", "true", "ts_us") "," \
	CDC_DBZ_FIELD("int64", "true", "ts_ns") "," \
	CDC_DBZ_FIELD("string", "false", "schema") "," \
	CDC_DBZ_FIELD("string", "false", "table") "," \
	CDC_DBZ_FIELD("int64", "true", "txId") "," \
	CDC_DBZ_FIELD("int64", "true", "lsn") "," \
	CDC_DBZ_FIELD("int64", "true", "xmin") "," \
	CDC_DBZ_FIELD("string", "true", "origin") "," \
	CDC_DBZ_FIELD("int64", "true", "origin_lsn") "]," \
	"\"optional\":false,\"name\":\"io.debezium.connector.postgresql.Source\",\"version\":1,\"field\":\"source\"}"

#define CDC_DBZ_TRANSACTION_SCHEMA \
	"{\"type\":\"struct\",\"fields\":[" \
	CDC_DBZ_FIELD("string", "false", "id") "," \
	CDC_DBZ_FIELD("int64", "false", "total_order") "," \
	CDC_DBZ_FIELD("int64", "false", "data_collection_order") "]," \
	"\"optional\":true,\"name\":\"event.block\",\"version\":1,\"field\":\"transaction\"}"

/* What "source" says of all messages of a table, or of none. */
typedef struct CdcDebeziumSource
{
	CdcText		open;			/* up to the value of "ts_ms" */
	CdcText		db;				/* from "db" to the value of "sequence" */
	CdcText		table;			/* from "schema" to the value of "txId" */
} CdcDebeziumSource;

extern void cdc_dbz_source_init(MemoryContext cxt, CdcDebeziumSource *source,
								const char *prefix, const char *db,
								const char *schema, const char *table);

/* Appends the member "source" of a row or a message, with a comma before it. */
extern void cdc_dbz_source(const CdcDebeziumSource *source, CdcBuf *out,
						   const CdcRow *row);

/* Appends the member "transaction" likewise; NULL: it is null. */
extern void cdc_dbz_transaction(CdcBuf *out, const CdcRow *row);

/* The time of day, nanoseconds since 1970. */
extern int64 cdc_dbz_now(void);

static inline void
cdc_dbz_text(CdcBuf *out, const CdcText *text)
{
	cdc_buf_append(out, text->data, text->len);
}

#endif							/* CDC_DEBEZIUM_INT_H */
