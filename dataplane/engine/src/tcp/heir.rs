//! A node that inherits a service with commit rule SWFR: payload left its predecessor before the
//! log that it followed from was safe. So the peer may acknowledge what this node has not produced
//! yet. It will: what such a service sends follows from the bytes that it is sent, and those that
//! are missing here were not acknowledged, so they come again. What is known to the peer by then
//! counts as sent and acknowledged the moment that it is produced.

use crate::config::{Commit, Config};
use crate::seq::SeqNumber;
use crate::service::ServiceState;
use crate::tcp::stream::{Event, call};
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::timers::NEVER;
use crate::tcp::{Context, Shared, State};
use crate::time::Instant;

/// How long after a takeover a peer may still be ahead: longer than it goes on sending again what
/// nobody acknowledges (Linux: 15 retransmissions, some 924 s).
const INHERITANCE_US: u64 = 1_000_000_000;
/// As far as it may be ahead: more could not be told from less.
const MOST: i32 = 1 << 30;

/// Whether a former primary may have sent on this connection what this node has not produced yet.
/// If so, nothing says of a segment that its data is new.
pub(crate) fn inherited(tcb: &Tcb, shared: &Shared, config: &Config, now: Instant) -> bool {
    let since_takeover = |at| tcb.opened_at <= at && now.since_us(at) < INHERITANCE_US;
    shared.took_over_at.is_some_and(since_takeover)
        && config.services[usize::from(tcb.service)].commit == Commit::Swfr
}

/// Whether an acknowledgment beyond SND.NXT can be of what a former primary has sent.
pub(crate) fn may_know(
    tcb: &Tcb,
    shared: &Shared,
    config: &Config,
    now: Instant,
    ack: SeqNumber,
) -> bool {
    inherited(tcb, shared, config, now)
        && !tcb.has(Marks::FIN_SENT)
        && ack.distance(tcb.snd_nxt) <= MOST
}

/// The peer acknowledges `ack`, which lies beyond SND.NXT, and with it all that was sent.
pub(crate) fn note(tcb: &mut Tcb, ack: SeqNumber) {
    let is_new = !tcb.has(Marks::AHEAD) || ack.gt(tcb.recovery.point);
    if is_new && tcb.state != State::Closed {
        tcb.recovery.point = ack;
        tcb.set(Marks::AHEAD);
    }
}

/// The number that the peer expects next: that of a segment without data, to be accepted.
pub(crate) fn next(tcb: &Tcb) -> SeqNumber {
    if tcb.has(Marks::AHEAD) { tcb.recovery.point } else { tcb.snd_nxt }
}

/// What has been produced and is known to the peer need not be sent. Its service goes on with the
/// room that this makes.
pub(crate) fn catch_up(tcb: &mut Tcb, service: &mut ServiceState, cx: &mut Context<'_>) {
    while tcb.has(Marks::AHEAD) {
        let ahead = tcb.recovery.point.distance(tcb.snd_nxt).unsigned_abs();
        let bytes = u64::from(ahead).min(tcb.unsent());
        if bytes == 0 {
            break;
        }
        skip(tcb, cx, bytes);
        call(Event::Writable, tcb, service, cx, &[]);
    }
    if tcb.has(Marks::AHEAD) && tcb.fin_due() {
        // Ours ends before what the peer has: its stream cannot be ended at the right place.
        tcb.reset();
    }
}

fn skip(tcb: &mut Tcb, cx: &mut Context<'_>, bytes: u64) {
    tcb.send.advance(&mut cx.shared.buffers, bytes);
    let next = tcb.snd_nxt + u32::try_from(bytes).unwrap_or(0);
    (tcb.snd_una, tcb.snd_nxt) = (next, next);
    tcb.rack.advance(next);
    tcb.progress_at = cx.now;
    tcb.bytes_out += bytes;
    if next == tcb.recovery.point {
        tcb.clear(Marks::AHEAD);
        // Of the persist timer: nothing waits for a window any more.
        tcb.deadlines.retransmit = NEVER;
    }
}
