/*-------------------------------------------------------------------------
 * leave.c
 *		How a worker leaves while library threads may still be alive.
 *
 * exit() runs the atexit handlers of OpenSSL while librdkafka's threads may
 * be inside it: a crash, and with it a restart of the whole cluster.  A
 * thread that sits in the resolver cannot be joined in any bounded time
 * either.  So the process ends by _exit() as soon as PostgreSQL's own exit
 * callbacks have run: proc_exit callbacks run in reverse order, and this one
 * is registered before anything else.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "base/leave.h"
#include "storage/ipc.h"

static bool threads_started = false;

static void
leave_callback(int code, Datum arg)
{
	if (threads_started)
		_exit(code);
}

void
cdc_leave_init(void)
{
	on_proc_exit(leave_callback, 0);
}

void
cdc_threads_started(void)
{
	threads_started = true;
}
