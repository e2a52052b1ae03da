/*-------------------------------------------------------------------------
 * jsonpick.c
 *		One value out of a JSON text; see jsonpick.h.
 *
 * Runs: anywhere, any thread.  Pure C.  Every loop ends with the text.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/jsonpick.h"

static const char *
skip_blanks(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

/* From its first quote to behind its last; NULL: it does not end. */
static const char *
skip_string(const char *p)
{
	for (p++; *p != '"'; p++)
	{
		if (*p == '\0' || (*p == '\\' && *++p == '\0'))
			return NULL;
	}
	return p + 1;
}

static const char *
skip_value(const char *p)
{
	int			depth = 0;

	do
	{
		if (*p == '"')
		{
			p = skip_string(p);
			if (p == NULL)
				return NULL;
			continue;
		}
		if (*p == '{' || *p == '[')
			depth++;
		else if (*p == '}' || *p == ']')
			depth--;
		else if (depth == 0)
			return p + strcspn(p, ",}] \t\r\n");
		if (*p++ == '\0')
			return NULL;
	} while (depth > 0);
	return p;
}

static int
hex4(const char *p)
{
	int			value = 0;

	for (int i = 0; i < 4; i++)
	{
		char		c = p[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			value = value * 16 + (c - 'A' + 10);
		else
			return -1;
	}
	return value;
}

/* Writes up to 4 bytes of UTF-8, returns how many. */
static size_t
put_utf8(char *dst, uint32 c)
{
	if (c < 0x80)
	{
		dst[0] = (char) c;
		return 1;
	}
	if (c < 0x800)
	{
		dst[0] = (char) (0xc0 | (c >> 6));
		dst[1] = (char) (0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000)
	{
		dst[0] = (char) (0xe0 | (c >> 12));
		dst[1] = (char) (0x80 | ((c >> 6) & 0x3f));
		dst[2] = (char) (0x80 | (c & 0x3f));
		return 3;
	}
	dst[0] = (char) (0xf0 | (c >> 18));
	dst[1] = (char) (0x80 | ((c >> 12) & 0x3f));
	dst[2] = (char) (0x80 | ((c >> 6) & 0x3f));
	dst[3] = (char) (0x80 | (c & 0x3f));
	return 4;
}

/* At "uXXXX", moves p to its last digit; a zero byte is none for us. */
static size_t
unescape_unicode(const char **p, char *dst)
{
	int			c = hex4(*p + 1);

	if (c <= 0)
		return 0;
	*p += 4;
	if (c >= 0xd800 && c < 0xdc00)
	{
		int			low = (*p)[1] == '\\' && (*p)[2] == 'u' ? hex4(*p + 3) : -1;

		if (low < 0xdc00 || low > 0xdfff)
			return 0;
		*p += 6;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	else if (c >= 0xdc00 && c < 0xe000)
		return 0;
	return put_utf8(dst, (uint32) c);
}

/* The string whose first quote is at p. */
static bool
copy_string(const char *p, char *dst, size_t size)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	size_t		n = 0;

	for (p++; *p != '"'; p++)
	{
		char		bytes[4];
		size_t		len = 1;

		if (*p == '\0')
			return false;
		bytes[0] = *p;
		if (*p == '\\')
		{
			const char *at;

			p++;
			if (*p == '\0')
				return false;
			if (*p == 'u')
				len = unescape_unicode(&p, bytes);
			else if ((at = strchr(from, *p)) != NULL)
				bytes[0] = to[at - from];
			else
				len = 0;
			if (len == 0)
				return false;
		}
		if (n + len >= size)
			return false;
		memcpy(dst + n, bytes, len);
		n += len;
	}
	dst[n] = '\0';
	return true;
}

/*
 * Value of the member of the object at p, or of the first in the array there;
 * NULL: none.
 */
static const char *
find_member(const char *p, const char *name, size_t name_len)
{
	p = skip_blanks(p);
	if (*p == '[')
		p = skip_blanks(p + 1);
	if (*p != '{')
		return NULL;
	p = skip_blanks(p + 1);
	while (*p == '"')
	{
		const char *start = p + 1;
		bool		found;

		p = skip_string(p);
		if (p == NULL)
			return NULL;
		found = (size_t) (p - 1 - start) == name_len && memcmp(start, name, name_len) == 0;
		p = skip_blanks(p);
		if (*p != ':')
			return NULL;
		p = skip_blanks(p + 1);
		if (found)
			return p;
		p = skip_value(p);
		if (p == NULL)
			return NULL;
		p = skip_blanks(p);
		if (*p != ',')
			return NULL;
		p = skip_blanks(p + 1);
	}
	return NULL;
}

bool
cdc_json_pick(const char *json, const char *path, char *dst, size_t size)
{
	const char *p = json;
	size_t		len;

	dst[0] = '\0';
	for (;;)
	{
		len = strcspn(path, ".");
		p = find_member(p, path, len);
		if (p == NULL)
			return false;
		if (path[len] == '\0')
			break;
		path += len + 1;
	}
	if (*p == '"')
	{
		if (copy_string(p, dst, size))
			return true;
		dst[0] = '\0';
		return false;
	}
	len = strcspn(p, ",}] \t\r\n");
	if (len == 0 || *p == '{' || *p == '[' || len >= size)
		return false;
	memcpy(dst, p, len);
	dst[len] = '\0';
	return true;
}
