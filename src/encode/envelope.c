/*-------------------------------------------------------------------------
 * envelope.c
 *		Messages: keys, the wrapped envelope and resolved messages; see
 *		encode.h.
 *
 * All text that does not depend on the row is put together when the encoder
 * is made.  Members come in alphabetical order: after, key, topic, updated.
 *
 * Runs: decoding callbacks of a lane, scan workers.  After an ERROR the
 * caller cuts the buffer back to its former length.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "encode/datum.h"
#include "encode/encode.h"
#include "encode/json.h"
#include "utils/memutils.h"

#define AFTER_OPEN	"{\"after\": {"
#define AFTER_NULL	"{\"after\": null"

struct CdcRowEncoder
{
	CdcFields  *row;
	CdcFields  *key;
	bool		key_in_value;
	bool		updated;
	char	   *topic;			/* , "topic": "…"  or empty */
	size_t		topic_len;

	/* the last stamp: all rows of a transaction share one */
	CdcHlc		hlc;
	int			hlc_len;		/* 0: none yet */
	char		hlc_text[CDC_HLC_TEXT_SIZE];
};

CdcRowEncoder *
cdc_encoder_create(MemoryContext parent, TupleDesc desc, int nkeys,
				   const AttrNumber *keyatts, const char *topic,
				   const CdcEncodeOptions *opts)
{
	MemoryContext cxt;
	CdcRowEncoder *enc;

	cxt = AllocSetContextCreate(parent, "changefeed encoder",
								ALLOCSET_SMALL_SIZES);
	enc = MemoryContextAllocZero(cxt, sizeof(CdcRowEncoder));
	enc->row = cdc_fields_object(cxt, desc, AFTER_OPEN);
	enc->key = cdc_fields_array(cxt, desc, nkeys, keyatts);
	enc->key_in_value = opts->key_in_value;
	enc->updated = opts->updated;
	enc->topic = "";
	if (opts->topic_in_value)
	{
		size_t		len;
		char	   *quoted = cdc_json_quote(CurrentMemoryContext, topic, &len);

		enc->topic = MemoryContextAlloc(cxt, len + sizeof(", \"topic\": "));
		enc->topic_len = sprintf(enc->topic, ", \"topic\": %s", quoted);
		pfree(quoted);
	}
	return enc;
}

void
cdc_encode_key(CdcRowEncoder *enc, CdcBuf *out, const Datum *values,
			   const bool *nulls)
{
	if (enc->key->n == 0)
		cdc_buf_append_char(out, '[');
	cdc_fields_encode(enc->key, out, values, nulls);
	cdc_buf_append_char(out, ']');
}

/* Everything behind "after". */
static void
encode_metadata(CdcRowEncoder *enc, CdcBuf *out, const Datum *values,
				const bool *nulls, CdcHlc updated)
{
	if (enc->key_in_value)
	{
		cdc_buf_append_lit(out, ", \"key\": ");
		cdc_encode_key(enc, out, values, nulls);
	}
	cdc_buf_append(out, enc->topic, enc->topic_len);
	if (enc->updated)
	{
		if (enc->hlc_len == 0 || cdc_hlc_cmp(enc->hlc, updated) != 0)
		{
			enc->hlc = updated;
			enc->hlc_len = cdc_hlc_print(enc->hlc_text, updated);
		}
		cdc_buf_append_lit(out, ", \"updated\": \"");
		cdc_buf_append(out, enc->hlc_text, enc->hlc_len);
		cdc_buf_append_char(out, '"');
	}
	cdc_buf_append_char(out, '}');
}

void
cdc_encode_upsert(CdcRowEncoder *enc, CdcBuf *out, const Datum *values,
				  const bool *nulls, CdcHlc updated)
{
	if (enc->row->n == 0)
		cdc_buf_append_lit(out, AFTER_OPEN);
	cdc_fields_encode(enc->row, out, values, nulls);
	cdc_buf_append_char(out, '}');
	encode_metadata(enc, out, values, nulls, updated);
}

static void
encode_unavailable(CdcDatum *datum, CdcBuf *out, Datum value)
{
	cdc_buf_append_lit(out, "\"" CDC_UNAVAILABLE "\"");
}

void
cdc_encode_upsert_marked(CdcRowEncoder *enc, CdcBuf *out, const Datum *values,
						 const bool *nulls, const bool *unavailable,
						 CdcHlc updated)
{
	CdcFields  *row = enc->row;
	CdcDatum   *saved = palloc(sizeof(CdcDatum) * Max(row->n, 1));

	for (int i = 0; i < row->n; i++)
	{
		saved[i] = row->field[i].datum;
		if (unavailable[row->field[i].att])
			row->field[i].datum.encode = encode_unavailable;
	}
	cdc_encode_upsert(enc, out, values, nulls, updated);
	for (int i = 0; i < row->n; i++)
		row->field[i].datum = saved[i];
	pfree(saved);
}

void
cdc_encode_delete(CdcRowEncoder *enc, CdcBuf *out, const Datum *values,
				  const bool *nulls, CdcHlc updated)
{
	cdc_buf_append_lit(out, AFTER_NULL);
	encode_metadata(enc, out, values, nulls, updated);
}

void
cdc_encode_resolved(const CdcEncodeOptions *opts, CdcBuf *out, CdcHlc resolved)
{
	char		text[CDC_HLC_TEXT_SIZE];
	int			len = cdc_hlc_print(text, resolved);

	cdc_buf_append_lit(out, "{\"resolved\":\"");
	cdc_buf_append(out, text, len);
	cdc_buf_append_lit(out, "\"}");
}
