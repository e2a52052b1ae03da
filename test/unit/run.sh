#!/usr/bin/env bash
# Builds and runs every test/unit/test_*.c, without a server. In a test file
#   /* sources: src/base/hlc.c src/base/buf.c */   files to compile with it
#   /* libs: -lz */                                what to link
# A test passes when its program exits 0.
. "$(dirname "${BASH_SOURCE[0]}")/../env/lib.sh"
cd "$CDC_ROOT"
out=${UNIT_OUT:-$CDC_ROOT/tmp/unit}
mkdir -p "$out"
read -ra cflags <<<"${UNIT_CFLAGS:--g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer}"
cflags+=(-std=gnu99 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
	-Wno-unused-function -pthread -Isrc -Itest/unit -isystem "$("$PG_CONFIG" --includedir-server 2>/dev/null || echo .)")
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0}
tag() { sed -nE "s,.*/\* *$1: *(.*[^ ]) *\*/.*,\1,p" "$2"; }

passed=0 failed=0
for t in test/unit/test_*.c; do
	[ -f "$t" ] || continue
	name=$(basename "$t" .c)
	read -ra sources <<<"$(tag sources "$t" | tr '\n' ' ')"
	read -ra libs <<<"$(tag libs "$t" | tr '\n' ' ')"
	if "${CC:-gcc}" "${cflags[@]}" -o "$out/$name" "$t" "${sources[@]}" "${libs[@]}" -lm && timeout 300 "$out/$name" </dev/null; then
		echo "ok      $name"
		passed=$((passed + 1))
	else
		echo "FAILED  $name"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
