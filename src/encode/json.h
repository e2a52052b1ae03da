/*-------------------------------------------------------------------------
 * json.h
 *		JSON text: strings, jsonb and json values.
 *
 * The output is always valid UTF-8 on one line, whatever the encoding of
 * the database.  Separators are ", " and ": ".
 *
 * Runs: as encode.h.  Allocates nothing for strings in a UTF-8 database.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_JSON_H
#define CDC_JSON_H

#include "postgres.h"

#include "base/buf.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* Appends a string of the database's encoding with its quotes, escaped. */
extern void cdc_json_string(CdcBuf *out, const char *s, size_t len);

/* The same as a palloc'ed text in "cxt". */
extern char *cdc_json_quote(MemoryContext cxt, const char *s);

/* "name": "text", with a separator behind it; the name is as it is to stand. */
extern void cdc_json_member(StringInfo out, const char *name, const char *text);

/*
 * Appends the value of a jsonb, whose root must be aligned for integers.
 * Members are in byte order of their names (jsonb keeps them by length
 * first).  Takes no C stack however deep the value is.
 */
extern void cdc_json_jsonb(CdcBuf *out, const JsonbContainer *root);

/*
 * Appends valid JSON text (type json) with the white space between its
 * tokens brought to our style.  Order and repetition of members stay.
 */
extern void cdc_json_text(CdcBuf *out, const char *s, size_t len);

#endif							/* CDC_JSON_H */
