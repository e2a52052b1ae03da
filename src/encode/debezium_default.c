/*-------------------------------------------------------------------------
 * debezium_default.c
 *		Defaults of columns, as the schemas of Debezium's PostgreSQL
 *		connector tell them; see debezium.h.
 *
 * Runs: decoding callbacks of a lane, scan workers, when an encoder is made.
 * Reads catalogs only; evaluates constants and the server's casts of them,
 * never a function that the user calls or made.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "base/compat.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "encode/debezium.h"
#include "nodes/nodeFuncs.h"
#include "nodes/primnodes.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/*
 * Is it a constant, with nothing but the server's own casts around it?  It is
 * evaluated with the rights of a superuser: a cast that a user made, or a type
 * of his whose input checks the constraints of a domain, would run his code.
 */
static bool
is_constant(Node *node)
{
	switch (nodeTag(node))
	{
		case T_Const:
			return true;
		case T_RelabelType:
			return is_constant((Node *) ((RelabelType *) node)->arg);
		case T_CoerceViaIO:
			return ((CoerceViaIO *) node)->resulttype < FirstGenbkiObjectId &&
				is_constant((Node *) ((CoerceViaIO *) node)->arg);
		case T_FuncExpr:
			{
				FuncExpr   *func = (FuncExpr *) node;
				ListCell   *lc;

				if (func->funcid >= FirstGenbkiObjectId ||
					func->funcformat == COERCE_EXPLICIT_CALL ||
					func_volatile(func->funcid) != PROVOLATILE_IMMUTABLE)
					return false;
				foreach(lc, func->args)
				{
					if (!is_constant(lfirst(lc)))
						return false;
				}
				return true;
			}
		default:
			return false;
	}
}

static char *
encode(MemoryContext cxt, CdcDebeziumType *t, Datum value)
{
	CdcBuf		buf = {0};
	char	   *result;

	cdc_buf_reserve(&buf, CDC_DATUM_ROOM);
	PG_TRY();
	{
		t->datum.encode(&t->datum, &buf, value);
		cdc_buf_append_char(&buf, '\0');
		result = MemoryContextStrdup(cxt, buf.data);
	}
	PG_FINALLY();
	{
		cdc_buf_free(&buf);
	}
	PG_END_TRY();
	return result;
}

/* The value of a constant; false: it has none, or it does not fit the column. */
static bool
evaluate(Node *node, Const **result)
{
	MemoryContext cxt = CurrentMemoryContext;
	Node	   *volatile value = NULL;

	/*
	 * Casts of constants hold nothing that an error would leave behind; one
	 * that fails would fail at each INSERT, too.
	 */
	PG_TRY();
	{
		value = eval_const_expressions(NULL, node);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		FlushErrorState();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			ReThrowError(error);
		FreeErrorData(error);
	}
	PG_END_TRY();
	*result = (Const *) value;
	return value != NULL && IsA(value, Const) && !((Const *) value)->constisnull;
}

/* Padding is not part of a default. */
static Datum
unpadded(Datum value)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);
	int			len = VARSIZE_ANY_EXHDR(v);
	text	   *result;

	while (len > 0 && VARDATA_ANY(v)[len - 1] == ' ')
		len--;
	result = palloc(len + VARHDRSZ);
	SET_VARSIZE(result, len + VARHDRSZ);
	memcpy(VARDATA(result), VARDATA_ANY(v), len);
	return PointerGetDatum(result);
}

char *
cdc_debezium_default(MemoryContext cxt, Relation rel, Form_pg_attribute att,
					 CdcDebeziumType *t)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;
	Oid			type = getBaseType(att->atttypid);
	Node	   *node = NULL;
	Const	   *value;

	if (constr == NULL || !att->atthasdef || att->attgenerated || !t->has_default)
		return NULL;
	for (int i = 0; i < constr->num_defval; i++)
	{
		if (constr->defval[i].adnum == att->attnum)
			node = stringToNode(constr->defval[i].adbin);
	}
	if (node == NULL)
		return NULL;
	if (is_constant(node))
	{
		if (!evaluate(node, &value))
			return NULL;
		return encode(cxt, t, type == BPCHAROID ? unpadded(value->constvalue) :
					  value->constvalue);
	}
	if (type == TIMESTAMPTZOID)
		return encode(cxt, t, TimestampTzGetDatum((UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) *
												  USECS_PER_DAY));
	return MemoryContextStrdup(cxt, t->zero);
}
