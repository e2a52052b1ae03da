/*-------------------------------------------------------------------------
 * headers.c
 *		The option extra_headers; see headers.h.
 *
 * Runs: backend (CdcSinkOps.check) and workers.  Allocates by palloc; no
 * error shows a value, which may be a secret.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/headers.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#define BAD(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), __VA_ARGS__))

/* json_in's complaints quote the text, so they are replaced by ours. */
static Jsonb *
parse_object(const char *json)
{
	Jsonb	   *volatile result = NULL;
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		result = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			ReThrowError(error);
		FreeErrorData(error);
		result = NULL;
	}
	PG_END_TRY();
	if (result == NULL || !JB_ROOT_IS_OBJECT(result))
		BAD(errmsg("error unmarshalling json: the value of option \"%s\" is not a JSON object of strings",
				   "extra_headers"));
	return result;
}

List *
cdc_headers_parse(const char *json)
{
	List	   *headers = NIL;
	Jsonb	   *jb;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	char	   *name = NULL;
	size_t		bytes = 0;

	if (json == NULL)
		return NIL;
	jb = parse_object(json);
	it = JsonbIteratorInit(&jb->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		CdcHeader  *header;

		if (token == WJB_KEY)
		{
			name = pnstrdup(v.val.string.val, v.val.string.len);
			if (name[0] == '\0')
				BAD(errmsg("invalid name of a header in extra_headers"),
					errdetail("It is empty."));
		}
		if (token != WJB_VALUE)
			continue;
		if (v.type != jbvString)
			BAD(errmsg("error unmarshalling json: header \"%s\" in extra_headers must be a string",
					   name));
		header = palloc(sizeof(CdcHeader));
		header->name = name;
		header->value = pnstrdup(v.val.string.val, v.val.string.len);
		bytes += strlen(header->name) + strlen(header->value);
		headers = lappend(headers, header);
	}
	if (bytes > CDC_HEADERS_BYTES || list_length(headers) > CDC_HEADERS_MAX)
		BAD(errmsg("too much in extra_headers"),
			errdetail("There may be %d headers of %d bytes together.",
					  CDC_HEADERS_MAX, CDC_HEADERS_BYTES));
	return headers;
}
