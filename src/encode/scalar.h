/*-------------------------------------------------------------------------
 * scalar.h
 *		Text of single values, written straight into a buffer.
 *
 * The cdc_put_ functions write at p and return the end.  They need no more
 * than CDC_SCALAR_ROOM bytes (cdc_put_hex: two for each byte) and write no
 * terminating zero that counts.  Quotes are included where JSON needs them.
 *
 * Runs: anywhere, no catalogs, no palloc.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SCALAR_H
#define CDC_SCALAR_H

#include "postgres.h"

#include "base/buf.h"
#include "datatype/timestamp.h"
#include "utils/date.h"

#define CDC_SCALAR_ROOM		64

extern char *cdc_put_float4(char *p, float4 value);
extern char *cdc_put_float8(char *p, float8 value);
extern char *cdc_put_date(char *p, DateADT date);
extern char *cdc_put_time(char *p, TimeADT time);

/* utc: value of a timestamptz, written with Z. */
extern char *cdc_put_timestamp(char *p, Timestamp t, bool utc);

extern char *cdc_put_uuid(char *p, const unsigned char *uuid);

/* Lower case hexadecimal digits, no quotes. */
extern char *cdc_put_hex(char *p, const unsigned char *bytes, size_t len);

/*
 * Appends a numeric that is not compressed and not out of line; it may have
 * a short header and need not be aligned.  The text is numeric_out's.
 */
extern void cdc_append_numeric_varlena(CdcBuf *out, const void *varlena);

#endif							/* CDC_SCALAR_H */
