/*-------------------------------------------------------------------------
 * member.c
 *		Rows of tables that joined or left a feed by rule; see member.h.
 *
 * Runs: lane workers, inside a transaction, between two drains.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/member.h"
#include "catalog/pg_type.h"
#include "catalog/rows.h"
#include "executor/spi.h"
#include "utils/builtins.h"

List *
cdc_members_load(int64 job_id)
{
	Datum		id = Int64GetDatum(job_id);
	Oid			type = INT8OID;
	MemoryContext caller = CurrentMemoryContext;
	List	   *members = NIL;
	int			nest = cdc_rows_begin();
	MemoryContext spi;
	uint64		n;

	n = cdc_rows_run("SELECT relid, joined, name, topic, columns"
					 " FROM cdc_sink.member WHERE job_id = $1 ORDER BY relid",
					 1, &type, &id, NULL, SPI_OK_SELECT);
	spi = MemoryContextSwitchTo(caller);
	for (uint64 i = 0; i < n; i++)
	{
		CdcStoredMember *member = palloc(sizeof(CdcStoredMember));
		bool		isnull;

		member->relid = DatumGetObjectId(cdc_rows_column(i, 1, &isnull));
		member->joined = DatumGetBool(cdc_rows_column(i, 2, &isnull));
		member->name = TextDatumGetCString(cdc_rows_column(i, 3, &isnull));
		member->topic = TextDatumGetCString(cdc_rows_column(i, 4, &isnull));
		member->columns = TextDatumGetCString(cdc_rows_column(i, 5, &isnull));
		members = lappend(members, member);
	}
	MemoryContextSwitchTo(spi);
	cdc_rows_end(nest);
	return members;
}

void
cdc_member_store(int64 job_id, const CdcStoredMember *member)
{
	static const Oid types[] = {INT8OID, OIDOID, BOOLOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[6];
	int			nest = cdc_rows_begin();

	values[0] = Int64GetDatum(job_id);
	values[1] = ObjectIdGetDatum(member->relid);
	values[2] = BoolGetDatum(member->joined);
	values[3] = CStringGetTextDatum(member->name);
	values[4] = CStringGetTextDatum(member->topic);
	values[5] = CStringGetTextDatum(member->columns);
	cdc_rows_run("INSERT INTO cdc_sink.member (job_id, relid, joined, name, topic, columns)"
				 " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (job_id, relid) DO UPDATE"
				 " SET joined = excluded.joined, columns = excluded.columns",
				 6, types, values, NULL, SPI_OK_INSERT);
	cdc_rows_end(nest);
}
