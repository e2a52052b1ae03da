/*-------------------------------------------------------------------------
 * row_headers.h
 *		Headers of a message, out of a JSON column of its row.
 *
 * In the buffer of a message headers are one after the other: CdcHeaderLens,
 * the name with a terminating zero, the value.  Nothing is aligned.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_ROW_HEADERS_H
#define CDC_ROW_HEADERS_H

#include "postgres.h"

#include "base/buf.h"

/* All headers of a message together. */
#define CDC_ROW_HEADERS_MAX		(1024 * 1024)

typedef enum CdcHeadersKind
{
	CDC_HEADERS_JSONB,
	CDC_HEADERS_JSON,
	CDC_HEADERS_NONE,			/* the column is of another type */
} CdcHeadersKind;

typedef struct CdcHeaderLens
{
	uint32		name;			/* without its terminating zero */
	uint32		value;
} CdcHeaderLens;

extern CdcHeadersKind cdc_headers_kind(Oid type);

/*
 * Appends a header for each member of an object: the characters of a string,
 * the JSON text of any other value.  What is not an object has none.
 */
extern void cdc_headers_append(CdcBuf *out, Datum value, CdcHeadersKind kind);

/*
 * Reads the next header at *p, which it moves on; false at the end.  Any
 * thread may call it.
 */
static inline bool
cdc_headers_next(const char **p, const char *end, const char **name,
				 const char **value, CdcHeaderLens *lens)
{
	if (*p >= end)
		return false;
	memcpy(lens, *p, sizeof(*lens));
	*name = *p + sizeof(*lens);
	*value = *name + lens->name + 1;
	*p = *value + lens->value;
	return true;
}

#endif							/* CDC_ROW_HEADERS_H */
