# The drill in which each round kills a node of a fresh pair. Sourced by drill.
# shellcheck shell=bash disable=SC2154

# Both in turn: two rounds of each, so that each has downloads and uploads.
ingress_of() {
    local kinds=(switch flood)
    [ "$ingress" = both ] && echo "${kinds[$((($1 - 1) / 2 % 2))]}" || echo "$ingress"
}

in_sync() { "$LAB" status --json | jq -e .in_sync >/dev/null; }

# One line of JSON about a round on standard output.
round() {
    local number=$1 primary killed survivor wait_ms direction=download ok=true kind
    kind=$(ingress_of "$number")
    [ $((number % 2)) -eq 1 ] || direction=upload
    "$LAB" stop
    LAB_INGRESS=$kind "$LAB" start
    "$LAB" loss lan "$loss"
    "$LAB" loss link "$loss"
    primary=$("$LAB" primary)
    killed=$primary
    [ "$victim" = primary ] || killed=$(peer_of "$primary")
    survivor=$(peer_of "$killed")

    start_clients "$direction"
    wait_ms=$((700 + RANDOM % 1500))
    sleep "$(awk -v ms="$wait_ms" 'BEGIN { print ms / 1000 }')"
    # A busy machine may have held the backup up, so that it is none just now: then nobody can take over.
    until_true 20 "both nodes to hold the same state" in_sync
    "$LAB" kill "$killed"
    until_true 15 "node $survivor to serve alone" serves "$survivor"
    until_true 15 "node $survivor to know that it is alone" alone "$survivor"
    sleep 1
    touch "$WORK/stop"

    collect_clients || ok=false
    same_files || ok=false
    "$LAB" status --json | jq -c --arg n "$survivor" --arg killed "$killed" --argjson ok "$ok" \
        --argjson round "$number" --argjson wait "$wait_ms" --arg failed "${FAILED[*]}" \
        --arg direction "$direction" --arg ingress "$kind" --argjson busy "$(gap_us busy)" --argjson echo "$(gap_us echo)" '.[$n].takeover as $t
        | {round: $round, killed: $killed, after_ms: $wait, ok: $ok, failed: $failed,
           suspect_us: $t.suspicion_us, first_packet_us: $t.first_packet_us,
           takeover_us: (if $t.first_packet_us then $t.first_packet_us - $t.suspicion_us else null end),
           ingress: $ingress, direction: $direction, busy_us: $busy, echo_us: $echo}'
}

row() {
    jq -r '[.round, .killed, .after_ms, .direction, .ingress, (.suspect_us, .first_packet_us, .busy_us, .echo_us
        | if . then (. / 100 | round / 10) else "-" end), (if .ok then "right" else "WRONG: " + .failed end)] | @tsv' |
        awk -F'\t' '{ printf "%5s  %-6s %6s  %-8s %-7s %8s %13s %8s %8s  %s\n", $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 }'
}

kill_rounds() {
    local number
    printf '%5s  %-6s %6s  %-8s %-7s %8s %13s %8s %8s  %s\n' round killed after client ingress suspect 'first packet' busy echo bytes
    : >"$WORK/rounds"
    for number in $(seq "$rounds"); do
        round "$number" >"$WORK/round"
        cat "$WORK/round" >>"$WORK/rounds"
        row <"$WORK/round"
        if ! jq -e .ok "$WORK/round" >/dev/null; then
            tail -n 3 "$WORK"/*.err >&2 || true
            show_logs
        fi
    done
    echo
    jq -rs "$ROUNDS_SUMMARY" "$WORK/rounds"
    histogram "pauses of an upload" 'select(.direction == "upload") | .busy_us'
    histogram "pauses of interactive echo" .echo_us
    [ -z "$json" ] || jq -s . "$WORK/rounds" >"$json"
    jq -es 'all(.ok)' "$WORK/rounds" >/dev/null
}

ROUNDS_SUMMARY='def beyond(f): f as $f | if .suspect_us and $f then [$f - .suspect_us, 0] | max else null end;
    def median: sort | if length == 0 then null else .[length / 2 | floor] end;
    def line(f): [.[] | f | select(. != null)] | if length == 0 then "-" else
        "median \(median / 100 | round / 10) ms, longest \(max / 100 | round / 10) ms" end;
    "rounds: \(length), right: \(map(select(.ok)) | length)",
    "from suspicion to the first packet:      " + line(.takeover_us),
    "longest pause of the busy client:       " + line(.busy_us),
    "  of a download:                         " + line(select(.direction == "download").busy_us),
    "  of an upload:                          " + line(select(.direction == "upload").busy_us),
    "longest pause of interactive echo:       " + line(.echo_us),
    (group_by(.ingress)[] | "beyond the suspicion, ingress \(.[0].ingress):",
    "  an upload:                             " + line(select(.direction == "upload") | beyond(.busy_us)),
    "  interactive echo:                      " + line(beyond(.echo_us)))'

# histogram TITLE FILTER: how often a pause was how long, in a column for each kind of ingress.
histogram() {
    jq -r "($2) as \$us | select(\$us > 0) | [.ingress, \$us] | @tsv" "$WORK/rounds" |
        awk -v title="$1" 'BEGIN { n = split("20 40 50 60 70 80 100 150 200 250 300 400 600 1000", bound) }
            { kinds[$1]; for (b = 1; b <= n && $2 > bound[b] * 1000; b++); count[$1, b]++; used[b] }
            function bar(number, text) { while (length(text) < number) text = text "#"; return text }
            END { printf "\n%-28s", title; for (k in kinds) printf "  %-24s", k; print ""
                for (b = 1; b <= n + 1; b++) if (b in used) {
                    printf "%28s", (b > n ? "more than " bound[n] : "up to " bound[b]) " ms"
                    for (k in kinds) printf "  %3d %-20s", count[k, b], bar(count[k, b]); print "" } }'
}
