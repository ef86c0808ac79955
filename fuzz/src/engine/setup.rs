//! Configurations of the shard: small, so that every limit is near.

use std::sync::{Arc, LazyLock};

use engine::config::{
    Commit, Config, CongestionControl, Keepalive, ServiceConfig, ServiceKind, StreamLength,
    TcpConfig,
};
use engine::content::{Content, SourceFile};

/// Where the services listen: echo, discard, stream, stream by request, http, the program.
pub const PORTS: [u16; 6] = [7, 9, 19, 20, 80, 4444];
pub const ECHO: usize = 0;
pub const STREAM: usize = 2;
pub const STREAM_BY_REQUEST: usize = 3;
pub const HTTP: usize = 4;
pub const PROGRAM: u16 = 5;
/// Offset of the stream's first byte in the pattern.
pub const SEED: u64 = 77;

/// The configuration that the bits of `variant` choose.
#[must_use]
pub fn config(variant: u8) -> Config {
    let bit = |n: u32| variant >> n & 1 == 1;
    let stream = |length| ServiceKind::Stream { length, rate_bps: None, seed: SEED };
    let paced = ServiceKind::Stream {
        length: StreamLength::Requested,
        rate_bps: bit(5).then_some(800_000),
        seed: 0,
    };
    let kinds = [
        ServiceKind::Echo,
        ServiceKind::Discard,
        stream(StreamLength::Endless),
        paced,
        ServiceKind::Http { root: "www".to_owned(), directory_index: true },
        ServiceKind::External,
    ];
    let services = PORTS.iter().zip(kinds).map(|(&port, kind)| ServiceConfig {
        nagle: bit(3),
        commit: if bit(3) { Commit::Swfr } else { Commit::Swmu },
        congestion: if bit(4) { CongestionControl::NewReno } else { CongestionControl::Cubic },
        keepalive: bit(5).then_some(KEEPALIVE),
        send_buffer_bytes: 16_384,
        recv_buffer_bytes: if bit(6) { 262_144 } else { 16_384 },
        backlog: 3,
        idle_timeout_us: bit(6).then_some(60_000_000),
        ..ServiceConfig::new(&format!("service-{port}"), port, kind)
    });
    Config {
        max_connections: 6,
        pool_blocks: if bit(7) { 24 } else { 64 },
        tx_segments: 64,
        max_packets_per_step: if bit(7) { 3 } else { 16 },
        mtu: if bit(6) { 9000 } else { 1500 },
        isn_key: *b"a key for fuzzes",
        tcp: TcpConfig {
            sack: !bit(0),
            timestamps: !bit(1),
            window_scaling: !bit(2),
            msl_us: 1_000_000,
            quantum_packets: 4,
            ..TcpConfig::default()
        },
        services: services.collect(),
        ..Config::default()
    }
}

const KEEPALIVE: Keepalive = Keepalive { idle_us: 5_000_000, interval_us: 1_000_000, probes: 3 };

/// Files of the web service, and one that it must never show.
#[must_use]
pub fn content() -> Arc<Content> {
    static CONTENT: LazyLock<Arc<Content>> = LazyLock::new(|| {
        let file =
            |root, path, bytes: &[u8]| SourceFile::new(root, path, bytes.into(), 784_111_777);
        let files = [
            file("www", "/a", b"x"),
            file("www", "/index.html", b"<p>index"),
            file("www", "/empty", b""),
            file("www", "/big", &[b'b'; 20_000]),
            file("www", "/x y/z.txt", b"0123456789"),
            file("private", "/secret", SECRET),
        ];
        Arc::new(Content::new(files).expect("paths that differ"))
    });
    Arc::clone(&CONTENT)
}

/// What is in a file that no service serves.
pub const SECRET: &[u8] = b"NOBODY-MAY-SEE-THIS";

/// What a peer sends to the service at `PORTS[service]`: byte `at` of its stream.
#[must_use]
pub fn spoken(service: usize, at: u64) -> u8 {
    const REQUESTS: &[u8] =
        b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nHEAD /big HTTP/1.1\r\nhost: h\r\n\r\n\
        GET /x%20y/z.txt HTTP/1.1\r\nHost: h\r\nRange: bytes=2-4\r\n\r\nGET /empty HTTP/1.1\r\n\
        Host: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let of = |text: &[u8]| text[(at % text.len() as u64) as usize];
    match service {
        STREAM_BY_REQUEST => of(b"70000\nmore"),
        HTTP => of(REQUESTS),
        _ => (at.wrapping_mul(2_654_435_761) >> 13) as u8,
    }
}
