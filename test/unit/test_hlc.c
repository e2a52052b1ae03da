/* sources: src/base/hlc.c */
/*-------------------------------------------------------------------------
 * test_hlc.c
 *		Stamps: order, text form, and that they follow from commit times only.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/hlc.h"
#include "pg_snprintf.h"

/* The real ones of libc: nothing of the server is linked. */
#undef printf
#undef snprintf

static int	ntests;
static int	nfailed;

static void
ok(bool passed, const char *name)
{
	printf("%sok %d - %s\n", passed ? "" : "not ", ++ntests, name);
	if (!passed)
		nfailed++;
}

static CdcHlc
hlc(int64 wall, uint32 logical)
{
	CdcHlc		h = {wall, logical};

	return h;
}

static bool
same(CdcHlc a, CdcHlc b)
{
	return cdc_hlc_cmp(a, b) == 0;
}

static bool
prints(CdcHlc h, const char *text)
{
	char		buf[CDC_HLC_TEXT_SIZE];

	memset(buf, 'x', sizeof(buf));
	return cdc_hlc_print(buf, h) == (int) strlen(text) && strcmp(buf, text) == 0;
}

static bool
parses(const char *text, CdcHlc expected)
{
	CdcHlc		h = {-1, 77};

	return cdc_hlc_parse(text, &h) && same(h, expected);
}

static bool
refuses(const char *text)
{
	CdcHlc		h = {-1, 77};

	return !cdc_hlc_parse(text, &h) && h.wall == -1 && h.logical == 77;
}

/* xorshift, so that runs are alike */
static uint64
next_random(void)
{
	static uint64 x = UINT64CONST(88172645463325252);

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void
test_wall(void)
{
	TimestampTz t;
	bool		good = true;

	ok(cdc_hlc_wall(0) == INT64CONST(946684800000000000), "2000-01-01");
	ok(cdc_hlc_wall(INT64CONST(-946684800000000)) == 0, "1970-01-01");
	ok(cdc_hlc_timestamptz(hlc(INT64CONST(946684800000000000), 5)) == 0, "back from 2000-01-01");
	ok(cdc_hlc_timestamptz(hlc(INT64CONST(946684800000001999), 0)) == 1, "rounds down");
	for (int i = 0; i < 100000; i++)
	{
		t = next_random() % UINT64CONST(8000000000000000);
		good = good && cdc_hlc_timestamptz(hlc(cdc_hlc_wall(t), 0)) == t;
	}
	ok(good, "round trip through microseconds");
}

static void
test_cmp(void)
{
	ok(cdc_hlc_cmp(hlc(1, 0), hlc(2, 0)) < 0, "wall decides");
	ok(cdc_hlc_cmp(hlc(2, 0), hlc(1, 9)) > 0, "wall before counter");
	ok(cdc_hlc_cmp(hlc(1, 1), hlc(1, 2)) < 0, "counter decides");
	ok(cdc_hlc_cmp(hlc(1, 0x80000000u), hlc(1, 1)) > 0, "counter is unsigned");
	ok(cdc_hlc_cmp(hlc(3, 4), hlc(3, 4)) == 0, "equal");
}

static void
test_next(void)
{
	CdcHlc		h;
	CdcHlc		n;
	CdcHlc		again;
	int64		walls[1000];
	bool		rises = true;
	bool		even = true;
	bool		not_early = true;

	ok(same(cdc_hlc_next(hlc(10, 7), 11), hlc(11, 0)), "clock went on");
	ok(same(cdc_hlc_next(hlc(10, 4), 10), hlc(10, 6)), "clock stands");
	ok(same(cdc_hlc_next(hlc(10, 4), 3), hlc(10, 6)), "clock went back");
	ok(same(cdc_hlc_next(hlc(10, PG_UINT32_MAX - 2), 1), hlc(10, PG_UINT32_MAX)), "last counter");
	ok(same(cdc_hlc_next(hlc(10, PG_UINT32_MAX - 1), 1), hlc(11, 0)), "counter used up");
	ok(same(cdc_hlc_next(hlc(10, PG_UINT32_MAX), 1), hlc(11, 0)), "counter used up, odd");

	/* commit times as they come: equal ones, steps back */
	h = hlc(0, 0);
	for (int i = 0; i < 1000; i++)
	{
		walls[i] = 1000000 + i / 3 * 10 - (int64) (next_random() % 50);
		n = cdc_hlc_next(h, walls[i]);
		rises = rises && cdc_hlc_cmp(h, n) < 0;
		even = even && n.logical % 2 == 0;
		not_early = not_early && n.wall >= walls[i];
		h = n;
	}
	ok(rises, "stamps rise");
	ok(even, "stamps of the stream are even");
	ok(not_early, "no stamp before its commit time");

	/* from any checkpoint the same stamps follow */
	for (int from = 0; from < 1000; from += 100)
	{
		CdcHlc		checkpoint = hlc(0, 0);
		char		text[CDC_HLC_TEXT_SIZE];

		for (int i = 0; i < from; i++)
			checkpoint = cdc_hlc_next(checkpoint, walls[i]);
		cdc_hlc_print(text, checkpoint);
		if (!cdc_hlc_parse(text, &again))
			break;
		for (int i = from; i < 1000; i++)
			again = cdc_hlc_next(again, walls[i]);
		rises = rises && same(again, h);
	}
	ok(rises && same(again, h), "replay gives the same stamps");
}

static void
test_text(void)
{
	bool		good = true;
	bool		order = true;
	char		a[CDC_HLC_TEXT_SIZE];
	char		b[CDC_HLC_TEXT_SIZE];

	ok(prints(hlc(0, 0), "0.0000000000"), "zero");
	ok(prints(hlc(INT64CONST(1588774006244812000), 2), "1588774006244812000.0000000002"), "usual");
	ok(prints(hlc(PG_INT64_MAX, PG_UINT32_MAX), "9223372036854775807.4294967295"), "largest");

	ok(parses("1588774006244812000.0000000002", hlc(INT64CONST(1588774006244812000), 2)), "reads usual");
	ok(parses("9223372036854775807.4294967295", hlc(PG_INT64_MAX, PG_UINT32_MAX)), "reads largest");
	ok(parses("17", hlc(17, 0)), "without counter");
	ok(parses("17.1", hlc(17, 1000000000)), "a fraction without its zeros");
	ok(parses("0017.0000000001", hlc(17, 1)), "leading zeros");

	ok(refuses(""), "empty");
	ok(refuses("."), "point only");
	ok(refuses("1."), "nothing behind the point");
	ok(refuses(".1"), "nothing before the point");
	ok(refuses("-1"), "negative");
	ok(refuses("+1"), "sign");
	ok(refuses(" 1"), "space before");
	ok(refuses("1 "), "space behind");
	ok(refuses("1.0000000000x"), "rest");
	ok(refuses("1.00000000001"), "eleven digits");
	ok(refuses("1.4294967296"), "counter too large");
	ok(refuses("9223372036854775808"), "wall too large");
	ok(refuses("92233720368547758070"), "wall far too large");
	ok(refuses("1e5"), "exponent");
	ok(refuses("\xc3\xa9"), "not a digit");

	for (int i = 0; i < 100000; i++)
	{
		/* as many digits as all times from 2001 to 2286 have */
		CdcHlc		x = hlc(INT64CONST(1000000000000000000) + next_random() % UINT64CONST(8000000000000000000), (uint32) next_random());
		CdcHlc		y = hlc(i % 2 ? x.wall : x.wall + 1, (uint32) next_random());
		CdcHlc		back;
		int			text_order;
		int			stamp_order = cdc_hlc_cmp(x, y);

		cdc_hlc_print(a, x);
		cdc_hlc_print(b, y);
		good = good && cdc_hlc_parse(a, &back) && same(back, x);
		text_order = strcmp(a, b);
		order = order && (text_order < 0) == (stamp_order < 0) && (text_order > 0) == (stamp_order > 0);
	}
	ok(good, "round trip through text");
	ok(order, "texts sort as stamps");
}

int
main(void)
{
	test_wall();
	test_cmp();
	test_next();
	test_text();
	printf("1..%d\n", ntests);
	return nfailed != 0;
}
