//! Round-trip estimate and retransmission timeout, after RFC 6298 with bounds that fit a link.

/// Smoothed round-trip time of one direction, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rtt {
    smoothed_us: Option<u64>,
    variation_us: u64,
    min_timeout_us: u64,
    max_timeout_us: u64,
}

impl Rtt {
    pub(super) fn new(min_timeout_us: u64, max_timeout_us: u64) -> Rtt {
        Rtt { smoothed_us: None, variation_us: 0, min_timeout_us, max_timeout_us }
    }

    /// RFC 6298 2.2 and 2.3. Samples of frames sent twice must not come here (Karn's rule).
    pub(super) fn sample(&mut self, rtt_us: u64) {
        match self.smoothed_us {
            None => {
                self.smoothed_us = Some(rtt_us);
                self.variation_us = rtt_us / 2;
            }
            Some(smoothed_us) => {
                let deviation_us = smoothed_us.abs_diff(rtt_us);
                self.variation_us = (3 * self.variation_us + deviation_us) / 4;
                self.smoothed_us = Some((7 * smoothed_us + rtt_us) / 8);
            }
        }
    }

    pub(super) fn smoothed_us(&self) -> Option<u64> {
        self.smoothed_us
    }

    /// The timeout after `backoff` expiries in a row. Before the first sample it is twice the
    /// floor.
    pub(super) fn timeout_us(&self, backoff: u32) -> u64 {
        let base_us = match self.smoothed_us {
            None => 2 * self.min_timeout_us,
            Some(smoothed_us) => smoothed_us + 4 * self.variation_us,
        };
        let base_us = base_us.clamp(self.min_timeout_us, self.max_timeout_us);
        (base_us << backoff.min(16)).min(self.max_timeout_us)
    }

    /// How old a frame must be before a gap report means that it is lost, and not that it was
    /// overtaken or that the report left before it came (a quarter of a round trip, RFC 9002
    /// 6.1.2, on top of one).
    pub(super) fn loss_delay_us(&self) -> u64 {
        const FLOOR_US: u64 = 50;
        let delay_us = self.smoothed_us.map_or(FLOOR_US, |smoothed_us| smoothed_us * 5 / 4);
        delay_us.clamp(FLOOR_US, self.max_timeout_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_follows_samples_within_its_bounds() {
        let mut rtt = Rtt::new(1_000, 16_000);
        assert_eq!(rtt.timeout_us(0), 2_000);
        rtt.sample(100);
        assert_eq!(rtt.timeout_us(0), 1_000);
        assert_eq!(rtt.timeout_us(3), 8_000);
        assert_eq!(rtt.timeout_us(u32::MAX), 16_000);
        for _ in 0..50 {
            rtt.sample(4_000);
        }
        assert!((4_000..8_000).contains(&rtt.timeout_us(0)));
        assert!((4_500..5_100).contains(&rtt.loss_delay_us()));
    }
}
