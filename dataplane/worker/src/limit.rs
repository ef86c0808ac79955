//! A bound on what strangers can make a node send.

const WINDOW_US: u64 = 100_000;

/// So many in each tenth of a second, no more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimit {
    per_window: u32,
    left: u32,
    window_us: u64,
}

impl RateLimit {
    pub fn per_second(limit: u32) -> RateLimit {
        let per_window = (limit / 10).max(1);
        RateLimit { per_window, left: per_window, window_us: 0 }
    }

    /// Whether one more may go at `now_us`.
    pub fn allows(&mut self, now_us: u64) -> bool {
        if now_us.saturating_sub(self.window_us) >= WINDOW_US {
            self.window_us = now_us;
            self.left = self.per_window;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_its_share_in_each_window() {
        let mut limit = RateLimit::per_second(30);
        let mut allowed = |now_us| (0..10).filter(|_| limit.allows(now_us)).count();
        assert_eq!(allowed(0), 3);
        assert_eq!(allowed(WINDOW_US - 1), 0);
        assert_eq!(allowed(WINDOW_US), 3);
    }
}
