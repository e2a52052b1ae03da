/*-------------------------------------------------------------------------
 * buf.h
 *		Growable byte buffer in malloc'ed memory.
 *
 * Bytes of messages outlive memory contexts (a sink library may hold them
 * until the broker has answered), so they live outside of palloc.  Every
 * byte is counted in cdc_buf_allocated, which is what the lane's memory
 * budget reads.
 *
 * Runs: any PostgreSQL process, main thread only.  May raise
 * ERRCODE_OUT_OF_MEMORY or ERRCODE_PROGRAM_LIMIT_EXCEEDED.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_BUF_H
#define CDC_BUF_H

#include "postgres.h"

/* One message can never be larger than this. */
#define CDC_BUF_MAX		((size_t) 0x3fffffff)

/* Length of a part of a message that is absent. */
#define CDC_LEN_NULL	PG_UINT32_MAX

typedef struct CdcBuf
{
	char	   *data;			/* malloc'ed, NULL while cap is 0 */
	size_t		len;			/* bytes in use */
	size_t		cap;			/* bytes allocated */
} CdcBuf;

extern size_t cdc_buf_allocated;	/* sum of cap over all buffers of this process */

/* Makes room for "need" more bytes; the slow path of cdc_buf_reserve. */
extern void cdc_buf_grow(CdcBuf *buf, size_t need);

/* Gives the memory back; the buffer is empty and usable afterwards. */
extern void cdc_buf_free(CdcBuf *buf);

/* Gives back room that is far more than the bytes in use. */
extern void cdc_buf_trim(CdcBuf *buf);

/* Pointer to at least "need" writable bytes at the end; does not move len. */
static inline char *
cdc_buf_reserve(CdcBuf *buf, size_t need)
{
	if (unlikely(buf->cap - buf->len < need))
		cdc_buf_grow(buf, need);
	return buf->data + buf->len;
}

static inline void
cdc_buf_append(CdcBuf *buf, const char *bytes, size_t len)
{
	memcpy(cdc_buf_reserve(buf, len), bytes, len);
	buf->len += len;
}

static inline void
cdc_buf_append_char(CdcBuf *buf, char c)
{
	*cdc_buf_reserve(buf, 1) = c;
	buf->len++;
}

/* String constants only. */
#define cdc_buf_append_lit(buf, lit) cdc_buf_append(buf, lit, sizeof(lit) - 1)

#endif							/* CDC_BUF_H */
