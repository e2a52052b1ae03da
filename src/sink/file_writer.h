/*-------------------------------------------------------------------------
 * file_writer.h
 *		The thread that writes the files of one file sink: no disk, however
 *		slow, holds up a lane.
 *
 * Parts are made durable one after the other in the order they are put, each
 * at the end of its file, which has a hidden temporary name in the sink's
 * directory (".tmp-<job>-<session>-<serial>") that becomes its own only when
 * it is complete and on disk.  Whatever goes wrong is retried for ever, with
 * pauses of up to 30 s, unless what was on disk of a file is there no more.
 *
 * Runs: all functions on the main thread of a worker; none of them waits for
 * the disk.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_FILE_WRITER_H
#define CDC_FILE_WRITER_H

#include "postgres.h"

#include <pthread.h>

#include "lib/ilist.h"
#include "sink/objstore.h"

#define CDC_FILE_TMP_PREFIX		".tmp-"

typedef struct CdcFileWriter CdcFileWriter;

/* What the last attempt died of. */
typedef struct CdcFileTrouble
{
	uint64		count;			/* failures so far */
	int			err;			/* errno; 0: all is well */
	bool		lost;			/* a file has lost its beginning */
	const char *what;			/* "could not write file" */
	char		path[MAXPGPATH + CDC_OBJNAME_SIZE];
} CdcFileTrouble;

/*
 * Starts a thread that writes below dir; *event_fd becomes readable when
 * something has happened and belongs to the writer.  NULL: out of memory,
 * threads or file descriptors.
 */
extern CdcFileWriter *cdc_file_writer_start(const char *dir, int64 job_id,
											uint64 session, int *event_fd);

/* The part of an object behind those put before; the last completes it. */
extern void cdc_file_writer_put(CdcFileWriter *writer, CdcObjPart *part);

/* Parts of this object were put, and no last one will be. */
extern void cdc_file_writer_drop(CdcFileWriter *writer, CdcObject *object);

/*
 * Clears the event, moves the parts that are durable to the end of "done",
 * oldest first, and fills in *trouble.  False: nothing has happened.
 */
extern bool cdc_file_writer_collect(CdcFileWriter *writer, dlist_head *done,
									CdcFileTrouble *trouble);

/*
 * Has the thread end, which removes what is incomplete; it is in the book of
 * closing.h until it has.  All objects with parts here that were not
 * collected are freed then.  The writer must not be used any more.
 */
extern void cdc_file_writer_close(CdcFileWriter *writer);

/*
 * Starts a thread with all signals blocked, so that no handler of the server
 * ever runs on it.  Returns an errno.
 */
extern int	cdc_file_thread_start(pthread_t *thread, void *(*main) (void *),
								  void *arg);

#endif							/* CDC_FILE_WRITER_H */
