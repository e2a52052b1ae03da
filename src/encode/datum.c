/*-------------------------------------------------------------------------
 * datum.c
 *		Encoders of single values and of the columns of a row; see datum.h.
 *
 * Types with a form of their own in JSON, and the common ones, are written
 * straight into the buffer.  All others take the text of their output
 * function, through an FmgrInfo that is looked up once.  That text depends
 * on settings; the worker pins them (DateStyle, IntervalStyle, TimeZone,
 * extra_float_digits, bytea_output).
 *
 * Runs: decoding callbacks of a lane, scan workers.  Reads catalogs only.
 * Compressed values are expanded into the current memory context; a value
 * out of line is fetched, so under a historic snapshot there may be none.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupmacs.h"
#include "base/compat.h"
#include "catalog/pg_type.h"
#include "encode/datum.h"
#include "encode/json.h"
#include "encode/scalar.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

StaticAssertDecl(CDC_SCALAR_ROOM <= CDC_DATUM_ROOM,
				 "a scalar must fit into what callers reserve");

#define PREFIX_ALIGN(len)	TYPEALIGN(16, len)

typedef struct ArrayState
{
	CdcDatum	element;
	int16		typlen;
	bool		typbyval;
	char		typalign;
} ArrayState;

/* What is known of the row type of the last composite value. */
typedef struct RowState
{
	MemoryContext cxt;			/* holds all below, reset with the type */
	uint64		identifier;		/* of the row type, 0: none yet */
	TupleDesc	desc;
	CdcFields  *fields;
	Datum	   *values;
	bool	   *nulls;
} RowState;

/* A short varlena copied out to where it is aligned. */
typedef union AlignedCopy
{
	struct varlena header;
	int64		force_align;
	char		data[VARATT_SHORT_MAX + VARHDRSZ];
} AlignedCopy;

/* ---- access to varlena values ---- */

/*
 * The value with any header but not compressed and not out of line.  A
 * result other than the original is palloc'ed; drop it with cdc_datum_release().
 */
static inline struct varlena *
unpack(Datum value)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(value);

	if (likely(!VARATT_IS_COMPRESSED(v) && !VARATT_IS_EXTERNAL(v)))
		return v;
	return pg_detoast_datum_packed(v);
}

/*
 * The same with a full header and aligned, which arrays, rows and jsonb
 * need.  Values of some dozen bytes carry short headers, so those go to
 * "copy", not through palloc.
 */
static inline struct varlena *
unpack_aligned(Datum value, AlignedCopy *copy)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(value);

	/* a pointer to an out-of-line value passes for short, too */
	if (VARATT_IS_SHORT(v) && !VARATT_IS_EXTERNAL(v))
	{
		Size		len = VARSIZE_SHORT(v) - VARHDRSZ_SHORT;

		SET_VARSIZE(&copy->header, len + VARHDRSZ);
		memcpy(VARDATA(&copy->header), VARDATA_SHORT(v), len);
		return &copy->header;
	}
	if (likely(!VARATT_IS_EXTENDED(v)))
		return v;
	return pg_detoast_datum(v);
}

static inline void
release_aligned(struct varlena *v, Datum value, AlignedCopy *copy)
{
	if (v != &copy->header)
		cdc_datum_release(v, value);
}

/* ---- scalars: bounded, nothing to reserve ---- */

static inline char *
tail(CdcBuf *out)
{
	return out->data + out->len;
}

static void
encode_bool(CdcDatum *datum, CdcBuf *out, Datum value)
{
	if (DatumGetBool(value))
	{
		memcpy(tail(out), "true", 4);
		out->len += 4;
	}
	else
	{
		memcpy(tail(out), "false", 5);
		out->len += 5;
	}
}

static void
encode_int2(CdcDatum *datum, CdcBuf *out, Datum value)
{
	out->len += cdc_compat_ltoa(DatumGetInt16(value), tail(out));
}

static void
encode_int4(CdcDatum *datum, CdcBuf *out, Datum value)
{
	out->len += cdc_compat_ltoa(DatumGetInt32(value), tail(out));
}

static void
encode_int8(CdcDatum *datum, CdcBuf *out, Datum value)
{
	out->len += cdc_compat_lltoa(DatumGetInt64(value), tail(out));
}

static void
encode_oid(CdcDatum *datum, CdcBuf *out, Datum value)
{
	char	   *p = tail(out);

	*p++ = '"';
	p += pg_ultoa_n(DatumGetObjectId(value), p);
	*p++ = '"';
	out->len = p - out->data;
}

static void
encode_float4(CdcDatum *datum, CdcBuf *out, Datum value)
{
	out->len = cdc_put_float4(tail(out), DatumGetFloat4(value)) - out->data;
}

static void
encode_float8(CdcDatum *datum, CdcBuf *out, Datum value)
{
	out->len = cdc_put_float8(tail(out), DatumGetFloat8(value)) - out->data;
}

static void
encode_date(CdcDatum *datum, CdcBuf *out, Datum value)
{
	out->len = cdc_put_date(tail(out), DatumGetDateADT(value)) - out->data;
}

static void
encode_time(CdcDatum *datum, CdcBuf *out, Datum value)
{
	out->len = cdc_put_time(tail(out), DatumGetTimeADT(value)) - out->data;
}

static void
encode_timestamp(CdcDatum *datum, CdcBuf *out, Datum value)
{
	out->len = cdc_put_timestamp(tail(out), DatumGetTimestamp(value), false) - out->data;
}

static void
encode_timestamptz(CdcDatum *datum, CdcBuf *out, Datum value)
{
	out->len = cdc_put_timestamp(tail(out), DatumGetTimestampTz(value), true) - out->data;
}

static void
encode_uuid(CdcDatum *datum, CdcBuf *out, Datum value)
{
	out->len = cdc_put_uuid(tail(out), DatumGetUUIDP(value)->data) - out->data;
}

/*
 * "char": one byte of no known encoding; above ASCII in octal, as all
 * output functions from PostgreSQL 15 on have it.
 */
static void
encode_char(CdcDatum *datum, CdcBuf *out, Datum value)
{
	unsigned char c = (unsigned char) DatumGetChar(value);

	if (IS_HIGHBIT_SET(c))
	{
		char		octal[4] = {'\\', '0' + (c >> 6), '0' + ((c >> 3) & 7), '0' + (c & 7)};

		cdc_json_string(out, octal, sizeof(octal));
	}
	else
		cdc_json_string(out, (char *) &c, c == '\0' ? 0 : 1);
}

/* ---- scalars without bound ---- */

static void
encode_text(CdcDatum *datum, CdcBuf *out, Datum value)
{
	struct varlena *v = unpack(value);

	cdc_json_string(out, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));
	cdc_datum_release(v, value);
}

static void
encode_name(CdcDatum *datum, CdcBuf *out, Datum value)
{
	const char *name = NameStr(*DatumGetName(value));

	cdc_json_string(out, name, strnlen(name, NAMEDATALEN));
}

static void
encode_bytea(CdcDatum *datum, CdcBuf *out, Datum value)
{
	struct varlena *v = unpack(value);
	size_t		len = VARSIZE_ANY_EXHDR(v);
	char	   *p = cdc_buf_reserve(out, len * 2 + 5);

	memcpy(p, "\"\\\\x", 4);
	p = cdc_put_hex(p + 4, (unsigned char *) VARDATA_ANY(v), len);
	*p++ = '"';
	out->len = p - out->data;
	cdc_datum_release(v, value);
}

static void
encode_numeric(CdcDatum *datum, CdcBuf *out, Datum value)
{
	struct varlena *v = unpack(value);

	cdc_append_numeric_varlena(out, v);
	cdc_datum_release(v, value);
}

static void
encode_jsonb(CdcDatum *datum, CdcBuf *out, Datum value)
{
	AlignedCopy copy;
	struct varlena *v = unpack_aligned(value, &copy);

	cdc_json_jsonb(out, &((Jsonb *) v)->root);
	release_aligned(v, value, &copy);
}

static void
encode_json(CdcDatum *datum, CdcBuf *out, Datum value)
{
	struct varlena *v = unpack(value);

	cdc_json_text(out, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));
	cdc_datum_release(v, value);
}

/* A JSON null that can be told from an SQL NULL. */
#define JSON_NULL_OBJECT	"{\"__crdb_json_null__\": true}"

static void
encode_jsonb_telling_null(CdcDatum *datum, CdcBuf *out, Datum value)
{
	AlignedCopy copy;
	struct varlena *v = unpack_aligned(value, &copy);
	JsonbContainer *root = &((Jsonb *) v)->root;

	if (JsonContainerIsScalar(root) && JBE_ISNULL(root->children[0]))
		cdc_buf_append_lit(out, JSON_NULL_OBJECT);
	else
		cdc_json_jsonb(out, root);
	release_aligned(v, value, &copy);
}

static void
encode_json_telling_null(CdcDatum *datum, CdcBuf *out, Datum value)
{
	size_t		start = out->len;

	encode_json(datum, out, value);
	if (out->len - start == 4 && memcmp(out->data + start, "null", 4) == 0)
	{
		out->len = start;
		cdc_buf_append_lit(out, JSON_NULL_OBJECT);
	}
}

/* Everything else: the text form. */
static void
encode_by_output(CdcDatum *datum, CdcBuf *out, Datum value)
{
	char	   *text = OutputFunctionCall((FmgrInfo *) datum->state, value);

	cdc_json_string(out, text, strlen(text));
	pfree(text);
}

/* ---- arrays ---- */

static void
encode_array(CdcDatum *datum, CdcBuf *out, Datum value)
{
	ArrayState *state = datum->state;
	AlignedCopy copy;
	struct varlena *v = unpack_aligned(value, &copy);
	ArrayType  *array = (ArrayType *) v;
	int			ndim = ARR_NDIM(array);
	int		   *dims = ARR_DIMS(array);
	char	   *data = ARR_DATA_PTR(array);
	bits8	   *bitmap = ARR_NULLBITMAP(array);
	int			nitems = ArrayGetNItems(ndim, dims);
	int			left[MAXDIM];	/* elements to come in each open bracket */
	int			depth = 0;

	if (nitems == 0)
		cdc_buf_append_lit(out, "[]");
	for (int i = 0; i < nitems; i++)
	{
		char	   *p = cdc_buf_reserve(out, 2 + MAXDIM + CDC_DATUM_ROOM);

		if (i > 0)
		{
			*p++ = ',';
			*p++ = ' ';
		}
		for (; depth < ndim; depth++)
		{
			left[depth] = dims[depth];
			*p++ = '[';
		}
		out->len = p - out->data;

		if (bitmap && (bitmap[i / 8] & (1 << (i % 8))) == 0)
			cdc_buf_append_lit(out, "null");
		else
		{
			Datum		element = fetch_att(data, state->typbyval, state->typlen);

			/* nested encoders use up the room but leave none behind */
			state->element.encode(&state->element, out, element);
			data = att_addlength_pointer(data, state->typlen, data);
			data = (char *) att_align_nominal(data, state->typalign);
		}

		for (; depth > 0 && --left[depth - 1] == 0; depth--)
			cdc_buf_append_char(out, ']');
	}
	release_aligned(v, value, &copy);
}

/* ---- rows ---- */

static void
build_row_state(RowState *state, Oid type, int32 typmod)
{
	MemoryContext old;
	TupleDesc	desc;

	state->identifier = 0;
	MemoryContextReset(state->cxt);
	desc = lookup_rowtype_tupdesc(type, typmod);
	old = MemoryContextSwitchTo(state->cxt);
	state->desc = CreateTupleDescCopy(desc);
	state->fields = cdc_fields_object(state->cxt, state->desc, "{", NULL);
	state->values = palloc(sizeof(Datum) * (desc->natts + 1));
	state->nulls = palloc(sizeof(bool) * (desc->natts + 1));
	MemoryContextSwitchTo(old);
	ReleaseTupleDesc(desc);
}

static void
encode_row(CdcDatum *datum, CdcBuf *out, Datum value)
{
	RowState   *state = datum->state;
	AlignedCopy copy;
	struct varlena *v;
	HeapTupleHeader header;
	HeapTupleData tuple;
	uint64		identifier;

	/* anonymous records can nest without bound */
	check_stack_depth();

	v = unpack_aligned(value, &copy);
	header = (HeapTupleHeader) v;

	/* a named row type can change while this encoder lives */
	identifier = assign_record_type_identifier(HeapTupleHeaderGetTypeId(header),
											   HeapTupleHeaderGetTypMod(header));
	if (identifier != state->identifier)
	{
		build_row_state(state, HeapTupleHeaderGetTypeId(header),
						HeapTupleHeaderGetTypMod(header));
		state->identifier = identifier;
	}

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, state->desc, state->values, state->nulls);
	if (state->fields->n == 0)
		cdc_buf_append_char(out, '{');
	cdc_fields_encode(state->fields, out, state->values, state->nulls);
	cdc_buf_append_char(out, '}');
	release_aligned(v, value, &copy);
}

/* ---- choice of the encoder ---- */

static CdcDatumFn
builtin_encoder(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return encode_bool;
		case INT2OID:
			return encode_int2;
		case INT4OID:
			return encode_int4;
		case INT8OID:
			return encode_int8;
		case OIDOID:
			return encode_oid;
		case FLOAT4OID:
			return encode_float4;
		case FLOAT8OID:
			return encode_float8;
		case NUMERICOID:
			return encode_numeric;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return encode_text;
		case NAMEOID:
			return encode_name;
		case CHAROID:
			return encode_char;
		case BYTEAOID:
			return encode_bytea;
		case UUIDOID:
			return encode_uuid;
		case DATEOID:
			return encode_date;
		case TIMEOID:
			return encode_time;
		case TIMESTAMPOID:
			return encode_timestamp;
		case TIMESTAMPTZOID:
			return encode_timestamptz;
		case JSONOID:
			return encode_json;
		case JSONBOID:
			return encode_jsonb;
	}
	return NULL;
}

CdcDatum
cdc_datum_encoder(MemoryContext cxt, Oid type)
{
	CdcDatum	datum = {NULL, NULL};
	Oid			element;
	Oid			output;
	bool		varlena;
	FmgrInfo   *flinfo;

	type = getBaseType(type);
	datum.encode = builtin_encoder(type);
	if (datum.encode != NULL)
		return datum;

	element = get_element_type(type);
	if (OidIsValid(element))
	{
		ArrayState *state = MemoryContextAllocZero(cxt, sizeof(ArrayState));

		get_typlenbyvalalign(element, &state->typlen, &state->typbyval,
							 &state->typalign);
		state->element = cdc_datum_encoder(cxt, element);
		datum.encode = encode_array;
		datum.state = state;
		return datum;
	}

	if (type == RECORDOID || get_typtype(type) == TYPTYPE_COMPOSITE)
	{
		RowState   *state = MemoryContextAllocZero(cxt, sizeof(RowState));

		state->cxt = AllocSetContextCreate(cxt, "changefeed row type",
										   ALLOCSET_SMALL_SIZES);
		datum.encode = encode_row;
		datum.state = state;
		return datum;
	}

	getTypeOutputInfo(type, &output, &varlena);
	flinfo = MemoryContextAlloc(cxt, sizeof(FmgrInfo));
	fmgr_info_cxt(output, flinfo, cxt);
	if (flinfo->fn_addr == textout && varlena)
		datum.encode = encode_text; /* citext and its like */
	else
		datum.encode = encode_by_output;
	datum.state = flinfo;
	return datum;
}

bool
cdc_datum_is_json(Oid type, bool *binary)
{
	type = getBaseType(type);
	*binary = type == JSONBOID;
	return *binary || type == JSONOID;
}

/* ---- columns ---- */

static void
init_field(MemoryContext cxt, CdcField *field, Form_pg_attribute att,
		   const char *open, const char *name, size_t name_len)
{
	size_t		open_len = strlen(open);
	size_t		len = open_len + name_len + (name ? 2 : 0);
	char	   *prefix;

	prefix = MemoryContextAllocZero(cxt, PREFIX_ALIGN(len));
	memcpy(prefix, open, open_len);
	if (name)
	{
		memcpy(prefix + open_len, name, name_len);
		memcpy(prefix + open_len + name_len, ": ", 2);
	}
	field->datum = cdc_datum_encoder(cxt, att->atttypid);
	field->prefix = prefix;
	field->prefix_len = len;
	field->room = PREFIX_ALIGN(len) + CDC_DATUM_ROOM;
	field->att = att->attnum - 1;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(NameStr((*(const Form_pg_attribute *) a)->attname),
				  NameStr((*(const Form_pg_attribute *) b)->attname));
}

CdcFields *
cdc_fields_object(MemoryContext cxt, TupleDesc desc, const char *open,
				  const bool *wanted)
{
	CdcFields  *fields = MemoryContextAllocZero(cxt, sizeof(CdcFields));
	Form_pg_attribute *atts;

	fields->field = MemoryContextAllocZero(cxt, sizeof(CdcField) * (desc->natts + 1));
	atts = palloc(sizeof(Form_pg_attribute) * (desc->natts + 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && att->attgenerated != ATTRIBUTE_GENERATED_VIRTUAL &&
			(wanted == NULL || wanted[i]))
			atts[fields->n++] = att;
	}
	qsort(atts, fields->n, sizeof(Form_pg_attribute), compare_names);
	for (int i = 0; i < fields->n; i++)
	{
		char	   *name = cdc_json_quote(CurrentMemoryContext, NameStr(atts[i]->attname));

		init_field(cxt, &fields->field[i], atts[i], i == 0 ? open : ", ", name, strlen(name));
		pfree(name);
	}
	pfree(atts);
	return fields;
}

CdcFields *
cdc_fields_array(MemoryContext cxt, TupleDesc desc, int n, const AttrNumber *atts)
{
	CdcFields  *fields = MemoryContextAllocZero(cxt, sizeof(CdcFields));

	fields->field = MemoryContextAllocZero(cxt, sizeof(CdcField) * (n + 1));
	fields->n = n;
	for (int i = 0; i < n; i++)
		init_field(cxt, &fields->field[i], TupleDescAttr(desc, atts[i] - 1),
				   i == 0 ? "[" : ", ", NULL, 0);
	return fields;
}

void
cdc_fields_tell_json_null(CdcFields *fields)
{
	for (int i = 0; i < fields->n; i++)
	{
		CdcDatum   *datum = &fields->field[i].datum;

		if (datum->encode == encode_jsonb)
			datum->encode = encode_jsonb_telling_null;
		else if (datum->encode == encode_json)
			datum->encode = encode_json_telling_null;
	}
}

void
cdc_fields_encode_marked(CdcFields *fields, CdcBuf *out, const Datum *values,
						 const bool *nulls, const bool *marked, const char *text)
{
	for (int i = 0; i < fields->n; i++)
	{
		CdcField   *field = &fields->field[i];

		if (marked[field->att])
		{
			cdc_buf_append(out, field->prefix, field->prefix_len);
			cdc_buf_append(out, text, strlen(text));
		}
		else
		{
			CdcFields	one = {1, field};

			cdc_fields_encode(&one, out, values, nulls);
		}
	}
}

void
cdc_fields_encode_without(CdcFields *fields, CdcBuf *out, const Datum *values,
						  const bool *nulls, const bool *absent, const char *open)
{
	bool		first = true;

	cdc_buf_append(out, open, strlen(open));
	for (int i = 0; i < fields->n; i++)
	{
		CdcField	field = fields->field[i];
		CdcFields	one = {1, &field};
		size_t		start = out->len;
		size_t		cut = i == 0 ? strlen(open) : 2;

		if (absent[field.att])
			continue;
		cdc_fields_encode(&one, out, values, nulls);

		/* what stands before the name: the opening, or a separator */
		if (i == 0 || first)
		{
			memmove(out->data + start, out->data + start + cut,
					out->len - start - cut);
			out->len -= cut;
		}
		first = false;
	}
}
