#!/usr/bin/env bash
# live.sh DIR [CONFIG ...]: runs the scripted workload below PostgreSQL with the
# real connector (Debezium Server, fetched from Maven Central, 800 MB; needs a
# JDK 21 or later) for each configuration of configs.json, and writes
# the messages as it sent them to DIR/CONFIG.json.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../env/lib.sh"
. "$here/../env/kafka.sh"
out=${1:?folder}
shift
mkdir -p "$out"
out=$(cd "$out" && pwd)

DEBEZIUM_VERSION=3.6.1.Final
DEBEZIUM_HOME=${DEBEZIUM_HOME:-$CDC_CACHE/debezium-server-$DEBEZIUM_VERSION}

debezium_fetch()
{
	[ ! -d "$DEBEZIUM_HOME/lib" ] || return 0
	say "fetching Debezium Server $DEBEZIUM_VERSION"
	mkdir -p "$DEBEZIUM_HOME"
	mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
		-Dartifact="io.debezium:debezium-server-dist:$DEBEZIUM_VERSION:tar.gz" -DoutputDirectory="$DEBEZIUM_HOME" </dev/null
	tar -xzf "$DEBEZIUM_HOME"/*.tar.gz -C "$DEBEZIUM_HOME" --strip-components=1
	rm "$DEBEZIUM_HOME"/*.tar.gz
}

# A JDK that is new enough: JAVA_HOME, or one of the installed.
debezium_java()
{
	local j v
	for j in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} java /usr/lib/jvm/*/bin/java; do
		v=$("$j" -version 2>&1 | sed -nE 's/.* version "([0-9]+).*/\1/p' | head -n 1)
		if [ "${v:-0}" -ge 21 ]; then
			echo "$j"
			return 0
		fi
	done
	die "no JDK 21 or later"
}

debezium_fetch
java=$(debezium_java)
base=$(make_base)
server=
rc=0
cleanup()
{
	trap '' INT TERM
	if pid_alive "$server"; then kill "$server" 2>/dev/null; wait_gone "$server" 10 || kill -9 "$server"; fi
	pg_stop "$base" || true
	kafka_stop "$base/kafka" || true
	rm -rf "$base"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

mkdir "$base/env" "$base/sql"
cp "$here/../env/lib.sh" "$here/../env/kafka.sh" "$base/env/"
cp "$here"/*.sql "$base/sql/"
kafka_sh() { as_user env CDC_CACHE="$CDC_CACHE" bash "$base/env/kafka.sh" "$@"; }
port=$(free_port)
say "starting PostgreSQL and Kafka"
pg_init "$base" "$port" "${CDC_PG_CONF:-}"
pg_start "$base"
kafka_sh init "$base/kafka" num.partitions=1
kafka_sh start "$base/kafka"
kafka=$(sed -n 's/^KAFKA=//p' "$base/kafka/env")
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres PGOPTIONS='-c timezone=UTC'
psql() { "$(pgbin)/psql" -X -q -v ON_ERROR_STOP=1 "$@"; }

# wait_for SECONDS WHAT COMMAND...
wait_for()
{
	local i n=$1 what=$2
	shift 2
	for ((i = 0; i < n * 2; i++)); do
		"$@" && return 0
		[ -z "$server" ] || pid_alive "$server" || { tail -n 50 "$base/server.log" >&2; die "the connector ended"; }
		sleep 0.5
	done
	tail -n 50 "$base/server.log" >&2
	die "timed out: $what"
}
streaming() { grep -q 'Processing messages' "$base/server.log" && [ "$(psql -d "$config" -Atc "SELECT active FROM pg_replication_slots WHERE slot_name = 'dbz_$config'")" = t ]; }
gone() { [ "$(psql -d postgres -Atc "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'cdc%'")" = 0 ]; }
marked() { kcat -b "$kafka" -C -t "$config.public.marker" -o beginning -e -q -X topic.metadata.refresh.interval.ms=500 2>/dev/null | grep -q .; }

for config in "${@:-$(python3 "$here/compare.py" configs)}"; do
	for config in $config; do
		say "$config"
		psql -d postgres -c "CREATE DATABASE $config"
		psql -d "$config" -f "$base/sql/setup.sql"
		mkdir -p "$base/$config/config"
		python3 "$here/compare.py" properties "$config" "$kafka" "$port" "$base/$config" >"$base/$config/config/application.properties"
		(
			cd "$base/$config"
			exec "$java" -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 --add-opens java.base/java.lang=ALL-UNNAMED \
				-cp "$(echo "$DEBEZIUM_HOME"/debezium-server-*runner.jar):$DEBEZIUM_HOME/lib/*" io.debezium.server.Main
		) >"$base/server.log" 2>&1 &
		server=$!
		wait_for 90 "snapshot" streaming
		psql -d "$config" -c "CREATE EXTENSION cdc_sink"
		python3 "$here/compare.py" statement "$config" "$kafka" | psql -d "$config" >/dev/null
		psql -d "$config" -c "SELECT changefeed_wait(job_id, timeout => '60 s') FROM changefeed_jobs" >/dev/null
		psql -d "$config" -f "$base/sql/workload.sql" >/dev/null
		wait_for 60 "the last message" marked
		kill "$server"
		wait_gone "$server" 20 || kill -9 "$server"
		server=
		psql -d "$config" -Atc "SELECT changefeed_wait(job_id, timeout => '60 s') FROM changefeed_jobs" >/dev/null
		"$here/consume.sh" "$kafka" "" "$config" >"$out/$config.raw"
		python3 "$here/compare.py" pack "$out/$config.raw" | gzip -9n >"$out/$config.json.gz"
		"$here/consume.sh" "$kafka" ours. "$config" >"$out/$config.ours.raw"
		python3 "$here/compare.py" pack "$out/$config.ours.raw" >"$out/$config.ours.json"
		python3 "$here/compare.py" exact "$out/$config.raw" "$out/$config.ours.raw" || rc=1
		python3 "$here/compare.py" diff "$config" "$out/$config.json.gz" "$out/$config.ours.json" || rc=1
		[ -n "${KEEP_RAW:-}" ] || rm -f "$out/$config".raw "$out/$config".ours.raw "$out/$config".ours.json
		psql -d "$config" -c "SELECT changefeed_cancel(job_id) FROM changefeed_jobs" >/dev/null
		wait_for 30 "the changefeed's slot is gone" gone
		psql -d "$config" -c "SELECT pg_drop_replication_slot('dbz_$config')" >/dev/null
		psql -d postgres -c "DROP DATABASE $config"
	done
done
exit "$rc"
