/*-------------------------------------------------------------------------
 * slot.h
 *		The replication slot of a lane: one for each database.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SLOT_H
#define CDC_SLOT_H

#include "postgres.h"

#include "access/xlogdefs.h"

#define CDC_PLUGIN_NAME		"cdc_sink"

typedef enum CdcSlotState
{
	CDC_SLOT_NONE,
	CDC_SLOT_READY,
	CDC_SLOT_LOST,				/* the server gave up its WAL */
} CdcSlotState;

/* Name of the slot of a database, in a static buffer. */
extern const char *cdc_slot_name(Oid dboid);

/* Looks at the slot array in shared memory; takes no lock on the slot. */
extern CdcSlotState cdc_slot_state(Oid dboid);

/*
 * Up to where the slot of the current database is confirmed: what lies before
 * is not decoded any more.  Invalid: there is no slot.
 */
extern XLogRecPtr cdc_slot_confirmed(void);

/*
 * Makes the slot of the current database, consistent and persistent.  Waits
 * for every transaction that is open in the cluster at that moment: only a
 * setup worker may call this.  Raises what core raises (max_replication_slots
 * and so on).
 */
extern void cdc_slot_create(void);

/* Drops the slot of the current database if there is one and it is free. */
extern void cdc_slot_drop(void);

/*
 * Lets this process use our own output plugin, whatever the setting
 * output_plugin_libraries says for others (it exists since the minor
 * releases of August 2026).
 */
extern void cdc_slot_allow_plugin(void);

/* Databases that have a slot of ours; list of OIDs. */
struct List;
extern struct List *cdc_slot_databases(void);

#endif							/* CDC_SLOT_H */
