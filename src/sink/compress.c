/*-------------------------------------------------------------------------
 * compress.c
 *		gzip by zlib, zstd by libzstd; see compress.h.
 *
 * Runs: anywhere, any thread.  Plain C and these two libraries only.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <zlib.h>
#include <zstd.h>

#include "sink/compress.h"

#define FIRST_ROOM		(16 * 1024)
#define GZIP_WINDOW		(15 + 16)	/* 32 kB, with gzip's header */
#define ZSTD_WINDOW_LOG	17			/* 128 kB: many streams may be open */
#define ZSTD_LEVEL		3

struct CdcCompressor
{
	CdcCompression kind;
	z_stream	zlib;
	ZSTD_CCtx  *zstd;
	char	   *data;
	size_t		len;
	size_t		cap;
};

CdcCompression
cdc_compression_parse(const char *text)
{
	if (text != NULL && strcmp(text, "gzip") == 0)
		return CDC_COMPRESS_GZIP;
	if (text != NULL && strcmp(text, "zstd") == 0)
		return CDC_COMPRESS_ZSTD;
	return CDC_COMPRESS_NONE;
}

CdcCompressor *
cdc_compressor_create(CdcCompression kind)
{
	CdcCompressor *c = calloc(1, sizeof(CdcCompressor));

	if (c == NULL)
		return NULL;
	c->kind = kind;
	if (kind == CDC_COMPRESS_GZIP)
	{
		if (deflateInit2(&c->zlib, Z_DEFAULT_COMPRESSION, Z_DEFLATED,
						 GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) == Z_OK)
			return c;
	}
	else
	{
		c->zstd = ZSTD_createCCtx();
		if (c->zstd != NULL &&
			!ZSTD_isError(ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL)) &&
			!ZSTD_isError(ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_windowLog, ZSTD_WINDOW_LOG)) &&
			!ZSTD_isError(ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_checksumFlag, 1)))
			return c;
		ZSTD_freeCCtx(c->zstd);
	}
	free(c);
	return NULL;
}

static bool
make_room(CdcCompressor *c)
{
	size_t		cap;
	char	   *data;

	if (c->cap - c->len >= FIRST_ROOM / 2)
		return true;
	cap = Max(c->cap * 2, FIRST_ROOM);
	data = realloc(c->data, cap);
	if (data == NULL)
		return false;
	c->data = data;
	c->cap = cap;
	return true;
}

static bool
add_gzip(CdcCompressor *c, const char *data, size_t len, bool end)
{
	int			rc = Z_OK;

	do
	{
		size_t		piece = Min(len, (size_t) 1 << 30);

		c->zlib.next_in = (Bytef *) unconstify(char *, data);
		c->zlib.avail_in = (uInt) piece;
		do
		{
			size_t		room;

			if (!make_room(c))
				return false;
			room = Min(c->cap - c->len, (size_t) 1 << 30);
			c->zlib.next_out = (Bytef *) c->data + c->len;
			c->zlib.avail_out = (uInt) room;
			rc = deflate(&c->zlib, end && piece == len ? Z_FINISH : Z_NO_FLUSH);
			if (rc == Z_STREAM_ERROR)
				return false;
			c->len += room - c->zlib.avail_out;
		} while (c->zlib.avail_out == 0);
		data += piece;
		len -= piece;
	} while (len > 0);
	return !end || rc == Z_STREAM_END;
}

static bool
add_zstd(CdcCompressor *c, const char *data, size_t len, bool end)
{
	ZSTD_inBuffer in = {data, len, 0};

	for (;;)
	{
		ZSTD_outBuffer out;
		size_t		left;

		if (!make_room(c))
			return false;
		out.dst = c->data + c->len;
		out.size = c->cap - c->len;
		out.pos = 0;
		left = ZSTD_compressStream2(c->zstd, &out, &in,
									end ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return false;
		c->len += out.pos;
		if (end ? left == 0 : in.pos == in.size)
			return true;
	}
}

bool
cdc_compressor_add(CdcCompressor *c, const char *data, size_t len)
{
	return c->kind == CDC_COMPRESS_GZIP ?
		add_gzip(c, data, len, false) : add_zstd(c, data, len, false);
}

size_t
cdc_compressor_size(const CdcCompressor *c)
{
	return c->len;
}

void
cdc_compressor_take(CdcCompressor *c, char **data, size_t *len)
{
	*data = c->data;
	*len = c->len;
	c->data = NULL;
	c->len = c->cap = 0;
}

bool
cdc_compressor_finish(CdcCompressor *c, char **data, size_t *len)
{
	if (!(c->kind == CDC_COMPRESS_GZIP ?
		  add_gzip(c, "", 0, true) : add_zstd(c, "", 0, true)))
		return false;
	cdc_compressor_take(c, data, len);
	return true;
}

void
cdc_compressor_free(CdcCompressor *c)
{
	if (c == NULL)
		return;
	if (c->kind == CDC_COMPRESS_GZIP)
		deflateEnd(&c->zlib);
	else
		ZSTD_freeCCtx(c->zstd);
	free(c->data);
	free(c);
}
