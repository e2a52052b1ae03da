/*-------------------------------------------------------------------------
 * cdc_encode_test.c
 *		The changefeed encoder as SQL functions, for tests and measurements.
 *
 * Runs in a backend of a test server.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "encode/datum.h"
#include "encode/encode.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT Datum encode_query(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum encode_value(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum encode_resolved(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum encode_bench(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(encode_query);
PG_FUNCTION_INFO_V1(encode_value);
PG_FUNCTION_INFO_V1(encode_resolved);
PG_FUNCTION_INFO_V1(encode_bench);

static CdcHlc
parse_hlc(const char *text)
{
	CdcHlc		hlc;

	if (!cdc_hlc_parse(text, &hlc))
		elog(ERROR, "invalid timestamp \"%s\"", text);
	return hlc;
}

static CdcRowEncoder *
make_encoder(TupleDesc desc, ArrayType *key, const char *topic,
			 const CdcEncodeOptions *opts)
{
	Datum	   *names;
	bool	   *nulls;
	int			nkeys;
	AttrNumber *atts;
	CdcEncodeTable table = {0};

	deconstruct_array(key, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &nkeys);
	atts = palloc(sizeof(AttrNumber) * (nkeys + 1));
	for (int i = 0; i < nkeys; i++)
	{
		char	   *name = TextDatumGetCString(names[i]);

		atts[i] = SPI_fnumber(desc, name);
		if (atts[i] <= 0)
			elog(ERROR, "no column \"%s\"", name);
	}
	table.desc = desc;
	table.nkeys = nkeys;
	table.keyatts = atts;
	table.topic = topic;
	table.schema = "public";
	table.name = "t";
	return cdc_encoder_create(CurrentMemoryContext, &table, opts);
}

static void
run_query(text *query)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(text_to_cstring(query), true, 0) != SPI_OK_SELECT)
		elog(ERROR, "not a query");
}

static Datum
take(CdcBuf *buf)
{
	Datum		result = PointerGetDatum(cstring_to_text_with_len(buf->data, buf->len));

	buf->len = 0;
	return result;
}

/* The key (unless "key" is NULL) and the value of a message, or its null. */
static void
take_message(CdcRowEncoder *enc, CdcBuf *buf, const CdcRow *row, Datum *key,
			 Datum *value, bool *null)
{
	CdcParts	parts;

	cdc_encode_message(enc, buf, row, key != NULL, NULL, &parts);
	if (key != NULL)
		*key = PointerGetDatum(cstring_to_text_with_len(buf->data, parts.key_len));
	else
		parts.key_len = 0;
	*null = parts.val_len == CDC_LEN_NULL;
	if (!*null)
		*value = PointerGetDatum(cstring_to_text_with_len(buf->data + parts.key_len,
														  parts.val_len));
	buf->len = 0;
}

Datum
encode_query(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CdcEncodeOptions opts = {0};
	CdcRowEncoder *enc;
	CdcHlc		updated = {0, 0};
	CdcBuf		buf = {0};
	TupleDesc	desc;
	TupleDesc	result;
	Tuplestorestate *store;
	MemoryContext old;
	MemoryContext row_cxt;
	Datum	   *values;
	bool	   *nulls;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &result) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	old = MemoryContextSwitchTo(rsinfo->econtext->ecxt_per_query_memory);
	store = tuplestore_begin_heap(true, false, work_mem);
	rsinfo->returnMode = SFRM_Materialize;
	rsinfo->setResult = store;
	rsinfo->setDesc = CreateTupleDescCopy(result);
	MemoryContextSwitchTo(old);

	opts.key_in_value = PG_GETARG_BOOL(2);
	opts.topic_in_value = !PG_ARGISNULL(3);
	opts.updated = !PG_ARGISNULL(4);
	if (opts.updated)
		updated = parse_hlc(text_to_cstring(PG_GETARG_TEXT_PP(4)));

	run_query(PG_GETARG_TEXT_PP(0));
	desc = SPI_tuptable->tupdesc;
	enc = make_encoder(desc, PG_GETARG_ARRAYTYPE_P(1),
					   opts.topic_in_value ? text_to_cstring(PG_GETARG_TEXT_PP(3)) : "",
					   &opts);
	values = palloc(sizeof(Datum) * (desc->natts + 1));
	nulls = palloc(sizeof(bool) * (desc->natts + 1));
	row_cxt = AllocSetContextCreate(CurrentMemoryContext, "row", ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			Datum		texts[3];
			bool		none[3] = {false, false, false};
			CdcRow		row = {.updated = updated, .mvcc = updated};

			old = MemoryContextSwitchTo(row_cxt);
			heap_deform_tuple(SPI_tuptable->vals[i], desc, values, nulls);
			row.values = values;
			row.nulls = nulls;
			row.old_values = NULL;
			take_message(enc, &buf, &row, &texts[0], &texts[1], &none[1]);
			row.values = NULL;
			row.old_values = values;
			row.old_nulls = nulls;
			take_message(enc, &buf, &row, NULL, &texts[2], &none[2]);
			tuplestore_putvalues(store, rsinfo->setDesc, texts, none);
			MemoryContextSwitchTo(old);
			MemoryContextReset(row_cxt);
		}
	}
	PG_FINALLY();
	{
		cdc_buf_free(&buf);
	}
	PG_END_TRY();
	SPI_finish();
	return (Datum) 0;
}

Datum
encode_value(PG_FUNCTION_ARGS)
{
	CdcDatum   *datum = fcinfo->flinfo->fn_extra;
	CdcBuf		buf = {0};
	Datum		result = 0;

	if (datum == NULL)
	{
		datum = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(CdcDatum));
		*datum = cdc_datum_encoder(fcinfo->flinfo->fn_mcxt,
								   get_fn_expr_argtype(fcinfo->flinfo, 0));
		fcinfo->flinfo->fn_extra = datum;
	}
	PG_TRY();
	{
		cdc_buf_reserve(&buf, CDC_DATUM_ROOM);
		datum->encode(datum, &buf, PG_GETARG_DATUM(0));
		result = take(&buf);
	}
	PG_FINALLY();
	{
		cdc_buf_free(&buf);
	}
	PG_END_TRY();
	return result;
}

Datum
encode_resolved(PG_FUNCTION_ARGS)
{
	CdcEncodeOptions opts = {0};
	CdcHlc		hlc = parse_hlc(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	CdcBuf		buf = {0};
	Datum		result;

	cdc_encode_resolved(&opts, &buf, hlc);
	result = take(&buf);
	cdc_buf_free(&buf);
	return result;
}

Datum
encode_bench(PG_FUNCTION_ARGS)
{
	CdcEncodeOptions opts = {.updated = true};
	int			loops = PG_GETARG_INT32(2);
	CdcRowEncoder *enc;
	CdcRow		row = {.op = 'u', .updated = {INT64CONST(1700000000000000000), 0}};
	CdcParts	parts;
	CdcBuf		buf = {0};
	TupleDesc	desc;
	TupleDesc	result;
	MemoryContext row_cxt;
	MemoryContext old;
	Datum	   *values;
	bool	   *nulls;
	uint64		bytes = 0;
	uint64		nrows;
	instr_time	start;
	instr_time	end;
	Datum		out[2];
	bool		none[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &result) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	result = BlessTupleDesc(result);
	run_query(PG_GETARG_TEXT_PP(0));
	desc = SPI_tuptable->tupdesc;
	nrows = SPI_processed;
	enc = make_encoder(desc, PG_GETARG_ARRAYTYPE_P(1), "", &opts);
	values = palloc(sizeof(Datum) * nrows * desc->natts + 1);
	nulls = palloc(sizeof(bool) * nrows * desc->natts + 1);
	for (uint64 i = 0; i < nrows; i++)
		heap_deform_tuple(SPI_tuptable->vals[i], desc,
						  values + i * desc->natts, nulls + i * desc->natts);

	row_cxt = AllocSetContextCreate(CurrentMemoryContext, "row", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(row_cxt);
	INSTR_TIME_SET_CURRENT(start);
	for (int loop = 0; loop < loops; loop++)
	{
		for (uint64 i = 0; i < nrows; i++)
		{
			row.values = values + i * desc->natts;
			row.nulls = nulls + i * desc->natts;
			cdc_encode_message(enc, &buf, &row, true, NULL, &parts);
			row.updated.logical += 2;
			if (buf.len > 256 * 1024)
			{
				bytes += buf.len;
				buf.len = 0;
				MemoryContextReset(row_cxt);
			}
		}
		CHECK_FOR_INTERRUPTS();
	}
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	bytes += buf.len;
	cdc_buf_free(&buf);
	MemoryContextSwitchTo(old);
	SPI_finish();

	out[0] = Float8GetDatum(INSTR_TIME_GET_DOUBLE(end) * 1e9 / ((double) nrows * loops));
	out[1] = Float8GetDatum((double) bytes / ((double) nrows * loops));
	return HeapTupleGetDatum(heap_form_tuple(result, out, none));
}
