# From runs to tables and files; sourced, never run.
# shellcheck shell=bash
# shellcheck disable=SC2154 # bench sets the options

# The table of measurements as lines of: name, stage, goals (commas between), description; tabs between.
measurement_rows() {
    awk -F' *[|] *' 'NF == 4 { gsub(/^ +/, "", $1); gsub(/ /, ",", $3); printf "%s\t%s\t%s\t%s\n", $1, $2, $3, $4 }' \
        <<<"$MEASUREMENTS"
}
is_measurement() { measurement_rows | cut -f1 | grep -qx "$1"; }
list_measurements() { measurement_rows | awk -F'\t' '{ printf "%-18s goals %-6s %s\n", $1, $3, $4 }'; }

# chosen_measurements GOALS NAMES: lines of name, stage, description. No goals and no names: all.
chosen_measurements() {
    measurement_rows | awk -F'\t' -v goals="$1" -v names="$2" '
        BEGIN { count = split(goals, g, " "); for (i in g) wanted[g[i]]; split(names, n, " "); for (i in n) named[n[i]] }
        { serves = goals == "" && names == "" || $1 in named
          split($3, own, ","); for (i in own) if (count > 0 && own[i] in wanted) serves = 1
          if (serves) print $1, $2, $4 }'
}

# note_run NUMBER CODE: keeps what a run found, and shows it.
note_run() {
    local error=''
    if [ "$2" -ne 0 ]; then
        error=$(tail -n 1 "$WORK/errors")
        say "run $1: $DESCRIPTION: FAILED"
        sed 's/^/    /' "$WORK/errors" >&2
    fi
    jq -c --arg name "$NAME" --argjson run "$1" --arg description "$DESCRIPTION" \
        '{name: (.name // $name), run: $run, description: $description} + . | select(.value != null)' \
        "$WORK/found" >"$WORK/noted" || error="${error:-the answer was no JSON}"
    if jq -es 'any(.value <= 0)' "$WORK/noted" >/dev/null; then
        jq -c 'select(.value > 0)' "$WORK/noted" >"$WORK/positive" && mv "$WORK/positive" "$WORK/noted"
        error=${error:-nothing came through}
        say "run $1: $DESCRIPTION: FAILED, $error"
    fi
    if [ -n "$error" ]; then
        jq -nc --arg name "$NAME" --argjson run "$1" --arg error "$error" --arg description "$DESCRIPTION" \
            '{name: $name, run: $run, description: $description, error: $error}' >>"$WORK/noted"
    fi
    cat "$WORK/noted" >>"$WORK/runs"
    jq -r "$ROUND"' select(.value) | "run \(.run): \(.description) [\(.name)]: \(.value | rounded) \(.unit)"' "$WORK/noted" >&2
}
any_failure() { jq -es 'any(.error)' "$WORK/runs" >/dev/null; }

# shellcheck disable=SC2016
ROUND='def grouped: tostring | if length > 3 then (.[:-3] | grouped) + "," + .[-3:] else . end;
    def rounded: if . == null then "-" elif . >= 1000 then round | grouped
        elif . >= 100 then round | tostring else (. * 100 | round / 100 | tostring) end;'

# Median, minimum and maximum of each measurement, by name. What failed counts in none of them.
# shellcheck disable=SC2016
STATISTICS='def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
    map(.name) as $order | group_by(.name) | sort_by(.[0].name as $name | $order | index($name)) | map(. as $runs | [$runs[] | select(.error | not)] as $good | {key: $runs[0].name, value: {
        description: $runs[0].description, unit: ($good[0].unit // null),
        median: (if $good == [] then null else [$good[].value] | median end),
        min: ([$good[].value] | min), max: ([$good[].value] | max),
        values: [$good[].value], errors: [$runs[].error | select(.)]}}) | from_entries'

# Everything that --json writes.
make_document() {
    jq -s "$STATISTICS" "$WORK/runs" >"$WORK/statistics.json"
    jq --slurpfile machine "$WORK/machine.json" --argjson quick "$quick" \
        '$machine[0] as $machine | '"$(cat "$REPO/scripts/bench.d/goals.jq")" "$WORK/statistics.json" |
        jq --arg goals "$goals" '($goals | split(" ") | map(select(. != "") | tonumber)) as $wanted
            | map(select(.runs != {} and ($wanted == [] or .goal as $goal | $wanted | index($goal))))' >"$WORK/goals.json"
    jq -n --slurpfile machine "$WORK/machine.json" --slurpfile goals "$WORK/goals.json" \
        --slurpfile statistics "$WORK/statistics.json" --argjson quick "$quick" --argjson runs "$runs" \
        --argjson seconds "$seconds" --arg commit "$(git -C "$REPO" rev-parse --short HEAD 2>/dev/null || echo unknown)" \
        --arg finished "$(date -u +%Y-%m-%dT%H:%M:%SZ)" --slurpfile all "$WORK/runs" '
        {schema: 1, machine: $machine[0], commit: $commit, finished: $finished, quick: $quick, runs_each: $runs,
         seconds_each: $seconds, goals: $goals[0], measurements: $statistics[0], runs: $all}' >"$WORK/document.json"
}

print_tables() {
    jq -r "$ROUND"' .measurements | to_entries[] | [.key, (.value.median | rounded), (.value.min | rounded), (.value.max | rounded),
            (.value.unit // "-"), (.value.values | length), .value.description
            + (if .value.errors == [] then "" else " (failed: \(.value.errors | length))" end)] | @tsv' "$WORK/document.json" |
        awk -F'\t' 'BEGIN { printf "\n%-18s %12s %12s %12s  %-13s %4s  %s\n", "measurement", "median", "min", "max", "unit", "runs", "" }
            { printf "%-18s %12s %12s %12s  %-13s %4s  %s\n", $1, $2, $3, $4, $5, $6, $7 }'
    jq -r "$ROUND"' .goals[] | [.goal, .what, (.value | rounded), .unit,
            (if .target == null then "-" else "\(.relation) \(.target | rounded)" end),
            (if .met == null then "-" elif .met then "yes" else "NO" end)] | @tsv' "$WORK/document.json" |
        awk -F'\t' 'BEGIN { printf "\n%-5s %-58s %12s %-12s %10s  %s\n", "goal", "", "value", "unit", "target", "met" }
            { printf "%-5s %-58s %12s %-12s %10s  %s\n", $1, $2, $3, $4, $5, $6 }'
    jq -r '"\n\(.machine.fingerprint); \(.runs_each) runs of \(.seconds_each) s each; commit \(.commit)"' "$WORK/document.json"
}

# print_comparison FILE: how each goal changed since then.
print_comparison() {
    jq -r --slurpfile before "$1" "$ROUND"' ($before[0].goals | map({key: "\(.goal) \(.part)", value: .value}) | from_entries) as $old
        | .goals[] | ($old["\(.goal) \(.part)"]) as $was | select($was != null and .value != null)
        | [.goal, .what, ($was | rounded), (.value | rounded), .unit,
           (if $was == 0 then "-" else "\((.value / $was - 1) * 1000 | round / 10) %" end)] | @tsv' "$WORK/document.json" |
        awk -F'\t' -v file="$1" 'BEGIN { printf "\n%-5s %-58s %12s %12s %-12s %9s\n", "goal", "against " file, "then", "now", "unit", "change" }
            { printf "%-5s %-58s %12s %12s %-12s %9s\n", $1, $2, $3, $4, $5, $6 }'
}

# The result files of each measurement's median run, one each.
median_results() {
    jq -r '. as $all | .measurements | to_entries[] | select(.value.median != null) | .key as $name | .value.median as $median
        | [$all.runs[] | select(.name == $name and .value != null)] | min_by(.value - $median | fabs)
        | "\(.name).\(.run).json"' "$WORK/document.json" | while read -r file; do
        [ ! -s "$WORK/results/$file" ] || printf '%s\n' "$WORK/results/$file"
    done
}

write_up() {
    local files
    make_document
    print_tables
    [ -z "$compare" ] || print_comparison "$compare"
    [ -z "$json" ] || cp "$WORK/document.json" "$json"
    [ -n "$html" ] || return 0
    mapfile -t files < <(median_results)
    [ ${#files[@]} -gt 0 ] || die "nothing to draw: no run of holdfast-perf came to its end"
    "$PERF" report --html "$html" "${files[@]}" >/dev/null
}
