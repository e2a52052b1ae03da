/*-------------------------------------------------------------------------
 * upload_sink.h
 *		What the sinks of object stores have in common between the feed and
 *		the uploader: most of CdcSinkOps, and the probe.
 *
 * objstore.c says which rows go into which object and what is acknowledged,
 * upload.c in which order requests are made.  A kind adds how its requests
 * look and what it needs for them: credentials, mostly.
 *
 * Runs: lane worker, main thread (nothing blocks); probe: probe worker.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_UPLOAD_SINK_H
#define CDC_UPLOAD_SINK_H

#include "postgres.h"

#include "sink/store.h"
#include "sink/sweep.h"
#include "sink/upload.h"

typedef struct CdcUploadSink CdcUploadSink;

typedef struct CdcUploadSinkKind
{
	const CdcSinkOps *ops;
	size_t		size;			/* of its struct, whose first member is a
								 * CdcUploadSink */
	int			more_connections;	/* besides those of the uploads */
	const CdcUploadDialect *dialect;

	/*
	 * Reads the configuration, palloc'ed in the current context, into
	 * sink->config; sets part_min and max_parts of the transport, and what
	 * else than kind->dialect says the dialect is.  May raise an ERROR.
	 */
	void		(*configure) (CdcUploadSink *sink, const CdcUri *uri);

	/* The rest it needs; all else is there.  False: no memory. */
	bool		(*set_up) (CdcUploadSink *sink);

	/*
	 * Undoes configure() and set_up(), which may not have come far, when no
	 * byte is looked at any more.
	 */
	void		(*release) (CdcUploadSink *sink);
} CdcUploadSinkKind;

struct CdcUploadSink
{
	CdcSink		base;
	const CdcUploadSinkKind *kind;
	MemoryContext cxt;			/* of config */
	CdcStoreConfig *config;
	CdcObjStore *store;			/* NULL: without configuration, broken */
	CdcHttp    *http;
	CdcUploader *uploader;
	CdcSweep   *sweep;			/* NULL: the store has no use for it */
	CdcUploadDialect dialect;
	CdcObjTransport transport;
};

/*
 * A new sink; NULL: out of memory.  What has become of the configuration since
 * check() (the server's environment may be another) makes a broken sink, which
 * is opened anew from time to time.
 */
extern CdcSink *cdc_upload_sink_open(const CdcUploadSinkKind *kind,
									 const CdcSinkConfig *config);

/* For set_up(): what killed runs left is given up.  False: no memory. */
extern bool cdc_upload_sink_sweep(CdcUploadSink *sink, const CdcSweepOps *ops);

/* CdcSinkOps.submit, service, flush, relieve, resolved, settled and close. */
extern void cdc_upload_sink_submit(CdcSink *sink, CdcBatch *batch);
extern void cdc_upload_sink_service(CdcSink *sink);
extern void cdc_upload_sink_flush(CdcSink *sink, CdcHlc floor);
extern void cdc_upload_sink_relieve(CdcSink *sink);
extern bool cdc_upload_sink_resolved(CdcSink *sink, const char *payload,
									 size_t len, CdcHlc r);
extern bool cdc_upload_sink_settled(CdcSink *sink);
extern void cdc_upload_sink_close(CdcSink *sink);

/* An engine for the store.  NULL: out of memory. */
extern CdcHttp *cdc_upload_sink_http(const CdcStoreConfig *config,
									 int more_connections, int64 job_id);

/* ---- probe -------------------------------------------------------------- */

typedef struct CdcUploadProbe CdcUploadProbe;

struct CdcUploadProbe
{
	CdcHttp    *http;
	CdcStoreConfig *config;
	char	   *error;
	size_t		error_size;
	bool		answered;		/* since these two were reset: there was an */
	bool		ok;				/* answer, and it was a good one */

	/* Starts the request that writes the object, or removes it. */
	CdcHttpCall *(*start) (CdcUploadProbe *probe, bool removal, const char *name,
						   const CdcHttpSlice *slices, int nslices,
						   CdcHttpDone done);

	/* As of CdcUploadDialect. */
	bool		(*succeeded) (const CdcUploadProbe *probe, const CdcHttpReply *reply);
	void		(*explain) (const CdcUploadProbe *probe, const CdcHttpReply *reply,
							char *dst, size_t size);
};

/* Waits for the engine's answers; was there a good one?  If not, see error. */
extern bool cdc_upload_probe_wait(CdcUploadProbe *probe, int timeout_ms);

/*
 * Writes a small object and removes it; false: could not write, see error.
 * "end": until when, by cdc_http_now_ms().
 */
extern bool cdc_upload_probe_write(CdcUploadProbe *probe, int64 end);

#endif							/* CDC_UPLOAD_SINK_H */
