/* sources: src/sink/topic.c */
/*-------------------------------------------------------------------------
 * test_topic.c
 *		Names of Kafka topics: known names, reversibility, length.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sink/topic.h"

static int	ntests;
static int	nfailed;

/* What topic.c needs of a server. */
extern void *palloc(size_t size);

void *
palloc(size_t size)
{
	void	   *p = malloc(size);

	if (p == NULL)
		abort();
	return p;
}

static void
check(const char *test, const char *name, const char *expected)
{
	char	   *got = cdc_topic_sanitise(name);

	ntests++;
	if (strcmp(got, expected) == 0)
		printf("ok %d - %s\n", ntests, test);
	else
	{
		nfailed++;
		printf("not ok %d - %s\n# got \"%s\", expected \"%s\"\n",
			   ntests, test, got, expected);
	}
	free(got);
}

int
main(void)
{
	char		name[512];
	char		expected[512];

	check("plain name", "foo", "foo");
	check("all allowed punctuation", "a.b_c-D9", "a.b_c-D9");
	check("space", "My Table", "My_u0020_Table");
	check("three bytes", "\xe2\x98\x83", "_u2603_");
	check("two bytes", "\xc3\xa9", "_u00e9_");
	check("four bytes", "\xf0\x9f\x98\x80", "_u0001f600_");
	check("prefix", "bar_foo", "bar_foo");
	check("full name", "d.public.foo", "d.public.foo");
	check("quote", "\"", "_u0022_");
	check("dot", ".", "_u002e_");
	check("two dots", "..", "_u002e__u002e_");
	check("three dots", "...", "...");
	check("empty", "", "");

	check("looks like an escape", "_u2603_",
		  "_u005f__u0075__u0032__u0036__u0030__u0033__u005f_");
	check("escape of two digits, capitals", "x_uAB_",
		  "x_u005f__u0075__u0041__u0042__u005f_");
	check("one digit is no escape", "_ua_", "_ua_");
	check("nine digits are no escape", "_u123456789_", "_u123456789_");
	check("eight digits are one", "_u12345678_",
		  "_u005f__u0075__u0031__u0032__u0033__u0034__u0035__u0036__u0037__u0038__u005f_");
	check("open at the end", "_u2603", "_u2603");
	check("shared underscore", "_u12_u34_",
		  "_u005f__u0075__u0031__u0032__u005f_u34_");

	check("byte that is no UTF-8", "a\xff", "a_u00ff_");
	check("cut UTF-8", "a\xe2\x98", "a_u00e2__u0098_");

	memset(name, 'x', 300);
	name[300] = '\0';
	memset(expected, 'x', CDC_TOPIC_MAX);
	expected[CDC_TOPIC_MAX] = '\0';
	check("cut to 249 bytes", name, expected);
	strcpy(name + 245, "\xe2\x98\x83");
	strcpy(expected + 245, "_u26");
	check("cut inside an escape", name, expected);

	printf("1..%d\n", ntests);
	return nfailed > 0;
}
