# What goes wrong between the machines of the lab: loss, cuts. Sourced by lab.
# shellcheck shell=bash disable=SC2154

# PERCENT (may have a fraction) as parts of 100,000.
parts() { awk -v p="$1" 'BEGIN { if (p !~ /^[0-9]+(\.[0-9]+)?$/ || p > 100) exit 1; printf "%d", p * 1000 }'; }

# The nftables condition for that share of the frames.
at_random() { [ "$1" -ge 100000 ] || echo "numgen random mod 100000 < $1"; }

command_loss() {
    need_up
    local where=${1:-} share senders=("${NODES[@]}") node
    share=$(parts "${2:-}") || die "loss: PERCENT is a number from 0 to 100, got '${2:-nothing}'"
    if [ $# -gt 2 ]; then
        is_node "$3" && [ "$where" != lan ] ||
            die "loss: a NODE is one of '${NODES[*]}' and speaks on a link, got '$3' on '$where'"
        senders=("$3")
    fi
    case $where in
    lan) loss_on_lan "$share" ;;
    link) for node in "${senders[@]}"; do loss_on_link "$node" link0 "$share"; done ;;
    link2)
        [ ${#LINKS[@]} -eq 2 ] || die "loss: there is one link: 'lab up --links 2' makes another"
        for node in "${senders[@]}"; do loss_on_link "$node" link1 "$share"; done
        ;;
    *) die "loss: expected 'lan', 'link' or 'link2', got '${where:-nothing}'" ;;
    esac
}

loss_on_lan() { # what the nodes send enters the bridge; what the client sends leaves it
    in_ns client nft delete table bridge holdfast_loss 2>/dev/null || true
    [ "$1" -gt 0 ] || return 0
    in_ns client nft -f - <<NFT
table bridge holdfast_loss {
    chain from_nodes { type filter hook prerouting priority 0; $(at_random "$1") drop; }
    chain from_client { type filter hook output priority 0; $(at_random "$1") drop; }
}
NFT
}

# A dropped frame would stay in the packet socket's ring and be sent again; one that is diverted is lost.
loss_on_link() { # loss_on_link NODE INTERFACE PARTS
    in_ns "$1" nft delete table netdev "holdfast_loss_$2" 2>/dev/null || true
    [ "$3" -gt 0 ] || return 0
    if ! in_ns "$1" ip link show sink0 >/dev/null 2>&1; then
        in_ns "$1" ip link add sink0 mtu 9000 type veth peer name sink1
        in_ns "$1" ip link set sink0 up
        in_ns "$1" ip link set sink1 mtu 9000 up
    fi
    in_ns "$1" nft -f - <<NFT
table netdev holdfast_loss_$2 {
    chain out { type filter hook egress device $2 priority 0; $(at_random "$3") fwd to sink0; }
}
NFT
}

# Drops what passes a bridge in NAMESPACE on that CONDITION, until the lab is mended.
drop_on_bridge() { # drop_on_bridge NAMESPACE CHAIN CONDITION
    in_ns "$1" nft -f - <<NFT
table bridge holdfast_cut {
    chain prerouting { type filter hook prerouting priority 10; }
    chain forward { type filter hook forward priority 10; }
    chain input { type filter hook input priority 10; }
    chain output { type filter hook output priority 10; }
    chain postrouting { type filter hook postrouting priority 10; }
}
add rule bridge holdfast_cut $2 $3 drop
NFT
}

cut_port() { # cut_port NAMESPACE PORT: nothing enters the bridge there, and nothing leaves it
    drop_on_bridge "$1" prerouting "iifname $2"
    drop_on_bridge "$1" postrouting "oifname $2"
}

cut_ports() { # cut_ports NAMESPACE PREFIX NODE NODE: nothing goes from the port of one to the other's
    drop_on_bridge "$1" forward "iifname $2$3 oifname $2$4"
    drop_on_bridge "$1" forward "iifname $2$4 oifname $2$3"
}

cut_link() { # cut_link LINK NODE: a cable is cut at both its ends
    local node
    if [ ${#NODES[@]} -gt 2 ]; then
        cut_port w "$(link_port "$1" "$2")"
    else
        for node in "${NODES[@]}"; do loss_on_link "$node" "$1" 100000; done
    fi
}

cut_apart() { # cut_apart NODE NODE|w
    local link
    if [ "$2" = w ]; then
        drop_on_bridge w input "iifname mgmt-$1"
        drop_on_bridge w output "oifname mgmt-$1"
        return
    fi
    cut_ports client lan- "$1" "$2"
    [ "$(register)" = pair ] || cut_ports w mgmt- "$1" "$2"
    for link in "${LINKS[@]}"; do
        if [ ${#NODES[@]} -gt 2 ]; then cut_ports w "$(link_port "$link" '')" "$1" "$2"; else cut_link "$link" "$1"; fi
    done
}

command_cut() {
    need_up
    local node=${1:-} from=${2:-}
    is_node "$node" || die "cut: expected one of '${NODES[*]}', got '${node:-nothing}'"
    case $from in
    lan) cut_port client "lan-$node" ;;
    link) cut_link link0 "$node" ;;
    link2)
        [ ${#LINKS[@]} -eq 2 ] || die "cut: there is one link: 'lab up --links 2' makes another"
        cut_link link1 "$node"
        ;;
    management)
        [ "$(register)" != pair ] || die "cut: a pair's register needs no management network"
        cut_port w "mgmt-$node"
        ;;
    *)
        { is_node "$from" && [ "$from" != "$node" ]; } || { [ "$from" = w ] && has_witness; } ||
            die "cut: expected 'lan', 'link', 'link2', 'management', another node or the witness, got '${from:-nothing}'"
        cut_apart "$node" "$from"
        ;;
    esac
}

command_mend() {
    need_up
    local node link
    for node in client w; do
        ! namespace_exists "hf-$node" || in_ns "$node" nft delete table bridge holdfast_cut 2>/dev/null || true
    done
    loss_on_lan 0
    for node in "${NODES[@]}"; do
        for link in "${LINKS[@]}"; do loss_on_link "$node" "$link" 0; done
    done
}
