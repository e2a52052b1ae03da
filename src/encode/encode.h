/*-------------------------------------------------------------------------
 * encode.h
 *		From a row to the bytes of a message.
 *
 * A CdcRowEncoder is built once for one version of one table's row type and
 * one set of options.  Encoding appends to a CdcBuf and allocates nothing
 * per column; what output functions palloc goes to the current memory
 * context, which the caller resets (per row or per batch).
 *
 * Runs: decoding callbacks of a lane, scan workers.  Under a historic
 * snapshot it may read catalogs only.  Errors of output functions pass
 * through; no out-of-line value that is unchanged (VARATT_IS_EXTERNAL_ONDISK)
 * may be handed in by a decoding callback: table/ fills it before.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_ENCODE_H
#define CDC_ENCODE_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "access/xlogdefs.h"
#include "base/buf.h"
#include "base/hlc.h"

typedef enum CdcFormat
{
	CDC_FORMAT_JSON,
} CdcFormat;

typedef enum CdcEnvelope
{
	CDC_ENVELOPE_WRAPPED,
	CDC_ENVELOPE_BARE,
	CDC_ENVELOPE_ROW,
	CDC_ENVELOPE_KEY_ONLY,
	CDC_ENVELOPE_ENRICHED,
	CDC_ENVELOPE_DEBEZIUM,
} CdcEnvelope;

/* What the encoder has to know of a feed's options. */
typedef struct CdcEncodeOptions
{
	CdcFormat	format;
	CdcEnvelope envelope;
	bool		updated;
	bool		mvcc_timestamp;
	bool		diff;
	bool		key_in_value;
	bool		topic_in_value;
	bool		json_null_as_object;
	bool		virtual_null;	/* virtual generated columns: null, else left out */
	bool		lsn;
	bool		op;
	bool		txn;
	bool		enriched_source;
	bool		enriched_schema;
	char	   *key_column;		/* or NULL: the key of the table */
	char	   *headers_column; /* or NULL */
	const struct CdcDebeziumOptions *debezium;	/* of that envelope, or NULL */

	/* What the topic in messages goes without, as topics have it, or NULL. */
	const char *topic_prefix;

	/* Where the messages go, for envelopes that tell. */
	const char *sink_name;		/* "kafka" */
	int64		job_id;
} CdcEncodeOptions;

/* What it has to know of the table. */
typedef struct CdcEncodeTable
{
	TupleDesc	desc;			/* row type as decoding or the scan delivers
								 * it; dropped columns are skipped */
	int			nkeys;			/* 0: no key, which gives [] */
	const AttrNumber *keyatts;	/* 1-based positions in desc, in key order */
	const char *topic;
	const char *schema;			/* of the target, the root of partitions */
	const char *name;
	bool		keyless;		/* the key is all columns, for want of one */
	Oid			relid;			/* that the rows are of */
} CdcEncodeTable;

/* A change of a row, or a row of a scan. */
typedef struct CdcRow
{
	char		op;				/* 'c' insert, 'u' update, 'd' delete, 'r' scan;
								 * or CDC_OP_TOMBSTONE */
	bool		old_full;		/* the old row is whole, not its key only */

	/*
	 * One entry for each attribute of the row type (dropped ones included,
	 * ignored).  A delete has no new row, and an insert no old one: NULL.
	 */
	const Datum *values;
	const bool *nulls;
	const Datum *old_values;
	const bool *old_nulls;
	const bool *old_absent;		/* marks of columns that the old row did not
								 * have; NULL: it had all */

	/*
	 * Of an update that moves the key, which is a delete and an insert: the
	 * row at its other end.  NULL: it did not move.
	 */
	const Datum *moved_values;
	const bool *moved_nulls;

	/*
	 * Marks of values of the new row that cannot be had any more:
	 * CDC_UNAVAILABLE stands in their place.  NULL: there are none.
	 */
	const bool *unavailable;

	CdcHlc		updated;
	CdcHlc		mvcc;			/* commit of this version of the row */

	/* Where it comes from; zeroes for rows of a scan. */
	TimestampTz commit_time;
	XLogRecPtr	lsn;			/* of the change */
	XLogRecPtr	commit_lsn;		/* of its transaction's commit record */
	TransactionId xid;			/* top-level */
	uint64		seq;			/* in its transaction, from 1, counting the
								 * messages of the feed */
	bool		last;			/* known to be the last of these */
	uint64		event;			/* in its transaction, without tombstones */
	uint64		table_event;	/* the same, of this table only */
} CdcRow;

/* A null value that follows a delete, with its key. */
#define CDC_OP_TOMBSTONE	'x'

#define CDC_UNAVAILABLE "__cdc_sink_unavailable_value"

/* Lengths of the parts of a message, which stand in the buffer in this order. */
typedef struct CdcParts
{
	uint32		key_len;		/* CDC_LEN_NULL: absent */
	uint32		val_len;		/* likewise */
	uint32		headers_len;	/* 0: none; see encode/row_headers.h */
	uint32		last_at;		/* where in the value it says whether it is the
								 * last of its transaction, 0: nowhere */
} CdcParts;

/* That text, until the end of the transaction is there. */
#define CDC_LAST_NO		"false"
#define CDC_LAST_YES	"true"

typedef struct CdcRowEncoder CdcRowEncoder;

/*
 * Builds an encoder; table and options need not outlive the call.  All
 * memory is below "parent".
 */
extern CdcRowEncoder *cdc_encoder_create(MemoryContext parent,
										 const CdcEncodeTable *table,
										 const CdcEncodeOptions *opts);

/*
 * Appends what identifies a row: the columns of the table's key, as a JSON
 * array, whatever the key of the messages is.  Two rows are the same if and
 * only if these bytes are.
 */
extern void cdc_encode_identity(CdcRowEncoder *enc, CdcBuf *out,
								const Datum *values, const bool *nulls);

/* A column that the options name and the row type does not have, or NULL. */
extern const char *cdc_encode_missing_column(TupleDesc desc,
											 const CdcEncodeOptions *opts);

/* Are keys of messages the bytes of cdc_encode_identity()? */
extern bool cdc_encoder_key_is_identity(const CdcRowEncoder *enc);

/*
 * Appends the parts of a message.  "identity" may hold the row's, to be
 * copied where it is the key; NULL or empty: it is not known.
 */
extern void cdc_encode_message(CdcRowEncoder *enc, CdcBuf *out,
							   const CdcRow *row, bool with_key,
							   const CdcBuf *identity, CdcParts *parts);

/*
 * Appends the message of a TRUNCATE, e.g.
 * {"truncate": {"table": "public.foo"}, "updated": "1.0000000000"}; table is
 * of the database's encoding.
 */
extern void cdc_encode_truncate(const CdcEncodeOptions *opts, CdcBuf *out,
								const char *topic, const char *table,
								CdcHlc updated);

/* Appends a resolved message, e.g. {"resolved":"1.0000000000"}. */
extern void cdc_encode_resolved(const CdcEncodeOptions *opts, CdcBuf *out,
								CdcHlc resolved);

/* Does a delete have a tombstone behind it? */
extern bool cdc_encode_has_tombstones(const CdcEncodeOptions *opts);

/*
 * Does a message hold what differs when the same change is encoded again
 * (the time of day)?
 */
extern bool cdc_encode_is_volatile(const CdcEncodeOptions *opts);

#endif							/* CDC_ENCODE_H */
