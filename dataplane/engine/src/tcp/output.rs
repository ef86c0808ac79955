//! What leaves: each connection in the run queue gets its turn here, after all segments of the
//! step have been taken in. Retransmissions go before new data (RFC 6675 5, NextSeg), and
//! acknowledgments ride on data where there is some.

use crate::egress::Egress;
use crate::tcp::rack::timestamp;
use crate::tcp::recovery::Forward;
use crate::tcp::scoreboard::{Controls, Sent};
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::timers::NEVER;
use crate::tcp::{Context, State, ack, ecn, heir, kick, path, receive, transmit};
use crate::wire::tcp::Flags;

/// Lets this connection send up to `quota` packets, which is counted down. True: it has more.
#[inline]
pub(crate) fn run<E: Egress>(
    tcb: &mut Tcb,
    cx: &mut Context<'_>,
    egress: &mut E,
    quota: &mut u32,
) -> bool {
    if tcb.state == State::Closed {
        return closed(tcb, cx, egress, quota);
    }
    if tcb.has(Marks::KICK) {
        if *quota == 0 {
            return true;
        }
        kick::send(tcb, cx, egress, quota);
    }
    let mut more = false;
    if tcb.has(Marks::ACK_NOW)
        && (tcb.dup_acks_owed > 0 || tcb.has(Marks::DSACK))
        && !tcb.has(Marks::SYN_UNACKED)
    {
        // What is missing must be said now; data may be long in coming, have no room for it, or be
        // lost for their length.
        more |= acknowledge(tcb, cx, egress, quota);
    }
    let held_back = tcb.sent.lost > 0 && tcb.recovery.forward == Forward::Second;
    if tcb.sent.lost > 0 && !held_back {
        more |= retransmit(tcb, cx, egress, quota);
    }
    if tcb.has(Marks::SYN_UNACKED) {
        more |= syn(tcb, cx, egress, quota);
    } else {
        if (tcb.sent.lost == 0 || held_back) && (tcb.unsent() > 0 || tcb.fin_due()) {
            more |= new_data(tcb, cx, egress, quota);
        }
        if tcb.has(Marks::TAIL_PROBE) {
            more |= tail_probe(tcb, cx, egress, quota);
        }
        if tcb.has(Marks::PROBE) {
            more |= probe(tcb, cx, egress, quota);
        }
    }
    // Nothing is said before our SYN, which may have found no room yet.
    let silent = tcb.has(Marks::SYN_UNACKED) && tcb.snd_nxt == tcb.snd_una;
    if (tcb.has(Marks::ACK_NOW) || receive::window_update_due(tcb, cx)) && !silent {
        more |= acknowledge(tcb, cx, egress, quota);
    }
    tcb.clear(Marks::OVERRIDE);
    arm_persist(tcb, cx);
    more
}

fn closed<E: Egress>(tcb: &mut Tcb, cx: &mut Context<'_>, egress: &mut E, quota: &mut u32) -> bool {
    if !tcb.has(Marks::RESET) {
        return false;
    }
    if *quota == 0 {
        return true;
    }
    *quota -= 1;
    tcb.clear(Marks::RESET);
    transmit::reset(tcb, cx, egress);
    false
}

/// The first transmission of our SYN, with an ACK in answer to one (RFC 9293 3.5).
fn syn<E: Egress>(tcb: &mut Tcb, cx: &mut Context<'_>, egress: &mut E, quota: &mut u32) -> bool {
    if tcb.snd_nxt != tcb.snd_una {
        return false;
    }
    if *quota == 0 {
        return true;
    }
    let controls = Controls { syn: true, fin: false };
    if !tcb.sent.push(&mut cx.shared.sent, cx.now, tcb.snd_una, 1, controls) {
        starve(tcb, cx);
        return false;
    }
    *quota -= 1;
    tcb.snd_nxt = tcb.snd_una + 1;
    transmit::segment(tcb, cx, egress, tcb.snd_una, syn_flags(tcb), 0, 0);
    arm_retransmission(tcb, cx);
    false
}

fn syn_flags(tcb: &Tcb) -> Flags {
    let flags = if tcb.state == State::SynSent { Flags::SYN } else { Flags::SYN | Flags::ACK };
    ecn::handshake_flags(tcb, flags)
}

/// Sends again what is held to be lost, as far as the congestion window lets it.
fn retransmit<E: Egress>(
    tcb: &mut Tcb,
    cx: &mut Context<'_>,
    egress: &mut E,
    quota: &mut u32,
) -> bool {
    while let Some((index, sent)) = tcb.sent.next_lost(&cx.shared.sent) {
        let pipe = tcb.pipe();
        let len = u32::from(sent.len.min(tcb.mss));
        if pipe > 0 && pipe + len > tcb.congestion.cwnd {
            tcb.set(Marks::CWND_LIMITED);
            break;
        }
        // RFC 9293 3.8.6, SHLD-16: if the window has shrunk, only the head is sent beyond its edge,
        // as a probe.
        if sent.seq.ge(tcb.snd_una + tcb.snd_wnd.max(1)) && !tcb.has(Marks::SYN_UNACKED) {
            break;
        }
        if *quota == 0 {
            return true;
        }
        *quota -= 1;
        send_again(tcb, cx, egress, index, &sent);
    }
    if tcb.deadlines.loss == NEVER {
        ack::schedule_probe(tcb, cx);
    }
    false
}

/// Sends the scoreboard's segment `index` once more, or as much of it as the path takes by now.
pub(crate) fn send_again<E: Egress>(
    tcb: &mut Tcb,
    cx: &mut Context<'_>,
    egress: &mut E,
    index: u32,
    sent: &Sent,
) {
    let sent = if sent.payload_len() > tcb.mss {
        tcb.sent.split(&mut cx.shared.sent, index, tcb.mss)
    } else {
        *sent
    };
    tcb.sent.resent(&mut cx.shared.sent, index, cx.now);
    tcb.retransmissions = tcb.retransmissions.saturating_add(1);
    cx.shared.counters.retransmissions += 1;
    tcb.recovery.sent(sent.len);
    tcb.recovery.sent_again(timestamp(cx.now, tcb.ts_offset));
    let mut flags = if sent.has_syn() { syn_flags(tcb) } else { Flags::ACK };
    if sent.has_fin() {
        flags |= Flags::FIN;
    }
    let offset = u64::from(sent.seq.distance(tcb.queue_start()).max(0).unsigned_abs());
    let len = sent.payload_len();
    if len > 0 && offset + u64::from(len) == tcb.send.len() {
        flags |= Flags::PSH;
    }
    transmit::segment(tcb, cx, egress, sent.seq, flags, offset, len);
    // RFC 6298 5.1, and 5.6 for a segment at the head: its answer is what we wait for now.
    if sent.seq == tcb.snd_una || tcb.deadlines.retransmit == NEVER {
        tcb.deadlines.retransmit = cx.now.plus_us(tcb.rtt.rto_us(&cx.config.tcp));
    }
}

/// Sends what was never sent, as far as both windows let it.
fn new_data<E: Egress>(
    tcb: &mut Tcb,
    cx: &mut Context<'_>,
    egress: &mut E,
    quota: &mut u32,
) -> bool {
    if !tcb.state.can_send() {
        return false;
    }
    restart_after_idle(tcb, cx);
    tcb.clear(Marks::CWND_LIMITED);
    if tcb.mss < tcb.path.limit && *quota > 0 {
        *quota -= u32::from(mtu_probe(tcb, cx, egress));
    }
    while tcb.unsent() > 0 || tcb.fin_due() {
        let Some(len) = sendable(tcb, cx) else { break };
        let pipe = tcb.pipe();
        if pipe > 0 && pipe + u32::from(len) > tcb.congestion.cwnd {
            tcb.set(Marks::CWND_LIMITED);
            break;
        }
        if *quota == 0 {
            return true;
        }
        if !first_transmission(tcb, cx, egress, len) {
            break;
        }
        *quota -= 1;
    }
    false
}

/// Tries a larger segment when it is time to. True if one has left.
fn mtu_probe<E: Egress>(tcb: &mut Tcb, cx: &mut Context<'_>, egress: &mut E) -> bool {
    let Some(len) = path::probe_len(tcb, cx.now) else { return false };
    if !first_transmission(tcb, cx, egress, len) {
        return false;
    }
    path::probe_left(tcb, cx);
    true
}

/// RFC 5681 4.1: the window is not trusted after a pause of more than an RTO.
fn restart_after_idle(tcb: &mut Tcb, cx: &Context<'_>) {
    if tcb.sent.count == 0 && cx.now.since_us(tcb.sent_at) > tcb.rtt.rto_us(&cx.config.tcp) {
        tcb.congestion.idle(cx.config.tcp.initial_cwnd, tcb.mss);
    }
}

/// Numbers that the peer's window has room for: for payload, and for a FIN too (RFC 9293 3.4).
#[inline]
fn usable_window(tcb: &Tcb) -> u32 {
    let edge = tcb.snd_una + tcb.snd_wnd;
    edge.distance(tcb.snd_nxt).max(0).unsigned_abs()
}

/// Payload bytes that the next new segment may carry; 0 for a FIN alone. `None`: it must wait for
/// the peer's window, or for more data (RFC 9293 3.8.6.2.1 and 3.7.4).
#[inline]
fn sendable(tcb: &Tcb, cx: &Context<'_>) -> Option<u16> {
    let usable = usable_window(tcb);
    if usable == 0 {
        return None;
    }
    let unsent = tcb.unsent();
    let mss = tcb.mss;
    let len = u64::from(usable).min(unsent).min(mss.into()) as u16;
    if len == mss {
        return Some(len);
    }
    let everything = u64::from(len) == unsent;
    if everything {
        let hurry = tcb.has(Marks::CLOSING) || tcb.flight() == 0 || !cx.service(tcb).nagle;
        return hurry.then_some(len);
    }
    // Half of the largest window the peer ever had is worth a segment.
    let worth = u32::from(len) >= tcb.max_window / 2;
    (worth || tcb.has(Marks::OVERRIDE)).then_some(len)
}

/// Sends `len` new bytes, and our FIN if it comes right behind. False if the scoreboard is full.
fn first_transmission<E: Egress>(
    tcb: &mut Tcb,
    cx: &mut Context<'_>,
    egress: &mut E,
    len: u16,
) -> bool {
    if !cx.shared.sent.has_room(tcb.sent.count == 0) {
        starve(tcb, cx);
        return false;
    }
    let offset = u64::from(tcb.queue_sent());
    let last = u64::from(len) == tcb.unsent();
    let fin = last && tcb.fin_due() && usable_window(tcb) > u32::from(len);
    let mut flags = Flags::ACK;
    if last && len > 0 {
        flags |= Flags::PSH;
    }
    if fin {
        flags |= Flags::FIN;
    }
    let seq = tcb.snd_nxt;
    let (wanted, len) = (len, transmit::segment(tcb, cx, egress, seq, flags, offset, len));
    let fin = fin && len == wanted;
    let controls = Controls { syn: false, fin };
    let numbers = len + u16::from(fin);
    tcb.sent.push(&mut cx.shared.sent, cx.now, seq, numbers, controls);
    tcb.snd_nxt = seq + u32::from(numbers);
    tcb.sent_at = cx.now;
    cx.shared.counters.bytes_out += u64::from(len);
    tcb.recovery.sent(numbers);
    if fin {
        tcb.set(Marks::FIN_SENT);
        tcb.state = tcb.state.fin_sent();
    }
    arm_retransmission(tcb, cx);
    if tcb.recovery.is_open() && tcb.sent.sacked == 0 {
        ack::schedule_probe(tcb, cx);
    }
    true
}

/// Round trips below which the last segment is the better probe, even with new data at hand: a lone
/// new segment may wait for the receiver's delayed ACK (40 ms on Linux, up to 500 ms in RFC 1122
/// 4.2.3.2), while one that has come before is answered at once (RFC 5681 4.2).
const DELAYED_ACK_US: u32 = 40_000;

/// RFC 8985 7.3: new data if there is some, or else the last segment again; on a short path always
/// that. In a repair: the head.
fn tail_probe<E: Egress>(
    tcb: &mut Tcb,
    cx: &mut Context<'_>,
    egress: &mut E,
    quota: &mut u32,
) -> bool {
    let repair = !tcb.recovery.is_open();
    let moot = tcb.sent.count == 0
        || tcb.rack.probe_end().is_some()
        || repair && !ack::repair_is_under_way(tcb, cx);
    if moot {
        tcb.clear(Marks::TAIL_PROBE);
        return false;
    }
    if *quota == 0 {
        return true;
    }
    tcb.clear(Marks::TAIL_PROBE);
    if repair {
        repair_probe(tcb, cx, egress);
        *quota -= 1;
        return false;
    }
    let far = tcb.rtt.srtt_us() >= DELAYED_ACK_US;
    let fresh = far && tcb.unsent() > 0 && tcb.state.can_send();
    let len = if fresh { sendable(tcb, cx) } else { None };
    let sent_new = len.is_some_and(|len| first_transmission(tcb, cx, egress, len));
    if !sent_new && let Some((index, sent)) = tcb.sent.tail(&cx.shared.sent) {
        send_again(tcb, cx, egress, index, &sent);
    }
    *quota -= 1;
    cx.shared.counters.tail_loss_probes += 1;
    tcb.rack.probe_left(tcb.snd_nxt);
    tcb.put(Marks::PROBE_RESENT, !sent_new);
    tcb.deadlines.loss = NEVER;
    tcb.deadlines.retransmit = cx.now.plus_us(tcb.rtt.rto_us(&cx.config.tcp));
    false
}

fn repair_probe<E: Egress>(tcb: &mut Tcb, cx: &mut Context<'_>, egress: &mut E) {
    let Some((index, sent)) = tcb.sent.head(&cx.shared.sent) else { return };
    send_again(tcb, cx, egress, index, &sent);
    cx.shared.counters.tail_loss_probes += 1;
    tcb.rack.probe_left(tcb.snd_nxt);
    // The window has shrunk for this loss already.
    tcb.clear(Marks::PROBE_RESENT);
    tcb.deadlines.loss = NEVER;
}

/// A segment below the peer's window, which it must answer with an ACK: asks for the window
/// (RFC 9293 3.8.6.1) or whether the peer is there (3.8.4). It takes no byte of the queue, so
/// that a closed window leaves nothing to repair.
fn probe<E: Egress>(tcb: &mut Tcb, cx: &mut Context<'_>, egress: &mut E, quota: &mut u32) -> bool {
    if *quota == 0 {
        return true;
    }
    *quota -= 1;
    tcb.clear(Marks::PROBE);
    transmit::segment(tcb, cx, egress, tcb.snd_una - 1, Flags::ACK, 0, 0);
    false
}

/// ACKs alone: one, or one for each segment that came out of order to a peer that can only count
/// (RFC 5681 4.2).
fn acknowledge<E: Egress>(
    tcb: &mut Tcb,
    cx: &mut Context<'_>,
    egress: &mut E,
    quota: &mut u32,
) -> bool {
    if tcb.has(Marks::SACK) {
        tcb.dup_acks_owed = tcb.dup_acks_owed.min(1);
    }
    loop {
        if *quota == 0 {
            return true;
        }
        *quota -= 1;
        transmit::segment(tcb, cx, egress, heir::next(tcb), Flags::ACK, 0, 0);
        if tcb.dup_acks_owed == 0 {
            return false;
        }
    }
}

/// RFC 6298 5.1.
#[inline]
fn arm_retransmission(tcb: &mut Tcb, cx: &Context<'_>) {
    if tcb.deadlines.retransmit == NEVER {
        tcb.deadlines.retransmit = cx.now.plus_us(tcb.rtt.rto_us(&cx.config.tcp));
    }
}

/// With data to send and nothing in flight, nobody will wake us but the clock
/// (RFC 9293 3.8.6.1).
#[inline]
fn arm_persist(tcb: &mut Tcb, cx: &Context<'_>) {
    if tcb.sent.count == 0
        && tcb.state.can_send()
        && tcb.deadlines.retransmit == NEVER
        && (tcb.unsent() > 0 || tcb.fin_due())
    {
        tcb.deadlines.retransmit = cx.now.plus_us(tcb.rtt.rto_us(&cx.config.tcp));
    }
}

/// No scoreboard entry is free: the shard gives this connection another turn when one is.
fn starve(tcb: &mut Tcb, cx: &mut Context<'_>) {
    cx.shared.counters.scoreboard_exhausted += 1;
    tcb.set(Marks::STARVED);
}
