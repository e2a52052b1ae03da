/*-------------------------------------------------------------------------
 * keyindex.h
 *		From the hash of a key to a number, for any number of keys in bounded
 *		memory.
 *
 * Runs: lane worker, main thread; pure C, knows nothing of files.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_KEYINDEX_H
#define CDC_KEYINDEX_H

#include "postgres.h"

#define CDC_KEYINDEX_PAGE	8192

typedef struct CdcKeyIndex CdcKeyIndex;

/*
 * Where pages go that memory has no room for.  Page n stands at n *
 * CDC_KEYINDEX_PAGE; a page is written first when all before it were, and
 * read only after that.  Either may leave by an ERROR: the index is good for
 * nothing but cdc_keyindex_free() then.
 */
typedef struct CdcKeyIndexIo
{
	void		(*read) (void *arg, uint32 page, void *data);
	void		(*write) (void *arg, uint32 page, const void *data);
	void	   *arg;
} CdcKeyIndexIo;

/*
 * Bytes of memory for all indexes of the process together.  Each has a few
 * pages in any case, and some bytes for each page that is out.
 */
extern size_t cdc_keyindex_limit;

/* NULL: out of memory. */
extern CdcKeyIndex *cdc_keyindex_create(const CdcKeyIndexIo *io);
extern void cdc_keyindex_free(CdcKeyIndex *index);

/*
 * The number of this hash, -1: it has none.  ok: false when out of memory.
 */
extern int64 cdc_keyindex_get(CdcKeyIndex *index, uint64 hash, bool *ok);

/* Sets the number (not negative) of this hash; false: out of memory. */
extern bool cdc_keyindex_put(CdcKeyIndex *index, uint64 hash, int64 number);

/* Memory that all indexes take. */
extern size_t cdc_keyindex_memory(void);

#endif							/* CDC_KEYINDEX_H */
