#!/usr/bin/env bash
# An S3 server that checks signatures (versitygw) below one folder, for tests.
#
#   s3.sh fetch                          builds the server, once per machine
#   s3.sh init DIR [tls] [bucket ...]    port, key, buckets (or the bucket "test");
#                                        tls: https with a certificate of its own
#   s3.sh start|stop|kill9|restart DIR   data and port are kept
#
# DIR/env holds S3_ENDPOINT, S3_BUCKET, S3_KEY and S3_SECRET as shell
# assignments. Buckets are also hosts <bucket>.localhost. Objects are files
# below DIR/data/<bucket>. "init" fails with
# status 77 where the server could not be built: it needs Go.
# Runs as whoever calls it (see as_user in lib.sh).

[ -n "${CDC_ROOT:-}" ] || . "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

S3_VERSION=1.8.0
S3_HOME=$CDC_CACHE/versitygw-$S3_VERSION
S3_GO=1.24						# least release that builds it

s3_available() { [ -x "$S3_HOME/versitygw" ]; }

s3_fetch()
{
	! s3_available || return 0
	local go
	go=$(go env GOVERSION 2>/dev/null || true)
	go=${go#go}
	if [ -z "$go" ] || [ "$(printf '%s\n' "$S3_GO" "$go" | sort -V | head -n 1)" != "$S3_GO" ]; then
		say "no Go $S3_GO or later here: the tests of the S3 sink will be skipped"
		return 0
	fi
	say "building versitygw $S3_VERSION"
	mkdir -p "$S3_HOME"
	(
		flock 8
		! s3_available || exit 0
		GOTOOLCHAIN=local GOBIN=$S3_HOME/build CGO_ENABLED=0 \
			go install "github.com/versity/versitygw/cmd/versitygw@v$S3_VERSION" </dev/null >"$S3_HOME/build.log" 2>&1 \
			|| { tail -n 20 "$S3_HOME/build.log" >&2; exit 1; }
		mv "$S3_HOME/build/versitygw" "$S3_HOME/versitygw"
		rmdir "$S3_HOME/build"
	) 8>"$CDC_CACHE/lock.s3"
}

# s3_init DIR [tls] [bucket ...]
s3_init()
{
	local dir=$1 scheme=http
	shift
	s3_available || return 77
	mkdir -p "$dir/data"
	if [ "${1:-}" = tls ]; then
		shift
		scheme=https
		openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=127.0.0.1" -addext "subjectAltName=IP:127.0.0.1" \
			-keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
	fi
	[ $# -gt 0 ] || set -- test
	cat >"$dir/env" <<-ENV
		S3_ENDPOINT=$scheme://127.0.0.1:$(free_port)
		S3_BUCKET=$1
		S3_KEY=testkey
		S3_SECRET=test/secret+$(openssl rand -hex 12)
	ENV
	(cd "$dir/data" && mkdir -p "$@")
}

s3_pid() { cat "$1/pid" 2>/dev/null || true; }

# s3_start DIR: returns when it answers
s3_start()
{
	local dir=$1 i tls=()
	! pid_alive "$(s3_pid "$dir")" || return 0
	[ ! -f "$dir/cert.pem" ] || tls=(--cert "$dir/cert.pem" --key "$dir/key.pem")
	(
		. "$dir/env"
		cd "$dir"
		# shellcheck disable=SC2016
		ROOT_ACCESS_KEY=$S3_KEY ROOT_SECRET_KEY=$S3_SECRET setsid bash -c 'dir=$0; echo $$ >"$dir/pid"; exec "$@" posix "$dir/data"' \
			"$dir" "$S3_HOME/versitygw" --quiet --keep-alive --virtual-domain "localhost:${S3_ENDPOINT##*:}" \
			--port "${S3_ENDPOINT#*://}" "${tls[@]}" </dev/null >>"$dir/s3.log" 2>&1 &
	)
	for ((i = 0; i < 100; i++)); do
		sleep 0.1
		if (. "$dir/env"; exec 3<>"/dev/tcp/127.0.0.1/${S3_ENDPOINT##*:}") 2>/dev/null; then return 0; fi
		if [ "$i" -gt 5 ] && ! pid_alive "$(s3_pid "$dir")"; then break; fi
	done
	tail -n 30 "$dir/s3.log" >&2
	return 1
}

s3_kill9()
{
	local pid
	pid=$(s3_pid "$1")
	if pid_alive "$pid"; then
		kill -9 "$pid"
		wait_gone "$pid" 10
	fi
	rm -f "$1/pid"
}

s3_stop()
{
	local pid
	pid=$(s3_pid "$1")
	if pid_alive "$pid"; then
		kill "$pid"
		wait_gone "$pid" 10 || s3_kill9 "$1"
	fi
	rm -f "$1/pid"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	cmd=${1:?command}
	shift
	case $cmd in
		fetch) s3_fetch ;;
		init) s3_init "$@" ;;
		start) s3_start "$1" ;;
		stop) s3_stop "$1" ;;
		kill9) s3_kill9 "$1" ;;
		restart) s3_stop "$1"; s3_start "$1" ;;
		*) die "unknown command $cmd" ;;
	esac
fi
