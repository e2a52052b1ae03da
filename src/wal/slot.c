/*-------------------------------------------------------------------------
 * slot.c
 *		The replication slot of a lane: naming, creation, removal.
 *
 * Slots are not transactional, job rows are.  The rows decide: a slot whose
 * database has no live job is dropped by the lane that finds it so.
 *
 * Runs: setup worker (create), lane worker (drop), launcher (look).  Never in
 * a user's backend: creation waits for all open transactions, and a backend
 * that waited for that while holding an xid would wait for itself.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlogutils.h"
#include "base/compat.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "replication/logical.h"
#include "replication/slot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "wal/plugin.h"
#include "wal/slot.h"

const char *
cdc_slot_name(Oid dboid)
{
	static char name[NAMEDATALEN];

	snprintf(name, sizeof(name), "cdc_%u_0", dboid);
	return name;
}

/* The slot's entry if it is ours; ReplicationSlotControlLock is held. */
static ReplicationSlot *
find_slot(Oid dboid)
{
	const char *name = cdc_slot_name(dboid);

	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		if (slot->in_use && slot->data.database == dboid &&
			strcmp(NameStr(slot->data.name), name) == 0 &&
			strcmp(NameStr(slot->data.plugin), CDC_PLUGIN_NAME) == 0)
			return slot;
	}
	return NULL;
}

CdcSlotState
cdc_slot_state(Oid dboid)
{
	CdcSlotState state = CDC_SLOT_NONE;
	ReplicationSlot *slot;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	slot = find_slot(dboid);
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		/* an ephemeral one is still being made */
		if (slot->data.persistency != RS_PERSISTENT)
			state = CDC_SLOT_NONE;
		else
			state = cdc_compat_slot_is_invalid(slot) ? CDC_SLOT_LOST : CDC_SLOT_READY;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(ReplicationSlotControlLock);
	return state;
}

XLogRecPtr
cdc_slot_confirmed(void)
{
	XLogRecPtr	lsn = InvalidXLogRecPtr;
	ReplicationSlot *slot;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	slot = find_slot(MyDatabaseId);
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		lsn = slot->data.confirmed_flush;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(ReplicationSlotControlLock);
	return lsn;
}

List *
cdc_slot_databases(void)
{
	List	   *result = NIL;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		if (slot->in_use && slot->data.database != InvalidOid &&
			strcmp(NameStr(slot->data.plugin), CDC_PLUGIN_NAME) == 0)
			result = list_append_unique_oid(result, slot->data.database);
	}
	LWLockRelease(ReplicationSlotControlLock);
	return result;
}

void
cdc_slot_allow_plugin(void)
{
	if (GetConfigOption("output_plugin_libraries", true, false) != NULL)
		SetConfigOption("output_plugin_libraries", CDC_PLUGIN_NAME,
						PGC_SUSET, PGC_S_SESSION);
}

void
cdc_slot_create(void)
{
	LogicalDecodingContext *ctx;
	MemoryContext cxt;
	MemoryContext old;

	cdc_slot_allow_plugin();

	/*
	 * Inside a transaction, so that PROC_IN_LOGICAL_DECODING is not set (see
	 * wal/decode.c).  It is read only and gets no xid: a slot cannot be made
	 * in a transaction that has written.
	 */
	StartTransactionCommand();
	cxt = AllocSetContextCreate(TopMemoryContext, "cdc_sink slot creation",
								ALLOCSET_DEFAULT_SIZES);
	cdc_compat_slot_create(cdc_slot_name(MyDatabaseId), RS_EPHEMERAL);
	old = MemoryContextSwitchTo(cxt);
	cdc_plugin_permit(true);
	ctx = CreateInitDecodingContext(CDC_PLUGIN_NAME, NIL, false,
									InvalidXLogRecPtr,
									XL_ROUTINE(.page_read = read_local_xlog_page,
											   .segment_open = wal_segment_open,
											   .segment_close = wal_segment_close),
									NULL, NULL, NULL);
	MemoryContextSwitchTo(old);
	DecodingContextFindStartpoint(ctx);
	FreeDecodingContext(ctx);
	cdc_plugin_permit(false);

	/* An ephemeral slot goes away by itself on error or exit: persist last. */
	ReplicationSlotPersist();
	ReplicationSlotRelease();
	MemoryContextDelete(cxt);
	CommitTransactionCommand();
}

void
cdc_slot_drop(void)
{
	const char *name = cdc_slot_name(MyDatabaseId);
	bool		exists;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	exists = find_slot(MyDatabaseId) != NULL;
	LWLockRelease(ReplicationSlotControlLock);
	if (exists)
		ReplicationSlotDrop(name, true);
}
