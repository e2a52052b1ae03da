#!/usr/bin/env bash
# demo.sh [file|kafka]: a changefeed from CREATE EXTENSION to its messages, in
# a temporary cluster. Fails when a change does not arrive.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$CDC_ROOT/test/env/kafka.sh"
sink=${1:-file}
case $sink in file|kafka) ;; *) die "SINK is file or kafka, not $sink" ;; esac

"$CDC_ROOT/test/env/deps.sh"
say "building and installing"
build_install

base=$(make_base)
shower=
# The printer is a process group of its own.
hush()
{
	[ -z "$shower" ] || kill -- "-$shower" 2>/dev/null || true
	shower=
}
cleanup()
{
	trap '' INT TERM
	hush
	pg_stop "$base" || true
	kafka_stop "$base/kafka" || true
	rm -rf "$base"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say "starting a temporary cluster"
port=$(free_port)
pg_init "$base" "$port"
pg_start "$base"
sql() { "$(pgbin)/psql" -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U postgres -d postgres "$@"; }
show() { echo; sed 's/^[[:space:]]*/    /' <<<"$1"; sql -c "$1"; }

# received: every message so far, one a line; the rows' topic in front
seen=$base/seen
: >"$seen"
if [ "$sink" = kafka ]; then
	say "starting Kafka"
	mkdir "$base/kafka"
	kafka_init "$base/kafka"
	kafka_start "$base/kafka"
	broker=$(sed -n 's/^KAFKA=//p' "$base/kafka/env")
	uri=kafka://$broker
else
	as_user mkdir "$base/files/demo"
	uri=file://$base/files/demo
fi

# Prints each file under the feed's folder once, in the order of the names.
show_files()
{
	local f topic
	while sleep 0.2; do
		while read -r f; do
			[ ! -e "$base/shown/${f##*/}" ] || continue
			mkdir -p "$base/shown"
			: >"$base/shown/${f##*/}"
			topic=
			[[ $f == *.RESOLVED ]] || topic=$(sed -E 's/.*-([^-]+)-[0-9a-f]+\.ndjson$/\1 /' <<<"${f##*/}")
			sed "s/^/$topic/; \$a\\" "$f" | tee -a "$seen" | sed 's/^/  <- /'
		done < <(find "$base/files/demo" -name '*.ndjson' -o -name '*.RESOLVED' | LC_ALL=C sort)
	done
}

show_topics()
{
	kcat -b "$broker" -q -u -X auto.offset.reset=earliest -f '%t %k %s\n' -G demo orders customers 2>"$base/kcat.log" \
		| while read -r line; do
			echo "$line" >>"$seen"
			echo "  <- $line"
		done
}

# arrived WHAT REGEX [COUNT]: waits until the messages are there
arrived()
{
	local i
	for ((i = 0; i < 150; i++)); do
		[ "$(grep -cE -- "$2" "$seen" || true)" -lt "${3:-1}" ] || return 0
		sleep 0.2
	done
	sql -x -c "SELECT * FROM changefeed_jobs" || true
	tail -n 20 "$base/postgresql.log" >&2
	die "$1 did not arrive within 30 seconds"
}

show "CREATE EXTENSION cdc_sink"
show "CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL);
      CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint, total numeric(10,2), status text)"
show "INSERT INTO customers VALUES (1, 'Ann'), (2, 'Bob');
      INSERT INTO orders VALUES (10, 1, 9.50, 'new'), (11, 2, 120.00, 'new')"
show "SELECT changefeed_sql(\$\$CREATE CHANGEFEED FOR TABLE orders, customers
      INTO '$uri' WITH updated, resolved='1s'\$\$)"
say "messages as they arrive; first the rows that were there"
set -m
if [ "$sink" = kafka ]; then
	sql -c "SELECT changefeed_wait(job_id, timeout => '30 s') FROM changefeed_jobs" >/dev/null
	show_topics &
else
	show_files &
fi
shower=$!
set +m
arrived "the initial scan of orders" '^orders .*"after": \{' 2
arrived "the initial scan of customers" '^customers .*"after": \{' 2
show "INSERT INTO orders VALUES (12, 1, 3.99, 'new')"
arrived "the insert" '^orders .*"total": 3\.99'
show "UPDATE orders SET status = 'shipped' WHERE id = 10"
arrived "the update" '^orders .*"status": "shipped"'
show "DELETE FROM orders WHERE id = 11"
arrived "the delete" '^orders .*"after": null'
arrived "a resolved timestamp" '\{"resolved":"'
hush
sql -x -c "SELECT * FROM changefeed_jobs"
say "all arrived; cleaning up"
