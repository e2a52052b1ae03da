/*-------------------------------------------------------------------------
 * launcher.h
 *		The launcher and the workers that it starts.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_LAUNCHER_H
#define CDC_LAUNCHER_H

#include "postgres.h"

/* Registers the launcher with the postmaster.  Runs: _PG_init, preloading. */
extern void cdc_launcher_register(void);

/* Entry points of the processes. */
extern PGDLLEXPORT void cdc_launcher_main(Datum arg);
extern PGDLLEXPORT void cdc_setup_main(Datum arg);	/* arg: database OID */
extern PGDLLEXPORT void cdc_lane_main(Datum arg);	/* arg: database OID */

/* Records in the lane's entry why this worker cannot do its work. */
extern void cdc_lane_report(const char *error);

#endif							/* CDC_LAUNCHER_H */
