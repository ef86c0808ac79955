# The machine that is measured on, and what it needs; sourced, never run.
# shellcheck shell=bash

# program:package, of what only benchmarks need
YARDSTICKS=(dpdk-testpmd:dpdk-dev nginx:nginx-light haproxy:haproxy)

install_yardsticks() {
    local entry missing=()
    for entry in "${YARDSTICKS[@]}"; do
        command -v "${entry%:*}" >/dev/null || missing+=("${entry#*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing: ${missing[*]}"
    # A service of its own is not wanted: the benchmark starts each where and when it needs it.
    local policy=/usr/sbin/policy-rc.d ours=
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        ours=yes
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || true
    [ -z "$ours" ] || rm -f "$policy"
    for entry in "${YARDSTICKS[@]}"; do
        command -v "${entry%:*}" >/dev/null || die "no ${entry%:*}: 'apt-get install ${entry#*:}' did not bring it"
    done
}

cpu_field() { awk -F'\t*: ' -v name="$1" '$1 == name { print $2; exit }' /proc/cpuinfo; }

# A description of this machine as JSON. Results are compared only where the fingerprints are equal; they
# are made like those in the results of holdfast-perf.
describe_machine() {
    local cpu memory_mib cores
    cpu="$(cpu_field 'model name') ($(cpu_field 'cpu family')-$(cpu_field model)-$(cpu_field stepping))"
    cores=$(nproc)
    memory_mib=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
    jq -n --arg cpu "$cpu" --argjson cores "$cores" --argjson memory_mib "$memory_mib" --arg kernel "$(uname -r)" \
        --argjson clock_ghz "$(awk -F': ' '/^bogomips/ { print $2 / 2000; exit }' /proc/cpuinfo)" \
        --arg dpdk "$(pkg-config --modversion libdpdk 2>/dev/null || echo unknown)" \
        --arg nginx "$(nginx -v 2>&1 | sed 's|.*/||')" --arg haproxy "$(haproxy -v | awk '{ print $3; exit }')" \
        --arg congestion "$(cat /proc/sys/net/ipv4/tcp_available_congestion_control)" '
        {cpu: $cpu, cores: $cores, memory_mib: $memory_mib, kernel: $kernel, clock_ghz: $clock_ghz,
         software: {dpdk: $dpdk, nginx: $nginx, haproxy: $haproxy},
         kernel_congestion_control: (if $congestion | test("cubic") then "cubic" else "default" end)}
        | .fingerprint = "\(.cpu), \(.cores) cores, \((.memory_mib + 512) / 1024 | floor) GiB, Linux \(.kernel)"'
}

# must_be_comparable FILE: dies unless FILE is of this machine.
must_be_comparable() {
    local theirs ours
    theirs=$(jq -er '.machine.fingerprint' "$1" 2>/dev/null) || die "$1 is no file of 'bench --json'"
    ours=$(jq -r .fingerprint "$WORK/machine.json")
    [ "$theirs" = "$ours" ] || die "not comparable: $1 is of another machine
  theirs: $theirs
  ours:   $ours"
}

# Others at work on the same cores make every number worse than it is.
warn_if_busy() {
    local load
    read -r load _ </proc/loadavg
    awk -v load="$load" 'BEGIN { exit !(load > 0.5) }' || return 0
    say "bench: the machine was not idle before the start (load $load): expect worse numbers and wide spreads"
}
