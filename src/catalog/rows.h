/*-------------------------------------------------------------------------
 * rows.h
 *		How the files of this folder get at the extension's own tables.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_ROWS_H
#define CDC_ROWS_H

#include "postgres.h"

#include "catalog/job.h"

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

/* Column of a row of the current result, counted from 0 and from 1. */
extern Datum cdc_rows_column(uint64 row, int col, bool *isnull);

/* text[] from C strings, and back (palloc'ed). */
extern Datum cdc_rows_text_array(int n, char *const *strings);
extern char **cdc_rows_strings(Datum array, int *n);

/* The columns of a definition, in the order of the enum in job.h. */
#define CDC_DEFINITION_COLUMNS \
	"d.job_id, d.version, d.owner, d.sink, d.options, d.relids, d.names," \
	" d.topics, d.partitions, d.shapes, d.sink_type, d.scans," \
	" d.ruled, d.columns, d.rules"

/* Writes one version. */
extern void cdc_definition_insert(const CdcDefinition *def);

/* "a,b": its topics, each once. */
extern char *cdc_definition_topics(const CdcDefinition *def);

#endif							/* CDC_ROWS_H */
