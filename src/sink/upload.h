/*-------------------------------------------------------------------------
 * upload.h
 *		Brings the objects of an objstore to a store that is spoken to by
 *		HTTP: order, parallel requests, back-off, large objects in parts.
 *		How a request looks and what an answer means is the dialect's business.
 *
 * Small objects are one PUT.  A large one is begun, gets its parts, several
 * at a time and before it is complete, and appears with its commit.
 * Objects of different tables appear in any order, those of one table one
 * after the other, so that after a crash no newer row is there without the
 * older ones of its key, and no newer schema version before an older one.  A
 * RESOLVED object waits for everything before it.  While there is trouble one
 * request at a time finds out whether it is over.
 *
 * A PUT that has to wait for others of its table may start early: all of it
 * is sent but its end, which follows when they are done.
 *
 * Runs: lane worker, main thread; never blocks, never raises an ERROR.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_UPLOAD_H
#define CDC_UPLOAD_H

#include "postgres.h"

#include "sink/http.h"
#include "sink/objstore.h"

#define CDC_UPLOAD_PARALLEL		8

/* What a request is for. */
typedef enum CdcUploadStep
{
	CDC_UPLOAD_PUT,				/* the whole object: its only part */
	CDC_UPLOAD_BEGIN,			/* of a large one */
	CDC_UPLOAD_PART,
	CDC_UPLOAD_COMMIT,			/* it appears, with all its parts */
	CDC_UPLOAD_CHECK,			/* is it there, of its size?  After a commit
								 * whose outcome is not known */
	CDC_UPLOAD_ABORT,			/* nothing will become of it */
} CdcUploadStep;

typedef enum CdcUploadVerdict
{
	CDC_UPLOAD_OK,
	CDC_UPLOAD_RETRY,			/* later */
	CDC_UPLOAD_LOST,			/* can never succeed: the feed goes back */
	CDC_UPLOAD_GONE,			/* BEGIN is forgotten: lost, or, for a COMMIT
								 * that was sent before, carried out */
} CdcUploadVerdict;

typedef struct CdcUploader CdcUploader;

/* An object on its way. */
typedef struct CdcUpload
{
	CdcUploader *uploader;
	CdcObject  *object;
	char	   *id;				/* from BEGIN, NULL: not begun; free()d */
	bool		simple;			/* one PUT will do */

	/* The rest belongs to upload.c. */
	dlist_node	node;			/* of those begun or to be begun */
	bool		complete;		/* has been put */
	uint32		nsent;			/* parts that are there */
	uint32		nknown;			/* parts in the uploader's list so far */
	int			nmute;			/* times that a part had no answer since one was
								 * there */
	CdcUploadStep step;			/* of the call */
	void	   *call;
	bool		early;			/* the call is held: its turn is still to come */
	bool		patient;		/* was early, and nothing came of it */
	bool		committed;		/* a COMMIT went out and may have been heard */
	bool		check;			/* find out */
	char	   *body;			/* of the call, dialect's; free()d after it */
} CdcUpload;

typedef struct CdcUploadRequest
{
	CdcUploadStep step;
	CdcUpload  *upload;
	CdcObjPart *part;			/* PUT, PART */
	const CdcHttpSlice *slices; /* the part's bytes; they stay, the array does
								 * not */
	int			nslices;
	bool		early;			/* PUT: to be held, see http.h */
} CdcUploadRequest;

typedef struct CdcUploadDialect
{
	bool		no_begin;		/* large objects need no BEGIN: upload->id is "" */
	bool		early;			/* nothing of a PUT ever shows without its last
								 * byte: it may begin before its turn */

	/*
	 * May requests be made?  False: something (a token) is on its way; the
	 * sink calls cdc_uploader_run() when it is there.  NULL: always.
	 */
	bool		(*ready) (CdcSink *sink);

	/*
	 * Starts a request, with last_will for ABORT.  NULL: no memory.  Bytes of
	 * its own go to upload->body.
	 */
	CdcHttpCall *(*start) (CdcSink *sink, const CdcUploadRequest *request,
						   CdcHttpDone done, void *arg);

	/*
	 * What an answer means.  Sets upload->id after BEGIN and part->tag (what
	 * COMMIT needs to know of it) after PART, malloc'ed.
	 */
	CdcUploadVerdict (*judge) (CdcSink *sink, const CdcUploadRequest *request,
							   const CdcHttpReply *reply);

	/* "bucket "b" at host: what is wrong", without secrets. */
	void		(*explain) (CdcSink *sink, const CdcHttpReply *reply,
							char *dst, size_t size);
} CdcUploadDialect;

/*
 * Engine and store of the sink have to be there until the uploader is closed;
 * the dialect stays.  NULL: out of memory.
 */
extern CdcUploader *cdc_uploader_create(CdcSink *sink, CdcHttp *http,
										const CdcUploadDialect *dialect);

/* Who acknowledges; before anything is put. */
extern void cdc_uploader_set_store(CdcUploader *uploader, CdcObjStore *store);

/* The CdcObjTransport's calls. */
extern void cdc_uploader_part(CdcUploader *uploader, CdcObjPart *part);
extern void cdc_uploader_put(CdcUploader *uploader, CdcObject *object);
extern void cdc_uploader_drop(CdcUploader *uploader, CdcObject *object);

/* Starts what may be started. */
extern void cdc_uploader_run(CdcUploader *uploader);

/* True: things go wrong at the moment; leave the store in peace. */
extern bool cdc_uploader_in_trouble(const CdcUploader *uploader);

/*
 * Starts the requests that give up what is unfinished.  Before the engine is
 * closed, after the store was destroyed.
 */
extern void cdc_uploader_abort(CdcUploader *uploader);

/* Frees it and all objects it has; when the engine has let go of their bytes. */
extern void cdc_uploader_free(CdcUploader *uploader);

#endif							/* CDC_UPLOAD_H */
