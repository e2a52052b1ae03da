/*-------------------------------------------------------------------------
 * debezium_type.c
 *		Which type of Kafka Connect a column becomes, as Debezium's
 *		PostgreSQL connector has it; see debezium.h.
 *
 * Runs: decoding callbacks of a lane, scan workers, when an encoder is made.
 * Reads catalogs only.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "encode/debezium.h"
#include "encode/json.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#define DECIMAL_NAME	"org.apache.kafka.connect.data.Decimal"
#define VARIABLE_NAME	"io.debezium.data.VariableScaleDecimal"
#define VARIABLE_INNER \
	"\"fields\":[{\"type\":\"int32\",\"optional\":false,\"field\":\"scale\"}," \
	"{\"type\":\"bytes\",\"optional\":false,\"field\":\"value\"}],"
#define POINT_INNER \
	"\"fields\":[{\"type\":\"double\",\"optional\":false,\"field\":\"x\"}," \
	"{\"type\":\"double\",\"optional\":false,\"field\":\"y\"}," \
	"{\"type\":\"bytes\",\"optional\":true,\"field\":\"wkb\"}," \
	"{\"type\":\"int32\",\"optional\":true,\"field\":\"srid\"}],"
#define MAP_INNER \
	"\"keys\":{\"type\":\"string\",\"optional\":false}," \
	"\"values\":{\"type\":\"string\",\"optional\":true},"

/* The version 3 UUID of the connector's usual placeholder. */
#define PLACEHOLDER_UUID	"b68a35a7-17ad-35b3-af2a-ae46edb4545a"

typedef struct Builder
{
	MemoryContext cxt;
	const CdcDebeziumOptions *opts;
	CdcDebeziumType t;
} Builder;

static CdcDebeziumState *
new_state(Builder *b)
{
	CdcDebeziumState *state = MemoryContextAllocZero(b->cxt, sizeof(CdcDebeziumState));

	state->opts = b->opts;
	return state;
}

static CdcDebeziumState *
output_state(Builder *b, Oid type)
{
	CdcDebeziumState *state = new_state(b);
	Oid			output;
	bool		varlena;

	getTypeOutputInfo(type, &output, &varlena);
	state->output = MemoryContextAlloc(b->cxt, sizeof(FmgrInfo));
	fmgr_info_cxt(output, state->output, b->cxt);
	return state;
}

static void
plain(Builder *b, const char *type, CdcDatumFn encode, const char *zero)
{
	b->t.type = type;
	b->t.datum.encode = encode;
	b->t.zero = zero;
	b->t.has_default = true;
}

static void
named(Builder *b, const char *type, const char *name, CdcDatumFn encode,
	  const char *zero)
{
	plain(b, type, encode, zero);
	b->t.name = name;
}

static char *
quote(Builder *b, const char *text)
{
	return cdc_json_quote(b->cxt, text);
}

/* A text, by the encoder that JSON has for the type. */
static void
string(Builder *b, Oid type, const char *name)
{
	plain(b, "string", NULL, "\"\"");
	b->t.datum = cdc_datum_encoder(b->cxt, type);
	b->t.name = name;
	b->t.marker = quote(b, b->opts->placeholder);
}

/* ---- numbers ---- */

static void
decimal(Builder *b, int32 typmod)
{
	CdcDebeziumState *state = new_state(b);
	int			precision;
	int			scale = 0;
	bool		limited = cdc_numeric_limits(typmod, &precision, &scale);

	state->scale = scale;
	switch (b->opts->decimal)
	{
		case CDC_DBZ_DECIMAL_STRING:
			plain(b, "string", cdc_dbz_decimal_string,
				  scale > 0 ? MemoryContextStrdup(b->cxt, psprintf("\"0.%0*d\"", scale, 0)) : "\"0\"");
			b->t.marker = quote(b, b->opts->placeholder);
			break;
		case CDC_DBZ_DECIMAL_DOUBLE:
			plain(b, "double", cdc_dbz_decimal_double, "0.0");
			break;
		case CDC_DBZ_DECIMAL_PRECISE:
			if (limited)
			{
				named(b, "bytes", DECIMAL_NAME, cdc_dbz_decimal, "\"AA==\"");
				b->t.parameters =
					MemoryContextStrdup(b->cxt, psprintf("{\"scale\":\"%d\",\"connect.decimal.precision\":\"%d\"}",
														 scale, precision));
			}
			else
			{
				named(b, "struct", VARIABLE_NAME, cdc_dbz_decimal_variable,
					  "{\"scale\":0,\"value\":\"AA==\"}");
				b->t.inner = VARIABLE_INNER;
				b->t.doc = "Variable scaled decimal";
				b->t.has_default = false;
			}
			break;
	}
	b->t.datum.state = state;
}

static void
money(Builder *b)
{
	switch (b->opts->decimal)
	{
		case CDC_DBZ_DECIMAL_STRING:
			plain(b, "string", cdc_dbz_money_string, "\"0.00\"");
			break;
		case CDC_DBZ_DECIMAL_DOUBLE:
			plain(b, "double", cdc_dbz_money_double, "0.0");
			break;
		case CDC_DBZ_DECIMAL_PRECISE:
			named(b, "bytes", DECIMAL_NAME, cdc_dbz_money, "\"AA==\"");
			b->t.parameters = "{\"scale\":\"2\"}";
			break;
	}
}

/* ---- times ---- */

static void
date(Builder *b)
{
	switch (b->opts->time)
	{
		case CDC_DBZ_TIME_CONNECT:
			named(b, "int32", "org.apache.kafka.connect.data.Date", cdc_dbz_date, "0");
			break;
		case CDC_DBZ_TIME_ISO:
			named(b, "string", "io.debezium.time.IsoDate", cdc_dbz_date_iso,
				  "\"1970-01-01Z\"");
			break;
		default:
			named(b, "int32", "io.debezium.time.Date", cdc_dbz_date, "0");
			break;
	}
}

static bool
fits_millis(int32 typmod)
{
	return typmod >= 0 && typmod <= 3;
}

static void
time_of_day(Builder *b, int32 typmod)
{
	CdcDebeziumTime mode = b->opts->time;

	if (mode == CDC_DBZ_TIME_CONNECT)
		named(b, "int32", "org.apache.kafka.connect.data.Time", cdc_dbz_time_millis, "0");
	else if (mode == CDC_DBZ_TIME_ISO)
		named(b, "string", "io.debezium.time.IsoTime", cdc_dbz_time_iso, "\"00:00:00Z\"");
	else if (mode == CDC_DBZ_TIME_NANOS)
		named(b, "int64", "io.debezium.time.NanoTime", cdc_dbz_time_nanos, "0");
	else if (mode == CDC_DBZ_TIME_ADAPTIVE && fits_millis(typmod))
		named(b, "int32", "io.debezium.time.Time", cdc_dbz_time_millis, "0");
	else
		named(b, "int64", "io.debezium.time.MicroTime", cdc_dbz_time_micros, "0");
}

static void
timestamp(Builder *b, int32 typmod)
{
	CdcDebeziumTime mode = b->opts->time;

	if (mode == CDC_DBZ_TIME_CONNECT)
		named(b, "int64", "org.apache.kafka.connect.data.Timestamp",
			  cdc_dbz_timestamp_millis, "0");
	else if (mode == CDC_DBZ_TIME_ISO)
		named(b, "string", "io.debezium.time.IsoTimestamp", cdc_dbz_timestamp_iso,
			  "\"1970-01-01T00:00:00Z\"");
	else if (mode == CDC_DBZ_TIME_NANOS)
		named(b, "int64", "io.debezium.time.NanoTimestamp", cdc_dbz_timestamp_nanos, "0");
	else if (mode != CDC_DBZ_TIME_MICROS && fits_millis(typmod))
		named(b, "int64", "io.debezium.time.Timestamp", cdc_dbz_timestamp_millis, "0");
	else
		named(b, "int64", "io.debezium.time.MicroTimestamp", cdc_dbz_timestamp_micros, "0");
}

static void
timestamptz(Builder *b, int32 typmod)
{
	CdcDebeziumState *state = new_state(b);

	state->digits = typmod >= 0 ? typmod : 6;
	named(b, "string", "io.debezium.time.ZonedTimestamp", cdc_dbz_timestamptz,
		  "\"1970-01-01T00:00:00Z\"");
	b->t.datum.state = state;
}

/* ---- bytes ---- */

static void
binary(Builder *b, CdcDatumFn encode, CdcDebeziumState *state)
{
	CdcDebeziumBinary mode = b->opts->binary;
	CdcBuf		buf = {0};

	plain(b, mode == CDC_DBZ_BINARY_BYTES ? "bytes" : "string", encode, "\"\"");
	b->t.datum.state = state;
	b->t.has_default = false;
	if (mode == CDC_DBZ_BINARY_HEX)
		b->t.marker = quote(b, b->opts->placeholder);
	else if (mode == CDC_DBZ_BINARY_BYTES)
	{
		cdc_dbz_put_bytes(&buf, b->opts->placeholder, strlen(b->opts->placeholder), mode);
		cdc_buf_append_char(&buf, '\0');
		b->t.marker = MemoryContextStrdup(b->cxt, buf.data);
		cdc_buf_free(&buf);
	}
}

static void
bits(Builder *b, int32 length)
{
	named(b, "bytes", "io.debezium.data.Bits", cdc_dbz_bits, "\"\"");
	b->t.parameters = MemoryContextStrdup(b->cxt, psprintf("{\"length\":\"%d\"}", length));
}

/* ---- types known by their names ---- */

typedef struct Label
{
	float4		order;
	const char *label;
} Label;

static int
compare_labels(const void *a, const void *b)
{
	float4		x = ((const Label *) a)->order;
	float4		y = ((const Label *) b)->order;

	return x < y ? -1 : x > y;
}

static void
enumeration(Builder *b, Oid type)
{
	CatCList   *list = SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(type));
	Label	   *labels = palloc(sizeof(Label) * (list->n_members + 1));
	StringInfoData allowed;

	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_enum form = (Form_pg_enum) GETSTRUCT(&list->members[i]->tuple);

		labels[i].order = form->enumsortorder;
		labels[i].label = pstrdup(NameStr(form->enumlabel));
	}
	qsort(labels, list->n_members, sizeof(Label), compare_labels);
	initStringInfo(&allowed);
	for (int i = 0; i < list->n_members; i++)
		appendStringInfo(&allowed, "%s%s", i > 0 ? "," : "", labels[i].label);
	ReleaseSysCacheList(list);

	string(b, type, "io.debezium.data.Enum");
	b->t.parameters = MemoryContextStrdup(b->cxt, psprintf("{\"allowed\":%s}", quote(b, allowed.data)));
	b->t.element_optional = false;
}

static void
hstore(Builder *b, Oid type)
{
	char	   *quoted = quote(b, b->opts->placeholder);
	char	   *object = MemoryContextStrdup(b->cxt, psprintf("{%s:%s}", quoted, quoted));

	if (b->opts->hstore == CDC_DBZ_HSTORE_MAP)
	{
		plain(b, "map", cdc_dbz_hstore, "{}");
		b->t.inner = MAP_INNER;
		b->t.marker = object;
	}
	else
	{
		named(b, "string", "io.debezium.data.Json", cdc_dbz_hstore, "\"{}\"");
		b->t.marker = quote(b, object);
	}
	b->t.has_default = false;
	b->t.datum.state = output_state(b, type);
}

/* True if it is a type of an extension that the connector knows. */
static bool
by_name(Builder *b, Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	char		name[NAMEDATALEN];

	if (!HeapTupleIsValid(tuple))
		return false;
	strlcpy(name, NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname), NAMEDATALEN);
	ReleaseSysCache(tuple);
	if (strcmp(name, "citext") == 0)
		string(b, type, NULL);
	else if (strcmp(name, "ltree") == 0)
		string(b, type, "io.debezium.data.Ltree");
	else if (strcmp(name, "hstore") == 0)
		hstore(b, type);
	else
		return false;
	return true;
}

static void
unknown(Builder *b, Oid type)
{
	if (b->opts->unknown_types)
		binary(b, cdc_dbz_unknown, output_state(b, type));
	b->t.element_optional = false;
}

/* ---- arrays ---- */

/* The placeholder's bytes, as numbers. */
static char *
marker_codes(Builder *b)
{
	StringInfoData codes;

	initStringInfo(&codes);
	for (const char *p = b->opts->placeholder; *p != '\0'; p++)
		appendStringInfo(&codes, "%c%d", codes.len == 0 ? '[' : ',', (signed char) *p);
	appendStringInfoString(&codes, codes.len == 0 ? "[]" : "]");
	return MemoryContextStrdup(b->cxt, codes.data);
}

static const char *
array_marker(Builder *b, Oid element, const CdcDebeziumType *et)
{
	switch (element)
	{
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return MemoryContextStrdup(b->cxt, psprintf("[%s]", et->marker));
		case UUIDOID:
			return "[\"" PLACEHOLDER_UUID "\"]";
		case BYTEAOID:
			return b->opts->binary == CDC_DBZ_BINARY_BYTES ?
				MemoryContextStrdup(b->cxt, psprintf("[%s]", et->marker)) : "null";
		case DATEOID:
			return strcmp(et->type, "int32") == 0 && b->opts->time != CDC_DBZ_TIME_CONNECT ?
				marker_codes(b) : "null";
		case INT4OID:
		case INT8OID:
			return marker_codes(b);
		default:
			return "null";
	}
}

/* Are arrays of this type among those the connector knows? */
static bool
element_is_known(Oid element)
{
	switch (element)
	{
		case INTERVALOID:
		case CASHOID:
		case VARBITOID:
		case POINTOID:
		case XMLOID:
		case NAMEOID:
		case CHAROID:
		case TSVECTOROID:
			return false;
		default:
			return get_typtype(element) != TYPTYPE_DOMAIN;
	}
}

static void
array(Builder *b, Oid element, int32 typmod, bool vector)
{
	CdcDebeziumState *state = new_state(b);
	Builder		eb = {b->cxt, b->opts, {{NULL}}};

	if (!vector && !element_is_known(element))
	{
		eb.t.inner = "";
		unknown(&eb, element);
	}
	else
		eb.t = cdc_debezium_type(b->cxt, element, typmod, b->opts);
	if (eb.t.datum.encode == NULL)
		return;
	state->element = eb.t.datum;
	get_typlenbyvalalign(element, &state->typlen, &state->typbyval, &state->typalign);
	plain(b, "array", cdc_dbz_array, "[]");
	b->t.has_default = false;
	b->t.datum.state = state;
	b->t.inner = MemoryContextStrdup(b->cxt,
									 psprintf("\"items\":%s,",
											  cdc_debezium_schema(&eb.t, eb.t.element_optional && !vector,
																  NULL, NULL)));
	b->t.marker = array_marker(b, element, &eb.t);
}

/* ---- all ---- */

static void
scalar(Builder *b, Oid type, int32 typmod)
{
	switch (type)
	{
		case BOOLOID:
			plain(b, "boolean", NULL, "false");
			b->t.datum = cdc_datum_encoder(b->cxt, type);
			break;
		case INT2OID:
			plain(b, "int16", NULL, "0");
			b->t.datum = cdc_datum_encoder(b->cxt, type);
			break;
		case INT4OID:
			plain(b, "int32", NULL, "0");
			b->t.datum = cdc_datum_encoder(b->cxt, type);
			break;
		case INT8OID:
			plain(b, "int64", NULL, "0");
			b->t.datum = cdc_datum_encoder(b->cxt, type);
			break;
		case OIDOID:
			plain(b, "int64", cdc_dbz_oid, "0");
			break;
		case FLOAT4OID:
			plain(b, "float", cdc_dbz_float4, "0.0");
			break;
		case FLOAT8OID:
			plain(b, "double", cdc_dbz_float8, "0.0");
			break;
		case NUMERICOID:
			decimal(b, typmod);
			break;
		case CASHOID:
			money(b);
			break;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
		case CHAROID:
		case INETOID:
		case CIDROID:
		case MACADDROID:
		case MACADDR8OID:
			string(b, type, NULL);
			break;
		case XMLOID:
			string(b, type, "io.debezium.data.Xml");
			break;
		case UUIDOID:
			string(b, type, "io.debezium.data.Uuid");
			break;
		case TSVECTOROID:
			string(b, type, "io.debezium.data.Tsvector");
			break;
		case JSONOID:
			/* its text as it is, in a string */
			string(b, TEXTOID, "io.debezium.data.Json");
			break;
		case JSONBOID:
			string(b, TEXTOID, "io.debezium.data.Json");
			b->t.datum.encode = cdc_dbz_output;
			b->t.datum.state = output_state(b, type);
			break;
		case BYTEAOID:
			binary(b, cdc_dbz_bytea, new_state(b));
			break;
		case BITOID:
			if (typmod == 1)
				plain(b, "boolean", cdc_dbz_bit, "false");
			else
				bits(b, typmod > 0 ? typmod : PG_INT32_MAX);
			break;
		case VARBITOID:
			bits(b, typmod > 0 ? typmod : PG_INT32_MAX);
			break;
		case DATEOID:
			date(b);
			break;
		case TIMEOID:
			time_of_day(b, typmod);
			break;
		case TIMETZOID:
			named(b, "string", "io.debezium.time.ZonedTime", cdc_dbz_timetz, "\"00:00:00Z\"");
			break;
		case TIMESTAMPOID:
			timestamp(b, typmod);
			break;
		case TIMESTAMPTZOID:
			timestamptz(b, typmod);
			break;
		case INTERVALOID:
			if (b->opts->interval == CDC_DBZ_INTERVAL_STRING)
				named(b, "string", "io.debezium.time.Interval", cdc_dbz_interval_iso,
					  "\"P0Y0M0DT0H0M0S\"");
			else
				named(b, "int64", "io.debezium.time.MicroDuration", cdc_dbz_interval, "0");
			break;
		case POINTOID:
			named(b, "struct", "io.debezium.data.geometry.Point", cdc_dbz_point,
				  "{\"x\":0.0,\"y\":0.0,\"wkb\":\"AQEAAAAAAAAAAAAAAAAAAAAAAAAA\",\"srid\":null}");
			b->t.inner = POINT_INNER;
			b->t.doc = "Geometry (POINT)";
			b->t.has_default = false;
			break;
		case INT4RANGEOID:
		case INT8RANGEOID:
		case NUMRANGEOID:
		case DATERANGEOID:
		case TSRANGEOID:
		case TSTZRANGEOID:
			string(b, type, NULL);
			break;
		default:
			if (get_typtype(type) == TYPTYPE_ENUM)
				enumeration(b, type);
			else if (!by_name(b, type))
				unknown(b, type);
			break;
	}
}

CdcDebeziumType
cdc_debezium_type(MemoryContext cxt, Oid type, int32 typmod,
				  const CdcDebeziumOptions *opts)
{
	Builder		b = {cxt, opts, {{NULL}}};
	Oid			element;

	b.t.inner = "";
	b.t.zero = "null";
	b.t.marker = "null";
	b.t.element_optional = true;
	type = getBaseTypeAndTypmod(type, &typmod);
	element = get_element_type(type);
	if (type == INT2VECTOROID)
		array(&b, INT2OID, -1, true);
	else if (type == OIDVECTOROID)
		array(&b, OIDOID, -1, true);
	else if (OidIsValid(element))
		array(&b, element, typmod, false);
	else
		scalar(&b, type, typmod);
	return b.t;
}

char *
cdc_debezium_schema(const CdcDebeziumType *t, bool optional, const char *dflt,
					const char *field)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"type\":\"%s\",%s\"optional\":%s", t->type, t->inner,
					 optional ? "true" : "false");
	if (t->name != NULL)
		appendStringInfo(&buf, ",\"name\":\"%s\",\"version\":1", t->name);
	if (t->doc != NULL)
		appendStringInfo(&buf, ",\"doc\":\"%s\"", t->doc);
	if (t->parameters != NULL)
		appendStringInfo(&buf, ",\"parameters\":%s", t->parameters);
	if (dflt != NULL)
		appendStringInfo(&buf, ",\"default\":%s", dflt);
	if (field != NULL)
		appendStringInfo(&buf, ",\"field\":%s", field);
	appendStringInfoChar(&buf, '}');
	return buf.data;
}
