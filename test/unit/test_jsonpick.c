/*-------------------------------------------------------------------------
 * test_jsonpick.c
 *		Values out of JSON, and of what is none.
 *-------------------------------------------------------------------------
 */
/* sources: src/sink/jsonpick.c */
#include "postgres.h"

#include "sink/jsonpick.h"

#undef printf

static int	failures = 0;

/* want NULL: it is not there */
static void
pick(const char *json, const char *path, const char *want)
{
	char		got[64];
	char	   *copy = strdup(json);	/* for the sanitizer to see its end */
	bool		found = cdc_json_pick(copy, path, got, sizeof(got));

	if (found != (want != NULL) || strcmp(got, want ? want : "") != 0)
	{
		printf("failed: %s of %s (got \"%s\")\n", path, json, got);
		failures++;
	}
	free(copy);
}

int
main(void)
{
	static const char doc[] =
		" {\"a\" : \"x\", \"n\":{\"deep\":[1,{\"a\":\"]}\"}],\"a\":12,\"e\":{}} ,\"b\":true, \"z\": null}";
	char		small[4];

	pick(doc, "a", "x");
	pick(doc, "b", "true");
	pick(doc, "z", "null");
	pick(doc, "n.a", "12");
	pick(doc, "n.e", NULL);
	pick(doc, "n.deep", NULL);
	pick(doc, "n.deep.a", NULL);
	pick(doc, "a.b", NULL);
	pick(doc, "missing", NULL);
	pick(doc, "", NULL);
	pick("{\"s\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"}", "s",
		 "\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");

	/* broken in all ways */
	pick("{\"s\":\"\\ud83d\"}", "s", NULL);
	pick("{\"s\":\"\\udc00\"}", "s", NULL);
	pick("{\"s\":\"\\u0000\"}", "s", NULL);
	pick("{\"s\":\"\\q\"}", "s", NULL);
	for (size_t n = 0; n < sizeof(doc) - 1; n++)
	{
		char	   *cut = strndup(doc, n);

		pick(cut, "missing", NULL);
		free(cut);
	}
	pick("{\"s\":\"abc", "s", NULL);
	pick("{\"s\":\"abc\\", "s", NULL);
	pick("{\"s\":\"\\u00", "s", NULL);
	pick("{\"s\":\"\\ud83d\\u", "s", NULL);
	pick("{\"s\"", "s", NULL);
	pick("{\"s\":", "s", NULL);
	pick("{\"s\":}", "s", NULL);
	pick("{\"t\":[[[[", "s", NULL);
	pick("{\"t\":1 \"s\":2}", "s", NULL);
	pick("[\"s\"]", "s", NULL);
	pick("{\"e\":[ {\"s\":\"first\"},{\"s\":\"second\"}]}", "e.s", "first");
	pick("{\"e\":[]}", "e.s", NULL);
	pick("{\"e\":[", "e.s", NULL);
	pick("<html>", "s", NULL);

	if (!cdc_json_pick("{\"s\":\"abc\"}", "s", small, sizeof(small)) ||
		cdc_json_pick("{\"s\":\"abcd\"}", "s", small, sizeof(small)) || small[0] != '\0' ||
		cdc_json_pick("{\"s\":1234}", "s", small, sizeof(small)))
	{
		printf("failed: room\n");
		failures++;
	}
	return failures > 0;
}
