/*-------------------------------------------------------------------------
 * file.c
 *		The file sink: file:///abs/dir and nodelocal://self/dir.
 *
 * objstore.c says which rows go into which file and what is acknowledged,
 * file_writer.c brings the files to the disk; this file joins the two and is
 * the sink's face to the feed.
 *
 * Runs: lane worker (main thread; never waits for the disk); check: also in
 * backends; probe: probe worker.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/file_probe.h"
#include "sink/file_writer.h"
#include "sink/objstore.h"

/* Less is not worth an fsync of its own. */
#define MIN_PART		(1024 * 1024)
#define MAX_PARTS		1000000

/* As much of a path as leaves room for the rest of a message. */
#define SHOWN_PATH		300

typedef struct FileSink
{
	CdcSink		base;
	CdcObjStore *store;
	CdcFileWriter *writer;
	CdcFileTrouble trouble;		/* as last seen */
} FileSink;

static const char *const options_known[] = {"compression", NULL};
static const char *const schemes[] = {
	"file", "nodelocal", "experimental-nodelocal", NULL
};
static const char *const params[] = {CDC_OBJ_PARAM_NAMES, NULL};

static void
file_check(const CdcUri *uri, const CdcOptions *options)
{
	CdcObjParams parsed;

	cdc_uri_require_known(uri, uri->scheme, params);
	cdc_objstore_params(uri, options, &parsed);
	cdc_file_check_access(cdc_file_dir(uri));
	if (strcmp(uri->scheme, "experimental-nodelocal") == 0)
		ereport(NOTICE,
				(errmsg("scheme %s is the same as nodelocal, which is its name today",
						uri->scheme)));
}

static bool
file_probe(const CdcSinkConfig *config, int timeout_ms,
		   char *error, size_t error_size)
{
	return cdc_file_probe(cdc_file_dir(config->uri), timeout_ms, error, error_size);
}

static void
put_part(CdcSink *sink, CdcObjPart *part)
{
	cdc_file_writer_put(((FileSink *) sink)->writer, part);
}

static void
put_object(CdcSink *sink, CdcObject *object)
{
	put_part(sink, object->parts[object->nparts - 1]);
}

static void
drop_object(CdcSink *sink, CdcObject *object)
{
	cdc_file_writer_drop(((FileSink *) sink)->writer, object);
}

static const CdcObjTransport transport = {
	.part_min = MIN_PART,
	.max_parts = MAX_PARTS,
	.part = put_part,
	.put = put_object,
	.drop = drop_object,
};

static CdcSink *
file_open(const CdcSinkConfig *config)
{
	FileSink   *fs;
	CdcObjParams parsed;
	char	   *dir;

	cdc_objstore_params(config->uri, config->options, &parsed);
	dir = cdc_file_dir(config->uri);
	fs = calloc(1, sizeof(FileSink));
	if (fs == NULL)
		return NULL;
	fs->base.ops = &cdc_sink_file;
	fs->base.job_id = config->job_id;
	fs->store = cdc_objstore_create(&fs->base, config, &parsed, &transport);
	if (fs->store != NULL)
		fs->writer = cdc_file_writer_start(dir, config->job_id,
										   cdc_objstore_session(fs->store),
										   &fs->base.event_fd);
	pfree(dir);
	if (fs->writer == NULL)
	{
		if (fs->store != NULL)
			cdc_objstore_destroy(fs->store);
		free(fs);
		return NULL;
	}
	return &fs->base;
}

static void
file_submit(CdcSink *sink, CdcBatch *batch)
{
	FileSink   *fs = (FileSink *) sink;

	if (fs->trouble.err == 0)
		cdc_objstore_submit(fs->store, batch);
}

static void
show_trouble(FileSink *fs)
{
	const char *path = fs->trouble.path;
	size_t		len = strlen(path);
	const char *dots = "";

	if (len > SHOWN_PATH)
	{
		path += len - SHOWN_PATH;
		dots = "...";
	}
	cdc_sink_trouble(&fs->base, "%s \"%s%s\": %s", fs->trouble.what,
					 dots, path, strerror(fs->trouble.err));
}

static void
file_service(CdcSink *sink)
{
	FileSink   *fs = (FileSink *) sink;
	uint64		failures = fs->trouble.count;
	dlist_head	done;

	dlist_init(&done);
	if (!cdc_file_writer_collect(fs->writer, &done, &fs->trouble))
		return;
	while (!dlist_is_empty(&done))
	{
		CdcObjPart *part = dlist_container(CdcObjPart, node,
										   dlist_pop_head_node(&done));

		if (part->last)
			cdc_objstore_done(fs->store, part->object);
		else
			cdc_objstore_part_done(fs->store, part);
	}
	if (fs->trouble.lost)
		sink->broken = true;
	if (fs->trouble.err == 0)
		cdc_sink_healthy(sink);
	else if (fs->trouble.count != failures)
		show_trouble(fs);
}

static void
file_flush(CdcSink *sink, CdcHlc floor)
{
	cdc_objstore_flush(((FileSink *) sink)->store, floor);
}

static void
file_relieve(CdcSink *sink)
{
	cdc_objstore_relieve(((FileSink *) sink)->store);
}

static bool
file_resolved(CdcSink *sink, const char *payload, size_t len, CdcHlc r)
{
	return cdc_objstore_resolved(((FileSink *) sink)->store, payload, len, r);
}

static bool
file_settled(CdcSink *sink)
{
	return cdc_objstore_settled(((FileSink *) sink)->store);
}

static void
file_close(CdcSink *sink)
{
	FileSink   *fs = (FileSink *) sink;

	cdc_objstore_destroy(fs->store);
	cdc_file_writer_close(fs->writer);
	free(fs);
}

const CdcSinkOps cdc_sink_file = {
	.name = "file",
	.schemes = schemes,
	.options = options_known,
	.has_topics = false,
	.forces_key_in_value = true,
	.sanitises_topics = false,
	.check = file_check,
	.probe = file_probe,
	.open = file_open,
	.submit = file_submit,
	.service = file_service,
	.flush = file_flush,
	.relieve = file_relieve,
	.resolved = file_resolved,
	.settled = file_settled,
	.close = file_close,
};
