//! What a connection does about loss: the phases between a loss and its repair, and how much may
//! be sent meanwhile (RFC 6675, RFC 6582 without SACK, RFC 6937 for the rate).

use crate::seq::SeqNumber;
use crate::snapshot::{Reader, Snapshot, SnapshotError, Writer};

/// Duplicate acknowledgments that mean loss to a peer without SACK (RFC 5681 3.2).
pub(crate) const DUP_ACKS: u8 = 3;

/// Where a connection stands with losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing known to be lost.
    #[default]
    Open,
    /// Fast recovery: loss means congestion, the window shrinks in proportion.
    Recovery,
    /// After a timeout: slow start from one segment.
    Loss,
    /// After a takeover: what the last node sent may never have left it. That is no congestion,
    /// so the window stays as it was.
    Repair,
}

/// The variables of proportional rate reduction (RFC 6937 3), in bytes.
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
    /// Window after an acknowledgment that told of `delivered` more bytes (RFC 6937 3.1), with
    /// the conservative bound unless `una_advanced`.
    pub(crate) fn window(
        &mut self,
        delivered: u32,
        pipe: u32,
        ssthresh: u32,
        mss: u16,
        una_advanced: bool,
    ) -> u32 {
        self.delivered = self.delivered.saturating_add(delivered);
        let allowance = if pipe > ssthresh {
            let target = u64::from(self.delivered) * u64::from(ssthresh);
            let target = target.div_ceil(u64::from(self.flight.max(1)));
            u32::try_from(target).unwrap_or(u32::MAX).saturating_sub(self.sent)
        } else {
            // Slow start reduction bound: what was delivered, and a segment more if it went well.
            let bonus = if una_advanced { u32::from(mss) } else { 0 };
            let bound =
                self.delivered.saturating_sub(self.sent).max(delivered).saturating_add(bonus);
            bound.min(ssthresh - pipe)
        };
        // The first retransmission leaves at once (RFC 6675 5 step 4.3).
        let first = if self.sent == 0 { u32::from(mss) } else { 0 };
        pipe.saturating_add(allowance.max(first))
    }
}

/// Phase and what goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovery {
    pub phase: Phase,
    /// Duplicate acknowledgments in a row; only without SACK.
    pub dup_acks: u8,
    /// The phase ends when this is acknowledged (RecoveryPoint of RFC 6675).
    pub point: SeqNumber,
    /// Of the fast recovery; means nothing in another phase.
    pub rate: ProportionalRate,
}

impl Recovery {
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// So many sequence numbers were sent.
    #[inline]
    pub(crate) fn sent(&mut self, numbers: u16) {
        if self.phase == Phase::Recovery {
            self.rate.sent = self.rate.sent.saturating_add(numbers.into());
        }
    }
}

impl Snapshot for Recovery {
    fn save(&self, out: &mut Writer<'_>) {
        out.u32(self.point.0);
        out.u8(self.dup_acks);
        match self.phase {
            Phase::Open => out.u8(0),
            Phase::Recovery => {
                out.u8(1);
                out.u32(self.rate.delivered);
                out.u32(self.rate.sent);
                out.u32(self.rate.flight);
            }
            Phase::Loss => out.u8(2),
            Phase::Repair => out.u8(3),
        }
    }

    fn restore(input: &mut Reader<'_>) -> Result<Recovery, SnapshotError> {
        let point = SeqNumber(input.u32("recovery point")?);
        let dup_acks = input.u8("duplicate acknowledgments")?;
        let mut rate = ProportionalRate::default();
        let phase = match input.u8("recovery phase")? {
            0 => Phase::Open,
            1 => {
                rate.delivered = input.u32("delivered bytes")?;
                rate.sent = input.u32("sent bytes")?;
                rate.flight = input.u32("flight size")?;
                Phase::Recovery
            }
            2 => Phase::Loss,
            3 => Phase::Repair,
            other => return Err(input.invalid("recovery phase", other.into())),
        };
        Ok(Recovery { phase, dup_acks, point, rate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6937 4's example in short: half of what is delivered is sent while pipe is above
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
