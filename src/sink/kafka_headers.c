/*-------------------------------------------------------------------------
 * kafka_headers.c
 *		Messages with headers: the constant ones of option extra_headers, and
 *		those of a row (option headers_json_column_name).
 *
 * The library's cheap way to take many messages at once knows no headers, so
 * feeds that have some hand over message by message.  Both ways put a message
 * at the end of its partition's queue before they return.
 *
 * Runs: lane worker, main thread.  The headers' memory is the library's.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "encode/row_headers.h"
#include "sink/headers.h"
#include "sink/kafka_int.h"

/* What copies of headers may take in the library. */
#define HEADERS_MEMORY		(16 * 1024 * 1024)

bool
cdc_kafka_set_headers(KafkaSink *k, List *headers)
{
	int			each = 0;
	ListCell   *lc;

	if (headers == NIL)
		return true;
	k->headers = rd_kafka_headers_new(list_length(headers));
	if (k->headers == NULL)
		return false;
	foreach(lc, headers)
	{
		CdcHeader  *header = lfirst(lc);
		size_t		name_len = strlen(header->name);
		size_t		len = strlen(header->value);

		if (rd_kafka_header_add(k->headers, header->name, name_len,
								header->value, len) != RD_KAFKA_RESP_ERR_NO_ERROR)
			return false;
		k->headers_wire += 10 + name_len + len;
		each += 100 + name_len + len;
	}
	k->max_inflight = Min(k->max_inflight, HEADERS_MEMORY / each);
	return true;
}

/* The constant headers and those of a row; NULL: out of memory. */
static rd_kafka_headers_t *
make_headers(KafkaSink *k, const CdcBatch *batch, const CdcMessage *row)
{
	rd_kafka_headers_t *headers = k->headers != NULL ?
		rd_kafka_headers_copy(k->headers) : rd_kafka_headers_new(8);
	const char *p;
	const char *end;
	const char *name;
	const char *value;
	CdcHeaderLens lens;

	if (headers == NULL || row == NULL || (row->flags & CDC_MSG_PARTITION) != 0)
		return headers;
	p = cdc_msg_headers(batch, row);
	end = p + row->headers_len;
	while (cdc_headers_next(&p, end, &name, &value, &lens))
	{
		if (rd_kafka_header_add(headers, name, lens.name, value, lens.value) != 0)
		{
			rd_kafka_headers_destroy(headers);
			return NULL;
		}
	}
	return headers;
}

rd_kafka_resp_err_t
cdc_kafka_produce(KafkaSink *k, KafkaTopic *kt, int32 partition, int flags,
				  const rd_kafka_message_t *msg, const CdcBatch *batch,
				  const CdcMessage *row)
{
	rd_kafka_headers_t *headers = make_headers(k, batch, row);
	rd_kafka_vu_t v[7];
	rd_kafka_error_t *error;
	rd_kafka_resp_err_t err;

	if (headers == NULL)
		return RD_KAFKA_RESP_ERR__QUEUE_FULL;
	memset(v, 0, sizeof(v));
	v[0].vtype = RD_KAFKA_VTYPE_RKT;
	v[0].u.rkt = kt->rkt;
	v[1].vtype = RD_KAFKA_VTYPE_PARTITION;
	v[1].u.i32 = partition;
	v[2].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
	v[2].u.i = flags;
	v[3].vtype = RD_KAFKA_VTYPE_VALUE;
	v[3].u.mem.ptr = msg->payload;
	v[3].u.mem.size = msg->len;
	v[4].vtype = RD_KAFKA_VTYPE_KEY;
	v[4].u.mem.ptr = msg->key;
	v[4].u.mem.size = msg->key_len;
	v[5].vtype = RD_KAFKA_VTYPE_OPAQUE;
	v[5].u.ptr = msg->_private;
	v[6].vtype = RD_KAFKA_VTYPE_HEADERS;
	v[6].u.headers = headers;

	error = rd_kafka_produceva(k->rk, v, lengthof(v));
	if (error == NULL)
		return RD_KAFKA_RESP_ERR_NO_ERROR;
	err = rd_kafka_error_code(error);
	rd_kafka_error_destroy(error);
	rd_kafka_headers_destroy(headers);
	return err;
}

int
cdc_kafka_produce_each(KafkaSink *k, KafkaTopic *kt, int32 partition,
					   const CdcBatch *batch, CdcMessage *const *rows,
					   rd_kafka_message_t *msgs, int n)
{
	for (int i = 0; i < n; i++)
	{
		msgs[i].err = cdc_kafka_produce(k, kt, partition, 0, &msgs[i], batch,
										rows[i]);
		if (msgs[i].err != 0)
			return i;
	}
	return n;
}
