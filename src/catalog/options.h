/*-------------------------------------------------------------------------
 * options.h
 *		Options of CREATE CHANGEFEED ... WITH: one table drives parsing,
 *		validation, the description of a job and the reference page.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_OPTIONS_H
#define CDC_OPTIONS_H

#include "postgres.h"

#include "catalog/moment.h"
#include "encode/encode.h"
#include "nodes/pg_list.h"

/* An option as the user wrote it. */
typedef struct CdcOptionPair
{
	char	   *name;			/* folded to lower case unless quoted */
	char	   *value;			/* NULL: none given */
	bool		external;		/* out of a user mapping */
} CdcOptionPair;

typedef enum CdcInitialScan
{
	CDC_SCAN_YES,
	CDC_SCAN_NO,
	CDC_SCAN_ONLY,
} CdcInitialScan;

typedef enum CdcOnError
{
	CDC_ON_ERROR_FAIL,
	CDC_ON_ERROR_PAUSE,
} CdcOnError;

typedef enum CdcOnBadMessage
{
	CDC_BAD_MESSAGE_FAIL,
	CDC_BAD_MESSAGE_RETRY,
	CDC_BAD_MESSAGE_DEAD_LETTER,
} CdcOnBadMessage;

typedef enum CdcTruncate
{
	CDC_TRUNCATE_FAIL,
	CDC_TRUNCATE_EMIT,
	CDC_TRUNCATE_IGNORE,
} CdcTruncate;

/* Which changes of a table's definition count. */
typedef enum CdcSchemaEvents
{
	CDC_EVENTS_DEFAULT,
	CDC_EVENTS_COLUMN_CHANGES,
} CdcSchemaEvents;

typedef enum CdcSchemaPolicy
{
	CDC_SCHEMA_BACKFILL,
	CDC_SCHEMA_NOBACKFILL,
	CDC_SCHEMA_STOP,
	CDC_SCHEMA_IGNORE,
} CdcSchemaPolicy;

typedef struct CdcOptions
{
	CdcEncodeOptions encode;	/* what the encoder needs, as asked for */
	bool		full_table_name;
	CdcInitialScan initial_scan;
	CdcMoment	cursor;			/* send what is behind it; none: see moment.h */
	CdcHlc		end_time;		/* wall 0: none */
	int64		gc_protect_us;	/* 0: never given up */
	bool		resolved;
	int64		resolved_us;	/* 0: with every checkpoint */
	int64		min_checkpoint_us;
	CdcOnError	on_error;
	CdcOnBadMessage on_bad_message;
	bool		partition_fnv1a;	/* not murmur2 */
	CdcTruncate truncate;
	CdcSchemaEvents schema_change_events;
	CdcSchemaPolicy schema_change_policy;
	char	   *kafka_sink_config;	/* JSON text or NULL */
	char	   *compression;	/* "gzip", "zstd" or NULL */
	char	   *webhook_sink_config;	/* JSON text or NULL */
	int64		webhook_client_timeout_us;

	/* Secret: "redacted" until cdc_options_add_secrets(). */
	char	   *webhook_auth_header;	/* or NULL */
	char	   *extra_headers;	/* JSON text or NULL */

	List	   *pairs;			/* CdcOptionPair, sorted by name, as given */
} CdcOptions;

/*
 * Validates a list of CdcOptionPair (any order) and returns the options,
 * palloc'ed in the current context.  Raises 22023 (42601 for a repeated
 * option) naming the option.
 */
extern CdcOptions *cdc_options_parse(List *pairs);

/*
 * Options as stored in a definition: text array elements "name" or
 * "name=value", sorted by name; and back.
 */
extern List *cdc_options_from_strings(int n, char **strings);
extern char **cdc_options_to_strings(const CdcOptions *options, int *n);

/* The pair of a name, or NULL; and the list without it. */
extern CdcOptionPair *cdc_pairs_find(List *pairs, const char *name);
extern List *cdc_pairs_remove(List *pairs, const char *name);

/* Puts secrets, as cdc_options_secrets() has them, into the pairs there are. */
extern void cdc_pairs_add_secrets(List *pairs, int n, char **strings);

/*
 * The values of secret options: cdc_options_to_strings() has "redacted" in
 * their place.  They travel apart and are put back where they are needed.
 */
extern bool cdc_option_is_secret(const char *name);
extern const char *cdc_option_secret_name(int i);	/* NULL: i is past them */
extern char **cdc_options_secrets(const CdcOptions *options, int *n);
extern void cdc_options_add_secrets(CdcOptions *options, int n, char **strings);

/* Raises 22023 unless there is an option of this name. */
extern void cdc_option_check_name(const char *name);

/*
 * Options that the user mapping of an external sink gives, as
 * cdc_options_secrets() has them: in force unless the feed has its own, and
 * no part of any text above or below.  Replaces those of an earlier call, whose
 * memory may go afterwards.
 */
extern void cdc_options_set_external(CdcOptions *options, int n,
									 char **strings);

/* "envelope = 'wrapped', updated": sorted, secrets redacted, or "". */
extern char *cdc_options_describe(const CdcOptions *options);

/*
 * Raises the NOTICEs a user should see once, when a feed is created or
 * altered; cdc_options_parse() itself is silent, for it runs in workers too.
 */
extern void cdc_options_notices(const CdcOptions *options);

/* "10s", "1m30s", "500ms" to microseconds; raises 22023 naming the option. */
extern int64 cdc_parse_duration(const char *option, const char *text);

/*
 * The settings of option debezium_config (JSON text, or NULL), palloc'ed;
 * raises 22023.
 */
extern struct CdcDebeziumOptions *cdc_debezium_config(const char *json);

/*
 * Is a message of this prefix to be sent?  Reads no catalogs.  Runs: lane
 * workers; palloc's a little.
 */
extern bool cdc_debezium_wants_message(const struct CdcDebeziumOptions *opts,
									   const char *prefix);

/*
 * The option table, for a help view and the reference page; i counts from 0.
 * type: "flag", "string", "duration", "json" or the values "'a' | 'b'";
 * dflt: as text, "" if there is none.
 */
extern int	cdc_option_count(void);
extern void cdc_option_describe(int i, const char **name, const char **type,
								const char **dflt, bool *supported,
								const char **help);

#endif							/* CDC_OPTIONS_H */
