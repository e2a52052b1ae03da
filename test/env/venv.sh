#!/usr/bin/env bash
# venv.sh DIR PACKAGE...: a Python environment in DIR; prints its python.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
dir=${1:?folder}
shift
make_venv() { python3 -m venv "$dir" >/dev/null 2>&1; }
if ! make_venv; then
	say "installing: python3-venv" >&2
	export DEBIAN_FRONTEND=noninteractive
	{
		$SUDO apt-get update -q
		$SUDO apt-get install -qy --no-install-recommends python3 python3-venv python3-pip
	} </dev/null >/dev/null
	make_venv || die "python3 -m venv fails"
fi
"$dir/bin/python" -m pip install -q --disable-pip-version-check "$@" </dev/null >&2
echo "$dir/bin/python"
