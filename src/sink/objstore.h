/*-------------------------------------------------------------------------
 * objstore.h
 *		What every sink of files (objects) has in common: which rows go into
 *		which object, when it is cut, what its name is, which acknowledgements
 *		follow.  How an object gets to its place is the transport's business.
 *
 * The transport gets each object once, complete, through its "put" call and
 * has to make them durable in that order; then it hands each back with
 * cdc_objstore_done().  The bytes of the rows stay the batches', to which the
 * object holds references, so it can be sent as often as it takes; those of a
 * compressed object are its own.
 *
 * Runs: main thread of a lane worker.  While the transport has an object its
 * threads may read "name", "rows", "nrows" and "newlines", and use "node".
 *-------------------------------------------------------------------------
 */
#ifndef CDC_OBJSTORE_H
#define CDC_OBJSTORE_H

#include "postgres.h"

#include "lib/ilist.h"
#include "sink/compress.h"
#include "sink/objname.h"
#include "sink/sink.h"

typedef struct CdcObjRow
{
	const char *data;
	uint32		len;
} CdcObjRow;

typedef struct CdcObjRef CdcObjRef;

typedef struct CdcObject
{
	dlist_node	node;			/* in the list of whoever has it */
	char		name[CDC_OBJNAME_SIZE]; /* relative, with its date part */
	CdcObjRow  *rows;
	uint32		nrows;
	bool		newlines;		/* each row is followed by a newline */

	/* The transport's own, zero at first. */
	void	   *owner;
	void	   *call;

	/* The rest belongs to objstore.c. */
	uint32		maxrows;
	uint32		nmsgs;			/* rows it holds, however they are stored */
	uint64		bytes;			/* with newlines, uncompressed */
	uint64		payload;		/* key and value bytes of the rows */
	CdcHlc		bound;			/* stamp of its name */
	CdcTopic   *topic;			/* while open; NULL: a RESOLVED file */
	CdcObjRef  *refs;			/* batches its rows are in */
	uint32		nrefs;
	uint32		maxrefs;
	CdcCompressor *compressor;	/* while open, if it is compressed */
	bool		failed;			/* and has lost something */
	char	   *text;			/* payload of a RESOLVED file, or what came
								 * out of the compressor */
} CdcObject;

/* URI parameters that all such sinks know. */
typedef struct CdcObjParams
{
	int64		file_size;
	CdcObjPartition partition;
	CdcCompression compression;
} CdcObjParams;

#define CDC_OBJ_PARAM_NAMES		"file_size", "partition_format", "topic_prefix"

typedef struct CdcObjStore CdcObjStore;

/* Reads the parameters; raises 22023.  Runs: backend and worker. */
extern void cdc_objstore_params(const CdcUri *uri, const CdcOptions *options,
								CdcObjParams *params);

/* New store for an open sink.  NULL: out of memory. */
extern CdcObjStore *cdc_objstore_create(CdcSink *sink,
										const CdcSinkConfig *config,
										const CdcObjParams *params,
										void (*put) (CdcSink *sink, CdcObject *object));

/* Random, different for each run of a sink; part of all its names. */
extern uint64 cdc_objstore_session(const CdcObjStore *store);

/* CdcSinkOps.submit, flush and resolved. */
extern void cdc_objstore_submit(CdcObjStore *store, CdcBatch *batch);
extern void cdc_objstore_flush(CdcObjStore *store, CdcHlc floor);
extern bool cdc_objstore_resolved(CdcObjStore *store, const char *payload,
								  size_t len, CdcHlc r);

/* The object is durable under its name: acknowledges and frees it. */
extern void cdc_objstore_done(CdcObjStore *store, CdcObject *object);

/* Table and schema version share it; NULL: a RESOLVED file. */
static inline const char *
cdc_object_topic(const CdcObject *object)
{
	return object->topic ? object->topic->name : NULL;
}

/* Frees an object without acknowledging it; the store may be gone. */
extern void cdc_object_free(CdcObject *object);

/* Drops the open objects and frees the store (not what was put). */
extern void cdc_objstore_destroy(CdcObjStore *store);

#endif							/* CDC_OBJSTORE_H */
