/*-------------------------------------------------------------------------
 * upload.c
 *		Brings the objects of an objstore to a store that is spoken to by
 *		HTTP; see upload.h.
 *
 * Why no row is lost: an object is acknowledged when its PUT or its commit
 * has succeeded and not before.  The bytes of a part of a large object
 * are let go of when the store has the part, so if the store forgets the
 * upload nothing here could send them again: the sink is broken, the feed
 * goes back to what is acknowledged and decodes them once more.
 *
 * A commit whose answer did not come may have been carried out.  It is sent
 * again; if the store does not know the upload any more, the object's name,
 * which no other run of any sink has, tells whether it was.
 *
 * Runs: lane worker, main thread.  Memory is malloc'ed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/upload.h"

/* So far from the head of the queue an object is looked for that may go. */
#define LOOK_AHEAD		64

/* PUTs before their turn; smaller ones are not worth it. */
#define MAX_EARLY		4
#define EARLY_MIN_BYTES	(1024 * 1024)

#define FIRST_DELAY_MS	100
#define MAX_DELAY_MS	30000

/*
 * So many times in a row a part without any answer, which takes some ten
 * seconds, and the upload is begun anew.  A server that does not know it any
 * more may say so before it has read the part; where it then closes the
 * connection, or a proxy does, its answer is lost time after time.
 */
#define MAX_MUTE		8

/* Of a Retry-After. */
#define MAX_WISH_MS		300000

struct CdcUploader
{
	CdcSink    *sink;
	CdcObjStore *store;
	CdcHttp    *http;
	const CdcUploadDialect *dialect;
	dlist_head	queue;			/* CdcObject, in the order they were put */
	dlist_head	large;			/* CdcUpload that is not simple */
	dlist_head	parts;			/* CdcObjPart to be sent or on its way */
	dlist_head	dropped;		/* CdcObject */
	int			nactive;		/* with a request under way */
	int			nearly;			/* of them, before their turn */
	int			delay_ms;		/* 0: no trouble */
	int64		not_before;		/* no request before, by cdc_http_now_ms() */
};

CdcUploader *
cdc_uploader_create(CdcSink *sink, CdcHttp *http, const CdcUploadDialect *dialect)
{
	CdcUploader *up = calloc(1, sizeof(CdcUploader));

	if (up == NULL)
		return NULL;
	up->sink = sink;
	up->http = http;
	up->dialect = dialect;
	dlist_init(&up->queue);
	dlist_init(&up->large);
	dlist_init(&up->parts);
	dlist_init(&up->dropped);
	return up;
}

void
cdc_uploader_set_store(CdcUploader *up, CdcObjStore *store)
{
	up->store = store;
}

bool
cdc_uploader_in_trouble(const CdcUploader *up)
{
	return up->delay_ms > 0;
}

/* ---- before their turn ------------------------------------------------ */

/* It is not early any more; whether it is at all is the caller's business. */
static void
end_early(CdcUploader *up, CdcUpload *upload)
{
	upload->early = false;
	up->nearly--;
}

/*
 * Whoever they wait for has failed: that one must not wait for the requests
 * that they take up, nor they for a server's patience.
 */
static void
cancel_early(CdcUploader *up)
{
	dlist_iter	iter;

	dlist_foreach(iter, &up->queue)
	{
		CdcObject  *object = dlist_container(CdcObject, node, iter.cur);
		CdcUpload  *upload = object->owner;

		if (up->nearly == 0)
			break;
		if (!upload->early)
			continue;
		end_early(up, upload);
		upload->patient = true;
		cdc_http_cancel(upload->call);
		upload->call = NULL;
		free(upload->body);
		upload->body = NULL;
		up->nactive--;
	}
}

/* ---- answers --------------------------------------------------------- */

/* No request for a while, twice as long as the last time. */
static void
back_off(CdcUploader *up, int64 retry_after_ms)
{
	int64		now = cdc_http_now_ms();

	/* what was under way when it began does not count anew */
	if (now >= up->not_before)
		up->delay_ms = Min(Max(up->delay_ms * 2, FIRST_DELAY_MS), MAX_DELAY_MS);
	up->not_before = Max(up->not_before,
						 now + Max(up->delay_ms, Min(retry_after_ms, MAX_WISH_MS)));
	cdc_http_wake_in(up->http, up->not_before - now);
	cancel_early(up);
}

static void
all_is_well(CdcUploader *up)
{
	up->delay_ms = 0;
	up->not_before = 0;
	cdc_sink_healthy(up->sink);
}

static void
report(CdcUploader *up, const CdcHttpReply *reply)
{
	char		text[CDC_SINK_ERROR_SIZE];

	up->dialect->explain(up->sink, reply, text, sizeof(text));
	cdc_sink_trouble(up->sink, "could not write to %s", text);
}

/* What a verdict is to the uploader as a whole; true: OK. */
static bool
take_verdict(CdcUploader *up, CdcUploadVerdict verdict, const CdcHttpReply *reply)
{
	switch (verdict)
	{
		case CDC_UPLOAD_OK:
			all_is_well(up);
			return true;
		case CDC_UPLOAD_RETRY:
			report(up, reply);
			back_off(up, reply->retry_after_ms);
			break;
		case CDC_UPLOAD_LOST:
		case CDC_UPLOAD_GONE:
			report(up, reply);
			up->sink->broken = true;
			break;
	}
	return false;
}

static void
part_is_there(CdcUploader *up, CdcObjPart *part)
{
	CdcUpload  *upload = part->object->owner;

	upload->nsent++;
	upload->nmute = 0;
	dlist_delete(&part->node);
	cdc_objstore_part_done(up->store, part);
}

static void
part_answered(void *arg, const CdcHttpReply *reply)
{
	CdcObjPart *part = arg;
	CdcUpload  *upload = part->object->owner;
	CdcUploader *up = upload->uploader;
	CdcUploadRequest request = {CDC_UPLOAD_PART, upload, part, NULL, 0};
	CdcUploadVerdict verdict;

	part->call = NULL;
	up->nactive--;
	verdict = up->dialect->judge(up->sink, &request, reply);

	/* those that were under way beside one that failed tell nothing more */
	if (verdict == CDC_UPLOAD_RETRY && reply->status == 0 &&
		cdc_http_now_ms() >= up->not_before && ++upload->nmute >= MAX_MUTE)
		verdict = CDC_UPLOAD_LOST;
	if (take_verdict(up, verdict, reply))
		part_is_there(up, part);
}

static void
free_upload(CdcUpload *upload)
{
	free(upload->id);
	free(upload->body);
	free(upload);
}

/* The object is there under its name. */
static void
upload_done(CdcUploader *up, CdcUpload *upload)
{
	CdcObject  *object = upload->object;

	dlist_delete(&object->node);
	if (!upload->simple)
		dlist_delete(&upload->node);
	free_upload(upload);
	cdc_objstore_done(up->store, object);
}

static void
upload_answered(void *arg, const CdcHttpReply *reply)
{
	CdcUpload  *upload = arg;
	CdcUploader *up = upload->uploader;
	CdcUploadRequest request = {upload->step, upload, NULL, NULL, 0};
	CdcUploadVerdict verdict;

	if (upload->step == CDC_UPLOAD_PUT)
		request.part = upload->object->parts[0];
	upload->call = NULL;
	up->nactive--;
	if (upload->early)
	{
		/*
		 * Not even asked for in full: a server's patience may have ended, or
		 * those before it fail as well.  It is sent again in its turn.
		 */
		end_early(up, upload);
		upload->patient = true;
		free(upload->body);
		upload->body = NULL;
		return;
	}
	verdict = up->dialect->judge(up->sink, &request, reply);
	free(upload->body);
	upload->body = NULL;

	/* it may have been heard unless it was refused in so many words */
	if (upload->step == CDC_UPLOAD_COMMIT && verdict == CDC_UPLOAD_RETRY)
		upload->committed = true;
	if (verdict == CDC_UPLOAD_GONE && upload->step == CDC_UPLOAD_COMMIT &&
		upload->committed)
	{
		upload->check = true;
		return;
	}
	if (take_verdict(up, verdict, reply) && upload->step != CDC_UPLOAD_BEGIN)
		upload_done(up, upload);
}

/* ---- requests -------------------------------------------------------- */

static void
no_memory(CdcUploader *up)
{
	cdc_sink_trouble(up->sink, "out of memory");
	back_off(up, -1);
}

/* The bytes of a part; the caller frees the array.  NULL: no memory. */
static CdcHttpSlice *
part_slices(const CdcObjPart *part, int *nslices)
{
	CdcHttpSlice *slices = malloc(sizeof(CdcHttpSlice) * ((size_t) part->nrows * 2 + 1));
	int			n = 0;

	if (slices == NULL)
		return NULL;
	for (uint32 i = 0; i < part->nrows; i++)
	{
		slices[n].data = part->rows[i].data;
		slices[n++].len = part->rows[i].len;
		if (part->newlines)
		{
			slices[n].data = "\n";
			slices[n++].len = 1;
		}
	}
	*nslices = n;
	return slices;
}

static bool
start_part(CdcUploader *up, CdcUpload *upload, CdcObjPart *part, CdcUploadStep step,
		   bool early, CdcHttpDone done, void *arg, void **call)
{
	CdcUploadRequest request = {step, upload, part, NULL, 0, early};
	CdcHttpSlice *slices = part_slices(part, &request.nslices);

	if (slices == NULL)
		return false;
	request.slices = slices;
	*call = up->dialect->start(up->sink, &request, done, arg);
	free(slices);
	if (*call == NULL)
		return false;
	up->nactive++;
	return true;
}

static bool
start_put(CdcUploader *up, CdcUpload *upload, bool early)
{
	upload->step = CDC_UPLOAD_PUT;
	if (!start_part(up, upload, upload->object->parts[0], CDC_UPLOAD_PUT, early,
					upload_answered, upload, &upload->call))
		return false;
	upload->early = early;
	up->nearly += early;
	return true;
}

static bool
start_step(CdcUploader *up, CdcUpload *upload, CdcUploadStep step)
{
	CdcUploadRequest request = {step, upload, NULL, NULL, 0};

	upload->step = step;
	upload->call = up->dialect->start(up->sink, &request, upload_answered, upload);
	if (upload->call == NULL)
	{
		free(upload->body);
		upload->body = NULL;
		return false;
	}
	up->nactive++;
	return true;
}

static bool
may_start(const CdcUploader *up)
{
	return up->nactive < (up->delay_ms > 0 ? 1 : CDC_UPLOAD_PARALLEL) &&
		!up->sink->broken;
}

typedef enum Turn
{
	TURN_NOW,					/* may appear before all in front of it has */
	TURN_NEXT,					/* behind PUTs that are under way */
	TURN_LATER,
} Turn;

static Turn
turn_of(CdcUploader *up, CdcObject *object)
{
	const char *topic = cdc_object_topic(object);
	Turn		turn = TURN_NOW;
	dlist_iter	iter;

	dlist_foreach(iter, &up->queue)
	{
		CdcObject  *other = dlist_container(CdcObject, node, iter.cur);
		CdcUpload  *upload = other->owner;
		const char *other_topic = cdc_object_topic(other);

		if (other == object)
			return turn;
		if (topic == NULL)
			return TURN_LATER;
		if (other_topic == NULL || strcmp(other_topic, topic) != 0)
			continue;
		if (!upload->simple || upload->call == NULL)
			return TURN_LATER;
		turn = TURN_NEXT;
	}
	return TURN_LATER;
}

static bool
may_be_early(const CdcUploader *up, const CdcUpload *upload)
{
	return up->dialect->early && upload->simple && !upload->patient &&
		upload->object->stored >= EARLY_MIN_BYTES &&
		up->nearly < MAX_EARLY && up->delay_ms == 0;
}

/* Those whose turn has come may be sent to their end. */
static void
let_early_go(CdcUploader *up)
{
	dlist_iter	iter;

	if (up->nearly == 0 || up->sink->broken)
		return;
	dlist_foreach(iter, &up->queue)
	{
		CdcObject  *object = dlist_container(CdcObject, node, iter.cur);
		CdcUpload  *upload = object->owner;

		if (!upload->early || turn_of(up, object) != TURN_NOW)
			continue;
		end_early(up, upload);
		cdc_http_let_go(upload->call);
	}
}

/* Objects that are complete; false: no memory. */
static bool
start_complete(CdcUploader *up)
{
	int			looked = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &up->queue)
	{
		CdcObject  *object = dlist_container(CdcObject, node, iter.cur);
		CdcUpload  *upload = object->owner;
		Turn		turn;

		if (!may_start(up) || looked++ >= LOOK_AHEAD)
			break;
		if (upload->call != NULL ||
			(!upload->simple && upload->nsent < upload->nknown))
			continue;
		turn = turn_of(up, object);
		if (turn == TURN_LATER || (turn == TURN_NEXT && !may_be_early(up, upload)))
			continue;
		if (!(upload->simple ? start_put(up, upload, turn == TURN_NEXT) :
			  start_step(up, upload, upload->check ? CDC_UPLOAD_CHECK : CDC_UPLOAD_COMMIT)))
			return false;
	}
	return true;
}

/* Large objects without an id, and parts of those with one. */
static bool
start_large(CdcUploader *up)
{
	dlist_iter	iter;

	dlist_foreach(iter, &up->large)
	{
		CdcUpload  *upload = dlist_container(CdcUpload, node, iter.cur);

		if (!may_start(up))
			return true;
		if (upload->id == NULL && upload->call == NULL &&
			!start_step(up, upload, CDC_UPLOAD_BEGIN))
			return false;
	}
	dlist_foreach(iter, &up->parts)
	{
		CdcObjPart *part = dlist_container(CdcObjPart, node, iter.cur);
		CdcUpload  *upload = part->object->owner;

		if (!may_start(up))
			return true;
		if (part->call == NULL && upload->id != NULL &&
			!start_part(up, upload, part, CDC_UPLOAD_PART, false, part_answered, part,
						&part->call))
			return false;
	}
	return true;
}

void
cdc_uploader_run(CdcUploader *up)
{
	let_early_go(up);
	if (!may_start(up) ||
		(up->delay_ms > 0 && cdc_http_now_ms() < up->not_before) ||
		(dlist_is_empty(&up->queue) && dlist_is_empty(&up->large)) ||
		(up->dialect->ready != NULL && !up->dialect->ready(up->sink)))
		return;
	if (!start_complete(up) || !start_large(up))
		no_memory(up);
}

/* ---- the transport --------------------------------------------------- */

/* NULL: no memory, and the sink is broken. */
static CdcUpload *
find_upload(CdcUploader *up, CdcObject *object)
{
	CdcUpload  *upload = object->owner;

	if (upload != NULL)
		return upload;
	upload = calloc(1, sizeof(CdcUpload));
	if (upload != NULL && up->dialect->no_begin &&
		(upload->id = strdup("")) == NULL)
	{
		free(upload);
		upload = NULL;
	}
	if (upload == NULL)
	{
		cdc_sink_trouble(up->sink, "out of memory");
		up->sink->broken = true;
		return NULL;
	}
	upload->uploader = up;
	upload->object = object;
	upload->simple = !object->started;
	object->owner = upload;
	if (!upload->simple)
		dlist_push_tail(&up->large, &upload->node);
	return upload;
}

static void
add_part(CdcUploader *up, CdcUpload *upload, CdcObjPart *part)
{
	upload->nknown++;
	dlist_push_tail(&up->parts, &part->node);
}

void
cdc_uploader_part(CdcUploader *up, CdcObjPart *part)
{
	CdcUpload  *upload = find_upload(up, part->object);

	if (upload == NULL)
		return;
	add_part(up, upload, part);
	cdc_uploader_run(up);
}

void
cdc_uploader_put(CdcUploader *up, CdcObject *object)
{
	CdcObjPart *last = object->parts[object->nparts - 1];
	CdcUpload  *upload = find_upload(up, object);

	if (upload == NULL)
	{
		dlist_push_tail(&up->dropped, &object->node);
		return;
	}
	upload->complete = true;
	dlist_push_tail(&up->queue, &object->node);
	if (!upload->simple && last->bytes > 0)
		add_part(up, upload, last);
	cdc_uploader_run(up);
}

void
cdc_uploader_drop(CdcUploader *up, CdcObject *object)
{
	dlist_push_tail(&up->dropped, &object->node);
}

/* ---- the end --------------------------------------------------------- */

static void
abort_answered(void *arg, const CdcHttpReply *reply)
{
	/* by then nobody listens */
}

void
cdc_uploader_abort(CdcUploader *up)
{
	dlist_iter	iter;

	up->store = NULL;
	if (up->dialect->ready != NULL && !up->dialect->ready(up->sink))
		return;
	dlist_foreach(iter, &up->large)
	{
		CdcUpload  *upload = dlist_container(CdcUpload, node, iter.cur);
		CdcUploadRequest request = {CDC_UPLOAD_ABORT, upload, NULL, NULL, 0};

		/* one that may be on the point of appearing is left alone */
		if (upload->id == NULL ||
			(upload->call != NULL && upload->step == CDC_UPLOAD_COMMIT))
			continue;
		(void) up->dialect->start(up->sink, &request, abort_answered, NULL);
	}
}

static void
free_objects(dlist_head *list)
{
	while (!dlist_is_empty(list))
	{
		CdcObject  *object = dlist_container(CdcObject, node,
											 dlist_pop_head_node(list));

		if (object->owner != NULL)
			free_upload(object->owner);
		cdc_object_free(object);
	}
}

void
cdc_uploader_free(CdcUploader *up)
{
	free_objects(&up->queue);
	free_objects(&up->dropped);
	free(up);
}
