/*-------------------------------------------------------------------------
 * bare.c
 *		Envelopes that are the row itself, or nothing: bare, row, key_only.
 *
 * What is told beside the row stands in the member "__crdb__", at its place
 * in the order of the columns' names.  A delete is a row of which only the
 * key is filled in (bare), or a null value (row).
 *
 * Runs: decoding callbacks of a lane, scan workers.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "encode/envelope.h"
#include "utils/memutils.h"

#define META_NAME		"__crdb__"
#define RESOLVED_OPEN	"{\"__crdb__\":{\"resolved\":\""
#define RESOLVED_CLOSE	"\"}}"

typedef struct BareState
{
	CdcFields	head;			/* columns before the metadata */
	CdcFields	tail;			/* and behind it */
	const char *meta_open;		/* NULL: no metadata */
	int			natts;
	bool	   *is_key;			/* for each attribute */
	bool	   *nulls;			/* scratch: all but the key */
} BareState;

static void
bare_init(CdcRowEncoder *enc, const CdcEncodeTable *table)
{
	BareState  *state = MemoryContextAllocZero(enc->cxt, sizeof(BareState));
	bool		meta = enc->opts.updated || enc->opts.mvcc_timestamp ||
		enc->opts.key_in_value || enc->opts.topic_in_value ||
		enc->opts.lsn || enc->opts.op || enc->opts.txn;
	int			n = 0;

	enc->row_open.data = "{";
	enc->row_open.len = 1;
	enc->row = cdc_envelope_fields(enc, table->desc, "{");
	if (meta)
	{
		while (n < enc->row->n &&
			   strcmp(NameStr(TupleDescAttr(table->desc, enc->row->field[n].att)->attname),
					  META_NAME) < 0)
			n++;
		state->meta_open = n > 0 ? ", \"" META_NAME "\": {" : "{\"" META_NAME "\": {";
		if (n == 0)
			enc->row = cdc_envelope_fields(enc, table->desc, ", ");
		state->head.n = n;
		state->head.field = enc->row->field;
		state->tail.n = enc->row->n - n;
		state->tail.field = enc->row->field + n;
	}

	state->natts = table->desc->natts;
	state->is_key = MemoryContextAllocZero(enc->cxt, sizeof(bool) * (state->natts + 1));
	state->nulls = MemoryContextAllocZero(enc->cxt, sizeof(bool) * (state->natts + 1));
	for (int i = 0; i < table->nkeys; i++)
		state->is_key[table->keyatts[i] - 1] = true;
	enc->state = state;
}

/* The next member of the metadata. */
static inline void
meta_member(CdcBuf *out, const char *name, bool *first)
{
	if (!*first)
		cdc_buf_append_lit(out, ", ");
	*first = false;
	cdc_buf_append(out, name, strlen(name));
}

static void
append_meta(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row)
{
	BareState  *state = enc->state;
	bool		first = true;

	cdc_buf_append(out, state->meta_open, strlen(state->meta_open));
	if (enc->opts.key_in_value)
	{
		meta_member(out, "\"key\": ", &first);
		cdc_envelope_array(enc->key, out, cdc_row_values(row),
						   cdc_row_nulls(row), row->unavailable);
	}
	if (enc->opts.lsn)
	{
		meta_member(out, "\"lsn\": ", &first);
		cdc_envelope_lsn(out, row->lsn);
	}
	if (enc->opts.mvcc_timestamp)
	{
		meta_member(out, "\"mvcc_timestamp\": \"", &first);
		cdc_envelope_stamp(&enc->mvcc, out, row->mvcc);
		cdc_buf_append_char(out, '"');
	}
	if (enc->opts.op)
	{
		meta_member(out, "\"op\": ", &first);
		cdc_envelope_op(out, row->op);
	}
	if (enc->opts.topic_in_value)
	{
		/* it comes with a comma before it */
		size_t		comma = first ? 2 : 0;

		cdc_buf_append(out, enc->topic.data + comma, enc->topic.len - comma);
		first = false;
	}
	if (enc->opts.txn)
	{
		meta_member(out, "\"txn\": ", &first);
		cdc_envelope_txn(enc, out, row);
	}
	if (enc->opts.updated)
	{
		meta_member(out, "\"updated\": \"", &first);
		cdc_envelope_stamp(&enc->updated, out, row->updated);
		cdc_buf_append_char(out, '"');
	}
	cdc_buf_append_char(out, '}');
}

static bool
bare_value(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row)
{
	BareState  *state = enc->state;
	const Datum *values = row->values;
	const bool *nulls = row->nulls;

	if (values == NULL)
	{
		values = row->old_values;
		for (int i = 0; i < state->natts; i++)
			state->nulls[i] = !state->is_key[i] || row->old_nulls[i];
		nulls = state->nulls;
	}
	if (state->meta_open == NULL)
		cdc_envelope_object(enc->row, &enc->row_open, out, values, nulls,
							row->unavailable);
	else
	{
		cdc_envelope_members(&state->head, out, values, nulls, row->unavailable);
		append_meta(enc, out, row);
		cdc_envelope_members(&state->tail, out, values, nulls, row->unavailable);
		cdc_buf_append_char(out, '}');
	}
	return true;
}

static bool
row_value(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row)
{
	return row->values != NULL && bare_value(enc, out, row);
}

static void
key_only_init(CdcRowEncoder *enc, const CdcEncodeTable *table)
{
}

static bool
key_only_value(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row)
{
	return false;
}

const CdcEnvelopeOps cdc_envelope_bare = {
	.init = bare_init,
	.value = bare_value,
	.resolved_open = RESOLVED_OPEN,
	.resolved_close = RESOLVED_CLOSE,
};

const CdcEnvelopeOps cdc_envelope_row = {
	.init = bare_init,
	.value = row_value,
	.resolved_open = RESOLVED_OPEN,
	.resolved_close = RESOLVED_CLOSE,
};

const CdcEnvelopeOps cdc_envelope_key_only = {
	.init = key_only_init,
	.value = key_only_value,
	.resolved_open = RESOLVED_OPEN,
	.resolved_close = RESOLVED_CLOSE,
};
