/*-------------------------------------------------------------------------
 * file_probe.h
 *		Where a file sink writes, who may, and whether it can.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_FILE_PROBE_H
#define CDC_FILE_PROBE_H

#include "postgres.h"

#include "catalog/uri.h"

/*
 * The directory that file:///abs/dir or nodelocal://1/dir means, canonical
 * but for symbolic links, palloc'ed.  Raises 22023.
 */
extern char *cdc_file_dir(const CdcUri *uri);

/*
 * Raises 42501 unless the current user is superuser or dir is below
 * cdc_sink.file_root, symbolic links followed.  Runs: backend.
 */
extern void cdc_file_check_access(const char *dir);

/*
 * Makes the directory (as private as the data directory) if it is missing,
 * and writes, syncs and removes a file there: in a thread, for at most
 * timeout_ms, interruptibly.  On failure returns false and a message.
 * Runs: probe worker.
 */
extern bool cdc_file_probe(const char *dir, int timeout_ms,
						   char *error, size_t error_size);

#endif							/* CDC_FILE_PROBE_H */
