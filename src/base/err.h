/*-------------------------------------------------------------------------
 * err.h
 *		Which errors pass by themselves, and what becomes of the others.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_ERR_H
#define CDC_ERR_H

#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/errcodes.h"
#include "utils/resowner.h"

/*
 * Does the error say nothing of the data at hand, so that trying again may
 * help: conflicts, lack of memory or disk, orders of an operator?
 */
static inline bool
cdc_error_is_passing(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):
			return true;
		default:
			return false;
	}
}

/*
 * In PG_CATCH(): takes the error, as data in this context, which becomes the
 * current one.  One that passes by itself, and any while the process is told
 * to end, goes on instead.
 */
static inline ErrorData *
cdc_error_take(MemoryContext cxt)
{
	ErrorData  *error;

	MemoryContextSwitchTo(cxt);
	error = CopyErrorData();
	if (ProcDiePending || cdc_error_is_passing(error->sqlerrcode))
		PG_RE_THROW();
	FlushErrorState();
	return error;
}

/*
 * The same for an error within BeginInternalSubTransaction(), which it rolls
 * back; cxt and owner are those from before.
 */
static inline ErrorData *
cdc_error_take_subxact(MemoryContext cxt, ResourceOwner owner)
{
	ErrorData  *error;

	MemoryContextSwitchTo(cxt);
	error = CopyErrorData();
	FlushErrorState();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;
	if (ProcDiePending || cdc_error_is_passing(error->sqlerrcode))
		ReThrowError(error);
	return error;
}

#endif							/* CDC_ERR_H */
