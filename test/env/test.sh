#!/usr/bin/env bash
# Everything: dependencies, build with -Werror, unit tests, installcheck and
# TAP tests. Leaves nothing running. Closes with "N passed, N failed".
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
here=$CDC_ROOT/test/env
"$here/deps.sh"
say "building and installing"
build_install

base=$(make_base)
cleanup()
{
	trap '' INT TERM
	pg_stop "$base" || true
	rm -rf "$base"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

passed=0 failed=0
# stage NAME COMMAND...: runs it; its last line is "N passed, N failed"
stage()
{
	local name=$1 rc=0 last p f
	shift
	say "$name"
	"$@" 2>&1 | tee "$base/stage.log" || rc=$?
	last=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$base/stage.log" | tail -n 1)
	p=${last%% *} f=${last#*, }
	p=${p:-0} f=${f%% *}
	f=${f:-0}
	[ "$rc" = 0 ] || [ "$f" != 0 ] || f=1
	passed=$((passed + p)) failed=$((failed + f))
}

stage "unit tests" "$CDC_ROOT/test/unit/run.sh"

# installcheck DIR NAME [VAR=VALUE...]: against the server at $port
installcheck()
{
	local dir=$1 name=$2 rc=0
	shift 2
	PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres make -s -C "$dir" installcheck "$@" >"$base/regress.$name" 2>&1 || rc=$?
	cat "$base/regress.$name"
	[ "$rc" = 0 ] || cat "$base/regress/regression.diffs" "$dir/regression.diffs" 2>/dev/null || true
	return "$rc"
}

# The extension's tests, then those of the modules around its parts.
regress()
{
	local port m rc=0
	port=$(free_port)
	pg_init "$base" "$port" && pg_start "$base" || return 1
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
	pg_stop "$base"
	cat "$base"/regress.* | awk '/ \.\.\. +ok|^ok [0-9]/ {p++} / \.\.\. +FAILED|^not ok [0-9]/ {f++} END {printf "%d passed, %d failed\n", p, f}'
	return "$rc"
}
stage "installcheck" regress
stage "TAP tests" "$here/tap.sh"

echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
