/*-------------------------------------------------------------------------
 * keys.c
 *		Exact set of keys that were emitted while a scan runs.
 *
 * A hash alone is not enough, since a false hit would lose a row.  Memory
 * holds a few dozen bytes for each key: its 64-bit hash and where its bytes
 * stand in a temporary file; keys with equal hashes are chained through the
 * file.  A hit is confirmed by comparing the bytes.
 *
 * Runs: lane worker, decoding callbacks and main loop.  The file belongs to
 * no transaction and goes away with the process.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "scan/keys.h"
#include "storage/buffile.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

typedef struct KeyEntry
{
	uint64		hash;			/* hash key */
	int64		pos;			/* newest record with this hash */
} KeyEntry;

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
	HTAB	   *entries;
	BufFile    *file;
	int64		end;			/* next free byte of the file */
	bool		at_end;			/* file is positioned there */
	char	   *scratch;
	size_t		scratch_size;
};

/* BufFile counts in segments of 1 GB. */
#define SEGMENT_SIZE	((int64) 0x40000000)

static uint64
hash_key(int target, const char *key, size_t len)
{
	return DatumGetUInt64(hash_any_extended((const unsigned char *) key,
											(int) len, (uint64) target));
}

static void
seek(CdcKeySet *set, int64 pos)
{
	if (BufFileSeek(set->file, (int) (pos / SEGMENT_SIZE),
					(off_t) (pos % SEGMENT_SIZE), SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not seek in temporary file of a changefeed's scan: %m")));
}

static void
read_exact(CdcKeySet *set, void *dst, size_t len)
{
	if (BufFileRead(set->file, dst, len) != len)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from temporary file of a changefeed's scan: %m")));
}

CdcKeySet *
cdc_keys_create(void)
{
	MemoryContext cxt = AllocSetContextCreate(TopMemoryContext,
											  "cdc_sink scan keys",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	ResourceOwner owner = CurrentResourceOwner;
	CdcKeySet  *set = palloc0(sizeof(CdcKeySet));
	HASHCTL		ctl;

	set->cxt = cxt;
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(uint64);
	ctl.entrysize = sizeof(KeyEntry);
	ctl.hcxt = cxt;
	set->entries = hash_create("cdc_sink scan keys", 1024, &ctl,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	/* It outlives the transaction that may be in progress. */
	CurrentResourceOwner = NULL;
	set->file = BufFileCreateTemp(true);
	CurrentResourceOwner = owner;
	set->at_end = true;
	MemoryContextSwitchTo(old);
	return set;
}

void
cdc_keys_free(CdcKeySet *set)
{
	BufFileClose(set->file);
	MemoryContextDelete(set->cxt);
}

static bool
find_in_chain(CdcKeySet *set, int64 pos, int target, const char *key, size_t len)
{
	while (pos >= 0)
	{
		KeyRecord	rec;

		seek(set, pos);
		set->at_end = false;
		read_exact(set, &rec, sizeof(rec));
		if (rec.target == target && rec.len == len)
		{
			if (set->scratch_size < len)
			{
				set->scratch_size = Max(len, 256);
				if (set->scratch)
					pfree(set->scratch);
				set->scratch = MemoryContextAlloc(set->cxt, set->scratch_size);
			}
			read_exact(set, set->scratch, len);
			if (memcmp(set->scratch, key, len) == 0)
				return true;
		}
		pos = rec.previous;
	}
	return false;
}

bool
cdc_keys_contain(CdcKeySet *set, int target, const char *key, size_t len)
{
	uint64		hash = hash_key(target, key, len);
	KeyEntry   *entry = hash_search(set->entries, &hash, HASH_FIND, NULL);

	return entry != NULL && find_in_chain(set, entry->pos, target, key, len);
}

bool
cdc_keys_add(CdcKeySet *set, int target, const char *key, size_t len)
{
	uint64		hash = hash_key(target, key, len);
	ResourceOwner owner = CurrentResourceOwner;
	KeyEntry   *entry;
	KeyRecord	rec;
	bool		found;

	entry = hash_search(set->entries, &hash, HASH_ENTER, &found);
	if (found && find_in_chain(set, entry->pos, target, key, len))
		return false;
	if (!set->at_end)
		seek(set, set->end);
	set->at_end = true;
	rec.previous = found ? entry->pos : -1;
	rec.target = target;
	rec.len = (uint32) len;
	CurrentResourceOwner = NULL;
	BufFileWrite(set->file, &rec, sizeof(rec));
	BufFileWrite(set->file, unconstify(char *, key), len);
	CurrentResourceOwner = owner;
	entry->pos = set->end;
	set->end += sizeof(rec) + len;
	return true;
}

size_t
cdc_keys_memory(const CdcKeySet *set)
{
	/* element, its header, its share of the directory */
	return (size_t) hash_get_num_entries(set->entries) *
		(MAXALIGN(sizeof(KeyEntry)) + MAXALIGN(sizeof(HASHELEMENT)) + sizeof(void *));
}
