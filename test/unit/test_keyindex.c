/* sources: src/scan/keyindex.c */
/*
 * The index of a scan's keys against a plain array: within its memory and far
 * beyond it, with hashes that leave the directory nothing to choose, and
 * several at once.
 */
#include "postgres.h"

#include "check.h"
#include "pg_snprintf.h"
#include "scan/keyindex.h"

typedef struct Pages
{
	char	   *data;
	uint32		npages;
	uint64		nreads;
	uint64		nwrites;
} Pages;

static void
read_page(void *arg, uint32 page, void *data)
{
	Pages	   *p = arg;

	check(page < p->npages, "a page was written before it is read", NULL);
	memcpy(data, p->data + (size_t) page * CDC_KEYINDEX_PAGE, CDC_KEYINDEX_PAGE);
	p->nreads++;
}

static void
write_page(void *arg, uint32 page, const void *data)
{
	Pages	   *p = arg;

	check(page <= p->npages, "pages are written without holes", NULL);
	if (page == p->npages)
	{
		if (p->npages % 256 == 0)
			p->data = realloc(p->data, (size_t) (p->npages + 256) * CDC_KEYINDEX_PAGE);
		p->npages++;
	}
	memcpy(p->data + (size_t) page * CDC_KEYINDEX_PAGE, data, CDC_KEYINDEX_PAGE);
	p->nwrites++;
}

static void
count_is(const char *what, size_t n, size_t expected)
{
	char		text[32];

	snprintf(text, sizeof(text), "%zu", n);
	check(n == expected, what, text);
}

static uint64
spread(uint64 x)
{
	x += UINT64CONST(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64
as_is(uint64 x)
{
	return x;					/* the upper bits are all the same */
}

static CdcKeyIndex *
create(Pages *p)
{
	CdcKeyIndexIo io = {read_page, write_page, p};

	memset(p, 0, sizeof(*p));
	return cdc_keyindex_create(&io);
}

static void
try_keys(uint64 (*hash) (uint64), int n, size_t limit, bool spills)
{
	Pages		p;
	CdcKeyIndex *index;
	bool		ok;
	int			wrong = 0;

	cdc_keyindex_limit = limit;
	index = create(&p);
	for (int i = 0; i < n; i++)
	{
		wrong += cdc_keyindex_get(index, hash(i), &ok) != -1 || !ok;
		wrong += !cdc_keyindex_put(index, hash(i), i);

		/* one of before, with another number now and then */
		if (i % 3 == 0)
			wrong += !cdc_keyindex_put(index, hash(i / 2), n + i / 2);
	}
	count_is("wrong answers", wrong, 0);
	for (int i = 0; i < n * 2; i++)
	{
		int64		got = cdc_keyindex_get(index, hash(i), &ok);
		bool		again = i * 2 < n && ((i * 2) % 3 == 0 || (i * 2 + 1) % 3 == 0) &&
			((i * 2) % 3 == 0 || i * 2 + 1 < n);

		wrong += !ok || got != (i >= n ? -1 : again ? n + i : i);
	}
	count_is("wrong answers", wrong, 0);
	check((p.npages > 0) == spills, "pages go out when they must", NULL);

	/* for each page some bytes, and the directory */
	check(cdc_keyindex_memory() <= Max(limit, 8 * CDC_KEYINDEX_PAGE) + p.npages * 16 + limit / 4 + 8192,
		  "memory", NULL);
	cdc_keyindex_free(index);
	count_is("bytes left", cdc_keyindex_memory(), 0);
	free(p.data);
}

static void
two_at_once(void)
{
	Pages		p[2];
	CdcKeyIndex *index[2];
	bool		ok;
	int			wrong = 0;

	cdc_keyindex_limit = 20 * CDC_KEYINDEX_PAGE;
	for (int j = 0; j < 2; j++)
		index[j] = create(&p[j]);
	for (int i = 0; i < 20000; i++)
		for (int j = 0; j < 2; j++)
			wrong += !cdc_keyindex_put(index[j], spread(i), i * 2 + j);
	for (int i = 0; i < 20000; i++)
		for (int j = 0; j < 2; j++)
			wrong += cdc_keyindex_get(index[j], spread(i), &ok) != i * 2 + j || !ok;
	count_is("wrong answers", wrong, 0);
	for (int j = 0; j < 2; j++)
	{
		cdc_keyindex_free(index[j]);
		free(p[j].data);
	}
	count_is("bytes left", cdc_keyindex_memory(), 0);
}

int
main(void)
{
	try_keys(spread, 0, 1 << 20, false);
	try_keys(spread, 1, 0, false);
	try_keys(spread, 20000, 64 << 20, false);
	try_keys(spread, 100000, 256 * 1024, true);
	try_keys(spread, 30000, 0, true);
	try_keys(as_is, 10000, 64 * 1024, true);
	two_at_once();
	return failures > 0;
}
