# What is measured: a line for each measurement, and the function that does it; sourced, never run.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153 # the other parts use what is set here
#
# A measurement runs on a stage (who serves, over what), and prints a line of JSON for each value it found:
# {"value": 1, "unit": "…"}, with a "name" if it is not the measurement's own. stage_NAME sets a stage up.

# name | stage | goals that it serves (0: shown only) | what it is
MEASUREMENTS='
csum_packets       | none        | 1     | testpmd, csum, 64 B over memif
macswap_packets    | none        | 1     | testpmd, macswap, 64 B over memif
memif_rpc          | memif       | 1 2 3 | Holdfast alone, 64 B RPC over memif, 64 connections
memif_low_load     | memif       | 2     | Holdfast alone, one 64 B RPC at a time over memif: median latency
memif_crr          | memif       | 4     | Holdfast alone, connect-request-response-close over memif
memif_down         | memif       | 2 5   | Holdfast alone, 1 stream down over memif, MTU 1500
memif_up           | memif       | 2 5   | Holdfast alone, 1 stream up over memif, MTU 1500
memif_rpc6         | memif       | 0     | Holdfast alone, 64 B RPC over memif and IPv6, 64 connections
memif_down6        | memif       | 0     | Holdfast alone, 1 stream down over memif and IPv6, MTU 1500
memif_up6          | memif       | 0     | Holdfast alone, 1 stream up over memif and IPv6, MTU 1500
memif_jumbo_down   | memif_jumbo | 5     | Holdfast alone, 1 stream down over memif, MTU 9000
memif_jumbo_up     | memif_jumbo | 5     | Holdfast alone, 1 stream up over memif, MTU 9000
cost_100           | memif_many  | 7     | Holdfast alone, core time of an RPC, 100 connections active
cost_100000        | memif_many  | 7     | Holdfast alone, core time of an RPC, 100,000 connections active
pair_rpc           | memif_pair  | 2     | Holdfast pair, 64 B RPC over memif, 64 connections
pair_low_load      | memif_pair  | 2     | Holdfast pair, one 64 B RPC at a time over memif: median latency
pair_down          | memif_pair  | 2     | Holdfast pair, 1 stream down over memif, MTU 1500
pair_up            | memif_pair  | 2 11  | Holdfast pair, 1 stream up over memif, MTU 1500
plain_rpc          | memif_plain | 0     | Holdfast pair, 64 B RPC over memif, log not encrypted
plain_up           | memif_plain | 11    | Holdfast pair, 1 stream up over memif, log not encrypted
pair_rpc6          | memif_pair6 | 0     | Holdfast pair, 64 B RPC over memif, LAN and link over IPv6
pair_up6           | memif_pair6 | 0     | Holdfast pair, 1 stream up over memif, LAN and link over IPv6
echo_rpc           | kernel      | 3     | echo-server, 64 B RPC over veth, 64 connections
echo_rpc6          | kernel      | 0     | echo-server, 64 B RPC over veth and IPv6, 64 connections
nginx_http         | kernel      | 3     | nginx, HTTP requests over veth, 64 connections
haproxy_rpc        | kernel      | 0     | HAProxy in TCP mode, 64 B RPC over veth, 64 connections
echo_ping          | kernel      | 3     | echo-server, 64 B ping-pong over veth: median latency
echo_crr           | kernel      | 0     | echo-server, connect-request-response-close over veth
haproxy_crr        | kernel      | 0     | HAProxy in TCP mode, connect-request-response-close over veth
echo_down          | kernel      | 0     | echo-server, 1 stream down over veth
echo_up            | kernel      | 0     | echo-server, 1 stream up over veth
veth_rpc           | veth        | 3 9   | Holdfast alone, 64 B RPC over af_packet, 64 connections
veth_rpc6          | veth        | 0     | Holdfast alone, 64 B RPC over af_packet and IPv6, 64 connections
veth_http          | veth        | 3     | Holdfast alone, HTTP requests over af_packet, 64 connections
veth_ping          | veth        | 3     | Holdfast alone, 64 B ping-pong over af_packet: median latency
veth_crr           | veth        | 0     | Holdfast alone, connect-request-response-close over af_packet
veth_down          | veth        | 0     | Holdfast alone, 1 stream down over af_packet
veth_up            | veth        | 0     | Holdfast alone, 1 stream up over af_packet
veth_two_rpc       | veth_two    | 9     | Holdfast alone, two workers, 64 B RPC over af_packet, 64 connections
veth_pair_rpc      | veth_pair   | 0     | Holdfast pair, 64 B RPC over af_packet, 64 connections
veth_pair_crr      | veth_pair   | 0     | Holdfast pair, connect-request-response-close over af_packet
veth_pair_down     | veth_pair   | 0     | Holdfast pair, 1 stream down over af_packet
veth_pair_up       | veth_pair   | 0     | Holdfast pair, 1 stream up over af_packet
tap_rpc            | tap         | 3     | Holdfast alone, 64 B RPC over tap, 64 connections
tap_crr            | tap         | 0     | Holdfast alone, connect-request-response-close over tap
tap_down           | tap         | 0     | Holdfast alone, 1 stream down over tap
tap_up             | tap         | 0     | Holdfast alone, 1 stream up over tap
many_idle          | veth_many   | 6     | Holdfast pair, many idle connections, 1,000 hot ones, a takeover
memif_takeover     | memif_kicks | 8     | Holdfast pair, takeover of 100,000 connections over memif
rejoin_100000      | memif_back  | 10    | Holdfast pair, a node comes back to 100,000 connections over memif
rejoin_many        | memif_backs | 10    | Holdfast pair, a node comes back to many connections over memif
switchover_10000   | veth_10000  | 10    | Holdfast pair, the service goes to node b and back, 10,000 connections over af_packet
takeover           | veth_100000 | 8     | Holdfast pair, takeover of 100,000 connections over af_packet
'

ECHO=7 DISCARD=9 STREAM=19 HTTP=80

# --- stages -------------------------------------------------------------------------------------

stage_none() { :; }
stage_memif() { serve_over_memif 1500 20000; }
stage_memif_jumbo() { serve_over_memif 9000 20000; }
stage_memif_many() { serve_over_memif 1500 110000; }
stage_memif_pair() { serve_pair_over_memif 1500 20000; }
stage_memif_plain() { LINK_ENCRYPTION=none serve_pair_over_memif 1500 20000; }
stage_memif_pair6() { LINK_IPV6=yes serve_pair_over_memif 1500 20000; }
stage_memif_kicks() { serve_pair_over_memif 1500 110000 && drain_node_b; }
stage_memif_back() { SHARDS=16 serve_pair_over_memif 1500 110000; }
stage_memif_backs() { SHARDS=64 serve_pair_over_memif 1500 $((MANY + 50000)); }
stage_kernel() { serve_from_kernel; }
stage_veth() { serve_in_lab af_packet a 20000 "$CALM_MS"; }
stage_veth_two() { serve_in_lab af_packet a 20000 "$CALM_MS" 0,1; }
stage_veth_pair() { serve_in_lab af_packet 'a b' 20000 "$CALM_MS"; }
stage_tap() { serve_in_lab tap a 20000 "$CALM_MS"; }
stage_veth_many() { serve_in_lab af_packet 'a b' $((MANY + 2000)) 50 && plug_in_generator; }
stage_veth_10000() { serve_in_lab af_packet 'a b' 12000 "$CALM_MS" && plug_in_generator; }
stage_veth_100000() { serve_in_lab af_packet 'a b' 102000 50 && plug_in_generator; }

# --- how a load is run --------------------------------------------------------------------------

# via memif|kernel|plug: how holdfast-perf reaches who serves. BEFORE goes before it, BACKEND after it.
via() {
    BEFORE=() BACKEND=(--kernel)
    [ "$1" = memif ] || BEFORE=(ip netns exec hf-client)
    case $1 in
    memif) BACKEND=(--device "$(memif_device client lan-a)" --profile memif) ;;
    plug) BACKEND=(--device gen0 --profile af_packet) ;;
    esac
    [ "$1" = kernel ] || BACKEND+=(--address "$GENERATOR_ADDRESS" --sources "$GENERATOR_SOURCES"
        --profile-file "$WORK/generator.profile.toml" --file-prefix hf-bench-generator)
    BACKEND+=(--core "$CLIENT_CORE")
}

# perf COMMAND TARGET ARGUMENT…: runs holdfast-perf to its end; its answer is then in $RESULT.
perf() {
    local command=$1 target=$2 log=$WORK/holdfast-perf.log
    shift 2
    timeout --foreground --kill-after=5 "$PATIENCE_S" "${BEFORE[@]}" "$PERF" "$command" --target "$target" "$@" \
        "${BACKEND[@]}" --json "$RESULT" --label "$DESCRIPTION" --quiet >"$log" 2>&1 || {
        for name in node-a node-b echo-server echo-server6 nginx haproxy; do
            [ ! -e "$WORK/processes/$name" ] || must_run "$name"
        done
        die "holdfast-perf $command failed: $(tail -n 3 "$log" | tr '\n' ' ')"
    }
}

# over_ipv6 COMMAND…: a generator that COMMAND starts has addresses of IPv6.
over_ipv6() {
    local GENERATOR_ADDRESS=$GENERATOR_ADDRESS6 GENERATOR_SOURCES=$GENERATOR_SOURCES6
    "$@"
}

# found UNIT FILTER [NAME]: prints what the jq FILTER finds in the answer.
found() { jq -c --arg unit "$1" --arg name "${3:-}" "{value: ($2), unit: \$unit} | if \$name == \"\" then . else .name = \$name end" "$RESULT"; }

rpc() { # rpc TARGET CONNECTIONS [ARGUMENT…]
    local target=$1 connections=$2
    shift 2
    perf rpc "$target" -n "$connections" --duration "$SECONDS_EACH" "$@"
    found requests/s .requests_per_second
}
one_at_a_time() { # the median latency of one connection
    perf rpc "$1" -n 1 --duration "$SECONDS_EACH"
    found us '.latency_ns.p50 / 1000'
}
crr() {
    [ "${BACKEND[0]}" != --kernel ] || BACKEND+=(--bind "$CLIENT_SOURCES")
    perf crr "$1" -n 64 --duration "$SECONDS_EACH"
    found connections/s .requests_per_second
}
down() {
    perf bulk "$1:$STREAM" --down --duration "$SECONDS_EACH" "${@:2}"
    found Gbit/s '.throughput_bps / 1e9'
}
up() {
    perf bulk "$1:$DISCARD" --up --duration "$SECONDS_EACH" "${@:2}"
    found Gbit/s '.throughput_bps / 1e9'
}

# --- what node a knows --------------------------------------------------------------------------

node_latencies() { "$HOLDFAST" status --latency --json "$@" -s "$WORK/a.sock"; }
forget_latencies() { node_latencies --reset >/dev/null; }
BUSY_NS='(.all.poll_ns | .mean * .count)'

# busy_ns NAME: the core time that the polls with something to do took, for each request of the answer.
busy_ns() {
    node_latencies | jq -c --arg name "$1" --argjson requests "$(jq .requests "$RESULT")" \
        "select(\$requests > 0) | {name: \$name, value: ($BUSY_NS / \$requests), unit: \"ns/request\"}"
}

# active_cost CONNECTIONS: the same at a rate that the node can keep up with, for connections in turn. A
# connection that is seldom active costs a packet more, for its client acknowledges before it asks again.
active_cost() {
    local per_second=400000 before after busy
    via memif
    spawn load "${BEFORE[@]}" "$PERF" rpc --target "$VIP:$ECHO" -n "$1" --rate "$per_second" --handshakes 256 \
        --duration "$((${SECONDS_EACH%.*} + 5))" "${BACKEND[@]}" --quiet
    until_true "$PATIENCE_S" "$1 connections to be open (see $WORK/load.log)" all_active_or_died "$1"
    must_run load
    before=$(node_work)
    forget_latencies
    sleep "$SECONDS_EACH"
    busy=$(node_latencies | jq "$BUSY_NS")
    after=$(node_work)
    must_run load
    finish load
    jq -nc --argjson before "$before" --argjson after "$after" --argjson busy "$busy" --arg name "$NAME" '
        ($after.requests - $before.requests) as $requests | ($after.segments - $before.segments) as $segments
        | {value: ($busy / $requests), unit: "ns/request"},
          {name: "\($name)_packet", value: ($busy / $segments), unit: "ns/packet"}'
}
all_active_or_died() { is_gone load || [ "$(node_status a | jq '.connections - .details.connections.half_open')" -ge "$1" ]; }
node_work() {
    node_status a | jq -c '.details.workers[0].counters | {segments: .tcp_segments_in, requests: (.tcp_bytes_in / 64)}'
}

# --- measurements -------------------------------------------------------------------------------

packets() { jq -nc --argjson value "$(packet_rate "$1")" '{value: $value, unit: "packets/s"}'; }
measure_csum_packets() { packets csum; }
measure_macswap_packets() { packets macswap; }

measure_memif_rpc() {
    forget_latencies
    via memif && rpc "$VIP:$ECHO" 64
    busy_ns memif_busy
}
measure_memif_low_load() { low_load; }
measure_memif_crr() { via memif && crr "$VIP:$ECHO"; }
measure_memif_down() { via memif && down "$VIP"; }
measure_memif_up() { via memif && up "$VIP"; }
measure_memif_rpc6() { over_ipv6 via memif && rpc "[$VIP6]:$ECHO" 64; }
measure_memif_down6() { over_ipv6 via memif && down "[$VIP6]"; }
measure_memif_up6() { over_ipv6 via memif && up "[$VIP6]"; }
measure_memif_jumbo_down() { via memif && down "$VIP" --mtu 9000; }
measure_memif_jumbo_up() { via memif && up "$VIP" --mtu 9000; }
measure_cost_100() { active_cost 100; }
measure_cost_100000() { active_cost 100000; }

measure_pair_rpc() {
    forget_latencies
    via memif && rpc "$VIP:$ECHO" 64
    busy_ns pair_busy
}
measure_pair_low_load() {
    forget_latencies
    low_load
    node_latencies | jq -c '.all | {name: "link_round_trip", value: (.link_rtt_ns.p50 / 1000), unit: "us"},
        {name: "pair_gate", value: (.gate_ns.p50 / 1000), unit: "us"}'
}
# The generator looks for the answer each few microseconds and sleeps between, alone as beside a backup that
# needs its core: so it sees the same in both, but in steps. The gate's own time has none.
low_load() {
    local idle=$WORK/generator.profile.toml
    mv "$idle" "$idle.before"
    write_idle doze "$idle"
    via memif && one_at_a_time "$VIP:$ECHO"
    mv "$idle.before" "$idle"
}

measure_pair_down() { via memif && down "$VIP"; }
measure_pair_up() { via memif && up "$VIP"; }

measure_plain_rpc() { via memif && rpc "$VIP:$ECHO" 64; }
measure_plain_up() { measure_pair_up; }

measure_pair_rpc6() { measure_memif_rpc6; }
measure_pair_up6() { measure_memif_up6; }

measure_echo_rpc() { via kernel && rpc "$KERNEL_ADDRESS:$ECHO" 64; }
measure_echo_rpc6() { via kernel && rpc "[$KERNEL_ADDRESS6]:$ECHO" 64; }
measure_nginx_http() { via kernel && rpc "$KERNEL_ADDRESS:$HTTP" 64 --protocol http; }
measure_haproxy_rpc() { via kernel && rpc "$KERNEL_ADDRESS:$HAPROXY_PORT" 64; }
measure_echo_ping() { via kernel && one_at_a_time "$KERNEL_ADDRESS:$ECHO"; }
measure_echo_crr() { via kernel && crr "$KERNEL_ADDRESS:$ECHO"; }
measure_haproxy_crr() { via kernel && crr "$KERNEL_ADDRESS:$HAPROXY_PORT"; }
measure_echo_down() { via kernel && down "$KERNEL_ADDRESS"; }
measure_echo_up() { via kernel && up "$KERNEL_ADDRESS"; }

measure_veth_rpc() { via kernel && rpc "$VIP:$ECHO" 64; }
measure_veth_rpc6() { via kernel && rpc "[$VIP6]:$ECHO" 64; }
measure_veth_http() { via kernel && rpc "$VIP:$HTTP" 64 --protocol http; }
measure_veth_ping() { via kernel && one_at_a_time "$VIP:$ECHO"; }
measure_veth_crr() { via kernel && crr "$VIP:$ECHO"; }
measure_veth_down() { via kernel && down "$VIP"; }
measure_veth_up() { via kernel && up "$VIP"; }
measure_veth_two_rpc() { measure_veth_rpc; }
measure_veth_pair_rpc() { measure_veth_rpc; }
measure_veth_pair_crr() { measure_veth_crr; }
measure_veth_pair_down() { measure_veth_down; }
measure_veth_pair_up() { measure_veth_up; }
measure_tap_rpc() { measure_veth_rpc; }
measure_tap_crr() { measure_veth_crr; }
measure_tap_down() { measure_veth_down; }
measure_tap_up() { measure_veth_up; }

# --- takeovers ----------------------------------------------------------------------------------

# hold CONNECTIONS SECONDS [ARGUMENT…]: a generator opens them, and holds them for so long after that.
hold() {
    local connections=$1 seconds=$2
    shift 2
    via plug
    rm -f "$WORK/held.json"
    spawn holder "${BEFORE[@]}" "$PERF" idle --target "$VIP:$ECHO" -n "$connections" --hold "$seconds" --handshakes 1024 \
        "$@" "${BACKEND[@]}" --json "$WORK/held.json" --quiet
    until_true "$PATIENCE_S" "$connections connections to be open (see $WORK/holder.log)" all_open_or_died "$connections"
    must_run holder
}
lab_status() { "$LAB" status --json | jq "$1"; }
all_open() { [ "$(lab_status '(.a.connections // 0) - (.a.details.connections.half_open // 0)')" -ge "$1" ]; }
all_open_or_died() { is_gone holder || all_open "$1"; }
resident_mib() { awk '/^VmRSS:/ { print int($2 / 1024) }' "/proc/$1/status"; }
value() { jq -nc --arg name "$1" --argjson value "$2" --arg unit "$3" '{name: $name, value: $value, unit: $unit}'; }

# Alone means: with a generator beside it that takes as much of the core, but holds 16 connections.
hot_rpc() { # hot_rpc NAME
    via kernel
    perf rpc "$VIP:$ECHO" -n 1000 --duration "$SECONDS_EACH"
    found requests/s .requests_per_second "$1"
}

measure_many_idle() {
    hold 16 600
    hot_rpc hot_alone
    finish holder
    hold "$MANY" "$((${SECONDS_EACH%.*} + 15))"
    hot_rpc hot_among_idle
    value many_bytes "$(lab_status .a.memory.bytes_per_idle_connection)" bytes
    for node in a b; do
        value "many_resident_$node" "$(resident_mib "$(lab_status ".$node.details.pid")")" MiB
    done
    "$LAB" kill a
    must_run holder
    until_true "$PATIENCE_S" "the holder to end (see $WORK/holder.log)" is_gone holder
    [ "$(lab_status '.b.serving and .b.takeover != null')" = true ] || die "node b did not take over"
    [ -s "$WORK/held.json" ] || die "no answer from the holder: $(tail -n 3 "$WORK/holder.log" | tr '\n' ' ')"
    jq -c '{name: "many_alive", value: .connections.alive, unit: "connections"}' "$WORK/held.json"
}

# Node b's card is a memif whose other end takes all and answers nothing but ARP; b's own timeline tells when
# the last kick had gone to it. Node a is stopped, not killed: freeing its memory would take the drain's core.
measure_memif_takeover() {
    local count=100000
    via memif
    rm -f "$WORK/held.json"
    spawn holder "$PERF" idle --target "$VIP:$ECHO" -n "$count" --hold 60 --handshakes 1024 "${BACKEND[@]}" --quiet
    until_true "$PATIENCE_S" "$count connections to be open (see $WORK/holder.log)" all_held_or_died "$count"
    must_run holder
    until_true 10 "node b to have them all" b_holds "$count"
    kill -STOP "$(pid_of node-a)"
    sleep 1 # asking at once would take b's core from it
    until_true 10 "node b's last kick (see $WORK/node-b.log)" b_has_kicked_all
    node_status b | jq -c '.takeover
        | {name: "memif_takeover_last", value: ((.last_kick_us - .epoch_won_us) / 1000), unit: "ms"},
          {name: "memif_takeover_first", value: ((.first_packet_us - .epoch_won_us) / 1000), unit: "ms"}'
    grep -o 'kicked"\?[:=][0-9]*' "$WORK/node-b.log" | tail -n 1 | tr -dc 0-9 |
        jq -c '{name: "memif_takeover_kicked", value: ., unit: "connections"}'
}
all_held_or_died() { is_gone holder || open_at a "$1"; }
open_at() { [ "$(node_status "$1" | jq '.connections - .details.connections.half_open')" -ge "$2" ]; }
b_holds() { open_at b "$1"; }
b_has_kicked_all() { node_status b | jq -e '.takeover.last_kick_us' >/dev/null; }

measure_rejoin_100000() { rejoin 100000 rejoin_100000; }
measure_rejoin_many() { rejoin "$MANY" rejoin_many; }

# rejoin CONNECTIONS NAME: node b dies and comes back while node a holds them. memif has two ends and no more, so
# who opened them gives way to the relay.
rejoin() {
    local count=$1 name=$2 began_ms
    via memif
    spawn holder "$PERF" idle --target "$VIP:$ECHO" -n "$count" --hold 600 --handshakes 1024 "${BACKEND[@]}" --quiet
    until_true "$PATIENCE_S" "$count connections to be open (see $WORK/holder.log)" all_held_or_died "$count"
    must_run holder
    # Node a has its core to itself: neither who asks for the status nor the start of node b may take it.
    taskset -pc "$CLIENT_CORE" $BASHPID >/dev/null
    kill -KILL "$(pid_of holder)" "$(pid_of node-b)"
    until_true 10 "node b to be gone" is_gone node-b
    until_true 10 "node a to know" a_is_alone
    began_ms=$(date +%s%3N)
    spawn node-b "$HOLDFAST" run -c "$WORK/b.toml"
    until_true 20 "node b to answer (see $WORK/node-b.log)" node_answers_or_died b
    must_run node-b
    relay_until_in_sync 120
    jq -nc --argjson ms $(($(date +%s%3N) - began_ms)) --arg name "${name}_time" \
        '{name: $name, value: ($ms / 1000), unit: "s"}'
    node_status a | jq -c --arg name "${name}_pause" '.details.handover
        | {name: $name, value: (.longest_pause_us / 1000), unit: "ms"}'
    open_at b "$count" || die "node b holds fewer than $count connections after it came back"
}
a_is_alone() { node_status a | jq -e '.in_sync == false' >/dev/null; }

# The node that gave the service away tells how long nobody served; the longer of the two times counts.
measure_switchover_10000() {
    local node
    hold 10000 15
    for node in a b; do
        until_true 10 "the lab's pair to be in sync" lab_in_sync
        "$HOLDFAST" switchover --wait -s "$LAB_DIR/$node.sock" >/dev/null
    done
    value switchover_10000_pause \
        "$(lab_status '[.a, .b | .details.member.switchover | .peer_serves_us - .began_us] | max / 1000')" ms
    until_true "$PATIENCE_S" "the holder to end (see $WORK/holder.log)" is_gone holder
    jq -c '{name: "switchover_10000_alive", value: .connections.alive, unit: "connections"}' "$WORK/held.json"
}
lab_in_sync() { [ "$(lab_status '[.a, .b | .in_sync and (.details.member.in_sync | length) == 2] | all')" = true ]; }

# Each kicked connection sends one packet, and b sends next to nothing before: so the client's end of its
# veth tells when the last one left. The node's own timeline tells how long the first one took.
measure_takeover() {
    local count=100000 first last
    hold "$count" 12
    "$LAB" kill a &
    read -r first last < <(in_ns client taskset -c "$SERVER_CORE" bash -c "$WATCH_KICKS" - "$count")
    wait $!
    lab_status '.b.takeover' | jq -c --argjson burst_us "$((last - first))" '
        {name: "takeover_last", value: ((.first_packet_us - .epoch_won_us + $burst_us) / 1000), unit: "ms"},
        {name: "takeover_first", value: ((.first_packet_us - .epoch_won_us) / 1000), unit: "ms"}'
    until_true "$PATIENCE_S" "the holder to end (see $WORK/holder.log)" is_gone holder
    jq -c '{name: "takeover_alive", value: .connections.alive, unit: "connections"}' "$WORK/held.json"
}
# Prints the microseconds at which the first and the last of that many packets had come from b. It looks each
# millisecond, from the dead node's core.
# shellcheck disable=SC2016
WATCH_KICKS='
    exec 9<> <(:)
    now() { read -r packets </sys/class/net/lan-b/statistics/rx_packets; us=${EPOCHREALTIME/./}; }
    now; base=$packets first=0 end=$((us + 10000000))
    while [ $((packets - base)) -lt "$1" ] && [ "$us" -lt "$end" ]; do
        before=$packets
        read -rt 0.001 -u 9
        now
        [ "$first" -gt 0 ] || [ $((packets - before)) -lt 20 ] || first=$us
    done
    echo "$first $us"'
