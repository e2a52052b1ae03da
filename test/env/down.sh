#!/usr/bin/env bash
# Stops what up.sh started, by its pids, and removes its folders.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$CDC_ROOT/test/env/kafka.sh"
. "$CDC_ROOT/test/env/s3.sh"

[ -f "$CDC_ENV_FILE" ] || { say "nothing is up"; exit 0; }
. "$CDC_ENV_FILE"
[ -n "${CDC_BASE:-}" ] || die "$CDC_ENV_FILE names no CDC_BASE"
pg_stop "$CDC_BASE"
kafka_stop "$CDC_BASE/kafka"
s3_stop "$CDC_BASE/s3"
rm -rf "$CDC_BASE"
rm -f "$CDC_ENV_FILE"
say "stopped and removed"
