#!/usr/bin/env bash
# The extension's regression tests, then those of the modules around its
# parts, against a cluster of their own. The extension is installed already.
# Closes with "N passed, N failed".
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

base=$(make_base)
cleanup()
{
	trap '' INT TERM
	pg_stop "$base" || true
	rm -rf "$base"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

port=$(free_port)
# installcheck DIR NAME [VAR=VALUE...]
installcheck()
{
	local dir=$1 name=$2 rc=0
	shift 2
	# a worker stays for some seconds when its last feed has ended
	"$(pgbin)/psql" -qX -h 127.0.0.1 -p "$port" -U postgres -d postgres \
		-c "DROP DATABASE IF EXISTS contrib_regression WITH (FORCE)" >/dev/null 2>&1 || true
	PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres make -s -C "$dir" installcheck "$@" >"$base/regress.$name" 2>&1 || rc=$?
	cat "$base/regress.$name"
	[ "$rc" = 0 ] || cat "$base/regress/regression.diffs" "$dir/regression.diffs" 2>/dev/null || true
	return "$rc"
}

rc=0
pg_init "$base" "$port" ${CDC_PG_CONF:+"$CDC_PG_CONF"} && pg_start "$base" || exit 1
mkdir -p "$base/regress"
if ls "$CDC_ROOT"/sql/[0-9]*.sql >/dev/null 2>&1; then
	installcheck "$CDC_ROOT" main REGRESS_OUT="$base/regress" || rc=1
fi
for m in "$CDC_ROOT"/test/modules/*/; do
	[ -f "$m/Makefile" ] || continue
	make -s -C "$m" all >"$base/module.log" 2>&1 && as_installer make -s -C "$m" install >>"$base/module.log" 2>&1 \
		&& installcheck "$m" "$(basename "$m")" || { cat "$base/module.log"; rc=1; }
done
[ "$rc" = 0 ] || grep -v checkpoint "$base/postgresql.log" | tail -n 40
cat "$base"/regress.* | awk '/ \.\.\. +ok|^ok [0-9]/ {p++} / \.\.\. +FAILED|^not ok [0-9]/ {f++} END {printf "%d passed, %d failed\n", p, f}'
exit "$rc"
