/*-------------------------------------------------------------------------
 * http_int.h
 *		Insides of the HTTP engine, shared by its files; see http.h.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HTTP_INT_H
#define CDC_HTTP_INT_H

#include "postgres.h"

#include <pthread.h>
#include <signal.h>

#include <curl/curl.h>

#include "lib/ilist.h"
#include "sink/closing.h"
#include "sink/http.h"

#define CDC_HTTP_POOL		32	/* easy handles kept for reuse */
#define CDC_HTTP_LATE_SECRETS	24

struct CdcHttpCall
{
	dlist_node	node;
	CdcHttp    *http;
	CURL	   *easy;
	struct curl_slist *headers;
	CdcHttpSlice *slices;
	int			nslices;
	int64		body_total;
	char	   *flat;			/* a small body in one piece, NULL: in slices */
	int			slice;			/* where the body is read */
	size_t		slice_off;
	int64		body_read;
	bool		held;			/* its last bytes stay here */

	char	   *reply_headers;
	size_t		headers_len;
	char	   *body;
	size_t		body_len;
	size_t		body_cap;
	size_t		max_body;
	size_t		discarded;
	char		error[CURL_ERROR_SIZE];
	bool		last_will;

	CdcHttpDone done;
	void	   *arg;
};

/*
 * A timer of the kernel's costs more to set than a request takes: one that
 * goes off early is left alone, and set anew when it has.
 */
typedef struct CdcHttpTimer
{
	int			fd;
	int64		due_ms;			/* wanted, -1: not */
	int64		armed_ms;		/* goes off, -1: does not */
} CdcHttpTimer;

struct CdcHttp
{
	CdcClosing	closing;
	int64		job_id;
	CURLM	   *multi;
	int			epoll_fd;
	CdcHttpTimer timer;			/* the library's */
	CdcHttpTimer alarm;			/* the sink's */
	bool		acting;			/* signals are blocked, and timers set when
								 * that is over */
	bool		held;			/* by cdc_http_begin() */
	sigset_t	held_mask;
	dlist_head	calls;
	int			ncalls;
	CURL	   *pool[CDC_HTTP_POOL];
	int			npool;

	char	   *ca;
	char	   *cert;
	char	   *key;
	bool		insecure;
	char	  **secrets;
	int			nsecrets;
	char	   *late_secrets[CDC_HTTP_LATE_SECRETS];	/* a ring */
	int			next_late;

	pthread_t	thread;
	bool		has_thread;
	void		(*release) (void *arg);
	void	   *release_arg;
};

/*
 * Makes a request ready to go, on a handle of its own or the pool's, but does
 * not start it.  NULL: no memory, or it cannot be sent.
 */
extern CdcHttpCall *cdc_http_call_create(CdcHttp *http, const CdcHttpRequest *request);

/* Has the library taken the whole body? */
extern bool cdc_http_call_is_sent(const CdcHttpCall *call);

/* Frees a request whose handle is gone. */
extern void cdc_http_call_free(CdcHttpCall *call);

/* The library's words for a failure, without what changes each time. */
extern void cdc_http_clean_error(const CdcHttp *http, char *dst, const char *words,
								 int os_errno);

#endif							/* CDC_HTTP_INT_H */
