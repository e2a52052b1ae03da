#!/usr/bin/env bash
# Installs what is missing to build and test: Debian packages, Apache Kafka
# from Maven Central, and where Go and Node.js are, servers and clients of
# stores. Does nothing, quickly, when all is there.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PGVER=${PGVER:-15}
want=()
need() { want+=("$@"); }
have() { command -v "$1" >/dev/null 2>&1; }

pgxs=$("$PG_CONFIG" --pgxs 2>/dev/null || true)
if ! { [ -n "$pgxs" ] && [ -f "$pgxs" ] && [ -x "$("$PG_CONFIG" --bindir)/postgres" ] \
	&& [ -f "$("$PG_CONFIG" --includedir-server)/postgres.h" ]; }; then
	need "postgresql-$PGVER" "postgresql-server-dev-$PGVER"
fi
have gcc || need gcc libc6-dev
have make || need make
have bison || need bison
have flex || need flex
have pkg-config || need pkg-config
have openssl || need openssl
have kcat || need kcat
have jq || need jq
have flock || need util-linux
perl -MIPC::Run -e1 2>/dev/null || need libipc-run-perl
have prove || need perl
{ have pkg-config && pkg-config --exists rdkafka; } || need librdkafka-dev
{ have pkg-config && pkg-config --exists libcurl; } || need libcurl4-openssl-dev
{ have pkg-config && pkg-config --exists libcrypto; } || need libssl-dev
{ have pkg-config && pkg-config --exists zlib; } || need zlib1g-dev
{ have pkg-config && pkg-config --exists libzstd; } || need libzstd-dev
have zstd || need zstd
have python3 || need python3
have java || need default-jdk-headless
have mvn || need maven

if [ ${#want[@]} -gt 0 ]; then
	say "installing: ${want[*]}"
	have apt-get || die "please install by hand: ${want[*]}"
	if [ "$(id -u)" != 0 ] && ! have sudo; then
		die "not root and no sudo; please install: ${want[*]}"
	fi
	export DEBIAN_FRONTEND=noninteractive
	log=$(mktemp)
	# Debian's server package would make and start a cluster of its own.
	conf=/etc/postgresql-common/createcluster.d/cdc_sink.conf
	trap '$SUDO rm -f "$conf" "$log"' EXIT
	{
		$SUDO apt-get update -q
		$SUDO apt-get install -qy --no-install-recommends ca-certificates
		if [[ " ${want[*]} " == *" postgresql-"* ]]; then
			$SUDO apt-get install -qy --no-install-recommends postgresql-common
			$SUDO mkdir -p "$(dirname "$conf")"
			echo "create_main_cluster = false" | $SUDO tee "$conf" >/dev/null
		fi
		$SUDO apt-get install -qy --no-install-recommends "${want[@]}"
	} </dev/null >"$log" 2>&1 || { tail -n 40 "$log" >&2; die "apt-get failed"; }
fi

# pg_cron, for the test of schedules, where the distribution has it.
version=$("$PG_CONFIG" --version 2>/dev/null | sed -nE 's/^PostgreSQL ([0-9]+).*/\1/p')
if [ "$("$PG_CONFIG" --sharedir)" = "/usr/share/postgresql/$version" ] \
	&& [ ! -f "/usr/share/postgresql/$version/extension/pg_cron.control" ] && have apt-cache \
	&& apt-cache policy "postgresql-$version-cron" | grep -q 'Candidate: [0-9]' \
	&& { [ "$(id -u)" = 0 ] || have sudo; }; then
	say "installing: postgresql-$version-cron"
	DEBIAN_FRONTEND=noninteractive $SUDO apt-get install -qy --no-install-recommends \
		"postgresql-$version-cron" </dev/null >/dev/null 2>&1 \
		|| say "cannot be installed: its test is skipped"
fi

. "$(dirname "${BASH_SOURCE[0]}")/kafka.sh"
kafka_fetch
. "$(dirname "${BASH_SOURCE[0]}")/s3.sh"
s3_fetch
. "$(dirname "${BASH_SOURCE[0]}")/stores.sh"
stores_fetch
