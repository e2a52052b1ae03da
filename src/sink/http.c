/*-------------------------------------------------------------------------
 * http.c
 *		HTTP requests of a sink: libcurl's multi interface with the sockets
 *		in an epoll descriptor of our own; see http.h.
 *
 * The lane waits for that descriptor among others and calls
 * cdc_http_service().  Names are resolved by threads of libcurl's, which
 * inherit the signal mask of whoever makes them: all signals are blocked
 * around every call that may do so, else PostgreSQL's handlers would run on
 * a thread that must not touch PostgreSQL.
 *
 * Nobody waits for such a thread: requests have CURLOPT_QUICK_EXIT (where the
 * library knows it, see http_compat.h), and the handles of a closed engine
 * are torn down by a thread of its own, since that says goodbye to servers.
 *
 * Runs: lane and probe workers, main thread; farewell_main on a thread with
 * all signals blocked, which touches the closed engine only.  malloc'ed
 * memory throughout.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "miscadmin.h"
#include "sink/http_int.h"

#define MAX_EVENTS			64
#define MAX_ROUNDS			8		/* before the lane gets its turn again */
#define DRAIN_MS			3000	/* for the last answers of a closed engine */
#define WILL_MS				2000	/* and then for its last will, ... */
#define WILL_AGAIN_MS		300		/* which is read twice */

int64
cdc_http_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Threads made from here on inherit a mask that lets nothing through. */
static void
block_signals(sigset_t *old)
{
	sigset_t	all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, old);
}

static void
restore_signals(const sigset_t *old)
{
	pthread_sigmask(SIG_SETMASK, old, NULL);
}

/* ---- callbacks of the library ---------------------------------------- */

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	CdcHttp    *http = arg;
	struct epoll_event event;

	memset(&event, 0, sizeof(event));
	event.data.fd = fd;
	if (what == CURL_POLL_REMOVE)
	{
		/* it may be closed already */
		(void) epoll_ctl(http->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	/* what was assigned is forgotten when the library forgets the socket */
	if (known != NULL)
	{
		if (epoll_ctl(http->epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0 &&
			epoll_ctl(http->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
			return -1;
		return 0;
	}
	if (epoll_ctl(http->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 &&
		epoll_ctl(http->epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0)
		return -1;
	(void) curl_multi_assign(http->multi, fd, http);
	return 0;
}

static void
arm_timer(CdcHttpTimer *timer)
{
	struct itimerspec spec = {{0}};
	int64		left;

	if (timer->due_ms < 0 ||
		(timer->armed_ms >= 0 && timer->armed_ms <= timer->due_ms))
		return;
	left = timer->due_ms - cdc_http_now_ms();
	if (left > 0)
	{
		spec.it_value.tv_sec = left / 1000;
		spec.it_value.tv_nsec = (left % 1000) * 1000000L;
	}
	else
		spec.it_value.tv_nsec = 1;	/* 0 would stop it */
	if (timerfd_settime(timer->fd, 0, &spec, NULL) == 0)
		timer->armed_ms = timer->due_ms;
}

/* Negative: never. */
static void
set_timer(CdcHttp *http, CdcHttpTimer *timer, int64 ms)
{
	timer->due_ms = ms < 0 ? -1 : cdc_http_now_ms() + ms;
	if (!http->acting)
		arm_timer(timer);
}

/* What is due counts once. */
static bool
take_timer(CdcHttpTimer *timer)
{
	if (timer->due_ms < 0 || timer->due_ms > cdc_http_now_ms())
		return false;
	timer->due_ms = -1;
	return true;
}

static int
on_timer(CURLM *multi, long ms, void *arg)
{
	CdcHttp    *http = arg;

	set_timer(http, &http->timer, ms);
	return 0;
}

void
cdc_http_wake_in(CdcHttp *http, int64 ms)
{
	set_timer(http, &http->alarm, ms);
}

/* ---- engine ---------------------------------------------------------- */

static bool
global_init(void)
{
	static bool done = false;
	sigset_t	old;

	if (done)
		return true;
	block_signals(&old);
	done = curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK;
	restore_signals(&old);
	return done;
}

static void
free_engine(CdcHttp *http)
{
	if (http->epoll_fd >= 0)
		close(http->epoll_fd);
	if (http->timer.fd >= 0)
		close(http->timer.fd);
	if (http->alarm.fd >= 0)
		close(http->alarm.fd);
	for (int i = 0; i < http->nsecrets; i++)
	{
		explicit_bzero(http->secrets[i], strlen(http->secrets[i]));
		free(http->secrets[i]);
	}
	free(http->secrets);
	for (int i = 0; i < CDC_HTTP_LATE_SECRETS; i++)
	{
		if (http->late_secrets[i] != NULL)
			explicit_bzero(http->late_secrets[i], strlen(http->late_secrets[i]));
		free(http->late_secrets[i]);
	}
	if (http->key != NULL)
		explicit_bzero(http->key, strlen(http->key));
	free(http->ca);
	free(http->cert);
	free(http->key);
	free(http);
}

static bool
copy_secrets(CdcHttp *http, const char *const *secrets)
{
	int			n = 0;

	while (secrets != NULL && secrets[n] != NULL)
		n++;
	http->secrets = calloc(n + 1, sizeof(char *));
	if (http->secrets == NULL)
		return false;
	for (int i = 0; i < n; i++)
	{
		if (secrets[i][0] == '\0')
			continue;
		http->secrets[http->nsecrets] = strdup(secrets[i]);
		if (http->secrets[http->nsecrets] == NULL)
			return false;
		http->nsecrets++;
	}
	return true;
}

void
cdc_http_add_secret(CdcHttp *http, const char *secret)
{
	char	  **slot = &http->late_secrets[http->next_late];

	if (secret == NULL || secret[0] == '\0')
		return;
	if (*slot != NULL)
		explicit_bzero(*slot, strlen(*slot));
	free(*slot);
	*slot = strdup(secret);
	http->next_late = (http->next_late + 1) % CDC_HTTP_LATE_SECRETS;
}

static bool
copy_string(char **dst, const char *src)
{
	if (src == NULL)
		return true;
	*dst = strdup(src);
	return *dst != NULL;
}

static void
make_timer(CdcHttpTimer *timer, int epoll_fd)
{
	int			fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	struct epoll_event event;

	memset(&event, 0, sizeof(event));
	event.events = EPOLLIN;
	event.data.fd = fd;
	if (fd >= 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
	{
		close(fd);
		fd = -1;
	}
	timer->fd = fd;
	timer->due_ms = timer->armed_ms = -1;
}

CdcHttp *
cdc_http_open(const CdcHttpConfig *config)
{
	CdcHttp    *http;
	CURLMcode	rc = CURLM_OK;

	if (!global_init())
		return NULL;
	http = calloc(1, sizeof(CdcHttp));
	if (http == NULL)
		return NULL;
	http->job_id = config->job_id;
	http->insecure = config->insecure;
	dlist_init(&http->calls);
	http->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	make_timer(&http->timer, http->epoll_fd);
	make_timer(&http->alarm, http->epoll_fd);
	if (http->epoll_fd < 0 || http->timer.fd < 0 || http->alarm.fd < 0 ||
		!copy_string(&http->ca, config->ca) ||
		!copy_string(&http->cert, config->cert) ||
		!copy_string(&http->key, config->key) ||
		!copy_secrets(http, config->secrets) ||
		(http->multi = curl_multi_init()) == NULL)
	{
		free_engine(http);
		return NULL;
	}

#define MULTI(opt, value) \
	(rc = rc != CURLM_OK ? rc : curl_multi_setopt(http->multi, (opt), (value)))
	MULTI(CURLMOPT_SOCKETFUNCTION, on_socket);
	MULTI(CURLMOPT_SOCKETDATA, http);
	MULTI(CURLMOPT_TIMERFUNCTION, on_timer);
	MULTI(CURLMOPT_TIMERDATA, http);
	/* else it closes all but four for each request that is under way just now */
	MULTI(CURLMOPT_MAXCONNECTS, (long) CDC_HTTP_POOL);
	MULTI(CURLMOPT_PIPELINING, (long) CURLPIPE_MULTIPLEX);
	if (config->max_connections > 0)
		MULTI(CURLMOPT_MAX_TOTAL_CONNECTIONS, (long) config->max_connections);
#undef MULTI
	if (rc != CURLM_OK)
	{
		curl_multi_cleanup(http->multi);
		free_engine(http);
		return NULL;
	}
	return http;
}

int
cdc_http_event_fd(const CdcHttp *http)
{
	return http->epoll_fd;
}

int
cdc_http_active(const CdcHttp *http)
{
	return http->ncalls;
}

/* ---- requests -------------------------------------------------------- */

/* Takes a request out of the engine; its handle is kept for the next. */
static void
detach_call(CdcHttpCall *call)
{
	CdcHttp    *http = call->http;

	(void) curl_multi_remove_handle(http->multi, call->easy);
	curl_easy_reset(call->easy);
	if (http->npool < CDC_HTTP_POOL)
		http->pool[http->npool++] = call->easy;
	else
		curl_easy_cleanup(call->easy);
	call->easy = NULL;
	dlist_delete(&call->node);
	http->ncalls--;
}

CdcHttpCall *
cdc_http_start(CdcHttp *http, const CdcHttpRequest *request)
{
	CdcHttpCall *call = cdc_http_call_create(http, request);
	sigset_t	old;
	CURLMcode	rc;

	if (call == NULL)
		return NULL;
	if (!http->acting)
		block_signals(&old);
	rc = curl_multi_add_handle(http->multi, call->easy);
	if (!http->acting)
		restore_signals(&old);
	if (rc != CURLM_OK)
	{
		curl_easy_cleanup(call->easy);
		cdc_http_call_free(call);
		return NULL;
	}
	dlist_push_tail(&http->calls, &call->node);
	http->ncalls++;
	return call;
}

void
cdc_http_let_go(CdcHttpCall *call)
{
	CdcHttp    *http = call->http;
	sigset_t	old;

	if (!call->held)
		return;
	call->held = false;
	if (!http->acting)
		block_signals(&old);
	(void) curl_easy_pause(call->easy, CURLPAUSE_CONT);
	if (!http->acting)
		restore_signals(&old);
}

void
cdc_http_cancel(CdcHttpCall *call)
{
	CdcHttp    *http = call->http;
	sigset_t	old;

	if (!http->acting)
		block_signals(&old);
	detach_call(call);
	if (!http->acting)
		restore_signals(&old);
	cdc_http_call_free(call);
}

static void
finish_call(CdcHttpCall *call, CURLcode result)
{
	CdcHttpReply reply;
	long		status = 0;
	long		os_errno = 0;
	curl_off_t	retry_after = 0;

	memset(&reply, 0, sizeof(reply));
	(void) curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	(void) curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &os_errno);
	(void) curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after);
	reply.status = (int) status;
	reply.sent = cdc_http_call_is_sent(call);
	reply.complete = result == CURLE_OK;
	reply.timed_out = result == CURLE_OPERATION_TIMEDOUT;
	reply.body = call->body ? call->body : "";
	reply.body_len = call->body_len;
	reply.headers = call->reply_headers ? call->reply_headers : "";
	reply.retry_after_ms = -1;
	if (retry_after > 0)
		reply.retry_after_ms = (int64) Min(retry_after, 86400) * 1000;
	else
	{
		char	   *header = cdc_http_header(&reply, "Retry-After");

		if (header != NULL)
			reply.retry_after_ms = 0;
		free(header);
	}
	if (result == CURLE_OPERATION_TIMEDOUT)
		strlcpy(reply.error, "timeout", sizeof(reply.error));
	else if (result != CURLE_OK)
		cdc_http_clean_error(call->http, reply.error,
							 call->error[0] ? call->error : curl_easy_strerror(result),
							 result == CURLE_COULDNT_CONNECT ? (int) os_errno : 0);

	detach_call(call);
	call->done(call->arg, &reply);
	cdc_http_call_free(call);
}

/* Lets the library act on a socket (or its timer); requests not over yet. */
static int
act(CdcHttp *http, curl_socket_t fd, int mask)
{
	int			running = 0;

	/* what goes wrong with a request is told with the request */
	(void) curl_multi_socket_action(http->multi, fd, mask, &running);
	return running;
}

static bool
collect_finished(CdcHttp *http)
{
	bool		any = false;
	CURLMsg    *msg;
	int			left;

	while ((msg = curl_multi_info_read(http->multi, &left)) != NULL)
	{
		CURLcode	result = msg->data.result;
		char	   *call = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		if (curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &call) != CURLE_OK ||
			call == NULL)
			continue;
		any = true;
		finish_call((CdcHttpCall *) call, result);
	}
	return any;
}

/* From here to end_acting() the library's wishes for its timer are kept. */
static void
begin_acting(CdcHttp *http, sigset_t *old)
{
	block_signals(old);
	http->acting = true;
}

static void
end_acting(CdcHttp *http, const sigset_t *old)
{
	http->acting = false;
	arm_timer(&http->timer);
	arm_timer(&http->alarm);
	restore_signals(old);
}

/* What epoll says of a descriptor. */
static void
handle_event(CdcHttp *http, const struct epoll_event *event)
{
	CdcHttpTimer *timer = event->data.fd == http->timer.fd ? &http->timer :
		event->data.fd == http->alarm.fd ? &http->alarm : NULL;
	int			mask = 0;

	if (timer != NULL)
	{
		uint64		expirations;

		if (read(timer->fd, &expirations, sizeof(expirations)) > 0)
			timer->armed_ms = -1;
		return;
	}
	if (event->events & EPOLLIN)
		mask |= CURL_CSELECT_IN;
	if (event->events & EPOLLOUT)
		mask |= CURL_CSELECT_OUT;
	if (event->events & (EPOLLERR | EPOLLHUP))
		mask |= CURL_CSELECT_ERR | CURL_CSELECT_IN;
	(void) act(http, event->data.fd, mask);
}

void
cdc_http_service(CdcHttp *http)
{
	struct epoll_event events[MAX_EVENTS];
	sigset_t	old;

	begin_acting(http, &old);
	(void) take_timer(&http->alarm);	/* the caller looks what it was for */
	for (int round = 0; round < MAX_ROUNDS; round++)
	{
		int			n = epoll_wait(http->epoll_fd, events, MAX_EVENTS, 0);
		bool		due;

		for (int i = 0; i < n; i++)
			handle_event(http, &events[i]);
		due = take_timer(&http->timer);
		if (due)
			(void) act(http, CURL_SOCKET_TIMEOUT, 0);
		if (!collect_finished(http) && !due && n <= 0)
			break;
	}
	end_acting(http, &old);
}

void
cdc_http_begin(CdcHttp *http)
{
	if (http->acting)
		return;
	begin_acting(http, &http->held_mask);
	http->held = true;
}

void
cdc_http_push(CdcHttp *http)
{
	if (!http->held)
		return;
	/* what is over already is collected by the next service */
	if (take_timer(&http->timer) &&
		act(http, CURL_SOCKET_TIMEOUT, 0) < http->ncalls)
		http->timer.due_ms = cdc_http_now_ms();
	http->held = false;
	end_acting(http, &http->held_mask);
}

bool
cdc_http_wait(CdcHttp *http, int timeout_ms)
{
	int64		end = cdc_http_now_ms() + timeout_ms;

	for (;;)
	{
		struct epoll_event event;
		int64		left;

		CHECK_FOR_INTERRUPTS();
		cdc_http_service(http);
		if (http->ncalls == 0)
			return true;
		left = end - cdc_http_now_ms();
		if (left <= 0)
			return false;
		(void) epoll_wait(http->epoll_fd, &event, 1, (int) Min(left, 100));
	}
}

/* ---- the end --------------------------------------------------------- */

static void
tear_down(CdcHttp *http)
{
	dlist_iter	iter;

	dlist_foreach(iter, &http->calls)
	{
		CdcHttpCall *call = dlist_container(CdcHttpCall, node, iter.cur);

		(void) curl_multi_remove_handle(http->multi, call->easy);
		curl_easy_cleanup(call->easy);
	}
	for (int i = 0; i < http->npool; i++)
		curl_easy_cleanup(http->pool[i]);
	(void) curl_multi_cleanup(http->multi);
}

static void
pause_ms(int ms)
{
	struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};

	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

static void
perform_until(CdcHttp *http, int64 end)
{
	for (;;)
	{
		int			running = 0;
		int64		left = end - cdc_http_now_ms();

		if (curl_multi_perform(http->multi, &running) != CURLM_OK ||
			running == 0 || left <= 0)
			return;
		(void) curl_multi_poll(http->multi, NULL, 0, (int) Min(left, 100), NULL);
	}
}

/*
 * What the server has in full it may still carry out when the connection is
 * gone, and a successor must not be overtaken by that: such requests get a
 * little time for their answers.  All others are broken off first, and last
 * wills are carried out in the end.
 */
static void
drain(CdcHttp *http)
{
	int64		now = cdc_http_now_ms();
	bool		wills = false;
	dlist_iter	iter;

	dlist_foreach(iter, &http->calls)
	{
		CdcHttpCall *call = dlist_container(CdcHttpCall, node, iter.cur);

		wills |= call->last_will;
		if (call->last_will || call->nslices == 0 || !cdc_http_call_is_sent(call))
			(void) curl_multi_remove_handle(http->multi, call->easy);
	}
	perform_until(http, now + DRAIN_MS);

	/*
	 * A server that was still busy with what was broken off may undo what it
	 * is willed, or fail: it is told twice.
	 */
	for (int i = 0; wills && i < 2; i++)
	{
		if (i > 0)
			pause_ms(WILL_AGAIN_MS);
		dlist_foreach(iter, &http->calls)
		{
			CdcHttpCall *call = dlist_container(CdcHttpCall, node, iter.cur);

			if (!call->last_will)
				continue;
			(void) curl_multi_remove_handle(http->multi, call->easy);
			(void) curl_multi_add_handle(http->multi, call->easy);
		}
		perform_until(http, now + DRAIN_MS + WILL_MS);
	}
}

static void *
farewell_main(void *arg)
{
	CdcHttp    *http = arg;

	drain(http);
	tear_down(http);
	cdc_closing_end(&http->closing);
	return NULL;
}

static void
http_reap(CdcClosing *closing)
{
	CdcHttp    *http = (CdcHttp *) closing;

	/* It has said its last word: this does not wait. */
	if (http->has_thread)
		pthread_join(http->thread, NULL);
	if (http->release != NULL)
		http->release(http->release_arg);
	while (!dlist_is_empty(&http->calls))
		cdc_http_call_free(dlist_container(CdcHttpCall, node,
								  dlist_pop_head_node(&http->calls)));
	free_engine(http);
}

void
cdc_http_close(CdcHttp *http, void (*release) (void *arg), void *arg)
{
	sigset_t	old;

	http->release = release;
	http->release_arg = arg;
	/* nobody looks at the descriptors any more */
	(void) curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, NULL);
	(void) curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, NULL);
	close(http->epoll_fd);
	close(http->timer.fd);
	close(http->alarm.fd);
	http->epoll_fd = http->timer.fd = http->alarm.fd = -1;

	cdc_closing_begin(&http->closing, http->job_id, http_reap);
	block_signals(&old);
	http->has_thread = pthread_create(&http->thread, NULL, farewell_main, http) == 0;
	if (!http->has_thread)
	{
		tear_down(http);
		cdc_closing_end(&http->closing);
	}
	restore_signals(&old);
}
