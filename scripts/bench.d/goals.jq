# The goals, judged by the medians. Input: the statistics of all measurements by name.
# $machine.clock_ghz turns time into cycles; $quick means that a goal with a number of its own is not judged.

def median($name): .[$name].median;
def ratio($a; $b): median($a) as $a | median($b) as $b | if $a and $b and $b > 0 then $a / $b else null end;
def lowest(values): [values] | if any(. == null) then null else min end;
def us_each($name): median($name) | if . and . > 0 then 1e6 / . else null end;
def at_least($target): {target: $target, relation: ">=", met: (if .value == null then null else .value >= $target end)};
def at_most($target): {target: $target, relation: "<=", met: (if .value == null then null else .value <= $target end)};
def unjudged: {target: null, relation: null, met: null};
def behind($names): . as $all | [$names[] | select($all[.]) | {(.): $all[.]}] | add // {};

# goal(number; part; what; unit; value; judgement; measurements)
def goal($number; $part; $what; $unit; value; judgement; $names):
    . as $all | {goal: $number, part: $part, what: $what, unit: $unit, value: value}
    | . + judgement | . + {runs: ($all | behind($names))};

[
    goal(1; "rate"; "RPC over memif, as a share of csum packets"; "ratio"; ratio("memif_rpc"; "csum_packets");
        at_least(0.5); ["memif_rpc", "csum_packets", "macswap_packets"]),
    goal(1; "time"; "time per RPC over memif"; "ns"; us_each("memif_rpc") | if . then . * 1000 else null end;
        unjudged; ["memif_rpc", "memif_busy"]),
    goal(1; "cycles"; "cycles per RPC over memif"; "cycles";
        us_each("memif_rpc") | if . and $machine.clock_ghz then . * 1000 * $machine.clock_ghz else null end;
        unjudged; ["memif_rpc"]),
    goal(2; "rpc"; "RPC of the pair, as a share of solo"; "ratio"; ratio("pair_rpc"; "memif_rpc");
        at_least(0.85); ["pair_rpc", "memif_rpc"]),
    goal(2; "busy"; "the same, were node a's core the only limit"; "ratio"; ratio("memif_busy"; "pair_busy");
        unjudged; ["memif_busy", "pair_busy"]),
    goal(2; "bulk"; "bulk of the pair, as a share of solo, the worse direction"; "ratio";
        lowest(ratio("pair_down"; "memif_down"), ratio("pair_up"; "memif_up"));
        at_least(0.9); ["pair_down", "memif_down", "pair_up", "memif_up"]),
    (median("link_round_trip") as $link
    | goal(2; "latency"; "latency that the pair adds, the larger of client and gate"; "us";
        median("pair_low_load") as $pair | median("memif_low_load") as $solo | median("pair_gate") as $gate
        | if $pair and $solo and $gate then [$pair - $solo, $gate] | max else null end;
        if $link then at_most($link + 5) else {target: null, relation: "<=", met: null} end;
        ["pair_low_load", "memif_low_load", "pair_gate", "link_round_trip"])),
    goal(3; "core"; "RPC over memif to echo-server over veth"; "ratio"; ratio("memif_rpc"; "echo_rpc");
        at_least(30); ["memif_rpc", "echo_rpc"]),
    goal(3; "veth"; "RPC over af_packet to echo-server over veth"; "ratio"; ratio("veth_rpc"; "echo_rpc");
        at_least(1); ["veth_rpc", "echo_rpc"]),
    goal(3; "http"; "HTTP over af_packet to nginx over veth"; "ratio"; ratio("veth_http"; "nginx_http");
        at_least(1); ["veth_http", "nginx_http"]),
    goal(3; "tap"; "RPC over tap (F-Stack: 57,000 to 63,000)"; "requests/s"; median("tap_rpc");
        at_least(120000); ["tap_rpc"]),
    goal(3; "ping"; "ping-pong over af_packet to echo-server, median"; "ratio"; ratio("veth_ping"; "echo_ping");
        at_most(1); ["veth_ping", "echo_ping"]),
    goal(4; "crr"; "core time of a whole connection over memif"; "us"; us_each("memif_crr");
        at_most(3); ["memif_crr"]),
    goal(5; "1500"; "bulk over memif, MTU 1500, the worse direction"; "Gbit/s";
        lowest(median("memif_down"), median("memif_up")); at_least(10); ["memif_down", "memif_up"]),
    goal(5; "9000"; "bulk over memif, MTU 9000, the worse direction"; "Gbit/s";
        lowest(median("memif_jumbo_down"), median("memif_jumbo_up")); at_least(25);
        ["memif_jumbo_down", "memif_jumbo_up"]),
    goal(6; "alive"; "idle connections alive after a takeover"; "connections"; median("many_alive");
        at_least(1000000) | if $quick then .met = null else . end;
        ["many_alive", "many_resident_a", "many_resident_b"]),
    goal(6; "memory"; "engine memory of an idle connection"; "bytes"; median("many_bytes");
        at_most(512); ["many_bytes"]),
    goal(6; "hot"; "RPC of 1,000 hot connections among the idle ones, to alone"; "ratio";
        ratio("hot_among_idle"; "hot_alone"); at_least(0.8) | if $quick then .met = null else . end;
        ["hot_among_idle", "hot_alone"]),
    goal(7; "request"; "core time of an RPC with 100,000 active, to 100"; "ratio";
        ratio("cost_100000"; "cost_100"); at_most(1.25); ["cost_100", "cost_100000"]),
    goal(7; "packet"; "core time of a packet with 100,000 active, to 100"; "ratio";
        ratio("cost_100000_packet"; "cost_100_packet"); unjudged; ["cost_100_packet", "cost_100000_packet"]),
    goal(8; "last"; "takeover of 100,000 over memif: the last kick after the decision"; "ms";
        median("memif_takeover_last"); at_most(50);
        ["memif_takeover_last", "memif_takeover_first", "memif_takeover_kicked"]),
    goal(8; "veth"; "the same over af_packet, where one kernel answers each"; "ms"; median("takeover_last");
        unjudged; ["takeover_last", "takeover_first", "takeover_alive"]),
    goal(9; "two"; "RPC over af_packet with two workers, to one"; "ratio"; ratio("veth_two_rpc"; "veth_rpc");
        unjudged; ["veth_two_rpc", "veth_rpc"]),
    goal(10; "100k"; "a node comes back to 100,000: the longest wait of a connection"; "ms";
        median("rejoin_100000_pause"); at_most(5); ["rejoin_100000_pause", "rejoin_100000_time"]),
    goal(10; "many"; "the same with 1,000,000 (100,000 when quick)"; "ms"; median("rejoin_many_pause");
        at_most(20); ["rejoin_many_pause", "rejoin_many_time"]),
    goal(10; "switchover"; "a switchover with 10,000: the longest pause"; "ms"; median("switchover_10000_pause");
        at_most(2); ["switchover_10000_pause", "switchover_10000_alive"]),
    goal(11; "bulk"; "bulk upload of the pair, log encrypted to log in the clear"; "ratio";
        ratio("pair_up"; "plain_up"); at_least(0.9); ["pair_up", "plain_up"])
]
