//! Congestion control: how much may be in flight. Integers only, so that every build and every
//! processor computes the same window. Windows are in bytes, times in microseconds of shard time.
//!
//! What is lost and when a recovery ends is decided elsewhere ([`recovery`](super::recovery));
//! the algorithms here only answer with a window.

mod cubic;
mod hystart;
mod newreno;

use crate::config::CongestionControl;
use crate::seq::SeqNumber;
use crate::snapshot::{Reader, Snapshot, SnapshotError, Writer};
use crate::time::Instant;

pub use cubic::Cubic;
use hystart::HyStart;

/// Largest window. Far above any bandwidth-delay product, far below the sequence space.
const MAX_CWND: u32 = 1 << 29;

/// A connection's window, threshold, and what its algorithm remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Congestion {
    /// Congestion window in bytes.
    pub cwnd: u32,
    /// Slow start threshold in bytes; `u32::MAX` until the first slow start has ended.
    pub ssthresh: u32,
    algorithm: Algorithm,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Algorithm {
    /// The first slow start, which is the same for all.
    Start { then: CongestionControl, hystart: HyStart },
    NewReno {
        /// Bytes acknowledged since the window last grew by a segment (RFC 3465).
        acked: u32,
        /// Window before the last reduction.
        prior: u32,
        /// That was in the first slow start.
        from_start: bool,
    },
    Cubic {
        cubic: Cubic,
        /// The last reduction was in the first slow start.
        from_start: bool,
    },
}

/// What an acknowledgment says to the congestion control.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acked {
    /// When it came.
    pub now: Instant,
    /// Newly delivered bytes.
    pub bytes: u32,
    /// Payload of a full segment.
    pub mss: u16,
    /// Smoothed round-trip time.
    pub srtt_us: u32,
    /// Round-trip time that this acknowledgment has measured, or 0.
    pub sample_us: u32,
    /// SND.UNA after it.
    pub una: SeqNumber,
    /// SND.NXT.
    pub nxt: SeqNumber,
}

impl Congestion {
    /// A window of `initial_segments` (RFC 6928 counts them by the segment size in use).
    #[must_use]
    pub fn new(kind: CongestionControl, initial_segments: u16, mss: u16) -> Congestion {
        Congestion {
            cwnd: u32::from(initial_segments.max(1)) * u32::from(mss),
            ssthresh: u32::MAX,
            algorithm: Algorithm::Start { then: kind, hystart: HyStart::default() },
        }
    }

    /// Whether the window still doubles with each round trip (RFC 5681 3.1).
    #[inline]
    #[must_use]
    pub fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// Bytes were acknowledged outside of a recovery, and the window had been in use.
    #[inline]
    pub fn acknowledged(&mut self, acked: &Acked) {
        let mut bytes = acked.bytes;
        if self.in_slow_start() {
            let mut grown = bytes.min(self.ssthresh - self.cwnd);
            bytes -= grown;
            if let Algorithm::Start { hystart, .. } = &mut self.algorithm {
                grown = hystart.growth(acked);
            }
            self.cwnd = self.cwnd.saturating_add(grown).min(MAX_CWND);
            self.end_of_start();
            if bytes == 0 {
                return;
            }
        }
        let grown = match &mut self.algorithm {
            Algorithm::Start { .. } => 0,
            Algorithm::NewReno { acked: sum, .. } => {
                newreno::growth(sum, self.cwnd, bytes, acked.mss)
            }
            Algorithm::Cubic { cubic, .. } => {
                cubic.growth(acked.now, self.cwnd, bytes, acked.mss, acked.srtt_us)
            }
        };
        self.cwnd = self.cwnd.saturating_add(grown).min(MAX_CWND);
    }

    /// RFC 9406 4.2: congestion avoidance begins where slow start has found the queue to grow.
    #[inline]
    fn end_of_start(&mut self) {
        if let Algorithm::Start { hystart, .. } = &self.algorithm
            && hystart.is_done()
        {
            self.ssthresh = self.cwnd;
            self.leave_start();
        }
    }

    /// From the first slow start to what follows it.
    fn leave_start(&mut self) {
        if let Algorithm::Start { then, .. } = self.algorithm {
            self.algorithm = match then {
                CongestionControl::NewReno => {
                    Algorithm::NewReno { acked: 0, prior: 0, from_start: false }
                }
                CongestionControl::Cubic => {
                    Algorithm::Cubic { cubic: Cubic::default(), from_start: false }
                }
            };
        }
    }

    /// Congestion was seen (fast recovery starts, or a mark was echoed): sets the threshold.
    /// `flight` is what was out. The window follows it along the recovery.
    pub fn lost(&mut self, flight: u32, mss: u16) {
        let floor = 2 * u32::from(mss);
        let initial = self.ssthresh == u32::MAX;
        self.leave_start();
        let target = match &mut self.algorithm {
            Algorithm::NewReno { acked, prior, from_start } => {
                (*acked, *prior, *from_start) = (0, self.cwnd, initial);
                newreno::reduced(flight)
            }
            Algorithm::Cubic { cubic, from_start } => {
                *from_start = initial;
                cubic.reduced(self.cwnd)
            }
            Algorithm::Start { .. } => flight / 2,
        };
        self.ssthresh = target.max(floor);
    }

    /// The retransmission timer fired: threshold as for a loss, window of one segment
    /// (RFC 5681 3.1). Only the first timeout in a row lowers the threshold.
    pub fn timed_out(&mut self, flight: u32, mss: u16, first: bool) {
        if first {
            self.lost(flight, mss);
        }
        self.restart();
        self.cwnd = u32::from(mss);
    }

    /// A fast recovery is over.
    pub fn recovered(&mut self, mss: u16) {
        self.cwnd = self.ssthresh.max(2 * u32::from(mss));
        self.restart();
    }

    /// The last reduction was needless: the window is what it was before (RFC 9438 4.9).
    pub fn undo(&mut self) {
        let (prior, from_start) = match &mut self.algorithm {
            Algorithm::Start { .. } => return,
            Algorithm::NewReno { prior, from_start, .. } => (*prior, *from_start),
            Algorithm::Cubic { cubic, from_start } => (cubic.undo(), *from_start),
        };
        self.cwnd = self.cwnd.max(prior);
        // The threshold itself is not kept: but for the first slow start, it lay below the window.
        self.ssthresh = if from_start { u32::MAX } else { self.ssthresh.max(prior) };
    }

    /// Nothing was sent for a while: the window of the start is enough again (RFC 5681 4.1), and
    /// CUBIC's clock stands still meanwhile (RFC 9438 5.8).
    pub fn idle(&mut self, initial_segments: u16, mss: u16) {
        self.cwnd = self.cwnd.min(u32::from(initial_segments.max(1)) * u32::from(mss));
        self.restart();
    }

    fn restart(&mut self) {
        if let Algorithm::Cubic { cubic, .. } = &mut self.algorithm {
            cubic.restart();
        }
    }
}

impl Snapshot for Congestion {
    fn save(&self, out: &mut Writer<'_>) {
        out.u32(self.cwnd);
        out.u32(self.ssthresh);
        match &self.algorithm {
            Algorithm::NewReno { acked, prior, from_start } => {
                out.u8(0);
                out.u32(*acked);
                out.u32(*prior);
                out.bool(*from_start);
            }
            Algorithm::Cubic { cubic, from_start } => {
                out.u8(1);
                cubic.save(out);
                out.bool(*from_start);
            }
            Algorithm::Start { then, hystart } => {
                out.u8(2);
                out.bool(*then == CongestionControl::Cubic);
                hystart.save(out);
            }
        }
    }

    fn restore(input: &mut Reader<'_>) -> Result<Congestion, SnapshotError> {
        let cwnd = input.u32("congestion window")?;
        let ssthresh = input.u32("slow start threshold")?;
        let algorithm = match input.u8("congestion control")? {
            0 => Algorithm::NewReno {
                acked: input.u32("acknowledged bytes")?,
                prior: input.u32("window before a reduction")?,
                from_start: input.bool("reduction in slow start")?,
            },
            1 => Algorithm::Cubic {
                cubic: Cubic::restore(input)?,
                from_start: input.bool("reduction in slow start")?,
            },
            2 => {
                let cubic = input.bool("congestion control after slow start")?;
                let then =
                    if cubic { CongestionControl::Cubic } else { CongestionControl::NewReno };
                Algorithm::Start { then, hystart: HyStart::restore(input)? }
            }
            other => return Err(input.invalid("congestion control", other.into())),
        };
        Ok(Congestion { cwnd, ssthresh, algorithm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u16 = 1000;

    fn acked(bytes: u32) -> Acked {
        Acked { bytes, mss: MSS, srtt_us: 10_000, ..Acked::default() }
    }

    #[test]
    fn slow_start_doubles_in_a_round_trip() {
        let mut reno = Congestion::new(CongestionControl::NewReno, 10, MSS);
        for _ in 0..10 {
            reno.acknowledged(&acked(1000));
        }
        assert_eq!(reno.cwnd, 20_000);
    }

    #[test]
    fn newreno_avoidance_adds_one_segment_in_a_round_trip() {
        let mut reno = Congestion::new(CongestionControl::NewReno, 10, MSS);
        reno.ssthresh = 10_000;
        reno.leave_start();
        for _ in 0..10 {
            reno.acknowledged(&acked(1000));
        }
        assert_eq!(reno.cwnd, 11_000);
    }

    #[test]
    fn timeout_leaves_one_segment_and_halves_the_threshold_once() {
        let mut reno = Congestion::new(CongestionControl::NewReno, 10, MSS);
        reno.timed_out(10_000, MSS, true);
        reno.timed_out(1_000, MSS, false);
        assert_eq!((reno.cwnd, reno.ssthresh), (1000, 5000));
    }

    #[test]
    fn needless_reduction_is_undone_whatever_the_algorithm() {
        for kind in [CongestionControl::NewReno, CongestionControl::Cubic] {
            let mut congestion = Congestion::new(kind, 10, MSS);
            congestion.timed_out(10_000, MSS, true);
            congestion.undo();
            assert_eq!((congestion.cwnd, congestion.ssthresh), (10_000, u32::MAX), "{kind:?}");
            congestion.lost(10_000, MSS);
            congestion.recovered(MSS);
            let reduced = congestion.cwnd;
            congestion.lost(reduced, MSS);
            congestion.recovered(MSS);
            congestion.undo();
            assert_eq!((congestion.cwnd, congestion.ssthresh), (reduced, reduced), "{kind:?}");
        }
    }
}
