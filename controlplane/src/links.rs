//! Which of two replication links this node's datagrams to a peer take, as long as both nodes have
//! two.
//!
//! A heartbeat leaves on all paths at once. So a node that heard one knows of every other path
//! whether it is behind, however slow, busy or silent the sender is; [`Lags`] keeps count of that,
//! and each heartbeat tells the sender which of the links were behind for too long. The sender's
//! [`Choice`] follows that word, for its own direction alone: a link that loses in one direction is
//! left by whom it does not carry, and nodes need not agree.

use replication::{Link, MAX_LINKS, Path};

/// How far a link may be behind before it counts as lost, in heartbeat intervals and twice that:
/// three heartbeats in a row may be missing.
const PATIENCE_HALF_HEARTBEATS: u64 = 7;

/// How long a link may be behind another path before it counts as lost, in microseconds: so short
/// that with a heartbeat before it and another to tell of it half the detection timeout is not
/// over, if heartbeats are as frequent as they usually are.
#[must_use]
pub fn patience_us(heartbeat_us: u64, detection_timeout_us: u64) -> u64 {
    let most_us = PATIENCE_HALF_HEARTBEATS * heartbeat_us / 2;
    most_us.min((detection_timeout_us / 2).saturating_sub(heartbeat_us)).max(heartbeat_us)
}

/// Since when each path has not brought what another one did.
#[derive(Debug, Default)]
pub struct Lags {
    newest: [u64; Path::ALL.len()],
    since_us: [Option<u64>; Path::ALL.len()],
}

impl Lags {
    /// Message `seq` came on `path`. A path that brings old messages is slow, not lost: it counts
    /// from the last of them.
    pub fn heard(&mut self, now_us: u64, path: Path, seq: u64) {
        let place = path.place();
        self.newest[place] = self.newest[place].max(seq);
        self.since_us[place] = None;
        let newest = self.newest.iter().max().copied().unwrap_or(0);
        for (its, since_us) in self.newest.iter().zip(&mut self.since_us) {
            if *its < newest {
                since_us.get_or_insert(now_us);
            }
        }
    }

    /// This node stood still until now: what is behind has the time since then to come.
    pub fn restart(&mut self, now_us: u64) {
        self.since_us.iter_mut().flatten().for_each(|since_us| *since_us = now_us);
    }

    /// The links that are behind for longer than `patience_us`.
    #[must_use]
    pub fn behind(&self, now_us: u64, patience_us: u64) -> [bool; MAX_LINKS] {
        Link::ALL.map(|link| {
            let since_us = self.since_us[Path::Link(link).place()];
            since_us.is_some_and(|since_us| now_us.saturating_sub(since_us) > patience_us)
        })
    }
}

/// The link that is taken. It is left when it must be, and not before: a link that comes and goes
/// moves nothing that does not need to move.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Choice {
    active: Link,
}

impl Choice {
    /// The link that is taken now.
    #[must_use]
    pub fn active(self) -> Link {
        self.active
    }

    /// Leaves the link if the peer says that it is `behind` and the other one is not. What `flows`
    /// all the same, as its confirmations prove, stays: heartbeats may wait behind a long queue.
    /// Says whether the link is another one now.
    pub fn follow(&mut self, behind: [bool; MAX_LINKS], flows: bool) -> bool {
        let other = self.active.other();
        let leaves = behind[self.active.place()] && !behind[other.place()] && !flows;
        if leaves {
            self.active = other;
        }
        leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Path = Path::Link(Link::First);
    const SECOND: Path = Path::Link(Link::Second);
    const HEARTBEAT: u64 = 5_000;
    const PATIENCE: u64 = 17_500;

    /// Heartbeat `seq`, sent at its time, on these paths.
    fn beat(lags: &mut Lags, seq: u64, paths: &[Path]) -> u64 {
        let now_us = seq * HEARTBEAT;
        for (late_us, path) in paths.iter().enumerate() {
            lags.heard(now_us + late_us as u64, *path, seq);
        }
        now_us
    }

    #[test]
    fn half_a_detection_timeout_is_enough_to_leave_a_link() {
        for (heartbeat_us, timeout_us, expected_us) in [
            (5_000, 50_000, 17_500),
            (5_000, 500_000, 17_500),
            (5_000, 40_000, 15_000),
            (12_500, 50_000, 12_500),
        ] {
            let patience_us = patience_us(heartbeat_us, timeout_us);
            assert_eq!(patience_us, expected_us);
            assert!(patience_us + 2 * heartbeat_us <= timeout_us);
        }
    }

    #[test]
    fn lost_link_is_behind_the_other_paths() {
        let mut lags = Lags::default();
        let mut now_us = 0;
        for seq in 1..=10 {
            now_us = beat(&mut lags, seq, &[SECOND, FIRST, Path::Lan]);
            assert_eq!(lags.behind(now_us + 2, 0), [false, false], "all is there after 2 µs");
        }
        for seq in 11..=14 {
            assert_eq!(lags.behind(now_us + HEARTBEAT, PATIENCE), [false, false], "seq {seq}");
            now_us = beat(&mut lags, seq, &[SECOND, Path::Lan]);
        }
        assert_eq!(lags.behind(now_us + HEARTBEAT, PATIENCE), [true, false]);
        now_us = beat(&mut lags, 15, &[SECOND, FIRST, Path::Lan]);
        assert_eq!(lags.behind(now_us + 2, PATIENCE), [false, false]);
    }

    #[test]
    fn three_lost_heartbeats_in_a_row_are_none() {
        let mut lags = Lags::default();
        for seq in 1..100 {
            let paths = if seq % 4 == 0 { [FIRST, SECOND] } else { [SECOND, Path::Lan] };
            let now_us = beat(&mut lags, seq, &paths);
            assert_eq!(lags.behind(now_us + HEARTBEAT - 1, PATIENCE), [false, false], "{seq}");
        }
    }

    #[test]
    fn silence_on_all_paths_blames_no_link() {
        let mut lags = Lags::default();
        let now_us = beat(&mut lags, 1, &[FIRST, SECOND, Path::Lan]);
        assert_eq!(lags.behind(now_us + 1_000_000, PATIENCE), [false, false]);
    }

    #[test]
    fn both_lost_links_are_behind_the_lan() {
        let mut lags = Lags::default();
        (1..=9).for_each(|seq| {
            beat(&mut lags, seq, &[Path::Lan]);
        });
        assert_eq!(lags.behind(9 * HEARTBEAT, PATIENCE), [true, true]);
    }

    #[test]
    fn slow_link_is_not_lost() {
        let mut lags = Lags::default();
        for seq in 20..100 {
            lags.heard(seq * HEARTBEAT, SECOND, seq);
            lags.heard(seq * HEARTBEAT, FIRST, seq - 10);
            assert_eq!(lags.behind((seq + 1) * HEARTBEAT, PATIENCE), [false, false]);
        }
    }

    #[test]
    fn own_stall_gives_what_waits_the_time_to_come() {
        let mut lags = Lags::default();
        beat(&mut lags, 1, &[SECOND]);
        lags.restart(1_000_000);
        assert_eq!(lags.behind(1_000_000 + PATIENCE, PATIENCE), [false, false]);
        assert_eq!(lags.behind(1_000_001 + PATIENCE, PATIENCE), [true, false]);
    }

    #[test]
    fn link_is_left_only_for_a_better_one() {
        use Link::{First, Second};
        for (active, behind, flows, expected) in [
            (First, [false, false], false, First),
            (First, [true, false], false, Second),
            (First, [true, false], true, First),
            (First, [false, true], false, First),
            (First, [true, true], false, First),
            (Second, [false, false], false, Second),
            (Second, [true, false], false, Second),
            (Second, [false, true], false, First),
            (Second, [false, true], true, Second),
            (Second, [true, true], false, Second),
        ] {
            let mut choice = Choice { active };
            assert_eq!(choice.follow(behind, flows), active != expected);
            assert_eq!(choice.active(), expected, "{active:?} {behind:?} {flows}");
        }
    }
}
