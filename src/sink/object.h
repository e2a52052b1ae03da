/*-------------------------------------------------------------------------
 * object.h
 *		One object of an objstore: its rows, its parts, its compression and
 *		the batches it holds on to.  For objstore.c only.
 *
 * Runs: main thread of a lane worker.  Memory is malloc'ed; what returns
 * false has found none.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_OBJECT_H
#define CDC_OBJECT_H

#include "postgres.h"

#include "sink/objstore.h"

struct CdcObjRef
{
	CdcBatch   *batch;
	uint32		nrows;			/* to acknowledge */
	uint32		nheld;			/* whose bytes are still needed */
};

/* What the objects of a store hold together. */
typedef struct CdcObjMemory
{
	size_t		held;			/* batches with rows in an object, and own */
	size_t		own;			/* compressed bytes */
	int			compressors;
} CdcObjMemory;

extern CdcObject *cdc_object_create(CdcTopic *topic, CdcCompression compression);

/* The part that takes rows at the moment; a row must have come. */
static inline CdcObjPart *
cdc_object_tail(const CdcObject *object)
{
	return object->parts[object->nparts - 1];
}

/*
 * Takes the row msg of batch; false: nothing has changed.  Its bytes may be
 * released when this returns, and the message with them.
 */
extern bool cdc_object_add(CdcObject *object, CdcBatch *batch, uint32 msg,
						   CdcObjMemory *memory);

/* Adds text of its own, which is freed with it. */
extern bool cdc_object_add_text(CdcObject *object, char *text, size_t len);

/* Stored bytes, and those of the tail, as far as they are known. */
extern uint64 cdc_object_size(const CdcObject *object);
extern uint64 cdc_object_tail_size(const CdcObject *object);

/*
 * Ends the tail and begins a new one; returns the part that is full, NULL: no
 * memory (the object may have failed).
 */
extern CdcObjPart *cdc_object_next_part(CdcObject *object, CdcObjMemory *memory);

/*
 * Ends the last part and the compression.  False: rows are lost and have to
 * come again.
 */
extern bool cdc_object_finish(CdcObject *object, CdcObjMemory *memory);

/* Frees the bytes of a part; the acknowledgements stay. */
extern void cdc_object_release(CdcObjPart *part, CdcObjMemory *memory);

#endif							/* CDC_OBJECT_H */
