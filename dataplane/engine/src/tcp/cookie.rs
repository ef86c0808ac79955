//! SYN cookies (RFC 4987 3.6): a SYN-ACK whose own numbers hold all that must be known of the SYN,
//! so that nothing is kept until its sender has proved that it can hear us.
//!
//! ```text
//! initial number: | keyed hash, 28 bits | MSS, 3 bits | tick, 1 bit |
//! our TSval:      | clock without its last bits | ECN, 1 bit | SACK, 1 bit | scale, 4 bits |
//! ```
//!
//! The hash covers the flow, the client's initial number and all that stands beside it. A client
//! without timestamps gets neither window scale nor SACK nor ECN: there is nowhere to keep them.
//!
//! The clock is shard time as it was logged last, less [`GRACE_US`]. So a node that takes over, and
//! whose shard time goes on from what it has of the log, is never behind a cookie.

use crate::config::{Config, Ecn};
use crate::seq::SeqNumber;
use crate::tcp::rack::timestamp;
use crate::tcp::tcb::{default_mss, initial_recv_limit, largest_segment, window_scale};
use crate::tcp::{ecn, isn};
use crate::time::Instant;
use crate::wire::segment::{Segment, SegmentHeader};
use crate::wire::tcp::{Flags, Options, Timestamps};

/// Length of a tick, 33.6 s. A cookie is good for the rest of its tick and for the next one.
const TICK_BITS: u32 = 25;
/// How long a cookie is good at most.
pub(crate) const LIFETIME_US: u64 = 2 << TICK_BITS;
/// What a takeover may lose of the log's time.
const GRACE_US: u64 = 1_000_000;

/// Segment sizes that a cookie can tell, smallest first: the least that we let a peer ask for, the
/// default, IPv6's least, tunnels, PPPoE and Ethernet with each IP version, jumbo frames.
const SIZES: [u16; 8] = [88, 536, 1220, 1360, 1412, 1440, 1460, 8960];

/// Bits of TSval that hold options.
const OPTION_BITS: u32 = 0x3f;
/// Window scale of a client that offers none.
const UNSCALED: u8 = 15;
const SACK: u8 = 1 << 4;
const ECN: u8 = 1 << 5;
/// In the hash: a client without timestamps.
const NO_TIMESTAMPS: u8 = 0xff;

/// What a cookie's keyed hash is made over, besides the flow.
#[derive(Clone, Copy)]
struct Claims {
    client_isn: SeqNumber,
    tick: u64,
    size: u8,
    options: u8,
}

impl Claims {
    fn ecn(self) -> bool {
        self.options != NO_TIMESTAMPS && self.options & ECN != 0
    }

    fn sequence(self, config: &Config, syn: &Segment<'_>) -> SeqNumber {
        let hash = isn::cookie(
            &config.isn_key,
            &syn.flow,
            [
                self.client_isn.0,
                self.tick as u32,
                u32::from_be_bytes([0, 0, self.size, self.options]),
            ],
        );
        SeqNumber(hash << 4 | u32::from(self.size) << 1 | (self.tick & 1) as u32)
    }
}

/// The SYN-ACK that answers `syn` without leaving a trace. `logged`: the shard's time.
pub(crate) fn answer(
    config: &Config,
    service: u16,
    syn: &Segment<'_>,
    logged: Instant,
) -> SegmentHeader {
    let clock = Instant::from_micros(logged.as_micros().saturating_sub(GRACE_US));
    let offered = &syn.options;
    let size =
        SIZES.iter().rposition(|&size| size <= offered.mss.unwrap_or(default_mss(&syn.flow)));
    let timestamps = offered.timestamps.filter(|_| config.tcp.timestamps);
    let claims = Claims {
        client_isn: syn.seq,
        tick: tick(clock),
        size: size.unwrap_or(0) as u8,
        options: timestamps.map_or(NO_TIMESTAMPS, |_| option_bits(config, syn)),
    };
    let service = &config.services[usize::from(service)];
    let kept = restored(claims, timestamps);
    let ts_clock = || timestamp(clock, isn::timestamp_offset(&config.isn_key, &syn.flow));
    SegmentHeader {
        flow: syn.flow,
        seq: claims.sequence(config, syn),
        ack: syn.seq + 1,
        flags: Flags::SYN | Flags::ACK | if claims.ecn() { Flags::ECE } else { Flags(0) },
        window: initial_recv_limit(service).min(0xffff) as u16,
        options: Options {
            mss: Some(largest_segment(&syn.flow, config, service)),
            window_scale: kept.window_scale.map(|_| window_scale(config, service)),
            timestamps: timestamps.map(|theirs| Timestamps {
                value: below(ts_clock(), claims.options),
                echo: theirs.value,
            }),
            sack_permitted: kept.sack_permitted,
            ..Options::default()
        },
    }
}

/// The SYN that `ack` completes, as far as a cookie tells of it, if it acknowledges one of ours
/// that is not too old at `now`.
pub(crate) fn syn_of<'a>(config: &Config, ack: &Segment<'a>, now: Instant) -> Option<Segment<'a>> {
    let flags = ack.flags;
    if !flags.ack() || flags.syn() || flags.rst() {
        return None;
    }
    let iss = ack.ack - 1;
    let current = tick(now);
    let claims = Claims {
        client_isn: ack.seq - 1,
        tick: current.checked_sub((current ^ u64::from(iss.0)) & 1)?,
        size: (iss.0 >> 1 & 7) as u8,
        options: ack.options.timestamps.map_or(NO_TIMESTAMPS, |t| (t.echo & OPTION_BITS) as u8),
    };
    if claims.sequence(config, ack) != iss {
        return None;
    }
    Some(Segment {
        seq: claims.client_isn,
        ack: SeqNumber(0),
        flags: if claims.ecn() { Flags::SYN | ecn::ASKS } else { Flags::SYN },
        options: restored(claims, ack.options.timestamps),
        payload: &[],
        ..ack.clone()
    })
}

fn tick(now: Instant) -> u64 {
    now.as_micros() >> TICK_BITS
}

fn option_bits(config: &Config, syn: &Segment<'_>) -> u8 {
    let offered = &syn.options;
    let scale = offered.window_scale.filter(|_| config.tcp.window_scaling);
    let sack = offered.sack_permitted && config.tcp.sack;
    let ecn = config.tcp.ecn != Ecn::Off && ecn::asks(syn);
    scale.map_or(UNSCALED, |scale| scale.min(14))
        | if sack { SACK } else { 0 }
        | if ecn { ECN } else { 0 }
}

/// The options of a SYN that a cookie stands for.
fn restored(claims: Claims, timestamps: Option<Timestamps>) -> Options {
    let bits = if claims.options == NO_TIMESTAMPS { UNSCALED } else { claims.options };
    let scale = bits & 0xf;
    Options {
        mss: Some(SIZES[usize::from(claims.size & 7)]),
        window_scale: (scale != UNSCALED).then_some(scale),
        timestamps,
        sack_permitted: bits & SACK != 0,
        ..Options::default()
    }
}

/// The latest value not above `clock` whose last bits are `options`.
fn below(clock: u32, options: u8) -> u32 {
    let value = clock & !OPTION_BITS | u32::from(options);
    if clock.wrapping_sub(value) as i32 >= 0 { value } else { value.wrapping_sub(OPTION_BITS + 1) }
}
