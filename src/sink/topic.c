/*-------------------------------------------------------------------------
 * topic.c
 *		Names of Kafka topics; see topic.h.
 *
 * The same mapping as CockroachDB's, so that consumers find the topics they
 * know.  Of PostgreSQL it uses palloc only: the unit test brings its own.
 *
 * Runs: anywhere in the main thread.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/topic.h"

/* Escapes that are to be told from ours have this many digits. */
#define MIN_ESCAPE_DIGITS	2
#define MAX_ESCAPE_DIGITS	8

typedef struct TopicName
{
	char	   *data;
	size_t		len;			/* never above CDC_TOPIC_MAX */
} TopicName;

static void
add_byte(TopicName *out, char c)
{
	if (out->len < CDC_TOPIC_MAX)
		out->data[out->len++] = c;
}

static void
add_escape(TopicName *out, unsigned int c)
{
	add_byte(out, '_');
	add_byte(out, 'u');
	for (int shift = c > 0xffff ? 28 : 12; shift >= 0; shift -= 4)
		add_byte(out, "0123456789abcdef"[(c >> shift) & 0xf]);
	add_byte(out, '_');
}

static bool
is_allowed(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		(c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

static bool
is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
		(c >= 'A' && c <= 'F');
}

/* Length of what looks like one of our escapes, or 0. */
static size_t
escape_length(const char *p)
{
	size_t		digits = 0;

	if (p[0] != '_' || p[1] != 'u')
		return 0;
	while (digits <= MAX_ESCAPE_DIGITS && is_hex(p[2 + digits]))
		digits++;
	if (digits < MIN_ESCAPE_DIGITS || digits > MAX_ESCAPE_DIGITS ||
		p[2 + digits] != '_')
		return 0;
	return digits + 3;
}

/*
 * Reads a code point and returns its length.  A byte that begins none stands
 * for itself: nothing here may fail.
 */
static size_t
read_code_point(const unsigned char *p, unsigned int *c)
{
	size_t		len = p[0] < 0xc2 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 1;

	*c = p[0];
	if (len == 1)
		return 1;
	*c &= 0x7f >> len;
	for (size_t i = 1; i < len; i++)
	{
		if ((p[i] & 0xc0) != 0x80)
		{
			*c = p[0];
			return 1;
		}
		*c = *c << 6 | (p[i] & 0x3f);
	}
	return len;
}

char *
cdc_topic_sanitise(const char *name)
{
	TopicName	out;
	const char *p = name;
	bool		dots = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;

	out.data = palloc(CDC_TOPIC_MAX + 1);
	out.len = 0;
	while (*p != '\0')
	{
		size_t		escape = escape_length(p);
		unsigned int c;

		if (escape > 0)
		{
			for (; escape > 0; escape--)
				add_escape(&out, (unsigned char) *p++);
		}
		else if (is_allowed((unsigned char) *p) && !dots)
			add_byte(&out, *p++);
		else
		{
			p += read_code_point((const unsigned char *) p, &c);
			add_escape(&out, c);
		}
	}
	out.data[out.len] = '\0';
	return out.data;
}
