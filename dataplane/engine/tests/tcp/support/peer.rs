//! A peer that does just what the test says, against one shard. Sequence numbers in tests count
//! from each side's initial one: 0 is the SYN, 1 the first byte.

use engine::addr::{Endpoint, Flow};
use engine::config::Config;
use engine::seq::SeqNumber;
use engine::shard::{ConnectionInfo, Shard};
use engine::time::Instant;
use engine::wire::checksum::finish_tcp;
use engine::wire::segment::{MAX_HEADER_LEN, SegmentHeader, ip_header_len};
use engine::wire::tcp::{Flags, Options, Timestamps};

use super::{CLIENT_V6, Recorder, SERVER_V6, client, parse, server, shard};

/// What came back, with numbers relative to the initial ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub seq: i64,
    pub ack: i64,
    pub flags: Flags,
    pub window: u16,
    pub options: Options,
    pub payload: Vec<u8>,
}

impl Reply {
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// SACK blocks, relative to the peer's initial number.
    pub fn sack(&self, base: SeqNumber) -> Vec<(i64, i64)> {
        let relative = |seq: SeqNumber| i64::from(seq.distance(base));
        self.options.sack.iter().map(|(a, b)| (relative(*a), relative(*b))).collect()
    }
}

pub struct Peer {
    pub shard: Shard,
    pub now_us: u64,
    pub local: Endpoint,
    pub remote: Endpoint,
    /// Our initial sequence number.
    pub isn: SeqNumber,
    /// The shard's.
    pub their_isn: SeqNumber,
    pub window: u16,
    /// TSval of the next segments; none without timestamps.
    pub ts: Option<u32>,
    /// TSval last seen.
    pub their_ts: u32,
}

pub const SYN: Flags = Flags::SYN;
pub const ACK: Flags = Flags::ACK;
pub const RST: Flags = Flags::RST;
pub const FIN_ACK: Flags = Flags(Flags::FIN.0 | Flags::ACK.0);
pub const SYN_ACK: Flags = Flags(Flags::SYN.0 | Flags::ACK.0);
pub const RST_ACK: Flags = Flags(Flags::RST.0 | Flags::ACK.0);

impl Peer {
    pub fn new(config: Config, port: u16) -> Peer {
        Peer {
            shard: shard(config),
            now_us: 1_000_000,
            local: client(50_000),
            remote: server(port),
            isn: SeqNumber(0xffff_fff0),
            their_isn: SeqNumber(0),
            window: 65_535,
            ts: None,
            their_ts: 0,
        }
    }

    /// The same over IPv6.
    pub fn over_ipv6(config: Config, port: u16) -> Peer {
        let local = Endpoint::new(CLIENT_V6, 50_000);
        Peer { local, remote: Endpoint::new(SERVER_V6, port), ..Peer::new(config, port) }
    }

    /// A peer with MSS 1000 and SACK, after the handshake.
    pub fn established(config: Config, port: u16) -> Peer {
        let mut peer = Peer::new(config, port);
        peer.handshake(&sack_options());
        peer
    }

    pub fn handshake(&mut self, options: &Options) -> Reply {
        let replies = self.send_with(SYN, 0, 0, &[], options.clone());
        assert_eq!(replies.len(), 1, "{replies:?}");
        assert_eq!((replies[0].flags, replies[0].ack), (SYN_ACK, 1));
        let answer = replies[0].clone();
        let replies = self.send(ACK, 1, 1, &[]);
        assert!(replies.iter().all(|reply| !reply.payload.is_empty()), "{replies:?}");
        answer
    }

    /// The packet that [`send_with`](Self::send_with) sends.
    pub fn packet(
        &self,
        flags: Flags,
        seq: i64,
        ack: i64,
        data: &[u8],
        options: Options,
    ) -> Vec<u8> {
        let mut options = options;
        if let Some(value) = self.ts {
            options.timestamps = Some(Timestamps { value, echo: self.their_ts });
        }
        let header = SegmentHeader {
            flow: Flow { local: self.local, remote: self.remote },
            seq: self.isn + seq as u32,
            ack: if flags.ack() { self.their_isn + ack as u32 } else { SeqNumber(0) },
            flags,
            window: self.window,
            options,
        };
        let mut bytes = vec![0; MAX_HEADER_LEN];
        let len = header.emit(data.len() as u16, &mut bytes);
        bytes.truncate(len);
        finish_tcp(&mut bytes, ip_header_len(self.local.addr), &[data]);
        bytes.extend_from_slice(data);
        bytes
    }

    pub fn send_with(
        &mut self,
        flags: Flags,
        seq: i64,
        ack: i64,
        data: &[u8],
        options: Options,
    ) -> Vec<Reply> {
        let packet = self.packet(flags, seq, ack, data, options);
        self.deliver(&[packet])
    }

    pub fn send(&mut self, flags: Flags, seq: i64, ack: i64, data: &[u8]) -> Vec<Reply> {
        self.send_with(flags, seq, ack, data, Options::default())
    }

    /// Acknowledges with SACK blocks.
    pub fn sack(&mut self, seq: i64, ack: i64, blocks: &[(i64, i64)]) -> Vec<Reply> {
        let absolute = |relative: i64| self.their_isn + relative as u32;
        let sack = blocks.iter().map(|(a, b)| (absolute(*a), absolute(*b))).collect();
        self.send_with(ACK, seq, ack, &[], Options { sack, ..Options::default() })
    }

    /// All packets in one step.
    pub fn deliver(&mut self, packets: &[Vec<u8>]) -> Vec<Reply> {
        let mut out = Recorder::default();
        let segments: Vec<_> = packets.iter().map(|packet| parse(packet)).collect();
        self.shard.step(Instant::from_micros(self.now_us), &segments, &mut out);
        self.replies(out)
    }

    fn replies(&mut self, out: Recorder) -> Vec<Reply> {
        let mut replies = Vec::new();
        for packet in out.packets {
            let segment = parse(&packet);
            if segment.flags.syn() {
                self.their_isn = segment.seq;
            }
            if let Some(timestamps) = segment.options.timestamps {
                self.their_ts = timestamps.value;
            }
            replies.push(Reply {
                seq: segment.seq.distance(self.their_isn).into(),
                ack: segment.ack.distance(self.isn).into(),
                flags: segment.flags,
                window: segment.window,
                options: segment.options.clone(),
                payload: segment.payload.to_vec(),
            });
        }
        replies
    }

    /// Lets time pass, stepping whenever the shard wants it.
    pub fn wait(&mut self, us: u64) -> Vec<Reply> {
        let end = self.now_us + us;
        let mut replies = Vec::new();
        while let Some(at) = self.shard.next_deadline().map(Instant::as_micros) {
            if at > end {
                break;
            }
            self.now_us = self.now_us.max(at);
            replies.extend(self.deliver(&[]));
        }
        self.now_us = end;
        replies
    }

    /// Opens a connection from the shard; service `index` is on its side.
    pub fn be_connected(&mut self, index: u16) -> Vec<Reply> {
        let mut out = Recorder::default();
        let now = Instant::from_micros(self.now_us);
        self.shard.connect(now, self.remote, self.local, index, &mut out).expect("there is room");
        self.replies(out)
    }

    /// All of a takeover's kick.
    pub fn kick(&mut self) -> Vec<Reply> {
        let mut out = Recorder::default();
        super::kick(&mut self.shard, Instant::from_micros(self.now_us), &mut out);
        self.replies(out)
    }

    pub fn info(&self) -> Option<ConnectionInfo> {
        self.shard.connections(0).find(|info| info.flow.remote == self.local)
    }
}

pub fn sack_options() -> Options {
    Options { mss: Some(1000), sack_permitted: true, ..Options::default() }
}

pub fn plain_options() -> Options {
    Options { mss: Some(1000), ..Options::default() }
}
