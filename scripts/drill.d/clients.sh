# The clients of a drill: those of a round or case, and those that stay. Sourced by drill.
# shellcheck shell=bash disable=SC2154

FOREVER_S=36000
FIRST=() # the clients that stay from the first round or case to the last

start_first_clients() { # start_first_clients [busy]: one of them takes all that it can
    local stop=$WORK/stop-first
    rm -f "$stop"
    [ $# -eq 0 ] || probe first-busy download "$STREAM_PORT" --endless --duration $FOREVER_S --until-file "$stop"
    probe first-echo echo "$ECHO_PORT" -n 10 --size 64 --interval 10 --duration $FOREVER_S --until-file "$stop"
    over_ipv6 probe first-echo6 echo "$ECHO_PORT" -n 5 --size 64 --interval 10 --duration $FOREVER_S --until-file "$stop"
    probe first-halfclose halfclose "$ECHO_PORT" --hold-until-file "$stop" --duration $FOREVER_S
    probe first-idle idle "$ECHO_PORT" -n 20 --until-file "$stop" --duration $FOREVER_S
    FIRST=("${CLIENTS[@]}")
    CLIENTS=()
    # Who is to end before it has said anything has seen nothing right.
    sleep 1
}

# Those that have ended, and should not have.
lost_clients() {
    local entry
    for entry in "${FIRST[@]}"; do
        kill -0 "${entry#* }" 2>/dev/null || echo "${entry% *}"
    done
}

# They end, and say what they saw; returns 1 if any found something wrong.
end_first_clients() {
    touch "$WORK/stop-first"
    CLIENTS=("${FIRST[@]}")
    FIRST=()
    collect_clients
}

start_clients() { # start_clients download|upload: which one is busy
    local stop=$WORK/stop
    rm -f "$stop"
    case $1 in
    download) probe busy download "$STREAM_PORT" --endless --duration 60 --until-file "$stop" ;;
    upload) probe busy upload "$DISCARD_PORT" --duration 60 --until-file "$stop" ;;
    esac
    http_download curl "$FILE" --limit-rate 8M --max-time 60
    probe both upload-echo "$ECHO_PORT" --bytes 8000000
    probe echo echo "$ECHO_PORT" -n 10 --size 64 --interval 10 --duration 60 --until-file "$stop"
    over_ipv6 probe echo6 echo "$ECHO_PORT" -n 5 --size 64 --interval 10 --duration 60 --until-file "$stop"
    over_ipv6 http_download curl6 "$FILE" --limit-rate 8M --max-time 60
    probe halfclose halfclose "$ECHO_PORT" --hold-until-file "$stop" --duration 60
    probe idle idle "$ECHO_PORT" -n 20 --until-file "$stop" --duration 60
}

# What curl was given is the file.
same_files() {
    local name same=0
    for name in curl curl6; do
        same_sha256 "$name" "$WWW/$FILE" || {
            same=1
            FAILED+=("$name-checksum")
        }
    done
    return $same
}
