#!/usr/bin/env bash
# Fetches servers that this system does not have, from Debian's newest suite, for integration/servers to start:
#
#     ./scripts/fetch-servers.sh mysql|postgres|mariadb|valkey...
#
# They come from the Debian mirror that this machine's apt has. apt gets directories and a package database of its own,
# and the packages are only unpacked, so nothing of the system changes, and no root is needed. The servers run with the C
# library that they were built for. They stay in a cache: $NOGAP_SERVERS, or for root /var/cache/nogap/servers-1, which the
# accounts of the servers can read, or else ${XDG_CACHE_HOME:-$HOME/.cache}/nogap/servers-1. What is there is not fetched
# again. Remove the directory to get newer ones.
#
# If a server can't be had, the script says why and fails. It leaves nothing half done.
set -euo pipefail

fail() {
	printf '%s\n' "$*" >&2
	exit 1
}

if [ -n "${NOGAP_SERVERS:-}" ]; then
	cache=$NOGAP_SERVERS
elif [ "$(id -u)" -eq 0 ]; then
	cache=/var/cache/nogap/servers-1
else
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/nogap/servers-1
fi

# packages SERVER: print the packages that have it, one a line.
packages() {
	case $1 in
	mysql) echo mysql-server-core ;;
	postgres) echo postgresql ;;
	mariadb) printf '%s\n' mariadb-server-core galera-4 ;;
	valkey) echo valkey-server ;;
	*) fail "There is no server $1 to fetch" ;;
	esac
}

# find_mirror: print the address from which this system gets its own packages.
find_mirror() {
	local ID='' VERSION_CODENAME=''
	# shellcheck source=/dev/null
	. /etc/os-release 2>/dev/null || true
	if [ "$ID" != debian ] || ! command -v apt-get >/dev/null; then
		echo "this system is not Debian" >&2
		return 1
	fi
	apt-get indextargets --no-release-info --format "\$(REPO_URI) \$(RELEASE) \$(COMPONENT)" 'Created-By: Packages' |
		awk -v own="$VERSION_CODENAME" '$3 == "main" && $2 ~ "^(" own "|(old|)stable|testing|unstable|sid)$" { print $1; found = 1; exit }
			END { exit !found }' || {
		echo "apt has no Debian mirror among its sources" >&2
		return 1
	}
}

# What only the scripts of the packages need, which are not run, is said to be installed.
needless=(adduser debconf gawk init-system-helpers libdbi-perl libpam-runtime locales lsof openssl passwd perl perl-base
	postgresql-client-common postgresql-common procps psmisc rsync socat ssl-cert systemd systemd-standalone-sysusers sysvinit-utils
	ucf)

# configure_apt DIR MIRROR: make an apt of our own in DIR.
configure_apt() {
	local dir=$1 name
	mkdir -p "$dir"/etc/{apt.conf.d,preferences.d,sources.list.d,trusted.gpg.d} "$dir"/{state/lists,cache/archives}/partial
	for name in "${needless[@]}"; do
		printf '%s\n' "Package: $name" 'Status: install ok installed' 'Multi-Arch: allowed' "Architecture: $(dpkg --print-architecture)" \
			'Version: 1:9999' 'Maintainer: none' 'Description: none' "Provides: debconf-2.0, $name-any" ''
	done >"$dir/status"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $2 sid main" >"$dir/etc/sources.list"
	{
		apt-config dump --no-empty | grep -E '^Acquire::https?::' || true # the proxies of this machine
		cat <<-CONF
			Dir::Etc "$dir/etc";
			Dir::State "$dir/state";
			Dir::State::status "$dir/status";
			Dir::Cache "$dir/cache";
			APT::Install-Recommends "false";
			APT::Sandbox::User "";
			Acquire::Languages "none";
			Acquire::Check-Valid-Until "false"; // the mirror may be a snapshot
			Acquire::Retries "3";
			Debug::NoLocking "true";
		CONF
	} >"$dir/apt.conf"
}

# unpack ARCHIVES ROOT: unpack packages without what no server reads.
unpack() {
	local deb
	for deb in "$1"/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$2" --no-same-owner --exclude ./usr/share/doc --exclude ./usr/share/man \
			--exclude ./usr/share/locale --exclude ./usr/lib/debug --exclude ./usr/lib/systemd
	done
}

# wrap ROOT: put a script in the place of each server program that starts it with the libraries of its suite.
wrap() {
	local root=$1 loader lib program
	loader=$(find "$root"/usr/lib/*-linux-gnu* -maxdepth 1 -name 'ld-linux-*' -print -quit)
	[ -n "$loader" ] || fail "The packages have no C library"
	lib=$(basename "$(dirname "$loader")")
	for program in "$root"/usr/{sbin/mysqld,sbin/mariadbd,bin/valkey-server,lib/postgresql/*/bin/postgres,lib/postgresql/*/bin/initdb}; do
		[ -f "$program" ] || continue
		ln -L "$program" "$program.bin" # it may be a symbolic link to a program that looks at its name
		rm "$program"
		# The paths are found from that of the script, since the directory gets its name when it is complete.
		cat >"$program" <<-WRAPPER
			#!/bin/sh
			root=\${0%/usr/*}
			lib=\$root/usr/lib/$lib
			exec "\$lib/$(basename "$loader")" --library-path "\$lib:\$lib/private" --argv0 "\$0" "\$0.bin" "\$@"
		WRAPPER
		chmod 755 "$program"
	done
}

# initialise SERVER ROOT: make the data directory that each server which is started gets a copy of.
initialise() {
	local server=$1 root=$2 as=()
	[ "$server" = mysql ] || [ "$server" = mariadb ] || return 0
	mkdir "$root/data"
	if [ "$(id -u)" -eq 0 ]; then # which the servers refuse to run as
		chown nobody "$root/data"
		as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
	fi
	"initialise_$server" "$root" "${as[@]}" >"$root.log" 2>&1 || fail "$(tail -n 20 "$root.log")"
	[ "$(id -u)" -ne 0 ] || chown -R root: "$root/data"
	chmod -R a+rX "$root/data"
}

account="CREATE USER nogap@'%'; GRANT ALL PRIVILEGES ON *.* TO nogap@'%' WITH GRANT OPTION;"

initialise_mysql() {
	local root=$1
	shift
	echo "$account" >"$root.sql"
	"$@" "$root/usr/sbin/mysqld" --no-defaults --initialize-insecure --datadir="$root/data" --secure-file-priv=NULL \
		--lc-messages-dir="$root/usr/share/mysql" --character-sets-dir="$root/usr/share/mysql/charsets" \
		--plugin-dir="$root/usr/lib/mysql/plugin" --innodb-use-native-aio=0 --innodb-redo-log-capacity=8M \
		--init-file="$root.sql" &&
		rm "$root/data/auto.cnf" # the identity of the server, which its copies must not share
}

initialise_mariadb() {
	local root=$1 share=$1/usr/share/mariadb
	shift
	"$@" mkdir "$root/data/mysql" "$root/data/sys"
	{
		printf 'CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n'
		cat "$share"/mariadb_{system_tables,performance_tables,system_tables_data}.sql
		printf 'FLUSH PRIVILEGES;\n%s\n' "${account//; /;$'\n'}"
	} | "$@" "$root/usr/sbin/mariadbd" --no-defaults --bootstrap --datadir="$root/data" --lc-messages-dir="$share" \
		--character-sets-dir="$share/charsets" --plugin-dir="$root/usr/lib/mysql/plugin" --innodb-use-native-aio=0
}

# fetch SERVER: put it in the cache.
fetch() {
	local server=$1 archives=$work/archives-$1 root=$work/$1 names
	mapfile -t names < <(packages "$server")
	printf 'Fetching %s from %s\n' "$server" "$mirror" >&2
	mkdir -p "$archives/partial" "$root"
	apt-get -qq -y -d -o Dir::Cache::archives="$archives" install "${names[@]}" >"$work/log" 2>&1 ||
		fail "$(cat "$work/log")"
	unpack "$archives" "$root"
	wrap "$root"
	initialise "$server" "$root"
	mv -T "$root" "$cache/$server"
	rm -rf "$archives"
}

umask 022 # for the accounts of the servers
[ $# -gt 0 ] || fail "Say which servers to fetch"
for server in "$@"; do
	packages "$server" >/dev/null
done
missing() {
	local server
	for server in "$@"; do
		[ -d "$cache/$server" ] || echo "$server"
	done
}
[ -n "$(missing "$@")" ] || exit 0

mirror=$(find_mirror) || exit 1
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9 # another run may be fetching the same
mapfile -t servers < <(missing "$@")
[ ${#servers[@]} -gt 0 ] || exit 0
work=$cache/unfinished
rm -rf "$work" # of a run that was killed
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
configure_apt "$work/apt" "$mirror"
export APT_CONFIG=$work/apt/apt.conf DEBIAN_FRONTEND=noninteractive
apt-get -qq -o APT::Update::Error-Mode=any update >"$work/log" 2>&1 || fail "$(cat "$work/log")"
for server in "${servers[@]}"; do
	fetch "$server"
done
