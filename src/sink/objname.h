/*-------------------------------------------------------------------------
 * objname.h
 *		Names of data and RESOLVED files in the layout of the cloud sinks.
 *
 * Data file:	<dir><stamp>-<session>-<node>-<sink>-<file>-<topic>-<schema><ext>
 * RESOLVED:	<dir><stamp>.RESOLVED
 *
 * <stamp> is YYYYMMDDHHMMSS in UTC, nine digits of nanoseconds and ten of the
 * logical counter; <session> 16 and <file> 8 hexadecimal digits; <node> and
 * <sink> decimal; <schema> hexadecimal without leading zeros.  <dir> is
 * "YYYY-MM-DD/", "YYYY-MM-DD/HH/" or nothing, from the same stamp.
 *
 * A reader that takes the names in byte order and meets a RESOLVED file has
 * seen every file that will ever sort before it.  '-' sorts before '.', so a
 * data file whose stamp equals R comes before R.RESOLVED.
 *
 * <topic> may hold any byte.  '%', '/', control characters and DEL are
 * written as '%' and two upper-case hexadecimal digits, so it can be read
 * back and never names another directory.  What would be longer than
 * CDC_OBJNAME_TOPIC_MAX is cut (between characters) and ends in "%~" and the
 * 16 hexadecimal digits of the FNV-1a hash of the whole topic: different
 * topics keep different names, but such a one cannot be read back.
 *
 * Pure C: no memory is allocated and nothing of the server is called.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_OBJNAME_H
#define CDC_OBJNAME_H

#include "postgres.h"

#include "base/hlc.h"

typedef enum CdcObjPartition
{
	CDC_OBJ_DAILY,
	CDC_OBJ_HOURLY,
	CDC_OBJ_FLAT,
} CdcObjPartition;

#define CDC_OBJNAME_STAMP_LEN	33
#define CDC_OBJNAME_SESSION_LEN	16
#define CDC_OBJNAME_TOPIC_MAX	128
#define CDC_OBJNAME_EXT_MAX		15

/* Longest "YYYY-MM-DD/HH/", with its terminating zero. */
#define CDC_OBJNAME_DIR_SIZE	15

/* Longest name with its directory; the part behind it fits NAME_MAX (255). */
#define CDC_OBJNAME_SIZE		(CDC_OBJNAME_DIR_SIZE + 255)

typedef struct CdcObjName
{
	CdcHlc		bound;			/* no row in the file is older */
	uint64		session;		/* one per run of the sink */
	int64		sink;			/* number of the job */
	uint32		file;			/* counts up in a session */
	const char *topic;
	uint32		schema;
	const char *ext;			/* ".ndjson", at most CDC_OBJNAME_EXT_MAX */
} CdcObjName;

/*
 * Each writes a terminated text and returns its length.  dst has room for
 * CDC_OBJNAME_STAMP_LEN + 1, _DIR_SIZE, _TOPIC_MAX + 1 and _SIZE bytes.
 */
extern size_t cdc_objname_stamp(char *dst, CdcHlc h);
extern size_t cdc_objname_dir(char *dst, CdcHlc h, CdcObjPartition partition);
extern size_t cdc_objname_topic(char *dst, const char *topic);
extern size_t cdc_objname_data(char *dst, const CdcObjName *name,
							   CdcObjPartition partition);
extern size_t cdc_objname_resolved(char *dst, CdcHlc r,
								   CdcObjPartition partition);

/*
 * A session: the time in its upper bits, so that where files of two have the
 * same bound, as after a crash, those of the later one sort later; who
 * writes, as far as it fits, in its lower ones.
 */
extern uint64 cdc_objname_session(uint64 writer, int64 ms);

/* Was "session" an earlier one of the writer whose session is "mine"? */
extern bool cdc_objname_is_former(uint64 session, uint64 mine);

/* The 16 digits of a session at the beginning of a text; false: it is none. */
extern bool cdc_objname_parse_session(const char *text, uint64 *session);

/* "daily", "hourly", "flat"; false if it is none of them. */
extern bool cdc_objname_parse_partition(const char *text,
										CdcObjPartition *partition);

/*
 * "16MB", "1.5 GiB", "4096": bytes.  KB, MB, GB, TB are powers of 1000,
 * KiB, MiB, GiB, TiB powers of 1024, in any case.  False if it is not a size
 * or not at least 1 byte.
 */
extern bool cdc_objname_parse_size(const char *text, int64 *bytes);

#endif							/* CDC_OBJNAME_H */
