/*-------------------------------------------------------------------------
 * sweep.c
 *		Gives up multipart uploads of earlier runs; see sweep.h.
 *
 * One request at a time: a page of the list, then what is ours on it, then
 * the next page.  Trouble is not shown, since nothing depends on it; whoever
 * may not list uploads has them expire by a rule of the bucket.
 *
 * Runs: lane worker, main thread.  Memory is malloc'ed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/aws_request.h"
#include "sink/sigv4.h"
#include "sink/store.h"
#include "sink/sweep.h"

#define PAGE_UPLOADS	100
#define PAGE_BYTES		(512 * 1024)
#define MAX_PAGES		50
#define MAX_ID			2048
#define AGAIN_MS		30000

/* Longest query: two keys, an id, and the names. */
#define QUERY_SIZE		((2 * CDC_STORE_KEY_MAX + MAX_ID) * 3 + 128)

typedef struct Found
{
	dlist_node	node;
	char		name[CDC_STORE_KEY_MAX + 1];	/* below the sink's path */
	char		id[MAX_ID + 1];
} Found;

struct CdcSweep
{
	CdcSink    *sink;
	const CdcSweepOps *ops;
	const char *prefix;
	uint64		session;
	bool		active;
	bool		over;
	int64		not_before;
	int			pages;
	dlist_head	found;			/* of the page at hand */
	bool		more;			/* pages, behind these */
	char		key_marker[CDC_STORE_KEY_MAX + 1];
	char		id_marker[MAX_ID + 1];
};

CdcSweep *
cdc_sweep_create(CdcSink *sink, const CdcSweepOps *ops, const char *prefix,
				 uint64 session)
{
	CdcSweep *sweep = calloc(1, sizeof(CdcSweep));

	if (sweep == NULL)
		return NULL;
	sweep->sink = sink;
	sweep->ops = ops;
	sweep->prefix = prefix;
	sweep->session = session;
	dlist_init(&sweep->found);
	return sweep;
}

static void
forget_found(CdcSweep *sweep)
{
	while (!dlist_is_empty(&sweep->found))
		free(dlist_container(Found, node, dlist_pop_head_node(&sweep->found)));
}

void
cdc_sweep_free(CdcSweep *sweep)
{
	if (sweep == NULL)
		return;
	forget_found(sweep);
	free(sweep);
}

/* Text of XML as it was before it was escaped; false: does not fit. */
static bool
unescape(char *dst, size_t size, const char *text, size_t len)
{
	static const struct
	{
		const char *name;
		char		c;
	}			entities[] = {
		{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'},
		{"&apos;", '\''}, {"&#34;", '"'}, {"&#39;", '\''},
	};
	size_t		n = 0;

	for (size_t i = 0; i < len;)
	{
		size_t		step = 1;
		char		c = text[i];

		for (int e = 0; c == '&' && e < lengthof(entities); e++)
		{
			size_t		name_len = strlen(entities[e].name);

			if (name_len <= len - i && memcmp(text + i, entities[e].name, name_len) == 0)
			{
				c = entities[e].c;
				step = name_len;
			}
		}
		if (n + 1 >= size)
			return false;
		dst[n++] = c;
		i += step;
	}
	dst[n] = '\0';
	return true;
}

/* The text of an element that begins before "end". */
static bool
get_text(char *dst, size_t size, const char *from, const char *end, const char *name)
{
	size_t		len;
	const char *text = cdc_aws_element(from, name, &len);

	return text != NULL && text < end && unescape(dst, size, text, len);
}

/*
 * <dir><33 digits>-<16 hexadecimal digits>-<node>-<job>-...; see objname.h.
 * Is it a name of this job's, of an earlier run?
 */
static bool
is_ours(const CdcSweep *sweep, const char *name)
{
	const char *slash = strrchr(name, '/');
	const char *p = slash ? slash + 1 : name;
	uint64		session;
	char	   *end;

	if (strspn(p, "0123456789") != CDC_OBJNAME_STAMP_LEN)
		return false;
	p += CDC_OBJNAME_STAMP_LEN;
	if (*p++ != '-' || !cdc_objname_parse_session(p, &session) ||
		!cdc_objname_is_former(session, sweep->session))
		return false;
	p += CDC_OBJNAME_SESSION_LEN;
	if (*p++ != '-')
		return false;
	p += strspn(p, "0123456789");
	if (*p++ != '-' || *p < '1' || *p > '9')
		return false;
	return strtoll(p, &end, 10) == sweep->sink->job_id && *end == '-';
}

static void
read_page(CdcSweep *sweep, const char *body)
{
	const char *end_of_body = body + strlen(body);
	size_t		prefix_len = strlen(sweep->prefix);
	char		key[CDC_STORE_KEY_MAX + 1];
	char		text[8];

	for (const char *p = body; (p = strstr(p, "<Upload>")) != NULL;)
	{
		const char *end = strstr(p, "</Upload>");
		Found	   *found;

		if (end == NULL)
			break;
		found = calloc(1, sizeof(Found));
		if (found == NULL)
			break;
		if (get_text(key, sizeof(key), p, end, "Key") &&
			get_text(found->id, sizeof(found->id), p, end, "UploadId") &&
			strncmp(key, sweep->prefix, prefix_len) == 0 &&
			is_ours(sweep, key + prefix_len))
		{
			strlcpy(found->name, key + prefix_len, sizeof(found->name));
			dlist_push_tail(&sweep->found, &found->node);
		}
		else
			free(found);
		p = end;
	}
	sweep->more = get_text(text, sizeof(text), body, end_of_body, "IsTruncated") &&
		strcmp(text, "true") == 0 &&
		get_text(sweep->key_marker, sizeof(sweep->key_marker), body, end_of_body, "NextKeyMarker") &&
		get_text(sweep->id_marker, sizeof(sweep->id_marker), body, end_of_body, "NextUploadIdMarker");
}

/* From the beginning, after a while. */
static void
again_later(CdcSweep *sweep)
{
	forget_found(sweep);
	sweep->more = false;
	sweep->not_before = cdc_http_now_ms() + AGAIN_MS;
}

static void
page_answered(void *arg, const CdcHttpReply *reply)
{
	CdcSweep *sweep = arg;

	sweep->active = false;
	if (cdc_reply_ok(reply))
	{
		read_page(sweep, reply->body);
		sweep->over = dlist_is_empty(&sweep->found) && !sweep->more;
	}
	else if (reply->status >= 400 && reply->status < 500 &&
			 reply->status != 401 && reply->status != 408 && reply->status != 429)
		sweep->over = true;		/* may not, or cannot */
	else if (reply->status == 501)
		sweep->over = true;
	else
		again_later(sweep);
}

static void
abort_answered(void *arg, const CdcHttpReply *reply)
{
	CdcSweep *sweep = arg;

	sweep->active = false;
	if (!cdc_reply_ok(reply) && reply->status != 404 && reply->status != 403)
	{
		again_later(sweep);
		return;
	}
	free(dlist_container(Found, node, dlist_pop_head_node(&sweep->found)));
	sweep->over = dlist_is_empty(&sweep->found) && !sweep->more;
}

static bool
start_page(CdcSweep *sweep)
{
	CdcSweepRequest request = {
		.max_body = PAGE_BYTES, .done = page_answered, .arg = sweep,
	};
	char		prefix[CDC_STORE_ESCAPED_SIZE];
	char		key[CDC_STORE_ESCAPED_SIZE] = "";
	char		id[MAX_ID * 3 + 1] = "";
	char		query[QUERY_SIZE];

	if (!cdc_sigv4_escape(prefix, sizeof(prefix), sweep->prefix, false))
		return false;
	if (sweep->more)
	{
		if (!cdc_sigv4_escape(key, sizeof(key), sweep->key_marker, false) ||
			!cdc_sigv4_escape(id, sizeof(id), sweep->id_marker, false))
			return false;
		snprintf(query, sizeof(query),
				 "key-marker=%s&max-uploads=%d&prefix=%s&upload-id-marker=%s&uploads=",
				 key, PAGE_UPLOADS, prefix, id);
	}
	else
		snprintf(query, sizeof(query), "max-uploads=%d&prefix=%s&uploads=",
				 PAGE_UPLOADS, prefix);
	request.query = query;
	return sweep->ops->start(sweep->sink, &request) != NULL;
}

static bool
start_abort(CdcSweep *sweep)
{
	Found	   *found = dlist_head_element(Found, node, &sweep->found);
	CdcSweepRequest request = {
		.name = found->name, .done = abort_answered, .arg = sweep,
	};
	char		id[MAX_ID * 3 + 1];
	char		query[MAX_ID * 3 + 16];

	if (!cdc_sigv4_escape(id, sizeof(id), found->id, false))
		return false;
	snprintf(query, sizeof(query), "uploadId=%s", id);
	request.query = query;
	return sweep->ops->start(sweep->sink, &request) != NULL;
}

void
cdc_sweep_run(CdcSweep *sweep)
{
	if (sweep->over || sweep->active || cdc_http_now_ms() < sweep->not_before ||
		!sweep->ops->ready(sweep->sink))
		return;
	if (dlist_is_empty(&sweep->found))
	{
		if (sweep->pages++ >= MAX_PAGES)
		{
			sweep->over = true;
			return;
		}
		sweep->active = start_page(sweep);
	}
	else
		sweep->active = start_abort(sweep);
	if (!sweep->active)
		again_later(sweep);
}
