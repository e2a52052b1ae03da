#!/usr/bin/env bash
# Starts a throw-away cluster, a Kafka broker and (where Go is) an S3 server and
# leaves them running; their addresses go to $CDC_ENV_FILE (tmp/env). Found
# running, nothing is changed.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
here=$CDC_ROOT/test/env
. "$here/kafka.sh"
. "$here/s3.sh"

if [ -f "$CDC_ENV_FILE" ]; then
	. "$CDC_ENV_FILE"
	if pid_alive "$(pg_pid "$CDC_BASE")" && pid_alive "$(kafka_pid "$CDC_BASE/kafka")" \
		&& { [ ! -d "$CDC_BASE/s3" ] || pid_alive "$(s3_pid "$CDC_BASE/s3")"; }; then
		say "already running, see $CDC_ENV_FILE"
		exit 0
	fi
	say "a former one is gone or half gone: cleaning up"
	"$here/down.sh"
fi

"$here/deps.sh"
say "building and installing"
build_install

base=$(make_base)
undo()
{
	trap '' INT TERM
	pg_stop "$base" || true
	kafka_stop "$base/kafka" || true
	s3_stop "$base/s3" || true
	rm -rf "$base"
}
trap 'undo' EXIT
trap 'exit 130' INT TERM

# The checkout may be closed to the servers' owner: it runs from a copy.
mkdir "$base/env"
cp "$here/lib.sh" "$here/kafka.sh" "$here/s3.sh" "$base/env/"
kafka_sh() { as_user env CDC_CACHE="$CDC_CACHE" bash "$base/env/kafka.sh" "$@"; }
s3_sh() { as_user env CDC_CACHE="$CDC_CACHE" bash "$base/env/s3.sh" "$@"; }

say "starting PostgreSQL"
port=$(free_port)
pg_init "$base" "$port" ${CDC_PG_CONF:+"$CDC_PG_CONF"}
pg_start "$base"
say "starting Kafka"
# One partition, as a broker's default is: a reader then sees resolved behind
# the rows it covers, with several it may read one partition ahead of another.
kafka_sh init "$base/kafka" num.partitions=1
kafka_sh start "$base/kafka"
s3_env=
if s3_available; then
	say "starting an S3 server"
	s3_sh init "$base/s3"
	s3_sh start "$base/s3"
	s3_env=$(sed -E "s/^(S3_[A-Z]+)=(.*)/CDC_\1='\2'/" "$base/s3/env")
fi

mkdir -p "$(dirname "$CDC_ENV_FILE")"
cat >"$CDC_ENV_FILE.new" <<ENV
CDC_DSN='host=127.0.0.1 port=$port user=postgres dbname=postgres'
CDC_PGBIN='$(pgbin)'
CDC_PGDATA='$base/data'
CDC_PGHOST='127.0.0.1'
CDC_PGPORT='$port'
CDC_PGOSUSER='$CDC_PGOSUSER'
CDC_KAFKA='$(sed -n 's/^KAFKA=//p' "$base/kafka/env")'
CDC_FILE_ROOT='$base/files'
CDC_BASE='$base'
$s3_env
ENV
mv "$CDC_ENV_FILE.new" "$CDC_ENV_FILE"
trap - EXIT
say "running, addresses in $CDC_ENV_FILE:"
cat "$CDC_ENV_FILE"
