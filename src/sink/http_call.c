/*-------------------------------------------------------------------------
 * http_call.c
 *		One request of the HTTP engine: its options, its body, its answer,
 *		and the words for what went wrong; see http.h.
 *
 * Bodies are read out of the slices as the connection takes them; answers
 * are kept up to a limit, and one that does not end is cut off.
 *
 * Runs: lane and probe workers, main thread, the callbacks within calls of
 * the library.  malloc'ed memory throughout.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "sink/http_compat.h"
#include "sink/http_int.h"

#define CONNECT_TIMEOUT_MS	10000
#define MAX_HEADERS			65536	/* bytes of headers of an answer */
#define MAX_FLAT			65535	/* of a body that goes out with the headers */
#define MAX_DISCARDED		1048576 /* of a body, beyond what is kept */
#define HELD_BYTES			1024	/* of a body that must not be complete yet */

/* ---- words ----------------------------------------------------------- */

static size_t
match_secret(const char *secret, const char *text, size_t len)
{
	size_t		secret_len = secret ? strlen(secret) : 0;

	return secret_len > 0 && secret_len <= len &&
		memcmp(text, secret, secret_len) == 0 ? secret_len : 0;
}

void
cdc_http_clean(const CdcHttp *http, char *dst, size_t size,
			   const char *text, size_t len)
{
	size_t		n = 0;

	for (size_t i = 0; i < len && n + 1 < size;)
	{
		size_t		skip = 0;

		for (int s = 0; s < http->nsecrets && skip == 0; s++)
			skip = match_secret(http->secrets[s], text + i, len - i);
		for (int s = 0; s < CDC_HTTP_LATE_SECRETS && skip == 0; s++)
			skip = match_secret(http->late_secrets[s], text + i, len - i);
		if (skip > 0)
		{
			n += strlcpy(dst + n, "redacted", size - n);
			n = Min(n, size - 1);
			i += skip;
			continue;
		}
		if (text[i] == '\r' || text[i] == '\n' || text[i] == '\t')
			dst[n++] = ' ';
		else
			dst[n++] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
		i++;
	}
	while (n > 0 && dst[n - 1] == ' ')
		n--;
	dst[n] = '\0';
}

void
cdc_http_clean_error(const CdcHttp *http, char *dst, const char *words, int os_errno)
{
	const char *after = strstr(words, " after ");
	const char *ms = after ? strstr(after, " ms") : NULL;
	char		text[CURL_ERROR_SIZE * 2];

	if (ms != NULL)
	{
		static const char failed[] = "Failed to connect to ";
		const char *rest = ms + 3;
		int			len = after - words;
		const char *colon = memrchr(words, ':', len);
		const char *port = "";

		/* host:port of some releases as the "host port" of the others */
		if (colon != NULL && strncmp(words, failed, strlen(failed)) == 0 &&
			strspn(colon + 1, "0123456789") == after - colon - 1)
		{
			len = colon - words;
			port = " port ";
		}
		else
			colon = after - 1;
		/* what the system said tells more */
		if (os_errno != 0 && (strcmp(rest, ": Couldn't connect to server") == 0 ||
							  strcmp(rest, ": Could not connect to server") == 0))
			snprintf(text, sizeof(text), "%.*s%s%.*s: %s", len, words, port,
					 (int) (after - colon - 1), colon + 1, strerror(os_errno));
		else
			snprintf(text, sizeof(text), "%.*s%s%.*s%s", len, words, port,
					 (int) (after - colon - 1), colon + 1, rest);
		words = text;
	}
	cdc_http_clean(http, dst, CDC_HTTP_ERROR_SIZE, words, strlen(words));
}

char *
cdc_http_header(const CdcHttpReply *reply, const char *name)
{
	size_t		name_len = strlen(name);

	for (const char *line = reply->headers; *line != '\0';)
	{
		size_t		len = strcspn(line, "\r\n");

		if (len > name_len && line[name_len] == ':' &&
			pg_strncasecmp(line, name, name_len) == 0)
		{
			const char *value = line + name_len + 1;
			const char *end = line + len;

			while (value < end && (*value == ' ' || *value == '\t'))
				value++;
			while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
				end--;
			return strndup(value, end - value);
		}
		line += len;
		line += strspn(line, "\r\n");
	}
	return NULL;
}

void
cdc_http_escape(StringInfo dst, const char *text, const char *keep)
{
	for (const unsigned char *p = (const unsigned char *) text; *p != '\0'; p++)
	{
		if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			(*p >= '0' && *p <= '9') || strchr("-._~", *p) != NULL ||
			(keep != NULL && strchr(keep, *p) != NULL))
			appendStringInfoChar(dst, *p);
		else
			appendStringInfo(dst, "%%%02X", *p);
	}
}

/* ---- callbacks of the library ---------------------------------------- */

static size_t
on_read(char *dst, size_t size, size_t nitems, void *arg)
{
	CdcHttpCall *call = arg;
	size_t		room = size * nitems;
	size_t		n = 0;

	if (unlikely(call->held))
	{
		int64		left = call->body_total - call->body_read - HELD_BYTES;

		if (left <= 0)
			return CURL_READFUNC_PAUSE;
		room = Min(room, (size_t) left);
	}
	while (room > 0 && call->slice < call->nslices)
	{
		CdcHttpSlice *s = &call->slices[call->slice];
		size_t		chunk = Min(room, s->len - call->slice_off);

		memcpy(dst + n, s->data + call->slice_off, chunk);
		n += chunk;
		room -= chunk;
		call->slice_off += chunk;
		if (call->slice_off == s->len)
		{
			call->slice++;
			call->slice_off = 0;
		}
	}
	call->body_read += n;
	return n;
}

/* The library starts again on another connection. */
static int
on_seek(void *arg, curl_off_t offset, int origin)
{
	CdcHttpCall *call = arg;

	if (origin != SEEK_SET || offset != 0)
		return CURL_SEEKFUNC_CANTSEEK;
	call->slice = 0;
	call->slice_off = 0;
	call->body_read = 0;
	return CURL_SEEKFUNC_OK;
}

static size_t
on_body(char *data, size_t size, size_t nitems, void *arg)
{
	CdcHttpCall *call = arg;
	size_t		len = size * nitems;
	size_t		take = Min(len, call->max_body - call->body_len);

	if (call->body_len + take + 1 > call->body_cap)
	{
		size_t		cap = Max(call->body_cap * 2, call->body_len + take + 1);
		char	   *body = realloc(call->body, cap);

		if (body == NULL)
			return 0;
		call->body = body;
		call->body_cap = cap;
	}
	memcpy(call->body + call->body_len, data, take);
	call->body_len += take;
	call->body[call->body_len] = '\0';
	call->discarded += len - take;
	if (call->discarded > MAX_DISCARDED)
	{
		strlcpy(call->error, "the answer is too long", sizeof(call->error));
		return 0;				/* ends the request */
	}
	return len;
}

static size_t
on_header(char *data, size_t size, size_t nitems, void *arg)
{
	CdcHttpCall *call = arg;
	size_t		len = size * nitems;
	char	   *headers;

	if (len >= 5 && memcmp(data, "HTTP/", 5) == 0)
		call->headers_len = 0;	/* an interim answer came before */
	if (call->headers_len + len > MAX_HEADERS)
	{
		strlcpy(call->error, "the answer has too many headers", sizeof(call->error));
		return 0;
	}
	headers = realloc(call->reply_headers, call->headers_len + len + 1);
	if (headers == NULL)
		return 0;
	memcpy(headers + call->headers_len, data, len);
	call->headers_len += len;
	headers[call->headers_len] = '\0';
	call->reply_headers = headers;
	return len;
}

/* ---- making one ------------------------------------------------------ */

void
cdc_http_call_free(CdcHttpCall *call)
{
	for (struct curl_slist *h = call->headers; h != NULL; h = h->next)
		explicit_bzero(h->data, strlen(h->data));	/* may be credentials */
	curl_slist_free_all(call->headers);
	free(call->slices);
	free(call->flat);
	free(call->reply_headers);
	free(call->body);
	free(call);
}

static bool
has_control(const char *text)
{
	for (; *text != '\0'; text++)
	{
		if ((unsigned char) *text < ' ' && *text != '\t')
			return true;
		if (*text == 0x7f)
			return true;
	}
	return false;
}

static bool
add_header(CdcHttpCall *call, const char *line)
{
	struct curl_slist *list;
	const char *colon = strchr(line, ':');
	char	   *empty = NULL;

	if (colon == NULL || colon == line || has_control(line))
		return false;
	if (colon[1 + strspn(colon + 1, " \t")] == '\0')
	{
		/* the library's way to send a header without a value */
		empty = strdup(line);
		if (empty == NULL)
			return false;
		empty[colon - line] = ';';
		empty[colon - line + 1] = '\0';
	}
	list = curl_slist_append(call->headers, empty ? empty : line);
	free(empty);
	if (list == NULL)
		return false;
	call->headers = list;
	return true;
}

static bool
prepare_headers(CdcHttpCall *call, const CdcHttpRequest *request)
{
	struct curl_slist *list;

	for (int i = 0; request->headers != NULL && request->headers[i] != NULL; i++)
	{
		if (!add_header(call, request->headers[i]))
			return false;
	}
	/* no extra round trip before a body */
	list = curl_slist_append(call->headers, "Expect:");
	if (list == NULL)
		return false;
	call->headers = list;
	return true;
}

/*
 * The library sends a small body that lies in one piece together with the
 * headers.  It stays in slices where there is no memory for that.
 */
static void
flatten(CdcHttpCall *call)
{
	size_t		n = 0;

	if (call->body_total == 0 || call->body_total > MAX_FLAT)
		return;
	call->flat = malloc(call->body_total);
	if (call->flat == NULL)
		return;
	for (int i = 0; i < call->nslices; i++)
	{
		memcpy(call->flat + n, call->slices[i].data, call->slices[i].len);
		n += call->slices[i].len;
	}
}

bool
cdc_http_call_is_sent(const CdcHttpCall *call)
{
	curl_off_t	sent = 0;

	if (call->flat == NULL)
		return call->slice == call->nslices;
	return curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &sent) == CURLE_OK &&
		sent >= call->body_total;
}

static struct curl_blob
pem_blob(char *pem)
{
	struct curl_blob blob;

	blob.data = pem;
	blob.len = strlen(pem);
	blob.flags = CURL_BLOB_NOCOPY;
	return blob;
}

static CURLcode
set_options(CdcHttpCall *call, const CdcHttpRequest *request)
{
	CdcHttp    *http = call->http;
	CURL	   *easy = call->easy;
	CURLcode	rc = CURLE_OK;
	const char *method = request->method;

#define EASY(opt, value) \
	(rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, (opt), (value)))
	EASY(CURLOPT_URL, request->url);
	EASY(CURLOPT_FOLLOWLOCATION, 0L);
	EASY(CURLOPT_NOSIGNAL, 1L);
	/* without TLS it would wait for an answer to see that there is no HTTP/2 */
	EASY(CURLOPT_PIPEWAIT, pg_strncasecmp(request->url, "https:", 6) == 0 ? 1L : 0L);
	EASY(CURLOPT_TCP_KEEPALIVE, 1L);
	EASY(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	EASY(CURLOPT_USERAGENT, "cdc_sink");
	EASY(CURLOPT_ERRORBUFFER, call->error);
	EASY(CURLOPT_PRIVATE, call);
	EASY(CURLOPT_HTTPHEADER, call->headers);
	EASY(CURLOPT_READFUNCTION, on_read);
	EASY(CURLOPT_READDATA, call);
	EASY(CURLOPT_SEEKFUNCTION, on_seek);
	EASY(CURLOPT_SEEKDATA, call);
	EASY(CURLOPT_WRITEFUNCTION, on_body);
	EASY(CURLOPT_WRITEDATA, call);
	EASY(CURLOPT_HEADERFUNCTION, on_header);
	EASY(CURLOPT_HEADERDATA, call);
	EASY(CURLOPT_UPLOAD_BUFFERSIZE, 256 * 1024L);
	EASY(CURLOPT_CONNECTTIMEOUT_MS,
		 (long) (request->connect_timeout_ms > 0 ? request->connect_timeout_ms : CONNECT_TIMEOUT_MS));
	if (request->timeout_ms > 0)
		EASY(CURLOPT_TIMEOUT_MS, (long) request->timeout_ms);
	if (request->stall_timeout_ms > 0)
	{
		EASY(CURLOPT_LOW_SPEED_LIMIT, 1L);
		EASY(CURLOPT_LOW_SPEED_TIME, (long) Max(request->stall_timeout_ms / 1000, 1));
	}

	if (request->no_proxy)
		EASY(CURLOPT_NOPROXY, "*");
	if (rc == CURLE_OK)
		rc = cdc_curl_only_http(easy);
	if (rc == CURLE_OK)
		rc = cdc_curl_quick_exit(easy);
	if (rc == CURLE_OK && http->ca != NULL && !request->public_tls)
		rc = cdc_curl_set_ca(easy, http->ca);
	if (http->cert != NULL && !request->public_tls)
	{
		struct curl_blob blob = pem_blob(http->cert);

		EASY(CURLOPT_SSLCERT_BLOB, &blob);
		EASY(CURLOPT_SSLCERTTYPE, "PEM");
	}
	if (http->key != NULL && !request->public_tls)
	{
		struct curl_blob blob = pem_blob(http->key);

		EASY(CURLOPT_SSLKEY_BLOB, &blob);
		EASY(CURLOPT_SSLKEYTYPE, "PEM");
	}
	/* else the library would ask the terminal for the key's passphrase */
	EASY(CURLOPT_KEYPASSWD, "");
	if (http->insecure && !request->public_tls)
	{
		EASY(CURLOPT_SSL_VERIFYPEER, 0L);
		EASY(CURLOPT_SSL_VERIFYHOST, 0L);
	}

	if (request->connect_only)
	{
		EASY(CURLOPT_CONNECT_ONLY, 1L);
		return rc;
	}
	if (strcmp(method, "GET") == 0)
		EASY(CURLOPT_HTTPGET, 1L);
	else if (strcmp(method, "HEAD") == 0)
		EASY(CURLOPT_NOBODY, 1L);
	else if (strcmp(method, "POST") == 0)
	{
		EASY(CURLOPT_POST, 1L);
		EASY(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) call->body_total);
		if (call->flat != NULL)
			EASY(CURLOPT_POSTFIELDS, call->flat);
	}
	else if (strcmp(method, "PUT") == 0 || call->nslices > 0)
	{
		EASY(CURLOPT_UPLOAD, 1L);
		EASY(CURLOPT_INFILESIZE_LARGE, (curl_off_t) call->body_total);
		EASY(CURLOPT_CUSTOMREQUEST, method);
	}
	else
		EASY(CURLOPT_CUSTOMREQUEST, method);
#undef EASY
	return rc;
}

CdcHttpCall *
cdc_http_call_create(CdcHttp *http, const CdcHttpRequest *request)
{
	CdcHttpCall *call;

	if (has_control(request->url))
		return NULL;
	call = calloc(1, sizeof(CdcHttpCall));
	if (call == NULL)
		return NULL;
	call->http = http;
	call->done = request->done;
	call->arg = request->arg;
	call->held = request->held;
	call->last_will = request->last_will;
	call->max_body = request->max_body > 0 ? request->max_body : CDC_HTTP_BODY_MAX;
	if (request->nslices > 0)
		call->slices = malloc(sizeof(CdcHttpSlice) * request->nslices);
	if ((request->nslices > 0 && call->slices == NULL) ||
		!prepare_headers(call, request))
	{
		cdc_http_call_free(call);
		return NULL;
	}
	for (int i = 0; i < request->nslices; i++)
	{
		if (request->slices[i].len == 0)
			continue;
		call->slices[call->nslices++] = request->slices[i];
		call->body_total += request->slices[i].len;
	}
	if (strcmp(request->method, "POST") == 0)
		flatten(call);
	call->easy = http->npool > 0 ? http->pool[--http->npool] : curl_easy_init();
	if (call->easy == NULL)
	{
		cdc_http_call_free(call);
		return NULL;
	}
	if (set_options(call, request) != CURLE_OK)
	{
		curl_easy_cleanup(call->easy);
		cdc_http_call_free(call);
		return NULL;
	}
	return call;
}
