#!/usr/bin/env bash
# Runs the tests of all modules with the race detector, on real servers:
#
#     ./scripts/test.sh [-long] [flags of go test]
#
# With -long the storms of docs/proof.md make over a million calls, which takes hours. The tests that are no storms are the same.
#
# On Debian and Ubuntu it first installs with apt what is missing, if it is root or sudo asks for no password. The tests
# start servers of their own, on free loopback ports with their data in a temporary directory, and stop them. Servers
# that you name in the environment are used instead: see integration/servers/doc.go. What they replace need not be
# installed, except for Redis, which tests also pause and restart.
#
# MySQL, which Debian 12 does not have, comes from fetch-servers.sh. Where that can't have it, MySQL is left out, but with
# CI=true the run fails. With NOGAP_NEWEST=1 only the module integration is tested, on the newest PostgreSQL, MariaDB and
# Valkey that fetch-servers.sh gets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" = -long ]; then
	shift
	export NOGAP_LONG=1
fi

say() { printf '%s\n' "$*" >&2; }

# has PROGRAM: is it in PATH, or where Debian keeps servers?
has() {
	command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

# can_compile: is there a C compiler with the headers of the C library? The race detector and one driver need it.
can_compile() {
	local cc
	cc=$(go env CC)
	command -v "${cc%% *}" >/dev/null && echo '#include <stdlib.h>' | $cc -E - >/dev/null 2>&1
}

# missing: print the packages to install, one a line.
missing() {
	can_compile || printf '%s\n' gcc libc6-dev
	[ -n "${NOGAP_POSTGRES_DSN:-}" ] || has postgres || echo postgresql
	[ -n "${NOGAP_PGBOUNCER_DSN:-}" ] || has pgbouncer || echo pgbouncer
	[ -n "${NOGAP_MARIADB_DSN:-}" ] && [ -n "${NOGAP_GALERA_DSNS:-}" ] || has mariadbd || echo mariadb-server
	[ -n "${NOGAP_GALERA_DSNS:-}" ] || [ -e /usr/lib/galera/libgalera_smm.so ] || echo galera-4
	[ -n "${NOGAP_GALERA_DSNS:-}" ] || has rsync || echo rsync
	has redis-server || echo redis-server
	[ -n "${NOGAP_NEWEST:-}" ] || has prometheus || echo prometheus
	# 100 MB for one test, which opens the report of examples/flashsale.
	[ -n "${NOGAP_NEWEST:-}" ] || has chromium || has chromium-headless-shell || has google-chrome || echo chromium-headless-shell
}

# fetch_servers: get the servers that are not installed with apt.
fetch_servers() {
	if [ -n "${NOGAP_NEWEST:-}" ]; then
		./scripts/fetch-servers.sh postgres mariadb valkey
	elif ! ./scripts/fetch-servers.sh mysql; then
		[ "${CI:-}" != true ] || exit 1
		say "Leaving out MySQL and its Group Replication"
	fi
}

# start_no_daemons: keep apt from starting the servers that it installs, unless the machine has a policy of its own.
policy=/usr/sbin/policy-rc.d
start_no_daemons() {
	[ ! -e $policy ] || return 0
	# The trap also undoes it when apt fails or is interrupted.
	trap '"${as_root[@]}" rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin $policy
}

install_missing() {
	local packages
	mapfile -t packages < <(missing)
	[ ${#packages[@]} -gt 0 ] || return 0
	as_root=(env)
	if ! command -v apt-get >/dev/null || { [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; }; then
		say "Missing: ${packages[*]}"
		say "Install them, on Debian and Ubuntu with: apt-get install ${packages[*]}"
		say "or name running servers in the environment: see integration/servers/doc.go"
		exit 1
	fi
	[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
	say "Installing ${packages[*]}"
	(
		start_no_daemons
		"${as_root[@]}" apt-get -qq update
		"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${packages[@]}" >&2
	)
}

# left_running: print the processes that the tests left behind. All that they start has $TMPDIR in its command line. The
# pattern comes from a pipe so that grep does not find itself.
left_running() {
	grep -lsF -f <(printf '%s' "$TMPDIR") /proc/[0-9]*/cmdline | cut -d/ -f3
}

# clean_up: wait for the watchdogs of the servers, which outlive an interrupted test for a moment.
clean_up() {
	local status=$? pids
	for _ in $(seq 100); do
		pids=$(left_running) || true
		[ -n "$pids" ] || break
		sleep 0.1
	done
	if [ -n "$pids" ]; then
		say "The tests left these processes running: ${pids//$'\n'/ }"
		status=1
	fi
	rm -rf "$TMPDIR"
	exit "$status"
}

# packages: print the packages of the module in the current directory that can be tested here, in the order of their tests.
packages() {
	local leave_out='^$'
	# The tests of the servers package start every server, whatever the environment names.
	if [ "$1" = integration ] && ! { has postgres && has pgbouncer && has mariadbd && [ -e /usr/lib/galera/libgalera_smm.so ]; }; then
		say "Leaving out integration/servers, which tests servers that are not installed here"
		leave_out='/integration/servers$'
	fi
	# What a newer server can't change: tools of the tests, the example, and racetest, whose questions all versions answer.
	if [ -n "${NOGAP_NEWEST:-}" ]; then
		leave_out="$leave_out|/integration/(expect|faultproxy|flashsale|leak|racetest)\$"
	fi
	# integration/txn waits for minutes and computes little. As the last one it would do so alone.
	go list ./... | grep -vE "$leave_out" | awk '/\/integration\/txn$/ { print; next } { rest = rest $0 "\n" } END { printf "%s", rest }'
}

install_missing
fetch_servers

TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/nogap-test.XXXXXX")
export TMPDIR
chmod 755 "$TMPDIR" # as root the servers run as other users
trap clean_up EXIT
trap 'exit 130' INT TERM # after the module under test, and not on to the next one

# The matrix is whole only with the driver of ncruces. A test checks that the flags have worked.
export NOGAP_WHOLE_MATRIX=1
. scripts/goflags.sh
limit=10m
[ -z "${NOGAP_LONG:-}" ] || limit=12h

export NOGAP_SERVERS_RAN=$TMPDIR/servers
export NOGAP_PROVEN=$TMPDIR/proven
touch "$NOGAP_SERVERS_RAN" "$NOGAP_PROVEN"

failed=()
modules=(. nogapotel integration examples benchmarks)
[ -z "${NOGAP_NEWEST:-}" ] || modules=(integration)
for module in "${modules[@]}"; do
	[ -f "$module/go.mod" ] || continue
	echo "== go test $module"
	mapfile -t list < <(cd "$module" && packages "$module")
	(cd "$module" && go test -timeout=$limit "$@" "${list[@]}") || failed+=("$module")
done
echo "== servers that ran"
sort -u "$NOGAP_SERVERS_RAN"
echo "== faults that were survived"
cat "$NOGAP_PROVEN"
if [ ${#failed[@]} -gt 0 ]; then
	say "FAILED: ${failed[*]}"
	exit 1
fi
