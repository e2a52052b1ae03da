#!/usr/bin/env bash
# Rules of the source tree that a script can check.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$CDC_ROOT"
failed=0 passed=0
# rule TEXT OUTPUT: broken when there is output
rule()
{
	if [ -n "$2" ]; then
		echo "not ok: $1"
		sed 's/^/    /' <<<"$2"
		failed=$((failed + 1))
	else
		passed=$((passed + 1))
	fi
}
hits() { grep -rnE --include='*.[chyl]' "$@" src 2>/dev/null | grep -vE '^src/parser/(gram|scan)\.[ch]:' || true; }

rule "PG_VERSION_NUM only in base/compat.*" "$(hits 'PG_VERSION_NUM' | grep -v '^src/base/compat\.' || true)"
rule "librdkafka only in sink/kafka*" "$(hits 'include *[<"]librdkafka' | grep -v '^src/sink/kafka' || true)"
rule "curl only in sink/http*" "$(hits 'include *[<"]curl' | grep -v '^src/sink/http' || true)"
# core HEADERS-REGEX: includes of PostgreSQL's headers, not of ours of that name
core()
{
	local line
	while IFS= read -r line; do
		[ -f "src/$(sed -E 's/.*"([^"]*)".*/\1/' <<<"$line")" ] || echo "$line"
	done < <(hits "#include \"($1)")
}
rule "replication/ headers only in wal/, where its changes are worked on and where the plugin is wired" \
	"$(core 'replication/' | grep -vE '^src/(wal/|table/|feed/|worker/stream\.c|base/compat|cdc_sink\.c)' || true)"
rule "executor/spi.h only in catalog/ and scan/" "$(core 'executor/spi\.h' | grep -vE '^src/(catalog|scan)/' || true)"
rule "sink/ and encode/ do not know core's access, catalog, executor (but encode/datum, encode/expr, encode/connect, encode/debezium_*; encode.h a row type and positions)" \
	"$(core '(access|catalog|executor)/' | grep -E '^src/(sink|encode)/' \
		| grep -vE '^src/encode/(datum|expr|connect|debezium_(type|value|default))\.|^src/encode/(encode|connect)\.h:.*"access/(tupdesc|xlogdefs)\.h"' || true)"

# No include upwards: base 0; catalog encode sink parser 1; table wal 2; feed scan 3; worker 4; api 5.
# Batches are what sinks are handed: of feed/, on the sinks' floor.
floor()
{
	case $1 in
		base/*) echo 0 ;;
		catalog/*|encode/*|sink/*|parser/*|feed/batch.*) echo 1 ;;
		table/*|wal/*) echo 2 ;;
		feed/*|scan/*) echo 3 ;;
		worker/*) echo 4 ;;
		*) echo 5 ;;
	esac
}
upward=
while IFS=: read -r file line text; do
	to=$(sed -E 's/.*"([^"]*)".*/\1/' <<<"$text")
	[ -f "src/$to" ] || continue
	[ "$(floor "$to")" -le "$(floor "${file#src/}")" ] || upward+="$file:$line: $to"$'\n'
done < <(hits '^#include "[a-z_]+/')
rule "no include upwards" "${upward%$'\n'}"

rule "the README's table of options is that of the code (make readme)" "$(test/env/readme-options.sh --check)"
rule "no file above 900 lines" "$(find src -name '*.[chyl]' ! -path 'src/parser/gram.[ch]' ! -path 'src/parser/scan.c' -exec wc -l {} + 2>/dev/null \
	| awk '$2 != "total" && $1 > 900' || true)"
rule "no trailing blanks" "$(grep -rnE '[[:blank:]]+$' --include='*.[chylsSm]' --include='*.sh' --include='*.p[lm]' --include=Makefile src test Makefile 2>/dev/null \
	| grep -vE '^src/parser/(gram|scan)\.[ch]:' || true)"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
