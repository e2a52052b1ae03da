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

/* The same; the id of a job is the only argument. */
extern uint64 cdc_rows_run_for(int64 job_id, const char *sql, int expected);

/*
 * Runs such a SELECT; list of what "make" makes of each row of the result,
 * in the caller's memory context.
 */
extern List *cdc_rows_list(int64 job_id, const char *sql,
						   void *(*make) (uint64 row));

/*
 * Column of a row of the current result, counted from 0 and from 1; and of
 * one that is never null.
 */
extern Datum cdc_rows_column(uint64 row, int col, bool *isnull);
extern Datum cdc_rows_value(uint64 row, int col);

/* boolean[], integer[], oid[] or text[] from its elements. */
extern Datum cdc_rows_array(Oid type, int n, Datum *elems);
extern Datum cdc_rows_text_array(int n, char *const *strings);
extern Datum cdc_rows_oid_array(int n, const Oid *oids);

/* And back, palloc'ed; nulls: NULL if there may be none, which is checked. */
extern Datum *cdc_rows_elements(Oid type, Datum array, bool **nulls, int *n);
extern char **cdc_rows_strings(Datum array, int *n);

/* The columns of a definition, in the order of the enum in job.h. */
#define CDC_DEFINITION_COLUMNS \
	"d.job_id, d.version, d.owner, d.sink, d.options, d.relids, d.names," \
	" d.topics, d.partitions, d.shapes, d.sink_type, d.scans," \
	" d.ruled, d.columns, d.rules"

/* That of a row of the current result which begins with these columns. */
extern CdcDefinition *cdc_definition_in_row(uint64 row);

/* Writes one version. */
extern void cdc_definition_insert(const CdcDefinition *def);

/* Writes what goes with a version and those that follow; see cdc_job_secret. */
extern void cdc_secret_insert(int64 job_id, int version, const char *sink_uri,
							  int nsecrets, char *const *secrets);

/* "a,b": its topics, each once. */
extern char *cdc_definition_topics(const CdcDefinition *def);

#endif							/* CDC_ROWS_H */
