# dpdk-testpmd: the packet ceilings at the port and core that a node has, and a relay; sourced, never run.
# shellcheck shell=bash
#
# For the ceilings a second testpmd, on the generator's core, makes 64-byte frames in `flowgen` mode. `csum`
# parses each packet and computes its checksums in software, as a stack must; `macswap` touches 12 bytes.

# memif_port INDEX server|client SOCKET: a device with the same rings as the memif profile's.
memif_port() {
    printf 'net_memif%s,role=%s,socket=%s,socket-abstract=no,id=0,bsize=2048,rsize=10' "$1" "$2" "$3"
}

# testpmd NAME CORE DEVICES ARGUMENT…: takes its commands from $WORK/NAME.in, writes to $WORK/NAME.log. Its
# main thread does nothing but read commands; both threads share the core.
testpmd() {
    local name=testpmd-$1 core=$2 device devices=()
    for device in $3; do devices+=(--vdev "$device"); done
    shift 3
    rm -f "$WORK/$name.in"
    mkfifo "$WORK/$name.in"
    # shellcheck disable=SC2016
    spawn "$name" sh -c 'exec <>"$1"; shift; exec stdbuf -oL dpdk-testpmd "$@"' - "$WORK/$name.in" \
        --lcores "0@$core,1@$core" --no-huge -m 256 --no-pci --file-prefix "hf-bench-$name" "${devices[@]}" \
        -- --interactive --auto-start --nb-cores=1 --total-num-mbufs=16384 "$@"
}

tell_testpmd() { echo "$2" >"$WORK/testpmd-$1.in"; }

# It reads no signal while it waits for a command.
end_testpmd() {
    ! runs "testpmd-$1" || tell_testpmd "$1" quit
    finish "testpmd-$1"
}

# The rate of the frames that came back to the generator since it was last asked.
rate_seen() {
    local seen
    seen=$(grep -c 'Rx-pps' "$WORK/testpmd-generator.log" || true)
    tell_testpmd generator 'show port stats 0'
    until_true 5 "testpmd's statistics" more_rates_than "$seen"
    awk '/Rx-pps/ { rate = $2 } END { print rate }' "$WORK/testpmd-generator.log"
}
more_rates_than() { [ "$(grep -c 'Rx-pps' "$WORK/testpmd-generator.log")" -gt "$1" ]; }

# packet_rate MODE: frames per second that come back from a testpmd in that mode, on standard output.
packet_rate() {
    local mode=$1 rate socket=$WORK/testpmd.sock
    rm -f "$socket"
    testpmd ceiling "$SERVER_CORE" "$(memif_port 0 server "$socket")" --port-topology=loop --forward-mode="$mode"
    until_true 10 "testpmd to make its socket" test -S "$socket"
    testpmd generator "$CLIENT_CORE" "$(memif_port 0 client "$socket")" --port-topology=loop \
        --forward-mode=flowgen --txpkts=64 --flowgen-flows=64
    until_true 10 "testpmd to start" grep -q '^testpmd>' "$WORK/testpmd-generator.log"
    sleep 0.5
    rate_seen >/dev/null
    sleep "$SECONDS_EACH"
    rate=$(rate_seen)
    must_run testpmd-ceiling
    end_testpmd generator
    end_testpmd ceiling
    [ "${rate:-0}" -gt 0 ] || die "testpmd in $mode mode forwarded nothing (see $WORK/testpmd-*.log)"
    echo "$rate"
}
