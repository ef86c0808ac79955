# The clients that drill and demo put on the lab; sourced, never run. Needs lib.sh.
# shellcheck shell=bash

LAB=$REPO/scripts/lab
CLIENTS=() # "name pid" of what runs

# client NAME COMMAND…: starts COMMAND in the client's namespace; its answer goes to $WORK/NAME.json.
client() {
    local name=$1
    shift
    ip netns exec hf-client "$@" >"$WORK/$name.json" 2>"$WORK/$name.err" </dev/null &
    CLIENTS+=("$name $!")
}

# Whom probe and http_download talk to; over_ipv6 COMMAND… has them talk to the IPv6 address.
over_ipv6() {
    local HOST="[$VIP6]"
    "$@"
}

probe() { # probe NAME COMMAND SERVICE-PORT ARGUMENTS…
    local name=$1 command=$2 port=$3
    shift 3
    client "$name" "$PROBE" "$command" --target "${HOST:-$VIP}:$port" --json "$@"
}

# curl, with what arrives timed and hashed: the answer says bytes, longest gap and SHA-256.
# shellcheck disable=SC2016
http_download() { # http_download NAME FILE CURL-ARGUMENTS…
    local name=$1 file=$2
    shift 2
    rm -f "$WORK/$name.sha256"
    client "$name" bash -c 'set -o pipefail; probe=$1 hash=$2 url=$3; shift 3
        curl --silent --show-error --fail "$@" "$url" | tee >(sha256sum >"$hash.new"; mv "$hash.new" "$hash") | "$probe" meter --json' \
        - "$PROBE" "$WORK/$name.sha256" "http://${HOST:-$VIP}:$HTTP_PORT/$file" "$@"
}

# Waits for all clients; returns 1 if any found something wrong. FAILED names those.
collect_clients() {
    local entry name pid
    FAILED=()
    for entry in "${CLIENTS[@]}"; do
        read -r name pid <<<"$entry"
        wait "$pid" || FAILED+=("$name")
    done
    CLIENTS=()
    [ ${#FAILED[@]} -eq 0 ]
}

end_clients() {
    local entry
    for entry in "${CLIENTS[@]}"; do kill "${entry#* }" 2>/dev/null || true; done
    for entry in "${CLIENTS[@]}"; do wait "${entry#* }" 2>/dev/null || true; done
    CLIENTS=()
}

same_sha256() { # same_sha256 NAME FILE: what NAME received is FILE
    # The hash is made beside the pipeline, which does not wait for it.
    until_true 30 "the checksum of what $1 received" test -e "$WORK/$1.sha256"
    [ "$(cut -d' ' -f1 "$WORK/$1.sha256" 2>/dev/null)" = "$(sha256sum <"$2" | cut -d' ' -f1)" ]
}

gap_us() { jq -r '.longest_gap_us // 0' "$WORK/$1.json" 2>/dev/null || echo 0; }
resets() { jq -r '.resets // 0' "$WORK/$1.json" 2>/dev/null || echo 0; }

# The other node.
peer_of() { [ "$1" = a ] && echo b || echo a; }
