/*-------------------------------------------------------------------------
 * batch.h
 *		Messages on their way from the encoder to the sink: one buffer, no
 *		copy after encoding.
 *
 * The decoding callback fills the open batch of a feed; once sealed it does
 * not change any more but for the counters.  A batch is freed when its last
 * reference goes: the feed holds one until everything in it is acknowledged,
 * a sink takes one of its own (cdc_batch_ref) when its library may still
 * read the bytes after close().  A sink that has brought the bytes away long
 * before it can acknowledge them lets go of them early (cdc_batch_release).
 *
 * Runs: lane worker, main thread only (the bytes of a sealed batch may be
 * read by any thread).
 *-------------------------------------------------------------------------
 */
#ifndef CDC_BATCH_H
#define CDC_BATCH_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "base/buf.h"
#include "base/hlc.h"
#include "datatype/timestamp.h"
#include "encode/encode.h"
#include "lib/ilist.h"

struct CdcTopic;

#define CDC_MSG_SKIP	0x01	/* given up (dead letter): do not send */
#define CDC_MSG_PARTITION 0x02	/* for one partition, whose number stands in
								 * the place of the headers: it has none */

typedef struct CdcMessage
{
	struct CdcTopic *topic;
	uint32		off;			/* key starts here in the batch's buffer, the
								 * value right behind it, then the headers */
	uint32		key_len;		/* CDC_LEN_NULL: null key */
	uint32		val_len;		/* CDC_LEN_NULL: null value */
	uint32		flags:8;
	uint32		headers_len:24; /* 0: none; see encode/row_headers.h */
	CdcHlc		hlc;			/* its stamp */
} CdcMessage;

typedef struct CdcBatch
{
	dlist_node	node;			/* feed's queue, oldest first */
	CdcBuf		buf;
	CdcMessage *msgs;			/* malloc'ed */
	uint32		nmsgs;
	uint32		maxmsgs;
	uint32		nsubmitted;		/* taken by the sink */
	uint32		nacked;			/* acknowledged, in any order */
	uint32		nreleased;		/* whose bytes nobody needs any more */
	int			refs;

	/*
	 * Position behind the last transaction that ends in this batch, and its
	 * stamp; InvalidXLogRecPtr when none ends here.
	 */
	XLogRecPtr	end_lsn;
	CdcHlc		end_hlc;
	TimestampTz end_time;		/* its commit time */

	uint32		deferred;		/* messages whose value is still to be fetched:
								 * not to be submitted before */
	size_t		counted;		/* what its feed counts it for ... */
	size_t	   *account;		/* ... and where, NULL: nowhere (any more) */
	bool		barrier;		/* goes when all before it is acknowledged, and
								 * all behind it after that */
	bool		scan_end;		/* last row of the initial scan is in here */
} CdcBatch;

static inline const char *
cdc_msg_key(const CdcBatch *b, const CdcMessage *m)
{
	return b->buf.data + m->off;
}

static inline const char *
cdc_msg_value(const CdcBatch *b, const CdcMessage *m)
{
	return b->buf.data + m->off + (m->key_len == CDC_LEN_NULL ? 0 : m->key_len);
}

static inline const char *
cdc_msg_headers(const CdcBatch *b, const CdcMessage *m)
{
	return cdc_msg_value(b, m) + (m->val_len == CDC_LEN_NULL ? 0 : m->val_len);
}

/* Partition of a message with CDC_MSG_PARTITION, which sets it. */
static inline int32
cdc_msg_partition(const CdcBatch *b, const CdcMessage *m)
{
	int32		partition;

	memcpy(&partition, cdc_msg_headers(b, m), sizeof(partition));
	return partition;
}

/* Bytes of all its parts. */
static inline uint32
cdc_msg_bytes(const CdcMessage *m)
{
	return (m->key_len == CDC_LEN_NULL ? 0 : m->key_len) +
		(m->val_len == CDC_LEN_NULL ? 0 : m->val_len) + m->headers_len;
}

extern CdcBatch *cdc_batch_create(size_t cap);
extern void cdc_batch_ref(CdcBatch *batch);
extern void cdc_batch_unref(CdcBatch *batch);

/* New message at the end; key bytes start at the buffer's current length. */
extern CdcMessage *cdc_batch_add(CdcBatch *batch, struct CdcTopic *topic);

/* A message that was encoded at its offset has these parts. */
static inline void
cdc_batch_set_parts(CdcMessage *msg, const CdcParts *parts)
{
	msg->key_len = parts->key_len;
	msg->val_len = parts->val_len;
	msg->headers_len = parts->headers_len;
}

/* The sink has n more messages of this batch for good. */
static inline void
cdc_batch_ack(CdcBatch *batch, uint32 n)
{
	batch->nacked += n;
	Assert(batch->nacked <= batch->nmsgs);
}

/*
 * The bytes of n more messages are not needed any more, although they may
 * not be acknowledged yet: whoever lets go of them can only have them again
 * by breaking the sink.  When that is true of all messages of a submitted
 * batch its bytes and messages are freed and only the counters stay.
 * Returns how many bytes of the buffer that were (0: not yet).
 */
extern size_t cdc_batch_release(CdcBatch *batch, uint32 n);

#endif							/* CDC_BATCH_H */
