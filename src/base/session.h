/*-------------------------------------------------------------------------
 * session.h
 *		Settings of the extension's own processes, and where they run.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SESSION_H
#define CDC_SESSION_H

#include "postgres.h"

/*
 * Pins every setting that changes what a value looks like or how long our
 * statements may wait, whatever ALTER DATABASE or ALTER ROLE say.
 */
extern void cdc_session_pin_settings(void);

/* The cluster's identifier, which its standbys share. */
extern uint64 cdc_session_system_id(void);

#endif							/* CDC_SESSION_H */
