//! Challenge ACKs (RFC 5961): how many may leave, and how many segments called for no more.

use crate::config::Config;
use crate::tcp::tcb::Tcb;
use crate::tcp::{Context, isn};
use crate::time::Instant;

/// A limit below this is what it says. A larger one is another in each second: who could count the
/// challenges of his own connection would learn by what is missing whether a guess at another one
/// was answered.
const EXACT_BELOW: u32 = 64;

/// Limit of challenge ACKs in each second of shard time (RFC 5961 7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChallengeLimit {
    pub second: u64,
    /// Challenges that may be sent in it; means nothing before there was a suspect.
    pub allowed: u32,
    pub sent: u32,
    /// Segments of connections in this second that could get no more than a challenge.
    pub suspects: u32,
}

impl ChallengeLimit {
    /// Notes a segment that gets no more than a challenge.
    pub(crate) fn suspect(&mut self, now: Instant, config: &Config) {
        let second = second_of(now);
        if second != self.second || self.suspects == 0 {
            *self =
                ChallengeLimit { second, allowed: allowed(config, second), sent: 0, suspects: 0 };
        }
        self.suspects = self.suspects.saturating_add(1);
    }

    fn take(&mut self, now: Instant, config: &Config) -> bool {
        self.suspect(now, config);
        let allowed = self.sent < self.allowed;
        self.sent += u32::from(allowed);
        allowed
    }

    /// Whether so many suspects have come in this second that each new one is better looked at
    /// before anything is spent on it.
    #[inline]
    pub(crate) fn is_beset(&self, now: Instant, config: &Config) -> bool {
        self.suspects >= config.tcp.challenge_acks_per_second && self.second == second_of(now)
    }

    /// Whether there is no challenge left in this second.
    pub(crate) fn is_used_up(&self, now: Instant) -> bool {
        self.suspects > 0 && self.sent >= self.allowed && self.second == second_of(now)
    }
}

fn second_of(now: Instant) -> u64 {
    now.as_micros() / 1_000_000
}

fn allowed(config: &Config, second: u64) -> u32 {
    let per_second = config.tcp.challenge_acks_per_second;
    if per_second < EXACT_BELOW {
        return per_second;
    }
    let lot = isn::lot(&config.isn_key, second) % u64::from(per_second);
    per_second / 2 + lot as u32
}

/// Answers a suspicious segment with an ACK that a genuine peer can react to (RFC 5961 3.2).
pub(crate) fn challenge(tcb: &mut Tcb, cx: &mut Context<'_>) {
    if cx.shared.challenges.take(cx.now, cx.config) {
        cx.shared.counters.challenge_acks += 1;
        tcb.ack_now();
    } else {
        cx.shared.counters.challenge_acks_limited += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_second(second: u64, config: &Config) -> u32 {
        let now = Instant::from_micros(second * 1_000_000);
        let mut limit = ChallengeLimit::default();
        let sent = (0..10_000).filter(|_| limit.take(now, config)).count();
        assert!(limit.is_used_up(now) && limit.is_beset(now, config));
        sent as u32
    }

    #[test]
    fn limit_is_another_in_each_second_and_for_each_key() {
        let mut config = Config { isn_key: [1; 16], ..Config::default() };
        config.tcp.challenge_acks_per_second = 1000;
        let sent: Vec<u32> = (0..50).map(|second| in_second(second, &config)).collect();
        assert!(sent.iter().all(|sent| (500..1500).contains(sent)), "{sent:?}");
        let mut kinds = sent.clone();
        kinds.sort_unstable();
        kinds.dedup();
        assert!(kinds.len() > 40, "{sent:?}");
        config.isn_key = [2; 16];
        let other: Vec<u32> = (0..50).map(|second| in_second(second, &config)).collect();
        assert_ne!(sent, other);
        config.tcp.challenge_acks_per_second = 5;
        assert!((0..50).all(|second| in_second(second, &config) == 5));
    }
}
