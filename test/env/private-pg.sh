#!/usr/bin/env bash
# private-pg.sh DIR: copies the PostgreSQL installation below DIR, so that two
# checkouts can install their builds side by side. Prints the pg_config to
# use: make up PG_CONFIG=DIR/.../bin/pg_config
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
dir=${1:?folder}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
bindir=$(pgbin)
for p in "$(dirname "$bindir")" "$("$PG_CONFIG" --sharedir)" "$("$PG_CONFIG" --includedir-server)"; do
	mkdir -p "$dir$p"
	cp -a "$p/." "$dir$p/"
done
echo "$dir$bindir/pg_config"
