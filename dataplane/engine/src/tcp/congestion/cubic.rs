//! CUBIC (RFC 9438) in integers: times in 1/1024 s, windows in bytes.

use crate::snapshot::{Reader, Snapshot, SnapshotError, Writer};
use crate::time::Instant;

/// beta_cubic = 0.7 as a fraction of 1024 (RFC 9438 4.6).
const BETA: u64 = 717;
/// C = 0.4 as a fraction of 1024 (RFC 9438 4.1).
const C: i64 = 410;
/// alpha_cubic = 3 (1 - beta_cubic) / (1 + beta_cubic) = 9/17 (RFC 9438 4.3). It stays at that where
/// the RFC would have 1 once W_est is back at cwnd_prior: Linux does, and whoever grows faster than
/// the others at a bottleneck takes from them.
const ALPHA: (u64, u64) = (9, 17);
/// Furthest look along the curve, in 1/1024 s: keeps the cube within 64 bits.
const MAX_TIME: i64 = 1 << 16;

/// What CUBIC remembers of the last congestion event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cubic {
    /// Window just before the last reduction, lowered by fast convergence: W_max. 0: none yet.
    w_max: u32,
    /// Window before the last reduction: cwnd_prior.
    prior: u32,
    /// What Reno would have by now: W_est.
    estimate: u32,
    /// Bytes acknowledged that W_est has not used.
    acked: u32,
    /// Fraction of a byte that the window has earned, times the window.
    credit: u32,
    /// Start of the current avoidance phase; `None` until the first ACK of it.
    epoch: Option<Instant>,
    /// Time from the epoch to W_max, in 1/1024 s: K.
    k: u32,
}

impl Cubic {
    /// Growth for `bytes` acknowledged in congestion avoidance (RFC 9438 4.2 to 4.5).
    pub(super) fn growth(
        &mut self,
        now: Instant,
        cwnd: u32,
        bytes: u32,
        mss: u16,
        srtt_us: u32,
    ) -> u32 {
        let epoch = match self.epoch {
            Some(epoch) => epoch,
            None => self.begin(now, cwnd, mss),
        };
        self.grow_estimate(cwnd, bytes, mss);
        // RFC 9438 4.2: the target is the curve one round trip ahead, within [cwnd, 1.5 cwnd].
        let elapsed_us = now.since_us(epoch).saturating_add(u64::from(srtt_us));
        let target = self.curve(elapsed_us, mss).clamp(u64::from(cwnd), u64::from(cwnd) * 3 / 2);
        // RFC 9438 4.3: in the Reno-friendly region the window is W_est.
        let reno = self.estimate.saturating_sub(cwnd);
        let window = u64::from(cwnd.max(1));
        let credit = u64::from(self.credit) + (target - u64::from(cwnd)) * u64::from(bytes);
        let cubic = credit / window;
        self.credit = (credit % window) as u32;
        reno.max(u32::try_from(cubic).unwrap_or(u32::MAX)).min(cwnd / 2 + u32::from(mss))
    }

    /// Threshold after a loss, with fast convergence (RFC 9438 4.6, 4.7).
    pub(super) fn reduced(&mut self, cwnd: u32) -> u32 {
        self.prior = cwnd;
        self.w_max = if cwnd < self.w_max { scaled(cwnd, (1024 + BETA) / 2) } else { cwnd };
        self.restart();
        scaled(cwnd, BETA)
    }

    /// The last reduction was needless; gives the window before it, which is the plateau again.
    pub(super) fn undo(&mut self) -> u32 {
        self.w_max = self.w_max.max(self.prior);
        self.restart();
        self.prior
    }

    /// The next ACK in congestion avoidance starts a new epoch (RFC 9438 4.2, 4.8).
    pub(super) fn restart(&mut self) {
        self.epoch = None;
        self.credit = 0;
    }

    fn begin(&mut self, now: Instant, cwnd: u32, mss: u16) -> Instant {
        self.epoch = Some(now);
        self.estimate = cwnd;
        self.acked = 0;
        self.credit = 0;
        // RFC 9438 4.8, 4.10: without a reduction before, the curve starts at its plateau.
        if self.w_max <= cwnd {
            self.w_max = cwnd;
            self.prior = self.prior.max(cwnd);
        }
        // K = cbrt((W_max - cwnd) / C), in segments and seconds; 2^30 turns s^3 into 1/1024 s.
        let distance = u128::from(self.w_max - cwnd);
        let cube = ((distance * 1024) << 30) / u128::from(C.unsigned_abs() * u64::from(mss.max(1)));
        self.k = cube_root(u64::try_from(cube).unwrap_or(u64::MAX));
        now
    }

    /// W_est + alpha * segments_acked / cwnd (RFC 9438 4.3).
    fn grow_estimate(&mut self, cwnd: u32, bytes: u32, mss: u16) {
        self.acked = self.acked.saturating_add(bytes);
        let (numerator, denominator) = ALPHA;
        let grown = u64::from(self.acked) * u64::from(mss) * numerator
            / (u64::from(cwnd.max(1)) * denominator);
        if grown > 0 {
            self.acked = 0;
            self.estimate = self.estimate.saturating_add(u32::try_from(grown).unwrap_or(u32::MAX));
        }
    }

    /// W_cubic(t) = C (t - K)^3 + W_max (RFC 9438 4.2 (Figure 1)), in bytes.
    fn curve(&self, elapsed_us: u64, mss: u16) -> u64 {
        let elapsed = i64::try_from(elapsed_us / 1000).unwrap_or(i64::MAX).min(1 << 40);
        let t = (elapsed * 1024 / 1000 - i64::from(self.k)).clamp(-MAX_TIME, MAX_TIME);
        // t^3 is in 2^-30 s^3 and C in 1/1024: 2^-40 in all, 2^10 of it taken before the product.
        let delta = ((t * t * t) >> 10) * C / (1 << 15) * i64::from(mss) / (1 << 15);
        u64::try_from(i64::from(self.w_max) + delta).unwrap_or(0)
    }
}

impl Snapshot for Cubic {
    fn save(&self, out: &mut Writer<'_>) {
        for number in [self.w_max, self.prior, self.estimate, self.acked] {
            out.u32(number);
        }
        out.u32(self.credit);
        out.option_u64(self.epoch.map(Instant::as_micros));
        out.u32(self.k);
    }

    fn restore(input: &mut Reader<'_>) -> Result<Cubic, SnapshotError> {
        Ok(Cubic {
            w_max: input.u32("W_max")?,
            prior: input.u32("cwnd_prior")?,
            estimate: input.u32("W_est")?,
            acked: input.u32("acknowledged bytes")?,
            credit: input.u32("window credit")?,
            epoch: input.option_u64("CUBIC epoch")?.map(Instant::from_micros),
            k: input.u32("K")?,
        })
    }
}

fn scaled(window: u32, factor: u64) -> u32 {
    u32::try_from(u64::from(window) * factor / 1024).unwrap_or(u32::MAX)
}

/// Integer cube root, rounded down, bit by bit from the top.
fn cube_root(value: u64) -> u32 {
    let mut root = 0_u64;
    for bit in (0..21).rev() {
        let candidate = root | 1 << bit;
        if candidate * candidate * candidate <= value {
            root = candidate;
        }
    }
    u32::try_from(root).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MSS: u16 = 1000;

    proptest! {
        #[test]
        fn cube_root_is_the_floor(value in 0_u64..(1 << 62)) {
            let root = u64::from(cube_root(value));
            prop_assert!(root.pow(3) <= value);
            prop_assert!((root + 1).pow(3) > value || root == (1 << 21) - 1);
        }
    }

    /// RFC 9438 4.2: after a reduction from W_max the window is back at W_max after K seconds.
    #[test]
    fn window_is_back_at_its_maximum_after_k() {
        let mut cubic = Cubic::default();
        let mut cwnd = cubic.reduced(1_000_000);
        assert_eq!(cwnd, 700_195);
        // K = cbrt(300 / 0.4) = 9.09 s. A round trip of 100 ms, everything acknowledged in it.
        let mut reached_s = None;
        for round in 0..120_u64 {
            let now = Instant::from_micros(round * 100_000);
            for _ in 0..10 {
                cwnd += cubic.growth(now, cwnd, cwnd / 10, MSS, 100_000);
            }
            if cwnd >= 995_000 && reached_s.is_none() {
                reached_s = Some(round / 10);
            }
        }
        assert!(matches!(reached_s, Some(5..=9)), "{reached_s:?}");
        assert!(cwnd < 1_100_000, "{cwnd}");
    }

    /// Also beyond the window before the reduction, which is back after 11 round trips.
    #[test]
    fn short_round_trips_grow_by_alpha_segments_each() {
        let mut cubic = Cubic::default();
        let start = cubic.reduced(20_000);
        let mut cwnd = start;
        for round in 0..40_u64 {
            cwnd += cubic.growth(Instant::from_micros(round * 1000), cwnd, cwnd, MSS, 1000);
        }
        assert!((34_500..35_500).contains(&cwnd), "{cwnd}");
    }

    #[test]
    fn fast_convergence_gives_way_to_newcomers() {
        let mut cubic = Cubic::default();
        cubic.reduced(1_000_000);
        cubic.reduced(800_000);
        assert!((679_000..=681_000).contains(&cubic.w_max), "{}", cubic.w_max);
    }
}
