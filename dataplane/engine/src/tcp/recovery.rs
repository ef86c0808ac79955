//! What a connection does about loss: the phases between a loss and its repair, how much may be
//! sent meanwhile (RFC 6675, RFC 6582 without SACK, RFC 9937 for the rate), and how it is undone
//! when nothing was lost after all (RFC 3522, RFC 5682, RFC 2883).

use crate::seq::SeqNumber;
use crate::snapshot::{Reader, Snapshot, SnapshotError, Writer};
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::{Context, heir};

/// Duplicate acknowledgments that mean loss to a peer without SACK (RFC 5681 3.2).
pub(crate) const DUP_ACKS: u8 = 3;

/// Where a connection stands with losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing known to be lost.
    Open,
    /// Fast recovery: loss means congestion, the window shrinks in proportion.
    Recovery,
    /// After a timeout: slow start from one segment.
    Loss,
    /// After a takeover, what the last node sent may never have left it; and what was too large for
    /// the path never arrived. That is no congestion, so the window stays as it was.
    Repair,
    /// Nothing is lost, but the peer echoed a mark (RFC 3168 6.1.2): the window shrinks in
    /// proportion.
    Reduced,
}

/// The variables of proportional rate reduction (RFC 9937 5), in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProportionalRate {
    /// Delivered since the recovery began.
    pub delivered: u32,
    /// Sent since then.
    pub sent: u32,
    /// In flight when it began (RecoverFS).
    pub flight: u32,
}

impl ProportionalRate {
    /// Window after an acknowledgment that told of `delivered` more bytes (RFC 9937 6). `safe`: it
    /// moved SND.UNA and told of no further loss (SafeACK).
    pub(crate) fn window(
        &mut self,
        delivered: u32,
        pipe: u32,
        ssthresh: u32,
        mss: u16,
        safe: bool,
    ) -> u32 {
        self.delivered = self.delivered.saturating_add(delivered);
        let allowance = if pipe > ssthresh {
            let target = u64::from(self.delivered) * u64::from(ssthresh);
            let target = target.div_ceil(u64::from(self.flight.max(1)));
            u32::try_from(target).unwrap_or(u32::MAX).saturating_sub(self.sent)
        } else {
            // What was delivered, and a segment more if it went well.
            let bonus = if safe { u32::from(mss) } else { 0 };
            let bound =
                self.delivered.saturating_sub(self.sent).max(delivered).saturating_add(bonus);
            bound.min(ssthresh - pipe)
        };
        // The first retransmission leaves at once (RFC 6675 5 step 4.3).
        let first = if self.sent == 0 { u32::from(mss) } else { 0 };
        pipe.saturating_add(allowance.max(first))
    }
}

/// Where F-RTO (RFC 5682 2.1) stands with the question whether a timeout was needless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Forward {
    /// It is not asked.
    #[default]
    Off,
    /// The first segment was sent again; what will its acknowledgment say?
    First,
    /// That acknowledged some: new data goes out instead of what was held to be lost.
    Second,
}

/// Phase and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recovery {
    pub phase: Phase,
    /// Duplicate acknowledgments in a row; only without SACK.
    pub dup_acks: u8,
    pub forward: Forward,
    /// Retransmissions since the last reduction that no DSACK has called superfluous, or one of
    /// the limits below.
    resent: u8,
    /// The phase ends when this is acknowledged (RecoveryPoint of RFC 6675).
    pub point: SeqNumber,
    /// Our timestamp clock at the first of these retransmissions (RetransmitTS of RFC 3522 3.2).
    resent_at: u32,
    /// Of a reduction under way; means nothing in another phase.
    pub rate: ProportionalRate,
}

/// So many retransmissions or more: not to be counted down any more.
const MANY: u8 = 254;
/// The last reduction can't be undone, or was.
const FINAL: u8 = 255;

impl Recovery {
    /// Nothing lost, and `iss` the first number to be sent.
    pub(crate) fn new(iss: SeqNumber) -> Recovery {
        Recovery {
            phase: Phase::Open,
            dup_acks: 0,
            forward: Forward::Off,
            resent: FINAL,
            point: iss,
            resent_at: 0,
            rate: ProportionalRate::default(),
        }
    }

    /// Nothing is known to be lost.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Reduced)
    }

    /// The window shrinks in proportion to what arrives.
    #[inline]
    pub(crate) fn is_reducing(&self) -> bool {
        matches!(self.phase, Phase::Recovery | Phase::Reduced)
    }

    /// So many sequence numbers were sent.
    #[inline]
    pub(crate) fn sent(&mut self, numbers: u16) {
        if self.is_reducing() {
            self.rate.sent = self.rate.sent.saturating_add(numbers.into());
        }
    }

    /// From here on the reduction may turn out to be needless.
    fn watch(&mut self) {
        self.resent = 0;
    }

    /// A segment was sent again, when our timestamp clock was `clock`.
    pub(crate) fn sent_again(&mut self, clock: u32) {
        if self.resent == FINAL || !matches!(self.phase, Phase::Recovery | Phase::Loss) {
            return;
        }
        if self.resent == 0 {
            self.resent_at = clock;
        }
        self.resent = (self.resent + 1).min(MANY);
    }

    /// RFC 3522 3.2 (Eifel): the acknowledgment of a segment that was sent twice echoes a timestamp
    /// from before the first retransmission, so it is the original's.
    pub(crate) fn original_answered(&self, echo: u32) -> bool {
        (1..=MANY).contains(&self.resent)
            && echo != 0
            && (echo.wrapping_sub(self.resent_at) as i32) < 0
    }

    /// The peer got something twice. True if with that all retransmissions were superfluous.
    pub(crate) fn duplicate_reported(&mut self) -> bool {
        if !(1..MANY).contains(&self.resent) {
            return false;
        }
        self.resent -= 1;
        self.resent == 0
    }
}

/// Lowers the window for something that means congestion, and enters `phase`: [`Phase::Recovery`]
/// or [`Phase::Reduced`].
pub(crate) fn reduce(tcb: &mut Tcb, phase: Phase) {
    // RFC 6675 5 step 4.
    let flight = tcb.flight();
    tcb.congestion.lost(flight, tcb.mss);
    tcb.recovery.phase = phase;
    tcb.recovery.rate = ProportionalRate { delivered: 0, sent: 0, flight };
    tcb.recovery.point = heir::next(tcb);
    tcb.recovery.resent = FINAL;
    if phase == Phase::Recovery {
        tcb.recovery.watch();
    }
    say_reduced(tcb);
}

/// Lowers the window for a loss that is repaired already. `flight`: what was out.
pub(crate) fn reduce_at_once(tcb: &mut Tcb, flight: u32) {
    tcb.congestion.lost(flight, tcb.mss);
    tcb.congestion.recovered(tcb.mss);
    tcb.recovery.resent = FINAL;
    say_reduced(tcb);
}

/// RFC 3168 6.1.2: the peer is told of a reduction for whatever reason.
fn say_reduced(tcb: &mut Tcb) {
    if tcb.has(Marks::ECN) && tcb.state.is_synchronized() {
        tcb.set(Marks::ECN_REDUCED);
    }
}

/// The retransmission timer fired (RFC 5681 3.1).
pub(crate) fn timed_out(tcb: &mut Tcb) {
    let again = tcb.rtt.backoff() > 0 || tcb.recovery.phase == Phase::Loss;
    // The window has shrunk already for what was in flight then.
    let reduced = again || tcb.recovery.is_reducing();
    tcb.congestion.timed_out(tcb.flight(), tcb.mss, !reduced);
    if !reduced {
        tcb.recovery.watch();
        say_reduced(tcb);
    }
    // RFC 5682 2.1: a timeout that repeats is taken at its word.
    let ask = !again && tcb.state.is_synchronized();
    tcb.recovery.forward = if ask { Forward::First } else { Forward::Off };
    tcb.recovery.phase = Phase::Loss;
    tcb.recovery.point = tcb.snd_nxt;
    tcb.recovery.dup_acks = 0;
}

/// What was held to be lost was only late: the window is what it was before, and nothing more is
/// sent again unless it is found to be lost anew (RFC 4015 3, RFC 9438 4.9).
pub(crate) fn undo(tcb: &mut Tcb, cx: &mut Context<'_>) {
    cx.shared.counters.undone += 1;
    tcb.congestion.undo();
    tcb.sent.unmark_lost(&mut cx.shared.sent);
    if tcb.recovery.phase != Phase::Loss {
        tcb.rack.was_hasty();
    }
    let recovery = &mut tcb.recovery;
    (recovery.phase, recovery.forward, recovery.resent) = (Phase::Open, Forward::Off, FINAL);
    recovery.dup_acks = 0;
}

impl Snapshot for Recovery {
    fn save(&self, out: &mut Writer<'_>) {
        out.u32(self.point.0);
        out.u8(self.dup_acks);
        out.u8(self.forward as u8);
        out.u8(self.resent);
        out.u32(self.resent_at);
        out.u8(self.phase as u8);
        if self.is_reducing() {
            out.u32(self.rate.delivered);
            out.u32(self.rate.sent);
            out.u32(self.rate.flight);
        }
    }

    fn restore(input: &mut Reader<'_>) -> Result<Recovery, SnapshotError> {
        let mut recovery = Recovery::new(SeqNumber(input.u32("recovery point")?));
        recovery.dup_acks = input.u8("duplicate acknowledgments")?;
        recovery.forward = match input.u8("step of F-RTO")? {
            0 => Forward::Off,
            1 => Forward::First,
            2 => Forward::Second,
            other => return Err(input.invalid("step of F-RTO", other.into())),
        };
        recovery.resent = input.u8("retransmissions of a recovery")?;
        recovery.resent_at = input.u32("time of a recovery's first retransmission")?;
        recovery.phase = match input.u8("recovery phase")? {
            0 => Phase::Open,
            1 => Phase::Recovery,
            2 => Phase::Loss,
            3 => Phase::Repair,
            4 => Phase::Reduced,
            other => return Err(input.invalid("recovery phase", other.into())),
        };
        if recovery.is_reducing() {
            recovery.rate.delivered = input.u32("delivered bytes")?;
            recovery.rate.sent = input.u32("sent bytes")?;
            recovery.rate.flight = input.u32("flight size")?;
        }
        Ok(recovery)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9937's example in short: half of what is delivered is sent while pipe is above
    /// ssthresh.
    #[test]
    fn sends_in_proportion_to_what_is_delivered() {
        let mut rate = ProportionalRate { delivered: 0, sent: 1000, flight: 20_000 };
        let mut sent = 0;
        for i in 1..=8 {
            let pipe = 20_000 - i * 1000 + sent;
            let window = rate.window(1000, pipe, 10_000, 1000, false);
            let allowed = (window - pipe) / 1000 * 1000;
            rate.sent += allowed;
            sent += allowed;
        }
        assert_eq!(rate.sent, 4000);
    }

    #[test]
    fn the_first_retransmission_leaves_at_once() {
        let mut rate = ProportionalRate { delivered: 0, sent: 0, flight: 20_000 };
        assert_eq!(rate.window(100, 19_000, 10_000, 1000, false), 20_000);
    }
}
