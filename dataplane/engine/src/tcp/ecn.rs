//! Explicit congestion notification (RFC 3168): routers mark packets instead of dropping them, the
//! receiver echoes the mark until the sender has said that it reacted.
//!
//! RFC 8311 permits more (marks on control packets, another reaction); nothing of it is used here.

use crate::config::Ecn;
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::{Context, recovery};
use crate::wire::segment::Segment;
use crate::wire::tcp::Flags;

const BOTH: u8 = Flags::ECE.0 | Flags::CWR.0;

/// RFC 3168 6.1.1: both ends want it, as far as the peer's SYN or SYN-ACK tells. The mark says
/// already whether our own SYN has asked.
pub(crate) fn negotiate(tcb: &mut Tcb, syn: &Segment<'_>, config: Ecn) {
    let told = syn.flags.0 & BOTH;
    let agreed = if syn.flags.ack() {
        tcb.has(Marks::ECN) && told == Flags::ECE.0
    } else {
        config != Ecn::Off && told == BOTH
    };
    tcb.put(Marks::ECN, agreed);
}

/// RFC 3168 6.1.1.1: whose first SYN came to nothing may try without.
pub(crate) fn asked_again(tcb: &mut Tcb, syn: &Segment<'_>) {
    if syn.flags.0 & BOTH != BOTH {
        tcb.clear(Marks::ECN);
    }
}

/// The flags of a SYN that asks (RFC 3168 6.1.1).
pub(crate) const ASKS: Flags = Flags(BOTH);

/// Whether a SYN asks.
pub(crate) fn asks(syn: &Segment<'_>) -> bool {
    syn.flags.0 & BOTH == BOTH
}

/// The flags that ask, or say yes.
pub(crate) fn handshake_flags(tcb: &Tcb, flags: Flags) -> Flags {
    if !tcb.has(Marks::ECN) {
        return flags;
    }
    if flags.ack() { flags | Flags::ECE } else { flags | Flags(BOTH) }
}

/// What an acceptable segment says as a receiver's business (RFC 3168 6.1.3). CWR answers the echo;
/// a mark on the same packet begins another one.
pub(crate) fn arrived(tcb: &mut Tcb, cx: &mut Context<'_>, segment: &Segment<'_>) {
    if !tcb.has(Marks::ECN) || segment.payload.is_empty() {
        return;
    }
    if segment.flags.contains(Flags::CWR) {
        tcb.clear(Marks::ECN_ECHO);
        tcb.ack_now();
    }
    if segment.congestion_experienced {
        cx.shared.counters.ecn_marks += 1;
        tcb.set(Marks::ECN_ECHO);
        tcb.ack_now();
    }
}

/// The peer echoes a mark: the window shrinks as for a loss, once in each window of data
/// (RFC 3168 6.1.2).
pub(crate) fn echoed(tcb: &mut Tcb, cx: &mut Context<'_>) {
    let told = tcb.recovery.phase != recovery::Phase::Open || tcb.has(Marks::ECN_REDUCED);
    if told || tcb.flight() == 0 {
        return;
    }
    cx.shared.counters.ecn_reductions += 1;
    recovery::reduce(tcb, recovery::Phase::Reduced);
}

/// What a segment says beside its other flags. `fresh`: it carries data for the first time; only
/// such a segment may be marked (RFC 3168 6.1.4, 6.1.5), and only it says that the window was
/// reduced (6.1.2). Also tells whether it may be marked.
pub(crate) fn outgoing(tcb: &mut Tcb, flags: Flags, fresh: bool) -> (Flags, bool) {
    let mut flags = flags;
    if flags.syn() || flags.rst() {
        return (flags, false);
    }
    if tcb.has(Marks::ECN_ECHO) {
        flags |= Flags::ECE;
    }
    if fresh && tcb.has(Marks::ECN_REDUCED) {
        tcb.clear(Marks::ECN_REDUCED);
        flags |= Flags::CWR;
    }
    (flags, fresh)
}
