//! A segment arrives (RFC 9293 3.10.7), in the order of the RFC's steps.

use crate::config::ServiceKind;
use crate::service::ServiceState;
use crate::tcp::judge::{Flaw, Judgement, judge};
use crate::tcp::stream::{Event, call};
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::{Context, State, ack, challenge, ecn, established, heir, receive, timers, urgent};
use crate::wire::segment::Segment;
use crate::wire::tcp::Flags;

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
    match judge(tcb, cx.shared, cx.config, cx.now, segment) {
        Judgement::Acceptable if segment.ack.gt(tcb.snd_nxt) => {
            cx.shared.counters.ahead += 1;
            let known = Segment { ack: tcb.snd_nxt, ..segment.clone() };
            acceptable(tcb, service, cx, &known);
            heir::note(tcb, segment.ack);
        }
        Judgement::Acceptable => acceptable(tcb, service, cx, segment),
        Judgement::SynAgain => {
            ecn::asked_again(tcb, segment);
            resend_syn(tcb, cx);
        }
        Judgement::Repeated(flaw) => {
            count(flaw, cx);
            report_repeated(tcb, segment, flaw);
            tcb.ack_now();
        }
        Judgement::Reset => {
            cx.shared.counters.resets_received += 1;
            tcb.drop_silently();
        }
        Judgement::Challenge(flaw) => {
            count(flaw, cx);
            challenge(tcb, cx);
        }
        Judgement::Stray => {
            cx.shared.challenges.suspect(cx.now, cx.config);
            return Verdict::Stray;
        }
        Judgement::Ignore(flaw) => {
            count(flaw, cx);
            cx.shared.challenges.suspect(cx.now, cx.config);
        }
    }
    Verdict::Done
}

fn count(flaw: Flaw, cx: &mut Context<'_>) {
    match flaw {
        Flaw::Window => cx.shared.counters.out_of_window += 1,
        Flaw::Timestamp => cx.shared.counters.paws_rejected += 1,
        Flaw::Ack | Flaw::Flags => {}
    }
}

/// RFC 2883 4: what came twice is reported.
fn report_repeated(tcb: &mut Tcb, segment: &Segment<'_>, flaw: Flaw) {
    let end = segment.seq + segment.payload.len() as u32;
    if flaw == Flaw::Window && !segment.payload.is_empty() && end.le(tcb.rcv_nxt) {
        tcb.dsack = (segment.seq, end);
        tcb.set(Marks::DSACK);
    }
}

/// What an acceptable segment says, in the RFC's order.
fn acceptable(
    tcb: &mut Tcb,
    service: &mut ServiceState,
    cx: &mut Context<'_>,
    segment: &Segment<'_>,
) {
    let flags = segment.flags;
    // A keepalive, a window probe, or a FIN that came before: the peer waits for an answer, and
    // gives up if that rides on data which the path loses for their length.
    if segment.seq.lt(tcb.rcv_nxt) && (segment.seq + segment.len_seq()).le(tcb.rcv_nxt) {
        tcb.ack_alone();
    }
    if tcb.state == State::SynReceived {
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
    } else if !acknowledged(tcb, service, cx, segment) {
        return;
    }
    if tcb.state == State::TimeWait {
        // Only the peer's FIN again: our last ACK was lost.
        if segment.len_seq() > 0 {
            tcb.ack_now();
            timers::time_wait(tcb, cx);
        }
        return;
    }
    ecn::arrived(tcb, cx, segment);
    if flags.contains(Flags::URG) {
        urgent::sixth_check_urg(tcb, service, cx, segment);
    }
    if segment.len_seq() > 0 && (tcb.state.can_receive() || tcb.has(Marks::FIN_RECEIVED)) {
        receive::segment_text(tcb, service, cx, segment.seq, segment.payload, flags.fin());
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

/// A program around the shard has bytes left to read.
fn is_unread(tcb: &Tcb, cx: &Context<'_>) -> bool {
    !tcb.recv.is_empty() && cx.service(tcb).kind == ServiceKind::External
}

/// Fifth: the acknowledgment, and what it does to our FIN. False: the connection is over.
fn acknowledged(
    tcb: &mut Tcb,
    service: &mut ServiceState,
    cx: &mut Context<'_>,
    segment: &Segment<'_>,
) -> bool {
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
        // Both ends have closed, and the connection could go. But a program that closes may still
        // want what came before the peer's FIN, and those bytes lie in the connection: it stays as
        // long as one in TIME-WAIT.
        (State::LastAck, State::Closed) if is_unread(tcb, cx) => {
            cx.shared.counters.closed += 1;
            tcb.state = State::TimeWait;
            timers::time_wait(tcb, cx);
        }
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
