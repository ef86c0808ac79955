//! Header prediction: the segments that make up nearly all of a healthy connection need only the
//! checks of this file.

use crate::service::ServiceState;
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::{Context, State, ack, receive};
use crate::wire::segment::Segment;
use crate::wire::tcp::Flags;

/// Handles a segment that is the next in order, or a plain acknowledgment, on an established
/// connection that expects nothing else. False: nothing was done, the long way must be taken.
#[inline]
pub(crate) fn predicted(
    tcb: &mut Tcb,
    service: &mut ServiceState,
    cx: &mut Context<'_>,
    segment: &Segment<'_>,
) -> bool {
    let plain = segment.flags.0 & !Flags::PSH.0 == Flags::ACK.0;
    if !plain
        || segment.congestion_experienced
        || tcb.state != State::Established
        || segment.seq != tcb.rcv_nxt
        || !segment.options.sack.is_empty()
        || segment.ack.lt(tcb.snd_una)
        || segment.ack.gt(tcb.snd_nxt)
        || tcb.has(Marks::FIN_AHEAD)
        || segment.payload.len() > tcb.rcv_adv.distance(tcb.rcv_nxt).max(0).unsigned_abs() as usize
    {
        return false;
    }
    if tcb.has(Marks::TIMESTAMPS) {
        let Some(timestamps) = segment.options.timestamps else { return false };
        // RFC 7323 5.3 R1: anything that goes back is for PAWS to look at.
        if (timestamps.value.wrapping_sub(tcb.ts_recent) as i32) < 0 {
            return false;
        }
        // R3: this segment starts at RCV.NXT, so it covers Last.ACK.sent only if nothing waits.
        if segment.seq.le(tcb.last_ack) {
            tcb.ts_recent = timestamps.value;
        }
    }
    tcb.active_at = cx.now;
    tcb.unanswered = 0;
    ack::process(tcb, service, cx, segment);
    if !segment.payload.is_empty() && tcb.state != State::Closed {
        receive::in_order(tcb, service, cx, segment.payload);
    }
    true
}
