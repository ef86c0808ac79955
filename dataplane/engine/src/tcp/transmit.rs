//! Puts one segment onto the egress: header, options, window, payload by reference.

use arrayvec::ArrayVec;

use crate::buffer::{MAX_PARTS, Part, resolve};
use crate::config::Commit;
use crate::content::{Content, FileId};
use crate::egress::{Egress, Outgoing, Place};
use crate::seq::SeqNumber;
use crate::tcp::rack::timestamp;
use crate::tcp::tcb::{Marks, Tcb, largest_segment};
use crate::tcp::timers::NEVER;
use crate::tcp::{Context, State, ecn, heir, receive};
use crate::wire::segment::{
    MAX_HEADER_LEN, SegmentHeader, allow_marks, ip_header_len, set_ttl_and_dscp,
};
use crate::wire::tcp::{Flags, MAX_SACK_BLOCKS, Options, SackBlock, Timestamps};

/// Length of a SACK option's head, padding included, and of each block.
const SACK_HEAD_LEN: usize = 4;
const SACK_BLOCK_LEN: usize = 8;

/// Sends a segment with up to `len` bytes of the send queue from `offset` on. Returns how many:
/// fewer, and no FIN, only where the queue's pieces are too small to fill one packet.
pub(crate) fn segment<E: Egress>(
    tcb: &mut Tcb,
    cx: &mut Context<'_>,
    egress: &mut E,
    seq: SeqNumber,
    flags: Flags,
    offset: u64,
    len: u16,
) -> u16 {
    let (mut flags, mut may_be_marked) = (flags, false);
    if tcb.has(Marks::ECN) {
        let fresh = len > 0 && seq == tcb.snd_nxt;
        (flags, may_be_marked) = ecn::outgoing(tcb, flags, fresh);
        // What an heir sends may be a retransmission without its knowing, which RFC 3168 6.1.5
        // forbids to mark.
        may_be_marked = may_be_marked && !heir::inherited(tcb, cx.shared, cx.config, cx.now);
    }
    let withheld = if flags == Flags::ACK && len == 0 { receive::withheld(tcb) } else { 0 };
    let acknowledged = tcb.rcv_nxt - withheld;
    let window = if flags.syn() {
        // RFC 7323 2.2: never scaled in a SYN.
        tcb.rcv_limit.min(0xffff) as u16
    } else {
        receive::window_field(tcb, cx, acknowledged)
    };
    let options = if flags.syn() { syn_options(tcb, cx) } else { options(tcb, cx, len) };
    let swfr = place(tcb, cx);
    let quorum = cx.service(tcb).commit == Commit::Quorum;
    let mut parts: ArrayVec<Part<'_>, MAX_PARTS> = ArrayVec::new();
    let shared = &mut *cx.shared;
    let wanted = len;
    let len = tcb.send.gather(&shared.buffers, offset, wanted.into(), &mut parts) as u16;
    // What is left out comes before our FIN.
    let flags = if len < wanted { flags.without(Flags::FIN | Flags::PSH) } else { flags };
    let ack = if flags.ack() { acknowledged } else { SeqNumber(0) };
    let header = SegmentHeader { flow: tcb.flow, seq, ack, flags, window, options };
    let mut bytes = [0; MAX_HEADER_LEN];
    let header_len = header.emit(len, &mut bytes);
    if may_be_marked {
        allow_marks(&mut bytes);
    }
    let dscp = cx.config.services[usize::from(tcb.service)].dscp;
    set_ttl_and_dscp(&mut bytes, cx.config.tcp.ttl, dscp);
    let header = &bytes[..header_len];
    shared.digest.fold_bytes(header);
    shared.counters.packets_out += 1;
    let mut outgoing = Outgoing {
        remote: tcb.flow.remote.addr,
        header,
        ip_header_len: ip_header_len(tcb.flow.local.addr) as u8,
        payload: &[],
        payload_len: len,
        swfr,
        quorum,
    };
    if E::WANTS_PAYLOAD && len > 0 {
        let file = |file, offset, len| content_bytes(cx.content, file, offset, len);
        let slices = resolve(&parts, file, &mut shared.scratch);
        outgoing.payload = &slices;
        egress.emit(&outgoing);
    } else {
        egress.emit(&outgoing);
    }
    if flags.ack() {
        has_left(tcb);
        if withheld > 0 {
            let delay_us = cx.config.tcp.delayed_ack_us.min(receive::WITHHELD_FOR_US);
            tcb.deadlines.ack = cx.now.plus_us(delay_us);
        }
    }
    len
}

/// Where the connection is, for an egress that has to know.
#[inline]
fn place(tcb: &Tcb, cx: &Context<'_>) -> Option<Place> {
    let opened_us = tcb.opened_at.as_micros() as u32;
    let place = Place { slot: cx.shared.turn, opened_us, window_shift: tcb.rcv_scale };
    (cx.service(tcb).commit == Commit::Swfr).then_some(place)
}

/// A packet with an ACK has left: what the peer should know, it knows.
#[inline]
fn has_left(tcb: &mut Tcb) {
    tcb.clear(Marks(Marks::ACK_NOW.0 | Marks::DSACK.0));
    tcb.dup_acks_owed = tcb.dup_acks_owed.saturating_sub(1);
    tcb.deadlines.ack = NEVER;
    tcb.last_ack = tcb.rcv_nxt;
}

/// Sends a RST. With ACK, and with the number that the peer expects next (RFC 9293 3.10.7).
pub(crate) fn reset<E: Egress>(tcb: &mut Tcb, cx: &mut Context<'_>, egress: &mut E) {
    cx.shared.counters.resets_sent += 1;
    let seq = heir::next(tcb);
    segment(tcb, cx, egress, seq, Flags::RST | Flags::ACK, 0, 0);
}

fn content_bytes(content: &Content, file: u32, offset: u64, len: usize) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let bytes = content.bytes(FileId(file));
    // Services queue only what exists, and a snapshot's references are checked when it is read.
    &bytes[start..start + len]
}

/// Options of a SYN: what we offer, or in a SYN-ACK what both have.
fn syn_options(tcb: &Tcb, cx: &Context<'_>) -> Options {
    let config = &cx.config.tcp;
    let answer = tcb.state != State::SynSent;
    let timestamps = if answer { tcb.has(Marks::TIMESTAMPS) } else { config.timestamps };
    let scaled = if answer { tcb.has(Marks::SCALED) } else { config.window_scaling };
    Options {
        mss: Some(largest_segment(&tcb.flow, cx.config, cx.service(tcb))),
        window_scale: scaled.then_some(tcb.rcv_scale),
        timestamps: timestamps.then(|| Timestamps {
            value: timestamp(cx.now, tcb.ts_offset),
            echo: if answer { tcb.ts_recent } else { 0 },
        }),
        sack_permitted: if answer { tcb.has(Marks::SACK) } else { config.sack },
        ..Options::default()
    }
}

#[inline]
fn options(tcb: &Tcb, cx: &Context<'_>, payload_len: u16) -> Options {
    let mut options = Options::default();
    if tcb.has(Marks::TIMESTAMPS) {
        let value = timestamp(cx.now, tcb.ts_offset);
        options.timestamps = Some(Timestamps { value, echo: tcb.ts_recent });
    }
    if tcb.has(Marks::SACK) && (tcb.has(Marks::DSACK) || !tcb.assembler.is_empty()) {
        options.sack = sack_blocks(tcb, cx);
        // A full segment has no room for blocks; an ACK beside it has them.
        let room = usize::from(tcb.mss.saturating_sub(payload_len));
        options.sack.truncate(room.saturating_sub(SACK_HEAD_LEN) / SACK_BLOCK_LEN);
    }
    options
}

/// RFC 2018 4; a duplicate comes first (RFC 2883 4).
fn sack_blocks(tcb: &Tcb, cx: &Context<'_>) -> ArrayVec<SackBlock, MAX_SACK_BLOCKS> {
    let mut blocks = tcb.assembler.sack_blocks(&cx.shared.buffers);
    if tcb.has(Marks::DSACK) {
        blocks.truncate(MAX_SACK_BLOCKS - 1);
        blocks.insert(0, tcb.dsack);
    }
    blocks
}
