/*-------------------------------------------------------------------------
 * session.h
 *		Settings of the extension's own processes.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SESSION_H
#define CDC_SESSION_H

/*
 * Pins every setting that changes what a value looks like or how long our
 * statements may wait, whatever ALTER DATABASE or ALTER ROLE say.
 */
extern void cdc_session_pin_settings(void);

#endif							/* CDC_SESSION_H */
