/*-------------------------------------------------------------------------
 * object.c
 *		One object of an objstore; see object.h.
 *
 * A row's bytes stay in its batch until the part they are in has been brought
 * away, or until they have gone through the compressor.  The reference to the
 * batch stays until the object is done, for the acknowledgement.
 *
 * A compressor takes about a megabyte, and many tables may have an object
 * open: small objects keep their rows as they are and are compressed when
 * they are cut, larger ones as long as there are compressors to be had.
 *
 * Runs: main thread of a lane worker.  Memory is malloc'ed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/object.h"

/* Objects smaller than this are compressed when they are cut. */
#define RAW_MAX				65536

/* Compressors of open objects. */
#define MAX_COMPRESSORS		16

CdcObject *
cdc_object_create(CdcTopic *topic, CdcCompression compression)
{
	CdcObject  *object = calloc(1, sizeof(CdcObject));

	if (object == NULL)
		return NULL;
	object->topic = topic;
	object->compression = compression;
	return object;
}

static void
free_part(CdcObjPart *part)
{
	free(part->rows);
	free(part->text);
	free(part->tag);
	free(part);
}

void
cdc_object_free(CdcObject *object)
{
	for (uint32 i = 0; i < object->nrefs; i++)
		cdc_batch_unref(object->refs[i].batch);
	for (uint32 i = 0; i < object->nparts; i++)
		free_part(object->parts[i]);
	cdc_compressor_free(object->compressor);
	free(object->refs);
	free(object->parts);
	free(object);
}

static CdcObjPart *
add_part(CdcObject *object)
{
	CdcObjPart *part;

	if (object->nparts == object->maxparts)
	{
		uint32		maxparts = Max(object->maxparts * 2, 4);
		CdcObjPart **parts = realloc(object->parts, sizeof(CdcObjPart *) * maxparts);

		if (parts == NULL)
			return NULL;
		object->parts = parts;
		object->maxparts = maxparts;
	}
	part = calloc(1, sizeof(CdcObjPart));
	if (part == NULL)
		return NULL;
	part->object = object;
	part->number = object->nparts;
	part->offset = object->stored;
	part->newlines = object->compression == CDC_COMPRESS_NONE && object->topic != NULL;
	part->first_ref = part->end_ref = object->nrefs;
	object->parts[object->nparts++] = part;
	return part;
}

/* The tail's reference to a batch, a new one if its last is to another. */
static CdcObjRef *
find_ref(CdcObject *object, CdcObjPart *tail, CdcBatch *batch)
{
	CdcObjRef  *ref;

	if (tail->end_ref > tail->first_ref &&
		object->refs[tail->end_ref - 1].batch == batch)
		return &object->refs[tail->end_ref - 1];
	if (object->nrefs == object->maxrefs)
	{
		uint32		maxrefs = Max(object->maxrefs * 2, 8);
		CdcObjRef  *refs = realloc(object->refs, sizeof(CdcObjRef) * maxrefs);

		if (refs == NULL)
			return NULL;
		object->refs = refs;
		object->maxrefs = maxrefs;
	}
	cdc_batch_ref(batch);
	ref = &object->refs[object->nrefs++];
	ref->batch = batch;
	ref->nrows = ref->nheld = 0;
	tail->end_ref = object->nrefs;
	return ref;
}

static bool
make_row_room(CdcObjPart *part)
{
	uint32		maxrows;
	CdcObjRow  *rows;

	if (part->nrows < part->maxrows)
		return true;
	maxrows = Max(part->maxrows * 2, 64);
	rows = realloc(part->rows, sizeof(CdcObjRow) * maxrows);
	if (rows == NULL)
		return false;
	part->rows = rows;
	part->maxrows = maxrows;
	return true;
}

/* Counts what is in the compressor's buffer. */
static void
count_pending(CdcObject *object, CdcObjMemory *memory)
{
	size_t		now = object->compressor ? cdc_compressor_size(object->compressor) : 0;

	memory->own += now - object->pending;
	memory->held += now - object->pending;
	object->pending = now;
}

static bool
compress_row(CdcObject *object, const char *data, size_t len)
{
	if (object->failed ||
		!cdc_compressor_add(object->compressor, data, len) ||
		!cdc_compressor_add(object->compressor, "\n", 1))
		object->failed = true;
	return !object->failed;
}

/* The batches' bytes of a part are not needed any more. */
static void
release_refs(CdcObjPart *part, CdcObjMemory *memory)
{
	for (uint32 i = part->first_ref; i < part->end_ref; i++)
	{
		CdcObjRef  *ref = &part->object->refs[i];

		if (ref->nheld > 0)
			memory->held -= cdc_batch_release(ref->batch, ref->nheld);
		ref->nheld = 0;
	}
	free(part->rows);
	part->rows = NULL;
	part->nrows = part->maxrows = 0;
}

/* Has the rows so far go through a compressor; false: there is none. */
static bool
start_compressor(CdcObject *object, CdcObjMemory *memory)
{
	CdcObjPart *tail = cdc_object_tail(object);

	object->compressor = cdc_compressor_create(object->compression);
	if (object->compressor == NULL)
		return false;
	memory->compressors++;
	for (uint32 i = 0; i < tail->nrows && !object->failed; i++)
		(void) compress_row(object, tail->rows[i].data, tail->rows[i].len);
	count_pending(object, memory);
	if (object->failed)
		return true;			/* shows when it is cut */
	tail->bytes = 0;
	release_refs(tail, memory);
	return true;
}

static void
stop_compressor(CdcObject *object, CdcObjMemory *memory)
{
	cdc_compressor_free(object->compressor);
	object->compressor = NULL;
	memory->compressors--;
}

bool
cdc_object_add(CdcObject *object, CdcBatch *batch, uint32 index, CdcObjMemory *memory)
{
	const CdcMessage *msg = &batch->msgs[index];
	CdcObjPart *tail;
	CdcObjRef  *ref;

	if (object->nparts == 0 && add_part(object) == NULL)
		return false;
	tail = cdc_object_tail(object);
	if (object->compressor == NULL && !make_row_room(tail))
		return false;
	ref = find_ref(object, tail, batch);
	if (ref == NULL)
		return false;
	ref->nrows++;
	object->nmsgs++;
	object->payload += msg->val_len;
	if (msg->key_len != CDC_LEN_NULL)
		object->payload += msg->key_len;

	if (object->compressor != NULL)
	{
		if (compress_row(object, cdc_msg_value(batch, msg), msg->val_len))
			memory->held -= cdc_batch_release(batch, 1);
		else
			ref->nheld++;
		count_pending(object, memory);
		return true;
	}
	ref->nheld++;
	tail->rows[tail->nrows].data = cdc_msg_value(batch, msg);
	tail->rows[tail->nrows++].len = msg->val_len;
	tail->bytes += (uint64) msg->val_len + 1;
	if (object->compression != CDC_COMPRESS_NONE && tail->bytes >= RAW_MAX &&
		memory->compressors < MAX_COMPRESSORS)
		(void) start_compressor(object, memory);
	return true;
}

/* Makes text the only "row" of a part without rows; false: no memory. */
static bool
set_text(CdcObjPart *part, char *text, size_t len)
{
	part->text = text;			/* freed with it, whatever happens */
	if (len > PG_UINT32_MAX ||
		(part->rows = malloc(sizeof(CdcObjRow))) == NULL)
		return false;
	part->rows[0].data = text;
	part->rows[0].len = (uint32) len;
	part->nrows = part->maxrows = 1;
	part->bytes = len;
	part->newlines = false;
	return true;
}

bool
cdc_object_add_text(CdcObject *object, char *text, size_t len)
{
	CdcObjPart *part = add_part(object);

	if (part == NULL)
	{
		free(text);
		return false;
	}
	part->last = true;
	return set_text(part, text, len);
}

uint64
cdc_object_size(const CdcObject *object)
{
	if (object->nparts == 0)
		return 0;
	return object->stored + (object->compressor ?
							 cdc_compressor_size(object->compressor) :
							 cdc_object_tail(object)->bytes);
}

uint64
cdc_object_tail_size(const CdcObject *object)
{
	if (object->compressor != NULL)
		return cdc_compressor_size(object->compressor);
	if (object->nparts == 0 || object->compression != CDC_COMPRESS_NONE)
		return 0;
	return cdc_object_tail(object)->bytes;
}

CdcObjPart *
cdc_object_next_part(CdcObject *object, CdcObjMemory *memory)
{
	CdcObjPart *full = cdc_object_tail(object);
	CdcObjPart *next;

	if (object->failed)
		return NULL;
	if (object->compressor != NULL)
	{
		char	   *text;
		size_t		len;

		cdc_compressor_take(object->compressor, &text, &len);
		object->pending = 0;	/* counted as the part's from now on */
		if (!set_text(full, text, len))
		{
			object->failed = true;
			return NULL;
		}
	}
	object->stored += full->bytes;
	next = add_part(object);
	if (next == NULL)
	{
		/* it may have been compressed already: there is no way back */
		object->failed = true;
		return NULL;
	}
	return full;
}

bool
cdc_object_finish(CdcObject *object, CdcObjMemory *memory)
{
	CdcObjPart *tail;

	if (object->nparts == 0)
		return false;			/* not even its first row found memory */
	tail = cdc_object_tail(object);
	if (object->compression != CDC_COMPRESS_NONE)
	{
		char	   *text;
		size_t		len;

		if (object->compressor == NULL && !start_compressor(object, memory))
			return false;
		if (object->failed ||
			!cdc_compressor_finish(object->compressor, &text, &len))
			return false;
		memory->own += len - object->pending;
		memory->held += len - object->pending;
		object->pending = 0;
		stop_compressor(object, memory);
		if (!set_text(tail, text, len))
			return false;
	}
	if (object->failed)
		return false;
	object->stored += tail->bytes;
	tail->last = true;
	return true;
}

void
cdc_object_release(CdcObjPart *part, CdcObjMemory *memory)
{
	if (part->done)
		return;
	part->done = true;
	release_refs(part, memory);
	if (part->text != NULL)
	{
		memory->own -= part->bytes;
		memory->held -= part->bytes;
		free(part->text);
		part->text = NULL;
	}
}
