/*-------------------------------------------------------------------------
 * datum.h
 *		Encoders of single values and of the columns of a row, as JSON.
 *
 * Everything that depends on a type is decided once, when the encoder is
 * made; per value there is one call through a pointer.
 *
 * Runs: as encode.h.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_DATUM_H
#define CDC_DATUM_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "base/buf.h"

/*
 * Room a caller of CdcDatumFn has reserved at the end of the buffer.
 * Encoders of bounded types rely on it, the others reserve on their own.
 */
#define CDC_DATUM_ROOM		64

typedef struct CdcDatum CdcDatum;

typedef void (*CdcDatumFn) (CdcDatum *datum, CdcBuf *out, Datum value);

struct CdcDatum
{
	CdcDatumFn	encode;
	void	   *state;			/* the function's own */
};

/* One member of an object, or one element of a key. */
typedef struct CdcField
{
	CdcDatum	datum;
	const char *prefix;			/* what stands before the value: opening,
								 * separator, name */
	uint32		prefix_len;
	uint32		room;			/* prefix, padding, CDC_DATUM_ROOM */
	int			att;			/* index in values and nulls */
} CdcField;

typedef struct CdcFields
{
	int			n;
	CdcField   *field;
} CdcFields;

/* The type itself, or that under a domain, as far as it is json or jsonb. */
extern bool cdc_datum_is_json(Oid type, bool *binary);

/* Encoder of values of a type; its memory is allocated in cxt. */
extern CdcDatum cdc_datum_encoder(MemoryContext cxt, Oid type);

/*
 * Members of an object for a row: all columns that are stored, in byte order
 * of their names.  "open" goes before the first, up to and including the
 * brace.  "wanted" (one entry for each attribute) picks some of the columns;
 * NULL: all.
 */
extern CdcFields *cdc_fields_object(MemoryContext cxt, TupleDesc desc,
									const char *open, const bool *wanted);

/* From now on a JSON null that is a column's whole value is told by an object. */
extern void cdc_fields_tell_json_null(CdcFields *fields);

/* Elements of an array for some columns (1-based) in the order given. */
extern CdcFields *cdc_fields_array(MemoryContext cxt, TupleDesc desc,
								   int n, const AttrNumber *atts);

/*
 * Appends the fields with their prefixes; the caller closes the object or
 * array, and writes also its opening if there are no fields.
 */
static inline void
cdc_fields_encode(CdcFields *fields, CdcBuf *out, const Datum *values,
				  const bool *nulls)
{
	CdcField   *field = fields->field;
	CdcField   *end = field + fields->n;

	for (; field < end; field++)
	{
		char	   *p = cdc_buf_reserve(out, field->room);
		uint32		len = field->prefix_len;

		/* whole blocks of 16: the prefix is padded, and there is room */
		for (uint32 i = 0; i < len; i += 16)
			memcpy(p + i, field->prefix + i, 16);
		out->len += len;
		if (nulls[field->att])
		{
			memcpy(p + len, "null", 4);
			out->len += 4;
		}
		else
			field->datum.encode(&field->datum, out, values[field->att]);
	}
}

/* The same, behind "open", without the columns that are marked. */
extern void cdc_fields_encode_without(CdcFields *fields, CdcBuf *out,
									  const Datum *values, const bool *nulls,
									  const bool *absent, const char *open);

/* The same; "text" stands for the values that are marked. */
extern void cdc_fields_encode_marked(CdcFields *fields, CdcBuf *out,
									 const Datum *values, const bool *nulls,
									 const bool *marked, const char *text);

/* Drops a value that was unpacked, if that made a copy. */
static inline void
cdc_datum_release(void *v, Datum value)
{
	if (unlikely((Pointer) v != DatumGetPointer(value)))
		pfree(v);
}

/*
 * Digits that a numeric's typmod allows, and those of them in the fraction;
 * false: any.  The scale has eleven bits and a sign; before 15 it was never
 * below 0.
 */
static inline bool
cdc_numeric_limits(int32 typmod, int *precision, int *scale)
{
	if (typmod < (int32) VARHDRSZ)
		return false;
	typmod -= VARHDRSZ;
	*precision = (typmod >> 16) & 0xffff;
	*scale = ((typmod & 0x7ff) ^ 1024) - 1024;
	return true;
}

#endif							/* CDC_DATUM_H */
