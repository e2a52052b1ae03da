/*-------------------------------------------------------------------------
 * hosts.c
 *		Where the server may be made to connect; see hosts.h.
 *
 * An entry is "host", "host:port", "*.domain", an IPv4 address or an IPv6
 * address in brackets.  It is compared with what the user wrote, not with
 * what a name resolves to: another spelling of an address is not in the list.
 *
 * Runs: backends and workers, main thread.  Allocates by palloc only.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/guc.h"
#include "base/hosts.h"

#define MAX_SHOWN	64

/* A piece of text, not terminated. */
typedef struct Piece
{
	const char *text;
	size_t		len;
} Piece;

/* The next entry of a list separated by commas and blanks. */
static bool
next_piece(const char **p, Piece *piece)
{
	*p += strspn(*p, ", \t");
	piece->text = *p;
	piece->len = strcspn(*p, ", \t");
	*p += piece->len;
	return piece->len > 0;
}

/* Takes the port off an address; -1: none, 0: it is no address. */
static int
split_port(Piece *address)
{
	const char *end = address->text + address->len;
	const char *colon = NULL;
	int			port = 0;

	if (address->text[0] == '[')
	{
		colon = memchr(address->text, ']', address->len);
		if (colon == NULL)
			return 0;
		colon++;
		if (colon == end)
			colon = NULL;
		else if (*colon != ':')
			return 0;
	}
	else
		colon = memchr(address->text, ':', address->len);
	if (colon != NULL)
	{
		for (const char *p = colon + 1; p < end; p++)
		{
			if (*p < '0' || *p > '9' || port > 65535)
				return 0;
			port = port * 10 + (*p - '0');
		}
		if (port > 65535)
			return 0;
		address->len = colon - address->text;
	}
	/* the root's dot makes the same name */
	if (address->len > 1 && address->text[address->len - 1] == '.')
		address->len--;
	if (address->len == 0)
		return 0;
	return colon == NULL ? -1 : port;
}

static bool
matches(Piece entry, Piece host, int port)
{
	int			entry_port = split_port(&entry);

	if (entry_port == 0 || (entry_port > 0 && entry_port != port))
		return false;
	if (entry.text[0] == '*')
	{
		/* "*.example.com" is every name below that domain */
		entry.text++;
		entry.len--;
		if (entry.len == 0)
			return true;
		if (host.len <= entry.len)
			return false;
		host.text += host.len - entry.len;
		host.len = entry.len;
	}
	return entry.len == host.len &&
		pg_strncasecmp(entry.text, host.text, host.len) == 0;
}

static bool
is_allowed(Piece host, int port)
{
	const char *p = cdc_allowed_sink_hosts;
	Piece		entry;

	while (next_piece(&p, &entry))
	{
		if (matches(entry, host, port))
			return true;
	}
	return false;
}

void
cdc_hosts_require(const char *hosts, int default_port)
{
	const char *p = hosts;
	Piece		host;

	if (cdc_allowed_sink_hosts == NULL || cdc_allowed_sink_hosts[0] == '\0')
		return;
	while (next_piece(&p, &host))
	{
		int			port = split_port(&host);

		if (port == 0 || !is_allowed(host, port < 0 ? default_port : port))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("changefeeds must not connect to host \"%.*s\"",
							(int) Min(host.len, MAX_SHOWN), host.text),
					 errdetail("It is not in the list of the setting cdc_sink.allowed_sink_hosts."),
					 errhint("A superuser can add it there.")));
	}
}

bool
cdc_hosts_check_list(char **newval, void **extra, GucSource source)
{
	const char *p = *newval;
	Piece		entry;

	if (p == NULL)
		return true;
	while (next_piece(&p, &entry))
	{
		Piece		host = entry;
		const char *star;

		if (split_port(&host) == 0)
		{
			GUC_check_errdetail("\"%.*s\" is not of the form host or host:port.",
								(int) Min(entry.len, MAX_SHOWN), entry.text);
			return false;
		}
		star = memchr(host.text, '*', host.len);
		if (star != NULL &&
			(star != host.text || (host.len > 1 && host.text[1] != '.') ||
			 memchr(star + 1, '*', host.len - 1) != NULL))
		{
			GUC_check_errdetail("\"%.*s\" has a * elsewhere than as its first part.",
								(int) Min(entry.len, MAX_SHOWN), entry.text);
			return false;
		}
	}
	return true;
}
