/*-------------------------------------------------------------------------
 * buf.c
 *		Growable byte buffer in malloc'ed memory; see buf.h.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/buf.h"

#define CDC_BUF_MIN_CAP		1024
#define TRIM_MIN_CAP		8192

size_t		cdc_buf_allocated = 0;

void
cdc_buf_grow(CdcBuf *buf, size_t need)
{
	size_t		want;
	size_t		cap;
	char	   *data;

	if (need > CDC_BUF_MAX || buf->len > CDC_BUF_MAX - need)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("changefeed message exceeds the limit of %zu bytes",
						CDC_BUF_MAX)));
	want = buf->len + need;
	cap = Max(buf->cap * 2, CDC_BUF_MIN_CAP);
	while (cap < want)
		cap *= 2;
	data = realloc(buf->data, cap);
	if (data == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed to enlarge a changefeed buffer to %zu bytes.",
						   cap)));
	cdc_buf_allocated += cap - buf->cap;
	buf->data = data;
	buf->cap = cap;
}

void
cdc_buf_trim(CdcBuf *buf)
{
	char	   *data;

	if (buf->cap < TRIM_MIN_CAP || buf->len > buf->cap / 2)
		return;
	data = realloc(buf->data, Max(buf->len, 1));
	if (data == NULL)
		return;					/* it stays as it is */
	cdc_buf_allocated -= buf->cap - Max(buf->len, 1);
	buf->data = data;
	buf->cap = Max(buf->len, 1);
}

void
cdc_buf_free(CdcBuf *buf)
{
	cdc_buf_allocated -= buf->cap;
	free(buf->data);
	buf->data = NULL;
	buf->len = buf->cap = 0;
}
