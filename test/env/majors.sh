#!/usr/bin/env bash
# majors.sh MAJOR [COMMAND...]: builds with -Werror, installs and runs the
# regression tests with that release of PostgreSQL, in a Debian of its own
# below $CDC_CACHE (made once by debootstrap: some minutes and 2 GB; remove the
# folder to renew it). COMMAND is run outside while a server runs inside, with
# CDC_DSN and CDC_FILE_ROOT set. Needs root. All mounts live in a mount
# namespace of this script and go away with it.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The half that runs in the chroot.
case ${1:-} in
	--regress)
		build_install
		exec "$CDC_ROOT/test/env/regress.sh"
		;;
	--start)
		pg_init "$2" "$3" "cdc_sink.file_root = '$4'"
		pg_start "$2"
		exit
		;;
	--stop)
		pg_stop "$2"
		exit
		;;
esac

major=${1:?major release}
case $major in
	13) suite=bullseye ;;
	15) suite=bookworm ;;
	17) suite=trixie ;;
	18) suite=forky ;;
	*) die "no Debian release known for PostgreSQL $major" ;;
esac
[ "$(id -u)" = 0 ] || die "needs root"
if [ -z "${CDC_OWN_MOUNTS:-}" ]; then
	CDC_OWN_MOUNTS=1 exec unshare -m --propagation private "${BASH_SOURCE[0]}" "$@"
fi
shift

root=$CDC_CACHE/debian-$suite
if [ ! -d "$root" ]; then
	command -v debootstrap >/dev/null || die "please install debootstrap"
	say "debootstrap $suite"
	rm -rf "$root.new"
	mkdir -p "$CDC_CACHE"
	script=()
	[ -e "/usr/share/debootstrap/scripts/$suite" ] || script=(sid)
	debootstrap --variant=minbase \
		--include="postgresql-$major,postgresql-server-dev-$major,gcc,make,bison,flex,pkg-config,librdkafka-dev,libcurl4-openssl-dev,libssl-dev,zlib1g-dev,libzstd-dev" \
		"$suite" "$root.new" "${CDC_DEBIAN_MIRROR:-http://deb.debian.org/debian}" ${script[@]+"${script[@]}"} \
		>"$root.log" 2>&1 || { tail -n 20 "$root.log" >&2; die "debootstrap failed"; }
	mv "$root.new" "$root"
fi

exec 9>"$root.lock"
flock -n 9 || die "another run uses $root"
rm -rf "$root/src"
mkdir -p "$root/src"
tar -C "$CDC_ROOT" --exclude=./.git --exclude=./tmp --exclude='*.o' --exclude='*.so' --exclude=.exports-checked -cf - . \
	| tar -C "$root/src" --no-same-owner -xf -
mount -t proc proc "$root/proc"
mkdir -p "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
inside()
{
	chroot "$root" /usr/bin/env -i PATH="/usr/lib/postgresql/$major/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
		HOME=/root CDC_PGOSUSER=postgres bash /src/test/env/majors.sh "$@" 9>&-
}

rc=0
inside --regress || rc=$?
if [ $# -gt 0 ]; then
	base=$(chroot "$root" mktemp -d /tmp/cdc_sink.XXXXXX)
	files=$(make_base)		# one path for both sides
	cleanup()
	{
		inside --stop "$base" || true
		umount "$root$files" || true
		rm -rf "${root:?}$base" "${root:?}$files" "$files"
	}
	trap cleanup EXIT
	trap 'exit 130' INT TERM
	chmod 777 "$files"
	mkdir -p "$root$files"
	mount --bind "$files" "$root$files"
	chroot "$root" chown postgres "$base"
	port=$(free_port)
	inside --start "$base" "$port" "$files"
	CDC_DSN="host=127.0.0.1 port=$port user=postgres dbname=postgres" CDC_FILE_ROOT=$files "$@" 9>&- || rc=$?
fi
exit "$rc"
