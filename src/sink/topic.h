/*-------------------------------------------------------------------------
 * topic.h
 *		Names of Kafka topics.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_TOPIC_H
#define CDC_TOPIC_H

/* Longest name that Kafka takes, in bytes. */
#define CDC_TOPIC_MAX	249

/*
 * The name with what Kafka does not take replaced by "_u<hex>_", cut to
 * CDC_TOPIC_MAX bytes; palloc'ed.  The name is UTF-8; names that differ stay
 * different unless they were cut.
 */
extern char *cdc_topic_sanitise(const char *name);

#endif							/* CDC_TOPIC_H */
