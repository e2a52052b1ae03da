/*-------------------------------------------------------------------------
 * err.h
 *		Which errors pass by themselves.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_ERR_H
#define CDC_ERR_H

#include "postgres.h"

#include "utils/errcodes.h"

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

#endif							/* CDC_ERR_H */
