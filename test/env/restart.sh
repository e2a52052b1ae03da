#!/usr/bin/env bash
# Builds, installs, and restarts the cluster of up.sh on the new code.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ -f "$CDC_ENV_FILE" ] || die "nothing is up: make up"
. "$CDC_ENV_FILE"
build_install
pg_stop "$CDC_BASE"
pg_start "$CDC_BASE"
say "restarted"
