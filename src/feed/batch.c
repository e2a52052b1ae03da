/*-------------------------------------------------------------------------
 * batch.c
 *		Messages on their way from the encoder to the sink; see batch.h.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "feed/batch.h"

#define CDC_BATCH_MIN_MSGS	64

CdcBatch *
cdc_batch_create(size_t cap)
{
	CdcBatch   *batch = calloc(1, sizeof(CdcBatch));

	if (batch == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	batch->refs = 1;
	cdc_buf_reserve(&batch->buf, cap);
	return batch;
}

void
cdc_batch_ref(CdcBatch *batch)
{
	batch->refs++;
}

void
cdc_batch_unref(CdcBatch *batch)
{
	Assert(batch->refs > 0);
	if (--batch->refs > 0)
		return;
	cdc_buf_free(&batch->buf);
	free(batch->msgs);
	free(batch);
}

size_t
cdc_batch_release(CdcBatch *batch, uint32 n)
{
	size_t		len = batch->buf.len;

	batch->nreleased += n;
	Assert(batch->nreleased <= batch->nsubmitted);
	if (batch->nreleased < batch->nmsgs)
		return 0;
	if (batch->account != NULL)
		*batch->account -= batch->counted;
	batch->counted = 0;
	cdc_buf_free(&batch->buf);
	free(batch->msgs);
	batch->msgs = NULL;
	batch->maxmsgs = 0;
	return len;
}

CdcMessage *
cdc_batch_add(CdcBatch *batch, struct CdcTopic *topic)
{
	CdcMessage *msg;

	if (batch->nmsgs == batch->maxmsgs)
	{
		uint32		maxmsgs = Max(batch->maxmsgs * 2, CDC_BATCH_MIN_MSGS);
		CdcMessage *msgs = realloc(batch->msgs, sizeof(CdcMessage) * maxmsgs);

		if (msgs == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory")));
		batch->msgs = msgs;
		batch->maxmsgs = maxmsgs;
	}
	msg = &batch->msgs[batch->nmsgs++];
	msg->topic = topic;
	msg->off = (uint32) batch->buf.len;
	msg->key_len = CDC_LEN_NULL;
	msg->val_len = CDC_LEN_NULL;
	msg->flags = 0;
	msg->headers_len = 0;
	return msg;
}
