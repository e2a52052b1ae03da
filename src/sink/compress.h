/*-------------------------------------------------------------------------
 * compress.h
 *		Compression of files and requests: bytes in, malloc'ed blocks out.
 *
 * Runs: anywhere, any thread.  Nothing of the server is called.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_COMPRESS_H
#define CDC_COMPRESS_H

#include "postgres.h"

typedef enum CdcCompression
{
	CDC_COMPRESS_NONE,
	CDC_COMPRESS_GZIP,
	CDC_COMPRESS_ZSTD,
} CdcCompression;

typedef struct CdcCompressor CdcCompressor;

/* "gzip", "zstd"; NULL and anything else: none. */
extern CdcCompression cdc_compression_parse(const char *text);

/* NULL: out of memory.  About a megabyte each. */
extern CdcCompressor *cdc_compressor_create(CdcCompression kind);

/* False: out of memory; it is of no use any more. */
extern bool cdc_compressor_add(CdcCompressor *c, const char *data, size_t len);

/* Bytes that have come out and were not taken yet; lags behind what went in. */
extern size_t cdc_compressor_size(const CdcCompressor *c);

/* Hands these over; *data is the caller's to free(), NULL if there are none. */
extern void cdc_compressor_take(CdcCompressor *c, char **data, size_t *len);

/*
 * Ends the stream and hands over what was not taken; *data is the caller's to
 * free().  False as above.
 */
extern bool cdc_compressor_finish(CdcCompressor *c, char **data, size_t *len);

/* NULL is fine. */
extern void cdc_compressor_free(CdcCompressor *c);

#endif							/* CDC_COMPRESS_H */
