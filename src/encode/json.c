/*-------------------------------------------------------------------------
 * json.c
 *		JSON text: strings, jsonb and json values; see json.h.
 *
 * Strings are the hot path: a run without anything to escape is found 16
 * bytes at a time and copied in one piece.  Control characters are written
 * as \n, \r, \t or \u00XX, as CockroachDB does.
 *
 * Runs: decoding callbacks of a lane, scan workers.  Reads catalogs only to
 * find an encoding conversion (database not in UTF-8).  Must never recurse.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "encode/json.h"
#include "encode/scalar.h"
#include "mb/pg_wchar.h"
#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"

/*
 * What a string may take beyond its bytes: quotes, an escape (longest is
 * \u00XX), separators around it.
 */
#define STRING_ROOM		16

#define REPLACEMENT_CHARACTER	"\xEF\xBF\xBD"	/* U+FFFD */

/* Room for values of usual shape; larger ones move to palloc'ed memory. */
#define LOCAL_LEVELS	16
#define LOCAL_MEMBERS	64

/* A member of an object that is being written. */
typedef struct Member
{
	uint64		prefix;			/* first bytes of the key, comparable */
	const char *key;
	uint32		keylen;
	JEntry		entry;
	uint32		start;			/* of the value, in the container's data */
	uint32		end;
} Member;

/* A container that is being written. */
typedef struct Level
{
	const JsonbContainer *container;
	const char *data;			/* of the children */
	uint32		n;				/* values in it */
	uint32		next;			/* next value to write */
	uint32		offset;			/* arrays: where that one starts */
	uint32		member;			/* objects: index of the first member */
	bool		object;
} Level;

/* Containers from the root to the current one, and their members. */
typedef struct Walk
{
	Level	   *levels;
	uint32		nlevels;
	uint32		maxlevels;
	Member	   *members;
	uint32		nmembers;
	uint32		maxmembers;
	Level		local_levels[LOCAL_LEVELS];
	Member		local_members[LOCAL_MEMBERS];
} Walk;

/* ---- strings ---- */

static inline bool
is_special(unsigned char c)
{
	return c < 0x20 || c == '"' || c == '\\';
}

#define SWAR(c)		(UINT64CONST(0x0101010101010101) * (c))

/* Is any of eight bytes special?  Exact; which one it is does not matter. */
static inline bool
has_special8(uint64 w)
{
	uint64		quote = w ^ SWAR('"');
	uint64		backslash = w ^ SWAR('\\');

	return ((((w - SWAR(0x20)) & ~w) |
			 ((quote - SWAR(0x01)) & ~quote) |
			 ((backslash - SWAR(0x01)) & ~backslash)) & SWAR(0x80)) != 0;
}

static inline uint64
load8(const char *s)
{
	uint64		w;

	memcpy(&w, s, sizeof(w));
	return w;
}

static inline uint32
load4(const char *s)
{
	uint32		w;

	memcpy(&w, s, sizeof(w));
	return w;
}

#ifdef __SSE2__
static inline uint32
special_mask16(const char *s)
{
	__m128i		v = _mm_loadu_si128((const __m128i *) s);
	__m128i		control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
	__m128i		quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
	__m128i		backslash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));

	return _mm_movemask_epi8(_mm_or_si128(control,
										  _mm_or_si128(quote, backslash)));
}
#endif

/*
 * Length of the run from s that needs no escape.  The rest behind the last
 * whole block is covered by a block that overlaps it, so nothing outside of
 * the string is read.
 */
static inline size_t
clean_run(const char *s, size_t len)
{
	size_t		i = 0;

#ifdef __SSE2__
	if (len >= 16)
	{
		uint32		mask;

		for (; i + 16 <= len; i += 16)
		{
			mask = special_mask16(s + i);
			if (mask != 0)
				return i + pg_rightmost_one_pos32(mask);
		}
		if (i == len)
			return len;
		mask = special_mask16(s + len - 16);
		return mask == 0 ? len : len - 16 + pg_rightmost_one_pos32(mask);
	}
#endif
	if (len >= 8)
	{
		for (; i + 8 <= len; i += 8)
			if (has_special8(load8(s + i)))
				break;
		if (i + 8 > len && !has_special8(load8(s + len - 8)))
			return len;
	}
	else if (len >= 4)
	{
		uint64		w = ((uint64) load4(s) << 32) | load4(s + len - 4);

		if (!has_special8(w))
			return len;
	}
	while (i < len && !is_special((unsigned char) s[i]))
		i++;
	return i;
}

static char *
put_escape(char *p, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";

	*p++ = '\\';
	switch (c)
	{
		case '"':
		case '\\':
			*p++ = c;
			break;
		case '\n':
			*p++ = 'n';
			break;
		case '\r':
			*p++ = 'r';
			break;
		case '\t':
			*p++ = 't';
			break;
		default:
			memcpy(p, "u00", 3);
			p[3] = hex[c >> 4];
			p[4] = hex[c & 0x0f];
			p += 5;
			break;
	}
	return p;
}

/*
 * A database in SQL_ASCII may hold any bytes: whatever is not UTF-8 becomes
 * U+FFFD, a byte at a time.
 */
static char *
replace_invalid(const char *s, size_t *len)
{
	const unsigned char *src = (const unsigned char *) s;
	const unsigned char *end = src + *len;
	char	   *result;
	char	   *dst;

	result = dst = palloc_extended(*len * 3 + 1, MCXT_ALLOC_HUGE);
	while (src < end)
	{
		int			n = pg_utf_mblen(src);

		if (n <= end - src && pg_utf8_islegal(src, n))
		{
			memcpy(dst, src, n);
			dst += n;
			src += n;
		}
		else
		{
			memcpy(dst, REPLACEMENT_CHARACTER, 3);
			dst += 3;
			src++;
		}
	}
	*len = dst - result;
	return result;
}

/*
 * A text of the database's encoding in UTF-8: s itself, or a palloc'ed
 * copy.
 */
static const char *
to_utf8(const char *s, size_t *len)
{
	int			encoding = GetDatabaseEncoding();
	size_t		i;
	char	   *converted;

	if (encoding == PG_UTF8)
		return s;

	/* every server encoding holds ASCII as it is */
	for (i = 0; i < *len && !IS_HIGHBIT_SET(s[i]); i++)
		;
	if (i == *len)
		return s;
	if (encoding == PG_SQL_ASCII)
		return replace_invalid(s, len);

	converted = (char *) pg_do_encoding_conversion((unsigned char *) unconstify(char *, s),
												   *len, encoding, PG_UTF8);
	if (converted != s)
		*len = strlen(converted);
	return converted;
}

/*
 * Copies a string that needs no escapes, checking on the way; false if it
 * does need one.  Short strings go through two overlapping words.
 */
static inline bool
copy_clean(char *p, const char *s, size_t len)
{
	if (len >= 16)
	{
#ifdef __SSE2__
		size_t		last = len - 16;

		for (size_t i = 0; i < last; i += 16)
		{
			if (special_mask16(s + i) != 0)
				return false;
			memcpy(p + i, s + i, 16);
		}
		if (special_mask16(s + last) != 0)
			return false;
		memcpy(p + last, s + last, 16);
		return true;
#else
		if (clean_run(s, len) < len)
			return false;
		memcpy(p, s, len);
		return true;
#endif
	}
	if (len >= 8)
	{
		uint64		head = load8(s);
		uint64		rest = load8(s + len - 8);

		memcpy(p, &head, 8);
		memcpy(p + len - 8, &rest, 8);
		return !has_special8(head) && !has_special8(rest);
	}
	if (len >= 4)
	{
		uint32		head = load4(s);
		uint32		rest = load4(s + len - 4);

		memcpy(p, &head, 4);
		memcpy(p + len - 4, &rest, 4);
		return !has_special8(((uint64) head << 32) | rest);
	}
	for (size_t i = 0; i < len; i++)
	{
		if (is_special((unsigned char) s[i]))
			return false;
		p[i] = s[i];
	}
	return true;
}

static pg_noinline char *
put_escaped(CdcBuf *out, char *p, const char *s, size_t len)
{
	const char *end = s + len;

	for (;;)
	{
		size_t		run = clean_run(s, end - s);

		memcpy(p, s, run);
		p += run;
		s += run;
		if (s == end)
			return p;
		p = put_escape(p, (unsigned char) *s++);

		/* room for the rest as it is and another escape */
		out->len = p - out->data;
		p = cdc_buf_reserve(out, (end - s) + STRING_ROOM);
	}
}

/*
 * Writes a UTF-8 string with its quotes at p, the end of the buffer, where
 * len + STRING_ROOM bytes are reserved.  Leaves room for a few bytes more.
 */
static inline char *
put_string(CdcBuf *out, char *p, const char *s, size_t len)
{
	*p++ = '"';
	if (likely(copy_clean(p, s, len)))
		p += len;
	else
		p = put_escaped(out, p, s, len);
	*p++ = '"';
	return p;
}

void
cdc_json_string(CdcBuf *out, const char *s, size_t len)
{
	const char *text = to_utf8(s, &len);
	char	   *p = cdc_buf_reserve(out, len + STRING_ROOM);

	p = put_string(out, p, text, len);
	out->len = p - out->data;
	if (text != s)
		pfree(unconstify(char *, text));
}

char *
cdc_json_quote(MemoryContext cxt, const char *s)
{
	CdcBuf		buf = {0};
	char	   *result;

	PG_TRY();
	{
		cdc_json_string(&buf, s, strlen(s));
		result = MemoryContextAlloc(cxt, buf.len + 1);
		memcpy(result, buf.data, buf.len);
		result[buf.len] = '\0';
	}
	PG_FINALLY();
	{
		cdc_buf_free(&buf);
	}
	PG_END_TRY();
	return result;
}

void
cdc_json_member(StringInfo out, const char *name, const char *text)
{
	char	   *quoted = cdc_json_quote(CurrentMemoryContext, text);

	appendStringInfo(out, "\"%s\": %s, ", name, quoted);
	pfree(quoted);
}

/* ---- jsonb ---- */

/* The first eight bytes of a key as a number in the order of the bytes. */
static inline uint64
key_prefix(const char *key, uint32 len)
{
	uint64		prefix = 0;

	if (len >= 8)
		return pg_ntoh64(load8(key));
	if (len >= 4)
	{
		uint32		rest = pg_ntoh32(load4(key + len - 4));

		prefix = (uint64) pg_ntoh32(load4(key)) << 32;
		return prefix | (uint32) ((uint64) rest << (8 * (8 - len)));
	}
	for (uint32 i = 0; i < len; i++)
		prefix |= (uint64) (unsigned char) key[i] << (56 - 8 * i);
	return prefix;
}

static inline int
compare_keys(const Member *a, const Member *b)
{
	int			cmp;

	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	cmp = memcmp(a->key, b->key, Min(a->keylen, b->keylen));
	if (cmp != 0)
		return cmp;
	return a->keylen < b->keylen ? -1 : (a->keylen > b->keylen);
}

static int
compare_members(const void *a, const void *b)
{
	return compare_keys(a, b);
}

/*
 * The keys come by length, in byte order within one length: mostly few and
 * nearly sorted.
 */
static void
sort_members(Member *members, uint32 n)
{
	if (n > 24)
	{
		qsort(members, n, sizeof(Member), compare_members);
		return;
	}
	for (uint32 i = 1; i < n; i++)
	{
		Member		m;
		uint32		j = i;

		if (compare_keys(&members[i - 1], &members[i]) < 0)
			continue;
		m = members[i];
		do
		{
			members[j] = members[j - 1];
			j--;
		} while (j > 0 && compare_keys(&members[j - 1], &m) > 0);
		members[j] = m;
	}
}

/* Twice the room for an array that may still be a local one. */
static void *
enlarge(void *array, void *local, size_t elemsize, uint32 used, uint32 max)
{
	void	   *result;

	if (array != local)
		return repalloc_huge(array, (Size) max * elemsize);
	result = MemoryContextAllocHuge(CurrentMemoryContext, (Size) max * elemsize);
	memcpy(result, array, (Size) used * elemsize);
	return result;
}

/* Appends the members of an object to the walk, sorted. */
static void
add_members(Walk *walk, Level *level)
{
	const JEntry *keys = level->container->children;
	const JEntry *values = keys + level->n;
	uint32		keypos = 0;
	uint32		pos = 0;
	Member	   *m;

	level->member = walk->nmembers;
	if (walk->maxmembers - walk->nmembers < level->n)
	{
		while (walk->maxmembers - walk->nmembers < level->n)
			walk->maxmembers *= 2;
		walk->members = enlarge(walk->members, walk->local_members,
								sizeof(Member), walk->nmembers,
								walk->maxmembers);
	}

	/* the values' data begin where the keys' end */
	m = walk->members + level->member;
	for (uint32 i = 0; i < level->n; i++, m++)
	{
		m->key = level->data + keypos;
		m->keylen = keypos;
		JBE_ADVANCE_OFFSET(keypos, keys[i]);
		m->keylen = keypos - m->keylen;
		m->prefix = key_prefix(m->key, m->keylen);
	}
	pos = keypos;
	m = walk->members + level->member;
	for (uint32 i = 0; i < level->n; i++, m++)
	{
		m->entry = values[i];
		m->start = pos;
		JBE_ADVANCE_OFFSET(pos, values[i]);
		m->end = pos;
	}
	walk->nmembers += level->n;
	sort_members(walk->members + level->member, level->n);
}

static void
open_container(Walk *walk, const JsonbContainer *container)
{
	Level	   *level;

	if (walk->nlevels == walk->maxlevels)
	{
		walk->maxlevels *= 2;
		walk->levels = enlarge(walk->levels, walk->local_levels,
							   sizeof(Level), walk->nlevels, walk->maxlevels);
	}
	level = &walk->levels[walk->nlevels++];
	level->container = container;
	level->n = JsonContainerSize(container);
	level->next = 0;
	level->offset = 0;
	level->object = JsonContainerIsObject(container);
	if (level->object)
	{
		level->data = (const char *) (container->children + level->n * 2);
		add_members(walk, level);
	}
	else
		level->data = (const char *) (container->children + level->n);
}

static inline void
append_string(CdcBuf *out, const char *s, uint32 len, bool utf8)
{
	if (likely(utf8))
	{
		char	   *p = cdc_buf_reserve(out, len + STRING_ROOM);

		out->len = put_string(out, p, s, len) - out->data;
	}
	else
		cdc_json_string(out, s, len);
}

void
cdc_json_jsonb(CdcBuf *out, const JsonbContainer *root)
{
	Walk		walk;
	bool		scalar = JsonContainerIsScalar(root);
	bool		utf8 = GetDatabaseEncoding() == PG_UTF8;

	walk.levels = walk.local_levels;
	walk.nlevels = 0;
	walk.maxlevels = LOCAL_LEVELS;
	walk.members = walk.local_members;
	walk.nmembers = 0;
	walk.maxmembers = LOCAL_MEMBERS;

	/* a scalar is kept as an array of one, to be written without brackets */
	open_container(&walk, root);
	if (!scalar)
		cdc_buf_append_char(out, walk.levels->object ? '{' : '[');
	while (walk.nlevels > 0)
	{
		Level	   *level = &walk.levels[walk.nlevels - 1];
		JEntry		entry;
		uint32		start;
		uint32		end;

		if (level->next == level->n)
		{
			if (level->object)
			{
				cdc_buf_append_char(out, '}');
				walk.nmembers = level->member;
			}
			else if (!scalar || walk.nlevels > 1)
				cdc_buf_append_char(out, ']');
			walk.nlevels--;
			continue;
		}
		if (level->next > 0)
			cdc_buf_append_lit(out, ", ");

		if (level->object)
		{
			const Member *m = &walk.members[level->member + level->next];

			append_string(out, m->key, m->keylen, utf8);
			cdc_buf_append_lit(out, ": ");
			entry = m->entry;
			start = m->start;
			end = m->end;
		}
		else
		{
			entry = level->container->children[level->next];
			start = level->offset;
			JBE_ADVANCE_OFFSET(level->offset, entry);
			end = level->offset;
		}
		level->next++;

		if (JBE_ISSTRING(entry))
			append_string(out, level->data + start, end - start, utf8);
		else if (JBE_ISNUMERIC(entry))
			cdc_append_numeric_varlena(out, level->data + INTALIGN(start));
		else if (JBE_ISBOOL_TRUE(entry))
			cdc_buf_append_lit(out, "true");
		else if (JBE_ISBOOL_FALSE(entry))
			cdc_buf_append_lit(out, "false");
		else if (JBE_ISNULL(entry))
			cdc_buf_append_lit(out, "null");
		else if (JBE_ISCONTAINER(entry))
		{
			open_container(&walk, (const JsonbContainer *)
						   (level->data + INTALIGN(start)));
			cdc_buf_append_char(out, walk.levels[walk.nlevels - 1].object ? '{' : '[');
		}
		else
			elog(ERROR, "unknown jsonb entry type: %08x", entry);
	}

	if (walk.levels != walk.local_levels)
		pfree(walk.levels);
	if (walk.members != walk.local_members)
		pfree(walk.members);
}

/* ---- json ---- */

/* Length of a string token that starts at s, quotes included. */
static size_t
string_token(const char *s, size_t len)
{
	size_t		i = 1;

	while (i < len)
	{
		i += clean_run(s + i, len - i);
		if (i >= len || s[i] == '"')
			break;
		i += (s[i] == '\\') ? 2 : 1;
	}
	return Min(i + 1, len);
}

void
cdc_json_text(CdcBuf *out, const char *s, size_t len)
{
	const char *text = to_utf8(s, &len);
	const char *src = text;
	const char *end = text + len;
	size_t		n;

	while (src < end)
	{
		switch (*src)
		{
			case ' ':
			case '\t':
			case '\n':
			case '\r':
				src++;
				break;
			case ',':
				cdc_buf_append_lit(out, ", ");
				src++;
				break;
			case ':':
				cdc_buf_append_lit(out, ": ");
				src++;
				break;
			case '"':
				n = string_token(src, end - src);
				cdc_buf_append(out, src, n);
				src += n;
				break;
			default:
				cdc_buf_append_char(out, *src++);
				break;
		}
	}
	if (text != s)
		pfree(unconstify(char *, text));
}
