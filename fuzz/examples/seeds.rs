//! Makes the corpora of the repository from the project's own encoders: `cargo run --example seeds`
//! in `fuzz/`, whenever a format has changed. Files that a finding left there stay.

use std::fs;
use std::io;
use std::net::Ipv6Addr;
use std::path::Path;

use controlplane::message::{Body, Message, Which};
use controlplane::{NodeId, NodeName};
use engine::addr::{Addr, Endpoint};
use engine::seq::SeqNumber;
use engine::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, Mac};
use engine::wire::tcp::{Flags, Options, Timestamps};
use engine::wire::{arp, icmpv6, ipv4, ipv6, mld, ndp, udp};
use fuzz::engine::action::{Action, Kind};
use fuzz::packets::{Segment, mend};
use fuzz::{link, node, snapshot};
use replication::frame::{self, Address, Confirm, Data, Gap};
use replication::record::header;
use replication::{Epoch, Incarnation, KeyRing, RecordKind};

fn main() -> io::Result<()> {
    frames()?;
    frames_over_ipv6()?;
    options()?;
    engine()?;
    snapshots()?;
    batches()?;
    links()?;
    configs()?;
    admin()?;
    control()?;
    http()?;
    nodes()
}

fn put(target: &str, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), parts.concat())
}

const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 9);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x64);

fn segment(flags: Flags, options: Options, payload: &[u8]) -> Vec<u8> {
    let (client, vip) = ([10, 77, 0, 9], [10, 77, 0, 100]);
    let ends = [client, vip].map(Addr::from_ipv4_octets);
    segment_between(ends, flags, options, payload)
}

fn segment_between(
    [from, to]: [Addr; 2],
    flags: Flags,
    options: Options,
    payload: &[u8],
) -> Vec<u8> {
    let segment = Segment {
        from: Endpoint::new(from, 40_000),
        to: Endpoint::new(to, 80),
        seq: SeqNumber(1),
        ack: SeqNumber(2),
        flags,
        window: 65_535,
        options,
        payload: payload.to_vec(),
    };
    segment.to_bytes()
}

fn syn_options() -> Options {
    Options {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 1, echo: 0 }),
        ..Options::default()
    }
}

fn sack_options() -> Options {
    let sack = [(SeqNumber(10), SeqNumber(20)), (SeqNumber(30), SeqNumber(40))];
    Options { sack: sack.into_iter().collect(), ..Options::default() }
}

fn frames() -> io::Result<()> {
    let (us, them) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 9]));
    let ethernet = |ethertype| Header { destination: us, source: them, ethertype }.to_bytes();
    let request = arp::Packet::request(them, [10, 77, 0, 9].into(), [10, 77, 0, 100].into());
    put("frame", "arp", &[&[0], &ethernet(ETHERTYPE_ARP), &request.to_bytes()])?;
    let ip = |protocol| ipv4::Header {
        source: [10, 77, 0, 9].into(),
        destination: [10, 77, 0, 1].into(),
        protocol,
        ttl: 64,
    };
    let mut datagram = vec![0; ipv4::HEADER_LEN + udp::HEADER_LEN];
    udp::emit(&ip(ipv4::PROTOCOL_UDP), (7400, 7401), &[b"hello"], &mut datagram);
    put("frame", "udp", &[&[0], &ethernet(ETHERTYPE_IPV4), &datagram, b"hello"])?;
    let mut echo = ip(ipv4::PROTOCOL_ICMP).to_bytes(12).to_vec();
    echo.extend_from_slice(&[8, 0, 0, 0, 0, 7, 0, 9, 1, 2, 3, 4]);
    mend(&mut echo);
    put("frame", "icmp", &[&[1], &ethernet(ETHERTYPE_IPV4), &echo])?;
    let syn = segment(Flags::SYN, syn_options(), b"");
    put("frame", "syn", &[&[1], &ethernet(ETHERTYPE_IPV4), &syn, &[0; 6]])?;
    let data = segment(Flags::ACK | Flags::PSH, sack_options(), b"some bytes");
    put("frame", "data", &[&[0], &ethernet(ETHERTYPE_IPV4), &data])?;
    // What a router says of a segment that we have sent.
    let sent = segment_between(
        [[10, 77, 0, 100], [10, 77, 0, 9]].map(Addr::from_ipv4_octets),
        Flags::ACK,
        Options::default(),
        &[0; 8],
    );
    let mut error = ip(ipv4::PROTOCOL_ICMP).to_bytes(8 + sent.len() as u16).to_vec();
    error.extend([3, 4, 0, 0, 0, 0, 5, 0]);
    error.extend(&sent);
    mend(&mut error);
    put("frame", "icmp-error", &[&[1], &ethernet(ETHERTYPE_IPV4), &error])
}

/// An ICMPv6 message for the service address.
fn icmpv6_packet(source: Ipv6Addr, hop_limit: u8, message: &[u8]) -> Vec<u8> {
    let header = ipv6::Header {
        source,
        destination: VIP_V6,
        protocol: ipv6::PROTOCOL_ICMPV6,
        hop_limit,
        traffic_class: 0,
        flow_label: 0,
    };
    let mut packet = [&header.to_bytes(message.len() as u16)[..], message].concat();
    mend(&mut packet);
    packet
}

/// `packet` with an extension header of this type in front of what it carries.
fn extended(packet: &[u8], kind: u8, body: &[u8]) -> Vec<u8> {
    let (header, rest) = packet.split_at(ipv6::HEADER_LEN);
    let mut packet = [header, &[header[6]], body, rest].concat();
    packet[6] = kind;
    mend(&mut packet);
    packet
}

fn frames_over_ipv6() -> io::Result<()> {
    let (us, them) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 9]));
    let ethernet = Header { destination: us, source: them, ethertype: ETHERTYPE_IPV6 }.to_bytes();
    let put = |name: &str, packet: &[u8]| put("frame", name, &[&[1], &ethernet, packet]);
    let ends = [CLIENT_V6, VIP_V6].map(Addr::from);
    let syn = segment_between(ends, Flags::SYN, syn_options(), b"");
    put("syn-ipv6", &syn)?;
    put("options-ipv6", &extended(&syn, ipv6::DESTINATION_OPTIONS, &[0, 1, 4, 0, 0, 0, 0]))?;
    put("hop-by-hop-ipv6", &extended(&syn, ipv6::HOP_BY_HOP, &[0, 5, 2, 0, 0, 1, 0]))?;
    put("routing-ipv6", &extended(&syn, ipv6::ROUTING, &[0, 0, 0, 0, 0, 0, 0]))?;
    put("atomic-fragment-ipv6", &extended(&syn, ipv6::FRAGMENT, &[0, 0, 0, 0, 0, 0, 7]))?;
    let group = ipv6::solicited_node(VIP_V6.into());
    let asked = ndp::Solicitation { source: CLIENT_V6, target: VIP_V6, source_mac: Some(them) };
    put("solicitation", &asked.to_bytes(group))?;
    let (target, target_mac) = (CLIENT_V6, Some(them));
    let told = ndp::Advertisement { target, target_mac, solicited: true, replaces: true };
    put("advertisement", &told.to_bytes(VIP_V6))?;
    let mut report = [0; mld::MAX_PACKET_LEN];
    let len = mld::report(CLIENT_V6, &[group], &mut report);
    put("listener-report", &report[..len])?;
    let router = "fe80::1".parse().expect("an address");
    let query = [&[icmpv6::MULTICAST_LISTENER_QUERY][..], &[0; 27]].concat();
    put("listener-query", &icmpv6_packet(router, 1, &query))?;
    let echo = [icmpv6::ECHO_REQUEST, 0, 0, 0, 0, 7, 0, 9, 1, 2, 3];
    put("echo-ipv6", &icmpv6_packet(CLIENT_V6, 64, &echo))?;
    let sent =
        segment_between([VIP_V6, CLIENT_V6].map(Addr::from), Flags::ACK, Options::default(), b"");
    for (name, kind, code) in
        [("too-big", 2, 0), ("unreachable", 1, 4), ("exceeded", 3, 0), ("problem", 4, 1)]
    {
        let message = [&[kind, code, 0, 0, 0, 0, 5, 0x14][..], &sent].concat();
        put(name, &icmpv6_packet(router, 64, &message))?;
    }
    let ip = ipv6::Header {
        source: CLIENT_V6,
        destination: VIP_V6,
        protocol: ipv6::PROTOCOL_UDP,
        hop_limit: 64,
        traffic_class: 0,
        flow_label: 0,
    };
    let mut datagram = vec![0; ipv6::HEADER_LEN + udp::HEADER_LEN];
    udp::emit_ipv6(&ip, (7400, 7401), &[b"hello"], &mut datagram);
    put("udp-ipv6", &[&datagram[..], b"hello"].concat())
}

fn options() -> io::Result<()> {
    for (name, options) in [("syn", syn_options()), ("sack", sack_options())] {
        let mut bytes = [0; 40];
        let len = options.emit(&mut bytes);
        put("options", name, &[&bytes[..len]])?;
    }
    put("options", "unknown", &[&[1, 254, 4, 9, 9, 2, 4, 5, 0xb4, 0]])
}

fn bytes_of(actions: &[Action]) -> Vec<u8> {
    actions.iter().flat_map(|action| action.to_bytes()).collect()
}

/// A whole life: handshake, data, and both FINs.
fn life(who: u8) -> Vec<Action> {
    vec![
        Action { a: 0b1111, b: 7, d: 1460, ..Action::of(Kind::Syn, who) },
        Action::of(Kind::Acknowledge, who),
        Action { d: 190, ..Action::of(Kind::Data, who) },
        Action::of(Kind::Acknowledge, who),
        Action { a: 1, d: 50, ..Action::of(Kind::Wait, who) },
        Action { d: 1400, ..Action::of(Kind::Data, who) },
        Action { a: 1, ..Action::of(Kind::Close, who) },
        Action::of(Kind::Acknowledge, who),
        Action { a: 3, ..Action::of(Kind::Deadline, who) },
    ]
}

fn engine() -> io::Result<()> {
    for (who, name) in (0..).zip(["echo", "discard", "stream", "requested", "http"]) {
        put("engine", name, &[&[0], &bytes_of(&life(who))])?;
    }
    put("engine", "echo-ipv6", &[&[0], &bytes_of(&life(6))])?;
    let narrow = [
        Action { a: 0b111, b: 7, d: 1440, ..Action::of(Kind::Syn, 8) },
        Action::of(Kind::Acknowledge, 8),
        Action { a: 2, c: 100, ..Action::of(Kind::Icmp, 8) },
        Action { a: 3, c: 1280, ..Action::of(Kind::Icmp, 8) },
        Action::of(Kind::Acknowledge, 8),
        Action { a: 0, ..Action::of(Kind::Connect, 1) },
        Action { a: 1, b: 1, ..Action::of(Kind::Icmp, 1) },
        Action { a: 0, b: 1, ..Action::of(Kind::Icmp, 1) },
    ];
    put("engine", "icmp", &[&[0], &bytes_of(&narrow)])?;
    put("engine", "plain", &[&[0b111], &bytes_of(&life(2))])?;
    put("engine", "scarce", &[&[0b1100_1000], &bytes_of(&snapshot::story())])?;
    let program = Action { a: 0b1_1111, ..Action::of(Kind::Program, 0) };
    put("engine", "program", &[&[0], &bytes_of(&[program]), &bytes_of(&life(5))])?;
    let lossy = [
        Action { a: 0b111, b: 7, d: 1000, ..Action::of(Kind::Syn, 2) },
        Action::of(Kind::Acknowledge, 2),
        Action { a: 1, b: 60, d: 1000, ..Action::of(Kind::Acknowledge, 2) },
        Action { a: 2, b: 180, d: 1000, ..Action::of(Kind::Acknowledge, 2) },
        Action { a: 5, ..Action::of(Kind::Deadline, 2) },
        Action { a: 5, d: 1000, ..Action::of(Kind::Acknowledge, 2) },
        Action { a: 9, ..Action::of(Kind::Deadline, 2) },
        Action::of(Kind::Kick, 0),
        Action::of(Kind::Snapshot, 0),
        Action::of(Kind::Acknowledge, 2),
    ];
    put("engine", "lossy", &[&[0], &bytes_of(&lossy)])?;
    let active = [
        Action { a: 2, ..Action::of(Kind::Connect, 0) },
        Action { a: 0b1000_1111, b: 3, d: 1460, ..Action::of(Kind::Syn, 0) },
        Action { d: 700, ..Action::of(Kind::Data, 0) },
        Action { a: 0, ..Action::of(Kind::Close, 0) },
    ];
    put("engine", "active", &[&[0], &bytes_of(&active)])?;
    let window = [
        Action { a: 0b111, d: 1460, c: 500, ..Action::of(Kind::Syn, 4) },
        Action { c: 0, ..Action::of(Kind::Acknowledge, 4) },
        Action { d: 190, c: 3, ..Action::of(Kind::Data, 4) },
        Action { a: 4, ..Action::of(Kind::Deadline, 4) },
        Action { c: 1, ..Action::of(Kind::Acknowledge, 4) },
        Action { b: 2, a: 0x19, d: 300, ..Action::of(Kind::Segment, 4) },
        Action::of(Kind::Burst, 0),
        Action { b: 0, a: 0x10, d: 300, ..Action::of(Kind::Segment, 4) },
        Action { b: 3, a: 0x11, d: 600, ..Action::of(Kind::Segment, 4) },
        Action::of(Kind::Burst, 0),
    ];
    put("engine", "window", &[&[0], &bytes_of(&window)])
}

fn snapshots() -> io::Result<()> {
    let after = bytes_of(&life(3));
    for scenario in 0..8_u8 {
        let change = u16::from(scenario) * 97 + 40;
        let [low, high] = change.to_le_bytes();
        put("snapshot", &format!("scenario-{scenario}"), &[&[scenario, 1, low, high, 3], &after])?;
    }
    put("snapshot", "unchanged", &[&[0, 0], &after])
}

fn link_address() -> Address {
    let (sender, receiver) = (Incarnation(2), Incarnation(1));
    Address { channel: 0, epoch: Epoch(1), sender, receiver }
}

fn batches() -> io::Result<()> {
    let mut batch = header(3, RecordKind::Input, 5).to_vec();
    batch.extend_from_slice(b"hello");
    batch.extend_from_slice(&header(1, RecordKind::Kick, 0));
    batch.extend_from_slice(&header(3, RecordKind::Digest, 8));
    batch.extend_from_slice(&[7; 8]);
    put("batch", "records", &[&[0], &batch])?;
    let data = Data { sequence: 4, batch_end: true, payload: &batch };
    let gap = Gap { missing: 1, held: 3 };
    let confirm = Confirm { next: 9, credit: 64, gaps: [gap, gap].into_iter().collect() };
    let both = frame::encode(&link_address(), Some(&confirm), Some(&data));
    put("batch", "frame", &[&[1], &both, &batch])?;
    put("batch", "confirmation", &[&[2], &frame::encode(&link_address(), Some(&confirm), None)])
}

fn links() -> io::Result<()> {
    let say = |kind, end, a, b| link::Action { kind, end, a, b }.to_bytes();
    let exchange = [
        say(0, 0, 700, 5),
        say(0, 0, 40, 6),
        say(2, 0, 0, 0),
        say(3, 0, 1, 63),
        say(4, 1, 1, 0),
        say(6, 1, 9, 0x301),
        say(3, 1, 1, 63),
        say(4, 0, 0, 0),
        say(5, 0, 2000, 0),
        say(3, 0, 1, 63),
        say(9, 1, 0, 0),
        say(4, 1, 0, 0),
        say(7, 1, 31, 0),
    ];
    put("link", "honest", &[&[0], exchange.as_flattened()])?;
    let forged = [say(8, 0, 0, 3), say(8, 0, 1, 0x0512), say(8, 0, 32, 2), say(8, 0, 0x1c3, 0x77)];
    put("link", "hostile", &[&[1], exchange.as_flattened(), forged.as_flattened()])
}

const NODE_TOML: &str = r#"[cluster]
name = "lab"
secret = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
vip = ["10.77.0.100/24"]
vmac = "02:48:46:00:00:64"
shards = 4
max_connections = 20000
buffer_mib = 256
detection_timeout_ms = 50
heartbeat_ms = 5
control_port = 7400
mtu = 1500
[cluster.tcp]
min_rto_ms = 200
delayed_ack_ms = 40
msl_ms = 1000
[[cluster.service]]
name = "echo"
kind = "echo"
port = 7
nagle = true
congestion = "newreno"
keepalive_s = 60
idle_timeout_s = 600
send_buffer_kib = 64
recv_buffer_kib = 64
backlog = 100
[[cluster.service]]
name = "stream"
kind = "stream"
port = 19
length = "requested"
rate_bps = 1000000
seed = 3
[node]
name = "a"
priority = 100
profile = "af_packet"
cores = [0, 1]
lone_start_ms = 10000
[node.lan]
device = "lan0"
address = "10.77.0.1/24"
gateway = "10.77.0.254"
[node.link]
device = "link0"
address = "10.78.0.1/24"
mtu = 9000
[peer]
name = "b"
lan = "10.77.0.2"
link = "10.78.0.2"
[admin]
socket = "/run/a.sock"
[log]
level = "info,worker=debug"
format = "json"
"#;

fn configs() -> io::Result<()> {
    put("config", "node", &[&[0], NODE_TOML.as_bytes()])?;
    let over_ipv6 = [("10.77.0.", "fd77::"), ("10.78.0.", "fd78::"), ("/24", "/64")]
        .iter()
        .fold(NODE_TOML.to_owned(), |text, (old, new)| text.replace(old, new));
    put("config", "node-ipv6", &[&[0], over_ipv6.as_bytes()])?;
    let profile = "burst_size = 16\n[queues]\npairs = 2\n[idle]\nstrategy = \"sleep\"\nsleep_us = 7\n\
        [timers]\nheartbeat_ms = 5\ndetection_timeout_ms = 50\n[mempool]\ncache = 64\n";
    put("config", "profile", &[&[1], profile.as_bytes()])?;
    put("config", "profile-tap", &[&[3], b"[device.standard]\nmtu = 1400\n"])
}

fn admin() -> io::Result<()> {
    let filter = "dst 10.0.0.0/8 and not (sport >= :80 or state synchronized) service != web";
    put("admin", "filter", &[&[0], filter.as_bytes()])?;
    put("admin", "filter-ipv6", &[&[0], b"src [fd00::1]:80 || dst fd00::/8 && dport lt 1024"])?;
    for (name, line) in [
        ("conns", "GET /v1/conns?limit=2&filter=state%20established"),
        ("events", "GET /v1/events?after=1&limit=1"),
        ("keys", "POST /v1/keys/reload?force=true"),
        ("latency", "POST /v1/latency/reset"),
        ("status", "GET /v1/status"),
    ] {
        let text = format!("{line} HTTP/1.1\r\nHost: holdfast\r\nContent-Length: 0\r\n\r\n");
        put("admin", name, &[&[1 | 3 << 2], text.as_bytes()])?;
    }
    put("admin", "answer", &[&[2], br#"{"rows":[],"matched":0,"total":2}"#])
}

fn control() -> io::Result<()> {
    let keys = KeyRing::single("fuzz", b"not one");
    let name = NodeName::new("b").expect("a plain name");
    let from = NodeId { name, incarnation: Incarnation(10) };
    let chunk =
        Body::ManifestChunk { which: Which::Config, chunk: 1, chunks: 3, bytes: b"x = 1\n" };
    let request = Body::ManifestRequest { which: Which::Content, chunk: 2 };
    for (file, body) in [("chunk", chunk), ("request", request)] {
        let message = Message { from, to: Some(Incarnation(1)), seq: 3, sent_us: 9, body };
        let datagram = message.encode(&keys);
        put("control", file, &[&[0], &datagram])?;
        put("control", &format!("{file}-unsigned"), &[&[1], &datagram[..datagram.len() - 16]])?;
    }
    let hear = |condition, view, epoch| [[0x10, 0, condition, 0, view, epoch, 100, 4]; 3];
    let pair = [hear(0, 0, 0), hear(3, 0x03, 1), hear(2, 0x13, 2)];
    put("control", "pair", &[&[2], pair.as_flattened().as_flattened()])
}

fn http() -> io::Result<()> {
    let host = "Host: h\r\n";
    let get = format!("GET /a.txt HTTP/1.1\r\n{host}\r\n");
    let range = format!("GET /a.txt HTTP/1.1\r\n{host}Range: bytes=2-4\r\nIf-Range: \"x\"\r\n\r\n");
    let date =
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nIf-None-Match: \"a\", W/\"b\"\r\n";
    let old = format!("HEAD /x%20y/ HTTP/1.0\r\n{date}Connection: keep-alive\r\n\r\n");
    let body = format!("POST / HTTP/1.1\r\n{host}Content-Length: 3\r\n\r\nabc");
    put("http", "pipeline", &[&[6, 3], get.as_bytes(), range.as_bytes(), old.as_bytes()])?;
    put("http", "body", &[&[0, 9], b"\r\n", body.as_bytes()])?;
    put("http", "escape", &[&[2, 1], b"GET /docs/..%2f../secret HTTP/1.1\r\nHost: h\r\n\r\n"])
}

fn nodes() -> io::Result<()> {
    let say = |kind, a, b, c| node::Action { kind, a, b, c }.to_bytes();
    let serve = [
        say(5, 2, 1, 0),
        say(7, 0, 0, 0),
        say(1, 0, 0, 0),
        say(2, 0, 0, 2),
        say(3, 0, 0x20, 0x0110),
        say(6, 4, 9000, 0),
        say(8, 0, 0, 0),
    ];
    put("node", "serve", &[serve.as_flattened()])?;
    let follow = [
        say(5, 1, 1, 0),
        say(8, 0, 0, 0),
        say(4, 0x20, 0, 2),
        say(4, 0x20, 0x21, 0x0110),
        say(4, 0x00, 0, 1),
        say(7, 0, 0, 0),
        say(5, 2, 1, 0),
        say(8, 0, 0, 0),
    ];
    put("node", "follow", &[follow.as_flattened()])?;
    // The last byte has the link speak IPv6.
    put("node", "follow-ipv6", &[follow.as_flattened(), &say(8, 0, 0, 1 << 8)])?;
    // A backup, and a node that joins, which has become a backup, too, when the first one is gone.
    let several = [
        say(5, 0b0000_1011, 1, 0),
        say(7, 0, 0, 0),
        say(2, 0, 0, 2),
        say(4, 1, 1, 0),
        say(4, 1, 0x8001, 0),
        say(5, 0b0010_1011, 0, 0),
        say(3, 0, 0x20, 0x0110),
        say(4, 1, 0x8002, 0),
        say(5, 0b0010_1010, 0, 0),
        say(5, 0b0010_1011, 0, 0),
    ];
    put("node", "several", &[several.as_flattened()])?;
    let neighbours = [
        say(9, 0b0000_0001, 0x0000, 0),
        say(9, 0b0000_1001, 0x0004, 0),
        say(9, 0b0000_0110, 0x0012, 0),
        say(11, 1, 24, 0),
        say(11, 0b0000_1000, 20, 0),
    ];
    put("node", "neighbours", &[serve.as_flattened(), neighbours.as_flattened()])?;
    let errors = [
        say(2, 1, 0, 2),
        say(10, 1, 40, 1300),
        say(10, 0b1_0000, 40, 0),
        say(2, 0, 1, 2),
        say(10, 0b1_0000, 40, 1300),
    ];
    put("node", "icmp-errors", &[serve.as_flattened(), errors.as_flattened()])?;
    let frame = segment(Flags::SYN, syn_options(), b"");
    let len = (frame.len() + 14) as u16;
    let raw = say(0, 0b11_1110, len, 0);
    put("node", "raw", &[serve.as_flattened(), &raw, &[0; 14], &frame])
}
