/*-------------------------------------------------------------------------
 * envelope.h
 *		Envelopes: shapes of a message's value; private to encode/.
 *
 * An envelope is a file with one CdcEnvelopeOps, chosen when the encoder is
 * made.  All text that does not depend on the row is put together then.
 *
 * Runs: as encode.h.  After an ERROR the caller cuts the buffer back to its
 * former length; nothing in an encoder changes for the length of a call that
 * may raise one.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_ENVELOPE_H
#define CDC_ENVELOPE_H

#include "postgres.h"

#include "base/compat.h"
#include "encode/datum.h"
#include "encode/encode.h"
#include "encode/row_headers.h"

/* A stamp with its text: all rows of a transaction share one. */
typedef struct CdcStampText
{
	CdcHlc		hlc;
	int			len;			/* 0: none yet */
	char		text[CDC_HLC_TEXT_SIZE];
} CdcStampText;

/* Text that is put together when the encoder is made. */
typedef struct CdcText
{
	char	   *data;
	size_t		len;
} CdcText;

/* A copy of a string in "cxt". */
static inline CdcText
cdc_text(MemoryContext cxt, const char *s)
{
	CdcText		text = {MemoryContextStrdup(cxt, s), strlen(s)};

	return text;
}

typedef struct CdcEnvelopeOps
{
	/* Sets enc->state and what else depends on the envelope. */
	void		(*init) (CdcRowEncoder *enc, const CdcEncodeTable *table);

	/* Appends the key of a message.  NULL: a JSON array. */
	void		(*key) (CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row);

	/* Appends the value; false: it is null. */
	bool		(*value) (CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row);

	/* Appends headers of a message.  NULL: none. */
	void		(*headers) (CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row);

	/* What opens and closes a resolved message around its stamp. */
	const char *resolved_open;
	const char *resolved_close;

	bool		is_volatile;	/* see cdc_encode_is_volatile() */
} CdcEnvelopeOps;

struct CdcRowEncoder
{
	MemoryContext cxt;
	const CdcEnvelopeOps *ops;
	CdcEncodeOptions opts;		/* its texts are copies */
	CdcFields  *identity;
	CdcFields  *key;			/* elements of the array; may be identity */
	CdcFields  *row;			/* members of the object; opened by row_open */
	CdcText		row_open;
	CdcText		topic;			/* , "topic": "…"  or empty */
	bool		no_key;			/* messages have a null key */
	bool		key_of_deleted; /* key is known of a deleted row */
	const char *missing;		/* a column that the options need */
	char	   *table_name;
	int			headers_att;	/* index in values, -1: no headers */
	CdcHeadersKind headers_kind;
	CdcStampText updated;
	CdcStampText mvcc;
	size_t		last_at;		/* see CdcParts; in the buffer, 0: nowhere */
	void	   *state;			/* the envelope's own */
};

extern const CdcEnvelopeOps cdc_envelope_wrapped;
extern const CdcEnvelopeOps cdc_envelope_bare;
extern const CdcEnvelopeOps cdc_envelope_row;
extern const CdcEnvelopeOps cdc_envelope_key_only;
extern const CdcEnvelopeOps cdc_envelope_enriched;
extern const CdcEnvelopeOps cdc_envelope_debezium;

/* The row as an object, opened by "open" (kept), without the column of headers. */
extern CdcFields *cdc_envelope_fields(CdcRowEncoder *enc, TupleDesc desc,
									  const char *open);

/* Appends fields without what closes them. */
static inline void
cdc_envelope_members(CdcFields *fields, CdcBuf *out, const Datum *values,
					 const bool *nulls, const bool *unavailable)
{
	if (likely(unavailable == NULL))
		cdc_fields_encode(fields, out, values, nulls);
	else
		cdc_fields_encode_marked(fields, out, values, nulls, unavailable,
								 "\"" CDC_UNAVAILABLE "\"");
}

/*
 * Appends the fields of a row behind what opens them, and the closing brace.
 * "open" is what the fields were made with: it stands alone if there are none.
 */
static inline void
cdc_envelope_object(CdcFields *fields, const CdcText *open, CdcBuf *out,
					const Datum *values, const bool *nulls,
					const bool *unavailable)
{
	if (fields->n == 0)
		cdc_buf_append(out, open->data, open->len);
	cdc_envelope_members(fields, out, values, nulls, unavailable);
	cdc_buf_append_char(out, '}');
}

/* Appends the old row, if it is known, or null. */
extern void cdc_envelope_before(CdcFields *fields, CdcBuf *out,
								const CdcRow *row);

/* What fields for cdc_envelope_before() are opened by. */
#define CDC_BEFORE_OPEN		", \"before\": {"

/* Appends the key as a JSON array. */
static inline void
cdc_envelope_array(CdcFields *fields, CdcBuf *out, const Datum *values,
				   const bool *nulls, const bool *unavailable)
{
	if (fields->n == 0)
		cdc_buf_append_char(out, '[');
	cdc_envelope_members(fields, out, values, nulls, unavailable);
	cdc_buf_append_char(out, ']');
}

/* Appends a number. */
static inline void
cdc_envelope_int(CdcBuf *out, int64 value)
{
	out->len += cdc_compat_lltoa(value, cdc_buf_reserve(out, 32));
}

/* Appends the text of a stamp, without quotes. */
static inline void
cdc_envelope_stamp(CdcStampText *stamp, CdcBuf *out, CdcHlc hlc)
{
	if (stamp->len == 0 || cdc_hlc_cmp(stamp->hlc, hlc) != 0)
	{
		stamp->hlc = hlc;
		stamp->len = cdc_hlc_print(stamp->text, hlc);
	}
	cdc_buf_append(out, stamp->text, stamp->len);
}

/*
 * Values of the options lsn, op and txn.  A row of a scan is of no
 * transaction: null.
 */
extern void cdc_envelope_lsn(CdcBuf *out, XLogRecPtr lsn);
extern void cdc_envelope_op(CdcBuf *out, char op);
extern void cdc_envelope_txn(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row);

/* The row that tells the key: the new one, of a delete the old one. */
static inline const Datum *
cdc_row_values(const CdcRow *row)
{
	return row->values ? row->values : row->old_values;
}

static inline const bool *
cdc_row_nulls(const CdcRow *row)
{
	return row->values ? row->nulls : row->old_nulls;
}

#endif							/* CDC_ENVELOPE_H */
