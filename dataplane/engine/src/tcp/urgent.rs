//! Urgent data (RFC 9293 3.8.5): up to a place in the peer's stream its service is asked to hurry.
//! The bytes stay in their place, as RFC 6093 3.4 wants it. We send none (SHLD-13).

use crate::seq::SeqNumber;
use crate::service::ServiceState;
use crate::tcp::Context;
use crate::tcp::stream::{Event, call};
use crate::tcp::tcb::{Marks, Tcb};
use crate::wire::segment::Segment;

/// Sixth check of RFC 9293 3.10.7.4: a pointer that goes forward is told to the service. It may be
/// ahead of the data, and the window closed.
#[cold]
pub(crate) fn sixth_check_urg(
    tcb: &mut Tcb,
    service: &mut ServiceState,
    cx: &mut Context<'_>,
    segment: &Segment<'_>,
) {
    let at = segment.seq + u32::from(segment.urgent);
    let known = tcb.has(Marks::URGENT) && at.le(tcb.urgent_at);
    let read = tcb.rcv_nxt - tcb.recv.len() as u32;
    if known || at.le(read) || !tcb.state.can_receive() {
        return;
    }
    tcb.set(Marks::URGENT);
    tcb.urgent_at = at;
    call(Event::Urgent, tcb, service, cx, &[]);
}

/// Bytes of the stream from `next`, the first one that was not read, up to the end of the urgent
/// data.
pub(crate) fn left(tcb: &Tcb, next: SeqNumber) -> u32 {
    if tcb.has(Marks::URGENT) { tcb.urgent_at.distance(next).max(0).unsigned_abs() } else { 0 }
}
