//! Loss by time: RACK, and the tail loss probe (RFC 8985). A segment is lost once another one that
//! was sent sufficiently later has been delivered.

use crate::seq::SeqNumber;
use crate::snapshot::{Reader, Snapshot, SnapshotError, Writer};
use crate::tcp::rto::Rtt;
use crate::tcp::scoreboard::{Sent, SentQueue, SentSlab};
use crate::time::Instant;

/// Sacked segments that mean loss as long as no reordering was seen (RFC 8985 6.2 step 4).
pub(crate) const DUP_THRESH: u32 = 3;
/// Recoveries for which a widened window is kept (RFC 8985 6.2 step 4).
const REO_WND_PERSIST: u8 = 16;
/// Widest reordering window in quarters of the smallest round-trip time.
const MAX_REO_WND_MULT: u8 = 16;
/// What a receiver may add before it acknowledges a lone segment (RFC 8985 7.2).
const WORST_DELAYED_ACK_US: u64 = 200_000;
/// Shortest probe timeout, so that a round trip of some µs does not mean a probe per burst.
const MIN_PTO_US: u64 = 2_000;

/// RACK's variables (RFC 8985 5.3) and those of the probe (7.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rack {
    /// When the latest-sent of all delivered segments was sent, and its end.
    sent_at: Instant,
    end_seq: SeqNumber,
    /// Round-trip time of that segment.
    rtt_us: u32,
    /// Highest sequence number delivered.
    fack: SeqNumber,
    /// Where the round ends in which a DSACK has widened the window, if one has.
    dsack_round_end: SeqNumber,
    /// End of the flight behind an outstanding tail loss probe, if there is one.
    probe_end: SeqNumber,
    flags: u8,
    reo_wnd_mult: u8,
    reo_wnd_persist: u8,
}

/// Flags of [`Rack`]: a DSACK has widened the window in this round.
const DSACK_ROUND: u8 = 1;
/// Reordering was seen. RFC 8985 6.2 knows nothing that takes it back: the path is what it is.
const REORDERING: u8 = 2;
/// A tail loss probe is out.
const PROBE: u8 = 4;

/// What an acknowledgment says about time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo {
    pub now: Instant,
    /// TSecr of the segment, if timestamps are in use.
    pub tsecr: Option<u32>,
    /// Offset of our timestamp clock.
    pub ts_offset: u32,
    /// Smallest round-trip time of late, 0 if unknown.
    pub min_rtt_us: u32,
}

/// What a look for losses has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// When the newest segment was sent that is now held to be lost.
    pub newest_lost: Option<Instant>,
    /// When to look again, for a segment that may only be late.
    pub again: Option<Instant>,
    /// A probe of the path's MTU is lost: that alone is no congestion.
    pub probe_lost: bool,
}

/// Our timestamp clock: milliseconds of shard time and an offset (RFC 7323 5.4).
#[inline]
pub(crate) fn timestamp(at: Instant, offset: u32) -> u32 {
    ((at.as_micros() / 1000) as u32).wrapping_add(offset)
}

/// Whether the first was sent after the second (RFC 8985 6.2, RACK_sent_after).
#[inline]
fn sent_after(a: (Instant, SeqNumber), b: (Instant, SeqNumber)) -> bool {
    a.0 > b.0 || (a.0 == b.0 && a.1.gt(b.1))
}

impl Rack {
    pub(crate) fn new(una: SeqNumber) -> Rack {
        Rack { fack: una, end_seq: una, reo_wnd_mult: 1, ..Rack::default() }
    }

    /// RFC 8985 6.2 steps 2 and 3: a segment was delivered.
    #[inline]
    pub(crate) fn delivered(&mut self, sent: &Sent, echo: &Echo) {
        let rtt_us = echo.now.since_us(sent.at);
        let end = sent.end();
        if sent.is_retransmitted() {
            // Step 2: an echo older than the retransmission, or an answer faster than the path,
            // acknowledges the original.
            let sent_ts = timestamp(sent.at, echo.ts_offset);
            if echo.tsecr.is_some_and(|tsecr| (tsecr.wrapping_sub(sent_ts) as i32) < 0)
                || rtt_us < u64::from(echo.min_rtt_us)
            {
                return;
            }
        } else if end.lt(self.fack) {
            self.flags |= REORDERING;
        }
        self.fack = self.fack.max(end);
        if sent_after((sent.at, end), (self.sent_at, self.end_seq)) {
            self.sent_at = sent.at;
            self.end_seq = end;
            self.rtt_us = u32::try_from(rtt_us).unwrap_or(u32::MAX);
        }
    }

    /// RFC 8985 6.2 step 4: the peer got something twice, so we were hasty.
    pub(crate) fn duplicate_reported(&mut self, snd_nxt: SeqNumber) {
        if self.flags & DSACK_ROUND == 0 {
            self.flags |= DSACK_ROUND;
            self.dsack_round_end = snd_nxt;
            self.reo_wnd_mult = (self.reo_wnd_mult + 1).min(MAX_REO_WND_MULT);
            self.reo_wnd_persist = REO_WND_PERSIST;
        }
    }

    /// Ends the round of a DSACK once `una` has passed it.
    pub(crate) fn advance(&mut self, una: SeqNumber) {
        if self.flags & DSACK_ROUND != 0 && una.ge(self.dsack_round_end) {
            self.flags &= !DSACK_ROUND;
        }
    }

    /// What was held to be lost was only late.
    pub(crate) fn was_hasty(&mut self) {
        self.flags |= REORDERING;
    }

    /// End of the flight behind an outstanding tail loss probe.
    #[inline]
    pub(crate) fn probe_end(&self) -> Option<SeqNumber> {
        (self.flags & PROBE != 0).then_some(self.probe_end)
    }

    /// A tail loss probe has left; the flight ends before `end`.
    pub(crate) fn probe_left(&mut self, end: SeqNumber) {
        self.flags |= PROBE;
        self.probe_end = end;
    }

    /// No tail loss probe is waited for.
    #[inline]
    pub(crate) fn forget_probe(&mut self) {
        self.flags &= !PROBE;
    }

    /// A recovery ended: a widened window is forgotten after enough of them.
    pub(crate) fn recovered(&mut self) {
        if self.reo_wnd_persist > 0 {
            self.reo_wnd_persist -= 1;
            if self.reo_wnd_persist == 0 {
                self.reo_wnd_mult = 1;
            }
        }
    }

    fn reo_wnd_us(&self, rtt: &Rtt, sacked: u32, recovering: bool) -> u64 {
        if self.flags & REORDERING == 0 && (recovering || sacked >= DUP_THRESH) {
            return 0;
        }
        let window = u64::from(self.reo_wnd_mult) * u64::from(rtt.min_us()) / 4;
        window.min(u64::from(rtt.srtt_us()))
    }

    /// RFC 8985 6.2 step 5: marks what is lost.
    pub(crate) fn detect_loss(
        &self,
        queue: &mut SentQueue,
        slab: &mut SentSlab,
        now: Instant,
        rtt: &Rtt,
        recovering: bool,
    ) -> Found {
        let reo_wnd_us = self.reo_wnd_us(rtt, queue.sacked, recovering);
        let patience_us = u64::from(self.rtt_us) + reo_wnd_us;
        let (mut again, mut newest_lost): (Option<Instant>, Option<Instant>) = (None, None);
        let mut probe_lost = false;
        queue.mark_lost(slab, |sent| {
            if !sent_after((self.sent_at, self.end_seq), (sent.at, sent.end())) {
                // First transmissions are in order of time: the rest was sent later still.
                return if sent.is_retransmitted() { Some(false) } else { None };
            }
            let due = sent.at.plus_us(patience_us);
            if due <= now && sent.is_mtu_probe() {
                probe_lost = true;
                return Some(true);
            }
            if due <= now {
                newest_lost = newest_lost.max(Some(sent.at));
                return Some(true);
            }
            again = again.max(Some(due));
            Some(false)
        });
        Found { newest_lost, again, probe_lost }
    }

    /// Time until a tail loss probe (RFC 8985 7.2). `rto_us` is an upper bound.
    pub(crate) fn probe_timeout_us(rtt: &Rtt, lone_segment: bool, rto_us: u64) -> u64 {
        if rtt.srtt_us() == 0 {
            return rto_us;
        }
        let mut pto = (2 * u64::from(rtt.srtt_us())).max(MIN_PTO_US);
        if lone_segment {
            pto += WORST_DELAYED_ACK_US;
        }
        pto.min(rto_us)
    }
}

impl Snapshot for Rack {
    fn save(&self, out: &mut Writer<'_>) {
        out.u64(self.sent_at.as_micros());
        out.u32(self.end_seq.0);
        out.u32(self.rtt_us);
        out.u32(self.fack.0);
        out.u32(self.dsack_round_end.0);
        out.u32(self.probe_end.0);
        out.u8(self.flags);
        out.u8(self.reo_wnd_mult);
        out.u8(self.reo_wnd_persist);
    }

    fn restore(input: &mut Reader<'_>) -> Result<Rack, SnapshotError> {
        Ok(Rack {
            sent_at: Instant::from_micros(input.u64("RACK.xmit_ts")?),
            end_seq: SeqNumber(input.u32("RACK.end_seq")?),
            rtt_us: input.u32("RACK.rtt")?,
            fack: SeqNumber(input.u32("RACK.fack")?),
            dsack_round_end: SeqNumber(input.u32("RACK.dsack_round")?),
            probe_end: SeqNumber(input.u32("TLP.end_seq")?),
            flags: input.u8("RACK flags")? & (DSACK_ROUND | REORDERING | PROBE),
            reo_wnd_mult: input.u8("RACK.reo_wnd_mult")?.clamp(1, MAX_REO_WND_MULT),
            reo_wnd_persist: input.u8("RACK.reo_wnd_persist")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::scoreboard::Controls;

    const MS: u64 = 1000;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * MS)
    }

    /// Five segments of 100 bytes, 1 ms apart, over a path of 20 ms.
    fn flight() -> (SentSlab, SentQueue, Rtt, Rack) {
        let (mut slab, mut queue) = (SentSlab::new(16), SentQueue::default());
        for i in 0..5 {
            let seq = SeqNumber(i * 100);
            queue.push(&mut slab, at(u64::from(i)), seq, 100, Controls::default());
        }
        let mut rtt = Rtt::default();
        rtt.sample(at(0), 20 * MS);
        (slab, queue, rtt, Rack::new(SeqNumber(0)))
    }

    fn sack(rack: &mut Rack, queue: &mut SentQueue, slab: &mut SentSlab, now: Instant, seq: u32) {
        let echo = Echo { now, tsecr: None, ts_offset: 0, min_rtt_us: 20_000 };
        let block = (SeqNumber(seq), SeqNumber(seq + 100));
        queue.sack(slab, block, |sent| rack.delivered(sent, &echo));
    }

    fn lost(queue: &SentQueue, slab: &SentSlab) -> usize {
        queue.iter(slab).filter(|sent| sent.is_lost()).count()
    }

    #[test]
    fn waits_a_quarter_of_the_round_trip_for_reordered_segments() {
        let (mut slab, mut queue, rtt, mut rack) = flight();
        sack(&mut rack, &mut queue, &mut slab, at(21), 100);
        let found = rack.detect_loss(&mut queue, &mut slab, at(21), &rtt, false);
        assert_eq!(found, Found { newest_lost: None, again: Some(at(25)), probe_lost: false });
        let found = rack.detect_loss(&mut queue, &mut slab, at(25), &rtt, false);
        assert_eq!(found, Found { newest_lost: Some(at(0)), again: None, probe_lost: false });
    }

    #[test]
    fn three_sacked_segments_mean_loss_at_once() {
        let (mut slab, mut queue, rtt, mut rack) = flight();
        for seq in [100, 200, 300] {
            sack(&mut rack, &mut queue, &mut slab, at(23), seq);
        }
        let found = rack.detect_loss(&mut queue, &mut slab, at(23), &rtt, false);
        assert_eq!((lost(&queue, &slab), found.again), (1, None));
    }

    #[test]
    fn delivery_of_an_original_behind_others_is_seen_as_reordering() {
        let (mut slab, mut queue, rtt, mut rack) = flight();
        sack(&mut rack, &mut queue, &mut slab, at(22), 200);
        sack(&mut rack, &mut queue, &mut slab, at(22), 100);
        sack(&mut rack, &mut queue, &mut slab, at(23), 300);
        // With reordering seen, three sacked segments alone are not enough.
        let found = rack.detect_loss(&mut queue, &mut slab, at(23), &rtt, false);
        assert_eq!((lost(&queue, &slab), found.again), (0, Some(at(25))));
    }

    #[test]
    fn echo_of_the_original_does_not_count_for_a_retransmission() {
        let (mut slab, mut queue, rtt, mut rack) = flight();
        queue.mark_lost(&mut slab, |sent| Some(sent.seq.0 == 0));
        let (index, _) = queue.next_lost(&slab).expect("the first is lost");
        queue.resent(&mut slab, index, at(30));
        let echo = Echo { now: at(31), tsecr: Some(0), ts_offset: 0, min_rtt_us: 20_000 };
        queue.acknowledge(&mut slab, SeqNumber(100), |sent| rack.delivered(sent, &echo));
        rack.detect_loss(&mut queue, &mut slab, at(60), &rtt, false);
        assert_eq!(lost(&queue, &slab), 0, "its time says nothing about the others");
    }
}
