//! When to tell the LAN where the service address lives: at the claim, again soon after in case
//! a frame was lost, then for as long as this node serves.

/// Time of each announcement after the claim, in microseconds.
const SCHEDULE_US: [u64; 4] = [0, 50_000, 200_000, 1_000_000];
/// After those: a former primary that woke up may have sent a last frame, and the switch then
/// sends the clients' frames to it until it hears from us.
const REPEAT_US: u64 = 1_000_000;

/// The schedule of one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcer {
    next_us: u64,
    claimed_us: u64,
    sent: usize,
}

impl Announcer {
    /// Starts with a claim at `now_us`; the first announcement is due at once.
    #[must_use]
    pub fn claimed_at(now_us: u64) -> Announcer {
        Announcer { next_us: now_us, claimed_us: now_us, sent: 0 }
    }

    /// Whether an announcement is due. Says so once for each.
    pub fn due(&mut self, now_us: u64) -> bool {
        if now_us < self.next_us {
            return false;
        }
        self.sent += 1;
        self.next_us = match SCHEDULE_US.get(self.sent) {
            Some(after_us) => self.claimed_us + after_us,
            None => now_us + REPEAT_US,
        };
        true
    }

    /// When the next announcement is due.
    #[must_use]
    pub fn next_deadline_us(&self) -> u64 {
        self.next_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announces_at_once_then_follows_the_schedule() {
        let mut announcer = Announcer::claimed_at(7);
        let times: Vec<u64> = (0..6)
            .map(|_| {
                let at = announcer.next_deadline_us();
                assert!(announcer.due(at) && !announcer.due(at));
                at - 7
            })
            .collect();
        assert_eq!(times, [0, 50_000, 200_000, 1_000_000, 2_000_000, 3_000_000]);
    }
}
