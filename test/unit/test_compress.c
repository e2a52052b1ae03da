/*-------------------------------------------------------------------------
 * test_compress.c
 *		What goes through a compressor comes back, whatever the pieces.
 *-------------------------------------------------------------------------
 */
/* sources: src/sink/compress.c */
/* libs: -lz -lzstd */
#include "postgres.h"

#include <zlib.h>
#include <zstd.h>

#include "sink/compress.h"

#undef printf
#undef fprintf

static int	failures = 0;

static void
check(bool ok, const char *what, size_t n)
{
	if (!ok)
	{
		printf("failed: %s (%zu bytes)\n", what, n);
		failures++;
	}
}

static size_t
expand(CdcCompression kind, const char *data, size_t len, char *dst, size_t size)
{
	z_stream	z;
	size_t		n;

	if (kind == CDC_COMPRESS_ZSTD)
	{
		n = ZSTD_decompress(dst, size, data, len);
		return ZSTD_isError(n) ? (size_t) -1 : n;
	}
	memset(&z, 0, sizeof(z));
	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return (size_t) -1;
	z.next_in = (Bytef *) unconstify(char *, data);
	z.avail_in = len;
	z.next_out = (Bytef *) dst;
	z.avail_out = size;
	n = inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_in == 0 ? z.total_out : (size_t) -1;
	inflateEnd(&z);
	return n;
}

static void
round_trip(CdcCompression kind, const char *data, size_t len, size_t piece)
{
	CdcCompressor *c = cdc_compressor_create(kind);
	char	   *out = NULL;
	char	   *back = malloc(len + 1);
	size_t		out_len = 0;
	size_t		seen = 0;

	for (size_t i = 0; i < len; i += piece)
	{
		check(cdc_compressor_add(c, data + i, Min(piece, len - i)), "add", i);
		check(cdc_compressor_size(c) >= seen, "size grows", seen);
		seen = cdc_compressor_size(c);
	}
	check(cdc_compressor_finish(c, &out, &out_len), "finish", len);
	check(expand(kind, out, out_len, back, len + 1) == len &&
		  memcmp(data, back, len) == 0, "the same again", len);
	free(out);
	free(back);
	cdc_compressor_free(c);

	/* given up half way */
	c = cdc_compressor_create(kind);
	check(cdc_compressor_add(c, data, len / 2), "add", len);
	cdc_compressor_free(c);
}

int
main(void)
{
	static const CdcCompression kinds[] = {CDC_COMPRESS_GZIP, CDC_COMPRESS_ZSTD};
	size_t		size = 3 * 1024 * 1024;
	char	   *data = malloc(size);
	uint32		seed = 1;

	for (size_t i = 0; i < size; i++)
	{
		/* half of it is noise */
		seed = seed * 1664525 + 1013904223;
		data[i] = (i / 4096) % 2 ? (char) (seed >> 24) : "{\"after\": 1}\n"[i % 13];
	}
	for (int k = 0; k < lengthof(kinds); k++)
	{
		round_trip(kinds[k], data, 0, 1);
		round_trip(kinds[k], data, 1, 1);
		round_trip(kinds[k], data, 20000, 1);
		round_trip(kinds[k], data, size, 100);
		round_trip(kinds[k], data, size, size);
	}
	cdc_compressor_free(NULL);
	check(cdc_compression_parse("gzip") == CDC_COMPRESS_GZIP, "gzip", 0);
	check(cdc_compression_parse("zstd") == CDC_COMPRESS_ZSTD, "zstd", 0);
	check(cdc_compression_parse(NULL) == CDC_COMPRESS_NONE, "none", 0);
	free(data);
	return failures > 0;
}
