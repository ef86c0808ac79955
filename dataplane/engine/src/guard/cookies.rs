//! When SYNs are answered with cookies: from the moment that too many handshakes wait, until the
//! number of those that would wait without cookies has fallen to half of that.

use crate::tcp::cookie;
use crate::time::Instant;

/// Answers are counted for so long at a time.
const WINDOW_US: u64 = 1_000_000;

#[derive(Debug)]
pub(super) struct CookieMode {
    /// Half-open connections from which on cookies are made.
    above: u32,
    made: bool,
    /// Cookies that were made before this may still be answered.
    out_until: Option<Instant>,
    /// The present window of time, and what it saw.
    since: Instant,
    sent: u32,
    answered: u32,
}

impl CookieMode {
    pub fn new(above: u32) -> CookieMode {
        let since = Instant::ZERO;
        CookieMode { above, made: false, out_until: None, since, sent: 0, answered: 0 }
    }

    /// Whether the next SYN is to be answered with a cookie while `half_open` handshakes wait.
    pub fn wanted(&mut self, now: Instant, half_open: u32) -> bool {
        if !self.made && half_open >= self.above {
            self.made = true;
            (self.since, self.sent, self.answered) = (now, 0, 0);
        }
        if self.made && now.since_us(self.since) >= WINDOW_US {
            // Without cookies these would be half-open now.
            let unanswered = self.sent.saturating_sub(self.answered);
            self.made = half_open.saturating_add(unanswered) >= self.above.div_ceil(2);
            (self.since, self.sent, self.answered) = (now, 0, 0);
        }
        self.made
    }

    /// Whether SYNs are being answered with cookies.
    pub fn are_made(&self) -> bool {
        self.made
    }

    /// A cookie was made.
    pub fn made(&mut self, now: Instant) {
        self.sent = self.sent.saturating_add(1);
        self.may_be_out(now);
    }

    /// A cookie was answered.
    pub fn answered(&mut self) {
        self.answered = self.answered.saturating_add(1);
    }

    /// Somebody may have made a cookie up to now.
    pub fn may_be_out(&mut self, now: Instant) {
        self.out_until = Some(now.plus_us(cookie::LIFETIME_US));
    }

    /// Whether a cookie may come back.
    pub fn are_out(&self, now: Instant) -> bool {
        self.out_until.is_some_and(|until| now <= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_end_when_few_would_wait_without_them() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let mut mode = CookieMode::new(10);
        assert!(!mode.wanted(at(0), 9));
        assert!(mode.wanted(at(1), 10));
        // The flood goes on while the old half-open connections come to their end.
        for ms in 2..3000 {
            assert!(mode.wanted(at(ms), 0));
            mode.made(at(ms));
        }
        // It ends; what comes now is answered.
        let mut ended = 0;
        for ms in 3000..6000 {
            if mode.wanted(at(ms), 0) {
                mode.made(at(ms));
                mode.answered();
                ended = ms;
            }
        }
        assert!((4000..5100).contains(&ended), "{ended}");
        assert!(mode.are_out(at(ended + 60_000)) && !mode.are_out(at(ended + 70_000)));
        assert!(!mode.wanted(at(ended + 1), 9));
    }

    #[test]
    fn a_threshold_of_zero_means_always() {
        let mut mode = CookieMode::new(0);
        assert!((0..10).all(|second| mode.wanted(Instant::from_micros(second << 21), 0)));
    }
}
