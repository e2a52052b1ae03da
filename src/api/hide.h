/*-------------------------------------------------------------------------
 * hide.h
 *		Keeps secrets that stand in a statement out of the log and of
 *		pg_stat_activity.
 *
 *		CdcHide		hide;
 *
 *		cdc_hide_begin(&hide);			nothing is known yet
 *		cdc_hide_sink(sink);
 *		cdc_hide_options(pairs);
 *		cdc_hide_known(&hide);			what was to be hidden is
 *		...
 *		cdc_hide_end(&hide);
 *
 * What was logged before the statement ran, or is logged of it by settings
 * such as log_statement, is out of our hands.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HIDE_H
#define CDC_HIDE_H

#include "postgres.h"

#include "nodes/pg_list.h"

typedef struct CdcHide
{
	ErrorContextCallback callback;
	bool		known;			/* which secrets there are */
} CdcHide;

/*
 * From here to cdc_hide_known() an error shows nothing of the statement, and
 * to cdc_hide_end() none shows a context, which may quote it.
 */
extern void cdc_hide_begin(CdcHide *hide);
extern void cdc_hide_known(CdcHide *hide);
extern void cdc_hide_end(CdcHide *hide);

/* Secrets of a URI, of options (CdcOptionPair), or a whole value. */
extern void cdc_hide_sink(const char *sink);
extern void cdc_hide_options(List *pairs);
extern void cdc_hide_value(const char *value);

#endif							/* CDC_HIDE_H */
