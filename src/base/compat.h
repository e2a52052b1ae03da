/*-------------------------------------------------------------------------
 * compat.h
 *		Every difference between PostgreSQL 13 and 18 that the code meets, as
 *		wrappers that carry the newest form's meaning.  No other file tests
 *		PG_VERSION_NUM.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_COMPAT_H
#define CDC_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/xlog.h"
#include "access/xlogutils.h"
#include "catalog/pg_database.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_publication_rel.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/logical.h"
#include "replication/message.h"
#include "replication/reorderbuffer.h"
#include "replication/slot.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/acl.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#if PG_VERSION_NUM < 130000
#error "cdc_sink needs PostgreSQL 13 or newer"
#endif

/* pg_foreign_server_aclcheck: object_aclcheck since 16. */
static inline bool
cdc_compat_may_use_server(Oid serverid, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ForeignServerRelationId, serverid, roleid,
						   ACL_USAGE) == ACLCHECK_OK;
#else
	return pg_foreign_server_aclcheck(serverid, roleid, ACL_USAGE) == ACLCHECK_OK;
#endif
}

/* check_is_member_of_role: whether SET ROLE is allowed since 16. */
static inline void
cdc_compat_check_can_own(Oid member, Oid role)
{
#if PG_VERSION_NUM >= 160000
	check_can_set_role(member, role);
#else
	check_is_member_of_role(member, role);
#endif
}

/* ReplicationSlotCreate: two_phase since 14, failover and synced since 17. */
static inline void
cdc_compat_slot_create(const char *name, ReplicationSlotPersistency persistency)
{
#if PG_VERSION_NUM >= 170000
	ReplicationSlotCreate(name, true, persistency, false, false, false);
#elif PG_VERSION_NUM >= 140000
	ReplicationSlotCreate(name, true, persistency, false);
#else
	ReplicationSlotCreate(name, true, persistency);
#endif
}

static inline void
cdc_compat_slot_acquire(const char *name)
{
#if PG_VERSION_NUM >= 180000
	ReplicationSlotAcquire(name, true, false);
#elif PG_VERSION_NUM >= 140000
	ReplicationSlotAcquire(name, true);
#else
	ReplicationSlotAcquire(name, SAB_Error);
#endif
}

/* Has the server given up the WAL of the slot that this process holds? */
static inline bool
cdc_compat_slot_invalidated(void)
{
#if PG_VERSION_NUM >= 160000
	return MyReplicationSlot->data.invalidated != RS_INVAL_NONE;
#else
	return MyReplicationSlot->data.restart_lsn == InvalidXLogRecPtr;
#endif
}

/* The same of any slot of the array, under its spinlock. */
static inline bool
cdc_compat_slot_is_invalid(const ReplicationSlot *slot)
{
#if PG_VERSION_NUM >= 160000
	return slot->data.invalidated != RS_INVAL_NONE;
#else
	return slot->data.restart_lsn == InvalidXLogRecPtr;
#endif
}

static inline XLogRecPtr
cdc_compat_flush_ptr(void)
{
#if PG_VERSION_NUM >= 150000
	return GetFlushRecPtr(NULL);
#else
	return GetFlushRecPtr();
#endif
}

static inline void
cdc_compat_determine_timeline(XLogReaderState *state, XLogRecPtr page, int len)
{
#if PG_VERSION_NUM >= 150000
	XLogReadDetermineTimeline(state, page, len, GetWALInsertionTimeLine());
#else
	XLogReadDetermineTimeline(state, page, len);
#endif
}

/* The timeline to read a page from, as XLogReadDetermineTimeline left it. */
static inline TimeLineID
cdc_compat_read_tli(XLogReaderState *state)
{
	return state->currTLI;
}

static inline HeapTuple
cdc_compat_new_tuple(const ReorderBufferChange *change)
{
#if PG_VERSION_NUM >= 170000
	return change->data.tp.newtuple;
#else
	return change->data.tp.newtuple ? &change->data.tp.newtuple->tuple : NULL;
#endif
}

static inline HeapTuple
cdc_compat_old_tuple(const ReorderBufferChange *change)
{
#if PG_VERSION_NUM >= 170000
	return change->data.tp.oldtuple;
#else
	return change->data.tp.oldtuple ? &change->data.tp.oldtuple->tuple : NULL;
#endif
}

/* The file of the heap that the changed row is in. */
static inline Oid
cdc_compat_change_file(const ReorderBufferChange *change)
{
#if PG_VERSION_NUM >= 160000
	return change->data.tp.rlocator.relNumber;
#else
	return change->data.tp.relnode.relNode;
#endif
}

static inline TimestampTz
cdc_compat_commit_time(const ReorderBufferTXN *txn)
{
#if PG_VERSION_NUM >= 150000
	return txn->xact_time.commit_time;
#else
	return txn->commit_time;
#endif
}

/* For what is decoded outside of a transaction. */
static inline void
cdc_compat_set_commit_time(ReorderBufferTXN *txn, TimestampTz time)
{
#if PG_VERSION_NUM >= 150000
	txn->xact_time.commit_time = time;
#else
	txn->commit_time = time;
#endif
}

/* Prefix of the messages that the extension itself writes. */
#define CDC_MESSAGE_PREFIX	"cdc_sink"

/* Inserts and flushes a non-transactional logical message. */
static inline XLogRecPtr
cdc_compat_log_message(const char *prefix, const char *text, size_t len)
{
	XLogRecPtr	lsn;

#if PG_VERSION_NUM >= 170000
	lsn = LogLogicalMessage(prefix, text, len, false, true);
#else
	lsn = LogLogicalMessage(prefix, text, len, false);
#endif
	XLogFlush(lsn);
	return lsn;
}

/* PROC_IN_LOGICAL_DECODING must never be set when tables are read. */
static inline bool
cdc_compat_snapshot_unprotected(void)
{
#if PG_VERSION_NUM >= 140000
	return (MyProc->statusFlags & PROC_IN_LOGICAL_DECODING) != 0;
#else
	return (MyPgXact->vacuumFlags & PROC_IN_LOGICAL_DECODING) != 0;
#endif
}

static inline WaitEventSet *
cdc_compat_wait_event_set(int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, nevents);
#else
	return CreateWaitEventSet(TopMemoryContext, nevents);
#endif
}

static inline IndexScanDesc
cdc_compat_index_beginscan(Relation rel, Relation index, Snapshot snapshot,
						   int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(rel, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(rel, index, snapshot, nkeys, 0);
#endif
}

/* Sends a whole message and wakes the receiver; waits for room. */
static inline shm_mq_result
cdc_compat_mq_send(shm_mq_handle *queue, Size len, const void *data)
{
#if PG_VERSION_NUM >= 150000
	return shm_mq_send(queue, len, data, false, true);
#else
	return shm_mq_send(queue, len, data, false);
#endif
}

#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* Arguments of ProcessUtility behind the query text. */
#if PG_VERSION_NUM >= 140000
#define CDC_UTILITY_ARGS \
	bool readonly, ProcessUtilityContext context, ParamListInfo params, \
	QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc
#define CDC_UTILITY_PASS readonly, context, params, env, dest, qc
#else
#define CDC_UTILITY_ARGS \
	ProcessUtilityContext context, ParamListInfo params, \
	QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc
#define CDC_UTILITY_PASS context, params, env, dest, qc
#endif

static inline bool
cdc_compat_owns_database(Oid dboid, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, dboid, role);
#else
	return pg_database_ownercheck(dboid, role);
#endif
}

/* Decimal text of an integer and a zero byte; returns its length. */
static inline int
cdc_compat_ltoa(int32 value, char *dst)
{
#if PG_VERSION_NUM >= 140000
	return pg_ltoa(value, dst);
#else
	pg_ltoa(value, dst);
	return (int) strlen(dst);
#endif
}

static inline int
cdc_compat_lltoa(int64 value, char *dst)
{
#if PG_VERSION_NUM >= 140000
	return pg_lltoa(value, dst);
#else
	pg_lltoa(value, dst);
	return (int) strlen(dst);
#endif
}

#ifndef LSN_FORMAT_ARGS
#define LSN_FORMAT_ARGS(lsn) (uint32) ((lsn) >> 32), (uint32) (lsn)
#endif

/* Stands before the declaration since 18, and pg_attribute_noreturn() is gone. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

#if PG_VERSION_NUM < 170000
#define AmBackgroundWorkerProcess() IsBackgroundWorker
#endif

/*
 * The primary key if it is one that identifies rows, that is not a deferrable
 * one, which rd_pkindex names, too, since 17.  After RelationGetIndexList().
 */
static inline Oid
cdc_compat_primary_key(Relation rel)
{
#if PG_VERSION_NUM >= 170000
	if (rel->rd_ispkdeferrable)
		return InvalidOid;
#endif
	return rel->rd_pkindex;
}

/* Virtual generated columns came with 18. */
#ifndef ATTRIBUTE_GENERATED_VIRTUAL
#define ATTRIBUTE_GENERATED_VIRTUAL 'v'
#endif

/*
 * Publications: schemas, row filters and column lists came with 15.  All
 * through the system caches, so that a historic snapshot serves as well.
 */
static inline char *
cdc_compat_publication_name(Oid pubid)
{
	HeapTuple	tuple = SearchSysCache1(PUBLICATIONOID, ObjectIdGetDatum(pubid));
	char	   *name = NULL;

	if (HeapTupleIsValid(tuple))
	{
		name = pstrdup(NameStr(((Form_pg_publication) GETSTRUCT(tuple))->pubname));
		ReleaseSysCache(tuple);
	}
	return name;
}

/* Are inserts, updates and deletes all published? */
static inline bool
cdc_compat_publication_is_whole(Oid pubid)
{
	HeapTuple	tuple = SearchSysCache1(PUBLICATIONOID, ObjectIdGetDatum(pubid));
	bool		whole = false;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_publication pub = (Form_pg_publication) GETSTRUCT(tuple);

		whole = pub->pubinsert && pub->pubupdate && pub->pubdelete;
		ReleaseSysCache(tuple);
	}
	return whole;
}

/* Is this relation, in this schema, in the publication itself? */
static inline bool
cdc_compat_publishes(Oid pubid, Oid relid, Oid nspid)
{
	HeapTuple	tuple = SearchSysCache1(PUBLICATIONOID, ObjectIdGetDatum(pubid));
	bool		all;

	if (!HeapTupleIsValid(tuple))
		return false;
	all = ((Form_pg_publication) GETSTRUCT(tuple))->puballtables;
	ReleaseSysCache(tuple);
	if (all || SearchSysCacheExists2(PUBLICATIONRELMAP, ObjectIdGetDatum(relid),
									 ObjectIdGetDatum(pubid)))
		return true;
#if PG_VERSION_NUM >= 150000
	return SearchSysCacheExists2(PUBLICATIONNAMESPACEMAP, ObjectIdGetDatum(nspid),
								 ObjectIdGetDatum(pubid));
#else
	return false;
#endif
}

/* Has it a row filter for this table? */
static inline bool
cdc_compat_publication_filters(Oid pubid, Oid relid)
{
#if PG_VERSION_NUM >= 150000
	HeapTuple	tuple = SearchSysCache2(PUBLICATIONRELMAP, ObjectIdGetDatum(relid),
										ObjectIdGetDatum(pubid));
	bool		isnull = true;

	if (HeapTupleIsValid(tuple))
	{
		(void) SysCacheGetAttr(PUBLICATIONRELMAP, tuple,
							   Anum_pg_publication_rel_prqual, &isnull);
		ReleaseSysCache(tuple);
	}
	return !isnull;
#else
	return false;
#endif
}

/* Its column list for this table, "1 3"; "": all. */
static inline char *
cdc_compat_publication_columns(Oid pubid, Oid relid)
{
	char	   *list = pstrdup("");
#if PG_VERSION_NUM >= 150000
	HeapTuple	tuple = SearchSysCache2(PUBLICATIONRELMAP, ObjectIdGetDatum(relid),
										ObjectIdGetDatum(pubid));

	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = SysCacheGetAttr(PUBLICATIONRELMAP, tuple,
											Anum_pg_publication_rel_prattrs, &isnull);

		if (!isnull)
			list = DatumGetCString(DirectFunctionCall1(int2vectorout, value));
		ReleaseSysCache(tuple);
	}
#endif
	return list;
}

/* Shared memory is asked for in a hook since 15. */
#if PG_VERSION_NUM >= 150000
#define CDC_HAVE_SHMEM_REQUEST_HOOK 1
#endif

#endif							/* CDC_COMPAT_H */
