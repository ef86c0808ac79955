# The drill in which one pair is killed again and again, one node after the other. Sourced by drill.
# shellcheck shell=bash disable=SC2154

# One line of JSON about a round on standard output.
alternate_round() {
    local number=$1 killed survivor wait_ms began_ms in_sync_ms ok=true
    killed=$("$LAB" primary)
    survivor=$(peer_of "$killed")
    http_download curl "$FILE" --limit-rate 8M --max-time 60
    probe both upload-echo "$ECHO_PORT" --bytes 8000000
    wait_ms=$((500 + RANDOM % 1000))
    sleep "$(awk -v ms="$wait_ms" 'BEGIN { print ms / 1000 }')"
    "$LAB" kill "$killed"
    until_true 15 "node $survivor to serve alone" serves "$survivor"
    until_true 15 "node $survivor to know that it is alone" alone "$survivor"
    began_ms=$(now_ms)
    "$LAB" start "$killed"
    in_sync_ms=$(($(now_ms) - began_ms))

    collect_clients || ok=false
    same_sha256 curl "$WWW/$FILE" || {
        ok=false
        FAILED+=(curl-checksum)
    }
    for name in $(lost_clients); do
        ok=false
        FAILED+=("$name")
    done
    "$LAB" status --json | jq -c --arg n "$survivor" --arg killed "$killed" --argjson ok "$ok" \
        --argjson round "$number" --argjson wait "$wait_ms" --argjson in_sync "$in_sync_ms" \
        --arg failed "${FAILED[*]}" '.[$n] as $node | $node.takeover as $t
        | {round: $round, killed: $killed, after_ms: $wait, ok: $ok, failed: $failed,
           suspect_us: $t.suspicion_us, first_packet_us: $t.first_packet_us, in_sync_ms: $in_sync,
           paused_us: $node.details.handover.longest_pause_us}'
}

alternate_row() {
    jq -r '[.round, .killed, .after_ms, (.suspect_us, .first_packet_us
        | if . then (. / 100 | round / 10) else "-" end), .in_sync_ms, .paused_us / 1000,
        (if .ok then "right" else "WRONG: " + .failed end)] | @tsv' |
        awk -F'\t' '{ printf "%5s  %-6s %6s %8s %13s %8s %8s  %s\n", $1, $2, $3, $4, $5, $6, $7, $8 }'
}

alternate_rounds() {
    local number ok=true
    "$LAB" start
    "$LAB" loss lan "$loss"
    "$LAB" loss link "$loss"
    start_first_clients busy
    printf '%5s  %-6s %6s %8s %13s %8s %8s  %s\n' round killed after suspect 'first packet' 'in sync' paused bytes
    : >"$WORK/rounds"
    for number in $(seq "$rounds"); do
        alternate_round "$number" >"$WORK/round"
        cat "$WORK/round" >>"$WORK/rounds"
        alternate_row <"$WORK/round"
        jq -e .ok "$WORK/round" >/dev/null || {
            ok=false
            break
        }
    done
    end_first_clients || {
        ok=false
        say "wrong: ${FAILED[*]}"
        tail -n 3 "$WORK"/*.err >&2
    }
    echo
    jq -rs "$ALTERNATE_SUMMARY" "$WORK/rounds"
    printf 'longest pause of the first clients:      download %s ms, echo %s ms\n' \
        $(($(gap_us first-busy) / 1000)) $(($(gap_us first-echo) / 1000))
    [ -z "$json" ] || jq -s . "$WORK/rounds" >"$json"
    [ $ok = true ]
}

ALTERNATE_SUMMARY='def median: sort | .[length / 2 | floor];
    def line(f; unit): [.[] | f | select(. != null)] | if length == 0 then "-" else
        "median \(median / unit * 10 | round / 10) ms, longest \(max / unit * 10 | round / 10) ms" end;
    "rounds: \(length), right: \(map(select(.ok)) | length)",
    "from the last heartbeat to the first packet: " + line(.first_packet_us; 1000),
    "from the start of a node to in sync:         " + line(.in_sync_ms; 1),
    "a connection waited for a handover:          " + line(.paused_us; 1000)'
