//! What one connection knows of its path: how large a packet gets through. ICMP tells (RFC 1191,
//! RFC 8201), a black hole shows by timeouts (RFC 4821 7.7), and from time to time a larger segment
//! tries whether the path has got wider (RFC 4821 7.3). Also the other ICMP errors (RFC 1122
//! 4.2.3.9).
//!
//! Nothing is shared between connections: each learns for itself.

use crate::tcp::recovery::Phase;
use crate::tcp::scoreboard::SentSlab;
use crate::tcp::tcb::{Marks, TIMESTAMPS_LEN, Tcb};
use crate::tcp::{Context, State};
use crate::time::Instant;
use crate::wire::icmp_error::{IcmpError, IcmpErrorKind};
use crate::wire::segment::ip_header_len;
use crate::wire::{ipv6, tcp};

/// Smallest MTU that an IPv4 router is believed to have; a liar must not have us send crumbs
/// (RFC 5927 7.2). For IPv6 it is every link's least.
const MIN_PATH_MTU: u16 = 552;
/// MTUs to fall back to when long segments vanish without a word: what any tunnel lets through, and
/// what any IPv4 path does.
const BLACK_HOLE_MTUS: [u16; 2] = [1280, MIN_PATH_MTU];
/// Timeouts in a row that speak for a black hole, for each of these steps.
const BLACK_HOLE_TIMEOUTS: u8 = 2;
/// MTUs that paths have (RFC 1191 7.1): Ethernet and what tunnels leave of it, jumbo frames.
const PLATEAUS: [u16; 10] = [1006, 1280, 1400, 1420, 1480, 1492, 1500, 4352, 8166, 9000];
/// Until a larger size is tried after a router's word (RFC 1191 6.3: not before 5 minutes, 10
/// advised), and after mere timeouts. In units of [`Instant::about_seconds`].
const WAIT_AFTER_ICMP: u16 = 572;
const WAIT_AFTER_TIMEOUTS: u16 = 57;
/// Full segments that must follow a probe, so that its loss is noticed by their delivery.
const FOLLOWERS: u32 = 4;

/// What is to know of the path beside [`Tcb::mss`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path {
    /// Largest payload of a segment that both ends allow; as large as `mss` if the path does, too.
    pub limit: u16,
    /// When a larger one is tried, in [`Instant::about_seconds`]; its low half.
    pub raise_at: u16,
}

impl Path {
    fn wait(&mut self, now: Instant, seconds: u16) {
        self.raise_at = (now.about_seconds() as u16).wrapping_add(seconds);
    }

    fn may_raise(self, now: Instant) -> bool {
        (now.about_seconds() as u16).wrapping_sub(self.raise_at) < 1 << 15
    }
}

/// Headers of a segment with data, options included.
fn headers(tcb: &Tcb) -> u16 {
    let fixed = (ip_header_len(tcb.flow.local.addr) + tcp::HEADER_LEN) as u16;
    fixed + if tcb.has(Marks::TIMESTAMPS) { TIMESTAMPS_LEN } else { 0 }
}

/// Smallest MTU that the path is believed to have.
fn least_mtu(tcb: &Tcb) -> u16 {
    if tcb.flow.local.addr.is_ipv4() { MIN_PATH_MTU } else { ipv6::MIN_MTU }
}

/// Payload of a packet that is as long as a router says.
fn fitting(tcb: &Tcb, mtu: u16) -> u16 {
    mtu.max(least_mtu(tcb)) - headers(tcb)
}

/// Whether an ICMP error would change anything. Only a segment that is in flight can have caused
/// one (RFC 5927 4.1).
pub(crate) fn heeds(tcb: &Tcb, slab: &SentSlab, error: &IcmpError) -> bool {
    if error.seq.lt(tcb.snd_una) || error.seq.ge(tcb.snd_nxt) {
        return false;
    }
    match error.kind {
        // RFC 8201 4: less than every link of IPv6 takes is no word of a router.
        IcmpErrorKind::TooBig { mtu } if mtu < ipv6::MIN_MTU && !tcb.flow.local.addr.is_ipv4() => {
            false
        }
        IcmpErrorKind::TooBig { mtu } => {
            let fits = fitting(tcb, mtu);
            let too_large = |sent: &crate::tcp::scoreboard::Sent| {
                sent.payload_len() > fits && !sent.is_lost() && !sent.is_sacked()
            };
            tcb.state.is_synchronized() && (fits < tcb.mss || tcb.sent.iter(slab).any(too_large))
        }
        // RFC 5927 5.2: once the handshake is done, no word of a router ends a connection.
        IcmpErrorKind::Hard => tcb.state == State::SynSent,
        IcmpErrorKind::Soft => false,
    }
}

/// An ICMP error has come.
pub(crate) fn icmp_error(tcb: &mut Tcb, cx: &mut Context<'_>, error: &IcmpError) {
    if !heeds(tcb, &cx.shared.sent, error) {
        cx.shared.counters.icmp_ignored += 1;
        return;
    }
    match error.kind {
        IcmpErrorKind::TooBig { mtu } => on_path_mtu(tcb, cx, mtu),
        IcmpErrorKind::Hard => {
            cx.shared.counters.icmp_aborts += 1;
            tcb.drop_silently();
        }
        IcmpErrorKind::Soft => {}
    }
}

/// The path takes packets of `mtu` bytes, IP header included, and no larger ones. What is in flight
/// and larger never arrives, and is sent again at once in smaller pieces. That is no congestion
/// (RFC 4821 7.6.2).
pub(crate) fn on_path_mtu(tcb: &mut Tcb, cx: &mut Context<'_>, mtu: u16) {
    let fits = fitting(tcb, mtu);
    cx.shared.counters.path_mtu_told += 1;
    tcb.mss = tcb.mss.min(fits);
    tcb.path.wait(cx.now, WAIT_AFTER_ICMP);
    let lost = tcb.sent.mark_lost(&mut cx.shared.sent, |sent| Some(sent.payload_len() > fits));
    if lost > 0 {
        repair(tcb);
    }
}

/// Something is lost that says nothing about congestion.
pub(crate) fn repair(tcb: &mut Tcb) {
    if !tcb.recovery.is_open() {
        return;
    }
    if tcb.recovery.is_reducing() {
        tcb.congestion.recovered(tcb.mss);
    }
    tcb.recovery.phase = Phase::Repair;
    tcb.recovery.point = tcb.snd_nxt;
    tcb.rack.forget_probe();
}

/// The retransmission timer fired, not for the first time: if long segments vanish, smaller ones
/// may get through (RFC 4821 7.7).
pub(crate) fn timed_out(tcb: &mut Tcb, cx: &mut Context<'_>) {
    let timeouts = tcb.rtt.backoff();
    if timeouts == 0 || !timeouts.is_multiple_of(BLACK_HOLE_TIMEOUTS) {
        return;
    }
    let (headers, least) = (headers(tcb), least_mtu(tcb));
    let possible = BLACK_HOLE_MTUS.into_iter().filter(|mtu| *mtu >= least);
    // A segment need not be full to be too long for a path. What it is cut to must be shorter.
    let len = tcb.sent.first(&cx.shared.sent).map_or(0, |sent| sent.payload_len()).min(tcb.mss);
    if let Some(mss) = possible.map(|mtu| mtu - headers).find(|mss| *mss < len) {
        cx.shared.counters.black_holes += 1;
        tcb.mss = mss;
        tcb.path.wait(cx.now, WAIT_AFTER_TIMEOUTS);
    }
}

/// Payload of a segment that tries a larger size, if it is time for one and its loss would be
/// noticed soon (RFC 4821 7.4).
pub(crate) fn probe_len(tcb: &Tcb, now: Instant) -> Option<u16> {
    if !tcb.path.may_raise(now) || tcb.recovery.phase != Phase::Open || tcb.sent.sacked > 0 {
        return None;
    }
    let headers = headers(tcb);
    let next = PLATEAUS.into_iter().find(|mtu| *mtu > tcb.mss + headers);
    let len = next.map_or(tcb.path.limit, |mtu| (mtu - headers).min(tcb.path.limit));
    let need = u32::from(len) + FOLLOWERS * u32::from(tcb.mss);
    let window = (tcb.snd_una + tcb.snd_wnd).distance(tcb.snd_nxt).max(0).unsigned_abs();
    let cwnd = tcb.congestion.cwnd;
    // An acknowledgment makes room for a segment of the present size, hardly ever for a larger one.
    let room = cwnd >= need && tcb.pipe() + u32::from(tcb.mss) <= cwnd;
    let possible = tcb.unsent() >= need.into() && window >= len.into() && room;
    possible.then_some(len)
}

/// The last segment in flight is a probe. Whatever becomes of it, the next one waits.
pub(crate) fn probe_left(tcb: &mut Tcb, cx: &mut Context<'_>) {
    cx.shared.counters.mtu_probes += 1;
    tcb.sent.mark_probe(&mut cx.shared.sent);
    tcb.path.wait(cx.now, WAIT_AFTER_ICMP);
}

/// A probe of `len` bytes of payload has arrived: the path is at least so wide, perhaps wider.
pub(crate) fn probe_arrived(tcb: &mut Tcb, cx: &Context<'_>, len: u16) {
    tcb.mss = tcb.mss.max(len);
    tcb.path.wait(cx.now, 0);
}
