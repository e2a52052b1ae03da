/*-------------------------------------------------------------------------
 * objstore.c
 *		Which rows go into which file, when it is cut, what acknowledgements
 *		follow; see objstore.h.
 *
 * The promise to readers (objname.h) rests on three rules:
 *	- the stamp of a file is a lower bound of its rows, fixed when its first
 *	  row comes;
 *	- files are put in the order they are cut, and a RESOLVED file behind all
 *	  open files that would sort before it, which are cut first;
 *	- once a file for R was put, the bound of new files is above R.
 * Of one table, files of older schema versions are put before newer ones.
 *
 * Files are cut by flush() and at file_size.  In between their full parts go
 * to a transport that takes parts, so that a file may be much larger than
 * what is held of it.  What is held stays within cdc_sink.feed_memory: when
 * it comes to three quarters and nothing is on its way that would free some,
 * open files are cut before their time.
 *
 * Runs: main thread of a lane worker.  Memory is malloc'ed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "base/guc.h"
#include "sink/object.h"

#define DEFAULT_FILE_SIZE	INT64CONST(16777216)

/* RESOLVED files on their way; more only pile up while the sink hangs. */
#define MAX_RESOLVED		4

/* No part is larger than this unless a file needs too many of them. */
#define PREFERRED_PART		(8 * 1024 * 1024)

/*
 * No file up to this size goes in parts unless memory is short, where files
 * of a table overlap on their way.
 */
#define WHOLE_OBJECT		(16 * 1024 * 1024)

struct CdcObjStore
{
	CdcSink    *sink;
	const CdcObjTransport *transport;
	CdcObjParams params;
	uint64		part_size;		/* 0: no parts unless memory is short */
	size_t		part_min;		/* 0: no parts at all */
	uint64		session;
	uint32		next_serial;
	uint32		next_file;
	CdcHlc		bound;			/* no row to come is older */
	CdcObject **open;			/* in the order they were opened */
	int			nopen;
	int			maxopen;
	CdcObject **cut;			/* room to sort them, maxopen entries */
	int			nbusy;			/* parts and data files under way */
	int			nresolved;		/* RESOLVED files put and not done */
	CdcObjMemory memory;
};

void
cdc_objstore_params(const CdcUri *uri, const CdcOptions *options,
					CdcObjParams *params)
{
	const char *text;

	params->compression = cdc_compression_parse(options->compression);
	params->file_size = DEFAULT_FILE_SIZE;
	params->partition = CDC_OBJ_DAILY;
	text = cdc_uri_param(uri, "file_size");
	if (text != NULL && !cdc_objname_parse_size(text, &params->file_size))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid file_size of %s", text),
				 errhint("Give a number of bytes with a unit, as in 16MB or 512KiB.")));
	text = cdc_uri_param(uri, "partition_format");
	if (text != NULL && !cdc_objname_parse_partition(text, &params->partition))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid partition_format of %s", text),
				 errhint("Valid values are daily, hourly and flat.")));
}

/* The smallest stamp above h. */
static CdcHlc
hlc_after(CdcHlc h)
{
	if (h.logical < PG_UINT32_MAX)
		h.logical++;
	else
	{
		h.wall++;
		h.logical = 0;
	}
	return h;
}

static void
raise_bound(CdcObjStore *store, CdcHlc floor)
{
	CdcHlc		bound = hlc_after(floor);

	if (cdc_hlc_cmp(bound, store->bound) > 0)
		store->bound = bound;
}

/* What may be held before something has to be brought away. */
static size_t
hold_limit(void)
{
	return (size_t) cdc_feed_memory * 1024 / 4 * 3;
}

static void
choose_parts(CdcObjStore *store)
{
	const CdcObjTransport *transport = store->transport;
	uint64		file_size = store->params.file_size;
	size_t		limit = hold_limit();
	uint64		size = Min(limit / 4, PREFERRED_PART);

	if (transport->part_min == 0 || transport->part_min > limit / 2)
		return;
	store->part_min = transport->part_min;

	/* what fits in one request needs no more, as long as two fit in memory */
	if (file_size <= limit / 2 &&
		file_size <= (transport->overlap ? WHOLE_OBJECT : PREFERRED_PART))
		return;
	if (size < file_size / transport->max_parts + 1)
		size = Min(file_size / transport->max_parts + 1, limit / 2);
	store->part_size = Max(size, transport->part_min);
}

static uint64
make_session(uint64 writer)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return cdc_objname_session(writer, (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

CdcObjStore *
cdc_objstore_create(CdcSink *sink, const CdcSinkConfig *config,
					const CdcObjParams *params, const CdcObjTransport *transport)
{
	CdcObjStore *store = calloc(1, sizeof(CdcObjStore));
	uint64		writer = config->writer;

	if (store == NULL)
		return NULL;
	store->sink = sink;
	store->transport = transport;
	store->params = *params;
	choose_parts(store);
	store->bound = config->floor;
	if (writer == 0 && !pg_strong_random(&writer, sizeof(writer)))
	{
		free(store);
		return NULL;
	}
	store->session = make_session(writer);
	return store;
}

uint64
cdc_objstore_session(const CdcObjStore *store)
{
	return store->session;
}

/* Gives up an object that is not going to be put. */
static void
drop_object(CdcObjStore *store, CdcObject *object)
{
	if (object->started)
		store->transport->drop(store->sink, object);
	else
		cdc_object_free(object);
}

void
cdc_objstore_destroy(CdcObjStore *store)
{
	for (int i = 0; i < store->nopen; i++)
	{
		store->open[i]->topic->sink_data = NULL;
		drop_object(store, store->open[i]);
	}
	free(store->open);
	free(store->cut);
	free(store);
}

/* End of the data files' names. */
static const char *
data_ext(const CdcObjStore *store)
{
	switch (store->params.compression)
	{
		case CDC_COMPRESS_GZIP:
			return ".ndjson.gz";
		case CDC_COMPRESS_ZSTD:
			return ".ndjson.zst";
		case CDC_COMPRESS_NONE:
			break;
	}
	return ".ndjson";
}

static bool
make_open_room(CdcObjStore *store)
{
	int			maxopen = Max(store->maxopen * 2, 16);
	CdcObject **open;
	CdcObject **cut;

	if (store->nopen < store->maxopen)
		return true;
	open = realloc(store->open, sizeof(CdcObject *) * maxopen);
	if (open == NULL)
		return false;
	store->open = open;
	cut = realloc(store->cut, sizeof(CdcObject *) * maxopen);
	if (cut == NULL)
		return false;
	store->cut = cut;
	store->maxopen = maxopen;
	return true;
}

/* The open object of a topic, a new one if there is none; NULL: no memory. */
static CdcObject *
open_object(CdcObjStore *store, CdcTopic *topic)
{
	CdcObject  *object = topic->sink_data;
	CdcObjName	name;

	if (object != NULL)
		return object;
	if (!make_open_room(store))
		return NULL;
	object = cdc_object_create(topic, store->params.compression);
	if (object == NULL)
		return NULL;
	object->serial = store->next_serial++;
	object->bound = store->bound;
	name.bound = store->bound;
	name.session = store->session;
	name.sink = store->sink->job_id;
	name.file = store->next_file++;
	name.topic = topic->name;
	name.schema = topic->schema_version;
	name.ext = data_ext(store);
	cdc_objname_data(object->name, &name, store->params.partition);
	store->open[store->nopen++] = object;
	topic->sink_data = object;
	return object;
}

static int
by_schema_version(const void *a, const void *b)
{
	const CdcObject *x = *(CdcObject *const *) a;
	const CdcObject *y = *(CdcObject *const *) b;

	if (x->topic->schema_version != y->topic->schema_version)
		return x->topic->schema_version < y->topic->schema_version ? -1 : 1;
	return strcmp(x->name, y->name);
}

/*
 * Cuts open files, older schema versions first: those of one table up to a
 * version (upto), or those whose stamp is not above a limit, or all.
 */
static void
cut_objects(CdcObjStore *store, const CdcTopic *upto, const CdcHlc *limit)
{
	int			ncut = 0;
	int			nkept = 0;

	for (int i = 0; i < store->nopen; i++)
	{
		CdcObject  *object = store->open[i];

		if ((upto != NULL &&
			 (object->topic->schema_version > upto->schema_version ||
			  strcmp(object->topic->name, upto->name) != 0)) ||
			(limit != NULL && cdc_hlc_cmp(object->bound, *limit) > 0))
			store->open[nkept++] = object;
		else
			store->cut[ncut++] = object;
	}
	store->nopen = nkept;
	if (ncut > 1)
		qsort(store->cut, ncut, sizeof(CdcObject *), by_schema_version);
	for (int i = 0; i < ncut; i++)
	{
		CdcObject  *object = store->cut[i];

		object->topic->sink_data = NULL;
		if (store->sink->broken || !cdc_object_finish(object, &store->memory))
		{
			/* a later one must not overtake it: none is put any more */
			if (!store->sink->broken)
				cdc_sink_trouble(store->sink, "out of memory");
			store->sink->broken = true;
			drop_object(store, object);
			continue;
		}
		store->nbusy++;
		store->transport->put(store->sink, object);
	}
}

/* Hands the full part of an object to the transport. */
static void
send_part(CdcObjStore *store, CdcObject *object)
{
	CdcObjPart *part = cdc_object_next_part(object, &store->memory);

	if (part == NULL)
		return;					/* shows when the object is cut */
	object->started = true;
	store->nbusy++;
	store->transport->part(store->sink, part);
}

/* What the feed is to know of our memory. */
static void
tell_memory(CdcObjStore *store)
{
	store->sink->own_bytes = store->memory.own;
}

void
cdc_objstore_relieve(CdcObjStore *store)
{
	bool		sent = false;

	/* what is on its way will make room */
	if (store->sink->broken || store->nbusy > 0)
		return;
	for (int i = 0; i < store->nopen && store->part_min > 0; i++)
	{
		if (cdc_object_tail_size(store->open[i]) < store->part_min)
			continue;
		send_part(store, store->open[i]);
		sent = true;
	}
	if (!sent)
		cut_objects(store, NULL, NULL);
	tell_memory(store);
}

/*
 * Takes the next message of a batch, which may be gone when this returns;
 * false: no memory.
 */
static bool
take_message(CdcObjStore *store, CdcBatch *batch)
{
	uint32		index = batch->nsubmitted;
	const CdcMessage *msg = &batch->msgs[index];
	CdcTopic   *topic = msg->topic;
	CdcObject  *object;

	/* with its first message, the bytes of a batch count */
	if (index == 0)
		store->memory.held += batch->buf.len;

	/* A message without a value would be an empty line: no row. */
	if ((msg->flags & CDC_MSG_SKIP) || msg->val_len == CDC_LEN_NULL)
	{
		batch->nsubmitted++;
		store->memory.held -= cdc_batch_release(batch, 1);
		cdc_batch_ack(batch, 1);
		return true;
	}
	object = open_object(store, topic);
	batch->nsubmitted++;
	if (object == NULL || !cdc_object_add(object, batch, index, &store->memory))
	{
		batch->nsubmitted--;
		if (index == 0)
			store->memory.held -= batch->buf.len;
		return false;
	}
	if (cdc_object_size(object) >= store->params.file_size ||
		(store->part_min > 0 && object->nparts >= store->transport->max_parts))
		cut_objects(store, topic, NULL);
	else if (store->part_size > 0 &&
			 cdc_object_tail_size(object) >= store->part_size)
		send_part(store, object);
	return true;
}

void
cdc_objstore_submit(CdcObjStore *store, CdcBatch *batch)
{
	size_t		limit = hold_limit();

	if (store->memory.held >= limit)
	{
		cdc_objstore_relieve(store);
		if (store->memory.held >= limit && store->nbusy > 0)
			return;
	}
	while (batch->nsubmitted < batch->nmsgs && !store->sink->broken)
	{
		if (!take_message(store, batch))
		{
			/* what is open may free some when it is done */
			cdc_sink_trouble(store->sink, "out of memory");
			cut_objects(store, NULL, NULL);
			break;
		}
	}
	if (store->memory.held >= limit)
		cdc_objstore_relieve(store);
	tell_memory(store);
}

void
cdc_objstore_flush(CdcObjStore *store, CdcHlc floor)
{
	cut_objects(store, NULL, NULL);
	raise_bound(store, floor);
	tell_memory(store);
}

bool
cdc_objstore_settled(const CdcObjStore *store)
{
	return store->nresolved == 0;
}

bool
cdc_objstore_resolved(CdcObjStore *store, const char *payload, size_t len,
					  CdcHlc r)
{
	CdcObject  *object;
	char	   *text;

	if (store->nresolved >= MAX_RESOLVED)
		return false;
	object = cdc_object_create(NULL, CDC_COMPRESS_NONE);
	if (object == NULL)
		return false;
	text = malloc(Max(len, 1));
	if (text == NULL || !cdc_object_add_text(object, text, len))
	{
		cdc_object_free(object);
		return false;
	}
	memcpy(text, payload, len);
	object->serial = store->next_serial++;
	cdc_objname_resolved(object->name, r, store->params.partition);

	/*
	 * Rows above r may stand in a file whose stamp is not: it was opened
	 * before r came.  It sorts before the RESOLVED file, so it goes first.
	 */
	cut_objects(store, NULL, &r);
	raise_bound(store, r);
	if (store->sink->broken)
	{
		/* one of those before it is lost: not now, and not by this sink */
		cdc_object_free(object);
		return false;
	}
	store->nresolved++;
	store->transport->put(store->sink, object);
	return true;
}

void
cdc_objstore_part_done(CdcObjStore *store, CdcObjPart *part)
{
	if (!part->last)
		store->nbusy--;
	store->sink->progress++;
	cdc_object_release(part, &store->memory);
	tell_memory(store);
}

void
cdc_objstore_done(CdcObjStore *store, CdcObject *object)
{
	if (object->topic == NULL)
		store->nresolved--;
	else
	{
		store->nbusy--;
		store->sink->sent_messages += object->nmsgs;
		store->sink->sent_bytes += object->payload;
		for (uint32 i = 0; i < object->nparts; i++)
			cdc_object_release(object->parts[i], &store->memory);
		for (uint32 i = 0; i < object->nrefs; i++)
			cdc_batch_ack(object->refs[i].batch, object->refs[i].nrows);
		tell_memory(store);
	}
	cdc_object_free(object);
}
