#!/usr/bin/env bash
# Measurements on a cluster and a broker of their own; see README.md here.
. "$(dirname "${BASH_SOURCE[0]}")/../env/lib.sh"
scratch=$(mktemp -d)
export CDC_ENV_FILE=$scratch/env
cleanup()
{
	trap '' INT TERM
	"$CDC_ROOT/test/env/down.sh" >/dev/null || true
	rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Room for the WAL of a run, and no vacuum in the middle of a measurement.
export CDC_PG_CONF=${CDC_PG_CONF:-"max_wal_size = '16GB'
autovacuum = off"}
"$CDC_ROOT/test/env/up.sh" >&2
python=$("$CDC_ROOT/test/env/venv.sh" "$scratch/venv" 'psycopg[binary]' confluent-kafka)
set -a
. "$CDC_ENV_FILE"
set +a
mkdir -p "$CDC_ROOT/tmp/bench"
"$python" "$CDC_ROOT/test/bench/${BENCH:-bench}.py" --out "$CDC_ROOT/tmp/bench" "$@"
