/*-------------------------------------------------------------------------
 * worker.c
 *		The scan worker: reads the tables of one feed in chunks, encodes the
 *		rows and hands them to the lane.
 *
 * A table is read in the order of its key, so many rows at a time, each
 * chunk under a snapshot of its own, so that no snapshot is held for the
 * length of the scan.  A row that moves between chunks was written after the
 * feed's start, so the stream tells of it.  Tables without a usable key are
 * read as one chunk, and so is everything for initial_scan='only', which
 * exports the state of one moment.
 *
 * The tables are read as the job's owner, in a security-restricted context.
 * Right after the snapshot of a chunk a logical message is written and
 * flushed: what the snapshot sees is then decoded before that position.
 *
 * Runs: a process of its own for each scan; has no contact with the sink.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/genam.h"
#include "access/relation.h"
#include "access/stratnum.h"
#include "access/transam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/err.h"
#include "base/session.h"
#include "catalog/columns.h"
#include "catalog/job.h"
#include "catalog/key.h"
#include "catalog/options.h"
#include "catalog/pg_am.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "catalog/target.h"
#include "encode/encode.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "scan/scan.h"
#include "sink/sink.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/shm_mq.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define ROWS_PER_CHUNK	50000
#define ROWS_PER_FETCH	500
#define BYTES_PER_MESSAGE (64 * 1024)

typedef struct ScanTable
{
	Oid			relid;
	Oid			target;			/* whose rows they are sent as */
	const CdcScanItem *item;
	const char *listed;			/* columns of the target, see columns.h */
	char	   *columns;		/* "a, b" */
	char	   *from;			/* "[ONLY] schema.table" */
	int			nkeys;
	char	  **keynames;		/* quoted */
	Oid		   *keytypes;
	bool		by_key;			/* can be read in chunks */
	char	   *key;			/* fingerprint of all this */
	Datum	   *last;			/* key of the last row sent, NULL at first */
} ScanTable;

/* The feed whose tables are read. */
typedef struct ScanFeed
{
	CdcEncodeOptions encode;
	bool		has_keys;		/* keys beside the value */
	bool		commit_times;	/* tell when each row was committed: the last
								 * column that is read is xmin */
} ScanFeed;

static shm_mq_handle *lane_queue = NULL;
static CdcBuf message;

static void
send_message(void)
{
	if (cdc_compat_mq_send(lane_queue, message.len, message.data) != SHM_MQ_SUCCESS)
		proc_exit(0);			/* the lane has gone: nobody to tell */
	message.len = 0;
}

static void
send_chunk(int32 item, XLogRecPtr l_hi)
{
	message.len = 0;
	cdc_buf_append_char(&message, CDC_SCAN_CHUNK);
	cdc_buf_append(&message, (char *) &item, sizeof(item));
	cdc_buf_append(&message, (char *) &l_hi, sizeof(l_hi));
	send_message();
}

static void
send_rows(void)
{
	if (message.len > 1)
		send_message();
	message.len = 0;
	cdc_buf_append_char(&message, CDC_SCAN_ROWS);
}

/* The columns to read; virtual ones have no value in the stream either. */
static char *
column_list(TupleDesc desc, bool virtual_null)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped ||
			(att->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL && !virtual_null))
			continue;
		appendStringInfoString(&list, list.len > 0 ? ", " : "");
		if (att->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
			appendStringInfo(&list, "CAST(NULL AS %s) AS ",
							 format_type_extended(att->atttypid, att->atttypmod,
												  FORMAT_TYPE_TYPEMOD_GIVEN |
												  FORMAT_TYPE_FORCE_QUALIFY));
		appendStringInfoString(&list, quote_identifier(NameStr(att->attname)));
	}
	return list.data;
}

/*
 * Can the rows be read in the order of this index with the plain operators
 * of SQL?  With another operator class, or a type whose operators are not
 * those of pg_catalog, "greater than" and ORDER BY could mean two different
 * orders, and rows would be passed over.
 */
static bool
index_order_is_plain(Oid index_oid)
{
	Relation	index = index_open(index_oid, AccessShareLock);
	bool		plain = index->rd_rel->relam == BTREE_AM_OID;

	for (int i = 0; plain && i < index->rd_index->indnkeyatts; i++)
	{
		Oid			type = index->rd_opcintype[i];
		Oid			opfamily = index->rd_opfamily[i];
		Oid			column = getBaseType(get_atttype(index->rd_index->indrelid,
													 index->rd_index->indkey.values[i]));
		Oid			dflt = GetDefaultOpClass(column, BTREE_AM_OID);
		Oid			greater = get_opfamily_member(opfamily, type, type,
												  BTGreaterStrategyNumber);

		plain = OidIsValid(dflt) && OidIsValid(greater) &&
			get_opclass_family(dflt) == opfamily &&
			greater < FirstNormalObjectId && column < FirstNormalObjectId;
		/* enums and arrays of them compare by functions of pg_catalog */
		if (!plain && OidIsValid(greater) && greater < FirstNormalObjectId &&
			get_typtype(column) == TYPTYPE_ENUM)
			plain = true;
	}
	index_close(index, AccessShareLock);
	return plain;
}

/*
 * Looks the table up; a table that has gone is not an error of the scan.  If
 * the key is not what it was when the last chunk was read, the last key
 * cannot be compared with what follows: the table is read from its start.
 */
static bool
describe_table(ScanTable *table, bool virtual_null, MemoryContext cxt)
{
	Relation	rel = try_relation_open(table->relid, AccessShareLock);
	CdcIdentity identity;
	AttrNumber *keyatts;
	MemoryContext old;
	char	   *key;
	StringInfoData buf;
	Oid			pkindex;

	if (rel == NULL)
		return false;
	old = MemoryContextSwitchTo(cxt);
	keyatts = cdc_table_key(rel, &table->nkeys, &identity);
	table->from = psprintf("%s%s",
						   rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
						   quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
													  RelationGetRelationName(rel)));
	table->columns = column_list(cdc_columns_mask(RelationGetDescr(rel), table->relid,
												  table->target, table->listed),
								 virtual_null);
	pkindex = cdc_compat_primary_key(rel);
	table->by_key = OidIsValid(pkindex) && index_order_is_plain(pkindex);
	table->keynames = palloc(sizeof(char *) * Max(table->nkeys, 1));
	table->keytypes = palloc(sizeof(Oid) * Max(table->nkeys, 1));
	initStringInfo(&buf);
	for (int i = 0; i < table->nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), keyatts[i] - 1);

		table->keynames[i] = pstrdup(quote_identifier(NameStr(att->attname)));
		table->keytypes[i] = att->atttypid;
		appendStringInfo(&buf, "%d %u %d %u,", att->attnum, att->atttypid,
						 att->atttypmod, att->attcollation);
	}
	appendStringInfo(&buf, "%u %d", pkindex, table->by_key);
	key = buf.data;
	if (table->last != NULL && strcmp(key, table->key) != 0)
		table->last = NULL;
	table->key = key;
	MemoryContextSwitchTo(old);
	relation_close(rel, NoLock);
	return true;
}

static char *
chunk_query(const ScanTable *table, bool one_chunk, bool commit_times)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s%s FROM %s", table->columns,
					 commit_times ? ", xmin" : "", table->from);
	if (one_chunk || !table->by_key)
		return sql.data;
	if (table->last != NULL)
	{
		appendStringInfoString(&sql, " WHERE (");
		for (int i = 0; i < table->nkeys; i++)
			appendStringInfo(&sql, "%s%s", i ? ", " : "", table->keynames[i]);
		appendStringInfoString(&sql, ") OPERATOR(pg_catalog.>) (");
		for (int i = 0; i < table->nkeys; i++)
			appendStringInfo(&sql, "%s$%d", i ? ", " : "", i + 1);
		appendStringInfoChar(&sql, ')');
	}
	appendStringInfoString(&sql, " ORDER BY ");
	for (int i = 0; i < table->nkeys; i++)
		appendStringInfo(&sql, "%s%s", i ? ", " : "", table->keynames[i]);
	appendStringInfo(&sql, " LIMIT %d", ROWS_PER_CHUNK);
	return sql.data;
}

static AttrNumber *
key_positions(const ScanTable *table, TupleDesc desc)
{
	AttrNumber *atts = palloc(sizeof(AttrNumber) * Max(table->nkeys, 1));

	for (int i = 0; i < table->nkeys; i++)
	{
		atts[i] = 0;
		for (int j = 0; j < desc->natts; j++)
		{
			if (strcmp(quote_identifier(NameStr(TupleDescAttr(desc, j)->attname)),
					   table->keynames[i]) == 0)
				atts[i] = j + 1;
		}
		if (atts[i] == 0)
			elog(ERROR, "key column %s is missing", table->keynames[i]);
	}
	return atts;
}

/* Remembers where the next chunk starts; survives the transaction. */
static void
remember_key(ScanTable *table, const AttrNumber *keyatts, TupleDesc desc,
			 const Datum *values, MemoryContext cxt)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);

	if (table->last == NULL)
		table->last = palloc0(sizeof(Datum) * table->nkeys);
	for (int i = 0; i < table->nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, keyatts[i] - 1);
		Datum		value = values[keyatts[i] - 1];

		if (att->attlen == -1)
			value = PointerGetDatum(PG_DETOAST_DATUM(value));
		if (!att->attbyval && table->last[i] != 0)
			pfree(DatumGetPointer(table->last[i]));
		table->last[i] = datumCopy(value, att->attbyval, att->attlen);
	}
	MemoryContextSwitchTo(old);
}

static CdcRowEncoder *
make_encoder(ScanTable *table, TupleDesc desc, int natts,
			 const AttrNumber *keyatts, const char *topic,
			 const CdcEncodeOptions *encode)
{
	CdcEncodeTable described;
	Relation	rel = relation_open(table->relid, NoLock);
	const char *name = get_rel_name(table->target);

	/* a query's result does not tell which columns may be null */
	described.relid = table->relid;
	described.desc = CreateTemplateTupleDesc(natts);
	for (int i = 0; i < natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(described.desc, i);
		AttrNumber	attnum;

		TupleDescCopyEntry(described.desc, i + 1, desc, i + 1);
		attnum = get_attnum(table->relid, NameStr(att->attname));

		if (attnum > 0)
			att->attnotnull = TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attnotnull;
	}
	described.keyless = cdc_table_is_keyless(rel);
	relation_close(rel, NoLock);
	described.nkeys = table->nkeys;
	described.keyatts = keyatts;
	described.topic = topic;
	described.schema = get_namespace_name(get_rel_namespace(table->target));
	described.name = name ? name : "";
	return cdc_encoder_create(CurrentMemoryContext, &described, encode);
}

/* Appends a row to the message for the lane. */
static void
append_row(CdcRowEncoder *encoder, const CdcRow *row, bool has_keys)
{
	size_t		head = message.len;
	CdcScanRow	header = {0};

	cdc_buf_append(&message, (char *) &header, sizeof(header));
	cdc_encode_identity(encoder, &message, row->values, row->nulls);
	header.identity_len = (uint32) (message.len - head - sizeof(header));
	header.identity_is_key = has_keys && cdc_encoder_key_is_identity(encoder);
	cdc_encode_message(encoder, &message, row, has_keys && !header.identity_is_key,
					   NULL, &header.parts);
	memcpy(message.data + head, &header, sizeof(header));
}

/*
 * When the row was committed, if the server still knows, and never later than
 * the scan's own stamp.  The number of an old transaction is not looked at
 * closer: as pg_xact_commit_timestamp(xmin) it may tell of a later one with
 * the same number.
 */
static CdcHlc
commit_stamp(TransactionId xmin, CdcHlc t0)
{
	TimestampTz when;
	CdcHlc		stamp = {0, 0};

	if (!TransactionIdIsNormal(xmin) ||
		!TransactionIdGetCommitTsData(xmin, &when, NULL))
		return t0;
	stamp.wall = cdc_hlc_wall(when);
	return cdc_hlc_cmp(stamp, t0) < 0 ? stamp : t0;
}

/*
 * Reads one chunk in the current transaction and sends its rows.  Returns
 * the number of rows read.
 */
static uint64
read_chunk(ScanTable *table, const ScanFeed *feed, const char *topic,
		   CdcHlc t0, bool one_chunk, MemoryContext cxt)
{
	SPIPlanPtr	plan;
	Portal		portal;
	CdcRowEncoder *encoder = NULL;
	AttrNumber *keyatts = NULL;
	Datum	   *values = NULL;
	bool	   *nulls = NULL;
	CdcRow		row = {.op = 'r', .updated = t0, .mvcc = t0};
	MemoryContext row_cxt;
	uint64		rows = 0;
	int			nargs = table->last != NULL ? table->nkeys : 0;

	row_cxt = AllocSetContextCreate(CurrentMemoryContext, "cdc_sink scan row",
									ALLOCSET_DEFAULT_SIZES);
	plan = SPI_prepare_cursor(chunk_query(table, one_chunk, feed->commit_times), nargs,
							  table->keytypes,
							  CURSOR_OPT_NO_SCROLL | CURSOR_OPT_FAST_PLAN);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, table->last, NULL, true);

	send_rows();
	for (;;)
	{
		TupleDesc	desc;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, ROWS_PER_FETCH);
		if (SPI_processed == 0)
			break;
		desc = SPI_tuptable->tupdesc;
		if (encoder == NULL)
		{
			keyatts = key_positions(table, desc);
			encoder = make_encoder(table, desc, feed->commit_times ? desc->natts - 1 : desc->natts,
								   keyatts, topic, &feed->encode);
			if (feed->encode.diff && table->item->known)
				row.old_absent = cdc_scan_item_absent(table->item, desc);
			row.values = values = palloc(sizeof(Datum) * (desc->natts + 1));
			row.nulls = nulls = palloc(sizeof(bool) * (desc->natts + 1));
			if (feed->encode.diff && table->item->known)
			{
				row.old_values = values;
				row.old_nulls = nulls;
				row.old_full = true;
			}
		}
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(row_cxt);

			heap_deform_tuple(SPI_tuptable->vals[i], desc, values, nulls);
			if (feed->commit_times)
				row.mvcc = commit_stamp(DatumGetTransactionId(values[desc->natts - 1]), t0);
			append_row(encoder, &row, feed->has_keys);
			MemoryContextSwitchTo(old);

			if (!one_chunk && table->by_key && i == SPI_processed - 1)
				remember_key(table, keyatts, desc, values, cxt);
			MemoryContextReset(row_cxt);
			rows++;
			if (message.len >= BYTES_PER_MESSAGE)
				send_rows();
		}
		SPI_freetuptable(SPI_tuptable);
	}
	if (message.len > 1)
		send_message();
	SPI_cursor_close(portal);
	return rows;
}

/* Reads the feed's tables, with a transaction for each chunk. */
static void
scan_tables(const CdcScanHeader *header, const CdcDefinition *def,
			MemoryContext cxt)
{
	CdcOptions *options;
	const CdcSinkOps *ops = cdc_sink_of_type(def->sink_type);
	ScanFeed	feed;
	bool		in_xact = false;
	const char *strings = (const char *) header + CDC_SCAN_HEADER_SIZE(header->nitems);

	options = cdc_options_parse(cdc_options_from_strings(def->noptions, def->options));
	feed.encode = cdc_effective_encode(ops, options, def);
	feed.has_keys = cdc_sink_has_keys(ops);
	feed.commit_times = feed.encode.mvcc_timestamp && track_commit_timestamp;

	for (int i = 0; i < header->nitems; i++)
	{
		ScanTable	table;
		bool		more = true;
		const char *topic;

		memset(&table, 0, sizeof(table));
		table.item = &header->items[i];
		table.relid = header->items[i].relid;
		table.target = header->items[i].target;
		topic = strings;
		table.listed = strings += strlen(strings) + 1;
		strings += strlen(strings) + 1;
		if (topic[0] == '\0')
			continue;			/* no target any more */
		if (table.relid < FirstNormalObjectId)
			elog(ERROR, "changefeeds do not read system tables");
		while (more)
		{
			Oid			user;
			int			sec;
			XLogRecPtr	l_hi;

			if (!in_xact)
			{
				StartTransactionCommand();
				XactIsoLevel = XACT_REPEATABLE_READ;
				XactReadOnly = true;
				in_xact = true;

				/*
				 * Lock first, so that the snapshot is younger than any
				 * TRUNCATE or rewrite we waited for.
				 */
				for (int j = header->one_snapshot ? 0 : i;
					 j < (header->one_snapshot ? header->nitems : i + 1); j++)
				{
					Relation	rel = try_relation_open(header->items[j].relid,
														AccessShareLock);

					if (rel != NULL)
						relation_close(rel, NoLock);
				}
			}
			SPI_connect();
			PushActiveSnapshot(GetTransactionSnapshot());
			l_hi = cdc_compat_log_message(CDC_MESSAGE_PREFIX, "scan", 4);
			send_chunk(i, l_hi);
			if (describe_table(&table, feed.encode.virtual_null, cxt))
			{
				uint64		rows;

				/*
				 * Who may read a partitioned table may read its partitions
				 * through it.
				 */
				if (table.relid != table.target)
					cdc_target_check_access(table.target, def->owner);
				GetUserIdAndSecContext(&user, &sec);
				SetUserIdAndSecContext(table.relid == table.target ?
									   def->owner : BOOTSTRAP_SUPERUSERID,
									   sec | SECURITY_LOCAL_USERID_CHANGE |
									   SECURITY_RESTRICTED_OPERATION);
				rows = read_chunk(&table, &feed, topic, header->t0,
								  header->one_snapshot, cxt);
				SetUserIdAndSecContext(user, sec);
				more = !header->one_snapshot && table.by_key &&
					rows >= ROWS_PER_CHUNK;
			}
			else
				more = false;
			PopActiveSnapshot();
			SPI_finish();
			if (!header->one_snapshot)
			{
				CommitTransactionCommand();
				in_xact = false;
			}
		}
	}
	if (in_xact)
		CommitTransactionCommand();
}

static CdcDefinition *
load_definition(const CdcScanHeader *header, MemoryContext cxt)
{
	MemoryContext old;
	CdcDefinition *def;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	old = MemoryContextSwitchTo(cxt);
	def = cdc_definition_load(header->job_id, header->version);
	MemoryContextSwitchTo(old);
	PopActiveSnapshot();
	CommitTransactionCommand();
	return def;
}

void
cdc_scan_main(Datum arg)
{
	dsm_segment *seg;
	CdcScanHeader *header;
	shm_mq	   *mq;
	MemoryContext cxt;
	CdcDefinition *def;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	CurrentResourceOwner = ResourceOwnerCreate(NULL, "cdc_sink scan");
	seg = dsm_attach(DatumGetUInt32(arg));
	if (seg == NULL)
		proc_exit(0);			/* the lane has given up */
	dsm_pin_mapping(seg);
	header = dsm_segment_address(seg);
	mq = (shm_mq *) ((char *) header + header->queue_off);
	shm_mq_set_sender(mq, MyProc);
	lane_queue = shm_mq_attach(mq, seg, NULL);

	BackgroundWorkerInitializeConnectionByOid(header->dboid, InvalidOid, 0);
	cdc_session_pin_settings();

	/* a table that is read by sorting it would never be read */
	SetConfigOption("temp_file_limit", "-1", PGC_SUSET, PGC_S_OVERRIDE);
	cxt = AllocSetContextCreate(TopMemoryContext, "cdc_sink scan",
								ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(cxt);

	PG_TRY();
	{
		def = load_definition(header, cxt);
		if (def == NULL)
			proc_exit(0);		/* canceled meanwhile */
		scan_tables(header, def, cxt);
		message.len = 0;
		cdc_buf_append_char(&message, CDC_SCAN_END);
		send_message();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		/*
		 * A lost right or a row that cannot be encoded ends the feed; being
		 * told to go, or short of memory or disk, does not.
		 */
		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		if (!cdc_error_is_passing(error->sqlerrcode) && !ProcDiePending)
		{
			message.len = 0;
			cdc_buf_append_char(&message, CDC_SCAN_ERROR);
			cdc_buf_append(&message, error->message, strlen(error->message));
			(void) cdc_compat_mq_send(lane_queue, message.len, message.data);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	proc_exit(0);
}
