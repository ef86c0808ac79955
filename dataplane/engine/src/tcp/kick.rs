//! Takeover: the node that spoke for this connection is gone, and what it sent last may never have
//! left it. The peer must not have to wait for its own timeout, or ours.

use crate::egress::Egress;
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::timers::NEVER;
use crate::tcp::{Context, heir, output, transmit};
use crate::wire::tcp::Flags;

/// Sends the first unacknowledged segment, or an ACK if there is none. The congestion window
/// stays out of it: losing a node is not congestion. The acknowledgment of this segment tells
/// RACK that all that was sent before it is lost, if it is (RFC 8985 6.2).
pub(crate) fn send<E: Egress>(
    tcb: &mut Tcb,
    cx: &mut Context<'_>,
    egress: &mut E,
    quota: &mut u32,
) {
    prepare(tcb, cx);
    if tcb.snd_nxt == tcb.snd_una && tcb.has(Marks::SYN_UNACKED) {
        // The very first SYN has not left yet, and will now.
        return;
    }
    *quota -= 1;
    cx.shared.counters.kicks += 1;
    // Nothing is withheld from this one.
    tcb.last_ack = tcb.rcv_nxt;
    match tcb.sent.head(&cx.shared.sent) {
        Some((index, sent)) => {
            output::send_again(tcb, cx, egress, index, &sent);
            ack_timers(tcb, cx);
        }
        None if tcb.snd_wnd == 0 && tcb.unsent() > 0 => {
            // The window may have been opened to the node that is gone.
            transmit::segment(tcb, cx, egress, tcb.snd_una - 1, Flags::ACK, 0, 0);
        }
        None => {
            transmit::segment(tcb, cx, egress, heir::next(tcb), Flags::ACK, 0, 0);
        }
    }
}

/// The state in which a connection starts anew with its peer.
fn prepare(tcb: &mut Tcb, cx: &Context<'_>) {
    tcb.clear(Marks::KICK);
    // What the peer sends again to the dead node's heir must not wait for a delayed ACK.
    tcb.quick_acks = cx.config.tcp.quick_acks;
    // Silence until now was ours, not the peer's.
    tcb.rtt.reset_backoff();
    tcb.unanswered = 0;
    tcb.rack.forget_probe();
    tcb.clear(Marks::TAIL_PROBE);
    tcb.kicked_at = Some(cx.now);
    tcb.recovery.point = heir::next(tcb);
    if tcb.deadlines.retransmit != NEVER {
        tcb.deadlines.retransmit = cx.now.plus_us(tcb.rtt.rto_us(&cx.config.tcp));
    }
}

fn ack_timers(tcb: &mut Tcb, cx: &Context<'_>) {
    tcb.deadlines.retransmit = cx.now.plus_us(tcb.rtt.rto_us(&cx.config.tcp));
    crate::tcp::ack::schedule_probe(tcb, cx);
}
