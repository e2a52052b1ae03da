/*-------------------------------------------------------------------------
 * http.h
 *		HTTP requests of a sink: one libcurl multi handle with its own epoll
 *		descriptor, served by the lane's loop.
 *
 * No call blocks.  Bodies are not copied: the bytes of a request's slices
 * have to stay where they are until the request is done or cancelled, or,
 * after cdc_http_close(), until "release" has been called.
 *
 * Runs: lane and probe workers, main thread.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HTTP_H
#define CDC_HTTP_H

#include "postgres.h"

#define CDC_HTTP_ERROR_SIZE		256
#define CDC_HTTP_BODY_MAX		65536	/* of an answer, unless asked for more */

typedef struct CdcHttp CdcHttp;			/* an engine */
typedef struct CdcHttpCall CdcHttpCall; /* a request under way */

/* Everything is copied. */
typedef struct CdcHttpConfig
{
	int64		job_id;			/* for cdc_sink_gone(); 0 in a probe */
	int			max_connections;	/* at a time, 0: as many as requests */

	/* TLS; PEM, NULL: the system's authorities, no certificate of ours. */
	const char *ca;
	const char *cert;
	const char *key;
	bool		insecure;		/* take any certificate */

	/*
	 * NULL-terminated list, or NULL: strings that are replaced by "redacted"
	 * in every error text and by cdc_http_clean().
	 */
	const char *const *secrets;
} CdcHttpConfig;

typedef struct CdcHttpSlice
{
	const char *data;
	size_t		len;
} CdcHttpSlice;

/* What became of a request; valid during the callback only. */
typedef struct CdcHttpReply
{
	int			status;			/* 0: no answer, see error */
	bool		sent;			/* the whole body went out */
	bool		complete;		/* the answer came to its end */
	bool		timed_out;
	const char *body;			/* NUL-terminated behind its end */
	size_t		body_len;		/* cut at max_body of the request */
	const char *headers;		/* lines of the last answer, as received */
	int64		retry_after_ms; /* from Retry-After, -1: none */
	char		error[CDC_HTTP_ERROR_SIZE]; /* in words, no secret; "": none */
} CdcHttpReply;

/*
 * The request is over; its call is gone when this returns.  May start
 * requests, must not close the engine.
 */
typedef void (*CdcHttpDone) (void *arg, const CdcHttpReply *reply);

typedef struct CdcHttpRequest
{
	const char *method;			/* GET, HEAD, POST, PUT, DELETE; copied */
	const char *url;			/* http or https; copied */
	const char *const *headers; /* "Name: value", NULL-terminated or NULL;
								 * copied */
	const CdcHttpSlice *slices; /* body; the array is copied, bytes are not */
	int			nslices;		/* 0: no body (an empty one for POST, PUT) */
	bool		held;			/* the end of the body waits for
								 * cdc_http_let_go() */
	bool		last_will;		/* carried out also when the engine is closed, in
								 * what little time that has; without a body */
	bool		public_tls;		/* not by the engine's TLS settings, but with the
								 * system's authorities */
	bool		no_proxy;		/* for what is on this machine or beside it */
	bool		connect_only;	/* TCP and TLS only, for probes: status stays
								 * 0, error "" is success */

	int			connect_timeout_ms; /* 0: 10 s */
	int			timeout_ms;		/* whole request, 0: none */
	int			stall_timeout_ms;	/* no more than 1 byte per second for so
									 * long (whole seconds), 0: none */
	size_t		max_body;		/* of the answer, kept; 0: CDC_HTTP_BODY_MAX */

	CdcHttpDone done;
	void	   *arg;
} CdcHttpRequest;

/* NULL: out of memory or descriptors.  Starts no thread. */
extern CdcHttp *cdc_http_open(const CdcHttpConfig *config);

/* Readable when cdc_http_service() has work: for CdcSink.event_fd. */
extern int	cdc_http_event_fd(const CdcHttp *http);

/*
 * Starts a request.  NULL: out of memory, or a URL or header that cannot be
 * sent (control characters); the callback is not called then.
 */
extern CdcHttpCall *cdc_http_start(CdcHttp *http, const CdcHttpRequest *request);

/*
 * Requests that are started between the two go out in the second at once,
 * without waiting for cdc_http_service().  No callback is called.  Signals are
 * blocked in between: no more than a few requests, and no ERROR.  The first
 * may be repeated, the second does nothing without the first.
 */
extern void cdc_http_begin(CdcHttp *http);
extern void cdc_http_push(CdcHttp *http);

/* The rest of a held body may go. */
extern void cdc_http_let_go(CdcHttpCall *call);

/* Breaks a request off; it is gone when this returns, without a callback. */
extern void cdc_http_cancel(CdcHttpCall *call);

/* Requests under way. */
extern int	cdc_http_active(const CdcHttp *http);

/*
 * Makes the descriptor readable in so many milliseconds, for timers of the
 * sink's own (the next call replaces this one; negative: never).
 */
extern void cdc_http_wake_in(CdcHttp *http, int64 ms);

/* Does what is pending and calls back. */
extern void cdc_http_service(CdcHttp *http);

/*
 * Serves until nothing is under way, or timeout_ms have passed (false).
 * Probe workers only: it blocks, and answers interrupts within 100 ms.
 */
extern bool cdc_http_wait(CdcHttp *http, int timeout_ms);

/*
 * Cancels everything and lets go; returns at once.  release(arg) (or NULL)
 * runs on the main thread when no byte of a body is looked at any more; until
 * then the engine counts in cdc_sinks_closing().
 */
extern void cdc_http_close(CdcHttp *http, void (*release) (void *arg), void *arg);

/* Value of a header of an answer, malloc'ed; NULL: not there, or no memory. */
extern char *cdc_http_header(const CdcHttpReply *reply, const char *name);

/* One more secret, as those of the configuration; the last few are kept. */
extern void cdc_http_add_secret(CdcHttp *http, const char *secret);

/*
 * Text of a server for our messages: in ASCII, on one line, without the
 * secrets, cut to fit; dst is always terminated.
 */
extern void cdc_http_clean(const CdcHttp *http, char *dst, size_t size,
						   const char *text, size_t len);

/* Appends bytes percent-encoded but for unreserved ones and those in keep. */
struct StringInfoData;
extern void cdc_http_escape(struct StringInfoData *dst, const char *text,
							const char *keep);

/* Milliseconds of a clock that never goes back. */
extern int64 cdc_http_now_ms(void);

#endif							/* CDC_HTTP_H */
