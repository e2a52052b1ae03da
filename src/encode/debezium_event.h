/*-------------------------------------------------------------------------
 * debezium_event.h
 *		Messages of Debezium's envelope that are not about a row: those of
 *		pg_logical_emit_message(), and begin and end of a transaction.
 *
 * Runs: decoding callbacks of the lane.  Reads no catalogs once the encoder
 * is made.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_DEBEZIUM_EVENT_H
#define CDC_DEBEZIUM_EVENT_H

#include "postgres.h"

#include "encode/debezium.h"
#include "encode/encode.h"

/* What messages count as in data_collections. */
#define CDC_DBZ_MESSAGES	"LOGICAL_DECODING_MESSAGE"

/* Larger contents are not sent: their text has to fit into a buffer. */
#define CDC_DBZ_MESSAGE_MAX	(64 * 1024 * 1024)

typedef struct CdcDebeziumEvents CdcDebeziumEvents;

/* Events of one table, or of all messages, in a transaction. */
typedef struct CdcDebeziumCount
{
	const char *collection;		/* schema.table */
	uint64		events;
} CdcDebeziumCount;

/* db: name of the database.  All memory is in "cxt". */
extern CdcDebeziumEvents *cdc_debezium_events_create(MemoryContext cxt,
													 const CdcDebeziumOptions *opts,
													 const char *db);

/*
 * Appends a message.  Of "row" counts where it comes from; without xid it is
 * of no transaction.
 */
extern void cdc_debezium_message(const CdcDebeziumEvents *events, CdcBuf *out,
								 const CdcRow *row, const char *prefix,
								 const char *content, size_t size,
								 bool with_key, CdcParts *parts);

/*
 * Appends the begin (counts is NULL) or the end of a transaction.  lsn: of
 * its first event, or behind its commit.
 */
extern void cdc_debezium_boundary(const CdcDebeziumEvents *events, CdcBuf *out,
								  TransactionId xid, XLogRecPtr lsn,
								  TimestampTz commit_time,
								  const CdcDebeziumCount *counts, int ncounts,
								  bool with_key, CdcParts *parts);

/* "schema.table" of an encoder's table, as data_collections has it. */
extern const char *cdc_debezium_collection(const CdcRowEncoder *enc);

#endif							/* CDC_DEBEZIUM_EVENT_H */
