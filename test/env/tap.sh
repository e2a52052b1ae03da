#!/usr/bin/env bash
# tap.sh [TEST.pl ...]: TAP tests by prove, as the owner of the servers, with
# the modules that PostgreSQL's server-dev package brings. The extension must
# be installed. Logs stay in tmp/tap of the checkout when a test fails.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

pgtest=$(dirname "$("$PG_CONFIG" --pgxs)")/../test
[ -d "$pgtest/perl" ] || die "no PostgreSQL test modules in $pgtest/perl"
base=$(make_base)

# Whatever a killed test left behind has its pid below $base.
cleanup()
{
	trap '' INT TERM
	local f pid
	while read -r f; do
		pid=$(sed -n 1p "$f" 2>/dev/null || true)
		[[ $pid =~ ^[0-9]+$ ]] || continue
		if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$base"; then
			kill -9 "$pid" 2>/dev/null || true
			wait_gone "$pid" 5 || true
		fi
	done < <(find "$base" -name postmaster.pid -o -path '*kafka*/pid' -o -path '*/s3*/pid' -o -path '*/store-*/pid' 2>/dev/null)
	rm -rf "$base"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# The checkout may be closed to the servers' owner: tests run from a copy.
cp -r "$CDC_ROOT/test" "$base/test"
[ "$(id -u)" != 0 ] || chown -R "$CDC_PGOSUSER" "$base"
tests=()
for t in "${@:-$CDC_ROOT/test/t/*.pl}"; do
	# shellcheck disable=SC2206
	tests+=($t)
done
tests=("${tests[@]##*/}")

# TMPDIR: the modules put their sockets there. LANG: the encoding of their
# clusters, since they take LC_ALL away.
run()
{
	as_user env LANG=C.UTF-8 TMPDIR="$base" TESTDIR="$base" TESTDATADIR="$base/tmp_check" TESTLOGDIR="$base/log" \
		PG_REGRESS="$pgtest/regress/pg_regress" PATH="$(pgbin):$PATH" \
		CDC_CACHE="$CDC_CACHE" CDC_TEST_ENV="$base/test/env" PG_CONFIG="$PG_CONFIG" \
		PERL5LIB="$pgtest/perl:$base/test/t" \
		bash -c 'cd "$0" && exec prove --timer "$@"' "$base/test/t" "${tests[@]}" </dev/null
}
rc=0
run 2>&1 | tee "$base/prove.log" || rc=$?
total=$(sed -nE 's/^Files=[0-9]+, Tests=([0-9]+),.*/\1/p' "$base/prove.log" | tail -n 1)
bad=$(grep -cE "^#   Failed test" "$base/prove.log" || true)
[ "$rc" = 0 ] || [ "$bad" != 0 ] || bad=1
if [ "$rc" != 0 ]; then
	rm -rf "$CDC_ROOT/tmp/tap"
	mkdir -p "$CDC_ROOT/tmp/tap"
	cp -r "$base"/tmp_check/log "$base"/log "$base/prove.log" "$CDC_ROOT/tmp/tap/" 2>/dev/null || true
	say "logs in tmp/tap"
	for f in "$CDC_ROOT"/tmp/tap/log/*.log; do
		[ ! -f "$f" ] || { echo "==> ${f##*/}"; tail -n 25 "$f"; }
	done
	# Last, where a reader of a long log looks first.
	sed -n '/^Test Summary Report/,$p' "$base/prove.log"
	grep -A 8 -E "^#   Failed test" "$base/prove.log" | head -n 60 || true
fi
passed=$((${total:-0} - bad))
[ "$passed" -ge 0 ] || passed=0
echo "$passed passed, $bad failed"
exit "$rc"
