# shellcheck shell=bash
# Pieces shared by the scripts here. Sourced, never run.
#
# PostgreSQL refuses root, so with root's rights every server runs as
# $CDC_PGOSUSER ("postgres" unless set); otherwise as the caller.

set -euo pipefail

CDC_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CDC_ENV_FILE=${CDC_ENV_FILE:-$CDC_ROOT/tmp/env}
PG_CONFIG=${PG_CONFIG:-pg_config}
export PG_CONFIG

if [ "$(id -u)" = 0 ]; then
	CDC_PGOSUSER=${CDC_PGOSUSER:-postgres}
	CDC_CACHE=${CDC_CACHE:-/var/cache/cdc_sink}
	SUDO=
else
	CDC_PGOSUSER=$(id -un)
	CDC_CACHE=${CDC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cdc_sink}
	SUDO=sudo
fi
export CDC_CACHE
export LC_ALL=C.UTF-8
umask 022

say() { echo "-- $*"; }
die() { echo "error: $*" >&2; exit 1; }

# Run a command as the owner of the servers, from a folder it can enter.
as_user()
{
	if [ "$(id -un)" = "$CDC_PGOSUSER" ]; then
		(cd / && "$@")
	else
		(cd / && HOME=/ runuser -u "$CDC_PGOSUSER" -- "$@")
	fi
}

pgbin() { "$PG_CONFIG" --bindir; }

# A free port below the range the kernel gives to outgoing connections, so
# that a server that is stopped for a while finds its port free again.
free_port()
{
	perl -MIO::Socket::INET -e '
		for (1 .. 200) {
			my $p = 10000 + int(rand(20000));
			my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $p, Listen => 1, Proto => "tcp") or next;
			print "$p\n"; exit 0;
		}
		die "no free port\n"'
}

# A folder of our own that the servers' owner can enter and write.
make_base()
{
	local parent=${TMPDIR:-/tmp} dir
	as_user test -x "$parent" || parent=/tmp
	dir=$(mktemp -d "$parent/cdc_sink.XXXXXX")
	chmod 755 "$dir"
	[ "$(id -u)" != 0 ] || chown "$CDC_PGOSUSER" "$dir"
	echo "$dir"
}

pid_alive() { [ -n "${1:-}" ] && kill -0 "$1" 2>/dev/null; }

# wait_gone PID SECONDS: true once the process is gone
wait_gone()
{
	local i
	for ((i = 0; i < $2 * 10; i++)); do
		pid_alive "$1" || return 0
		sleep 0.1
	done
	return 1
}

# as_installer COMMAND...: with sudo where the caller may not install
as_installer()
{
	if [ -w "$("$PG_CONFIG" --pkglibdir)" ]; then "$@"; else $SUDO "$@" PG_CONFIG="$PG_CONFIG"; fi
}

# build_install: with the rights the installation needs
build_install()
{
	# more than one script may build in one checkout at a time
	mkdir -p "$CDC_ROOT/tmp"
	(
		flock 9
		make -s -C "$CDC_ROOT" -j"$(nproc)" all
		as_installer make -s -C "$CDC_ROOT" install
	) 9>"$CDC_ROOT/tmp/build.lock"
}

# pg_init BASE PORT [LINE...]: a cluster in BASE/data, socket in BASE;
# further arguments are lines of its postgresql.conf
pg_init()
{
	local base=$1 port=$2
	shift 2
	as_user "$(pgbin)/initdb" -D "$base/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$base/initdb.log" \
		|| { cat "$base/initdb.log" >&2; return 1; }
	as_user mkdir -p "$base/files"
	as_user tee -a "$base/data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = '127.0.0.1'
		port = $port
		unix_socket_directories = '$base'
		shared_preload_libraries = 'cdc_sink'
		wal_level = logical
		max_prepared_transactions = 10
		max_replication_slots = 40
		max_worker_processes = 60
		shared_buffers = 256MB
		log_line_prefix = '%m [%p] %b %a '
		cdc_sink.file_root = '$base/files'
		$(printf '%s\n' "$@")
	CONF
}

pg_start()
{
	as_user "$(pgbin)/pg_ctl" -D "$1/data" -l "$1/postgresql.log" -w -t 60 start >/dev/null \
		|| { tail -n 30 "$1/postgresql.log" >&2; return 1; }
}

pg_pid() { sed -n 1p "$1/data/postmaster.pid" 2>/dev/null || true; }

# pg_stop BASE: fast shutdown, then harder
pg_stop()
{
	local pid
	pid=$(pg_pid "$1")
	pid_alive "$pid" || return 0
	as_user "$(pgbin)/pg_ctl" -D "$1/data" -m fast -w -t 20 stop >/dev/null 2>&1 && return 0
	as_user "$(pgbin)/pg_ctl" -D "$1/data" -m immediate -w -t 20 stop >/dev/null 2>&1 && return 0
	kill -9 "$pid" 2>/dev/null || true
}
