//! Congestion control: how much may be in flight. Integers only, so that every build and every
//! processor computes the same window. Windows are in bytes, times in microseconds of shard time.
//!
//! What is lost and when a recovery ends is decided elsewhere ([`recovery`](super::recovery));
//! the algorithms here only answer with a window.

mod cubic;
mod newreno;

use crate::config::CongestionControl;
use crate::snapshot::{Reader, Snapshot, SnapshotError, Writer};
use crate::time::Instant;

pub use cubic::Cubic;

/// Largest window. Far above any bandwidth-delay product, far below the sequence space.
const MAX_CWND: u32 = 1 << 29;

/// A connection's window, threshold, and what its algorithm remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Congestion {
    /// Congestion window in bytes.
    pub cwnd: u32,
    /// Slow start threshold in bytes; `u32::MAX` before the first loss.
    pub ssthresh: u32,
    algorithm: Algorithm,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Algorithm {
    NewReno {
        /// Bytes acknowledged since the window last grew by a segment (RFC 3465).
        acked: u32,
    },
    Cubic(Cubic),
}

impl Congestion {
    /// A window of `initial_segments` (RFC 6928 counts them by the segment size in use).
    #[must_use]
    pub fn new(kind: CongestionControl, initial_segments: u16, mss: u16) -> Congestion {
        Congestion {
            cwnd: u32::from(initial_segments.max(1)) * u32::from(mss),
            ssthresh: u32::MAX,
            algorithm: match kind {
                CongestionControl::NewReno => Algorithm::NewReno { acked: 0 },
                CongestionControl::Cubic => Algorithm::Cubic(Cubic::default()),
            },
        }
    }

    /// Whether the window still doubles with each round trip (RFC 5681 3.1).
    #[inline]
    #[must_use]
    pub fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// `bytes` were acknowledged outside of a recovery, and the window had been in use.
    #[inline]
    pub fn acknowledged(&mut self, now: Instant, bytes: u32, mss: u16, srtt_us: u32) {
        let mut bytes = bytes;
        if self.in_slow_start() {
            let grown = bytes.min(self.ssthresh - self.cwnd);
            self.cwnd = self.cwnd.saturating_add(grown).min(MAX_CWND);
            bytes -= grown;
            if bytes == 0 {
                return;
            }
        }
        let grown = match &mut self.algorithm {
            Algorithm::NewReno { acked } => newreno::growth(acked, self.cwnd, bytes, mss),
            Algorithm::Cubic(cubic) => {
                cubic.growth(now, self.cwnd, self.ssthresh, bytes, mss, srtt_us)
            }
        };
        self.cwnd = self.cwnd.saturating_add(grown).min(MAX_CWND);
    }

    /// A loss was seen (fast recovery starts): sets the threshold. `flight` is what was out.
    /// The window follows it along the recovery.
    pub fn lost(&mut self, flight: u32, mss: u16) {
        let floor = 2 * u32::from(mss);
        let target = match &mut self.algorithm {
            Algorithm::NewReno { acked } => {
                *acked = 0;
                newreno::reduced(flight)
            }
            Algorithm::Cubic(cubic) => cubic.reduced(self.cwnd, mss),
        };
        self.ssthresh = target.max(floor);
    }

    /// The retransmission timer fired: threshold as for a loss, window of one segment
    /// (RFC 5681 3.1). Only the first timeout in a row lowers the threshold.
    pub fn timed_out(&mut self, flight: u32, mss: u16, first: bool) {
        if first {
            self.lost(flight, mss);
        }
        if let Algorithm::Cubic(cubic) = &mut self.algorithm {
            cubic.restart();
        }
        self.cwnd = u32::from(mss);
    }

    /// A fast recovery is over.
    pub fn recovered(&mut self, mss: u16) {
        self.cwnd = self.ssthresh.max(2 * u32::from(mss));
        if let Algorithm::Cubic(cubic) = &mut self.algorithm {
            cubic.restart();
        }
    }

    /// Nothing was sent for a while: the window of the start is enough again (RFC 5681 4.1), and
    /// CUBIC's clock stands still meanwhile (RFC 9438 5.8).
    pub fn idle(&mut self, initial_segments: u16, mss: u16) {
        self.cwnd = self.cwnd.min(u32::from(initial_segments.max(1)) * u32::from(mss));
        if let Algorithm::Cubic(cubic) = &mut self.algorithm {
            cubic.restart();
        }
    }
}

impl Snapshot for Congestion {
    fn save(&self, out: &mut Writer<'_>) {
        out.u32(self.cwnd);
        out.u32(self.ssthresh);
        match &self.algorithm {
            Algorithm::NewReno { acked } => {
                out.u8(0);
                out.u32(*acked);
            }
            Algorithm::Cubic(cubic) => {
                out.u8(1);
                cubic.save(out);
            }
        }
    }

    fn restore(input: &mut Reader<'_>) -> Result<Congestion, SnapshotError> {
        let cwnd = input.u32("congestion window")?;
        let ssthresh = input.u32("slow start threshold")?;
        let algorithm = match input.u8("congestion control")? {
            0 => Algorithm::NewReno { acked: input.u32("acknowledged bytes")? },
            1 => Algorithm::Cubic(Cubic::restore(input)?),
            other => return Err(input.invalid("congestion control", other.into())),
        };
        Ok(Congestion { cwnd, ssthresh, algorithm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u16 = 1000;

    #[test]
    fn slow_start_doubles_in_a_round_trip() {
        let mut reno = Congestion::new(CongestionControl::NewReno, 10, MSS);
        for _ in 0..10 {
            reno.acknowledged(Instant::ZERO, 1000, MSS, 10_000);
        }
        assert_eq!(reno.cwnd, 20_000);
    }

    #[test]
    fn newreno_avoidance_adds_one_segment_in_a_round_trip() {
        let mut reno = Congestion::new(CongestionControl::NewReno, 10, MSS);
        reno.ssthresh = 10_000;
        for _ in 0..10 {
            reno.acknowledged(Instant::ZERO, 1000, MSS, 10_000);
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
}
