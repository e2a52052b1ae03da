/*-------------------------------------------------------------------------
 * member.h
 *		Rows of tables that joined or left a feed by rule.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_MEMBER_H
#define CDC_MEMBER_H

#include "postgres.h"

#include "nodes/pg_list.h"

/* What became of a table since the definition, as of the durable position. */
typedef struct CdcStoredMember
{
	Oid			relid;
	bool		joined;			/* or left */
	char	   *name;			/* db.schema.table when it joined */
	char	   *topic;
	char	   *columns;		/* see columns.h */
} CdcStoredMember;

/* List of CdcStoredMember *, palloc'ed.  Runs: lane, in a transaction. */
extern List *cdc_members_load(int64 job_id);

/* In the transaction of the checkpoint. */
extern void cdc_member_store(int64 job_id, const CdcStoredMember *member);

#endif							/* CDC_MEMBER_H */
