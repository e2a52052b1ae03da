/*-------------------------------------------------------------------------
 * keyindex.c
 *		From the hash of a key to a number, for any number of keys in bounded
 *		memory: extendible hashing over pages of which as many stay in memory
 *		as may.
 *
 * The upper bits of a hash choose a cell of the directory, the cell a page,
 * the lower bits a slot.  A full page is split in two by the next bit; when
 * the directory may grow no further, pages are chained instead.  Either way
 * a look-up reads one page, or a few, however many keys there are.
 *
 * Hashes leave nothing to choose between pages, so they are put out in turn.
 *
 * Runs: lane worker, main thread.  Must never pass an error of its Io over in
 * silence: a key that is not found would let a stale row out.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "scan/keyindex.h"

#define SLOTS		511
#define FULL		384			/* used slots; more make probing long */
#define MIN_FRAMES	4
#define MAX_DEPTH	32

/* The directory takes at most this part of the limit, or the least. */
#define DIRECTORY_PART	8
#define DIRECTORY_LEAST 4096

typedef struct Slot
{
	uint64		hash;
	int64		number1;		/* number + 1, 0: free */
} Slot;

typedef struct Page
{
	uint32		nused;
	uint32		depth;			/* bits of the hash that all here share */
	uint32		next;			/* of the chain, 0: none */
	uint32		unused;
	Slot		slots[SLOTS];
} Page;

StaticAssertDecl(sizeof(Page) == CDC_KEYINDEX_PAGE, "pages have their size");

typedef struct Frame
{
	Page	   *data;
	uint32		page;
	bool		dirty;
} Frame;

struct CdcKeyIndex
{
	CdcKeyIndexIo io;
	int			depth;
	uint32	   *directory;		/* 2^depth cells */
	uint32		npages;
	uint32		maxpages;
	int32	   *frame_of;		/* of each page, -1: it is out */
	int32		nframes;
	int32		maxframes;
	Frame	   *frames;
	int32		victim;			/* next to be put out */
	bool		spilled;		/* all pages have their place outside */
};

size_t		cdc_keyindex_limit = 1024 * 1024;

static size_t in_use = 0;

/* The halves of a page that is being split. */
static Page halves[2];

size_t
cdc_keyindex_memory(void)
{
	return in_use;
}

/* Puts the pages that were never out to their places. */
static void
spill(CdcKeyIndex *index)
{
	for (uint32 page = 0; page < index->npages; page++)
	{
		Frame	   *frame = &index->frames[index->frame_of[page]];

		index->io.write(index->io.arg, page, frame->data);
		frame->dirty = false;
	}
	index->spilled = true;
}

/* A frame without a page, -1: out of memory. */
static int32
free_frame(CdcKeyIndex *index)
{
	Frame	   *frame;
	int32		f;

	if (index->nframes < MIN_FRAMES || in_use + sizeof(Page) <= cdc_keyindex_limit)
	{
		if (index->nframes == index->maxframes)
		{
			int32		max = index->maxframes * 2;
			Frame	   *frames = realloc(index->frames, sizeof(Frame) * max);

			if (frames == NULL)
				return -1;
			in_use += sizeof(Frame) * (max - index->maxframes);
			index->frames = frames;
			index->maxframes = max;
		}
		frame = &index->frames[index->nframes];
		frame->data = malloc(sizeof(Page));
		if (frame->data == NULL)
			return -1;
		in_use += sizeof(Page);
		return index->nframes++;
	}

	if (!index->spilled)
		spill(index);
	f = index->victim;
	index->victim = (f + 1) % index->nframes;
	frame = &index->frames[f];
	if (frame->dirty)
		index->io.write(index->io.arg, frame->page, frame->data);
	index->frame_of[frame->page] = -1;
	return f;
}

static Page *
occupy(CdcKeyIndex *index, int32 f, uint32 page, bool dirty)
{
	index->frames[f].page = page;
	index->frames[f].dirty = dirty;
	index->frame_of[page] = f;
	return index->frames[f].data;
}

/* A page, in memory until the next call; NULL: out of memory. */
static Page *
get_page(CdcKeyIndex *index, uint32 page)
{
	int32		f = index->frame_of[page];

	if (likely(f >= 0))
		return index->frames[f].data;
	f = free_frame(index);
	if (f < 0)
		return NULL;

	/* nobody's until it is read */
	index->io.read(index->io.arg, page, index->frames[f].data);
	return occupy(index, f, page, false);
}

static void
mark_dirty(CdcKeyIndex *index, uint32 page)
{
	index->frames[index->frame_of[page]].dirty = true;
}

/* A new page with these contents; false: out of memory. */
static bool
add_page(CdcKeyIndex *index, const Page *contents)
{
	int32		f;

	if (index->npages == index->maxpages)
	{
		uint32		max = index->maxpages * 2;
		int32	   *frame_of;

		if (index->maxpages > PG_UINT32_MAX / 4)
			return false;
		frame_of = realloc(index->frame_of, sizeof(int32) * (size_t) max);
		if (frame_of == NULL)
			return false;
		in_use += sizeof(int32) * (size_t) (max - index->maxpages);
		index->frame_of = frame_of;
		index->maxpages = max;
	}
	f = free_frame(index);
	if (f < 0)
		return false;
	memcpy(index->frames[f].data, contents, sizeof(Page));
	if (index->spilled)
		index->io.write(index->io.arg, index->npages, contents);
	(void) occupy(index, f, index->npages, !index->spilled);
	index->npages++;
	return true;
}

CdcKeyIndex *
cdc_keyindex_create(const CdcKeyIndexIo *io)
{
	CdcKeyIndex *index = calloc(1, sizeof(CdcKeyIndex));

	if (index == NULL)
		return NULL;
	index->io = *io;
	index->maxpages = 16;
	index->maxframes = MIN_FRAMES;
	index->directory = calloc(1, sizeof(uint32));
	index->frame_of = malloc(sizeof(int32) * index->maxpages);
	index->frames = malloc(sizeof(Frame) * index->maxframes);
	in_use += sizeof(CdcKeyIndex) + sizeof(uint32) +
		sizeof(int32) * index->maxpages + sizeof(Frame) * index->maxframes;
	memset(&halves[0], 0, sizeof(Page));
	if (index->directory == NULL || index->frame_of == NULL ||
		index->frames == NULL || !add_page(index, &halves[0]))
	{
		cdc_keyindex_free(index);
		return NULL;
	}
	return index;
}

void
cdc_keyindex_free(CdcKeyIndex *index)
{
	for (int32 i = 0; i < index->nframes; i++)
		free(index->frames[i].data);
	in_use -= sizeof(CdcKeyIndex) + (sizeof(uint32) << index->depth) +
		sizeof(int32) * (size_t) index->maxpages +
		sizeof(Frame) * index->maxframes + sizeof(Page) * index->nframes;
	free(index->frames);
	free(index->frame_of);
	free(index->directory);
	free(index);
}

/* The directory's cell of a hash, when it has so many bits. */
static inline uint64
cell(uint64 hash, int depth)
{
	return depth == 0 ? 0 : hash >> (64 - depth);
}

/* The slot of a hash, or the free one that it would take. */
static Slot *
find_slot(Page *page, uint64 hash)
{
	uint32		i = (uint32) hash % SLOTS;

	/* there are always free ones */
	while (page->slots[i].number1 != 0 && page->slots[i].hash != hash)
		i = i + 1 == SLOTS ? 0 : i + 1;
	return &page->slots[i];
}

int64
cdc_keyindex_get(CdcKeyIndex *index, uint64 hash, bool *ok)
{
	uint32		number = index->directory[cell(hash, index->depth)];

	*ok = true;
	do
	{
		Page	   *page = get_page(index, number);
		Slot	   *slot;

		if (page == NULL)
		{
			*ok = false;
			return -1;
		}
		slot = find_slot(page, hash);
		if (slot->number1 != 0)
			return slot->number1 - 1;
		number = page->next;
	} while (number != 0);
	return -1;
}

/* Doubles the directory; false: it may not grow, or not now. */
static bool
grow_directory(CdcKeyIndex *index)
{
	size_t		cells = (size_t) 1 << index->depth;
	uint32	   *directory;

	if (index->depth >= MAX_DEPTH ||
		cells * 2 * sizeof(uint32) > Max(cdc_keyindex_limit / DIRECTORY_PART, DIRECTORY_LEAST))
		return false;
	directory = malloc(cells * 2 * sizeof(uint32));
	if (directory == NULL)
		return false;
	for (size_t i = 0; i < cells; i++)
		directory[i * 2] = directory[i * 2 + 1] = index->directory[i];
	free(index->directory);
	index->directory = directory;
	index->depth++;
	in_use += cells * sizeof(uint32);
	return true;
}

/* Splits a hash's page, which is full and in memory; false: out of memory. */
static bool
split(CdcKeyIndex *index, uint64 hash, uint32 number)
{
	Page	   *page = get_page(index, number);
	int			depth = (int) page->depth;
	uint64		share = UINT64CONST(1) << (index->depth - depth);
	uint64		first = cell(hash, depth) * share;

	memset(halves, 0, sizeof(halves));
	halves[0].depth = halves[1].depth = depth + 1;
	for (int i = 0; i < SLOTS; i++)
	{
		const Slot *slot = &page->slots[i];
		Page	   *half = &halves[(slot->hash >> (63 - depth)) & 1];

		if (slot->number1 == 0)
			continue;
		*find_slot(half, slot->hash) = *slot;
		half->nused++;
	}
	if (!add_page(index, &halves[1]))
		return false;
	page = get_page(index, number); /* may have been put out for that */
	if (page == NULL)
		return false;
	memcpy(page, &halves[0], sizeof(Page));
	mark_dirty(index, number);
	for (uint64 i = first + share / 2; i < first + share; i++)
		index->directory[i] = index->npages - 1;
	return true;
}

/* Appends a page to a chain; false: out of memory. */
static bool
chain(CdcKeyIndex *index, uint32 last, uint32 depth)
{
	Page	   *page;

	memset(&halves[0], 0, sizeof(Page));
	halves[0].depth = depth;
	if (!add_page(index, &halves[0]))
		return false;
	page = get_page(index, last);
	if (page == NULL)
		return false;
	page->next = index->npages - 1;
	mark_dirty(index, last);
	return true;
}

bool
cdc_keyindex_put(CdcKeyIndex *index, uint64 hash, int64 number)
{
	for (;;)
	{
		uint32		first = index->directory[cell(hash, index->depth)];
		uint32		last = first;
		Page	   *page;
		Slot	   *slot;

		for (;;)
		{
			page = get_page(index, last);
			if (page == NULL)
				return false;
			slot = find_slot(page, hash);
			if (slot->number1 != 0 || page->next == 0)
				break;
			last = page->next;
		}
		if (slot->number1 != 0 || page->nused < FULL)
		{
			page->nused += slot->number1 == 0;
			slot->hash = hash;
			slot->number1 = number + 1;
			mark_dirty(index, last);
			return true;
		}

		/* no room */
		if (first == last &&
			((int) page->depth < index->depth || grow_directory(index)))
		{
			if (!split(index, hash, first))
				return false;
		}
		else if (!chain(index, last, page->depth))
			return false;
	}
}
