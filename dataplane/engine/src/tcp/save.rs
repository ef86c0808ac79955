//! A connection's part of a snapshot.

use crate::addr::{Addr, Endpoint, Flow};
use crate::buffer::{Assembler, Chain, SendQueue};
use crate::config::Config;
use crate::content::Content;
use crate::seq::SeqNumber;
use crate::snapshot::{Reader, Snapshot, SnapshotError, Writer};
use crate::tcp::congestion::Congestion;
use crate::tcp::rack::Rack;
use crate::tcp::recovery::Recovery;
use crate::tcp::rto::Rtt;
use crate::tcp::scoreboard::SentQueue;
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::timers::Deadlines;
use crate::tcp::{Shared, State};
use crate::time::Instant;

/// Appends a connection.
pub(crate) fn save(tcb: &Tcb, shared: &Shared, out: &mut Writer<'_>) {
    for endpoint in [tcb.flow.local, tcb.flow.remote] {
        out.raw(&endpoint.addr.octets());
        out.u16(endpoint.port);
    }
    out.u16(tcb.service);
    out.u32(tcb.marks.0);
    for byte in [tcb.state as u8, tcb.snd_scale, tcb.rcv_scale, tcb.quick_acks] {
        out.u8(byte);
    }
    for byte in [tcb.dup_acks_owed, tcb.unanswered] {
        out.u8(byte);
    }
    for seq in numbers(tcb) {
        out.u32(seq.0);
    }
    for word in [tcb.snd_wnd, tcb.ts_recent, tcb.ts_offset, tcb.rcv_limit, tcb.rcv_taken] {
        out.u32(word);
    }
    out.u32(tcb.max_window);
    out.u32(tcb.retransmissions);
    out.u16(tcb.mss);
    out.u16(tcb.rcv_mss);
    out.u16(tcb.path.limit);
    out.u16(tcb.path.raise_at);
    for at in [tcb.active_at, tcb.opened_at, tcb.sent_at, tcb.progress_at] {
        out.u64(at.as_micros());
    }
    out.option_u64(tcb.kicked_at.map(Instant::as_micros));
    out.u64(tcb.bytes_in);
    out.u64(tcb.bytes_out);
    tcb.congestion.save(out);
    tcb.rtt.save(out);
    tcb.deadlines.save(out);
    tcb.recovery.save(out);
    tcb.rack.save(out);
    tcb.sent.save(&shared.sent, out);
    tcb.recv.save(&shared.buffers.blocks, out);
    tcb.send.save(&shared.buffers, out);
    tcb.assembler.save(&shared.buffers, out);
}

fn numbers(tcb: &Tcb) -> [SeqNumber; 10] {
    [
        tcb.snd_una,
        tcb.snd_nxt,
        tcb.snd_wl1,
        tcb.rcv_nxt,
        tcb.rcv_adv,
        tcb.last_ack,
        tcb.urgent_at,
        tcb.fin_at,
        tcb.dsack.0,
        tcb.dsack.1,
    ]
}

/// Reads what [`save`] wrote.
pub(crate) fn restore(
    config: &Config,
    content: &Content,
    shared: &mut Shared,
    input: &mut Reader<'_>,
) -> Result<Tcb, SnapshotError> {
    let flow = Flow { local: endpoint(input)?, remote: endpoint(input)? };
    let service = input.u16("service")?;
    if usize::from(service) >= config.services.len() {
        return Err(input.invalid("service", service.into()));
    }
    shared.buffers.blocks.bill(service);
    let mut tcb = Tcb::active(flow, Instant::ZERO, config, service);
    tcb.marks = Marks(input.u32("marks")?);
    restore_fields(&mut tcb, input)?;
    tcb.congestion = Congestion::restore(input)?;
    tcb.rtt = Rtt::restore(input)?;
    tcb.deadlines = Deadlines::restore(input)?;
    tcb.recovery = Recovery::restore(input)?;
    tcb.rack = Rack::restore(input)?;
    tcb.sent = SentQueue::restore(&mut shared.sent, input)?;
    tcb.recv = Chain::restore(&mut shared.buffers.blocks, input)?;
    let exists = |file, offset: u64, len: u64| {
        let file = crate::content::FileId(file);
        content.contains(file)
            && offset.checked_add(len).is_some_and(|end| end <= content.bytes(file).len() as u64)
    };
    tcb.send = SendQueue::restore(&mut shared.buffers, input, exists)?;
    tcb.assembler = Assembler::restore(&mut shared.buffers, input)?;
    check(&tcb, input)?;
    Ok(tcb)
}

fn restore_fields(tcb: &mut Tcb, input: &mut Reader<'_>) -> Result<(), SnapshotError> {
    let state = input.u8("state")?;
    tcb.state =
        State::from_u8(state).ok_or_else(|| input.invalid("connection state", state.into()))?;
    tcb.snd_scale = input.u8("send window scale")?.min(14);
    tcb.rcv_scale = input.u8("receive window scale")?.min(14);
    tcb.quick_acks = input.u8("quick ACKs")?;
    tcb.dup_acks_owed = input.u8("duplicate ACKs owed")?;
    tcb.unanswered = input.u8("unanswered probes")?;
    let mut seq = |what| input.u32(what).map(SeqNumber);
    tcb.snd_una = seq("SND.UNA")?;
    tcb.snd_nxt = seq("SND.NXT")?;
    tcb.snd_wl1 = seq("SND.WL1")?;
    tcb.rcv_nxt = seq("RCV.NXT")?;
    tcb.rcv_adv = seq("receive window edge")?;
    tcb.last_ack = seq("Last.ACK.sent")?;
    tcb.urgent_at = seq("end of urgent data")?;
    tcb.fin_at = seq("number of the peer's FIN")?;
    tcb.dsack = (seq("start of a duplicate")?, seq("end of a duplicate")?);
    tcb.snd_wnd = input.u32("SND.WND")?;
    tcb.ts_recent = input.u32("TS.Recent")?;
    tcb.ts_offset = input.u32("timestamp offset")?;
    tcb.rcv_limit = input.u32("receive buffer")?;
    tcb.rcv_taken = input.u32("bytes read")?;
    tcb.max_window = input.u32("largest window")?;
    tcb.retransmissions = input.u32("retransmissions")?;
    tcb.mss = input.u16("segment size")?;
    tcb.rcv_mss = input.u16("peer's segment size")?;
    tcb.path.limit = input.u16("largest segment size")?;
    tcb.path.raise_at = input.u16("time of the next larger segment")?;
    let mut at = |what| input.u64(what).map(Instant::from_micros);
    tcb.active_at = at("time of the last segment")?;
    tcb.opened_at = at("time of the opening")?;
    tcb.sent_at = at("time of the last sending")?;
    tcb.progress_at = at("time of the last progress")?;
    tcb.kicked_at = input.option_u64("time of a kick")?.map(Instant::from_micros);
    tcb.bytes_in = input.total("bytes in")?;
    tcb.bytes_out = input.total("bytes out")?;
    Ok(())
}

/// Refuses what no connection of this kind can have. What must hold of any connection is asked
/// when the whole shard is there ([`check`](crate::tcp::check)).
fn check(tcb: &Tcb, input: &Reader<'_>) -> Result<(), SnapshotError> {
    if !tcb.flow.local.addr.is_same_version(&tcb.flow.remote.addr) {
        return Err(input.invalid("IP version of the peer", 6));
    }
    Ok(())
}

fn endpoint(input: &mut Reader<'_>) -> Result<Endpoint, SnapshotError> {
    let addr = Addr::from_octets(input.array("address")?);
    Ok(Endpoint { addr, port: input.u16("port")? })
}
