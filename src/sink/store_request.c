/*-------------------------------------------------------------------------
 * store_request.c
 *		Requests to a store as its dialect writes them down, and what all
 *		dialects read in answers; see store.h.
 *
 * Runs: lane and probe workers, main thread.  Never raises an ERROR: memory
 * is malloc'ed, and overwritten before it is given back, as it may hold
 * credentials.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/store.h"

#define CONNECT_TIMEOUT_MS	10000
#define STALL_TIMEOUT_MS	20000

/* A request takes no longer than this, plus 1 s for each 100 kB. */
#define BASE_TIMEOUT_MS		60000
#define BYTES_PER_MS		100

static char *format_text(const char *fmt, va_list args) pg_attribute_printf(1, 0);

/* malloc'ed; NULL: no memory. */
static char *
format_text(const char *fmt, va_list args)
{
	va_list		again;
	int			len;
	char	   *text;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (len < 0)
		return NULL;
	text = malloc((size_t) len + 1);
	if (text != NULL)
		vsnprintf(text, (size_t) len + 1, fmt, args);
	return text;
}

void
cdc_draft_url(CdcStoreDraft *draft, const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	draft->url = format_text(fmt, args);
	va_end(args);
	draft->failed |= draft->url == NULL;
}

void
cdc_draft_header(CdcStoreDraft *draft, const char *fmt,...)
{
	va_list		args;
	char	   *line;

	if (draft->nheaders >= CDC_STORE_MAX_HEADERS)
	{
		draft->failed = true;
		return;
	}
	va_start(args, fmt);
	line = format_text(fmt, args);
	va_end(args);
	if (line == NULL)
		draft->failed = true;
	else
		draft->headers[draft->nheaders++] = line;
}

void
cdc_draft_body(CdcStoreDraft *draft, const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	draft->body = format_text(fmt, args);
	va_end(args);
	draft->failed |= draft->body == NULL;
}

static void
wipe(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
}

void
cdc_draft_free(CdcStoreDraft *draft)
{
	wipe(draft->url);
	wipe(draft->body);
	for (int i = 0; i < draft->nheaders; i++)
		wipe(draft->headers[i]);
	memset(draft, 0, sizeof(CdcStoreDraft));
}

void
cdc_store_timeouts(CdcHttpRequest *request, uint64 len)
{
	request->connect_timeout_ms = CONNECT_TIMEOUT_MS;
	request->timeout_ms = BASE_TIMEOUT_MS + (int) Min(len / BYTES_PER_MS, 3600 * 1000);
	request->stall_timeout_ms = STALL_TIMEOUT_MS;
}

CdcHttpCall *
cdc_draft_start(const CdcStoreDraft *draft, CdcHttp *http,
				const CdcHttpSlice *slices, int nslices,
				CdcHttpDone done, void *arg)
{
	CdcHttpRequest request;
	CdcHttpSlice body;
	uint64		len = 0;

	if (draft->failed || draft->url == NULL)
		return NULL;
	if (draft->body != NULL)
	{
		body.data = draft->body;
		body.len = strlen(draft->body);
		slices = &body;
		nslices = 1;
	}
	for (int i = 0; i < nslices; i++)
		len += slices[i].len;
	memset(&request, 0, sizeof(request));
	request.method = draft->method;
	request.url = draft->url;
	request.headers = (const char *const *) draft->headers;
	request.slices = slices;
	request.nslices = nslices;
	cdc_store_timeouts(&request, len);
	request.max_body = draft->max_body;
	request.last_will = draft->last_will;
	request.done = done;
	request.arg = arg;
	return cdc_http_start(http, &request);
}

bool
cdc_reply_ok(const CdcHttpReply *reply)
{
	return reply->status >= 200 && reply->status < 300 && reply->complete;
}

bool
cdc_reply_xml(const CdcHttpReply *reply, const char *name, char *dst, size_t size)
{
	char		tag[32];
	const char *start;
	size_t		len;

	snprintf(tag, sizeof(tag), "<%s>", name);
	start = strstr(reply->body, tag);
	if (start == NULL)
		return false;
	start += strlen(tag);
	len = Min(strcspn(start, "<"), size - 1);
	memcpy(dst, start, len);
	dst[len] = '\0';
	return len > 0;
}

bool
cdc_reply_code_is(const CdcHttpReply *reply, const char *code)
{
	char		text[64];

	return reply->complete && cdc_reply_xml(reply, "Code", text, sizeof(text)) &&
		strcmp(text, code) == 0;
}

/* Whoever may write may not always read: then it counts as not there. */
CdcUploadVerdict
cdc_reply_judge_check(const CdcObject *object, const CdcHttpReply *reply)
{
	char	   *len;
	bool		same;

	if (reply->status == 404 || reply->status == 403)
		return CDC_UPLOAD_LOST;
	if (!cdc_reply_ok(reply))
		return CDC_UPLOAD_RETRY;
	len = cdc_http_header(reply, "Content-Length");
	same = len != NULL && strtoull(len, NULL, 10) == object->stored;
	free(len);
	return same ? CDC_UPLOAD_OK : CDC_UPLOAD_LOST;
}
