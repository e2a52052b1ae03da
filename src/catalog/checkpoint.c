/*-------------------------------------------------------------------------
 * checkpoint.c
 *		Where a feed stands, durably, and the messages it had to give up.
 *
 * The order of durability is the caller's: the sink has acknowledged, then
 * this row is committed and flushed, then the slot may be confirmed, then
 * resolved is sent.  The row is rewritten many times a second, hence the
 * saved plan.
 *
 * Runs: lane workers, inside a transaction, between two drains.  Never in a
 * decoding callback.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/job.h"
#include "catalog/pg_type.h"
#include "catalog/rows.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"

void
cdc_checkpoint_write(const CdcCheckpoint *cp)
{
	static SPIPlanPtr plan = NULL;
	Datum		values[8];
	char		nulls[] = "        ";
	int			nest = cdc_rows_begin();
	int			rc;

	if (plan == NULL)
	{
		Oid			types[] = {INT8OID, INT4OID, LSNOID, INT8OID, INT8OID,
		BOOLOID, INT8OID, INT8OID};
		SPIPlanPtr	fresh;

		fresh = SPI_prepare("UPDATE cdc_sink.checkpoint SET version = $2,"
							" resume_lsn = $3, hlc_wall = $4, hlc_logical = $5,"
							" scan_done = $6, high_water_wall = $7,"
							" high_water_logical = $8,"
							" updated_at = clock_timestamp() WHERE job_id = $1",
							lengthof(types), types);
		if (fresh == NULL || SPI_keepplan(fresh) != 0)
			elog(ERROR, "could not prepare the checkpoint statement");
		plan = fresh;
	}

	values[0] = Int64GetDatum(cp->job_id);
	values[1] = Int32GetDatum(cp->version);
	values[2] = LSNGetDatum(cp->resume_lsn);
	values[3] = Int64GetDatum(cp->hlc.wall);
	values[4] = Int64GetDatum((int64) cp->hlc.logical);
	values[5] = BoolGetDatum(cp->scan_done);
	values[6] = Int64GetDatum(cp->high_water.wall);
	values[7] = Int64GetDatum((int64) cp->high_water.logical);
	if (XLogRecPtrIsInvalid(cp->resume_lsn))
		nulls[2] = 'n';

	rc = SPI_execute_plan(plan, values, nulls, false, 0);
	if (rc != SPI_OK_UPDATE || SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not write the checkpoint of job " INT64_FORMAT,
						cp->job_id)));
	cdc_rows_end(nest);
}

void
cdc_checkpoint_answer(int64 job_id, XLogRecPtr lsn)
{
	static const Oid types[] = {INT8OID, LSNOID};
	Datum		values[2];
	int			nest = cdc_rows_begin();

	values[0] = Int64GetDatum(job_id);
	values[1] = LSNGetDatum(lsn);
	cdc_rows_run("UPDATE cdc_sink.checkpoint SET answered_lsn = $2 WHERE job_id = $1",
				 2, types, values, NULL, SPI_OK_UPDATE);
	cdc_rows_end(nest);
}

static void *
shape_in_row(uint64 row)
{
	CdcStoredShape *shape = palloc(sizeof(CdcStoredShape));

	shape->relid = DatumGetObjectId(cdc_rows_value(row, 1));
	shape->schema_version = DatumGetInt32(cdc_rows_value(row, 2));
	shape->text = TextDatumGetCString(cdc_rows_value(row, 3));
	return shape;
}

List *
cdc_shapes_load(int64 job_id)
{
	return cdc_rows_list(job_id, "SELECT relid, schema_version, shape"
						 " FROM cdc_sink.shape WHERE job_id = $1",
						 shape_in_row);
}

void
cdc_shape_store(int64 job_id, const CdcStoredShape *shape)
{
	static const Oid types[] = {INT8OID, OIDOID, INT4OID, TEXTOID};
	Datum		values[4];
	int			nest = cdc_rows_begin();

	values[0] = Int64GetDatum(job_id);
	values[1] = ObjectIdGetDatum(shape->relid);
	values[2] = Int32GetDatum(shape->schema_version);
	values[3] = CStringGetTextDatum(shape->text);
	cdc_rows_run("INSERT INTO cdc_sink.shape (job_id, relid, schema_version, shape)"
				 " VALUES ($1, $2, $3, $4) ON CONFLICT (job_id, relid) DO UPDATE"
				 " SET schema_version = excluded.schema_version, shape = excluded.shape",
				 4, types, values, NULL, SPI_OK_INSERT);
	cdc_rows_end(nest);
}

static Datum
bytes_datum(const char *data, int len)
{
	bytea	   *b = palloc(VARHDRSZ + len);

	SET_VARSIZE(b, VARHDRSZ + len);
	memcpy(VARDATA(b), data, len);
	return PointerGetDatum(b);
}

void
cdc_dead_letter_insert(int64 job_id, const char *topic, const char *key,
					   int key_len, const char *value, int value_len,
					   XLogRecPtr lsn, CdcHlc updated, const char *error)
{
	static const Oid types[] = {INT8OID, TEXTOID, BYTEAOID, BYTEAOID, LSNOID,
	NUMERICOID, TEXTOID};
	Datum		values[7];
	char		nulls[] = "       ";
	char		stamp[CDC_HLC_TEXT_SIZE];
	int			nest = cdc_rows_begin();

	cdc_hlc_print(stamp, updated);
	values[0] = Int64GetDatum(job_id);
	values[1] = CStringGetTextDatum(topic);
	values[2] = key ? bytes_datum(key, key_len) : (Datum) 0;
	values[3] = value ? bytes_datum(value, value_len) : (Datum) 0;
	values[4] = LSNGetDatum(lsn);
	values[5] = DirectFunctionCall3(numeric_in, CStringGetDatum(stamp),
									ObjectIdGetDatum(InvalidOid),
									Int32GetDatum(-1));
	values[6] = CStringGetTextDatum(error);
	if (key == NULL)
		nulls[2] = 'n';
	if (value == NULL)
		nulls[3] = 'n';
	cdc_rows_run("INSERT INTO cdc_sink.dead_letter (job_id, topic, key, value,"
				 " lsn, updated, error) VALUES ($1, $2, $3, $4, $5, $6, $7)",
				 7, types, values, nulls, SPI_OK_INSERT);
	cdc_rows_end(nest);
}
