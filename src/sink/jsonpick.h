/*-------------------------------------------------------------------------
 * jsonpick.h
 *		One value out of a JSON text that came from outside: answers of
 *		stores and of those who give out tokens, key files.
 *
 * Pure C, any thread: nothing is allocated and nothing of the server is
 * called, so it serves where an ERROR must not be raised.  It looks for a
 * value and does not check that the rest is JSON.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_JSONPICK_H
#define CDC_JSONPICK_H

#include "postgres.h"

/*
 * Copies the string, number or literal at a path such as "error.message"
 * (names of members, joined by dots; of an array the first one counts), a
 * string with its escapes resolved.
 * False, and dst empty: it is not there, or does not fit with its zero.
 */
extern bool cdc_json_pick(const char *json, const char *path,
						  char *dst, size_t size);

#endif							/* CDC_JSONPICK_H */
