/*-------------------------------------------------------------------------
 * keys.c
 *		Exact set of keys that were emitted while a scan runs.
 *
 * A hash alone is not enough, since a false hit would lose a row.  The keys
 * themselves stand in a temporary file, an index (keyindex.h) has for each
 * 64-bit hash where; keys with equal hashes are chained through the file.  A
 * hit is confirmed by comparing the bytes.  What the index has no memory for
 * goes to a second file.
 *
 * temp_file_limit is answered by cdc_keys_trouble(): it ends one feed, not
 * the lane.  Any other error of a file is raised, as one that passes.
 *
 * Runs: lane worker, decoding callbacks and main loop.  The files belong to
 * no transaction and no resource owner; they go away with the set, with the
 * process, or when the server starts.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/err.h"
#include "base/guc.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "scan/keyindex.h"
#include "scan/keys.h"
#include "storage/fd.h"
#include "utils/memutils.h"

/* The newest records, which are not in the file yet; none is split. */
#define TAIL_SIZE	8192

/* Read at once: most keys end within it. */
#define PEEK_SIZE	512

/*
 * The indexes of a lane take half as much again as its queues may, and no
 * more than this: when they have no more room all is written at once, which
 * must not keep the lane from its feeds.
 */
#define MAX_INDEX	((size_t) 128 * 1024 * 1024)

typedef struct KeyRecord
{
	int64		previous;		/* next record of the chain, -1: none */
	int32		target;
	uint32		len;
	/* key bytes follow */
} KeyRecord;

struct CdcKeySet
{
	MemoryContext cxt;
	CdcKeyIndex *index;
	File		pages;			/* of the index, 0: none are out */
	File		file;			/* of records, 0: all are in the tail */
	int64		written;		/* of records, bytes in the file */
	size_t		tail_len;
	char	   *scratch;
	size_t		scratch_size;
	char		trouble[160];	/* empty: none */
	char		tail[TAIL_SIZE];
};

static uint64
hash_key(int target, const char *key, size_t len)
{
	return DatumGetUInt64(hash_any_extended((const unsigned char *) key,
											(int) len, (uint64) target));
}

static void
out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("Failed while recording the keys that change during a scan.")));
}

static void
write_exact(File *file, int64 pos, const char *data, size_t len)
{
	if (*file == 0)
		*file = OpenTemporaryFile(true);
	if (FileWrite(*file, unconstify(char *, data), (int) len, (off_t) pos,
				  PG_WAIT_EXTENSION) != (int) len)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write to temporary file of a changefeed's scan: %m")));
}

static void
read_exact(File file, int64 pos, char *data, size_t len)
{
	int			got = (int) FileRead(file, data, (int) len, (off_t) pos,
									 PG_WAIT_EXTENSION);

	if (got < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from temporary file of a changefeed's scan: %m")));
	if (got != (int) len)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("could not read from temporary file of a changefeed's scan: read only %d of %zu bytes",
						got, len)));
}

static void
read_page(void *arg, uint32 page, void *data)
{
	CdcKeySet  *set = arg;

	read_exact(set->pages, (int64) page * CDC_KEYINDEX_PAGE, data, CDC_KEYINDEX_PAGE);
}

static void
write_page(void *arg, uint32 page, const void *data)
{
	CdcKeySet  *set = arg;

	write_exact(&set->pages, (int64) page * CDC_KEYINDEX_PAGE, data, CDC_KEYINDEX_PAGE);
}

CdcKeySet *
cdc_keys_create(void)
{
	MemoryContext cxt = AllocSetContextCreate(TopMemoryContext,
											  "cdc_sink scan keys",
											  ALLOCSET_DEFAULT_SIZES);
	CdcKeySet  *set = MemoryContextAllocZero(cxt, sizeof(CdcKeySet));
	CdcKeyIndexIo io = {read_page, write_page, set};

	set->cxt = cxt;
	set->index = cdc_keyindex_create(&io);
	if (set->index == NULL)
	{
		MemoryContextDelete(cxt);
		out_of_memory();
	}
	return set;
}

void
cdc_keys_free(CdcKeySet *set)
{
	if (set->pages != 0)
		FileClose(set->pages);
	if (set->file != 0)
		FileClose(set->file);
	cdc_keyindex_free(set->index);
	MemoryContextDelete(set->cxt);
}

const char *
cdc_keys_trouble(const CdcKeySet *set)
{
	return set->trouble[0] == '\0' ? NULL : set->trouble;
}

/*
 * The record at pos, with its key's bytes behind it if that can be had at
 * once; else they are still to be read.
 */
static const char *
peek(CdcKeySet *set, int64 pos, size_t *len, char *buffer)
{
	if (pos >= set->written)
	{
		*len = set->tail_len - (size_t) (pos - set->written);
		return set->tail + (pos - set->written);
	}
	*len = (size_t) Min(set->written - pos, PEEK_SIZE);
	read_exact(set->file, pos, buffer, *len);
	return buffer;
}

static bool
find_in_chain(CdcKeySet *set, int64 pos, int target, const char *key, size_t len)
{
	while (pos >= 0)
	{
		char		buffer[PEEK_SIZE];
		KeyRecord	rec;
		size_t		there;
		const char *bytes = peek(set, pos, &there, buffer);

		memcpy(&rec, bytes, sizeof(rec));
		bytes += sizeof(rec);
		if (rec.target == target && rec.len == len)
		{
			if (there < sizeof(rec) + len)
			{
				if (set->scratch_size < len)
				{
					if (set->scratch)
						pfree(set->scratch);
					set->scratch = NULL;
					set->scratch = MemoryContextAllocHuge(set->cxt, len);
					set->scratch_size = len;
				}
				read_exact(set->file, pos + sizeof(rec), set->scratch, len);
				bytes = set->scratch;
			}
			if (memcmp(bytes, key, len) == 0)
				return true;
		}
		pos = rec.previous;
	}
	return false;
}

static bool
look_up(CdcKeySet *set, uint64 hash, int target, const char *key, size_t len,
		int64 *newest)
{
	bool		ok;

	*newest = cdc_keyindex_get(set->index, hash, &ok);
	if (!ok)
		out_of_memory();
	return find_in_chain(set, *newest, target, key, len);
}

static bool
add(CdcKeySet *set, int target, const char *key, size_t len)
{
	uint64		hash = hash_key(target, key, len);
	size_t		size = sizeof(KeyRecord) + len;
	KeyRecord	rec;
	int64		pos;

	if (look_up(set, hash, target, key, len, &rec.previous))
		return false;
	rec.target = target;
	rec.len = (uint32) len;
	if (set->tail_len + size > TAIL_SIZE && set->tail_len > 0)
	{
		write_exact(&set->file, set->written, set->tail, set->tail_len);
		set->written += set->tail_len;
		set->tail_len = 0;
	}
	pos = set->written + set->tail_len;
	if (size <= TAIL_SIZE)
	{
		memcpy(set->tail + set->tail_len, &rec, sizeof(rec));
		memcpy(set->tail + set->tail_len + sizeof(rec), key, len);
		set->tail_len += size;
	}
	else
	{
		write_exact(&set->file, pos, (char *) &rec, sizeof(rec));
		write_exact(&set->file, pos + sizeof(rec), key, len);
		set->written += size;
	}
	if (!cdc_keyindex_put(set->index, hash, pos))
		out_of_memory();
	return true;
}

/*
 * In PG_CATCH(): the limit on temporary files is trouble of the set.  What
 * else goes wrong with a file says nothing of the row at hand, whatever its
 * code: nobody may take it for a row that cannot be encoded.
 */
static void
take_trouble(CdcKeySet *set, MemoryContext cxt)
{
	ErrorData  *error;

	MemoryContextSwitchTo(cxt);
	error = CopyErrorData();
	strlcpy(set->trouble, error->message, sizeof(set->trouble));
	if (ProcDiePending)
		PG_RE_THROW();
	FlushErrorState();
	if (error->sqlerrcode != ERRCODE_CONFIGURATION_LIMIT_EXCEEDED)
	{
		if (!cdc_error_is_passing(error->sqlerrcode))
			error->sqlerrcode = ERRCODE_SYSTEM_ERROR;
		ReThrowError(error);
	}
	FreeErrorData(error);
}

bool
cdc_keys_add(CdcKeySet *set, int target, const char *key, size_t len)
{
	MemoryContext cxt = CurrentMemoryContext;
	volatile bool added = false;

	if (set->trouble[0] != '\0')
		return false;
	cdc_keyindex_limit = Min((size_t) cdc_lane_memory * 1024 / 2, MAX_INDEX);
	PG_TRY();
	{
		added = add(set, target, key, len);
	}
	PG_CATCH();
	{
		take_trouble(set, cxt);
	}
	PG_END_TRY();
	return added;
}

bool
cdc_keys_contain(CdcKeySet *set, int target, const char *key, size_t len)
{
	MemoryContext cxt = CurrentMemoryContext;
	volatile bool found = true;
	int64		newest;

	if (set->trouble[0] != '\0')
		return true;
	PG_TRY();
	{
		found = look_up(set, hash_key(target, key, len), target, key, len, &newest);
	}
	PG_CATCH();
	{
		take_trouble(set, cxt);
	}
	PG_END_TRY();
	return found;
}
