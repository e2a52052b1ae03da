/*-------------------------------------------------------------------------
 * shape.h
 *		What a changefeed has to know of a table's definition to tell that it
 *		was changed, and in which way.
 *
 * A shape has a text form, which is stored: in a definition that of the
 * feed's creation, later ones with its checkpoints.  So the lane compares a
 * commit with what was in force at the feed's own position, never with what
 * the catalogs say today.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SHAPE_H
#define CDC_SHAPE_H

#include "postgres.h"

#include "access/attnum.h"
#include "access/tupdesc.h"

typedef struct CdcShapeColumn
{
	AttrNumber	attnum;
	Oid			type;
	int32		typmod;
	char		generated;		/* 's', 'v' or '-' */
	bool		not_null;
	bool		has_default;
	bool		has_missing;	/* rows from before have a value all the same */
	TransactionId written;		/* who wrote its pg_attribute row */
	char	   *name;
} CdcShapeColumn;

/* A partition that holds rows. */
typedef struct CdcShapeLeaf
{
	Oid			relid;
	Oid			filenode;
	bool		new_with_link;	/* made by who attached it; not stored */
} CdcShapeLeaf;

typedef struct CdcShape
{
	char		kind;			/* pg_class.relkind */
	char		persistence;
	Oid			filenode;		/* of the table's file, 0: it has none */
	char	   *key;			/* identity and key columns */
	int			ncolumns;
	CdcShapeColumn *columns;	/* dropped ones left out */
	int			nleaves;
	CdcShapeLeaf *leaves;		/* of a partitioned table, by OID */
} CdcShape;

/* How one shape differs from another. */
#define CDC_SHAPE_ADDED		0x01	/* column, null in the rows there are */
#define CDC_SHAPE_FILLED	0x02	/* column that has values in them */
#define CDC_SHAPE_DROPPED	0x04	/* column gone */
#define CDC_SHAPE_REWRITTEN 0x08	/* a column's values were converted */
#define CDC_SHAPE_KEY		0x10	/* another key */
#define CDC_SHAPE_ATTACHED	0x20	/* partitions that were not there */

/*
 * Reads the shape of a table straight from the catalogs, past every cache,
 * under the snapshot in force; palloc'ed.  NULL: there is no such table.
 * Runs: backends, decoding callbacks.
 */
extern CdcShape *cdc_shape_read(Oid relid);

/* The transaction that made a table; under the snapshot in force. */
extern TransactionId cdc_shape_made_by(Oid relid);

/* The text form and back; palloc'ed.  Raises XX000 if the text is damaged. */
extern char *cdc_shape_print(const CdcShape *shape);
extern CdcShape *cdc_shape_parse(const char *text);

/* CDC_SHAPE_* bits; listed: the columns that count, see columns.h. */
extern int	cdc_shape_compare(const CdcShape *before, const CdcShape *after,
							  const char *listed);

/*
 * The shape as it looks to a target with this list of columns (columns.h);
 * the same if all are listed, else palloc'ed, and shares its parts.
 */
extern const CdcShape *cdc_shape_listed(const CdcShape *shape, const char *columns);

/* Was this partition there before? */
extern bool cdc_shape_has_leaf(const CdcShape *shape, Oid relid);

/*
 * Text that differs when the columns do, as a consumer sees them; the same
 * for a partition and its root.
 */
extern char *cdc_shape_columns(const CdcShape *shape);
extern char *cdc_desc_columns(TupleDesc desc);

#endif							/* CDC_SHAPE_H */
