/*-------------------------------------------------------------------------
 * multipart.c
 *		Multipart uploads as S3 and Google Cloud Storage know them; see
 *		multipart.h.
 *
 * Runs: lane worker, main thread.  Memory is malloc'ed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sink/multipart.h"
#include "sink/sigv4.h"
#include "sink/store.h"

bool
cdc_multipart_query(const CdcUpload *upload, CdcUploadStep step,
					const CdcObjPart *part, char *dst)
{
	char		id[CDC_MULTIPART_MAX_ID * 3 + 1] = "";

	dst[0] = '\0';
	if (upload->id != NULL && !cdc_sigv4_escape(id, sizeof(id), upload->id, false))
		return false;
	switch (step)
	{
		case CDC_UPLOAD_BEGIN:
			strlcpy(dst, "uploads=", CDC_MULTIPART_QUERY_SIZE);
			break;
		case CDC_UPLOAD_PART:
			snprintf(dst, CDC_MULTIPART_QUERY_SIZE, "partNumber=%u&uploadId=%s",
					 part->number + 1, id);
			break;
		case CDC_UPLOAD_COMMIT:
		case CDC_UPLOAD_ABORT:
			snprintf(dst, CDC_MULTIPART_QUERY_SIZE, "uploadId=%s", id);
			break;
		case CDC_UPLOAD_PUT:
		case CDC_UPLOAD_CHECK:
			break;
	}
	return true;
}

char *
cdc_multipart_list(const CdcObject *object)
{
	static const char head[] = "<CompleteMultipartUpload>";
	static const char tail[] = "</CompleteMultipartUpload>";
	size_t		size = sizeof(head) + sizeof(tail);
	char	   *body;
	char	   *p;

	for (uint32 i = 0; i < object->nparts; i++)
	{
		if (object->parts[i]->tag != NULL)
			size += strlen(object->parts[i]->tag) * strlen("&quot;") + 80;
	}
	body = malloc(size);
	if (body == NULL)
		return NULL;
	p = stpcpy(body, head);
	for (uint32 i = 0; i < object->nparts; i++)
	{
		const char *tag = object->parts[i]->tag;

		if (tag == NULL)
			continue;			/* the last one, which is empty */
		p += sprintf(p, "<Part><PartNumber>%u</PartNumber><ETag>", i + 1);
		for (; *tag; tag++)
		{
			if (*tag == '"')
				p = stpcpy(p, "&quot;");
			else if (*tag == '<')
				p = stpcpy(p, "&lt;");
			else if (*tag == '&')
				p = stpcpy(p, "&amp;");
			else
				*p++ = *tag;
		}
		p = stpcpy(p, "</ETag></Part>");
	}
	strcpy(p, tail);
	return body;
}

static CdcUploadVerdict
judge_commit(const CdcHttpReply *reply)
{
	/* the answer begins before the outcome is known: 200 says nothing */
	if (cdc_reply_ok(reply) &&
		strstr(reply->body, "<CompleteMultipartUploadResult") != NULL)
		return CDC_UPLOAD_OK;
	if (cdc_reply_code_is(reply, "NoSuchUpload"))
		return CDC_UPLOAD_GONE;
	if (cdc_reply_code_is(reply, "InvalidPart") ||
		cdc_reply_code_is(reply, "InvalidPartOrder") ||
		cdc_reply_code_is(reply, "EntityTooSmall") ||
		cdc_reply_code_is(reply, "MalformedXML"))
		return CDC_UPLOAD_LOST;
	return CDC_UPLOAD_RETRY;
}

CdcUploadVerdict
cdc_multipart_judge(const CdcUploadRequest *request, const CdcHttpReply *reply)
{
	char		id[CDC_MULTIPART_MAX_ID + 1];

	switch (request->step)
	{
		case CDC_UPLOAD_BEGIN:
			if (!cdc_reply_ok(reply) ||
				!cdc_reply_xml(reply, "UploadId", id, sizeof(id)) ||
				strlen(id) == CDC_MULTIPART_MAX_ID)
				return CDC_UPLOAD_RETRY;
			request->upload->id = strdup(id);
			return request->upload->id ? CDC_UPLOAD_OK : CDC_UPLOAD_RETRY;

		case CDC_UPLOAD_PART:
			if (cdc_reply_code_is(reply, "NoSuchUpload"))
				return CDC_UPLOAD_GONE;
			if (!cdc_reply_ok(reply))
				return CDC_UPLOAD_RETRY;
			request->part->tag = cdc_http_header(reply, "ETag");
			return request->part->tag ? CDC_UPLOAD_OK : CDC_UPLOAD_RETRY;

		case CDC_UPLOAD_COMMIT:
			return judge_commit(reply);

		case CDC_UPLOAD_CHECK:
			return cdc_reply_judge_check(request->upload->object, reply);

		case CDC_UPLOAD_PUT:
		case CDC_UPLOAD_ABORT:
			break;
	}
	return cdc_reply_ok(reply) ? CDC_UPLOAD_OK : CDC_UPLOAD_RETRY;
}
