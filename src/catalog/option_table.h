/*-------------------------------------------------------------------------
 * option_table.h
 *		The options there are, and what the files about options share; private
 *		to option_*.c and options.c.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_OPTION_TABLE_H
#define CDC_OPTION_TABLE_H

#include "postgres.h"

#include "base/compat.h"
#include "catalog/options.h"

typedef enum CdcOptionKind
{
	CDC_OPT_FLAG,
	CDC_OPT_STRING,
	CDC_OPT_DURATION,
	CDC_OPT_POSITIVE_DURATION,		/* 0 is refused */
	CDC_OPT_ENUM,
	CDC_OPT_JSON,
} CdcOptionKind;

typedef enum CdcOptionState
{
	CDC_OPT_SUPPORTED,
	CDC_OPT_LATER,					/* CockroachDB's, not supported yet */
	CDC_OPT_NOT_APPLICABLE,			/* has no meaning in PostgreSQL */
} CdcOptionState;

typedef enum CdcOptionSecret
{
	CDC_OPT_PUBLIC,
	CDC_OPT_SECRET,					/* never shown */
	CDC_OPT_SECRET_URL,				/* shown without its user info */
} CdcOptionSecret;

typedef struct CdcOptionSpec
{
	const char *name;
	CdcOptionKind	kind;
	CdcOptionState state;
	const char *dflt;			/* as text, "" if there is none */
	const char *help;
	const char *const *values;	/* of CDC_OPT_ENUM, NULL-terminated; "|" before a
								 * name: accepted but not told; "-": known but
								 * not supported */
	bool		value_optional;
	CdcOptionSecret secret;
} CdcOptionSpec;

/* NULL: there is no such option. */
extern const CdcOptionSpec *cdc_option_find(const char *name);

/* Raises 22023 for a name that is no option, with a hint. */
pg_noreturn extern void cdc_option_unknown(const char *name);

/*
 * Canonical spelling of an enum's value; raises 22023 if it is none.
 * *supported tells whether it works yet.
 */
extern const char *cdc_option_enum(const CdcOptionSpec *spec,
								   const char *text, bool *supported);

/*
 * Checks one option by itself and brings it into its canonical form.  Raises
 * 22023, or 54000 for a value that is too long.
 */
extern void cdc_option_check_value(const CdcOptionSpec *spec, CdcOptionPair *pair);

/* Sets the members that hold secrets after their pairs, as copies. */
extern void cdc_options_take_secrets(CdcOptions *options);

#endif							/* CDC_OPTION_TABLE_H */
