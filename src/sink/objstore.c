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
 * Files are cut by flush(), at file_size, and when what is held comes to half
 * of cdc_sink.feed_memory: the feed can take no more rows until some are
 * acknowledged, which an open file never does.  A compressed file has its
 * compressor while it is open, so only so many of those are open at a time.
 *
 * Runs: main thread of a lane worker.  Memory is malloc'ed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "base/guc.h"
#include "sink/objstore.h"

#define DEFAULT_FILE_SIZE	INT64CONST(16777216)

/* RESOLVED files on their way; more only pile up while the sink hangs. */
#define MAX_RESOLVED		4

/* Compressed files open at a time. */
#define MAX_COMPRESSORS		16

struct CdcObjRef
{
	CdcBatch   *batch;
	uint32		nrows;			/* to acknowledge */
};

struct CdcObjStore
{
	CdcSink    *sink;
	void		(*put) (CdcSink *sink, CdcObject *object);
	CdcObjParams params;
	uint64		session;
	uint32		next_file;
	CdcHlc		bound;			/* no row to come is older */
	CdcObject **open;			/* in the order they were opened */
	int			nopen;
	int			maxopen;
	CdcObject **cut;			/* room to sort them, maxopen entries */
	int			nput;			/* data files put and not done */
	int			nresolved;		/* RESOLVED files put and not done */
	size_t		held;			/* bytes of batches not wholly acknowledged */
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

CdcObjStore *
cdc_objstore_create(CdcSink *sink, const CdcSinkConfig *config,
					const CdcObjParams *params,
					void (*put) (CdcSink *sink, CdcObject *object))
{
	CdcObjStore *store = calloc(1, sizeof(CdcObjStore));
	struct timespec now;

	if (store == NULL)
		return NULL;
	store->sink = sink;
	store->put = put;
	store->params = *params;
	store->bound = config->floor;
	if (!pg_strong_random(&store->session, sizeof(store->session)))
	{
		free(store);
		return NULL;
	}

	/*
	 * Microseconds first: where files of two sessions have the same bound, as
	 * after a crash, those of the later one sort later.
	 */
	clock_gettime(CLOCK_REALTIME, &now);
	store->session = (((uint64) now.tv_sec * 1000000 + now.tv_nsec / 1000) << 12) |
		(store->session & 0xfff);
	return store;
}

uint64
cdc_objstore_session(const CdcObjStore *store)
{
	return store->session;
}

void
cdc_object_free(CdcObject *object)
{
	for (uint32 i = 0; i < object->nrefs; i++)
		cdc_batch_unref(object->refs[i].batch);
	cdc_compressor_free(object->compressor);
	free(object->refs);
	free(object->rows);
	free(object->text);
	free(object);
}

void
cdc_objstore_destroy(CdcObjStore *store)
{
	for (int i = 0; i < store->nopen; i++)
	{
		store->open[i]->topic->sink_data = NULL;
		cdc_object_free(store->open[i]);
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

static void cut_objects(CdcObjStore *store, const CdcTopic *upto, const CdcHlc *limit);

/* The open object of a topic, a new one if there is none; NULL: no memory. */
static CdcObject *
open_object(CdcObjStore *store, CdcTopic *topic)
{
	CdcObject  *object = topic->sink_data;
	CdcObjName	name;

	if (object != NULL)
		return object;
	if (store->params.compression != CDC_COMPRESS_NONE &&
		store->nopen >= MAX_COMPRESSORS)
		cut_objects(store, NULL, NULL);
	if (store->nopen == store->maxopen)
	{
		int			maxopen = Max(store->maxopen * 2, 16);
		CdcObject **open = realloc(store->open, sizeof(CdcObject *) * maxopen);
		CdcObject **cut;

		if (open == NULL)
			return NULL;
		store->open = open;
		cut = realloc(store->cut, sizeof(CdcObject *) * maxopen);
		if (cut == NULL)
			return NULL;
		store->cut = cut;
		store->maxopen = maxopen;
	}
	object = calloc(1, sizeof(CdcObject));
	if (object == NULL)
		return NULL;
	if (store->params.compression != CDC_COMPRESS_NONE)
	{
		object->compressor = cdc_compressor_create(store->params.compression);
		if (object->compressor == NULL)
		{
			free(object);
			return NULL;
		}
	}
	object->topic = topic;
	object->newlines = true;
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

/* Takes one row; false: no memory, nothing has changed. */
static bool
add_row(CdcObject *object, CdcBatch *batch, const CdcMessage *msg)
{
	if (object->compressor == NULL && object->nrows == object->maxrows)
	{
		uint32		maxrows = Max(object->maxrows * 2, 64);
		CdcObjRow  *rows = realloc(object->rows, sizeof(CdcObjRow) * maxrows);

		if (rows == NULL)
			return false;
		object->rows = rows;
		object->maxrows = maxrows;
	}
	if (object->nrefs == 0 || object->refs[object->nrefs - 1].batch != batch)
	{
		if (object->nrefs == object->maxrefs)
		{
			uint32		maxrefs = Max(object->maxrefs * 2, 8);
			CdcObjRef  *refs = realloc(object->refs, sizeof(CdcObjRef) * maxrefs);

			if (refs == NULL)
				return false;
			object->refs = refs;
			object->maxrefs = maxrefs;
		}
		cdc_batch_ref(batch);
		object->refs[object->nrefs].batch = batch;
		object->refs[object->nrefs].nrows = 0;
		object->nrefs++;
	}
	if (object->compressor == NULL)
	{
		object->rows[object->nrows].data = cdc_msg_value(batch, msg);
		object->rows[object->nrows++].len = msg->val_len;
	}
	else if (!cdc_compressor_add(object->compressor, cdc_msg_value(batch, msg), msg->val_len) ||
			 !cdc_compressor_add(object->compressor, "\n", 1))
		object->failed = true;
	object->refs[object->nrefs - 1].nrows++;
	object->nmsgs++;
	object->bytes += (uint64) msg->val_len + 1;
	object->payload += msg->val_len;
	if (msg->key_len != CDC_LEN_NULL)
		object->payload += msg->key_len;
	return true;
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
 * Ends the compression of a file that is cut.  False: no memory, and as the
 * stream cannot be taken up again the rows have to come again.
 */
static bool
finish_object(CdcObject *object)
{
	size_t		len;

	if (object->compressor == NULL)
		return true;
	if (object->failed ||
		!cdc_compressor_finish(object->compressor, &object->text, &len) ||
		len > PG_UINT32_MAX ||
		(object->rows = malloc(sizeof(CdcObjRow))) == NULL)
		return false;
	cdc_compressor_free(object->compressor);
	object->compressor = NULL;
	object->rows[0].data = object->text;
	object->rows[0].len = (uint32) len;
	object->nrows = 1;
	object->newlines = false;
	return true;
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
		if (store->sink->broken || !finish_object(object))
		{
			/* a later one must not overtake it: none is put any more */
			if (!store->sink->broken)
				cdc_sink_trouble(store->sink, "out of memory");
			store->sink->broken = true;
			cdc_object_free(object);
			continue;
		}
		store->nput++;
		store->put(store->sink, object);
	}
}

/* One more message of the batch is taken: with the first, its bytes count. */
static void
taken(CdcObjStore *store, CdcBatch *batch)
{
	if (batch->nsubmitted++ == 0)
		store->held += batch->buf.len;
}

/* Acknowledges n messages and forgets the bytes of a batch that is through. */
static void
ack(CdcObjStore *store, CdcBatch *batch, uint32 n)
{
	cdc_batch_ack(batch, n);
	if (batch->nacked == batch->nmsgs)
		store->held -= batch->buf.len;
}

/* What file_size is about: bytes of the file, as far as they are known. */
static int64
object_size(const CdcObject *object)
{
	return object->compressor ? cdc_compressor_size(object->compressor) : object->bytes;
}

void
cdc_objstore_submit(CdcObjStore *store, CdcBatch *batch)
{
	size_t		limit = (size_t) cdc_feed_memory * 1024 / 2;

	/* All that counts as held is on its way by then; wait for it. */
	if (store->held >= limit && store->nput > 0)
		return;
	while (batch->nsubmitted < batch->nmsgs)
	{
		const CdcMessage *msg = &batch->msgs[batch->nsubmitted];
		CdcObject  *object;

		/* A message without a value would be an empty line: no row. */
		if ((msg->flags & CDC_MSG_SKIP) || msg->val_len == CDC_LEN_NULL)
		{
			taken(store, batch);
			ack(store, batch, 1);
			continue;
		}
		object = open_object(store, msg->topic);
		if (object == NULL || !add_row(object, batch, msg))
		{
			/* what is open may free some when it is done */
			cdc_sink_trouble(store->sink, "out of memory");
			cut_objects(store, NULL, NULL);
			return;
		}
		taken(store, batch);
		if (object_size(object) >= store->params.file_size)
			cut_objects(store, msg->topic, NULL);
	}
	if (store->held >= limit)
		cut_objects(store, NULL, NULL);
}

void
cdc_objstore_flush(CdcObjStore *store, CdcHlc floor)
{
	cut_objects(store, NULL, NULL);
	raise_bound(store, floor);
}

bool
cdc_objstore_resolved(CdcObjStore *store, const char *payload, size_t len,
					  CdcHlc r)
{
	CdcObject  *object;

	if (store->nresolved >= MAX_RESOLVED)
		return false;
	object = calloc(1, sizeof(CdcObject));
	if (object == NULL)
		return false;
	object->rows = malloc(sizeof(CdcObjRow));
	object->text = malloc(Max(len, 1));
	if (object->rows == NULL || object->text == NULL)
	{
		cdc_object_free(object);
		return false;
	}
	memcpy(object->text, payload, len);
	object->rows[0].data = object->text;
	object->rows[0].len = (uint32) len;
	object->nrows = 1;
	cdc_objname_resolved(object->name, r, store->params.partition);

	/*
	 * Rows above r may stand in a file whose stamp is not: it was opened
	 * before r came.  It sorts before the RESOLVED file, so it goes first.
	 */
	cut_objects(store, NULL, &r);
	raise_bound(store, r);
	store->nresolved++;
	store->put(store->sink, object);
	return true;
}

void
cdc_objstore_done(CdcObjStore *store, CdcObject *object)
{
	if (object->topic == NULL)
		store->nresolved--;
	else
	{
		store->nput--;
		store->sink->sent_messages += object->nmsgs;
		store->sink->sent_bytes += object->payload;
		for (uint32 i = 0; i < object->nrefs; i++)
			ack(store, object->refs[i].batch, object->refs[i].nrows);
	}
	cdc_object_free(object);
}
