/*-------------------------------------------------------------------------
 * connect.c
 *		Schemas in the manner of Kafka Connect; see connect.h.
 *
 * The types are those of the JSON values that datum.c writes: what it writes
 * as text is a string here, with the type's name as logical name.
 *
 * Runs: decoding callbacks of a lane, scan workers, when an encoder is made.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "encode/connect.h"
#include "encode/json.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

typedef struct ConnectType
{
	const char *type;
	const char *name;			/* logical name, or NULL */
} ConnectType;

static void append_type(StringInfo out, const char *field, Oid type,
						int32 typmod, bool optional);

static void
open_node(StringInfo out, const char *field)
{
	appendStringInfoChar(out, '{');
	if (field != NULL)
		cdc_json_member(out, "field", field);
}

static void
append_name(StringInfo out, const char *name)
{
	if (name != NULL)
		cdc_json_member(out, "name", name);
}

static const char *
bool_text(bool value)
{
	return value ? "true" : "false";
}

void
cdc_connect_open(StringInfo out, const char *field)
{
	open_node(out, field);
	appendStringInfoString(out, "\"fields\": [");
}

void
cdc_connect_close(StringInfo out, const char *name, bool optional)
{
	appendStringInfoString(out, "], ");
	append_name(out, name);
	appendStringInfo(out, "\"optional\": %s, \"type\": \"struct\"}",
					 bool_text(optional));
}

void
cdc_connect_plain(StringInfo out, const char *field, const char *type,
				  bool optional, bool next)
{
	if (next)
		appendStringInfoString(out, ", ");
	open_node(out, field);
	appendStringInfo(out, "\"optional\": %s, \"type\": \"%s\"}",
					 bool_text(optional), type);
}

/* What a type that is neither array nor row is. */
static ConnectType
scalar_type(Oid type)
{
	ConnectType result = {"string", NULL};

	switch (type)
	{
		case BOOLOID:
			result.type = "boolean";
			break;
		case INT2OID:
		case INT4OID:
			result.type = "int32";
			break;
		case INT8OID:
			result.type = "int64";
			break;
		case FLOAT4OID:
		case FLOAT8OID:
			result.type = "float64";
			break;
		case NUMERICOID:
			result.type = "float64";
			result.name = "decimal";
			break;
		case BYTEAOID:
			result.type = "bytes";
			break;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
		case CHAROID:
			break;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			result.name = "timestamp";
			break;
		case TIMEOID:
			result.name = "time";
			break;
		case TIMETZOID:
			result.name = "timetz";
			break;
		case JSONOID:
		case JSONBOID:
			result.name = "json";
			break;
		default:
			if (get_typtype(type) == TYPTYPE_ENUM)
				result.name = "enum";
			else
				result.name = format_type_be(type);
			break;
	}
	return result;
}

static bool
is_row_type(Oid type)
{
	return type == RECORDOID || get_typtype(type) == TYPTYPE_COMPOSITE;
}

static void
append_array(StringInfo out, Oid element, bool optional)
{
	Oid			base = getBaseType(element);
	const char *items = OidIsValid(get_element_type(base)) ? "array" :
		is_row_type(base) ? "struct" : scalar_type(base).type;

	appendStringInfo(out, "\"items\": \"%s\", \"optional\": %s, \"type\": \"array\"}",
					 items, bool_text(optional));
}

/* A composite type, its columns in the order in which datum.c writes them. */
static void
append_row_type(StringInfo out, Oid type, bool optional)
{
	TupleDesc	desc = NULL;
	MemoryContext cxt;

	check_stack_depth();
	appendStringInfoString(out, "\"fields\": [");
	if (type != RECORDOID)
		desc = lookup_rowtype_tupdesc(type, -1);
	if (desc != NULL)
	{
		CdcFields  *fields;

		cxt = AllocSetContextCreate(CurrentMemoryContext, "changefeed schema",
									ALLOCSET_SMALL_SIZES);
		fields = cdc_fields_object(cxt, desc, "{", NULL);
		for (int i = 0; i < fields->n; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, fields->field[i].att);

			if (i > 0)
				appendStringInfoString(out, ", ");
			append_type(out, NameStr(att->attname), att->atttypid,
						att->atttypmod, true);
		}
		MemoryContextDelete(cxt);
		ReleaseTupleDesc(desc);
	}
	cdc_connect_close(out, type == RECORDOID ? "record" : format_type_be(type),
					  optional);
}

static void
append_type(StringInfo out, const char *field, Oid type, int32 typmod,
			bool optional)
{
	Oid			base = getBaseTypeAndTypmod(type, &typmod);
	ConnectType scalar;
	int			precision;
	int			scale;

	open_node(out, field);
	if (OidIsValid(get_element_type(base)))
	{
		append_array(out, get_element_type(base), optional);
		return;
	}
	if (is_row_type(base))
	{
		append_row_type(out, base, optional);
		return;
	}
	scalar = scalar_type(base);
	append_name(out, scalar.name);
	appendStringInfo(out, "\"optional\": %s, ", bool_text(optional));
	if (base == NUMERICOID && cdc_numeric_limits(typmod, &precision, &scale))
		appendStringInfo(out, "\"parameters\": {\"precision\": \"%d\", \"scale\": \"%d\"}, ",
						 precision, scale);
	appendStringInfo(out, "\"type\": \"%s\"}", scalar.type);
}

void
cdc_connect_row(StringInfo out, TupleDesc desc, const CdcFields *fields,
				const char *field, const char *name, bool optional)
{
	cdc_connect_open(out, field);
	for (int i = 0; i < fields->n; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, fields->field[i].att);

		if (i > 0)
			appendStringInfoString(out, ", ");
		append_type(out, NameStr(att->attname), att->atttypid, att->atttypmod,
					!att->attnotnull);
	}
	cdc_connect_close(out, name, optional);
}
