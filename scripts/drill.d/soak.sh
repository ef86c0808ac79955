# Cases at random for a long time, with clients that see all of them, and what the nodes' memory does meanwhile.
# Sourced by drill.
# shellcheck shell=bash disable=SC2154

PERF=$BIN/holdfast-perf
SAMPLE_S=10

# Cases of the pair that leave its clients alive.
soak_cases() { awk '$2 == "pair" && !/\(alone\)$/ { print $1 }' <<<"$CASES"; }

resident_mib() { awk '/^VmRSS:/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status" 2>/dev/null; }
# Of a node or the witness; nothing while it is down.
memory_of() {
    local pid
    read -r pid _ 2>/dev/null <"$LAB_DIR/$1.pid" && resident_mib "$pid"
}

# A line for the plot, every SAMPLE_S: memory of the processes, what the primary holds.
sample() {
    local began_ms=$1 held
    while sleep $SAMPLE_S; do
        held=$("$LAB" status --json 2>/dev/null | jq -r '[.[] | objects | select(.role == "primary")][0]
            | [.connections // "", .memory.pool_blocks_used // ""] | @tsv') || held=
        awk -v ms=$(($(now_ms) - began_ms)) 'BEGIN { printf "%.2f", ms / 60000 }' >>"$WORK/samples"
        printf '\t%s\t%s\t%s\t%s\n' "$(memory_of a)" "$(memory_of b)" "$(memory_of w)" "$held" >>"$WORK/samples"
    done
}

soak() { # soak MINUTES
    local began_ms end_ms cases name sampler ok=true
    mapfile -t cases < <(soak_cases)
    [ ${#wanted[@]} -eq 0 ] || cases=("${wanted[@]}")
    use_lab pair
    began_ms=$(now_ms)
    end_ms=$((began_ms + $1 * 60000))
    printf 'minutes\tresident MiB: node a\tresident MiB: node b\tresident MiB: witness\t%s\t%s\n' \
        'held by the primary: connections' 'held by the primary: blocks of buffers' >"$WORK/samples"
    sample "$began_ms" &
    sampler=$!
    BESIDE+=("sampler $sampler")
    case_head
    : >"$WORK/cases"
    while [ "$(now_ms)" -lt "$end_ms" ]; do
        name=${cases[RANDOM % ${#cases[@]}]}
        run_case "$name"
        case_row
        jq -c --argjson ms $(($(now_ms) - began_ms)) '. + {at_ms: $ms}' "$WORK/case" >>"$WORK/cases"
        case_is_ok || {
            ok=false
            break
        }
    done
    kill "$sampler" 2>/dev/null || true
    leave_lab
    [ -z "$json" ] || jq -s . "$WORK/cases" >"$json"
    echo
    jq -rs "$SOAK_SUMMARY" "$WORK/cases"
    memory_summary
    if [ -n "$plot" ]; then
        cp "$WORK/samples" "${plot%.*}.tsv"
        "$PERF" draw "$WORK/samples" --plot "$plot" --title "$1 minutes of drills: memory of the nodes"
    fi
    [ $ok = true ]
}

SOAK_SUMMARY='def ms: . / 1000 * 10 | round / 10;
    "cases: \(length), right: \(map(select(.ok)) | length), longest pause of interactive echo: \(map(.echo_us) | max | ms) ms",
    (group_by(.case)[] | "  \(.[0].case): \(length), longest pause \(map(.echo_us) | max | ms) ms")'

# The most that each process had in the first and in the last quarter of the time.
memory_summary() {
    awk -F'\t' 'NR > 1 { n++; for (i = 2; i <= 4; i++) value[n, i] = $i }
        END { split("- a b witness", name, " ")
            for (i = 2; i <= 4; i++) {
                first = last = 0
                for (k = 1; k <= n; k++) {
                    if (k <= n / 4 && value[k, i] + 0 > first) first = value[k, i]
                    if (k > n * 3 / 4 && value[k, i] + 0 > last) last = value[k, i]
                }
                printf "resident, %s: at most %s MiB in the first quarter, %s MiB in the last\n", name[i], first, last
            } }' "$WORK/samples"
}
