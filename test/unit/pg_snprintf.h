/*-------------------------------------------------------------------------
 * pg_snprintf.h
 *		For unit tests of what calls snprintf(): the server's own is not
 *		linked there.
 *-------------------------------------------------------------------------
 */
#ifndef PG_SNPRINTF_H
#define PG_SNPRINTF_H

#include "postgres.h"

#undef vsnprintf

int
pg_snprintf(char *str, size_t count, const char *fmt,...)
{
	va_list		args;
	int			result;

	va_start(args, fmt);
	result = vsnprintf(str, count, fmt, args);
	va_end(args);
	return result;
}

#endif							/* PG_SNPRINTF_H */
