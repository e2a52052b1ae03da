#!/usr/bin/env bash
# Everything: dependencies, build with -Werror, unit tests, installcheck and
# TAP tests. Leaves nothing running. Closes with "N passed, N failed".
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
here=$CDC_ROOT/test/env
"$here/deps.sh"
say "building and installing"
build_install

base=$(make_base)
trap 'rm -rf "$base"' EXIT
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
stage "installcheck" "$here/regress.sh"
stage "TAP tests" "$here/tap.sh"

echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
