/*-------------------------------------------------------------------------
 * rows.h
 *		How the files of this folder get at the extension's own tables.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_ROWS_H
#define CDC_ROWS_H

#include "postgres.h"

/* Who a backend was before cdc_catalog_enter(). */
typedef struct CdcCatalogUser
{
	Oid			user;
	int			sec_context;
} CdcCatalogUser;

/*
 * A backend becomes the bootstrap superuser for calls of job.h and back.  An
 * ERROR in between is undone by the end of the (sub)transaction.  Runs: user
 * backends.
 */
extern void cdc_catalog_enter(CdcCatalogUser *saved);
extern void cdc_catalog_leave(const CdcCatalogUser *saved);

/* SPI with a search_path that nobody else chose. */
extern int	cdc_rows_begin(void);
extern void cdc_rows_end(int nest);

/* Runs a statement, raises unless SPI gives "expected"; number of rows. */
extern uint64 cdc_rows_run(const char *sql, int nargs, const Oid *types,
						   const Datum *values, const char *nulls,
						   int expected);

#endif							/* CDC_ROWS_H */
