//! What holds of a connection whenever no step is under way. A snapshot that breaks one of these is
//! refused, so that the arithmetic of later steps can rely on them; tests ask after each step.

use crate::buffer::{Buffers, MAX_RANGES};
use crate::config::Config;
use crate::seq::SeqNumber;
use crate::tcp::scoreboard::Sent;
use crate::tcp::tcb::{MAX_DUP_ACKS_OWED, Marks, TIMESTAMPS_LEN, Tcb, largest_mss};
use crate::tcp::timers::NEVER;
use crate::tcp::{Shared, State};

/// Smallest segment size that a connection can have.
const MIN_MSS: u16 = 64;
/// Most that lies between two numbers of one direction: more could not be told from less.
const HALF: i32 = 1 << 30;

/// The first rule that the connection breaks.
pub(crate) fn connection(tcb: &Tcb, shared: &Shared, config: &Config) -> Result<(), &'static str> {
    let tell = |holds: bool, what| if holds { Ok(()) } else { Err(what) };
    let most = largest_payload(tcb, config);
    tell((MIN_MSS..=tcb.path.limit).contains(&tcb.mss), "segment size")?;
    tell(tcb.path.limit <= most, "largest segment size")?;
    tell((0..=HALF).contains(&tcb.snd_nxt.distance(tcb.snd_una)), "SND.NXT")?;
    tell(!tcb.has(Marks::AHEAD) || is_ahead(tcb), "what a peer has of a former primary")?;
    opening(tcb)?;
    closing(tcb)?;
    tell(u64::from(tcb.queue_sent()) <= tcb.send.len(), "length of a send queue")?;
    tell(!tcb.has(Marks::FIN_SENT) || tcb.unsent() == 0, "data behind our FIN")?;
    tcb.sent.check(&shared.sent, tcb.snd_una, tcb.snd_nxt)?;
    tell(tcb.sent.iter(&shared.sent).all(|sent| fits(sent, tcb, most)), "sent segment")?;
    receiving(tcb, &shared.buffers)?;
    waiting(tcb)
}

/// Nothing of ours is on its way to a peer that has more than that.
fn is_ahead(tcb: &Tcb) -> bool {
    let ahead = tcb.recovery.point.distance(tcb.snd_nxt);
    (1..=HALF).contains(&ahead) && tcb.snd_una == tcb.snd_nxt && !tcb.has(Marks::FIN_SENT)
}

/// What a packet has room for beside its headers.
fn largest_payload(tcb: &Tcb, config: &Config) -> u16 {
    let timestamps = if tcb.has(Marks::TIMESTAMPS) { TIMESTAMPS_LEN } else { 0 };
    largest_mss(&tcb.flow, config) - timestamps
}

/// It can be sent again, with SYN and FIN where they belong.
fn fits(sent: &Sent, tcb: &Tcb, most: u16) -> bool {
    let syn = tcb.has(Marks::SYN_UNACKED) && sent.seq == tcb.snd_una;
    let fin = tcb.has(Marks::FIN_SENT) && sent.end() == tcb.snd_nxt;
    sent.has_syn() == syn && sent.has_fin() == fin && sent.payload_len() <= most
}

fn opening(tcb: &Tcb) -> Result<(), &'static str> {
    let opening = matches!(tcb.state, State::SynSent | State::SynReceived);
    if tcb.state != State::Closed && tcb.has(Marks::SYN_UNACKED) != opening {
        return Err("state of our SYN");
    }
    let sent = tcb.snd_nxt.distance(tcb.snd_una);
    if tcb.has(Marks::SYN_UNACKED) && !(0..=1).contains(&sent) {
        return Err("number of our SYN");
    }
    Ok(())
}

fn closing(tcb: &Tcb) -> Result<(), &'static str> {
    use State::{CloseWait, Closing, FinWait1, FinWait2, LastAck, TimeWait};
    if tcb.has(Marks::FIN_SENT) && !tcb.has(Marks::CLOSING) {
        return Err("our FIN");
    }
    if tcb.state == State::Closed {
        return Ok(());
    }
    let ours = matches!(tcb.state, FinWait1 | FinWait2 | Closing | LastAck | TimeWait);
    if tcb.has(Marks::FIN_SENT) != ours {
        return Err("state of our FIN");
    }
    let theirs = matches!(tcb.state, CloseWait | Closing | LastAck | TimeWait);
    if tcb.has(Marks::FIN_RECEIVED) != theirs {
        return Err("state of the peer's FIN");
    }
    if tcb.has(Marks::FIN_AHEAD) && (theirs || !tcb.fin_at.gt(tcb.rcv_nxt)) {
        return Err("number of the peer's FIN");
    }
    Ok(())
}

/// RCV.NXT and what lies around it. The peer's FIN may stand behind the window's last byte.
fn receiving(tcb: &Tcb, buffers: &Buffers) -> Result<(), &'static str> {
    let offered = tcb.rcv_adv.distance(tcb.rcv_nxt);
    if tcb.state != State::SynSent && !(-1..=HALF).contains(&offered) {
        return Err("receive window");
    }
    if !(0..=HALF).contains(&tcb.rcv_nxt.distance(tcb.last_ack)) {
        return Err("Last.ACK.sent");
    }
    if tcb.dup_acks_owed > MAX_DUP_ACKS_OWED {
        return Err("duplicate ACKs owed");
    }
    if tcb.assembler.ranges(buffers) > MAX_RANGES {
        return Err("number of ranges");
    }
    let mut before: SeqNumber = tcb.rcv_nxt;
    for (start, end) in tcb.assembler.bounds(buffers) {
        if !start.gt(before) || !end.gt(start) || end.gt(tcb.rcv_adv) {
            return Err("range out of order");
        }
        before = end;
    }
    Ok(())
}

/// Nothing that is due can be forgotten: somebody has it in line, or a timer runs for it.
fn waiting(tcb: &Tcb) -> Result<(), &'static str> {
    if tcb.has(Marks::QUEUED) || tcb.state == State::Closed {
        return Ok(());
    }
    if tcb.deadlines.armed > tcb.deadlines.earliest() {
        return Err("timer later than its deadline");
    }
    let to_send = tcb.state.can_send() && (tcb.unsent() > 0 || tcb.fin_due());
    let in_flight = tcb.sent.count > 0;
    let timed = tcb.deadlines.retransmit != NEVER || tcb.has(Marks::STARVED);
    if (to_send || in_flight) && !timed { Err("retransmission timer") } else { Ok(()) }
}
