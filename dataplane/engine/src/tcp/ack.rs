//! What an acknowledgment does: to the scoreboard, to the round-trip time, to the phase of loss
//! repair, to the congestion window and to the timers.

use crate::seq::SeqNumber;
use crate::service::ServiceState;
use crate::tcp::congestion::Acked;
use crate::tcp::judge::is_probe;
use crate::tcp::rack::{Echo, Rack, timestamp};
use crate::tcp::recovery::{self, DUP_ACKS, Forward, Phase, Recovery};
use crate::tcp::scoreboard::Sent;
use crate::tcp::stream::{Event, call};
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::timers::NEVER;
use crate::tcp::{Context, State, ecn, path};
use crate::time::Instant;
use crate::wire::segment::Segment;
use crate::wire::tcp::Flags;

/// What an acknowledgment told.
#[derive(Debug)]
struct News {
    /// SND.UNA moved.
    advanced: bool,
    /// It is a duplicate in the sense of RFC 5681 2.
    duplicate: bool,
    /// Bytes that have reached the peer, as far as we now know.
    delivered: u32,
    /// When the oldest newly acknowledged segment was sent, unless one of them was sent twice.
    sampled: Option<Instant>,
    /// A segment that was sent twice has been acknowledged.
    resent: bool,
    /// It answers a SYN-ACK of which nothing was kept: a cookie.
    of_cookie: bool,
    /// One has that was not, though a timeout took it to be lost.
    original: bool,
    /// Where what that timeout took to be lost ends, as long as that is in question.
    doubted: Option<SeqNumber>,
    /// Payload of a probe of the path's MTU that has arrived, or 0.
    proved: u16,
    /// The peer reports something that it got twice (RFC 2883).
    duplicate_reported: bool,
    /// FlightSize before.
    flight: u32,
    /// Bytes of the send queue that are done with.
    bytes: u64,
}

/// Processes the acknowledgment of a segment whose ACK is acceptable: not above SND.NXT
/// (RFC 9293 3.10.7.4, fifth).
pub(crate) fn process(
    tcb: &mut Tcb,
    service: &mut ServiceState,
    cx: &mut Context<'_>,
    segment: &Segment<'_>,
) {
    let duplicate = is_duplicate(tcb, segment);
    update_window(tcb, segment);
    // In a SYN-ACK the flag says something else (RFC 3168 6.1.1).
    if tcb.has(Marks::ECN) && segment.flags.contains(Flags::ECE) && !segment.flags.syn() {
        ecn::echoed(tcb, cx);
    }
    if !segment.ack.gt(tcb.snd_una) && !duplicate && segment.options.sack.is_empty() {
        return;
    }
    let news = take(tcb, cx, segment, duplicate);
    let sample_us = sample_rtt(tcb, cx, segment, &news);
    if !tcb.recovery.is_open() || news.duplicate_reported {
        second_thoughts(tcb, cx, segment, &news);
    }
    let lost = tcb.sent.lost;
    let again = find_losses(tcb, cx, &news);
    probe_answered(tcb, segment.ack, &news);
    adjust_window(tcb, cx, &news, lost, sample_us);
    set_timers(tcb, cx, &news, again);
    if news.bytes > 0 {
        tcb.progress_at = cx.now;
        tcb.bytes_out += news.bytes;
        call(Event::Writable, tcb, service, cx, &[]);
    }
}

/// RFC 5681 2. With SACK the scoreboard says more than counting can. A keepalive looks the same, but
/// no segment of ours has called for it.
#[inline]
fn is_duplicate(tcb: &Tcb, segment: &Segment<'_>) -> bool {
    segment.ack == tcb.snd_una
        && tcb.sent.count > 0
        && segment.len_seq() == 0
        && tcb.scaled_window(segment) == tcb.snd_wnd
        && !is_probe(tcb, segment)
}

/// RFC 9293 3.10.7.4: the window of the newest segment counts. SND.WL2 is not kept: it is never
/// above SND.UNA, so that what is not below the latter is not below the former. A segment that
/// acknowledges more is newer whatever its number: the peer may have sent it again. With the rule's
/// letter SND.UNA would move and the window stay, and its edge would be one that nobody offered.
#[inline]
fn update_window(tcb: &mut Tcb, segment: &Segment<'_>) {
    // RFC 7323 2.2: the window of a SYN is not scaled, and was taken with its options.
    if segment.ack.lt(tcb.snd_una) || segment.flags.syn() {
        return;
    }
    if segment.ack == tcb.snd_una && tcb.snd_wl1.gt(segment.seq) {
        return;
    }
    let window = tcb.scaled_window(segment);
    if tcb.sent.count == 0 && window > tcb.snd_wnd {
        // The persist timer has done its work.
        tcb.deadlines.retransmit = NEVER;
        tcb.rtt.reset_backoff();
    }
    tcb.snd_wnd = window;
    tcb.max_window = tcb.max_window.max(window);
    tcb.snd_wl1 = segment.seq;
}

/// Moves SND.UNA and marks what was sacked.
fn take(tcb: &mut Tcb, cx: &mut Context<'_>, segment: &Segment<'_>, duplicate: bool) -> News {
    let advanced = segment.ack.gt(tcb.snd_una);
    let tsecr = segment.options.timestamps.map(|t| t.echo).filter(|_| tcb.has(Marks::TIMESTAMPS));
    let echo = Echo { now: cx.now, tsecr, ts_offset: tcb.ts_offset, min_rtt_us: tcb.rtt.min_us() };
    let mut news = News {
        advanced,
        duplicate,
        delivered: 0,
        sampled: None,
        resent: false,
        of_cookie: false,
        original: false,
        doubted: (tcb.recovery.forward != Forward::Off).then_some(tcb.recovery.point),
        proved: 0,
        duplicate_reported: false,
        flight: tcb.flight(),
        bytes: 0,
    };
    let shared = &mut *cx.shared;
    let rack = &mut tcb.rack;
    let mut oldest = NEVER;
    let mut delivered = |sent: &Sent| {
        rack.delivered(sent, &echo);
        if sent.is_special() {
            news.resent |= sent.is_retransmitted();
            if sent.is_mtu_probe() {
                news.proved = sent.payload_len();
            }
        } else if news.doubted.is_some_and(|end| sent.end().le(end)) {
            news.original = true;
        }
        oldest = oldest.min(sent.at);
    };
    if advanced {
        let count = tcb.sent.count;
        news.delivered = tcb.sent.acknowledge(&mut shared.sent, segment.ack, &mut delivered);
        if !tcb.marks.contains(Marks::SACK) && tcb.recovery.dup_acks > 0 {
            // What duplicate ACKs stood for has now been acknowledged by name.
            let known = (count - tcb.sent.count).saturating_sub(1).min(255) as u8;
            let known = known.min(tcb.recovery.dup_acks);
            tcb.recovery.dup_acks -= known;
            let known = u32::from(known) * u32::from(tcb.mss);
            news.delivered = news.delivered.saturating_sub(known);
        }
    }
    let sack = &segment.options.sack;
    if tcb.marks.contains(Marks::SACK) && !sack.is_empty() {
        // RFC 2883 4: the first block tells of a duplicate if it is below the ACK or within the
        // second block.
        let (start, end) = sack[0];
        let within = sack.get(1).is_some_and(|second| start.ge(second.0) && end.le(second.1));
        news.duplicate_reported = end.le(segment.ack) || within;
        for block in sack {
            if block.0.lt(block.1) && block.0.ge(segment.ack) && block.1.le(tcb.snd_nxt) {
                news.delivered += tcb.sent.sack(&mut shared.sent, *block, &mut delivered);
            }
        }
    }
    if news.proved > 0 {
        path::probe_arrived(tcb, cx, news.proved);
    }
    if !news.resent && oldest != NEVER {
        news.sampled = Some(oldest);
    }
    if advanced {
        release(tcb, cx, segment.ack, &mut news);
    }
    news
}

/// Gives back the acknowledged part of the send queue.
fn release(tcb: &mut Tcb, cx: &mut Context<'_>, ack: SeqNumber, news: &mut News) {
    let syn = u32::from(tcb.has(Marks::SYN_UNACKED));
    news.of_cookie = syn > 0 && news.delivered == 0;
    let fin = u32::from(tcb.has(Marks::FIN_SENT) && ack == tcb.snd_nxt);
    let numbers = ack.distance(tcb.snd_una).unsigned_abs();
    let bytes = u64::from(numbers.saturating_sub(syn + fin));
    news.bytes = bytes.min(tcb.send.len());
    tcb.send.advance(&mut cx.shared.buffers, news.bytes);
    tcb.clear(Marks::SYN_UNACKED);
    tcb.snd_una = ack;
    tcb.rack.advance(ack);
    tcb.rtt.reset_backoff();
    tcb.unanswered = 0;
}

/// RFC 6298 3 (Karn), RFC 7323 4: a segment that was sent twice is timed by its echo only. Returns
/// what was measured to the microsecond, or 0.
fn sample_rtt(tcb: &mut Tcb, cx: &Context<'_>, segment: &Segment<'_>, news: &News) -> u32 {
    if let Some(at) = news.sampled {
        let rtt_us = cx.now.since_us(at);
        tcb.rtt.sample(cx.now, rtt_us);
        return u32::try_from(rtt_us).unwrap_or(u32::MAX);
    }
    // The clock of a cookie's timestamp is not exact.
    if !news.advanced || news.of_cookie || !tcb.has(Marks::TIMESTAMPS) {
        return 0;
    }
    let Some(timestamps) = segment.options.timestamps else { return 0 };
    let elapsed_ms = timestamp(cx.now, tcb.ts_offset).wrapping_sub(timestamps.echo);
    if timestamps.echo != 0 && elapsed_ms < 1 << 24 {
        tcb.rtt.sample(cx.now, (u64::from(elapsed_ms) * 1000).max(1000));
    }
    0
}

/// Whether a recovery or a timeout was needless, as far as this acknowledgment tells.
fn second_thoughts(tcb: &mut Tcb, cx: &mut Context<'_>, segment: &Segment<'_>, news: &News) {
    let echo = segment.options.timestamps.filter(|_| tcb.has(Marks::TIMESTAMPS));
    let late = news.advanced
        && news.resent
        && echo.is_some_and(|timestamps| tcb.recovery.original_answered(timestamps.echo));
    // A tail loss probe that came twice is no retransmission of a recovery.
    let probe = tcb.rack.probe_end().is_some() && tcb.has(Marks::PROBE_RESENT);
    let twice = news.duplicate_reported && !probe && tcb.recovery.duplicate_reported();
    if late || twice || forward(tcb, news) {
        recovery::undo(tcb, cx);
    }
}

/// F-RTO (RFC 5682 2.1, 3.1). True: the timeout was needless.
fn forward(tcb: &mut Tcb, news: &News) -> bool {
    let told = news.advanced || news.delivered > 0;
    if tcb.recovery.forward == Forward::Off || !told && !news.duplicate {
        return false;
    }
    // Steps 2a and 3a: no news, or all news at once, say nothing for it.
    if !news.advanced || tcb.snd_una.ge(tcb.recovery.point) {
        let needless = tcb.recovery.forward == Forward::Second && news.original;
        tcb.recovery.forward = Forward::Off;
        return needless;
    }
    if tcb.recovery.forward == Forward::Second {
        tcb.recovery.forward = Forward::Off;
        // Step 3b: what was not sent again has arrived.
        return news.original;
    }
    // Step 2b, if there is new data and a window for it.
    let edge = tcb.snd_una + tcb.snd_wnd;
    let room = edge.distance(tcb.snd_nxt) >= i32::from(tcb.mss);
    let possible = room && tcb.unsent() > 0 && tcb.state.can_send();
    tcb.recovery.forward = if possible { Forward::Second } else { Forward::Off };
    false
}

/// Marks what is lost, and starts or ends the phases of its repair. Returns when to look again.
fn find_losses(tcb: &mut Tcb, cx: &mut Context<'_>, news: &News) -> Option<Instant> {
    if news.duplicate_reported {
        tcb.rack.duplicate_reported(tcb.snd_nxt);
    }
    if news.advanced && tcb.recovery.phase != Phase::Open {
        // What is now the head has not been probed for.
        tcb.rack.forget_probe();
        if is_over(tcb) {
            leave(tcb);
        }
    }
    if tcb.kicked_at.is_some() && tcb.snd_una.ge(tcb.recovery.point) {
        tcb.kicked_at = None;
    }
    let mut again = None;
    // Without SACK time tells only after a takeover, when all before the kick is in question.
    let told = tcb.sent.sacked > 0 || !tcb.recovery.is_open() || news.resent;
    if told && (tcb.has(Marks::SACK) || tcb.kicked_at.is_some()) {
        again = detect(tcb, cx);
    }
    if !tcb.has(Marks::SACK) {
        count_duplicates(tcb, cx, news);
    }
    again
}

/// The reordering timer of RACK has fired (RFC 8985 6.3).
pub(crate) fn reordering_timeout(tcb: &mut Tcb, cx: &mut Context<'_>) {
    if let Some(again) = detect(tcb, cx) {
        tcb.deadlines.loss = again;
        tcb.set(Marks::RACK_LOOK);
    }
    let Recovery { phase, rate, .. } = &mut tcb.recovery;
    if *phase == Phase::Recovery && rate.sent == 0 {
        let (pipe, mss) = (tcb.sent.in_flight, tcb.mss);
        tcb.congestion.cwnd = rate.window(0, pipe, tcb.congestion.ssthresh, mss, false);
    }
}

fn detect(tcb: &mut Tcb, cx: &mut Context<'_>) -> Option<Instant> {
    let recovering = !tcb.recovery.is_open();
    let found =
        tcb.rack.detect_loss(&mut tcb.sent, &mut cx.shared.sent, cx.now, &tcb.rtt, recovering);
    if let Some(newest) = found.newest_lost {
        enter(tcb, cx, newest);
    } else if found.probe_lost {
        path::repair(tcb);
    }
    found.again
}

/// RFC 5681 3.2, RFC 6582 3.2: loss as a peer without SACK lets us know of it.
fn count_duplicates(tcb: &mut Tcb, cx: &mut Context<'_>, news: &News) {
    let recovery = &mut tcb.recovery;
    if news.advanced {
        match recovery.phase {
            Phase::Open | Phase::Reduced => recovery.dup_acks = 0,
            // A partial acknowledgment: the next segment is missing too.
            Phase::Recovery => {
                mark_head_lost(tcb, cx);
            }
            Phase::Loss | Phase::Repair => {}
        }
    } else if news.duplicate {
        recovery.dup_acks = recovery.dup_acks.saturating_add(1);
        if recovery.dup_acks == DUP_ACKS && recovery.is_open() && mark_head_lost(tcb, cx) {
            enter(tcb, cx, cx.now);
        }
    }
}

fn mark_head_lost(tcb: &mut Tcb, cx: &mut Context<'_>) -> bool {
    let una = tcb.snd_una;
    let slab = &mut cx.shared.sent;
    tcb.sent.mark_lost(slab, |sent| {
        if sent.seq == una && !sent.is_retransmitted() { Some(true) } else { None }
    }) > 0
}

/// Something is newly known to be lost; the newest of it was sent at `newest`.
fn enter(tcb: &mut Tcb, cx: &mut Context<'_>, newest: Instant) {
    let before_kick = tcb.kicked_at.is_some_and(|kicked_at| newest < kicked_at);
    match tcb.recovery.phase {
        Phase::Open if before_kick => {
            tcb.recovery.phase = Phase::Repair;
            tcb.recovery.point = tcb.snd_nxt;
        }
        Phase::Repair if before_kick => {}
        Phase::Open | Phase::Repair => {
            cx.shared.counters.recoveries += 1;
            recovery::reduce(tcb, Phase::Recovery);
        }
        Phase::Reduced => {
            // The window shrinks for this round trip already.
            cx.shared.counters.recoveries += 1;
            tcb.recovery.phase = Phase::Recovery;
            tcb.recovery.point = tcb.snd_nxt;
        }
        Phase::Recovery | Phase::Loss => {}
    }
    tcb.rack.forget_probe();
}

/// All that was out when the phase began is acknowledged. With ECN something sent since must be
/// too: only then the peer may know of the reduction (RFC 3168 6.1.2).
fn is_over(tcb: &Tcb) -> bool {
    let point = tcb.recovery.point;
    tcb.snd_una.gt(point) || tcb.snd_una == point && (!tcb.has(Marks::ECN) || tcb.sent.count == 0)
}

fn leave(tcb: &mut Tcb) {
    if tcb.recovery.is_reducing() {
        tcb.congestion.recovered(tcb.mss);
    }
    if tcb.recovery.phase == Phase::Recovery {
        tcb.rack.recovered();
    }
    tcb.recovery.forward = Forward::Off;
    tcb.recovery.phase = Phase::Open;
    tcb.recovery.dup_acks = 0;
}

/// RFC 8985 7.4.2: a tail loss probe may itself have repaired a loss, which means congestion.
fn probe_answered(tcb: &mut Tcb, ack: SeqNumber, news: &News) {
    let Some(end) = tcb.rack.probe_end().filter(|&end| ack.ge(end)) else { return };
    if !tcb.has(Marks::PROBE_RESENT) || news.duplicate_reported {
        tcb.rack.forget_probe();
    } else if ack.gt(end) {
        tcb.rack.forget_probe();
        recovery::reduce_at_once(tcb, news.flight);
    } else if news.duplicate {
        tcb.rack.forget_probe();
    }
}

/// The congestion window after this acknowledgment. `lost`: entries that were held to be lost
/// before.
fn adjust_window(tcb: &mut Tcb, cx: &Context<'_>, news: &News, lost: u32, sample_us: u32) {
    let pipe = tcb.pipe();
    let mss = tcb.mss;
    match tcb.recovery.phase {
        Phase::Recovery | Phase::Reduced => {
            let rate = &mut tcb.recovery.rate;
            let lone = if news.duplicate && news.delivered == 0 { u32::from(mss) } else { 0 };
            let delivered = if tcb.marks.contains(Marks::SACK) {
                news.delivered
            } else {
                news.delivered.max(lone)
            };
            let ssthresh = tcb.congestion.ssthresh;
            let safe = news.advanced && tcb.sent.lost <= lost;
            let mut window = rate.window(delivered, pipe, ssthresh, mss, safe);
            if news.advanced && !tcb.marks.contains(Marks::SACK) {
                // RFC 6582 3.2 step 3: a partial acknowledgment lets the next hole be filled.
                window = window.max(pipe + u32::from(mss));
            }
            tcb.congestion.cwnd = window.max(mss.into());
        }
        // What is repaired after a takeover says nothing about the path.
        Phase::Repair => {}
        Phase::Open | Phase::Loss => {
            // RFC 9438 5.8, RFC 7661: a window that is not used does not grow.
            let congestion = &mut tcb.congestion;
            let used = tcb.marks.contains(Marks::CWND_LIMITED)
                || (congestion.in_slow_start() && news.flight > congestion.cwnd / 2);
            if news.advanced && used && news.delivered > 0 {
                congestion.acknowledged(&Acked {
                    now: cx.now,
                    bytes: news.delivered,
                    mss,
                    srtt_us: tcb.rtt.srtt_us(),
                    sample_us,
                    una: tcb.snd_una,
                    nxt: tcb.snd_nxt,
                });
            }
        }
    }
}

/// RFC 6298 5.2, 5.3; RFC 8985 7.2 for the probe.
fn set_timers(tcb: &mut Tcb, cx: &Context<'_>, news: &News, again: Option<Instant>) {
    if news.advanced {
        tcb.deadlines.retransmit = if tcb.sent.count == 0 {
            NEVER
        } else {
            cx.now.plus_us(tcb.rtt.rto_us(&cx.config.tcp))
        };
    }
    match again {
        Some(at) => {
            tcb.deadlines.loss = at;
            tcb.set(Marks::RACK_LOOK);
        }
        None => schedule_probe(tcb, cx),
    }
}

/// A probe is due when no answer comes to the last segments of a flight (RFC 8985 7.2), nor to
/// those of a repair.
#[inline]
pub(crate) fn schedule_probe(tcb: &mut Tcb, cx: &Context<'_>) {
    tcb.clear(Marks::RACK_LOOK);
    tcb.deadlines.loss = NEVER;
    let possible = tcb.has(Marks::SACK)
        && tcb.sent.count > 0
        && tcb.rack.probe_end().is_none()
        && tcb.state != State::SynReceived;
    if !possible {
        return;
    }
    let tail = tcb.sent.sacked == 0 && tcb.recovery.is_open();
    if !tail && !repair_is_under_way(tcb, cx) {
        return;
    }
    let rto_us = tcb.rtt.rto_us(&cx.config.tcp);
    // Who gets what was missing answers at once (RFC 5681 4.2).
    let may_be_delayed = tail && tcb.sent.count == 1;
    let timeout_us = Rack::probe_timeout_us(&tcb.rtt, may_be_delayed, rto_us);
    tcb.deadlines.loss = cx.now.plus_us(timeout_us);
}

/// All that was missing was sent again. If the last of it or its answer is lost, no later delivery
/// will tell; RFC 8985 leaves that to the timeout. As in QUIC (RFC 9002 6.2), one probe comes
/// first.
#[inline]
pub(crate) fn repair_is_under_way(tcb: &Tcb, cx: &Context<'_>) -> bool {
    matches!(tcb.recovery.phase, Phase::Recovery | Phase::Repair)
        && tcb.sent.lost == 0
        && tcb.sent.first(&cx.shared.sent).is_some_and(|sent| !sent.is_sacked())
}
