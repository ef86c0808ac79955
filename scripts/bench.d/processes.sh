# The processes that a benchmark starts, known by name until they are ended; sourced, never run.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the other parts use what is set here
#
# Measurements run in subshells, so what is known about a process lies in $WORK/processes/NAME: its id and
# the time of its start. Nothing else is ever signalled.

# spawn NAME COMMAND…: starts COMMAND in the background; its output goes to $WORK/NAME.log. Whatever is
# measured goes before all else that wants a core, the yardsticks just as the nodes.
spawn() {
    local name=$1
    shift
    setsid nice -n -20 "$@" >"$WORK/$name.log" 2>&1 </dev/null &
    disown
    printf '%s %s\n' $! "$(state_and_start $! | cut -d' ' -f2)" >"$WORK/processes/$name"
}

# The state of a process and the time of its start, without a process for the question.
state_and_start() {
    local stat fields
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    read -ra fields <<<"${stat##*) }"
    echo "${fields[0]} ${fields[19]}"
}

# The process id of NAME, if it still runs.
pid_of() {
    local pid started
    read -r pid started 2>/dev/null <"$WORK/processes/$1" || return 1
    case $(state_and_start "$pid") in
    "Z $started" | "X $started") return 1 ;;
    *" $started") echo "$pid" ;;
    *) return 1 ;;
    esac
}
runs() { pid_of "$1" >/dev/null; }
is_gone() { ! runs "$1"; }

# finish NAME [SECONDS]: ends a process, by force if it takes longer than that (3).
finish() {
    local pid tries=$((${2:-3} * 50))
    if pid=$(pid_of "$1"); then
        kill -CONT "$pid" 2>/dev/null || true
        kill -TERM "$pid" 2>/dev/null || true
        while runs "$1" && [ "$tries" -gt 0 ]; do
            sleep 0.02
            tries=$((tries - 1))
        done
        kill -KILL "$pid" 2>/dev/null || true
    fi
    rm -f "$WORK/processes/$1"
}

finish_all() {
    local file pid
    for file in "$WORK"/processes/*; do
        [ -e "$file" ] || continue
        pid=$(pid_of "$(basename "$file")") || continue
        kill -TERM "$pid" 2>/dev/null || true
    done
    for file in "$WORK"/processes/*; do
        [ ! -e "$file" ] || finish "$(basename "$file")" 1
    done
}

# must_run NAME: dies with the last words of NAME if it ended.
must_run() {
    runs "$1" && return 0
    tail -n 5 "$WORK/$1.log" >&2 || true
    die "$1 died while it was needed; its last words are above"
}

