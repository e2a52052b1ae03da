#!/usr/bin/env bash
# consume.sh BROKER PREFIX NAME: all messages of the topics PREFIX NAME.*, as
# kcat -J has them, without the prefix.
set -euo pipefail
kcat -b "$1" -L -J | jq -r '.topics[].topic' | sort | while read -r topic; do
	[[ $topic == "$2$3".* ]] || continue
	kcat -b "$1" -C -t "$topic" -o beginning -e -q -J -X fetch.wait.max.ms=10 </dev/null | sed "s/\"topic\":\"$2/\"topic\":\"/"
done
