//! The receiving side: in-order bytes go to the service, others wait for their turn; when to
//! acknowledge, and which window to offer.

use crate::seq::SeqNumber;
use crate::service::ServiceState;
use crate::tcp::Context;
use crate::tcp::State;
use crate::tcp::stream::{Event, blocks_for, call};
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::timers::{self, NEVER};

/// Takes payload and FIN of an acceptable segment (RFC 9293 3.10.7.4, seventh and eighth).
pub(crate) fn segment_text(
    tcb: &mut Tcb,
    service: &mut ServiceState,
    cx: &mut Context<'_>,
    seq: SeqNumber,
    payload: &[u8],
    fin: bool,
) {
    let (seq, payload, fin) = trim(tcb, cx, seq, payload, fin);
    if !payload.is_empty() {
        if seq == tcb.rcv_nxt {
            if !in_order(tcb, service, cx, payload) {
                return;
            }
        } else {
            out_of_order(tcb, cx, seq, payload);
        }
    }
    if fin {
        tcb.set(Marks::FIN_AHEAD);
        tcb.fin_at = seq + payload.len() as u32;
    }
    if tcb.has(Marks::FIN_AHEAD) && tcb.state != State::Closed {
        tcb.ack_now();
        match tcb.fin_at.distance(tcb.rcv_nxt) {
            0 => take_fin(tcb, service, cx),
            // The peer went on behind its FIN: so it was none.
            ..0 => tcb.clear(Marks::FIN_AHEAD),
            _ => {}
        }
    }
}

/// Cuts off what came before and what is beyond the window (RFC 9293 3.10.7.4).
fn trim<'p>(
    tcb: &mut Tcb,
    cx: &mut Context<'_>,
    seq: SeqNumber,
    payload: &'p [u8],
    fin: bool,
) -> (SeqNumber, &'p [u8], bool) {
    let (mut seq, mut payload, mut fin) = (seq, payload, fin);
    let old = tcb.rcv_nxt.distance(seq).max(0).unsigned_abs() as usize;
    if old > 0 {
        let cut = old.min(payload.len());
        if cut > 0 {
            duplicate(tcb, cx, seq, seq + cut as u32);
        }
        // A FIN below RCV.NXT has been taken before.
        fin &= old <= payload.len();
        payload = &payload[cut..];
        seq += cut as u32;
        tcb.ack_now();
    }
    let mut room = tcb.rcv_adv.distance(seq).max(0).unsigned_abs() as usize;
    if tcb.has(Marks::FIN_RECEIVED) {
        // Nothing comes behind a FIN (RFC 9293 3.10.7.4, seventh).
        (room, fin) = (0, false);
        tcb.ack_now();
    }
    if payload.len() > room {
        payload = &payload[..room];
        fin = false;
        tcb.ack_now();
    }
    (seq, payload, fin)
}

/// Notes a range that came twice, to be reported (RFC 2883 4).
fn duplicate(tcb: &mut Tcb, cx: &mut Context<'_>, start: SeqNumber, end: SeqNumber) {
    cx.shared.counters.duplicates += 1;
    tcb.dsack = (start, end);
    tcb.set(Marks::DSACK);
}

/// Notes the first part of a segment that waits in reassembly already, unless an older part of it
/// is noted (RFC 2883 4.2).
fn report_overlap(tcb: &mut Tcb, cx: &mut Context<'_>, seq: SeqNumber, len: usize) {
    if tcb.has(Marks::DSACK) {
        return;
    }
    if let Some((start, end)) = tcb.assembler.overlap(&cx.shared.buffers, seq, len) {
        duplicate(tcb, cx, start, end);
    }
}

/// Delivers payload that starts at RCV.NXT. False if there was no room for it, or the service has
/// aborted.
#[inline]
pub(crate) fn in_order(
    tcb: &mut Tcb,
    service: &mut ServiceState,
    cx: &mut Context<'_>,
    payload: &[u8],
) -> bool {
    // The service may leave all of it: what it has seen must not be taken back.
    if !has_blocks_for(tcb, cx, payload.len()) {
        cx.shared.counters.pool_exhausted += 1;
        tcb.ack_now();
        return false;
    }
    tcb.rcv_nxt += payload.len() as u32;
    tcb.bytes_in += payload.len() as u64;
    tcb.progress_at = cx.now;
    cx.shared.counters.bytes_in += payload.len() as u64;
    schedule_ack(tcb, cx, payload.len());
    if tcb.recv.is_empty() {
        let taken = call(Event::Data, tcb, service, cx, payload);
        let left = &payload[taken..];
        let kept = tcb.recv.push(&mut cx.shared.buffers.blocks, left);
        assert_eq!(kept, left.len(), "blocks were kept free for it");
    } else {
        tcb.recv.push(&mut cx.shared.buffers.blocks, payload);
        call(Event::Data, tcb, service, cx, &[]);
    }
    if !tcb.assembler.is_empty() && tcb.state != State::Closed {
        report_overlap(tcb, cx, tcb.rcv_nxt - payload.len() as u32, payload.len());
        reassemble(tcb, service, cx);
    }
    tcb.state != State::Closed
}

/// Whether `len` bytes in order find a place. What came before its turn makes room if nothing else
/// can: it must not keep out what it waits for. The peer keeps what it was told of by SACK until it
/// is acknowledged (RFC 2018 8).
#[inline]
fn has_blocks_for(tcb: &mut Tcb, cx: &mut Context<'_>, len: usize) -> bool {
    let has = |cx: &Context<'_>| cx.shared.buffers.blocks.free() as usize >= blocks_for(len);
    if !has(cx) {
        tcb.assembler.clear(&mut cx.shared.buffers);
    }
    has(cx)
}

/// Delivers what has come into order behind a filled gap.
fn reassemble(tcb: &mut Tcb, service: &mut ServiceState, cx: &mut Context<'_>) {
    let chain = tcb.assembler.take_front(&mut cx.shared.buffers, tcb.rcv_nxt);
    // RFC 5681 4.2: an ACK at once when a gap is filled, in part or in full.
    tcb.ack_now();
    if chain.is_empty() {
        return;
    }
    tcb.rcv_nxt += chain.len() as u32;
    tcb.bytes_in += chain.len() as u64;
    cx.shared.counters.bytes_in += chain.len() as u64;
    tcb.recv.append(&mut cx.shared.buffers.blocks, chain);
    call(Event::Data, tcb, service, cx, &[]);
}

/// Keeps payload that came before its turn, and tells the peer at once (RFC 5681 4.2).
fn out_of_order(tcb: &mut Tcb, cx: &mut Context<'_>, seq: SeqNumber, payload: &[u8]) {
    tcb.ack_alone();
    cx.shared.counters.out_of_order += 1;
    report_overlap(tcb, cx, seq, payload.len());
    let buffers = &mut cx.shared.buffers;
    // In-order data comes first when the pool is scarce: it makes progress.
    if buffers.blocks.free() <= buffers.blocks.allowance() / 8 {
        cx.shared.counters.pool_exhausted += 1;
        return;
    }
    let limit = tcb.rcv_limit;
    if tcb.assembler.insert(buffers, seq, payload, limit) > 0 {
        return;
    }
    let end = seq + payload.len() as u32;
    if !tcb.assembler.holds(buffers, seq, end) {
        cx.shared.counters.reassembly_full += 1;
    }
}

fn take_fin(tcb: &mut Tcb, service: &mut ServiceState, cx: &mut Context<'_>) {
    tcb.clear(Marks::FIN_AHEAD);
    tcb.set(Marks::FIN_RECEIVED);
    tcb.rcv_nxt += 1;
    // A peer that sent something behind its FIN has contradicted itself.
    tcb.assembler.clear(&mut cx.shared.buffers);
    tcb.progress_at = cx.now;
    tcb.ack_now();
    tcb.state = tcb.state.fin_received();
    call(Event::Closed, tcb, service, cx, &[]);
    if tcb.state == State::TimeWait {
        cx.shared.counters.closed += 1;
        timers::time_wait(tcb, cx);
    }
}

/// RFC 9293 3.8.6.3, RFC 5681 4.2: an ACK for each second full segment, or a little later.
#[inline]
fn schedule_ack(tcb: &mut Tcb, cx: &Context<'_>, payload_len: usize) {
    tcb.rcv_mss = tcb.rcv_mss.max(u16::try_from(payload_len).unwrap_or(u16::MAX));
    let waiting = tcb.rcv_nxt.distance(tcb.last_ack).unsigned_abs();
    if tcb.quick_acks > 0 {
        tcb.quick_acks -= 1;
        tcb.ack_now();
    } else if waiting >= 2 * u32::from(tcb.rcv_mss) {
        tcb.ack_now();
    } else if tcb.deadlines.ack == NEVER {
        tcb.deadlines.ack = cx.now.plus_us(cx.config.tcp.delayed_ack_us);
    }
}

/// Right edge that could be offered now.
#[inline]
fn offer(tcb: &Tcb, cx: &Context<'_>) -> SeqNumber {
    let blocks = &cx.shared.buffers.blocks;
    let mut free = tcb.rcv_limit.saturating_sub(tcb.recv.len() as u32);
    if blocks.free() <= blocks.allowance() / 8 {
        free = free.min(4 * u32::from(tcb.mss));
    }
    // Without a scale no more than 16 bits can be told.
    tcb.rcv_nxt + free.min(0xffff << tcb.rcv_scale)
}

/// Segments that a bulk transfer's ACK leaves for the next one. More than one: the peer may have
/// sent a tail loss probe beyond its congestion window (RFC 8985 7.3), which uses up the room that
/// the first ones make.
const WITHHELD_SEGMENTS: u32 = 3;
/// Segments smaller than every host takes (RFC 9293 3.7.1) are no bulk, however many there are.
const SMALLEST_BULK: u16 = 536;
/// A transfer is bulk when an ACK has so many new segments to tell of, and room for as many.
const BULK_SEGMENTS: u32 = 8;

/// How long they are withheld at most: longer than the pauses within a bulk transfer, too short to
/// be felt by a peer whose congestion window is small.
pub(crate) const WITHHELD_FOR_US: u64 = 4_000;

/// How many bytes in order a pure ACK leaves for the next one: the last segments of a bulk
/// transfer. If this node dies, the takeover's ACK then has news for the peer, which may send new
/// segments for it; by their SACK the peer learns at once that what it sent to the dead node is
/// lost (RFC 8985 6.2). An ACK without news would leave it to wait for its retransmission timer. A
/// delayed ACK tells the rest when the transfer pauses (RFC 9293 3.8.6.3).
#[inline]
pub(crate) fn withheld(tcb: &Tcb) -> u32 {
    let mss = u32::from(tcb.rcv_mss.max(SMALLEST_BULK));
    let news = tcb.rcv_nxt.distance(tcb.last_ack).max(0).unsigned_abs();
    let known = tcb.rcv_adv.distance(tcb.rcv_nxt).max(0).unsigned_abs();
    let bulk = news.min(known) >= BULK_SEGMENTS * mss;
    let plain = tcb.assembler.is_empty() && tcb.state.can_receive() && !tcb.has(Marks::DSACK);
    if bulk && plain { WITHHELD_SEGMENTS * mss } else { 0 }
}

/// The window to put into a header beside the acknowledgment number `ack`, which moves the right
/// edge as told to the peer. The edge never moves back (RFC 9293 3.8.6), and forward only in steps
/// worth a segment (3.8.6.2.2).
#[inline]
pub(crate) fn window_field(tcb: &mut Tcb, cx: &Context<'_>, ack: SeqNumber) -> u16 {
    let edge = offer(tcb, cx);
    let step = u32::from(tcb.mss).min(tcb.rcv_limit / 2);
    if edge.distance(tcb.rcv_adv) >= i32::try_from(step).unwrap_or(i32::MAX) {
        tcb.rcv_adv = edge;
    }
    let window = tcb.rcv_adv.distance(ack).max(0).unsigned_abs();
    // Rounded up: rounding down would take back part of what was offered.
    let field = u16::try_from(window.div_ceil(1 << tcb.rcv_scale)).unwrap_or(u16::MAX);
    tcb.rcv_adv = tcb.rcv_adv.max(ack + (u32::from(field) << tcb.rcv_scale));
    field
}

/// Whether the window has opened so much that the peer should be told at once.
#[inline]
pub(crate) fn window_update_due(tcb: &Tcb, cx: &Context<'_>) -> bool {
    if !tcb.state.can_receive() {
        return false;
    }
    let known = tcb.rcv_adv.distance(tcb.rcv_nxt).max(0).unsigned_abs();
    if known >= tcb.rcv_limit / 2 {
        return false;
    }
    let gain = offer(tcb, cx).distance(tcb.rcv_adv).max(0).unsigned_abs();
    gain >= tcb.rcv_limit / 2 || (known < u32::from(tcb.mss) && gain >= u32::from(tcb.mss))
}
