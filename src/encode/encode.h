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
#include "base/buf.h"
#include "base/hlc.h"

typedef enum CdcFormat
{
	CDC_FORMAT_JSON,
} CdcFormat;

typedef enum CdcEnvelope
{
	CDC_ENVELOPE_WRAPPED,
} CdcEnvelope;

/* What the encoder has to know of a feed's options. */
typedef struct CdcEncodeOptions
{
	CdcFormat	format;
	CdcEnvelope envelope;
	bool		updated;
	bool		key_in_value;
	bool		topic_in_value;
} CdcEncodeOptions;

typedef struct CdcRowEncoder CdcRowEncoder;

/*
 * Builds an encoder.
 *
 * desc: row type as decoding or the scan delivers it; dropped columns are
 * skipped.  Copied: need not outlive the call.  keyatts: 1-based positions
 * in desc, in key order; nkeys may be 0 (no key: key_in_value gives []).
 * All memory is below "parent".
 */
extern CdcRowEncoder *cdc_encoder_create(MemoryContext parent, TupleDesc desc,
										 int nkeys, const AttrNumber *keyatts,
										 const char *topic,
										 const CdcEncodeOptions *opts);

/* Appends the key, e.g. [1, "a"]. */
extern void cdc_encode_key(CdcRowEncoder *enc, CdcBuf *out,
						   const Datum *values, const bool *nulls);

/*
 * Appends the value of an insert or update; values and nulls have one entry
 * for each attribute of desc (dropped ones included, ignored).
 */
extern void cdc_encode_upsert(CdcRowEncoder *enc, CdcBuf *out,
							  const Datum *values, const bool *nulls,
							  CdcHlc updated);

/*
 * The same for a row of which some values cannot be had any more: the marker
 * CDC_UNAVAILABLE stands in their place.
 */
#define CDC_UNAVAILABLE "__cdc_sink_unavailable_value"

extern void cdc_encode_upsert_marked(CdcRowEncoder *enc, CdcBuf *out,
									 const Datum *values, const bool *nulls,
									 const bool *unavailable, CdcHlc updated);

/*
 * Appends the value of a delete.  values/nulls hold the old row, of which
 * the key columns at least are set.
 */
extern void cdc_encode_delete(CdcRowEncoder *enc, CdcBuf *out,
							  const Datum *values, const bool *nulls,
							  CdcHlc updated);

/* Appends a resolved message, e.g. {"resolved":"1.0000000000"}. */
extern void cdc_encode_resolved(const CdcEncodeOptions *opts, CdcBuf *out,
								CdcHlc resolved);

#endif							/* CDC_ENCODE_H */
