/*-------------------------------------------------------------------------
 * leave.h
 *		How a worker leaves while library threads may still be alive.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_LEAVE_H
#define CDC_LEAVE_H

/*
 * First call of each worker's main: registers an on_proc_exit callback that
 * runs last and calls _exit() once cdc_threads_started() was called, so that
 * OpenSSL's cleanup never runs under live threads.
 */
extern void cdc_leave_init(void);

/* This process may have foreign threads from now on. */
extern void cdc_threads_started(void);

#endif							/* CDC_LEAVE_H */
