//! ECN (RFC 3168) around a stack that has none: it changes what that stack sends and receives, as
//! the sender's and the receiver's half of an end with ECN would have it. It shares no line with
//! ours.

use std::collections::HashMap;

use crate::check::segment::{Segment, flags};
use crate::wire::{CE, ECT_0, LINK_HEADER, mend_tcp, set_ecn};

/// The local port of a connection.
type Port = u16;

/// What a machine knows of marks on its connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Ecn(HashMap<Port, Flow>);

#[derive(Clone, Debug, Default)]
struct Flow {
    /// The service has agreed.
    agreed: bool,
    /// A mark was seen, and its sender has not said yet that it reacts.
    echoes: bool,
    /// An echo was heard; the next data says so.
    reduced: bool,
    /// The next number that was never sent.
    next: u32,
    /// An echo counts once for what was sent before it.
    deaf_until: Option<u32>,
}

impl Ecn {
    /// A frame is about to leave.
    pub fn sent(&mut self, frame: &mut [u8]) {
        let Ok(Some(segment)) = Segment::parse(frame) else { return };
        let flow = self.0.entry(segment.source.1).or_default();
        if segment.has(flags::SYN) {
            *flow = Flow { next: segment.seq.wrapping_add(1), ..Flow::default() };
            return add_flags(frame, &segment, flags::ECE | flags::CWR);
        }
        if !flow.agreed || segment.has(flags::RST) {
            return;
        }
        let end = segment.seq.wrapping_add(segment.payload.len() as u32);
        let fresh = !segment.payload.is_empty() && segment.seq == flow.next;
        let mut more = if flow.echoes { flags::ECE } else { 0 };
        if is_after(end, flow.next) {
            flow.next = end;
        }
        if fresh {
            if std::mem::take(&mut flow.reduced) {
                more |= flags::CWR;
            }
            set_ecn(frame, ECT_0);
        }
        add_flags(frame, &segment, more);
    }

    /// A frame has come in.
    pub fn received(&mut self, frame: &mut [u8]) {
        let Ok(Some(segment)) = Segment::parse(frame) else { return };
        let Some(flow) = self.0.get_mut(&segment.destination.1) else { return };
        if segment.has(flags::SYN) {
            flow.agreed = segment.has(flags::ECE) && !segment.has(flags::CWR);
            return;
        }
        if !flow.agreed {
            return;
        }
        if !segment.payload.is_empty() {
            flow.echoes &= !segment.has(flags::CWR);
            flow.echoes |= segment.ecn == CE;
        }
        let news = flow.deaf_until.is_none_or(|until| is_after(segment.ack, until));
        if segment.has(flags::ECE) && news {
            flow.deaf_until = Some(flow.next);
            flow.reduced = true;
        }
    }
}

fn is_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 > 0
}

fn add_flags(frame: &mut [u8], segment: &Segment, more: u8) {
    if more == 0 {
        return;
    }
    let ip_len = if segment.source.0.is_ipv4() { 20 } else { 40 };
    frame[LINK_HEADER + ip_len + 13] |= more;
    mend_tcp(frame);
}
