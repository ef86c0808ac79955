//! What the tests stand on: packets as values, a seeded source of chance, a scripted peer, and a
//! pair of shards over a bad link.

pub mod link;
pub mod pair;
pub mod peer;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use engine::addr::Endpoint;
use engine::config::{Config, ServiceConfig, ServiceKind, StreamLength, TcpConfig};
use engine::content::{Content, SourceFile};
use engine::egress::{Egress, Outgoing};
use engine::shard::Shard;
use engine::time::Instant;
use engine::wire::Checksums;
use engine::wire::checksum::finish_tcp;
use engine::wire::segment::Segment;

pub const ECHO: u16 = 7;
pub const DISCARD: u16 = 9;
pub const STREAM: u16 = 19;
pub const STREAM_N: u16 = 20;
pub const HTTP: u16 = 80;
/// Length of the one file that the web service has: the pattern, from byte 7 on.
pub const FILE_LEN: u64 = 700_001;
/// Index of the discard service, which clients use to take what comes.
pub const DISCARD_INDEX: u16 = 1;

pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);
pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x64);
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 9);

/// Collects packets with their checksums.
#[derive(Default)]
pub struct Recorder {
    pub packets: Vec<Vec<u8>>,
}

impl Egress for Recorder {
    const WANTS_PAYLOAD: bool = true;

    fn emit(&mut self, packet: &Outgoing<'_>) {
        let mut bytes = packet.header.to_vec();
        finish_tcp(&mut bytes, packet.ip_header_len.into(), packet.payload);
        packet.payload.iter().for_each(|part| bytes.extend_from_slice(part));
        assert_eq!(bytes.len(), packet.header.len() + usize::from(packet.payload_len));
        self.packets.push(bytes);
    }
}

/// Takes a packet apart, checksums included.
pub fn parse(packet: &[u8]) -> Segment<'_> {
    Segment::parse(packet, Checksums::Verify).expect("a packet of ours is well-formed")
}

/// A small generator of pseudo-random numbers (SplitMix64).
#[derive(Clone)]
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn permille(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }
}

pub fn stream(length: StreamLength) -> ServiceKind {
    ServiceKind::Stream { length, rate_bps: None, seed: 0 }
}

/// The four plain services on their usual ports.
pub fn config() -> Config {
    Config {
        max_connections: 64,
        pool_blocks: 4096,
        tx_segments: 8192,
        services: vec![
            ServiceConfig::new("echo", ECHO, ServiceKind::Echo),
            ServiceConfig::new("discard", DISCARD, ServiceKind::Discard),
            ServiceConfig::new("stream", STREAM, stream(StreamLength::Endless)),
            ServiceConfig::new("stream-n", STREAM_N, stream(StreamLength::Requested)),
            ServiceConfig::new(
                "web",
                HTTP,
                ServiceKind::Http { root: "www".to_owned(), directory_index: false },
            ),
        ],
        isn_key: *b"a key for tests.",
        tcp: TcpConfig { msl_us: 1_000_000, ..TcpConfig::default() },
        ..Config::default()
    }
}

pub fn shard(config: Config) -> Shard {
    Shard::new(0, Arc::new(config), content())
}

/// One file, `/file.bin`.
pub fn content() -> Arc<Content> {
    let bytes = (7..7 + FILE_LEN).map(pattern).collect();
    let file = SourceFile::new("www", "/file.bin", bytes, 1_700_000_000);
    Arc::new(Content::new([file]).expect("one file is no trouble"))
}

pub fn server(port: u16) -> Endpoint {
    Endpoint::new(SERVER, port)
}

pub fn client(port: u16) -> Endpoint {
    Endpoint::new(CLIENT, port)
}

/// Byte `i` of the stream pattern.
pub fn pattern(i: u64) -> u8 {
    (i.wrapping_mul(2_654_435_761) >> 16) as u8
}

/// All of a takeover's kick.
pub fn kick(shard: &mut Shard, now: Instant, out: &mut Recorder) {
    shard.kick(now, out);
    while shard.kicks_next().is_some() {
        shard.kick(now, out);
    }
}
