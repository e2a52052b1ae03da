/*-------------------------------------------------------------------------
 * hooks.h
 *		Statements of others that have to know of changefeeds.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HOOKS_H
#define CDC_HOOKS_H

/* Runs: _PG_init, preloading. */
extern void cdc_hooks_init(void);

#endif							/* CDC_HOOKS_H */
