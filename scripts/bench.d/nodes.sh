# Nodes to be measured: over memif without namespaces, and in the lab; sourced, never run.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the other parts use what is set here
#
# Node a is on the server's core and never sleeps. The backup, where there is one, shares the other core
# with whoever makes the load: both sleep as soon as they have nothing to do. Neither yields, for who yields
# waits for a whole slice of whatever else wants the core; who wakes from a sleep runs at once.

# Detection timeout where no takeover is measured: a node that the machine holds up for longer than that
# counts itself as dead, and one that is alone then has nobody to ask.
CALM_MS=200

VIP=10.77.0.100
VIP6=fd77::100
SECRET=5f1d7c0e9a2b4836b7e04d5c6f8a91323c0e5a7b9d2f41688e1b3d5f70a2c4e6
GENERATOR_ADDRESS=10.77.0.11/24 # the lab's client is 10
GENERATOR_SOURCES=10.77.0.110-10.77.0.140
GENERATOR_ADDRESS6=fd77::11/64
GENERATOR_SOURCES6=fd77::110-fd77::140

# --- over memif ---------------------------------------------------------------------------------

memif_device() { printf 'role=%s,socket=%s' "$1" "$WORK/$2.sock"; } # memif_device server|client NAME

# memif_config NODE MTU CONNECTIONS LINK-ROLE LONE-START-MS: the node's file. LINK_IPV6: the link speaks that.
# SHARDS: other than one. LINK_ENCRYPTION: of the log.
memif_config() {
    local node=$1 mtu=$2 connections=$3 link_role=$4 lone_start_ms=$5 host=1 peer=b peer_host=2 core=$SERVER_CORE idle=own
    if [ "$node" = b ]; then
        host=2 peer=a peer_host=1 core=$CLIENT_CORE idle=share
    fi
    local link=10.78.0.$host/24 peer_link=10.78.0.$peer_host
    [ -z "${LINK_IPV6:-}" ] || link=fd78::$host/64 peer_link=fd78::$peer_host
    write_idle "$idle" "$WORK/$node.profile.toml"
    cat >"$WORK/$node.toml" <<TOML
[cluster]
name = "bench"
secret = "$SECRET"
encryption = "${LINK_ENCRYPTION:-aes-256-gcm}"
vip = ["$VIP/24", "$VIP6/64"]
shards = ${SHARDS:-1}
max_connections = $connections
buffer_mib = 512
mtu = $mtu
detection_timeout_ms = $CALM_MS

[[cluster.service]]
name = "echo"
kind = "echo"
port = 7
backlog = 65536

[[cluster.service]]
name = "discard"
kind = "discard"
port = 9

[[cluster.service]]
name = "stream"
kind = "stream"
port = 19

[node]
name = "$node"
priority = $((100 / host))
profile = "memif"
profile_file = "$WORK/$node.profile.toml"
cores = [$core]
lone_start_ms = $lone_start_ms

[node.lan]
device = "$(memif_device server "lan-$node")"
address = ["10.77.0.$host/24", "fd77::$host/64"]

[node.link]
device = "$(memif_device "$link_role" link)"
address = "$link"
mtu = 9000

[peer]
name = "$peer"
lan = "10.77.0.$peer_host"
link = "$peer_link"

[admin]
socket = "$WORK/$node.sock"
TOML
}

# serve_over_memif MTU CONNECTIONS: node a alone.
serve_over_memif() {
    memif_config a "$1" "$2" server "$((10 * CALM_MS))"
    write_idle own "$WORK/generator.profile.toml"
    rm -f "$WORK"/{lan-a,link}.sock
    spawn node-a "$HOLDFAST" run -c "$WORK/a.toml"
    until_true 10 "the node to serve (see $WORK/node-a.log)" node_serves_or_died a
    must_run node-a
}

# serve_pair_over_memif MTU CONNECTIONS: a with b behind it. memif has two ends and no more, and the generator
# needs the one of node a: so a relay is the LAN until the pair has formed, and after that the link alone
# carries heartbeats and log.
serve_pair_over_memif() {
    memif_config a "$1" "$2" server 15000
    memif_config b "$1" "$2" client 15000
    write_idle share "$WORK/generator.profile.toml"
    rm -f "$WORK"/{lan-a,lan-b,link}.sock
    spawn node-a "$HOLDFAST" run -c "$WORK/a.toml"
    until_true 10 "node a to answer (see $WORK/node-a.log)" node_answers_or_died a
    spawn node-b "$HOLDFAST" run -c "$WORK/b.toml"
    until_true 10 "node b to answer (see $WORK/node-b.log)" node_answers_or_died b
    must_run node-a
    must_run node-b
    relay_until_in_sync 20
}

# relay_until_in_sync SECONDS: a relay is the LAN of the two nodes until they hold the same state.
relay_until_in_sync() {
    testpmd relay "$CLIENT_CORE" "$(memif_port 0 client "$WORK/lan-a.sock") $(memif_port 1 client "$WORK/lan-b.sock")" \
        --forward-mode=io --port-topology=paired
    until_true "$1" "the pair to be in sync (see $WORK/node-*.log)" pair_in_sync
    end_testpmd relay
}

# drain_node_b: what b sends on the LAN is taken by a testpmd that answers ARP, on node a's core, which is free
# by then.
drain_node_b() {
    testpmd drain "$SERVER_CORE" "$(memif_port 0 client "$WORK/lan-b.sock")" --forward-mode=icmpecho \
        --port-topology=loop
    until_true 10 "testpmd to start" grep -q '^testpmd>' "$WORK/testpmd-drain.log"
}

node_status() { "$HOLDFAST" status --json -s "$WORK/$1.sock" 2>/dev/null; }
node_answers_or_died() { is_gone "node-$1" || node_status "$1" >/dev/null; }
pair_in_sync() {
    node_status a | jq -e '.in_sync and .serving' >/dev/null && node_status b | jq -e .in_sync >/dev/null
}
node_serves() { node_status "$1" | jq -e '.role == "primary" and .serving' >/dev/null; }
node_serves_or_died() { is_gone "node-$1" || node_serves "$1"; }

# --- in the lab ---------------------------------------------------------------------------------

# serve_in_lab af_packet|tap NODES CONNECTIONS DETECTION-MS [CORES]: nodes of the lab; with one only, it
# serves alone.
serve_in_lab() {
    local kind=$1 nodes=$2 node
    "$LAB" up --vdev "$kind"
    prepare_client
    write_idle own "$LAB_DIR/a.profile.toml"
    write_idle share "$LAB_DIR/b.profile.toml"
    write_idle share "$WORK/generator.profile.toml"
    export LAB_CONNECTIONS=$3 LAB_DETECTION_MS=$4 LAB_CORES=${5:-} LAB_LONE_START_MS=15000
    [ "$nodes" != a ] || LAB_LONE_START_MS=$((10 * LAB_DETECTION_MS))
    for node in $nodes; do LAB_NO_WAIT=yes "$LAB" start "$node"; done
    [ "$nodes" = a ] || "$LAB" start
    until_true 20 "the lab's node a to serve (see $LAB_DIR/a.log)" lab_serves
}

lab_serves() { [ "$("$LAB" primary 2>/dev/null)" = a ]; }

# A port of its own on the lab's bridge for a generator that brings its own stack.
plug_in_generator() {
    in_ns client ip link add gen0 type veth peer name lan-gen
    in_ns client ip link set lan-gen master lan up
    in_ns client ip link set gen0 up
    for port in gen0 lan-gen; do
        in_ns client ethtool -K "$port" rx off tx off tso off gso off gro off >/dev/null 2>&1 || true
    done
}
