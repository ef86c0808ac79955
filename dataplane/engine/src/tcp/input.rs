//! A segment arrives (RFC 9293 3.10.7), in the order of the RFC's steps.

use crate::seq::SeqNumber;
use crate::service::ServiceState;
use crate::tcp::stream::{Event, call};
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::{Context, State, ack, challenge, ecn, established, receive, timers, urgent};
use crate::wire::segment::Segment;
use crate::wire::tcp::Flags;

/// After an idle time like this TS.Recent says nothing (RFC 7323 5.5).
const TS_RECENT_LIFE_US: u64 = 24 * 24 * 3600 * 1_000_000;

/// What the shard has to do after a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Verdict {
    /// Nothing more.
    Done,
    /// The segment belongs to no connection that we know: answer with a RST.
    Stray,
}

/// Handles a segment for this connection.
#[inline]
pub(crate) fn segment(
    tcb: &mut Tcb,
    service: &mut ServiceState,
    cx: &mut Context<'_>,
    segment: &Segment<'_>,
) -> Verdict {
    if established::predicted(tcb, service, cx, segment) {
        return Verdict::Done;
    }
    match tcb.state {
        State::Closed => Verdict::Done,
        State::SynSent => syn_sent(tcb, service, cx, segment),
        _ => otherwise(tcb, service, cx, segment),
    }
}

/// RFC 9293 3.10.7.3.
fn syn_sent(
    tcb: &mut Tcb,
    service: &mut ServiceState,
    cx: &mut Context<'_>,
    segment: &Segment<'_>,
) -> Verdict {
    let flags = segment.flags;
    if flags.ack() && (segment.ack.le(tcb.snd_una) || segment.ack.gt(tcb.snd_nxt)) {
        return if flags.rst() { Verdict::Done } else { Verdict::Stray };
    }
    if flags.rst() {
        if flags.ack() {
            cx.shared.counters.resets_received += 1;
            tcb.drop_silently();
        }
        return Verdict::Done;
    }
    if !flags.syn() {
        return Verdict::Done;
    }
    tcb.take_syn(segment, cx.config);
    tcb.active_at = cx.now;
    tcb.ack_now();
    if flags.ack() {
        tcb.state = State::Established;
        ack::process(tcb, service, cx, segment);
        establish(tcb, service, cx);
    } else {
        // Simultaneous open (RFC 9293 3.5, Figure 7): our SYN goes out again, with an ACK.
        tcb.state = State::SynReceived;
        resend_syn(tcb, cx);
    }
    Verdict::Done
}

fn resend_syn(tcb: &mut Tcb, cx: &mut Context<'_>) {
    tcb.sent.mark_lost(&mut cx.shared.sent, |sent| Some(sent.has_syn()));
}

fn establish(tcb: &mut Tcb, service: &mut ServiceState, cx: &mut Context<'_>) {
    cx.shared.counters.established += 1;
    tcb.progress_at = cx.now;
    timers::start_life(tcb, cx);
    tcb.set(Marks::ACCEPTED);
    call(Event::Accept, tcb, service, cx, &[]);
}

/// RFC 9293 3.10.7.4.
fn otherwise(
    tcb: &mut Tcb,
    service: &mut ServiceState,
    cx: &mut Context<'_>,
    segment: &Segment<'_>,
) -> Verdict {
    let flags = segment.flags;
    if tcb.state == State::SynReceived && is_first_syn(tcb, segment) {
        ecn::asked_again(tcb, segment);
        resend_syn(tcb, cx);
        return Verdict::Done;
    }
    if !first_check_sequence(tcb, cx, segment) {
        return Verdict::Done;
    }
    if flags.rst() {
        second_check_reset(tcb, cx, segment);
        return Verdict::Done;
    }
    // Fourth. RFC 5961 4: whatever the sequence number, a genuine peer that has restarted will
    // answer the ACK with a RST that we believe.
    if flags.syn() && !completes_simultaneous_open(tcb, segment) {
        challenge(tcb, cx);
        return Verdict::Done;
    }
    if !flags.ack() {
        return Verdict::Done;
    }
    if tcb.state == State::SynReceived {
        if !segment.ack.gt(tcb.snd_una) || segment.ack.gt(tcb.snd_nxt) {
            return Verdict::Stray;
        }
        update_ts_recent(tcb, segment);
        tcb.state = State::Established;
        if !flags.syn() {
            tcb.snd_wnd = tcb.scaled_window(segment);
            tcb.max_window = tcb.snd_wnd;
            tcb.snd_wl1 = segment.seq;
        }
        tcb.active_at = cx.now;
        ack::process(tcb, service, cx, segment);
        establish(tcb, service, cx);
    } else if !fifth_check_ack(tcb, service, cx, segment) {
        return Verdict::Done;
    }
    if tcb.state == State::TimeWait {
        // Only the peer's FIN again: our last ACK was lost.
        if segment.len_seq() > 0 {
            tcb.ack_now();
            timers::time_wait(tcb, cx);
        }
        return Verdict::Done;
    }
    ecn::arrived(tcb, cx, segment);
    if flags.contains(Flags::URG) {
        urgent::sixth_check_urg(tcb, service, cx, segment);
    }
    if segment.len_seq() > 0 && (tcb.state.can_receive() || tcb.has(Marks::FIN_RECEIVED)) {
        receive::segment_text(tcb, service, cx, segment.seq, segment.payload, flags.fin());
    }
    Verdict::Done
}

/// The peer's SYN again: our answer was lost, or is late.
fn is_first_syn(tcb: &Tcb, segment: &Segment<'_>) -> bool {
    segment.flags.syn()
        && !segment.flags.ack()
        && !segment.flags.rst()
        && segment.seq + 1 == tcb.rcv_nxt
}

/// The peer's SYN again, with the acknowledgment of ours: our SYNs have crossed, and so does this
/// with our own answer (RFC 9293 3.5, Figure 7).
fn completes_simultaneous_open(tcb: &Tcb, segment: &Segment<'_>) -> bool {
    tcb.state == State::SynReceived
        && tcb.has(Marks::ACTIVE)
        && segment.seq + 1 == tcb.rcv_nxt
        && segment.ack == tcb.snd_nxt
}

/// First: the sequence number, and PAWS before it (RFC 7323 5.3). False: drop the segment.
fn first_check_sequence(tcb: &mut Tcb, cx: &mut Context<'_>, segment: &Segment<'_>) -> bool {
    if tcb.has(Marks::TIMESTAMPS) && !segment.flags.rst() {
        let Some(timestamps) = segment.options.timestamps else {
            // RFC 7323 3.2: once negotiated, a segment without is to be dropped.
            cx.shared.counters.paws_rejected += 1;
            return segment.flags.syn();
        };
        let back = (timestamps.value.wrapping_sub(tcb.ts_recent) as i32) < 0;
        if back && cx.now.since_us(tcb.active_at) < TS_RECENT_LIFE_US {
            cx.shared.counters.paws_rejected += 1;
            answer_unacceptable(tcb, cx, segment);
            return false;
        }
    }
    let end = segment.seq + segment.len_seq();
    // A keepalive or window probe asks for an answer, and a peer that gets none gives up. It is no
    // attack: our ACK does not call for one in turn.
    if segment.seq + 1 == tcb.rcv_nxt && segment.len_seq() <= 1 && !segment.flags.rst() {
        tcb.ack_now();
        return segment.flags.ack();
    }
    // Old enough not to concern anything since our last ACK, or beyond the window. A segment
    // within is cut to what is new later on.
    if end.lt(tcb.last_ack) || segment.seq.gt(tcb.rcv_adv) {
        cx.shared.counters.out_of_window += 1;
        if !segment.payload.is_empty() && end.le(tcb.rcv_nxt) {
            tcb.dsack = (segment.seq, segment.seq + segment.payload.len() as u32);
            tcb.set(Marks::DSACK);
        }
        if !segment.flags.rst() {
            answer_unacceptable(tcb, cx, segment);
        }
        return false;
    }
    // A keepalive or window probe: below RCV.NXT, and empty or one old byte.
    if end.le(tcb.rcv_nxt) && segment.seq.lt(tcb.rcv_nxt) && !segment.flags.rst() {
        tcb.ack_now();
    }
    true
}

/// RFC 9293 3.10.7.4: an unacceptable segment is answered with an ACK. One without data is
/// answered within the limit only, lest two confused ends keep each other busy (RFC 5961 5.3).
fn answer_unacceptable(tcb: &mut Tcb, cx: &mut Context<'_>, segment: &Segment<'_>) {
    if segment.len_seq() > 0 { tcb.ack_now() } else { challenge(tcb, cx) }
}

/// Second: RST (RFC 5961 3.2). Only the very next sequence number is believed; another one in the
/// window is challenged.
fn second_check_reset(tcb: &mut Tcb, cx: &mut Context<'_>, segment: &Segment<'_>) {
    // RFC 1337: a RST does not end TIME-WAIT.
    if tcb.state == State::TimeWait {
        return;
    }
    if segment.seq == tcb.rcv_nxt {
        cx.shared.counters.resets_received += 1;
        tcb.drop_silently();
    } else if segment.seq.gt(tcb.rcv_nxt) && segment.seq.lt(tcb.rcv_adv) {
        challenge(tcb, cx);
    } else {
        cx.shared.counters.out_of_window += 1;
    }
}

/// RFC 7323 4.3: the echo is that of the segment that covers our last ACK. Only of one whose ACK is
/// acceptable: a forged timestamp would have PAWS drop all that the peer sends.
fn update_ts_recent(tcb: &mut Tcb, segment: &Segment<'_>) {
    if tcb.has(Marks::TIMESTAMPS)
        && let Some(timestamps) = segment.options.timestamps
        && segment.seq.le(tcb.last_ack)
    {
        tcb.ts_recent = timestamps.value;
    }
}

/// Fifth: the acknowledgment, and what it does to our FIN. False: drop the segment.
fn fifth_check_ack(
    tcb: &mut Tcb,
    service: &mut ServiceState,
    cx: &mut Context<'_>,
    segment: &Segment<'_>,
) -> bool {
    // RFC 5961 5.2: what acknowledges the future, or the distant past, is not from our peer.
    let oldest: SeqNumber = tcb.snd_una - tcb.max_window.max(1);
    if segment.ack.gt(tcb.snd_nxt) || segment.ack.lt(oldest) {
        challenge(tcb, cx);
        return false;
    }
    update_ts_recent(tcb, segment);
    tcb.active_at = cx.now;
    tcb.unanswered = 0;
    ack::process(tcb, service, cx, segment);
    if !tcb.fin_acknowledged() {
        return tcb.state != State::Closed;
    }
    let before = tcb.state;
    tcb.state = before.fin_acknowledged();
    match (before, tcb.state) {
        (_, State::Closed) => {
            cx.shared.counters.closed += u64::from(before == State::LastAck);
            return false;
        }
        (State::FinWait1, State::FinWait2) => {
            tcb.deadlines.life = cx.now.plus_us(cx.config.tcp.fin_wait_2_us);
        }
        (State::Closing, State::TimeWait) => {
            cx.shared.counters.closed += 1;
            timers::time_wait(tcb, cx);
        }
        _ => {}
    }
    true
}
