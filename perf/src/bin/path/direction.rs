//! One direction of a path: a bottleneck with a queue, behind it a delay, before it random loss.
//! Sans-I/O: time comes in, frames come out when they are due.

use std::collections::VecDeque;
use std::time::Duration;

/// What a path does to frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Of the bottleneck, in bit/s, Ethernet header included.
    pub rate_bps: f64,
    /// From the bottleneck's end to the other side.
    pub delay: Duration,
    /// What may wait at the bottleneck; a frame that would exceed it is dropped (drop-tail).
    pub queue_bytes: usize,
    /// Share of the frames that are dropped already when the queue is nearly full, 0 to 1. It grows
    /// from none at half of the queue, as with random early detection, but without its average.
    /// Without it, a full queue hits senders of bursts more often than others.
    pub early_drop: f64,
    /// Share of the frames that are lost before they reach the bottleneck, 0 to 1.
    pub loss: f64,
}

/// What became of the frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub lost: u64,
    /// The bottleneck's queue was full.
    pub dropped: u64,
}

/// Frames on their way.
#[derive(Debug)]
pub struct Direction<F> {
    shape: Shape,
    random: fastrand::Rng,
    /// When the bottleneck has sent all that waits.
    free_at_ns: u64,
    /// With the time when each arrives; in order, since the delay is the same for all.
    on_their_way: VecDeque<(u64, F)>,
    counts: Counts,
}

impl<F> Direction<F> {
    /// An empty one; the same `seed` loses the same frames.
    pub fn new(shape: Shape, seed: u64) -> Direction<F> {
        Direction {
            shape,
            random: fastrand::Rng::with_seed(seed),
            free_at_ns: 0,
            on_their_way: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// A frame of `bytes` enters.
    pub fn enter(&mut self, now_ns: u64, frame: F, bytes: usize) {
        if self.random.f64() < self.shape.loss {
            self.counts.lost += 1;
            return;
        }
        let begins_ns = self.free_at_ns.max(now_ns);
        let waits_ns = (begins_ns - now_ns) as f64;
        let waiting_bytes = waits_ns * self.shape.rate_bps / 8e9;
        let fill = (waiting_bytes + bytes as f64) / self.shape.queue_bytes as f64;
        if waits_ns > 0.0 && (fill > 1.0 || self.drops_early(fill)) {
            self.counts.dropped += 1;
            return;
        }
        self.free_at_ns = begins_ns + (bytes as f64 * 8e9 / self.shape.rate_bps) as u64;
        let arrives_ns = self.free_at_ns + self.shape.delay.as_nanos() as u64;
        self.on_their_way.push_back((arrives_ns, frame));
    }

    fn drops_early(&mut self, fill: f64) -> bool {
        let share = self.shape.early_drop * (2.0 * fill - 1.0);
        share > 0.0 && self.random.f64() < share
    }

    /// The next frame that has arrived.
    pub fn leave(&mut self, now_ns: u64) -> Option<F> {
        let (arrives_ns, _) = self.on_their_way.front()?;
        if *arrives_ns > now_ns {
            return None;
        }
        self.counts.passed += 1;
        self.on_their_way.pop_front().map(|(_, frame)| frame)
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1000 bytes take 1 ms.
    const SHAPE: Shape = Shape {
        rate_bps: 8e6,
        delay: Duration::from_millis(10),
        queue_bytes: 3000,
        early_drop: 0.0,
        loss: 0.0,
    };
    const MS: u64 = 1_000_000;

    #[test]
    fn frames_wait_for_each_other_and_then_for_the_delay() {
        let mut direction = Direction::new(SHAPE, 1);
        direction.enter(0, 'a', 1000);
        direction.enter(0, 'b', 500);
        assert_eq!(direction.leave(11 * MS - 1), None);
        assert_eq!(direction.leave(11 * MS), Some('a'));
        assert_eq!(direction.leave(11 * MS), None);
        assert_eq!(direction.leave(11 * MS + MS / 2), Some('b'));
    }

    #[test]
    fn full_queue_drops_the_newest_and_drains_with_time() {
        let mut direction = Direction::new(SHAPE, 1);
        for frame in 0..5 {
            direction.enter(0, frame, 1000);
        }
        assert_eq!(direction.counts().dropped, 2);
        direction.enter(2 * MS, 5, 1000);
        let left: Vec<_> = std::iter::from_fn(|| direction.leave(u64::MAX)).collect();
        assert_eq!(left, [0, 1, 2, 5]);
    }

    #[test]
    fn early_drop_begins_at_half_of_the_queue_and_hits_its_share() {
        let shape = Shape { queue_bytes: 4000, early_drop: 0.2, ..SHAPE };
        // A frame each time that so many wait: the queue is kept there by what leaves it.
        let dropped = |waiting: u64| {
            let mut direction = Direction::new(shape, 1);
            (0..waiting).for_each(|_| direction.enter(0, (), 1000));
            for frame in 1..=10_000_u64 {
                direction.free_at_ns = frame * MS + waiting * MS;
                direction.enter(frame * MS, (), 1000);
            }
            direction.counts().dropped
        };
        assert_eq!(dropped(1), 0);
        // Three of four thousand bytes: half way from none to a fifth.
        assert!((900..1100).contains(&dropped(2)), "{}", dropped(2));
    }

    #[test]
    fn frame_longer_than_the_queue_passes_an_idle_bottleneck() {
        let mut direction = Direction::new(Shape { queue_bytes: 100, ..SHAPE }, 1);
        direction.enter(0, (), 1000);
        assert_eq!(direction.counts().dropped, 0);
    }

    #[test]
    fn loses_the_share_that_was_asked_for_and_the_same_frames_again() {
        let lost = |seed| {
            let mut direction = Direction::new(Shape { loss: 0.05, ..SHAPE }, seed);
            let mut lost = Vec::new();
            for frame in 0..10_000_u64 {
                let before = direction.counts().lost;
                direction.enter(frame * MS, (), 1000);
                if direction.counts().lost > before {
                    lost.push(frame);
                }
            }
            lost
        };
        assert!((400..600).contains(&lost(7).len()));
        assert_eq!(lost(7), lost(7));
        assert_ne!(lost(7), lost(8));
    }
}
