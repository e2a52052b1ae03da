/*-------------------------------------------------------------------------
 * debezium.h
 *		Values and schemas as Debezium's PostgreSQL connector writes them;
 *		private to encode/, but for the options.
 *
 * A column becomes one of the types of Kafka Connect, often with a name that
 * tells how to read it (io.debezium.time.MicroTimestamp).  Which, depends on
 * its type, its modifier and the modes of CdcDebeziumOptions; all of that is
 * decided once, when the encoder is made.
 *
 * Runs: as encode.h.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_DEBEZIUM_H
#define CDC_DEBEZIUM_H

#include "postgres.h"

#include "encode/datum.h"
#include "fmgr.h"
#include "utils/rel.h"

#define CDC_DBZ_NAME_SIZE	256
#define CDC_DBZ_PREFIXES_SIZE	2048

typedef enum CdcDebeziumDecimal
{
	CDC_DBZ_DECIMAL_PRECISE,	/* unscaled value, binary */
	CDC_DBZ_DECIMAL_STRING,
	CDC_DBZ_DECIMAL_DOUBLE,
} CdcDebeziumDecimal;

typedef enum CdcDebeziumTime
{
	CDC_DBZ_TIME_ADAPTIVE,		/* as the column's precision asks */
	CDC_DBZ_TIME_ADAPTIVE_MICROS,	/* the same, time always microseconds */
	CDC_DBZ_TIME_CONNECT,		/* milliseconds */
	CDC_DBZ_TIME_ISO,
	CDC_DBZ_TIME_MICROS,
	CDC_DBZ_TIME_NANOS,
} CdcDebeziumTime;

typedef enum CdcDebeziumInterval
{
	CDC_DBZ_INTERVAL_NUMERIC,	/* microseconds */
	CDC_DBZ_INTERVAL_STRING,
} CdcDebeziumInterval;

typedef enum CdcDebeziumHstore
{
	CDC_DBZ_HSTORE_JSON,		/* a text */
	CDC_DBZ_HSTORE_MAP,
} CdcDebeziumHstore;

typedef enum CdcDebeziumBinary
{
	CDC_DBZ_BINARY_BYTES,
	CDC_DBZ_BINARY_BASE64,
	CDC_DBZ_BINARY_BASE64_URL,
	CDC_DBZ_BINARY_HEX,
} CdcDebeziumBinary;

/* Which messages of pg_logical_emit_message() are sent. */
typedef enum CdcDebeziumMessages
{
	CDC_DBZ_MESSAGES_NONE,
	CDC_DBZ_MESSAGES_LISTED,	/* those whose prefix matches */
	CDC_DBZ_MESSAGES_OTHERS,	/* those whose prefix does not */
} CdcDebeziumMessages;

/* Longer prefixes match no expression, and are not sent. */
#define CDC_DBZ_PREFIX_MAX	1024

/* How prefixes are matched: letters of either case, in the collation "C". */
#define CDC_DBZ_PREFIX_FLAGS	(REG_ADVANCED | REG_ICASE)

/*
 * The connector's settings that shape a message, by its own names.  In one
 * piece: it is copied as it is.
 */
typedef struct CdcDebeziumOptions
{
	char		name[CDC_DBZ_NAME_SIZE];	/* topic.prefix, "": the database */
	char		placeholder[CDC_DBZ_NAME_SIZE]; /* unavailable.value.placeholder */
	char		prefixes[CDC_DBZ_PREFIXES_SIZE];	/* one regular expression */
	CdcDebeziumMessages messages;
	CdcDebeziumDecimal decimal;
	CdcDebeziumTime time;
	CdcDebeziumBinary binary;
	CdcDebeziumInterval interval;
	CdcDebeziumHstore hstore;
	bool		key_schemas;
	bool		value_schemas;
	bool		unknown_types;	/* include.unknown.datatypes */
	bool		null_is_default;	/* replace.null.with.default */
	bool		tombstones;
	bool		transactions;	/* provide.transaction.metadata */
} CdcDebeziumOptions;

/*
 * A type of Kafka Connect with the encoder of its values.  Texts are JSON.
 */
typedef struct CdcDebeziumType
{
	CdcDatum	datum;			/* encode is NULL: columns are left out */
	const char *type;			/* "int32" */
	const char *inner;			/* "fields": […],  or "items": …,  or "" */
	const char *name;			/* NULL: none */
	const char *doc;			/* NULL: none */
	const char *parameters;		/* NULL: none */
	const char *zero;			/* stands for NULL where none may be */
	const char *marker;			/* stands for a value that is not known */
	bool		has_default;	/* the schema may tell the column's default */
	bool		element_optional;	/* of an array: its elements may be NULL */
} CdcDebeziumType;

extern CdcDebeziumType cdc_debezium_type(MemoryContext cxt, Oid type, int32 typmod,
										 const CdcDebeziumOptions *opts);

/*
 * The schema of a field, as JSON text, palloc'ed.  dflt: JSON text or NULL;
 * field: its quoted name or NULL.
 */
extern char *cdc_debezium_schema(const CdcDebeziumType *t, bool optional,
								 const char *dflt, const char *field);

/*
 * The default of a column as its schema tells it, JSON text in cxt: the value
 * of a constant, zero of the type for what has to be computed; NULL: none.
 */
extern char *cdc_debezium_default(MemoryContext cxt, Relation rel,
								  Form_pg_attribute att, CdcDebeziumType *t);

/*
 * Topic of messages, or of transactions, below the prefix, palloc'ed; db:
 * name of the database.
 */
extern char *cdc_debezium_event_topic(const CdcDebeziumOptions *opts,
									  const char *db, const char *name);

#define CDC_DBZ_MESSAGE_TOPIC	"message"
#define CDC_DBZ_TRANSACTION_TOPIC	"transaction"

/*
 * "prefix.schema.table" with what a topic cannot have replaced, palloc'ed.
 */
extern char *cdc_debezium_topic(const char *prefix, const char *schema,
								const char *table);

/* Encoders, by kind of value; state is NULL or as told. */
typedef struct CdcDebeziumState
{
	const CdcDebeziumOptions *opts;
	int			scale;			/* decimals: of the column */
	int			digits;			/* times: of the fraction */
	FmgrInfo   *output;
	CdcDatum	element;
	int16		typlen;
	bool		typbyval;
	char		typalign;
} CdcDebeziumState;

extern void cdc_dbz_oid(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_float4(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_float8(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_decimal(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_decimal_variable(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_decimal_string(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_decimal_double(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_money(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_money_string(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_money_double(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_output(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_unknown(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_bytea(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_bit(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_bits(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_point(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_hstore(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_array(CdcDatum *datum, CdcBuf *out, Datum value);

extern void cdc_dbz_date(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_date_iso(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_time_millis(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_time_micros(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_time_nanos(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_time_iso(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_timetz(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_timestamp_millis(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_timestamp_micros(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_timestamp_nanos(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_timestamp_iso(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_timestamptz(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_interval(CdcDatum *datum, CdcBuf *out, Datum value);
extern void cdc_dbz_interval_iso(CdcDatum *datum, CdcBuf *out, Datum value);

/* Appends bytes as a JSON string, as the mode has it. */
extern void cdc_dbz_put_bytes(CdcBuf *out, const char *data, size_t len,
							  CdcDebeziumBinary mode);

#endif							/* CDC_DEBEZIUM_H */
