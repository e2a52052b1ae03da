/*-------------------------------------------------------------------------
 * webhook_int.h
 *		Insides of the webhook sink, shared by its files.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_WEBHOOK_INT_H
#define CDC_WEBHOOK_INT_H

#include "postgres.h"

#include "sink/http.h"
#include "sink/sink.h"
#include "sink/webhook.h"

#define WEBHOOK_WINDOW		64			/* requests formed, bits of a word */
#define WEBHOOK_HOLDERS		(1 << 18)	/* hashes told apart */

typedef struct WebhookItem
{
	CdcBatch   *batch;
	uint32		index;
} WebhookItem;

typedef enum WebhookRefusal
{
	NOT_REFUSED,
	REFUSED,					/* the message at "done" stands alone */
	REPORTED,					/* and is the sink's poison now */
} WebhookRefusal;

typedef struct WebhookSink WebhookSink;

/* Some messages in a row, acknowledged from the first on. */
typedef struct WebhookRequest
{
	WebhookSink *w;
	uint32		seq;			/* its slot is seq modulo WEBHOOK_WINDOW */
	WebhookItem *items;
	int			nitems;
	int			maxitems;
	size_t		bytes;
	int64		opened_ms;		/* when its first message came */
	bool		sealed;
	uint64		blocked_by;		/* slots of earlier ones with the same keys */

	int			done;			/* items acknowledged */
	int			limit;			/* send so many at a time, 0: all */
	WebhookRefusal refusal;
	char		refusal_text[CDC_SINK_ERROR_SIZE];

	CdcHttpCall *call;			/* on its way, NULL: not */
	int			sending;		/* items in it */
	char	   *body;			/* compressed */
	char		tail[48];
} WebhookRequest;

struct WebhookSink
{
	CdcSink		base;
	CdcHttp    *http;
	uint64		session;		/* random, for idempotency keys */

	/* Settings. */
	char	   *url;
	char	  **headers;
	CdcCompression compression;
	int			timeout_ms;
	int			backoff_ms;
	bool		immediate;		/* messages do not wait for others */
	int64		max_messages;
	int64		max_bytes;
	int64		frequency_ms;	/* 0: no limit */

	/* Requests, from the oldest that is not done to the newest. */
	WebhookRequest *slots[WEBHOOK_WINDOW];
	uint32		oldest;			/* seq */
	uint32		next;			/* seq of the next one */
	WebhookRequest *open;		/* the newest, while it grows */
	int			ncalls;
	const CdcTopic *hashed_topic;	/* of the last message */
	uint64		topic_hash;
	uint32	   *holders;		/* by hash of a key: seq of its newest holder */

	/* Trouble: nothing is sent before hold_until_ms, then one at a time. */
	int			tries;			/* in a row that failed */
	int64		hold_until_ms;
	bool		alarm_set;

	/* The resolved message. */
	enum
	{
		RESOLVED_NONE, RESOLVED_WAITS, RESOLVED_SENT
	}			resolved_state;
	CdcHlc		resolved_hlc;
	char	   *resolved_text;
	size_t		resolved_len;
	CdcHttpCall *resolved_call;
};

/* Of CdcSinkOps. */
extern void cdc_webhook_submit(CdcSink *sink, CdcBatch *batch);
extern void cdc_webhook_service(CdcSink *sink);
extern void cdc_webhook_flush(CdcSink *sink, CdcHlc floor);
extern bool cdc_webhook_resolved(CdcSink *sink, const char *payload, size_t len,
								 CdcHlc r);

/* Frees a request that nobody reads any more, with its references. */
extern void cdc_webhook_free_request(WebhookRequest *r);

#endif							/* CDC_WEBHOOK_INT_H */
