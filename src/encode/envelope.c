/*-------------------------------------------------------------------------
 * envelope.c
 *		Messages: encoders, keys, resolved messages, and the wrapped envelope;
 *		see encode.h and envelope.h.
 *
 * Members of the wrapped envelope come in alphabetical order: after, before,
 * key, lsn, mvcc_timestamp, op, topic, txn, updated.
 *
 * Runs: decoding callbacks of a lane, scan workers.  After an ERROR the
 * caller cuts the buffer back to its former length.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "encode/datum.h"
#include "encode/debezium.h"
#include "encode/envelope.h"
#include "encode/row_headers.h"
#include "encode/json.h"
#include "utils/memutils.h"

#define AFTER_OPEN	"{\"after\": {"
#define AFTER_NULL	"{\"after\": null"

static const CdcEnvelopeOps *const envelopes[] = {
	[CDC_ENVELOPE_WRAPPED] = &cdc_envelope_wrapped,
	[CDC_ENVELOPE_BARE] = &cdc_envelope_bare,
	[CDC_ENVELOPE_ROW] = &cdc_envelope_row,
	[CDC_ENVELOPE_KEY_ONLY] = &cdc_envelope_key_only,
	[CDC_ENVELOPE_ENRICHED] = &cdc_envelope_enriched,
	[CDC_ENVELOPE_DEBEZIUM] = &cdc_envelope_debezium,
};

/* ---- making an encoder ---- */

/* Index of a column in values, or -1. */
static int
find_column(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return i;
	}
	return -1;
}

const char *
cdc_encode_missing_column(TupleDesc desc, const CdcEncodeOptions *opts)
{
	if (opts->key_column != NULL && find_column(desc, opts->key_column) < 0)
		return opts->key_column;
	if (opts->headers_column != NULL && find_column(desc, opts->headers_column) < 0)
		return opts->headers_column;
	return NULL;
}

CdcFields *
cdc_envelope_fields(CdcRowEncoder *enc, TupleDesc desc, const char *open)
{
	bool	   *wanted = NULL;
	CdcFields  *fields;

	if (enc->headers_att >= 0)
	{
		wanted = palloc(sizeof(bool) * desc->natts);
		memset(wanted, true, sizeof(bool) * desc->natts);
		wanted[enc->headers_att] = false;
	}
	fields = cdc_fields_object(enc->cxt, desc, open, wanted);
	if (enc->opts.json_null_as_object)
		cdc_fields_tell_json_null(fields);
	if (wanted != NULL)
		pfree(wanted);
	return fields;
}

/* The name of a topic as messages tell it. */
static const char *
told_topic(const CdcEncodeOptions *opts, const char *topic)
{
	size_t		len = opts->topic_prefix ? strlen(opts->topic_prefix) : 0;

	return len > 0 && strncmp(topic, opts->topic_prefix, len) == 0 ? topic + len : topic;
}

static void
init_topic(CdcRowEncoder *enc, const char *topic)
{
	char	   *quoted;
	char	   *member;

	enc->topic.data = "";
	if (!enc->opts.topic_in_value)
		return;
	quoted = cdc_json_quote(CurrentMemoryContext, told_topic(&enc->opts, topic));
	member = psprintf(", \"topic\": %s", quoted);
	enc->topic = cdc_text(enc->cxt, member);
	pfree(member);
	pfree(quoted);
}

/* What option key_column changes. */
static void
init_key(CdcRowEncoder *enc, const CdcEncodeTable *table)
{
	enc->identity = cdc_fields_array(enc->cxt, table->desc, table->nkeys,
									 table->keyatts);
	enc->key = enc->identity;
	enc->key_of_deleted = true;
	if (enc->opts.key_column != NULL)
	{
		AttrNumber	att = find_column(table->desc, enc->opts.key_column) + 1;

		if (att > 0)
			enc->key = cdc_fields_array(enc->cxt, table->desc, 1, &att);
		else
			enc->missing = enc->opts.key_column;
		enc->key_of_deleted = false;
		for (int i = 0; i < table->nkeys; i++)
			enc->key_of_deleted |= table->keyatts[i] == att;
	}
}

static void
init_headers(CdcRowEncoder *enc, const CdcEncodeTable *table)
{
	enc->headers_att = -1;
	if (enc->opts.headers_column == NULL)
		return;
	enc->headers_att = find_column(table->desc, enc->opts.headers_column);
	if (enc->headers_att < 0)
		enc->missing = enc->opts.headers_column;
	else
		enc->headers_kind = cdc_headers_kind(TupleDescAttr(table->desc, enc->headers_att)->atttypid);
}

/*
 * Virtual generated columns are null in every stored row: as what they are
 * they are left out, as ordinary columns they are told.
 */
static TupleDesc
with_virtual_columns(TupleDesc desc)
{
	desc = CreateTupleDescCopyConstr(desc);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
			att->attgenerated = '\0';
	}
	return desc;
}

CdcRowEncoder *
cdc_encoder_create(MemoryContext parent, const CdcEncodeTable *table,
				   const CdcEncodeOptions *opts)
{
	MemoryContext cxt;
	CdcRowEncoder *enc;
	CdcEncodeTable all;

	cxt = AllocSetContextCreate(parent, "changefeed encoder",
								ALLOCSET_SMALL_SIZES);
	enc = MemoryContextAllocZero(cxt, sizeof(CdcRowEncoder));
	enc->cxt = cxt;
	enc->opts = *opts;
	enc->ops = envelopes[opts->envelope];
	if (opts->key_column != NULL)
		enc->opts.key_column = MemoryContextStrdup(cxt, opts->key_column);
	if (opts->headers_column != NULL)
		enc->opts.headers_column = MemoryContextStrdup(cxt, opts->headers_column);
	if (opts->virtual_null)
	{
		all = *table;
		all.desc = with_virtual_columns(table->desc);
		table = &all;
	}
	enc->table_name = MemoryContextStrdup(cxt, table->name);
	init_key(enc, table);
	init_headers(enc, table);
	init_topic(enc, table->topic);
	enc->ops->init(enc, table);
	return enc;
}

/* ---- messages ---- */

void
cdc_encode_identity(CdcRowEncoder *enc, CdcBuf *out, const Datum *values,
					const bool *nulls)
{
	cdc_envelope_array(enc->identity, out, values, nulls, NULL);
}

bool
cdc_encoder_key_is_identity(const CdcRowEncoder *enc)
{
	return enc->ops->key == NULL && enc->key == enc->identity;
}

static void
missing_column(CdcRowEncoder *enc)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("required column %s not present on table %s",
					enc->missing, enc->table_name)));
}

/*
 * The key of a row that was deleted is in its old version, of which only the
 * table's own key may be known.
 */
static void
check_key_known(CdcRowEncoder *enc, const CdcRow *row)
{
	if (!enc->key_of_deleted && row->values == NULL && !row->old_full)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("key_column %s of a deleted row of table %s is not known without REPLICA IDENTITY FULL",
						enc->opts.key_column, enc->table_name)));
}

/* The lane has looked at it before; a null "before" must never be a guess. */
static void
check_old_known(CdcRowEncoder *enc, const CdcRow *row)
{
	if ((row->op == 'u' || row->op == 'd') && !row->old_full)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the row before a change of table %s is not known without REPLICA IDENTITY FULL",
						enc->table_name)));
}

static void
append_headers(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row)
{
	size_t		start = out->len;
	const Datum *values = cdc_row_values(row);
	int			att = enc->headers_att;

	if ((row->values == NULL && !row->old_full) || cdc_row_nulls(row)[att] ||
		(row->unavailable != NULL && row->unavailable[att]))
		return;
	cdc_headers_append(out, values[att], enc->headers_kind);
	if (out->len - start > CDC_ROW_HEADERS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("headers in column %s of table %s are larger than %d bytes",
						enc->opts.headers_column, enc->table_name, CDC_ROW_HEADERS_MAX)));
}

void
cdc_encode_message(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row,
				   bool with_key, const CdcBuf *identity, CdcParts *parts)
{
	size_t		start = out->len;

	if (unlikely(enc->missing != NULL))
		missing_column(enc);
	if (unlikely(enc->opts.key_column != NULL))
		check_key_known(enc, row);
	if (unlikely(enc->opts.diff))
		check_old_known(enc, row);

	parts->key_len = CDC_LEN_NULL;
	if (with_key && likely(!enc->no_key))
	{
		if (unlikely(enc->ops->key != NULL))
			enc->ops->key(enc, out, row);
		else if (identity != NULL && identity->len > 0 && enc->key == enc->identity)
			cdc_buf_append(out, identity->data, identity->len);
		else
			cdc_envelope_array(enc->key, out, cdc_row_values(row),
							   cdc_row_nulls(row), row->unavailable);
		parts->key_len = (uint32) (out->len - start);
	}

	start = out->len;
	enc->last_at = 0;
	parts->val_len = enc->ops->value(enc, out, row) ?
		(uint32) (out->len - start) : CDC_LEN_NULL;
	parts->last_at = enc->last_at > 0 ? (uint32) (enc->last_at - start) : 0;

	start = out->len;
	if (unlikely(enc->ops->headers != NULL))
		enc->ops->headers(enc, out, row);
	if (unlikely(enc->headers_att >= 0))
		append_headers(enc, out, row);
	parts->headers_len = (uint32) (out->len - start);
}

void
cdc_encode_resolved(const CdcEncodeOptions *opts, CdcBuf *out, CdcHlc resolved)
{
	const CdcEnvelopeOps *ops = envelopes[opts->envelope];
	char		text[CDC_HLC_TEXT_SIZE];
	int			len = cdc_hlc_print(text, resolved);

	cdc_buf_append(out, ops->resolved_open, strlen(ops->resolved_open));
	cdc_buf_append(out, text, len);
	cdc_buf_append(out, ops->resolved_close, strlen(ops->resolved_close));
}

void
cdc_encode_truncate(const CdcEncodeOptions *opts, CdcBuf *out,
					const char *topic, const char *table, CdcHlc updated)
{
	char		text[CDC_HLC_TEXT_SIZE];
	int			len = cdc_hlc_print(text, updated);

#define PUT(s)	cdc_buf_append(out, s, strlen(s))
	PUT("{");
	if (opts->key_in_value)
		PUT("\"key\": null, ");
	if (opts->topic_in_value)
	{
		topic = told_topic(opts, topic);
		PUT("\"topic\": ");
		cdc_json_string(out, topic, strlen(topic));
		PUT(", ");
	}
	PUT("\"truncate\": {\"table\": ");
	cdc_json_string(out, table, strlen(table));
	PUT("}, \"updated\": \"");
	cdc_buf_append(out, text, len);
	PUT("\"}");
#undef PUT
}

bool
cdc_encode_has_tombstones(const CdcEncodeOptions *opts)
{
	return opts->envelope == CDC_ENVELOPE_DEBEZIUM && opts->debezium->tombstones;
}

bool
cdc_encode_is_volatile(const CdcEncodeOptions *opts)
{
	return envelopes[opts->envelope]->is_volatile;
}

/* ---- where a row comes from ---- */

void
cdc_envelope_lsn(CdcBuf *out, XLogRecPtr lsn)
{
	char	   *p = cdc_buf_reserve(out, 32);

	if (XLogRecPtrIsInvalid(lsn))
		out->len += sprintf(p, "null");
	else
		out->len += sprintf(p, "\"%X/%X\"", (uint32) (lsn >> 32), (uint32) lsn);
}

void
cdc_envelope_op(CdcBuf *out, char op)
{
	char	   *p = cdc_buf_reserve(out, 3);

	p[0] = '"';
	p[1] = op;
	p[2] = '"';
	out->len += 3;
}

void
cdc_envelope_txn(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row)
{
	if (XLogRecPtrIsInvalid(row->commit_lsn))
	{
		cdc_buf_append_lit(out, "null");
		return;
	}
	cdc_buf_append_lit(out, "{\"commit_lsn\": ");
	cdc_envelope_lsn(out, row->commit_lsn);
	cdc_buf_append_lit(out, ", \"last\": ");
	if (row->last)
		cdc_buf_append_lit(out, CDC_LAST_YES);
	else
	{
		enc->last_at = out->len;
		cdc_buf_append_lit(out, CDC_LAST_NO);
	}
	out->len += sprintf(cdc_buf_reserve(out, 64),
						", \"seq\": " UINT64_FORMAT ", \"xid\": %u}", row->seq, row->xid);
}

void
cdc_envelope_before(CdcFields *fields, CdcBuf *out, const CdcRow *row)
{
	static const CdcText open = {CDC_BEFORE_OPEN, sizeof(CDC_BEFORE_OPEN) - 1};

	if (row->old_values == NULL || !row->old_full)
		cdc_buf_append_lit(out, ", \"before\": null");
	else if (unlikely(row->old_absent != NULL))
	{
		cdc_fields_encode_without(fields, out, row->old_values, row->old_nulls,
								  row->old_absent, CDC_BEFORE_OPEN);
		cdc_buf_append_char(out, '}');
	}
	else
		cdc_envelope_object(fields, &open, out, row->old_values,
							row->old_nulls, NULL);
}

/* ---- the wrapped envelope ---- */

static void
wrapped_init(CdcRowEncoder *enc, const CdcEncodeTable *table)
{
	enc->row_open.data = AFTER_OPEN;
	enc->row_open.len = sizeof(AFTER_OPEN) - 1;
	enc->row = cdc_envelope_fields(enc, table->desc, AFTER_OPEN);
	if (enc->opts.diff)
		enc->state = cdc_envelope_fields(enc, table->desc, CDC_BEFORE_OPEN);
}

static bool
wrapped_value(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row)
{
	if (row->values != NULL)
		cdc_envelope_object(enc->row, &enc->row_open, out, row->values,
							row->nulls, row->unavailable);
	else
		cdc_buf_append_lit(out, AFTER_NULL);

	if (unlikely(enc->opts.diff))
		cdc_envelope_before(enc->state, out, row);
	if (enc->opts.key_in_value)
	{
		cdc_buf_append_lit(out, ", \"key\": ");
		cdc_envelope_array(enc->key, out, cdc_row_values(row),
						   cdc_row_nulls(row), row->unavailable);
	}
	if (unlikely(enc->opts.lsn))
	{
		cdc_buf_append_lit(out, ", \"lsn\": ");
		cdc_envelope_lsn(out, row->lsn);
	}
	if (unlikely(enc->opts.mvcc_timestamp))
	{
		cdc_buf_append_lit(out, ", \"mvcc_timestamp\": \"");
		cdc_envelope_stamp(&enc->mvcc, out, row->mvcc);
		cdc_buf_append_char(out, '"');
	}
	if (unlikely(enc->opts.op))
	{
		cdc_buf_append_lit(out, ", \"op\": ");
		cdc_envelope_op(out, row->op);
	}
	cdc_buf_append(out, enc->topic.data, enc->topic.len);
	if (unlikely(enc->opts.txn))
	{
		cdc_buf_append_lit(out, ", \"txn\": ");
		cdc_envelope_txn(enc, out, row);
	}
	if (enc->opts.updated)
	{
		cdc_buf_append_lit(out, ", \"updated\": \"");
		cdc_envelope_stamp(&enc->updated, out, row->updated);
		cdc_buf_append_char(out, '"');
	}
	cdc_buf_append_char(out, '}');
	return true;
}

const CdcEnvelopeOps cdc_envelope_wrapped = {
	.init = wrapped_init,
	.value = wrapped_value,
	.resolved_open = "{\"resolved\":\"",
	.resolved_close = "\"}",
};
