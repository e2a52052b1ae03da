/*-------------------------------------------------------------------------
 * keys.h
 *		Exact set of keys that were emitted while a scan runs.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_KEYS_H
#define CDC_KEYS_H

#include "postgres.h"

typedef struct CdcKeySet CdcKeySet;

extern CdcKeySet *cdc_keys_create(void);
extern void cdc_keys_free(CdcKeySet *set);

/* False: it was there already. */
extern bool cdc_keys_add(CdcKeySet *set, int target, const char *key, size_t len);
extern bool cdc_keys_contain(CdcKeySet *set, int target, const char *key, size_t len);

/*
 * NULL, or why the set is not complete: it says of every key that it is
 * there, and its feed must end before more of the scan is handed over.
 */
extern const char *cdc_keys_trouble(const CdcKeySet *set);

#endif							/* CDC_KEYS_H */
