//! What a segment is worth to a connection, by its numbers and flags alone (RFC 9293 3.10.7.4,
//! first to fifth; RFC 5961; RFC 7323 5.3). Nothing changes here: the same is asked before a
//! segment is logged, when many come that are worth nothing.

use crate::config::Config;
use crate::tcp::scoreboard::SentSlab;
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::{Shared, State, heir};
use crate::time::Instant;
use crate::wire::segment::Segment;

/// After an idle time like this TS.Recent says nothing (RFC 7323 5.5).
const TS_RECENT_LIFE_US: u64 = 24 * 24 * 3600 * 1_000_000;
/// A SYN that comes again so soon after our answer was not sent because that got lost: no peer's
/// timer is as short.
const SYN_AGAIN_US: u64 = 200_000;

/// What is to be done with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Numbers and flags are a genuine peer's: what it says counts.
    Acceptable,
    /// The peer's SYN again: our answer to it was lost.
    SynAgain,
    /// Something that came before; the peer must hear that it did.
    Repeated(Flaw),
    /// A RST to be believed.
    Reset,
    /// It may be an attack: only an ACK, of which there is a limit, to which a genuine peer can
    /// react.
    Challenge(Flaw),
    /// It is of another connection than this half-open one: a RST, which does not touch ours.
    Stray,
    /// Nothing at all.
    Ignore(Flaw),
}

/// What is wrong with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It is outside of the window.
    Window,
    /// Its timestamp is old, or missing.
    Timestamp,
    /// It acknowledges what was never sent, or is long done with.
    Ack,
    /// Such a flag, or none at all, has no place on this connection now.
    Flags,
}

/// Judges a segment for a connection from SYN-RECEIVED on.
pub(crate) fn judge(
    tcb: &Tcb,
    shared: &Shared,
    config: &Config,
    now: Instant,
    segment: &Segment<'_>,
) -> Judgement {
    let flags = segment.flags;
    if flags.rst() {
        return judge_reset(tcb, segment);
    }
    // RFC 5961 4.2: whatever its number; a genuine peer that has restarted will answer the ACK with
    // a RST that we believe.
    if flags.syn() && !completes_simultaneous_open(tcb, segment) {
        return judge_syn(tcb, &shared.sent, now, segment);
    }
    // RFC 9293 3.10.7.4, fifth.
    if !flags.ack() {
        return Judgement::Ignore(Flaw::Flags);
    }
    if tcb.has(Marks::TIMESTAMPS) {
        // RFC 7323 3.2: once negotiated, a segment without is to be dropped.
        let Some(timestamps) = segment.options.timestamps else {
            return Judgement::Ignore(Flaw::Timestamp);
        };
        let back = (timestamps.value.wrapping_sub(tcb.ts_recent) as i32) < 0;
        if back && now.since_us(tcb.active_at) < TS_RECENT_LIFE_US {
            return unacceptable(tcb, segment, Flaw::Timestamp);
        }
    }
    // Old enough not to concern anything since our last ACK, or beyond the window. A segment
    // within is cut to what is new later on.
    let outside = (segment.seq + segment.len_seq()).lt(tcb.last_ack) || segment.seq.gt(tcb.rcv_adv);
    if outside && !is_probe(tcb, segment) {
        return unacceptable(tcb, segment, Flaw::Window);
    }
    let judgement = judge_ack(tcb, segment);
    if judgement == Judgement::Challenge(Flaw::Ack)
        && segment.ack.gt(tcb.snd_nxt)
        && heir::may_know(tcb, shared, config, now, segment.ack)
    {
        return Judgement::Acceptable;
    }
    judgement
}

/// RFC 5961 3.2: only the very next sequence number is believed; another one in the window is
/// challenged.
fn judge_reset(tcb: &Tcb, segment: &Segment<'_>) -> Judgement {
    // RFC 1337: a RST does not end TIME-WAIT.
    if tcb.state == State::TimeWait {
        Judgement::Ignore(Flaw::Flags)
    } else if segment.seq == tcb.rcv_nxt {
        Judgement::Reset
    } else if segment.seq.gt(tcb.rcv_nxt) && segment.seq.lt(tcb.rcv_adv) {
        Judgement::Challenge(Flaw::Flags)
    } else {
        Judgement::Ignore(Flaw::Window)
    }
}

fn judge_syn(tcb: &Tcb, sent: &SentSlab, now: Instant, syn: &Segment<'_>) -> Judgement {
    let first = tcb.state == State::SynReceived && !syn.flags.ack() && syn.seq + 1 == tcb.rcv_nxt;
    if !first {
        return Judgement::Challenge(Flaw::Flags);
    }
    let answered_at = tcb.sent.first(sent).map_or(now, |answer| answer.at);
    if now.since_us(answered_at) < SYN_AGAIN_US {
        return Judgement::Ignore(Flaw::Flags);
    }
    Judgement::SynAgain
}

/// The peer's SYN again, with the acknowledgment of ours: our SYNs have crossed, and so does this
/// with our own answer (RFC 9293 3.5, Figure 7).
fn completes_simultaneous_open(tcb: &Tcb, segment: &Segment<'_>) -> bool {
    tcb.state == State::SynReceived
        && tcb.has(Marks::ACTIVE)
        && segment.seq + 1 == tcb.rcv_nxt
        && segment.ack == tcb.snd_nxt
}

/// A keepalive or window probe, empty or one old byte: it asks for an answer, and a peer that gets
/// none gives up. It is no attack: our ACK does not call for one in turn.
pub(crate) fn is_probe(tcb: &Tcb, segment: &Segment<'_>) -> bool {
    segment.seq + 1 == tcb.rcv_nxt && segment.len_seq() <= 1
}

/// RFC 9293 3.10.7.4: an unacceptable segment is answered with an ACK. What the peer may have sent
/// before is at most a window below what we expect; it is answered whatever else happens. Anything
/// else is so within the limit only: it may come from who just guesses, and two confused ends must
/// not keep each other busy (RFC 5961 5.3, 7).
fn unacceptable(tcb: &Tcb, segment: &Segment<'_>, flaw: Flaw) -> Judgement {
    // Twice: the window may have been told by an ACK of then.
    let reach = i64::from(tcb.rcv_limit) * 2;
    let below = i64::from(tcb.rcv_nxt.distance(segment.seq));
    if segment.len_seq() > 0 && below <= reach && segment.seq.le(tcb.rcv_adv) {
        Judgement::Repeated(flaw)
    } else {
        Judgement::Challenge(flaw)
    }
}

/// RFC 9293 3.10.7.4, fifth.
fn judge_ack(tcb: &Tcb, segment: &Segment<'_>) -> Judgement {
    if tcb.state == State::SynReceived {
        let ours = segment.ack.gt(tcb.snd_una) && segment.ack.le(tcb.snd_nxt);
        return if ours { Judgement::Acceptable } else { Judgement::Stray };
    }
    // RFC 5961 5.2: what acknowledges the future, or the distant past, is not from our peer.
    let oldest = tcb.snd_una - tcb.max_window.max(1);
    if segment.ack.gt(tcb.snd_nxt) || segment.ack.lt(oldest) {
        Judgement::Challenge(Flaw::Ack)
    } else {
        Judgement::Acceptable
    }
}
