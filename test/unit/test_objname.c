/*-------------------------------------------------------------------------
 * test_objname.c
 *		Names of the cloud layout: fixed vectors, order, escaping, bounds.
 *-------------------------------------------------------------------------
 */
/* sources: src/sink/objname.c */
#include "postgres.h"

#include "check.h"
#include "sink/objname.h"

static void
same(const char *got, size_t len, const char *want)
{
	check(strcmp(got, want) == 0 && len == strlen(want), want, got);
}

static CdcHlc
hlc(int64 wall, uint32 logical)
{
	CdcHlc		h = {wall, logical};

	return h;
}

static void
test_stamps(void)
{
	char		buf[CDC_OBJNAME_SIZE];
	CdcHlc		h = hlc(INT64CONST(1700000000123456789), 2);

	same(buf, cdc_objname_stamp(buf, h), "202311142213201234567890000000002");
	same(buf, cdc_objname_dir(buf, h, CDC_OBJ_DAILY), "2023-11-14/");
	same(buf, cdc_objname_dir(buf, h, CDC_OBJ_HOURLY), "2023-11-14/22/");
	same(buf, cdc_objname_dir(buf, h, CDC_OBJ_FLAT), "");
	same(buf, cdc_objname_resolved(buf, h, CDC_OBJ_DAILY),
		 "2023-11-14/202311142213201234567890000000002.RESOLVED");
	same(buf, cdc_objname_resolved(buf, h, CDC_OBJ_FLAT),
		 "202311142213201234567890000000002.RESOLVED");

	/* ends of the range */
	same(buf, cdc_objname_stamp(buf, hlc(0, 0)),
		 "197001010000000000000000000000000");
	same(buf, cdc_objname_stamp(buf, hlc(-5, 7)),
		 "197001010000000000000000000000007");
	same(buf, cdc_objname_stamp(buf, hlc(PG_INT64_MAX, PG_UINT32_MAX)),
		 "226204112347168547758074294967295");
	same(buf, cdc_objname_stamp(buf, hlc(INT64CONST(1709251199999999999), 0)),
		 "202402292359599999999990000000000");
}

static void
test_names(void)
{
	char		buf[CDC_OBJNAME_SIZE];
	char		later[CDC_OBJNAME_SIZE];
	CdcObjName	name = {
		.bound = {INT64CONST(1585836178072107140), 0},
		.session = UINT64CONST(0x56087568dba1e6b8),
		.sink = 72,
		.file = 0,
		.topic = "orders",
		.schema = 1,
		.ext = ".ndjson",
	};
	char		topic[1000];

	same(buf, cdc_objname_data(buf, &name, CDC_OBJ_DAILY),
		 "2020-04-02/202004021402580721071400000000000-56087568dba1e6b8-1-72-00000000-orders-1.ndjson");
	name.session = 1;
	name.file = 0xabcdef01;
	name.schema = 0x1f;
	name.topic = "d.public.a-b";
	same(buf, cdc_objname_data(buf, &name, CDC_OBJ_FLAT),
		 "202004021402580721071400000000000-0000000000000001-1-72-abcdef01-d.public.a-b-1f.ndjson");

	/* a data file at R sorts before R.RESOLVED, one right after R behind it */
	cdc_objname_resolved(later, name.bound, CDC_OBJ_HOURLY);
	cdc_objname_data(buf, &name, CDC_OBJ_HOURLY);
	check(strcmp(buf, later) < 0, "data at R sorts before R.RESOLVED", buf);
	name.bound.logical++;
	cdc_objname_data(buf, &name, CDC_OBJ_HOURLY);
	check(strcmp(buf, later) > 0, "data after R sorts behind R.RESOLVED", buf);
	name.bound.logical = 9;
	cdc_objname_data(buf, &name, CDC_OBJ_FLAT);
	name.bound.logical = 10;
	cdc_objname_data(later, &name, CDC_OBJ_FLAT);
	check(strcmp(buf, later) < 0, "counters sort as numbers", later);

	/* the longest of everything still is a file name */
	memset(topic, '/', sizeof(topic) - 1);
	topic[sizeof(topic) - 1] = '\0';
	name.bound = hlc(PG_INT64_MAX, PG_UINT32_MAX);
	name.session = PG_UINT64_MAX;
	name.sink = PG_INT64_MAX;
	name.file = PG_UINT32_MAX;
	name.schema = PG_UINT32_MAX;
	name.topic = topic;
	name.ext = ".123456789012345678";
	check(cdc_objname_data(buf, &name, CDC_OBJ_HOURLY) < sizeof(buf) &&
		  strlen(strrchr(buf, '/') + 1) <= 255, "longest name", buf);
	check(strrchr(buf, '/') == buf + 13, "topic stays in its directory", buf);
}

static void
test_sessions(void)
{
	uint64		mine = cdc_objname_session(0x123456789, INT64CONST(1700000000000));
	uint64		before = cdc_objname_session(0x123456789, INT64CONST(1699999999999));
	uint64		other = cdc_objname_session(0x123456788, INT64CONST(1699999999999));
	uint64		read = 0;

	check(cdc_objname_is_former(before, mine), "an earlier run", "");
	check(!cdc_objname_is_former(mine, mine) && !cdc_objname_is_former(mine, before),
		  "not the same, nor a later one", "");
	check(!cdc_objname_is_former(other, mine), "not another writer's", "");
	check(cdc_objname_parse_session("56087568dba1e6b8-1", &read) &&
		  read == UINT64CONST(0x56087568dba1e6b8), "session", "");
	check(!cdc_objname_parse_session("56087568dba1e6b", &read) &&
		  !cdc_objname_parse_session("56087568DBA1E6B8", &read) &&
		  !cdc_objname_parse_session("", &read), "no session", "");
}

static void
test_topics(void)
{
	char		buf[CDC_OBJNAME_TOPIC_MAX + 1];
	char		other[CDC_OBJNAME_TOPIC_MAX + 1];
	char		topic[400];

	same(buf, cdc_objname_topic(buf, "orders"), "orders");
	same(buf, cdc_objname_topic(buf, "My Table"), "My Table");
	same(buf, cdc_objname_topic(buf, "\xe2\x98\x83"), "\xe2\x98\x83");
	same(buf, cdc_objname_topic(buf, "t+family"), "t+family");
	same(buf, cdc_objname_topic(buf, ""), "");
	same(buf, cdc_objname_topic(buf, "../../etc/passwd"), "..%2F..%2Fetc%2Fpasswd");
	same(buf, cdc_objname_topic(buf, "a%2Fb"), "a%252Fb");
	same(buf, cdc_objname_topic(buf, "a\n\x01\x7f\x1f "), "a%0A%01%7F%1F ");

	/* exactly as long as may be */
	memset(topic, 'x', sizeof(topic));
	topic[CDC_OBJNAME_TOPIC_MAX] = '\0';
	same(buf, cdc_objname_topic(buf, topic), topic);

	/* one more: cut, and still different from its neighbours */
	strcpy(topic + CDC_OBJNAME_TOPIC_MAX, "a");
	check(cdc_objname_topic(buf, topic) == CDC_OBJNAME_TOPIC_MAX, "cut to the limit", buf);
	check(strncmp(buf + CDC_OBJNAME_TOPIC_MAX - 18, "%~", 2) == 0, "marked as cut", buf);
	strcpy(topic + CDC_OBJNAME_TOPIC_MAX, "b");
	cdc_objname_topic(other, topic);
	check(strcmp(buf, other) != 0, "long topics stay different", other);

	/* never inside a character: every offset of three-byte ones */
	for (int shift = 0; shift < 3; shift++)
	{
		size_t		len;

		memset(topic, 'x', shift);
		for (int i = 0; i < 60; i++)
			memcpy(topic + shift + i * 3, "\xe2\x98\x83", 4);
		len = cdc_objname_topic(buf, topic);
		check(len <= CDC_OBJNAME_TOPIC_MAX && (len - 18 - shift) % 3 == 0,
			  "cut between characters", buf);
	}
	/* never inside an escape */
	for (int shift = 0; shift < 3; shift++)
	{
		size_t		len;

		memset(topic, 'x', shift);
		memset(topic + shift, '/', 60);
		topic[shift + 60] = '\0';
		len = cdc_objname_topic(buf, topic);
		check(len <= CDC_OBJNAME_TOPIC_MAX && (len - 18 - shift) % 3 == 0,
			  "cut between escapes", buf);
	}
	/* no character starts anywhere: nothing to keep but the hash */
	memset(topic, 0x80, 300);
	topic[300] = '\0';
	check(cdc_objname_topic(buf, topic) == 18, "bytes without a start", buf);
}

static void
size_is(const char *text, int64 want)
{
	int64		got = -1;

	if (!cdc_objname_parse_size(text, &got))
		got = -1;
	check(got == want, text, got == -1 ? "refused" : "another number");
}

static void
test_parameters(void)
{
	CdcObjPartition p = CDC_OBJ_FLAT;

	check(cdc_objname_parse_partition("daily", &p) && p == CDC_OBJ_DAILY, "daily", NULL);
	check(cdc_objname_parse_partition("hourly", &p) && p == CDC_OBJ_HOURLY, "hourly", NULL);
	check(cdc_objname_parse_partition("flat", &p) && p == CDC_OBJ_FLAT, "flat", NULL);
	check(!cdc_objname_parse_partition("Daily", &p), "Daily", NULL);
	check(!cdc_objname_parse_partition("", &p), "empty partition", NULL);

	size_is("1", 1);
	size_is("4096", 4096);
	size_is("10B", 10);
	size_is("1KB", 1000);
	size_is("1kb", 1000);
	size_is("16MB", 16000000);
	size_is("16MiB", 16 << 20);
	size_is("1.5 GiB", INT64CONST(1610612736));
	size_is("2G", INT64CONST(2000000000));
	size_is("1TB", INT64CONST(1000000000000));
	size_is("1TiB", INT64CONST(1099511627776));
	size_is("0", -1);
	size_is("0.5", -1);
	size_is("", -1);
	size_is("MB", -1);
	size_is("-1MB", -1);
	size_is("1XB", -1);
	size_is("1ib", -1);
	size_is("1bb", -1);
	size_is("1MBs", -1);
	size_is("1MiBs", -1);
	size_is("1.2.3MB", -1);
	size_is("99999999999999999999999TB", -1);
}

int
main(void)
{
	test_stamps();
	test_names();
	test_sessions();
	test_topics();
	test_parameters();
	return failures != 0;
}
