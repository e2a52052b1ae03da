/*-------------------------------------------------------------------------
 * store.h
 *		Object stores that are spoken to by HTTP: one sink (store.c) for all but S3,
 *		and a dialect for each that says how a request looks, who may make it
 *		and what the answers mean.
 *
 * A dialect makes no request and keeps no state: it writes down what to send
 * (CdcStoreDraft), and reads answers.  Credentials that have to be fetched
 * and renewed are the business of token.c, which asks the dialect the same
 * way.
 *
 * Runs: lane and probe workers, main thread; config() and forbidden() also in
 * backends.
 *-------------------------------------------------------------------------
 */
#ifndef CDC_STORE_H
#define CDC_STORE_H

#include "postgres.h"

#include "sink/http.h"
#include "sink/upload.h"

/* Longest name of an object with its prefix, and that escaped. */
#define CDC_STORE_KEY_MAX		1024
#define CDC_STORE_ESCAPED_SIZE	(CDC_STORE_KEY_MAX * 3 + 1)

#define CDC_STORE_MAX_HEADERS	12
#define CDC_STORE_MAX_SECRETS	6

typedef struct CdcStoreDialect CdcStoreDialect;

/* What the URI and the environment say; a dialect's own has it first. */
typedef struct CdcStoreConfig
{
	const CdcStoreDialect *dialect;
	bool		https;
	char	   *host;			/* lower case, with its port unless default */
	char	   *base;			/* escaped path before what the dialect adds */
	char	   *place;			/* "bucket "b" at host", for messages */
	char	   *prefix;			/* of all objects, "" or with a slash at its end */
	char	   *ca;				/* PEM; NULL: the system's authorities */
	bool		insecure;		/* any certificate will do */
	int			token_steps;	/* requests it takes to get a token; 0: none */
	char	   *secrets[CDC_STORE_MAX_SECRETS + 1]; /* never in a message */
	int			nsecrets;
} CdcStoreConfig;

/* What a request is to do. */
typedef struct CdcStoreAsk
{
	CdcUploadStep step;
	bool		remove;			/* not "step", but remove the object (probe) */
	const char *sweep;			/* not "step", but list the unfinished uploads,
								 * or, with a key, give one up: the query */
	const char *key;			/* name with its prefix */
	uint64		len;			/* of the body, but for COMMIT */
	const char *token;			/* NULL without token_steps */
	const CdcUpload *upload;	/* these two: NULL in a probe */
	const CdcObjPart *part;
} CdcStoreAsk;

/* A request as it will be sent; malloc'ed, made by cdc_draft_*(). */
typedef struct CdcStoreDraft
{
	const char *method;
	char	   *url;
	char	   *headers[CDC_STORE_MAX_HEADERS + 1];
	int			nheaders;
	char	   *body;			/* NULL: the object's, or none */
	size_t		max_body;		/* of the answer; 0: CDC_HTTP_BODY_MAX */
	bool		last_will;		/* see http.h */
	bool		failed;			/* no memory, does not fit, or no such request */
} CdcStoreDraft;

struct CdcStoreDialect
{
	const char *const *schemes; /* NULL-terminated; the first is the one that
								 * the others stand for */
	const char *const *params;	/* all URI parameters it knows */

	/*
	 * What only superusers may have of it, in the words of an error; NULL:
	 * nothing.
	 */
	const char *(*forbidden) (const CdcUri *uri, const char **hint);

	/*
	 * Reads URI and environment, palloc'ed in the current context.  Raises
	 * 22023 for what is wrong, 0A000 for what cannot be had.
	 */
	CdcStoreConfig *(*config) (const CdcUri *uri);

	/* Writes down a request. */
	void		(*draft) (const CdcStoreConfig *config, const CdcStoreAsk *ask,
						  CdcStoreDraft *draft);

	/*
	 * Does the answer to a PUT say that the object was there before?
	 * Our names are never used twice, so an earlier attempt has brought it.
	 * NULL: never.
	 */
	bool		(*was_there) (const CdcHttpReply *reply);

	/* What an answer to all steps but PUT means.  NULL without large objects. */
	CdcUploadVerdict (*judge) (const CdcUploadRequest *request,
							   const CdcHttpReply *reply);

	/* Large objects, see upload.h; part_min 0: none. */
	bool		no_begin;
	size_t		part_min;
	uint32		max_parts;

	/* Takes asks with "sweep". */
	bool		sweeps;

	/* The store's own code and message, "" if it has none. */
	void		(*explain) (const CdcHttpReply *reply, char *code,
							size_t code_size, char *message, size_t message_size);

	/*
	 * Writes down the request of one step towards a token.  "token" is the
	 * one of the step before.  NULL without tokens.
	 */
	void		(*token_draft) (const CdcStoreConfig *config, int step,
								const char *token, CdcStoreDraft *draft);
};

extern const CdcStoreDialect cdc_store_gcs;
extern const CdcStoreDialect cdc_store_azure;
extern const CdcStoreDialect cdc_store_web;

/* ---- drafts: nothing is done once one has failed ----------------------- */

extern void cdc_draft_url(CdcStoreDraft *draft, const char *fmt,...) pg_attribute_printf(2, 3);
extern void cdc_draft_header(CdcStoreDraft *draft, const char *fmt,...) pg_attribute_printf(2, 3);
extern void cdc_draft_body(CdcStoreDraft *draft, const char *fmt,...) pg_attribute_printf(2, 3);

/* Overwrites and frees what it holds. */
extern void cdc_draft_free(CdcStoreDraft *draft);

/*
 * Starts it; the bytes of the slices have to stay until it is done, and the
 * body's until then too (NULL slices: the draft's body).  NULL: no memory.
 */
extern CdcHttpCall *cdc_draft_start(const CdcStoreDraft *draft, CdcHttp *http,
									const CdcHttpSlice *slices, int nslices,
									CdcHttpDone done, void *arg);

/* How long a request to a store may take whose body has so many bytes. */
extern void cdc_store_timeouts(CdcHttpRequest *request, uint64 len);

/* Text of the first element of that name in an XML answer; false: none. */
extern bool cdc_reply_xml(const CdcHttpReply *reply, const char *name,
						  char *dst, size_t size);

/* Is that what the element Code says? */
extern bool cdc_reply_code_is(const CdcHttpReply *reply, const char *code);

/* An answer that came to its end, with a status of 2xx. */
extern bool cdc_reply_ok(const CdcHttpReply *reply);

/* What the answer to a HEAD says to CDC_UPLOAD_CHECK. */
extern CdcUploadVerdict cdc_reply_judge_check(const CdcObject *object,
											  const CdcHttpReply *reply);

/* ---- what the configurations of dialects have in common ----------------- */

/* A parameter that is there and not empty, or NULL. */
extern const char *cdc_store_param(const CdcUri *uri, const char *name);

/*
 * A key or token, palloc'ed.  A "+" of base64 that was not escaped has become
 * a space, and is one again.
 */
extern char *cdc_store_secret_text(const char *name, const char *value);

/* The same, and it is noted as a secret. */
extern char *cdc_store_secret(CdcStoreConfig *config, const char *name, const char *value);
extern void cdc_store_note_secret(CdcStoreConfig *config, char *text);

/* Is it AUTH=implicit?  Raises for anything but that and "specified". */
extern bool cdc_store_implicit(const CdcUri *uri);

/*
 * For CdcStoreDialect.forbidden: is it a URL without TLS (NULL is none), are
 * the credentials the server's own?  These may be allowed to everybody, but
 * not with any of the parameters "endpoints" (up to NULL), which would hear
 * them; unless the hosts there may be are listed.
 */
extern const char *cdc_store_forbids_plain(const char *url, const char **hint);
extern const char *cdc_store_forbids_implicit(const CdcUri *uri,
											  const char *const *endpoints,
											  const char **hint);

/* Raises 42501 with what forbidden() said, but not for superusers. */
extern void cdc_store_require_allowed(const char *why, const char *hint);

/*
 * The path of the URI as the beginning of all names; "sink" says whose, in
 * errors.
 */
extern void cdc_store_read_prefix(CdcStoreConfig *config, const CdcUri *uri,
								  const char *sink);

/*
 * Takes "https://host:port/path" apart, into https, host and base.  Returns
 * where the host begins in it.
 */
extern const char *cdc_store_split_endpoint(CdcStoreConfig *config, const char *name,
											const char *text);

/*
 * The same, with bounds.  Raises 42501 if the server may not connect there.
 */
extern void cdc_store_read_endpoint(CdcStoreConfig *config, const char *name, const char *text);

/* Parameter ca_cert. */
extern void cdc_store_read_ca(CdcStoreConfig *config, const CdcUri *uri);

/*
 * Do CREDENTIALS of gs, as they stand in a URI or a user mapping, have nobody
 * but Google asked for tokens?
 */
extern bool cdc_gcs_asks_google(const char *credentials);

/* Overwrites the secrets. */
extern void cdc_store_wipe(CdcStoreConfig *config);

#endif							/* CDC_STORE_H */
