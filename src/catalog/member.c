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

static void *
member_in_row(uint64 row)
{
	CdcStoredMember *member = palloc(sizeof(CdcStoredMember));

	member->relid = DatumGetObjectId(cdc_rows_value(row, 1));
	member->joined = DatumGetBool(cdc_rows_value(row, 2));
	member->name = TextDatumGetCString(cdc_rows_value(row, 3));
	member->topic = TextDatumGetCString(cdc_rows_value(row, 4));
	member->columns = TextDatumGetCString(cdc_rows_value(row, 5));
	return member;
}

List *
cdc_members_load(int64 job_id)
{
	return cdc_rows_list(job_id, "SELECT relid, joined, name, topic, columns"
						 " FROM cdc_sink.member WHERE job_id = $1 ORDER BY relid",
						 member_in_row);
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
