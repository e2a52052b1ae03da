/*-------------------------------------------------------------------------
 * rows.c
 *		SQL on the extension's own tables; see rows.h.
 *
 * Runs: backends and lane workers between two drains.  Arrays also in
 * decoding callbacks.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "catalog/rows.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"

void
cdc_catalog_enter(CdcCatalogUser *saved)
{
	GetUserIdAndSecContext(&saved->user, &saved->sec_context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID,
						   saved->sec_context | SECURITY_LOCAL_USERID_CHANGE);
}

void
cdc_catalog_leave(const CdcCatalogUser *saved)
{
	SetUserIdAndSecContext(saved->user, saved->sec_context);
}

int
cdc_rows_begin(void)
{
	int			nest = NewGUCNestLevel();

	/* names in the statements are qualified, operators are not */
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	return nest;
}

void
cdc_rows_end(int nest)
{
	SPI_finish();
	AtEOXact_GUC(true, nest);
}

uint64
cdc_rows_run(const char *sql, int nargs, const Oid *types, const Datum *values,
			 const char *nulls, int expected)
{
	int			rc = SPI_execute_with_args(sql, nargs, (Oid *) types,
										   (Datum *) values, nulls, false, 0);

	if (rc != expected)
		elog(ERROR, "query on the tables of cdc_sink gave %s: %s",
			 SPI_result_code_string(rc), sql);
	return SPI_processed;
}

uint64
cdc_rows_run_for(int64 job_id, const char *sql, int expected)
{
	static const Oid type = INT8OID;
	Datum		id = Int64GetDatum(job_id);

	return cdc_rows_run(sql, 1, &type, &id, NULL, expected);
}

List *
cdc_rows_list(int64 job_id, const char *sql, void *(*make) (uint64 row))
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext spi;
	List	   *list = NIL;
	int			nest = cdc_rows_begin();
	uint64		n = cdc_rows_run_for(job_id, sql, SPI_OK_SELECT);

	spi = MemoryContextSwitchTo(caller);
	for (uint64 i = 0; i < n; i++)
		list = lappend(list, make(i));
	MemoryContextSwitchTo(spi);
	cdc_rows_end(nest);
	return list;
}

Datum
cdc_rows_column(uint64 row, int col, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col,
						 isnull);
}

Datum
cdc_rows_value(uint64 row, int col)
{
	bool		isnull;
	Datum		value = cdc_rows_column(row, col, &isnull);

	if (isnull)
		elog(ERROR, "column \"%s\" in a table of cdc_sink is null",
			 NameStr(TupleDescAttr(SPI_tuptable->tupdesc, col - 1)->attname));
	return value;
}

/* How elements of the types that the tables have arrays of are stored. */
static void
storage_of(Oid type, int16 *len, bool *byval, char *align)
{
	switch (type)
	{
		case BOOLOID:
			*len = sizeof(bool);
			*byval = true;
			*align = TYPALIGN_CHAR;
			break;
		case INT4OID:
			*len = sizeof(int32);
			*byval = true;
			*align = TYPALIGN_INT;
			break;
		case OIDOID:
			*len = sizeof(Oid);
			*byval = true;
			*align = TYPALIGN_INT;
			break;
		case TEXTOID:
			*len = -1;
			*byval = false;
			*align = TYPALIGN_INT;
			break;
		default:
			elog(ERROR, "the tables of cdc_sink have no arrays of type %u", type);
	}
}

Datum
cdc_rows_array(Oid type, int n, Datum *elems)
{
	int16		len;
	bool		byval;
	char		align;

	storage_of(type, &len, &byval, &align);
	return PointerGetDatum(construct_array(elems, n, type, len, byval, align));
}

Datum
cdc_rows_text_array(int n, char *const *strings)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elems[i] = CStringGetTextDatum(strings[i]);
	return cdc_rows_array(TEXTOID, n, elems);
}

Datum
cdc_rows_oid_array(int n, const Oid *oids)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elems[i] = ObjectIdGetDatum(oids[i]);
	return cdc_rows_array(OIDOID, n, elems);
}

Datum *
cdc_rows_elements(Oid type, Datum array, bool **nulls, int *n)
{
	int16		len;
	bool		byval;
	char		align;
	Datum	   *elems;

	storage_of(type, &len, &byval, &align);
	deconstruct_array(DatumGetArrayTypeP(array), type, len, byval, align,
					  &elems, nulls, n);
	return elems;
}

char **
cdc_rows_strings(Datum array, int *n)
{
	bool	   *nulls;
	Datum	   *elems = cdc_rows_elements(TEXTOID, array, &nulls, n);
	char	  **strings = palloc(sizeof(char *) * Max(*n, 1));

	for (int i = 0; i < *n; i++)
		strings[i] = nulls[i] ? pstrdup("") : TextDatumGetCString(elems[i]);
	return strings;
}
