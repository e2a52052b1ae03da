/*-------------------------------------------------------------------------
 * toast_cache.h
 *		Large values that passed by, for updates that leave them alone.
 *
 * The stream shows the versions of a row in their order, each once, and a
 * value stored out of line is in the WAL when it is new.  So an UPDATE with a
 * pointer in its place has the value that the version before it had.  This
 * holds as long as no version is missed; hence the rules:
 *
 * - every change of a table with "keeps_large" is shown, whoever takes it;
 * - cdc_toast_cache_clear() when the reader goes back, when tables may be
 *   watched by others than before, and when a change was given up half-way;
 * - cdc_toast_cache_forget() when a table is not watched any more, or its
 *   key, its identity or its columns are others.
 *
 * A rewrite, which changes rows without showing them, is known by the file
 * that a row is in.
 *
 * Runs: decoding callbacks and main loop of the lane.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_TOAST_CACHE_H
#define CDC_TOAST_CACHE_H

#include "postgres.h"

#include "access/htup_details.h"
#include "replication/reorderbuffer.h"
#include "table/relcache.h"

/* Has the change to do with values that are kept, or to be kept? */
static inline bool
cdc_toast_cache_concerns(CdcTable *table, HeapTuple newtuple)
{
	return table->keeps_large &&
		((newtuple != NULL && HeapTupleHasExternal(newtuple)) ||
		 !dlist_is_empty(&table->kept_rows));
}

/*
 * A change passes, in the table's "values" and "old_values".  Pointers of an
 * UPDATE are replaced by their values where those are kept; they stay in
 * place until the next call for whatever table.  True: there is no pointer
 * left in the new row.  *recalled: which columns were filled in, palloc'ed,
 * or NULL.
 */
extern bool cdc_toast_cache_pass(CdcTable *table, const ReorderBufferChange *change,
								 const bool **recalled);

/* Not while values of the table are in use. */
extern void cdc_toast_cache_forget(CdcTable *table);
extern void cdc_toast_cache_clear(void);

#endif							/* CDC_TOAST_CACHE_H */
