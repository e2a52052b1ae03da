/*-------------------------------------------------------------------------
 * objstore.h
 *		What every sink of files (objects) has in common: which rows go into
 *		which object, when it is cut, what its name is, which acknowledgements
 *		follow.  How an object gets to its place is the transport's business.
 *
 * An object is one or more parts, in order; all but the last have at least
 * the transport's part_min bytes.  Small objects are one part.  A part of a
 * large one may be brought away as soon as it is full, long before the object
 * is complete: the transport gets it through "part", and once it has it for
 * good says so with cdc_objstore_part_done(), which frees the rows' bytes.
 * They are acknowledged when the whole object is there under its name,
 * not before.  So an upload that cannot be finished any more must break the
 * sink: the feed goes back to what is acknowledged and decodes the rows again.
 *
 * The transport gets each object once, complete, through "put", has to make
 * them appear in that order (where order matters, see s3.c) and each whole or
 * not at all; then it hands the object back with cdc_objstore_done().  The
 * bytes of the rows stay the batches', to which the object holds references,
 * so a part can be sent as often as it takes; those of a compressed object
 * are its own.
 *
 * Runs: main thread of a lane worker.  Between "part" or "put" and the done
 * call for it the transport's threads may read a part's "rows", "nrows",
 * "newlines", "bytes", "offset", "number" and "last" and its object's "name".
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

typedef struct CdcObject CdcObject;
typedef struct CdcObjRef CdcObjRef;

typedef struct CdcObjPart
{
	dlist_node	node;			/* the transport's */
	CdcObject  *object;
	uint32		number;			/* in its object, from 0 */
	bool		last;			/* set before "put"; may have no bytes then if
								 * it is not the only one */
	uint64		offset;			/* bytes of the parts before it */
	CdcObjRow  *rows;
	uint32		nrows;
	bool		newlines;		/* each row is followed by a newline */
	uint64		bytes;			/* with newlines, as stored */
	bool		done;			/* transferred; rows are gone */

	/* The transport's own, zero at first; tag is freed with the part. */
	void	   *call;
	char	   *tag;

	/* The rest belongs to object.c. */
	uint32		maxrows;
	char	   *text;			/* payload of a RESOLVED file, or what came
								 * out of the compressor */
	uint32		first_ref;		/* of the object's, those of these rows */
	uint32		end_ref;
} CdcObjPart;

struct CdcObject
{
	dlist_node	node;			/* in the list of whoever has it */
	char		name[CDC_OBJNAME_SIZE]; /* relative, with its date part */
	uint32		serial;			/* different for each object of a sink */
	CdcObjPart **parts;			/* at least one once there is a row */
	uint32		nparts;
	bool		started;		/* a part was handed to the transport */

	/* The transport's own, NULL at first. */
	void	   *owner;

	/* The rest belongs to objstore.c and object.c. */
	uint32		maxparts;
	uint32		nmsgs;			/* rows it holds, however they are stored */
	uint64		stored;			/* bytes of parts that are full */
	uint64		payload;		/* key and value bytes of the rows */
	CdcHlc		bound;			/* stamp of its name */
	CdcTopic   *topic;			/* NULL: a RESOLVED file */
	CdcObjRef  *refs;			/* batches its rows are in */
	uint32		nrefs;
	uint32		maxrefs;
	CdcCompression compression;
	CdcCompressor *compressor;	/* once it is worth one, until it is cut */
	size_t		pending;		/* bytes that wait in it, as counted */
	bool		failed;			/* and has lost something */
};

/* URI parameters that all such sinks know. */
typedef struct CdcObjParams
{
	int64		file_size;
	CdcObjPartition partition;
	CdcCompression compression;
} CdcObjParams;

#define CDC_OBJ_PARAM_NAMES		"file_size", "partition_format", "topic_prefix"

typedef struct CdcObjTransport
{
	/*
	 * What a store asks of large objects; part_min 0: it takes objects only
	 * whole, which then are no larger than memory allows.
	 */
	size_t		part_min;
	uint32		max_parts;

	/*
	 * Several whole objects of a table may be on their way at a time; else it
	 * is their parts that keep the store busy.
	 */
	bool		overlap;

	/* A full part of an object that is still open (if part_min > 0). */
	void		(*part) (CdcSink *sink, CdcObjPart *part);

	/* The object is complete; parts handed over before are not repeated. */
	void		(*put) (CdcSink *sink, CdcObject *object);

	/*
	 * The store goes, and the object was started but will not be put: it is
	 * the transport's to give up and, when no byte of it is looked at any
	 * more, to free (if part_min > 0).
	 */
	void		(*drop) (CdcSink *sink, CdcObject *object);
} CdcObjTransport;

typedef struct CdcObjStore CdcObjStore;

/* Reads the parameters; raises 22023.  Runs: backend and worker. */
extern void cdc_objstore_params(const CdcUri *uri, const CdcOptions *options,
								CdcObjParams *params);

/* New store for an open sink.  NULL: out of memory. */
extern CdcObjStore *cdc_objstore_create(CdcSink *sink,
										const CdcSinkConfig *config,
										const CdcObjParams *params,
										const CdcObjTransport *transport);

/*
 * Different for each run of a sink and part of all its names, see objname.h;
 * of a random writer if the configuration names none.
 */
extern uint64 cdc_objstore_session(const CdcObjStore *store);

/* CdcSinkOps.submit, flush, relieve, settled and resolved. */
extern void cdc_objstore_submit(CdcObjStore *store, CdcBatch *batch);
extern void cdc_objstore_flush(CdcObjStore *store, CdcHlc floor);
extern void cdc_objstore_relieve(CdcObjStore *store);
extern bool cdc_objstore_settled(const CdcObjStore *store);
extern bool cdc_objstore_resolved(CdcObjStore *store, const char *payload,
								  size_t len, CdcHlc r);

/*
 * The transport has this part for good (of an object that will be put, or was
 * and is not done): its rows' bytes are freed.
 */
extern void cdc_objstore_part_done(CdcObjStore *store, CdcObjPart *part);

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

/*
 * Drops the open objects (those started are handed to the transport's drop)
 * and frees the store, but not what was put.
 */
extern void cdc_objstore_destroy(CdcObjStore *store);

#endif							/* CDC_OBJSTORE_H */
