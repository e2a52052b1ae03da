/*-------------------------------------------------------------------------
 * check.h
 *		Checks of a unit test: what failed is told, with what came instead
 *		(NULL: nothing).  main() ends with "return failures > 0;".
 *-------------------------------------------------------------------------
 */
#ifndef CHECK_H
#define CHECK_H

#include "postgres.h"

/* The real ones of libc: nothing of the server is linked. */
#undef printf
#undef fprintf

static int	failures = 0;

static void
check(bool ok, const char *what, const char *got)
{
	if (!ok)
	{
		printf("failed: %s (got \"%s\")\n", what, got ? got : "");
		failures++;
	}
}

#endif							/* CHECK_H */
