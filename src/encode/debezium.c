/*-------------------------------------------------------------------------
 * debezium.c
 *		The envelope of Debezium's PostgreSQL connector: key, value, and the
 *		headers of a changed key; see debezium.h and envelope.h.
 *
 * Members, their order and their values are the connector's (3.6); JSON has
 * no blanks, as there.  test/debezium compares.
 *
 * Runs: decoding callbacks of a lane, scan workers.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "base/compat.h"
#include "commands/dbcommands.h"
#include "encode/debezium_event.h"
#include "encode/debezium_int.h"
#include "encode/json.h"
#include "encode/row_headers.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

#define SOURCE_VERSION	"cdc_sink 1.0"

#define TAIL_SCHEMA \
	CDC_DBZ_FIELD("string", "false", "op") "," \
	CDC_DBZ_FIELD("int64", "true", "ts_ms") "," \
	CDC_DBZ_FIELD("int64", "true", "ts_us") "," \
	CDC_DBZ_FIELD("int64", "true", "ts_ns")

#define HEADER_NEWKEY	"__debezium.newkey"
#define HEADER_OLDKEY	"__debezium.oldkey"

#define NANOS_PER_MICRO	1000

typedef struct Column
{
	CdcDatum	datum;
	CdcText		prefix;			/* "name": and what separates or opens */
	CdcText		null;			/* instead of NULL */
	CdcText		marker;			/* instead of a value that is not known */
	int			att;			/* index in values and nulls */
} Column;

typedef struct Columns
{
	int			n;
	Column	   *column;
} Columns;

typedef struct DebeziumState
{
	CdcDebeziumOptions opts;
	Columns		row;
	Columns		key;
	CdcText		key_open;		/* up to the object of the key */
	CdcText		value_open;		/* up to the value of "before" */
	CdcDebeziumSource source;
	char	   *collection;		/* schema.table */
} DebeziumState;

/* ---- where a message comes from ---- */

static char *
quoted(const char *s)
{
	return cdc_json_quote(CurrentMemoryContext, s);
}

void
cdc_dbz_source_init(MemoryContext cxt, CdcDebeziumSource *source, const char *prefix,
					const char *db, const char *schema, const char *table)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, ",\"source\":{\"version\":\"" SOURCE_VERSION "\",\"connector\":\"postgresql\",\"name\":%s,\"ts_ms\":",
					 quoted(prefix));
	source->open = cdc_text(cxt, text.data);
	resetStringInfo(&text);
	appendStringInfo(&text, ",\"db\":%s,\"sequence\":", quoted(db));
	source->db = cdc_text(cxt, text.data);
	resetStringInfo(&text);
	appendStringInfo(&text, ",\"schema\":%s,\"table\":%s,\"txId\":", quoted(schema),
					 quoted(table));
	source->table = cdc_text(cxt, text.data);
}

static void
append_stamps(CdcBuf *out, int64 nanos)
{
	cdc_buf_append_lit(out, ",\"ts_us\":");
	cdc_envelope_int(out, nanos / NANOS_PER_MICRO);
	cdc_buf_append_lit(out, ",\"ts_ns\":");
	cdc_envelope_int(out, nanos);
}

int64
cdc_dbz_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64) now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A message outside of a transaction has no time but that of its reading. */
void
cdc_dbz_source(const CdcDebeziumSource *source, CdcBuf *out, const CdcRow *row)
{
	bool		scan = row->op == 'r';
	bool		alone = !scan && !TransactionIdIsValid(row->xid);
	int64		nanos;

	if (scan)
		nanos = row->updated.wall;
	else
		nanos = alone ? cdc_dbz_now() : cdc_hlc_wall(row->commit_time);
	cdc_dbz_text(out, &source->open);
	cdc_envelope_int(out, nanos / (1000 * NANOS_PER_MICRO));
	if (scan)
		cdc_buf_append_lit(out, ",\"snapshot\":\"true\"");
	else
		cdc_buf_append_lit(out, ",\"snapshot\":\"false\"");
	cdc_dbz_text(out, &source->db);
	if (scan)
		cdc_buf_append_lit(out, "null");
	else
		out->len += sprintf(cdc_buf_reserve(out, 64),
							"\"[\\\"" UINT64_FORMAT "\\\",\\\"" UINT64_FORMAT "\\\"]\"",
							row->commit_lsn, row->lsn);
	append_stamps(out, nanos);
	cdc_dbz_text(out, &source->table);
	if (scan)
		cdc_buf_append_lit(out, "null,\"lsn\":null");
	else if (alone)
		out->len += sprintf(cdc_buf_reserve(out, 64), "null,\"lsn\":" UINT64_FORMAT,
							row->lsn);
	else
		out->len += sprintf(cdc_buf_reserve(out, 64), "%u,\"lsn\":" UINT64_FORMAT,
							row->xid, row->lsn);
	cdc_buf_append_lit(out, ",\"xmin\":null,\"origin\":null,\"origin_lsn\":null}");
}

void
cdc_dbz_transaction(CdcBuf *out, const CdcRow *row)
{
	if (row == NULL)
		cdc_buf_append_lit(out, ",\"transaction\":null");
	else
		out->len += sprintf(cdc_buf_reserve(out, 160),
							",\"transaction\":{\"id\":\"%u:" UINT64_FORMAT "\",\"total_order\":"
							UINT64_FORMAT ",\"data_collection_order\":" UINT64_FORMAT "}",
							row->xid, row->lsn, row->event, row->table_event);
}

/* ---- making an encoder ---- */

static char *
topic_name(char *name)
{
	char	   *dst = name;

	for (const char *p = name; *p != '\0'; p += pg_mblen(p))
	{
		bool		plain = !IS_HIGHBIT_SET(*p) &&
			(isalnum((unsigned char) *p) || *p == '.' || *p == '_' || *p == '-');

		*dst++ = plain ? *p : '_';
	}
	*dst = '\0';
	return name;
}

char *
cdc_debezium_topic(const char *prefix, const char *schema, const char *table)
{
	return topic_name(psprintf("%s.%s.%s", prefix, schema, table));
}

char *
cdc_debezium_event_topic(const CdcDebeziumOptions *opts, const char *db, const char *name)
{
	return topic_name(psprintf("%s.%s", opts->name[0] != '\0' ? opts->name : db, name));
}

/* The column of the table that a column of the rows is. */
static Form_pg_attribute
find_attribute(Relation rel, Form_pg_attribute att)
{
	TupleDesc	desc;

	if (rel == NULL)
		return att;
	desc = RelationGetDescr(rel);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute own = TupleDescAttr(desc, i);

		if (!own->attisdropped && strcmp(NameStr(own->attname), NameStr(att->attname)) == 0)
			return own;
	}
	return att;
}

/*
 * Appends a column to a list, and its schema; false: values of its type are
 * left out.
 */
static bool
add_column(CdcRowEncoder *enc, Columns *columns, Relation rel,
		   Form_pg_attribute att, int index, StringInfo schema)
{
	DebeziumState *state = enc->state;
	CdcDebeziumType t = cdc_debezium_type(enc->cxt, att->atttypid, att->atttypmod,
										  &state->opts);
	Form_pg_attribute own = find_attribute(rel, att);
	Column	   *column = &columns->column[columns->n];
	char	   *dflt = NULL;
	char	   *name;
	const char *null = "null";

	if (t.datum.encode == NULL)
		return false;
	name = cdc_json_quote(CurrentMemoryContext, NameStr(att->attname));
	if (rel != NULL)
		dflt = cdc_debezium_default(enc->cxt, rel, own, &t);

	/* an empty field of a row whose key only is known */
	if (own->attnotnull)
		null = dflt ? dflt : t.zero;
	else if (dflt != NULL && state->opts.null_is_default)
		null = dflt;

	column->datum = t.datum;
	column->prefix = cdc_text(enc->cxt, psprintf("%c%s:", columns->n == 0 ? '{' : ',', name));
	column->null = cdc_text(enc->cxt, null);
	column->marker = cdc_text(enc->cxt, t.marker);
	column->att = index;
	columns->n++;
	appendStringInfo(schema, "%s%s", schema->len > 0 ? "," : "",
					 cdc_debezium_schema(&t, !own->attnotnull, dflt, name));
	return true;
}

static void
init_columns(CdcRowEncoder *enc, const CdcEncodeTable *table, StringInfo row_schema,
			 StringInfo key_schema)
{
	DebeziumState *state = enc->state;
	Relation	rel = RelationIdGetRelation(table->relid);

	state->row.column = MemoryContextAllocZero(enc->cxt, sizeof(Column) * (table->desc->natts + 1));
	state->key.column = MemoryContextAllocZero(enc->cxt, sizeof(Column) * (table->nkeys + 1));
	for (int i = 0; i < table->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(table->desc, i);

		if (!att->attisdropped && att->attgenerated != ATTRIBUTE_GENERATED_VIRTUAL &&
			i != enc->headers_att)
			add_column(enc, &state->row, rel, att, i, row_schema);
	}
	for (int i = 0; i < table->nkeys; i++)
		add_column(enc, &state->key, rel, TupleDescAttr(table->desc, table->keyatts[i] - 1),
				   table->keyatts[i] - 1, key_schema);
	if (rel != NULL)
		RelationClose(rel);
}

static void
debezium_init(CdcRowEncoder *enc, const CdcEncodeTable *table)
{
	DebeziumState *state = MemoryContextAllocZero(enc->cxt, sizeof(DebeziumState));
	const char *db = get_database_name(MyDatabaseId);
	const char *prefix;
	char	   *name;
	StringInfoData row_schema;
	StringInfoData key_schema;
	StringInfoData text;

	enc->state = state;
	enc->no_key = table->keyless;
	state->opts = *enc->opts.debezium;
	db = db ? db : "";
	prefix = state->opts.name[0] != '\0' ? state->opts.name : db;
	name = cdc_debezium_topic(prefix, table->schema, table->name);

	initStringInfo(&row_schema);
	initStringInfo(&key_schema);
	initStringInfo(&text);
	init_columns(enc, table, &row_schema, &key_schema);

	if (state->opts.key_schemas)
		appendStringInfo(&text, "{\"schema\":{\"type\":\"struct\",\"fields\":[%s],\"optional\":false,\"name\":\"%s.Key\"},\"payload\":",
						 key_schema.data, name);
	state->key_open = cdc_text(enc->cxt, text.data);

	resetStringInfo(&text);
	if (state->opts.value_schemas)
	{
		appendStringInfoString(&text, "{\"schema\":{\"type\":\"struct\",\"fields\":[");
		for (int i = 0; i < 2; i++)
			appendStringInfo(&text, "{\"type\":\"struct\",\"fields\":[%s],\"optional\":true,\"name\":\"%s.Value\",\"field\":\"%s\"},",
							 row_schema.data, name, i == 0 ? "before" : "after");
		appendStringInfo(&text, CDC_DBZ_SOURCE_SCHEMA "," CDC_DBZ_TRANSACTION_SCHEMA "," TAIL_SCHEMA
						 "],\"optional\":false,\"name\":\"%s.Envelope\",\"version\":2},\"payload\":",
						 name);
	}
	appendStringInfoString(&text, "{\"before\":");
	state->value_open = cdc_text(enc->cxt, text.data);

	cdc_dbz_source_init(enc->cxt, &state->source, prefix, db, table->schema, table->name);
	name = psprintf("%s.%s", table->schema, table->name);
	state->collection = MemoryContextStrdup(enc->cxt, name);
}

const char *
cdc_debezium_collection(const CdcRowEncoder *enc)
{
	return ((const DebeziumState *) enc->state)->collection;
}

/* ---- rows ---- */

static void
append_columns(const Columns *columns, CdcBuf *out, const Datum *values,
			   const bool *nulls, const bool *unavailable)
{
	if (columns->n == 0)
		cdc_buf_append_char(out, '{');
	for (int i = 0; i < columns->n; i++)
	{
		Column	   *column = &columns->column[i];

		cdc_dbz_text(out, &column->prefix);
		if (nulls[column->att])
			cdc_dbz_text(out, &column->null);
		else if (unlikely(unavailable != NULL && unavailable[column->att]))
			cdc_dbz_text(out, &column->marker);
		else
		{
			cdc_buf_reserve(out, CDC_DATUM_ROOM);
			column->datum.encode(&column->datum, out, values[column->att]);
		}
	}
	cdc_buf_append_char(out, '}');
}

static void
debezium_key(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row)
{
	DebeziumState *state = enc->state;

	cdc_dbz_text(out, &state->key_open);
	append_columns(&state->key, out, cdc_row_values(row), cdc_row_nulls(row),
				   row->unavailable);
	if (state->opts.key_schemas)
		cdc_buf_append_char(out, '}');
}

static bool
debezium_value(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row)
{
	DebeziumState *state = enc->state;
	int64		nanos;

	if (row->op == CDC_OP_TOMBSTONE)
		return false;
	cdc_dbz_text(out, &state->value_open);
	if (row->old_values != NULL)
		append_columns(&state->row, out, row->old_values, row->old_nulls, NULL);
	else
		cdc_buf_append_lit(out, "null");
	cdc_buf_append_lit(out, ",\"after\":");
	if (row->values != NULL)
		append_columns(&state->row, out, row->values, row->nulls, row->unavailable);
	else
		cdc_buf_append_lit(out, "null");
	cdc_dbz_source(&state->source, out, row);
	cdc_dbz_transaction(out, state->opts.transactions && row->op != 'r' ? row : NULL);

	nanos = cdc_dbz_now();
	out->len += sprintf(cdc_buf_reserve(out, 64), ",\"op\":\"%c\",\"ts_ms\":" INT64_FORMAT,
						row->op, nanos / 1000000);
	append_stamps(out, nanos);
	cdc_buf_append_char(out, '}');
	if (state->opts.value_schemas)
		cdc_buf_append_char(out, '}');
	return true;
}

/* The key at the other end of an update that moved it. */
static void
debezium_headers(CdcRowEncoder *enc, CdcBuf *out, const CdcRow *row)
{
	DebeziumState *state = enc->state;
	const char *name = row->op == 'c' ? HEADER_OLDKEY : HEADER_NEWKEY;
	CdcHeaderLens lens;
	size_t		start = out->len;

	if (row->moved_values == NULL)
		return;
	lens.name = strlen(name);
	cdc_buf_reserve(out, sizeof(lens));
	out->len += sizeof(lens);
	cdc_buf_append(out, name, lens.name + 1);
	append_columns(&state->key, out, row->moved_values, row->moved_nulls, NULL);
	lens.value = (uint32) (out->len - start - sizeof(lens) - lens.name - 1);
	memcpy(out->data + start, &lens, sizeof(lens));
}

const CdcEnvelopeOps cdc_envelope_debezium = {
	.init = debezium_init,
	.key = debezium_key,
	.value = debezium_value,
	.headers = debezium_headers,
	.resolved_open = "{\"resolved\":\"",
	.resolved_close = "\"}",
	.is_volatile = true,
};
