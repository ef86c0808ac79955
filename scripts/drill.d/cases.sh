# The drill's cases: what can befall a cluster, one at a time, each until all is well again. Sourced by drill.
# shellcheck shell=bash disable=SC2154

# Name, lab and what happens. The labs: `pair` is two nodes and a witness, `trio` three nodes; those with
# `alone` behind are not among `all`, or not in a soak.
CASES='
crash                  pair  the primary is killed, and started again
crash-backup           pair  the backup is killed, and started again
freeze                 pair  the primary stands still until the backup serves, and goes on
freeze-backup          pair  the backup stands still until the primary serves alone, and goes on
stall                  pair  the primary stands still for 20 ms
slow                   pair  the primary stands still for 8 ms of every 12, for 2 s
slow-backup            pair  the same at the backup
link-out               pair  what the primary sends on the link is lost, for 1.5 s
link-back              pair  what the backup sends on the link is lost, for 1.5 s
link                   pair  the link is cut for 1.5 s
link-loss              pair  the link loses 5 % at random for 2 s
lan-loss               pair  the service LAN loses 5 % at random for 2 s
lan                    pair  the primary is cut off from the service LAN for 3 s
lan-backup             pair  the backup is cut off from the service LAN for 1 s
part                   pair  the nodes hear nothing of each other for 2 s; both hear clients and the witness
part-witness           pair  primary and witness hear nothing of each other for 2 s
part-witness-backup    pair  backup and witness hear nothing of each other for 2 s
isolate                pair  the primary is cut off from everything until the backup serves
witness                pair  the witness is killed, and back after 1.5 s
witness-crash          pair  the witness is killed, then the primary; the witness comes back, then the node
disk-full              pair  the witness has no disk space left, and the primary is killed
clock                  pair  a node'"'"'s wall clock jumps a year ahead, then two back; the service comes to it and goes
other-key              pair  the backup is started with another shared key; then it is given the right one
other-config           pair  the backup is started with a service more; then as it was
switchover             pair  the service goes to the backup, and back
switchover-crash       pair  the primary is killed while it hands the service over
switchover-crash-heir  pair  the backup is killed while it is given the service
switchover-cut         pair  the link is cut for 0.5 s while the service goes over
drain                  pair  the primary is drained, and back
rejoin-crash           pair  a node is killed while it joins, three times
rejoin-cut             pair  the link is cut for 0.5 s while a node joins
restart-all            pair  all nodes are killed at once and started again: clients get RST (alone)
trio-crash             trio  the primary of three is killed, and started again
trio-isolate           trio  the primary of three is cut off from everything until another serves
trio-part              trio  each two of three hear nothing of each other for 1.5 s, pair by pair
trio-backups           trio  both backups are killed, and started again
trio-rejoin-crash      trio  the primary is killed while a third node joins
'

case_line() { awk -v name="$1" '$1 == name' <<<"$CASES"; }
is_case() { [ -n "$(case_line "$1")" ]; }
lab_of() { case_line "$1" | awk '{ print $2 }'; }
is_alone() { [[ $(case_line "$1") == *"(alone)" ]]; }
list_cases() { awk 'NF { name = $1; $1 = $2 = ""; sub(/ \(alone\)$/, ""); printf "%-22s%s\n", name, $0 }' <<<"$CASES"; }
# Those that need nobody's consent, in order.
all_cases() {
    local name
    for name in $(awk 'NF { print $1 }' <<<"$CASES"); do is_alone "$name" || echo "$name"; done
    echo restart-all
}

# --- what cases are made of -----------------------------------------------------------------------

# While a machine stands still nobody may serve for a moment.
primary() {
    until_true 20 "a node to serve" named_primary
    cat "$WORK/primary"
}
named_primary() { "$LAB" primary >"$WORK/primary"; }
# The first node that does not serve.
backup() {
    local serving node
    serving=$(primary)
    for node in "${LAB_NODES[@]}"; do [ "$node" = "$serving" ] || { echo "$node" && return; }; done
}
# Who is cut off may believe for a while that it serves, too.
another_serves() {
    "$LAB" status --json | jq -e --arg n "$1" 'del(.[$n]) | any(.[] | objects; .role == "primary" and .serving)' >/dev/null
}
# All nodes run, and hold the same state.
all_in_sync() {
    "$LAB" status --json | jq -e --argjson n "${#LAB_NODES[@]}" '[.[] | objects]
        | length == $n and all((.details.member.in_sync | length) == $n and .in_sync)' >/dev/null
}
role_of() { "$LAB" status --json | jq -r --arg n "$1" '.[$n].role'; }
is_role() { [ "$(role_of "$1")" = "$2" ]; }
says() { "$LAB" status --json | jq -e --arg n "$1" --arg what "$2" '.[$n] | tostring | contains($what)' >/dev/null; }
# All voters of the register hear all others.
all_vote() {
    "$LAB" status --json | jq -e '[.[] | objects.details.register.others[].heard] | length > 0 and all' >/dev/null
}
logged() { grep -q "$2" "$LAB_DIR/$1.log"; }
settle() {
    until_true 40 "all nodes to be in sync" all_in_sync
    until_true 20 "all voters to be heard" all_vote
}
wait_s() { sleep "$1"; }
wait_ms_at_random() { sleep "$(awk -v ms=$((RANDOM % $1)) 'BEGIN { print ms / 1000 }')"; }

until_another_serves() { until_true 20 "another node than $1 to serve" another_serves "$1"; }
until_alone() { until_true 20 "node $1 to serve alone" alone "$1"; }
start_unwatched() { LAB_NO_WAIT=1 "$LAB" start "$1"; }

# --- the cases ------------------------------------------------------------------------------------

kill_and_start() { # kill_and_start NODE: it serves, or does not
    local serving
    serving=$(primary)
    "$LAB" kill "$1"
    if [ "$1" = "$serving" ]; then until_another_serves "$1"; else until_alone "$serving"; fi
    "$LAB" start "$1"
}
case_crash() { kill_and_start "$(primary)"; }
case_crash_backup() { kill_and_start "$(backup)"; }

case_freeze() {
    local node
    node=$(primary)
    "$LAB" freeze "$node"
    until_another_serves "$node"
    "$LAB" thaw "$node"
}
case_freeze_backup() {
    local node
    node=$(backup)
    "$LAB" freeze "$node"
    until_alone "$(primary)"
    "$LAB" thaw "$node"
}
case_stall() {
    local node
    node=$(primary)
    signal_process "$node" STOP
    sleep 0.02
    signal_process "$node" CONT
}
case_slow() { hold_back "$(primary)" 2; }
case_slow_backup() { hold_back "$(backup)" 2; }

for_a_while() { # for_a_while SECONDS TROUBLE…: an argument of lab, mended afterwards
    local seconds=$1
    shift
    "$LAB" "$@"
    wait_s "$seconds"
    "$LAB" mend
}
case_link_out() { for_a_while 1.5 loss link 100 "$(primary)"; }
case_link_back() { for_a_while 1.5 loss link 100 "$(backup)"; }
case_link() { for_a_while 1.5 cut "$(primary)" link; }
case_link_loss() { for_a_while 2 loss link 5; }
case_lan_loss() { for_a_while 2 loss lan 5; }
case_lan() { for_a_while 3 cut "$(primary)" lan; }
case_lan_backup() { for_a_while 1 cut "$(backup)" lan; }
case_part() { for_a_while 2 cut a b; }
case_part_witness() { for_a_while 2 cut "$(primary)" w; }
case_part_witness_backup() { for_a_while 2 cut "$(backup)" w; }
case_isolate() {
    local node
    node=$(primary)
    # Last what the others find out by: with the register it could still remove its backup, and serve nobody.
    "$LAB" cut "$node" management
    "$LAB" cut "$node" link
    "$LAB" cut "$node" lan
    until_another_serves "$node"
    "$LAB" mend
}

case_witness() {
    "$LAB" kill w
    wait_s 1.5
    "$LAB" start w
}
case_witness_crash() {
    local node heir
    node=$(primary) heir=$(backup)
    "$LAB" kill w
    "$LAB" kill "$node"
    until_true 10 "node $heir to ask the register" says "$heir" "to take over"
    wait_s 1
    is_role "$heir" backup || die "node $heir serves without a majority"
    "$LAB" start w
    until_another_serves "$node"
    "$LAB" start "$node"
}
# The witness's folder is a file system of its own, seen by its process alone.
case_disk_full() {
    local pid
    read -r pid _ <"$LAB_DIR/w.pid"
    ! dd if=/dev/zero of="/proc/$pid/root$LAB_DIR/w.register/filler" bs=4k 2>/dev/null ||
        die "the disk of the witness has no end"
    case_crash
    rm "/proc/$pid/root$LAB_DIR/w.register/filler"
}
# The clock of one node alone: the machine has but one, and whoever else lives by it.
case_clock() {
    local node pid offset=$WORK/clock
    install_missing libfaketime
    node=$(backup)
    "$LAB" kill "$node"
    until_alone "$(primary)"
    set_clock "$offset" +0
    env LD_PRELOAD="/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketimeMT.so.1" FAKETIME_DONT_FAKE_MONOTONIC=1 \
        FAKETIME_TIMESTAMP_FILE="$offset" FAKETIME_NO_CACHE=1 "$LAB" start "$node" &
    pid=$!
    wait "$pid"
    settle
    order_switchover
    until_true 20 "node $node to serve" serves "$node"
    settle
    set_clock "$offset" +1y
    wait_s 1
    order_switchover
    until_another_serves "$node"
    logged "$node" "^$(($(date -u +%Y) + 1))-" || die "node $node did not see its clock jump"
    set_clock "$offset" -1y
    settle
    kill_and_start "$node"
    rm -f "/dev/shm/faketime_shm_$pid" "/dev/shm/sem.faketime_sem_$pid" # which the library leaves behind
}
set_clock() { echo "$2" >"$1"; }

case_other_key() {
    local node
    node=$(backup)
    "$LAB" kill "$node"
    head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$LAB_DIR/$node.keys"
    start_unwatched "$node"
    until_true 10 "node $node to hear a stranger" logged "$node" intrusion
    wait_s 1
    awk -F'"' '/^secret/ { print $2 }' "$LAB_DIR/$node.toml" >"$LAB_DIR/$node.keys"
    "$HOLDFAST" keys reload -s "$LAB_DIR/$node.sock" >"$WORK/answer"
}
case_other_config() {
    local node
    node=$(backup)
    "$LAB" kill "$node"
    LAB_EXTRA=$'[[cluster.service]]\nname = "more"\nkind = "echo"\nport = 4000' start_unwatched "$node"
    until_true 10 "node $node to be refused" logged "$node" refused
    wait_s 1
    "$LAB" kill "$node"
    "$LAB" start "$node"
}

case_switchover() {
    local node
    for _ in there back; do
        node=$(backup)
        "$LAB" switchover >"$WORK/answer"
        until_true 10 "node $node to serve" serves "$node"
        settle
    done
}
order_switchover() { "$HOLDFAST" switchover -s "$LAB_DIR/$(primary).sock" >"$WORK/answer"; }
case_switchover_crash() {
    local node
    node=$(primary)
    order_switchover
    wait_ms_at_random 8
    "$LAB" kill "$node"
    until_another_serves "$node"
    "$LAB" start "$node"
}
case_switchover_crash_heir() {
    local node other
    node=$(backup) other=$(primary)
    order_switchover
    wait_ms_at_random 8
    "$LAB" kill "$node"
    until_true 20 "node $other to serve" serves "$other"
    until_alone "$other"
    "$LAB" start "$node"
}
case_switchover_cut() {
    local node
    node=$(primary)
    order_switchover
    for_a_while 0.5 cut "$node" link
}
case_drain() {
    local node
    node=$(primary)
    "$HOLDFAST" drain -s "$LAB_DIR/$node.sock" >"$WORK/answer"
    until_another_serves "$node"
    until_true 10 "node $node to be out" is_role "$node" spare
    "$HOLDFAST" undrain -s "$LAB_DIR/$node.sock" >"$WORK/answer"
}

case_rejoin_crash() {
    local node
    node=$(backup)
    for _ in 1 2 3; do
        "$LAB" kill "$node"
        start_unwatched "$node"
        wait_ms_at_random 300
    done
    "$LAB" kill "$node"
    until_alone "$(primary)"
    "$LAB" start "$node"
}
case_rejoin_cut() {
    local node
    node=$(backup)
    "$LAB" kill "$node"
    until_alone "$(primary)"
    start_unwatched "$node"
    wait_ms_at_random 100
    for_a_while 0.5 cut "$node" link
}

# All connections are lost by definition; what counts is that clients hear of it, and are served again.
case_restart_all() {
    local node
    probe cut echo "$ECHO_PORT" -n 20 --size 64 --interval 10 --duration 30
    wait_s 0.5
    for node in "${LAB_NODES[@]}"; do signal_process "$node" KILL; done
    for node in "${LAB_NODES[@]}"; do "$LAB" kill "$node"; done
    "$LAB" start
    ! collect_clients || die "clients of a cluster that has ended as a whole noticed nothing"
    [ "$(resets cut)" -gt 0 ] || die "clients wait in silence for what is lost"
}

case_trio_crash() { case_crash; }
case_trio_isolate() { case_isolate; }
case_trio_part() {
    local pair
    for pair in "a b" "a c" "b c"; do
        # shellcheck disable=SC2086
        for_a_while 1.5 cut $pair
        settle
    done
}
case_trio_backups() {
    local node serving
    serving=$(primary)
    for node in "${LAB_NODES[@]}"; do [ "$node" = "$serving" ] || "$LAB" kill "$node"; done
    wait_s 1
    for node in "${LAB_NODES[@]}"; do [ "$node" = "$serving" ] || start_unwatched "$node"; done
}
case_trio_rejoin_crash() {
    local node serving
    node=$(backup) serving=$(primary)
    "$LAB" kill "$node"
    wait_s 1
    start_unwatched "$node"
    wait_ms_at_random 300
    "$LAB" kill "$serving"
    until_another_serves "$serving"
    "$LAB" start "$serving"
}

# --- how they are run -----------------------------------------------------------------------------

LAB_NODES=() lab_kind=

use_lab() { # use_lab pair|trio: the lab that stands, or a new one
    [ "$lab_kind" != "$1" ] || return 0
    leave_lab
    lab_kind=$1
    "$LAB" down
    export LAB_WITNESS_DISK_KIB=1024
    case $1 in
    pair)
        LAB_NODES=(a b)
        "$LAB" up --vdev "$vdev" --ingress "$ingress" --register raft
        ;;
    trio)
        LAB_NODES=(a b c)
        "$LAB" up --vdev "$vdev" --ingress "$ingress" --nodes 3
        ;;
    esac
    make_file
    "$LAB" start
    settle
    start_first_clients
}

# The clients that have stayed all the time end, and are asked what they saw.
leave_lab() {
    [ -n "$lab_kind" ] || return 0
    end_first_clients || die "wrong: ${FAILED[*]}"
    lab_kind=
}

# Names of events since, in the order of their times, each once with how often.
new_events() { # new_events TIME, as logs have it
    cat "$LAB_DIR"/?.log | sed 's/\x1b\[[0-9;]*m//g' | sort | awk -v since="$1" '$1 >= since' |
        grep -o 'event="[a-z_]*' | cut -d'"' -f2 |
        awk '!n[$0]++ { order[++m] = $0 } END { for (i = 1; i <= m; i++)
            printf "%s%s%s", (i > 1 ? " " : ""), order[i], (n[order[i]] > 1 ? "*" n[order[i]] : "") }'
}

# One line of JSON about a case in $WORK/case.
run_case() {
    local name=$1 ok=true direction=download began began_ms took_ms lost
    use_lab "$(lab_of "$name")"
    [ "$name" != restart-all ] || end_first_clients || die "wrong: ${FAILED[*]}"
    began_ms=$(now_ms) began=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
    if [ "$name" = restart-all ]; then
        case_restart_all
        settle
        start_first_clients
        start_clients upload
        wait_s 1
    else
        [ $((RANDOM % 2)) -eq 0 ] || direction=upload
        start_clients "$direction"
        sleep "$(awk -v ms=$((300 + RANDOM % 300)) 'BEGIN { print ms / 1000 }')"
        # The start of the clients may have held a node up for longer than the detection timeout.
        settle
        "case_${name//-/_}"
        settle
    fi
    took_ms=$(($(now_ms) - began_ms))
    touch "$WORK/stop"
    collect_clients || ok=false
    same_files || ok=false
    for lost in $(lost_clients); do
        ok=false
        FAILED+=("$lost")
    done
    jq -nc --arg name "$name" --argjson ok "$ok" --arg failed "${FAILED[*]}" --argjson took "$took_ms" \
        --arg events "$(new_events "$began")" --argjson busy "$(gap_us busy)" --argjson echo "$(gap_us echo)" \
        '{case: $name, ok: $ok, failed: $failed, took_ms: $took, busy_us: $busy, echo_us: $echo, events: $events}' >"$WORK/case"
}

case_head() { printf '%-22s %8s %8s %8s  %-6s %s\n' case took busy echo bytes events; }
case_row() {
    jq -r '[.case, .took_ms, (.busy_us, .echo_us | . / 100 | round / 10),
        (if .ok then "right" else "WRONG: " + .failed end), .events] | @tsv' "$WORK/case" |
        awk -F'\t' '{ printf "%-22s %8s %8s %8s  %-6s %s\n", $1, $2, $3, $4, $5, $6 }'
}
case_is_ok() { jq -e .ok "$WORK/case" >/dev/null; }

run_cases() {
    local name names=()
    for name in "$@"; do
        if [ "$name" = all ]; then mapfile -t -O "${#names[@]}" names < <(all_cases); else names+=("$name"); fi
    done
    case_head
    : >"$WORK/cases"
    for name in "${names[@]}"; do
        run_case "$name"
        case_row
        cat "$WORK/case" >>"$WORK/cases"
        case_is_ok || break
    done
    leave_lab
    [ -z "$json" ] || jq -s . "$WORK/cases" >"$json"
    echo
    jq -rs '"cases: \(length), right: \(map(select(.ok)) | length)"' "$WORK/cases"
    jq -es 'all(.ok)' "$WORK/cases" >/dev/null
}
