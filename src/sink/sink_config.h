/*-------------------------------------------------------------------------
 * sink_config.h
 *		The options kafka_sink_config and webhook_sink_config: a JSON object
 *		of settings, some of them in the objects Flush and Retry.
 *
 * Names are not case sensitive, as in CockroachDB.
 *
 * Runs: backends and workers.  Pure computation; all of it raises 22023.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SINK_CONFIG_H
#define CDC_SINK_CONFIG_H

#include "postgres.h"

#include "utils/jsonb.h"

/* Takes a setting; one of an object is named like "Flush.Messages". */
typedef void (*CdcSinkConfigField) (void *config, const char *field,
									const JsonbValue *v);

/*
 * Calls "take" for each setting in the JSON text of an option that is not
 * null.  That it is an object has been checked with the option.
 */
extern void cdc_sink_config_read(const char *option, const char *json,
								 CdcSinkConfigField take, void *config);

/* The value of a setting, palloc'ed. */
extern char *cdc_sink_config_string(const char *field, const JsonbValue *v);

extern int64 cdc_sink_config_int(const char *field, const JsonbValue *v);

/* A count or size: not negative. */
extern int64 cdc_sink_config_count(const char *field, const JsonbValue *v);

/* Text like "500ms" in microseconds, up to "max". */
extern int64 cdc_sink_config_duration(const char *field, const JsonbValue *v,
									  int64 max);

#endif							/* CDC_SINK_CONFIG_H */
