//! A node's clock, which is never quite right.

#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// It was right then.
    set_us: u64,
    ahead_us: u64,
    drift_ppm: i64,
}

impl Clock {
    pub fn new(now_us: u64, drift_ppm: i64) -> Clock {
        Clock { set_us: now_us, ahead_us: 0, drift_ppm }
    }

    pub fn read(&self, now_us: u64) -> u64 {
        let since_us = now_us - self.set_us;
        let drift_us = since_us as i64 * self.drift_ppm / 1_000_000;
        (now_us + self.ahead_us).saturating_add_signed(drift_us)
    }

    pub fn jump(&mut self, by_us: u64) {
        self.ahead_us += by_us;
    }
}
