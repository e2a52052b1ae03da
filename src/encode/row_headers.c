/*-------------------------------------------------------------------------
 * row_headers.c
 *		Headers of a message, out of a JSON column of its row; see row_headers.h.
 *
 * Runs: decoding callbacks of a lane, scan workers.  A value that makes no
 * sense gives no headers; it is no reason to stop.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "encode/datum.h"
#include "encode/row_headers.h"
#include "encode/json.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

/* Characters without quotes and escapes, in UTF-8. */
static void
append_text(CdcBuf *out, const char *s, int len)
{
	char	   *utf8 = pg_server_to_any(s, len, PG_UTF8);

	cdc_buf_append(out, utf8, utf8 == s ? len : strlen(utf8));
}

static void
append_value(CdcBuf *out, const JsonbValue *v)
{
	if (v->type == jbvString)
		append_text(out, v->val.string.val, v->val.string.len);
	else
	{
		Jsonb	   *jb = JsonbValueToJsonb(unconstify(JsonbValue *, v));

		cdc_json_jsonb(out, &jb->root);
		pfree(jb);
	}
}

/*
 * Text that is JSON but not jsonb (a \u0000 in it) has no headers.  jsonb_in
 * takes no locks and opens nothing, so that what it raises needs no
 * subtransaction to be undone.
 */
static Jsonb *
jsonb_of_text(Datum value)
{
	MemoryContext cxt = CurrentMemoryContext;
	Jsonb	   *volatile jb = NULL;

	PG_TRY();
	{
		jb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
												CStringGetDatum(TextDatumGetCString(value))));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		if (geterrcode() != ERRCODE_UNTRANSLATABLE_CHARACTER)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	return jb;
}

CdcHeadersKind
cdc_headers_kind(Oid type)
{
	bool		binary;

	if (!cdc_datum_is_json(type, &binary))
		return CDC_HEADERS_NONE;
	return binary ? CDC_HEADERS_JSONB : CDC_HEADERS_JSON;
}

void
cdc_headers_append(CdcBuf *out, Datum value, CdcHeadersKind kind)
{
	Jsonb	   *jb = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;

	if (kind == CDC_HEADERS_JSONB)
		jb = DatumGetJsonbP(value);
	else if (kind == CDC_HEADERS_JSON)
		jb = jsonb_of_text(value);
	if (jb == NULL || !JB_ROOT_IS_OBJECT(jb))
		return;

	it = JsonbIteratorInit(&jb->root);
	(void) JsonbIteratorNext(&it, &v, true);	/* WJB_BEGIN_OBJECT */
	while ((token = JsonbIteratorNext(&it, &v, true)) == WJB_KEY)
	{
		CdcHeaderLens lens;
		size_t		start = out->len;

		cdc_buf_reserve(out, sizeof(lens));
		out->len += sizeof(lens);
		append_text(out, v.val.string.val, v.val.string.len);
		lens.name = (uint32) (out->len - start - sizeof(lens));
		cdc_buf_append_char(out, '\0');
		(void) JsonbIteratorNext(&it, &v, true);
		append_value(out, &v);
		lens.value = (uint32) (out->len - start - sizeof(lens) - lens.name - 1);
		memcpy(out->data + start, &lens, sizeof(lens));
	}
}
