# Shared by the scripts of this folder; sourced, never run.
# shellcheck shell=bash

set -euo pipefail

REPO=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$REPO/target}
BIN=$TARGET/release
HOLDFAST=$BIN/holdfast
PROBE=$BIN/holdfast-probe

# Debian's etcd, if the machine has none: see scripts/setup.
FETCHED_ETCD=/usr/local/lib/holdfast/etcd
ETCD=${ETCD:-$(command -v etcd || echo "$FETCHED_ETCD")}

# One place for what the lab leaves on disk; LAB_DIR=… moves it.
LAB_DIR=${LAB_DIR:-/var/tmp/holdfast-lab}

# Worlds that scripts/test simulates, behind those of sim/regressions.txt: less than three minutes on two slow cores. A planted
# bug must be found in one of either.
SIM_WORLDS=${SIM_WORLDS:-400}

say() { printf '%s\n' "$*" >&2; }
die() {
    say "$(basename "$0"): $*"
    exit 1
}

need_root() {
    [ "$EUID" -eq 0 ] || die "needs root (namespaces, raw sockets): run it with sudo"
}

# install_missing PACKAGE…: those of Debian's packages that the machine lacks.
install_missing() {
    local package missing=()
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    need_root
    say "installing: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# until_true SECONDS WHAT COMMAND…: polls COMMAND until it succeeds; dies naming WHAT at the deadline.
until_true() {
    local seconds=$1 what=$2 deadline
    shift 2
    deadline=$(($(date +%s%N) + seconds * 1000000000))
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s%N)" -lt "$deadline" ] || die "gave up after ${seconds} s waiting for $what"
        sleep 0.02
    done
}

# signal_process NODE SIGNAL: without the checks of `lab freeze`, which take longer than a short pause.
signal_process() {
    local pid
    read -r pid _ <"$LAB_DIR/$1.pid"
    kill "-$2" "$pid"
}
# hold_back NODE SECONDS: it stands still for two thirds of that time, a few ms at a time.
hold_back() {
    local end=$(($(date +%s%N) + $2 * 1000000000))
    while [ "$(date +%s%N)" -lt "$end" ]; do
        signal_process "$1" STOP
        sleep 0.008
        signal_process "$1" CONT
        sleep 0.004
    done
}

# write_idle own|share|doze FILE: keys of a profile, for one with a core of its own, for one who shares it,
# and for one who shares it and waits for a single packet.
write_idle() {
    local sleep='[idle]\nstrategy = "sleep"\nyield_polls = 0\n'
    case $1 in
    own) printf '[idle]\nstrategy = "spin"\n' ;;
    share) printf '%bspin_polls = 16\nsleep_us = 30\n' "$sleep" ;;
    doze) printf '%bspin_polls = 0\nsleep_us = 5\n' "$sleep" ;;
    esac >"$2"
}

# Microseconds as a readable duration.
readable_us() {
    awk -v us="$1" 'BEGIN { if (us < 1000) printf "%d us", us; else if (us < 1e6) printf "%.1f ms", us / 1e3;
        else printf "%.2f s", us / 1e6 }'
}
