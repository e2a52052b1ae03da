#!/usr/bin/env bash
# Stores to test against, each below one folder: an emulator of Google Cloud
# Storage (fake-gcs-server), one of Azure Blob Storage that checks signatures
# (azurite), and a server of our own for HTTP storage and tokens
# (store_server.py).
#
#   stores.sh fetch                          builds or installs them, once per machine
#   stores.sh available gcs|azure|web|clients  true if it is there
#   stores.sh init DIR gcs|azure|web [BUCKET]  port, key; web: BUCKET is the port of the
#                                            emulator that /gcs/ goes on to
#   stores.sh start|stop|kill9|restart DIR   data and port are kept
#   stores.sh python                         prints the python that has the stores'
#                                            own clients
#
# DIR/env holds STORE_KIND, STORE_PORT and what else a client needs as shell
# assignments. Runs as whoever calls it (see as_user in lib.sh).

[ -n "${CDC_ROOT:-}" ] || . "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

GCS_VERSION=1.56.1
GCS_HOME=$CDC_CACHE/fake-gcs-server-$GCS_VERSION
GCS_GO=1.26						# least release that builds it
AZURE_VERSION=3.35.0
AZURE_HOME=$CDC_CACHE/azurite-$AZURE_VERSION
AZURE_MAIN=$AZURE_HOME/node_modules/azurite/dist/src/blob/main.js
CLIENTS=(boto3==1.44.5 google-cloud-storage==3.17.1 azure-storage-blob==12.31.1 zstandard==0.25.0)
CLIENTS_HOME=$CDC_CACHE/store-clients-1

# Known to everybody, and the only one the emulator has.
AZURE_ACCOUNT=devstoreaccount1
AZURE_KEY=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==

store_available()
{
	case $1 in
		gcs) [ -x "$GCS_HOME/fake-gcs-server" ] ;;
		azure) [ -f "$AZURE_HOME/complete" ] && command -v node >/dev/null ;;
		web) command -v python3 >/dev/null ;;
		clients) [ -f "$CLIENTS_HOME/complete" ] ;;
	esac
}

gcs_fetch()
{
	local go
	go=$(go env GOVERSION 2>/dev/null || true)
	go=${go#go}
	if [ -z "$go" ] || [ "$(printf '%s\n' "$GCS_GO" "$go" | sort -V | head -n 1)" != "$GCS_GO" ]; then
		say "no Go $GCS_GO or later here: the tests with Google Cloud Storage will be skipped"
		return 0
	fi
	say "building fake-gcs-server $GCS_VERSION"
	mkdir -p "$GCS_HOME"
	GOTOOLCHAIN=local GOBIN=$GCS_HOME/build CGO_ENABLED=0 \
		go install "github.com/fsouza/fake-gcs-server@v$GCS_VERSION" </dev/null >"$GCS_HOME/build.log" 2>&1 \
		|| { tail -n 20 "$GCS_HOME/build.log" >&2; return 1; }
	mv "$GCS_HOME/build/fake-gcs-server" "$GCS_HOME/fake-gcs-server"
	rmdir "$GCS_HOME/build"
}

azure_fetch()
{
	if ! command -v npm >/dev/null || [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 18 ]; then
		say "no Node.js 18 or later here: the tests with Azure Blob Storage will be skipped"
		return 0
	fi
	say "installing azurite $AZURE_VERSION"
	mkdir -p "$AZURE_HOME"
	(cd "$AZURE_HOME" && npm install --no-audit --no-fund --ignore-scripts "azurite@$AZURE_VERSION" \
		</dev/null >"$AZURE_HOME/npm.log" 2>&1) || { tail -n 20 "$AZURE_HOME/npm.log" >&2; return 1; }
	touch "$AZURE_HOME/complete"
}

clients_fetch()
{
	local python
	say "installing ${CLIENTS[*]}"
	# one that the servers' owner can run
	python=$(as_user python3 -c 'import sys; print(sys.executable)') || return 1
	PATH=$(dirname "$python"):$PATH "$(dirname "${BASH_SOURCE[0]}")/venv.sh" "$CLIENTS_HOME" "${CLIENTS[@]}" >/dev/null || return 1
	touch "$CLIENTS_HOME/complete"
}

stores_fetch()
{
	mkdir -p "$CDC_CACHE"
	(
		flock 8
		# what a registry does not give today costs its tests, not all of them
		store_available gcs || gcs_fetch || say "no fake-gcs-server: the tests with Google Cloud Storage will be skipped"
		store_available azure || azure_fetch || say "no azurite: the tests with Azure Blob Storage will be skipped"
		store_available clients || clients_fetch || say "no clients of the stores: the test that reads files back will be skipped"
	) 8>"$CDC_CACHE/lock.stores"
}

# store_init DIR KIND [BUCKET]
store_init()
{
	local dir=$1 kind=$2 bucket=${3:-test} port
	store_available "$kind" || return 77
	port=$(free_port)
	mkdir -p "$dir/data"
	cat >"$dir/env" <<-ENV
		STORE_KIND=$kind
		STORE_PORT=$port
		STORE_BUCKET=$bucket
	ENV
	case $kind in
		gcs) mkdir -p "$dir/data/$bucket" ;;
		azure) printf 'STORE_ACCOUNT=%s\nSTORE_KEY=%s\n' "$AZURE_ACCOUNT" "$AZURE_KEY" >>"$dir/env" ;;
		web) python3 "$(dirname "${BASH_SOURCE[0]}")/store_server.py" init "$dir" ;;
	esac
}

store_pid() { cat "$1/pid" 2>/dev/null || true; }

# store_start DIR: returns when it answers
store_start()
{
	local dir=$1 here i cmd
	! pid_alive "$(store_pid "$dir")" || return 0
	here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
	. "$dir/env"
	case $STORE_KIND in
		gcs) cmd=("$GCS_HOME/fake-gcs-server" -scheme http -host 127.0.0.1 -port "$STORE_PORT" -backend filesystem
			-filesystem-root "$dir/data" -external-url "http://127.0.0.1:$STORE_PORT" -public-host "127.0.0.1:$STORE_PORT") ;;
		azure) cmd=(node "$AZURE_MAIN" --blobHost 127.0.0.1 --blobPort "$STORE_PORT" --location "$dir/data"
			--disableTelemetry --silent) ;;
		web) cmd=(python3 "$here/store_server.py" run "$dir" "$STORE_PORT" "$STORE_BUCKET") ;;
	esac
	(
		cd "$dir"
		# shellcheck disable=SC2016
		setsid bash -c 'echo $$ >"$0/pid"; exec "$@"' "$dir" "${cmd[@]}" </dev/null >>"$dir/server.log" 2>&1 &
	)
	for ((i = 0; i < 200; i++)); do
		sleep 0.1
		if (exec 3<>"/dev/tcp/127.0.0.1/$STORE_PORT") 2>/dev/null; then return 0; fi
		if [ "$i" -gt 5 ] && ! pid_alive "$(store_pid "$dir")"; then break; fi
	done
	tail -n 30 "$dir/server.log" >&2
	return 1
}

store_kill9()
{
	local pid
	pid=$(store_pid "$1")
	if pid_alive "$pid"; then
		kill -9 "$pid"
		wait_gone "$pid" 10
	fi
	rm -f "$1/pid"
}

store_stop()
{
	local pid
	pid=$(store_pid "$1")
	if pid_alive "$pid"; then
		kill "$pid"
		wait_gone "$pid" 10 || store_kill9 "$1"
	fi
	rm -f "$1/pid"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	cmd=${1:?command}
	shift
	case $cmd in
		fetch) stores_fetch ;;
		available) store_available "$1" ;;
		init) store_init "$@" ;;
		start) store_start "$1" ;;
		stop) store_stop "$1" ;;
		kill9) store_kill9 "$1" ;;
		restart) store_stop "$1"; store_start "$1" ;;
		python) echo "$CLIENTS_HOME/bin/python" ;;
		*) die "unknown command $cmd" ;;
	esac
fi
