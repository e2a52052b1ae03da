/*-------------------------------------------------------------------------
 * history.c
 *		Positions in the past of a database's stream; see history.h.
 *
 * Runs: lane workers between two drains; backends (cdc_history_exact()).
 * Never in a decoding callback.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/history.h"
#include "catalog/pg_type.h"
#include "catalog/rows.h"
#include "executor/spi.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

int
cdc_history_read(CdcHistoryRow **rows)
{
	MemoryContext caller = CurrentMemoryContext;
	int			nest = cdc_rows_begin();
	uint64		n;

	n = cdc_rows_run("SELECT lsn, hlc_wall, hlc_logical, at"
					 " FROM cdc_sink.history ORDER BY lsn",
					 0, NULL, NULL, NULL, SPI_OK_SELECT);
	*rows = MemoryContextAlloc(caller, sizeof(CdcHistoryRow) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		(*rows)[i].lsn = DatumGetLSN(cdc_rows_value(i, 1));
		(*rows)[i].above.wall = DatumGetInt64(cdc_rows_value(i, 2));
		(*rows)[i].above.logical = (uint32) DatumGetInt64(cdc_rows_value(i, 3));
		(*rows)[i].at = DatumGetTimestampTz(cdc_rows_value(i, 4));
	}
	cdc_rows_end(nest);
	return (int) n;
}

void
cdc_history_insert(const CdcHistoryRow *row)
{
	static const Oid types[] = {LSNOID, INT8OID, INT8OID, TIMESTAMPTZOID};
	Datum		values[4];
	int			nest = cdc_rows_begin();

	values[0] = LSNGetDatum(row->lsn);
	values[1] = Int64GetDatum(row->above.wall);
	values[2] = Int64GetDatum((int64) row->above.logical);
	values[3] = TimestampTzGetDatum(row->at);
	cdc_rows_run("INSERT INTO cdc_sink.history (lsn, hlc_wall, hlc_logical, at)"
				 " VALUES ($1, $2, $3, $4) ON CONFLICT (lsn) DO NOTHING",
				 4, types, values, NULL, SPI_OK_INSERT);
	cdc_rows_end(nest);
}

void
cdc_history_delete(XLogRecPtr before, const XLogRecPtr *lsns, int n)
{
	static const Oid types[] = {LSNOID, TEXTARRAYOID};
	Datum		values[2];
	int			nest = cdc_rows_begin();
	char	  **strings = palloc(sizeof(char *) * Max(n, 1));

	for (int i = 0; i < n; i++)
		strings[i] = psprintf("%X/%X", LSN_FORMAT_ARGS(lsns[i]));
	values[0] = LSNGetDatum(before);
	values[1] = cdc_rows_text_array(n, strings);
	cdc_rows_run("DELETE FROM cdc_sink.history"
				 " WHERE lsn < $1 OR lsn = ANY ($2::pg_lsn[])",
				 2, types, values, NULL, SPI_OK_DELETE);
	cdc_rows_end(nest);
}

CdcHlc
cdc_history_highest(void)
{
	CdcHlc		highest = {0, 0};
	int			nest = cdc_rows_begin();

	if (cdc_rows_run("SELECT hlc_wall, hlc_logical FROM cdc_sink.checkpoint"
					 " UNION ALL SELECT high_water_wall, high_water_logical FROM cdc_sink.saved"
					 " ORDER BY 1 DESC, 2 DESC LIMIT 1",
					 0, NULL, NULL, NULL, SPI_OK_SELECT) > 0)
	{
		highest.wall = DatumGetInt64(cdc_rows_value(0, 1));
		highest.logical = (uint32) DatumGetInt64(cdc_rows_value(0, 2));
	}
	cdc_rows_end(nest);
	return highest;
}

XLogRecPtr
cdc_history_exact(CdcHlc stamp, XLogRecPtr floor, const Oid *relids, int nrelids)
{
	static const Oid types[] = {INT8OID, INT8OID, LSNOID, OIDARRAYOID};
	Datum		values[4];
	XLogRecPtr	lsn = InvalidXLogRecPtr;
	int			nest = cdc_rows_begin();

	values[0] = Int64GetDatum(stamp.wall);
	values[1] = Int64GetDatum((int64) stamp.logical);
	values[2] = LSNGetDatum(floor);
	values[3] = cdc_rows_oid_array(nrelids, relids);
	if (cdc_rows_run("SELECT c.resume_lsn FROM cdc_sink.checkpoint c"
					 " JOIN cdc_sink.definition d USING (job_id, version)"
					 " WHERE c.hlc_wall = $1 AND c.hlc_logical = $2"
					 " AND c.resume_lsn >= $3 AND c.scan_done"
					 " AND d.relids @> $4 AND $4 <> '{}'"
					 " AND NOT EXISTS (SELECT FROM cdc_sink.member m"
					 " WHERE m.job_id = c.job_id AND NOT m.joined)"
					 " ORDER BY 1 LIMIT 1",
					 4, types, values, NULL, SPI_OK_SELECT) > 0)
		lsn = DatumGetLSN(cdc_rows_value(0, 1));
	cdc_rows_end(nest);
	return lsn;
}
