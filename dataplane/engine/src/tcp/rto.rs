//! Round-trip time and retransmission timeout (RFC 6298), and the smallest round trip of late for
//! RACK (RFC 8985 6.2 step 1).

use crate::config::TcpConfig;
use crate::snapshot::{Reader, Snapshot, SnapshotError, Writer};
use crate::time::Instant;

/// How long a minimum counts before a larger sample may replace it, in
/// [about a second](Instant::about_seconds).
const MIN_RTT_WINDOW: u16 = 286;
/// Doublings after which the timeout is at its ceiling in any case.
const MAX_BACKOFF: u8 = 16;

/// The estimator of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rtt {
    /// Smoothed round-trip time in 1/8 µs; 0 before the first sample.
    srtt8: u32,
    /// Its mean deviation in 1/4 µs.
    rttvar4: u32,
    /// Smallest sample of the last five minutes, in µs; 0 before the first.
    min_us: u32,
    /// When that was, in [about a second](Instant::about_seconds); its low half.
    min_at: u16,
    /// Timeouts in a row without a new acknowledgment.
    backoff: u8,
}

impl Rtt {
    /// Takes a sample (RFC 6298 2.2, 2.3). The caller keeps Karn's rule (RFC 6298 3).
    pub fn sample(&mut self, now: Instant, rtt_us: u64) {
        let rtt = u32::try_from(rtt_us).unwrap_or(u32::MAX).clamp(1, 1 << 27);
        if self.srtt8 == 0 {
            self.srtt8 = rtt << 3;
            self.rttvar4 = rtt << 1;
        } else {
            let deviation = (self.srtt8 >> 3).abs_diff(rtt);
            // RTTVAR = 3/4 RTTVAR + 1/4 |SRTT - R|, then SRTT = 7/8 SRTT + 1/8 R.
            self.rttvar4 = self.rttvar4 - (self.rttvar4 >> 2) + deviation;
            self.srtt8 = (self.srtt8 - (self.srtt8 >> 3) + rtt).max(8);
        }
        let now = now.about_seconds() as u16;
        let old = now.wrapping_sub(self.min_at) > MIN_RTT_WINDOW;
        if self.min_us == 0 || rtt <= self.min_us || old {
            self.min_us = rtt;
            self.min_at = now;
        }
    }

    /// Smoothed round-trip time in µs; 0 before the first sample.
    #[inline]
    #[must_use]
    pub fn srtt_us(&self) -> u32 {
        self.srtt8 >> 3
    }

    /// Mean deviation of the round-trip time in µs.
    #[must_use]
    pub fn rttvar_us(&self) -> u32 {
        self.rttvar4 >> 2
    }

    /// Smallest round-trip time of late in µs; 0 before the first sample.
    #[inline]
    #[must_use]
    pub fn min_us(&self) -> u32 {
        self.min_us
    }

    /// Timeouts in a row.
    #[must_use]
    pub fn backoff(&self) -> u8 {
        self.backoff
    }

    /// The timeout with its backoff, in µs (RFC 6298 2.1 to 2.5, 5.5).
    #[inline]
    #[must_use]
    pub fn rto_us(&self, config: &TcpConfig) -> u64 {
        self.rto_after_us(self.backoff, config)
    }

    /// Sum of the timeouts since the last new acknowledgment, the running one included, in µs.
    #[must_use]
    pub fn timeouts_us(&self, config: &TcpConfig) -> u64 {
        (0..=self.backoff).map(|backoff| self.rto_after_us(backoff, config)).sum()
    }

    #[inline]
    fn rto_after_us(&self, backoff: u8, config: &TcpConfig) -> u64 {
        let base = if self.srtt8 == 0 {
            config.initial_rto_us
        } else {
            // K * RTTVAR, K = 4. With a sample for every ACK the deviation of a steady path fades
            // to nothing (RFC 7323 G), so the floor is one of the margin: on a path as long as the
            // floor any delayed ACK would be a timeout.
            u64::from(self.srtt8 >> 3) + u64::from(self.rttvar4).max(config.min_rto_us)
        };
        (base << backoff.min(MAX_BACKOFF)).min(config.max_rto_us)
    }

    /// The timer fired (RFC 6298 5.5).
    pub fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    /// New data was acknowledged, or a takeover begins a new life (RFC 6298 5.7).
    #[inline]
    pub fn reset_backoff(&mut self) {
        self.backoff = 0;
    }
}

impl Snapshot for Rtt {
    fn save(&self, out: &mut Writer<'_>) {
        out.u32(self.srtt8);
        out.u32(self.rttvar4);
        out.u32(self.min_us);
        out.u8(self.backoff);
        out.u16(self.min_at);
    }

    fn restore(input: &mut Reader<'_>) -> Result<Rtt, SnapshotError> {
        Ok(Rtt {
            srtt8: input.u32("srtt")?.min(1 << 30),
            rttvar4: input.u32("rttvar")?.min(1 << 30),
            min_us: input.u32("smallest rtt")?,
            backoff: input.u8("backoff")?,
            min_at: input.u16("time of the smallest rtt")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_sample_sets_mean_and_half_deviation() {
        let mut rtt = Rtt::default();
        rtt.sample(Instant::ZERO, 100_000);
        assert_eq!((rtt.srtt_us(), rtt.rttvar_us()), (100_000, 50_000));
        assert_eq!(rtt.rto_us(&TcpConfig::default()), 300_000);
    }

    #[test]
    fn steady_samples_fall_to_the_floor_above_the_round_trip() {
        let mut rtt = Rtt::default();
        for _ in 0..200 {
            rtt.sample(Instant::ZERO, 1000);
        }
        assert_eq!(rtt.srtt_us(), 1000);
        assert_eq!(rtt.rto_us(&TcpConfig::default()), 201_000);
    }

    #[test]
    fn backoff_doubles_up_to_the_ceiling() {
        let mut rtt = Rtt::default();
        let config = TcpConfig::default();
        assert_eq!(rtt.rto_us(&config), 1_000_000);
        rtt.back_off();
        assert_eq!(rtt.rto_us(&config), 2_000_000);
        for _ in 0..100 {
            rtt.back_off();
        }
        assert_eq!(rtt.rto_us(&config), 60_000_000);
        rtt.reset_backoff();
        assert_eq!(rtt.rto_us(&config), 1_000_000);
    }

    #[test]
    fn timeouts_add_up_from_the_first_one_on() {
        let (mut rtt, config) = (Rtt::default(), TcpConfig::default());
        assert_eq!(rtt.timeouts_us(&config), 1_000_000);
        rtt.back_off();
        rtt.back_off();
        assert_eq!(rtt.timeouts_us(&config), 7_000_000);
    }
}
