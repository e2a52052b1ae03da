/*-------------------------------------------------------------------------
 * debezium_value.c
 *		Numbers, bytes, arrays and the rest as Debezium's PostgreSQL
 *		connector writes them; see debezium.h.
 *
 * Runs: decoding callbacks of a lane, scan workers.  Reads catalogs only
 * through output functions.  Must never recurse without bound: arrays have
 * no arrays inside.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/tupmacs.h"
#include "base/compat.h"
#include "common/shortest_dec.h"
#include "encode/debezium.h"
#include "encode/json.h"
#include "encode/scalar.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/cash.h"
#include "utils/geo_decls.h"
#include "utils/varbit.h"

#define CASH_DIGITS		2		/* of the fraction */

/* A hstore's text while it is rewritten; kept for the next one. */
static CdcBuf scratch;

static inline char *
tail(CdcBuf *out)
{
	return out->data + out->len;
}

void
cdc_dbz_oid(CdcDatum *datum, CdcBuf *out, Datum value)
{
	out->len += pg_ultoa_n(DatumGetObjectId(value), tail(out));
}

/* ---- floats, in the style of Java ---- */

/*
 * Plain between 1e-3 and 1e7, else with an exponent; always a digit behind
 * the point.  "text" is the shortest decimal, in PostgreSQL's style.
 */
static char *
put_java_number(char *p, const char *text)
{
	char		digits[32];
	int			n = 0;
	int			point = 0;		/* digits before the point */
	bool		seen_point = false;

	if (*text == '-')
		*p++ = *text++;
	for (; *text != '\0' && *text != 'e'; text++)
	{
		if (*text == '.')
			seen_point = true;
		else
		{
			if (n > 0 || *text != '0')
				digits[n++] = *text;
			if (seen_point)
			{
				if (n == 0)
					point--;
			}
			else if (n > 0)
				point++;
		}
	}
	if (*text == 'e')
		point += atoi(text + 1);
	while (n > 1 && digits[n - 1] == '0')
		n--;
	if (n == 0)
	{
		memcpy(p, "0.0", 3);
		return p + 3;
	}

	if (point > -3 && point <= 7)
	{
		if (point <= 0)
		{
			*p++ = '0';
			*p++ = '.';
			for (int i = point; i < 0; i++)
				*p++ = '0';
			memcpy(p, digits, n);
			return p + n;
		}
		for (int i = 0; i < Max(point, n); i++)
		{
			if (i == point)
				*p++ = '.';
			*p++ = i < n ? digits[i] : '0';
		}
		if (n <= point)
		{
			*p++ = '.';
			*p++ = '0';
		}
		return p;
	}
	*p++ = digits[0];
	*p++ = '.';
	if (n == 1)
		*p++ = '0';
	else
	{
		memcpy(p, digits + 1, n - 1);
		p += n - 1;
	}
	*p++ = 'E';
	return p + cdc_compat_ltoa(point - 1, p);
}

static char *
put_not_finite(char *p, double v)
{
	const char *text = isnan(v) ? "\"NaN\"" : v < 0 ? "\"-Infinity\"" : "\"Infinity\"";
	size_t		len = strlen(text);

	memcpy(p, text, len);
	return p + len;
}

static char *
put_java_double(char *p, double v)
{
	char		text[64];

	if (isnan(v) || isinf(v))
		return put_not_finite(p, v);
	double_to_shortest_decimal_buf(v, text);

	/* of numbers with hardly a digit, Java has two all the same */
	if (unlikely(v != 0 && fabs(v) < 1e-300))
	{
		char		two[32];

		snprintf(two, sizeof(two), "%.1e", v);
		if (strtod(two, NULL) == v)
			return put_java_number(p, two);
	}
	return put_java_number(p, text);
}

void
cdc_dbz_float4(CdcDatum *datum, CdcBuf *out, Datum value)
{
	float4		v = DatumGetFloat4(value);
	char		text[64];
	char	   *p = tail(out);

	if (isnan(v) || isinf(v))
		p = put_not_finite(p, v);
	else
	{
		float_to_shortest_decimal_buf(v, text);
		if (unlikely(v != 0 && fabsf(v) < 1e-38f))
		{
			char		two[32];

			snprintf(two, sizeof(two), "%.1e", (double) v);
			if (strtof(two, NULL) == v)
				strlcpy(text, two, sizeof(text));
		}
		p = put_java_number(p, text);
	}
	out->len = p - out->data;
}

void
cdc_dbz_float8(CdcDatum *datum, CdcBuf *out, Datum value)
{
	out->len = put_java_double(tail(out), DatumGetFloat8(value)) - out->data;
}

/* ---- bytes ---- */

static const char base64_std[] =
"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64_url[] =
"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void
put_base64(CdcBuf *out, const unsigned char *data, size_t len, const char *alphabet)
{
	char	   *p = cdc_buf_reserve(out, (len + 2) / 3 * 4 + 2 + CDC_DATUM_ROOM);

	*p++ = '"';
	for (; len >= 3; len -= 3, data += 3)
	{
		*p++ = alphabet[data[0] >> 2];
		*p++ = alphabet[(data[0] & 0x03) << 4 | data[1] >> 4];
		*p++ = alphabet[(data[1] & 0x0f) << 2 | data[2] >> 6];
		*p++ = alphabet[data[2] & 0x3f];
	}
	if (len > 0)
	{
		*p++ = alphabet[data[0] >> 2];
		if (len == 2)
		{
			*p++ = alphabet[(data[0] & 0x03) << 4 | data[1] >> 4];
			*p++ = alphabet[(data[1] & 0x0f) << 2];
		}
		else
		{
			*p++ = alphabet[(data[0] & 0x03) << 4];
			*p++ = '=';
		}
		*p++ = '=';
	}
	*p++ = '"';
	out->len = p - out->data;
}

void
cdc_dbz_put_bytes(CdcBuf *out, const char *data, size_t len, CdcDebeziumBinary mode)
{
	const unsigned char *bytes = (const unsigned char *) data;
	char	   *p;

	switch (mode)
	{
		case CDC_DBZ_BINARY_BYTES:
		case CDC_DBZ_BINARY_BASE64:
			put_base64(out, bytes, len, base64_std);
			break;
		case CDC_DBZ_BINARY_BASE64_URL:
			put_base64(out, bytes, len, base64_url);
			break;
		case CDC_DBZ_BINARY_HEX:
			p = cdc_buf_reserve(out, len * 2 + 2 + CDC_DATUM_ROOM);
			*p++ = '"';
			p = cdc_put_hex(p, bytes, len);
			*p++ = '"';
			out->len = p - out->data;
			break;
	}
}

void
cdc_dbz_bytea(CdcDatum *datum, CdcBuf *out, Datum value)
{
	bytea	   *v = DatumGetByteaPP(value);

	cdc_dbz_put_bytes(out, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v),
					  ((CdcDebeziumState *) datum->state)->opts->binary);
	cdc_datum_release(v, value);
}

/* A bit string of one: true or false. */
void
cdc_dbz_bit(CdcDatum *datum, CdcBuf *out, Datum value)
{
	VarBit	   *v = DatumGetVarBitP(value);

	if (VARBITLEN(v) > 0 && (VARBITS(v)[0] & 0x80) != 0)
		cdc_buf_append_lit(out, "true");
	else
		cdc_buf_append_lit(out, "false");
	cdc_datum_release(v, value);
}

/*
 * As a number whose lowest bit is the last one, lowest byte first, without
 * zero bytes at the high end.
 */
void
cdc_dbz_bits(CdcDatum *datum, CdcBuf *out, Datum value)
{
	VarBit	   *v = DatumGetVarBitP(value);
	int			nbits = VARBITLEN(v);
	int			nbytes = VARBITBYTES(v);
	int			shift = nbytes * BITS_PER_BYTE - nbits;
	bits8	   *bits = VARBITS(v);
	unsigned char *bytes = palloc(nbytes + 1);
	int			n = 0;

	for (int i = nbytes - 1; i >= 0; i--)
		bytes[n++] = (unsigned char)
			(bits[i] >> shift | (i > 0 ? bits[i - 1] << (BITS_PER_BYTE - shift) : 0));
	while (n > 0 && bytes[n - 1] == 0)
		n--;
	put_base64(out, bytes, n, base64_std);
	pfree(bytes);
	cdc_datum_release(v, value);
}

/* ---- decimals ---- */

/* Appends a whole number of any size in binary: two's complement, high byte first. */
static void
put_unscaled(CdcBuf *out, bool negative, const char *digits, size_t n)
{
	size_t		nlimbs = 0;
	size_t		room = n / 9 + 2;
	uint32		small[16];
	uint32	   *limbs = room <= lengthof(small) ? small : palloc(room * sizeof(uint32));
	size_t		nbytes;
	unsigned char *bytes;

	/* nine digits at a time, lowest limb first */
	for (size_t i = 0; i < n;)
	{
		uint32		chunk = 0;
		uint32		factor = 1;
		uint64		carry;

		do
		{
			chunk = chunk * 10 + (digits[i++] - '0');
			factor *= 10;
		} while (i < n && i % 9 != 0);
		carry = chunk;
		for (size_t j = 0; j < nlimbs; j++)
		{
			carry += (uint64) limbs[j] * factor;
			limbs[j] = (uint32) carry;
			carry >>= 32;
		}
		if (carry > 0)
			limbs[nlimbs++] = (uint32) carry;
	}

	/* one byte more than the number has, for the sign */
	nbytes = nlimbs * 4 + 1;
	bytes = palloc(nbytes);
	bytes[0] = 0;
	for (size_t i = 0; i < nlimbs; i++)
	{
		unsigned char *b = bytes + nbytes - 4 * (i + 1);

		b[0] = limbs[i] >> 24;
		b[1] = limbs[i] >> 16;
		b[2] = limbs[i] >> 8;
		b[3] = limbs[i];
	}
	if (negative)
	{
		uint32		carry = 1;

		for (size_t i = nbytes; i-- > 0;)
		{
			carry += (unsigned char) ~bytes[i];
			bytes[i] = (unsigned char) carry;
			carry >>= 8;
		}
	}
	if (limbs != small)
		pfree(limbs);

	/* leading bytes that only repeat the sign go */
	{
		size_t		skip = 0;

		while (skip + 1 < nbytes &&
			   ((bytes[skip] == 0x00 && bytes[skip + 1] < 0x80) ||
				(bytes[skip] == 0xff && bytes[skip + 1] >= 0x80)))
			skip++;
		put_base64(out, bytes + skip, nbytes - skip, base64_std);
	}
	pfree(bytes);
}

/*
 * The digits of a numeric without its point, palloc'ed; false: it is not a
 * number.
 */
static bool
numeric_digits(CdcBuf *out, Datum value, char **digits, size_t *n, int *scale,
			   bool *negative)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);
	size_t		start = out->len;
	const char *p;
	const char *end;

	/* the text goes where the result will go, and is taken back */
	cdc_append_numeric_varlena(out, v);
	cdc_datum_release(v, value);
	p = out->data + start;
	end = out->data + out->len;
	out->len = start;
	if (*p == '"')
		return false;
	*negative = *p == '-';
	if (*negative)
		p++;
	*digits = palloc(end - p + 1);
	*n = 0;
	*scale = 0;
	for (; p < end; p++)
	{
		if (*p == '.')
			*scale = (int) (end - p - 1);
		else
			(*digits)[(*n)++] = *p;
	}
	return true;
}

void
cdc_dbz_decimal(CdcDatum *datum, CdcBuf *out, Datum value)
{
	CdcDebeziumState *state = datum->state;
	char	   *digits;
	size_t		n;
	int			scale;
	bool		negative;

	if (!numeric_digits(out, value, &digits, &n, &scale, &negative))
	{
		cdc_buf_append_lit(out, "null");
		return;
	}

	/* a scale below zero: the column's values end in so many zeros */
	for (; scale > state->scale && n > 1; scale--)
		n--;
	put_unscaled(out, negative, digits, n);
	pfree(digits);
}

void
cdc_dbz_decimal_variable(CdcDatum *datum, CdcBuf *out, Datum value)
{
	char	   *digits;
	size_t		n;
	int			scale;
	bool		negative;

	if (!numeric_digits(out, value, &digits, &n, &scale, &negative))
	{
		cdc_buf_append_lit(out, "null");
		return;
	}

	/* zeros at the end of the fraction go */
	for (; scale > 0 && n > 1 && digits[n - 1] == '0'; scale--)
		n--;
	cdc_buf_append_lit(out, "{\"scale\":");
	out->len += cdc_compat_ltoa(scale, cdc_buf_reserve(out, 16));
	cdc_buf_append_lit(out, ",\"value\":");
	put_unscaled(out, negative, digits, n);
	cdc_buf_append_char(out, '}');
	pfree(digits);
}

void
cdc_dbz_decimal_string(CdcDatum *datum, CdcBuf *out, Datum value)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);
	size_t		start = out->len;

	cdc_buf_append_char(out, '"');
	cdc_append_numeric_varlena(out, v);
	if (out->data[start + 1] == '"')
	{
		/* NaN has quotes already */
		memmove(out->data + start, out->data + start + 1, out->len - start - 1);
		out->len--;
	}
	else
		cdc_buf_append_char(out, '"');
	cdc_datum_release(v, value);
}

void
cdc_dbz_decimal_double(CdcDatum *datum, CdcBuf *out, Datum value)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);
	size_t		start = out->len;
	double		number;

	cdc_append_numeric_varlena(out, v);
	cdc_datum_release(v, value);
	if (out->data[start] == '"')
		return;
	cdc_buf_append_char(out, '\0');
	number = strtod(out->data + start, NULL);
	out->len = start;
	out->len = put_java_double(cdc_buf_reserve(out, CDC_DATUM_ROOM), number) - out->data;
}

/* ---- money ---- */

/* "-12.34" */
static char *
put_cash(char *p, Cash cash)
{
	uint64		v = cash < 0 ? (uint64) 0 - (uint64) cash : (uint64) cash;

	return p + sprintf(p, "%s" UINT64_FORMAT ".%02d", cash < 0 ? "-" : "", v / 100,
					   (int) (v % 100));
}

void
cdc_dbz_money(CdcDatum *datum, CdcBuf *out, Datum value)
{
	Cash		cash = DatumGetCash(value);
	uint64		v = cash < 0 ? (uint64) 0 - (uint64) cash : (uint64) cash;
	char		digits[32];

	put_unscaled(out, cash < 0, digits, sprintf(digits, UINT64_FORMAT, v));
}

void
cdc_dbz_money_string(CdcDatum *datum, CdcBuf *out, Datum value)
{
	char	   *p = tail(out);

	*p++ = '"';
	p = put_cash(p, DatumGetCash(value));
	*p++ = '"';
	out->len = p - out->data;
}

void
cdc_dbz_money_double(CdcDatum *datum, CdcBuf *out, Datum value)
{
	char		text[32];

	*put_cash(text, DatumGetCash(value)) = '\0';
	out->len = put_java_double(tail(out), strtod(text, NULL)) - out->data;
}

/* ---- by output function ---- */

void
cdc_dbz_output(CdcDatum *datum, CdcBuf *out, Datum value)
{
	char	   *text = OutputFunctionCall(((CdcDebeziumState *) datum->state)->output, value);

	cdc_json_string(out, text, strlen(text));
	pfree(text);
}

/* A type the connector has no name for: the bytes of its text. */
void
cdc_dbz_unknown(CdcDatum *datum, CdcBuf *out, Datum value)
{
	CdcDebeziumState *state = datum->state;
	char	   *text = OutputFunctionCall(state->output, value);

	cdc_dbz_put_bytes(out, text, strlen(text), state->opts->binary);
	pfree(text);
}

/* Next token of a hstore's text, without quotes and escapes. */
static char *
hstore_token(char **text, size_t *len, bool *null)
{
	char	   *src = *text;
	char	   *dst;
	char	   *start;

	*null = *src != '"';
	if (*null)
	{
		*len = 0;
		*text = src + 4;		/* NULL */
		return src;
	}
	start = dst = ++src;
	while (*src != '"' && *src != '\0')
	{
		if (*src == '\\' && src[1] != '\0')
			src++;
		*dst++ = *src++;
	}
	*len = dst - start;
	*text = *src == '"' ? src + 1 : src;
	return start;
}

void
cdc_dbz_hstore(CdcDatum *datum, CdcBuf *out, Datum value)
{
	CdcDebeziumState *state = datum->state;
	char	   *text = OutputFunctionCall(state->output, value);
	char	   *p = text;
	CdcBuf	   *object = state->opts->hstore == CDC_DBZ_HSTORE_MAP ? out : &scratch;

	scratch.len = 0;
	cdc_buf_append_char(object, '{');
	while (*p != '\0')
	{
		size_t		len;
		bool		null;
		char	   *token;

		if (p != text)
			cdc_buf_append_char(object, ',');
		token = hstore_token(&p, &len, &null);
		cdc_json_string(object, token, len);
		cdc_buf_append_char(object, ':');
		if (strncmp(p, "=>", 2) != 0)
			elog(ERROR, "unexpected text of a hstore");
		p += 2;
		token = hstore_token(&p, &len, &null);
		if (null)
			cdc_buf_append_lit(object, "null");
		else
			cdc_json_string(object, token, len);
		if (strncmp(p, ", ", 2) == 0)
			p += 2;
		else if (*p != '\0')
			elog(ERROR, "unexpected text of a hstore");
	}
	cdc_buf_append_char(object, '}');
	pfree(text);
	if (object == &scratch)
	{
		cdc_json_string(out, scratch.data, scratch.len);
		if (scratch.cap > 1024 * 1024)
			cdc_buf_free(&scratch);
	}
}

/* ---- points ---- */

static unsigned char *
put_double_le(unsigned char *p, double v)
{
	uint64		bits;

	memcpy(&bits, &v, sizeof(bits));
	for (int i = 0; i < 8; i++)
		*p++ = (unsigned char) (bits >> (8 * i));
	return p;
}

void
cdc_dbz_point(CdcDatum *datum, CdcBuf *out, Datum value)
{
	Point	   *point = DatumGetPointP(value);
	unsigned char wkb[21] = {1, 1};		/* little-endian, a point */

	put_double_le(put_double_le(wkb + 5, point->x), point->y);
	cdc_buf_append_lit(out, "{\"x\":");
	out->len = put_java_double(cdc_buf_reserve(out, CDC_DATUM_ROOM), point->x) - out->data;
	cdc_buf_append_lit(out, ",\"y\":");
	out->len = put_java_double(cdc_buf_reserve(out, CDC_DATUM_ROOM), point->y) - out->data;
	cdc_buf_append_lit(out, ",\"wkb\":");
	put_base64(out, wkb, sizeof(wkb), base64_std);
	cdc_buf_append_lit(out, ",\"srid\":null}");
}

/* ---- arrays ---- */

/* Elements in one list, whatever the dimensions: the schema knows one. */
void
cdc_dbz_array(CdcDatum *datum, CdcBuf *out, Datum value)
{
	CdcDebeziumState *state = datum->state;
	ArrayType  *array = DatumGetArrayTypeP(value);
	char	   *data = ARR_DATA_PTR(array);
	bits8	   *bitmap = ARR_NULLBITMAP(array);
	int			nitems = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	cdc_buf_append_char(out, '[');
	for (int i = 0; i < nitems; i++)
	{
		cdc_buf_reserve(out, 1 + CDC_DATUM_ROOM);
		if (i > 0)
			cdc_buf_append_char(out, ',');
		if (bitmap && (bitmap[i / 8] & (1 << (i % 8))) == 0)
			cdc_buf_append_lit(out, "null");
		else
		{
			state->element.encode(&state->element, out,
								  fetch_att(data, state->typbyval, state->typlen));
			data = att_addlength_pointer(data, state->typlen, data);
			data = (char *) att_align_nominal(data, state->typalign);
		}
	}
	cdc_buf_append_char(out, ']');
	cdc_datum_release(array, value);
}
