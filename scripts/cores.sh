# Who gets the cores while something is measured; sourced, never run. Needs $WORK.
# shellcheck shell=bash
# shellcheck disable=SC2034 # those who source this use what is set here

SERVER_CORE=0
CLIENT_CORE=1

# The two cores are busy, so this script must not wait behind those whom it started, nor the kernel's threads
# that bring them their packets. And where Linux groups what it schedules by session, niceness counts only
# within one, and who yields gives nothing to others.
AUTOGROUP=/proc/sys/kernel/sched_autogroup_enabled
take_cores() {
    local pid
    renice -n -20 -p $$ >/dev/null 2>&1 || true
    for pid in $(pgrep -x 'ksoftirqd/[0-9]+'); do
        printf '%s %s\n' "$pid" "$(ps -o ni= -p "$pid")" >>"$WORK/ksoftirqd"
        renice -n -20 -p "$pid" >/dev/null 2>&1 || true
    done
    [ ! -w "$AUTOGROUP" ] || {
        cat "$AUTOGROUP" >"$WORK/autogroup"
        echo 0 >"$AUTOGROUP"
    }
}
give_cores_back() {
    local pid nice
    [ ! -e "$WORK/autogroup" ] || cat "$WORK/autogroup" >"$AUTOGROUP"
    [ -e "$WORK/ksoftirqd" ] || return 0
    while read -r pid nice; do renice -n "$nice" -p "$pid" >/dev/null 2>&1 || true; done <"$WORK/ksoftirqd"
}
