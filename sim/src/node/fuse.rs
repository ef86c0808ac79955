//! Stops a node at a chosen place within its loop.
//!
//! All that a loop does to the world, and all that it hears of it, goes through its cards and its
//! clock. So a node that dies between two of these calls is one whose later calls have no effect:
//! the rest of the loop runs, and nobody ever knows. No line of the product has to know of it.

use std::cell::Cell;
use std::fmt;

/// A call of the loop to the world outside: between any two of them a node can die or fall asleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Looks at the clock.
    Clock,
    /// Receives from the link: heartbeats, log, confirmations.
    ReceiveLink,
    /// Receives from the service LAN.
    ReceiveLan,
    /// Asks its control plane, between what it has heard and what it does.
    Consult,
    /// Asks for a frame: a step or the log has something to send.
    AllocateLan,
    /// The same for the link.
    AllocateLink,
    /// Ships the log, or confirms it.
    TransmitLink,
    /// Sends what was released.
    TransmitLan,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Point::Clock => "clock",
            Point::ReceiveLink => "receive, link",
            Point::ReceiveLan => "receive, LAN",
            Point::Consult => "consult",
            Point::AllocateLan => "allocate, LAN",
            Point::AllocateLink => "allocate, link",
            Point::TransmitLink => "transmit, link",
            Point::TransmitLan => "transmit, LAN",
        })
    }
}

impl Point {
    /// All kinds.
    pub const ALL: [Point; 8] = [
        Point::Clock,
        Point::ReceiveLink,
        Point::ReceiveLan,
        Point::Consult,
        Point::AllocateLan,
        Point::AllocateLink,
        Point::TransmitLink,
        Point::TransmitLan,
    ];
}

/// What happens when the fuse has burnt down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The node is dead.
    Crash,
    /// It stands still for so long.
    Freeze(u64),
}

#[derive(Clone, Copy, Debug)]
struct Lit {
    /// Only these calls count, if one kind is named.
    aim: Option<Point>,
    calls: u64,
    blow: Blow,
    /// Chooses how much of a burst a card has taken.
    part: u64,
}

/// A node's fuse, which its cards and its clock share.
#[derive(Debug, Default)]
pub struct Fuse {
    lit: Cell<Option<Lit>>,
    dead: Cell<bool>,
    late_ns: Cell<u64>,
    blown_at: Cell<Option<Point>>,
}

impl Fuse {
    /// Lights the fuse: the call after `calls` others is the last one before `blow`. With an `aim`
    /// only calls of that kind count.
    pub fn light(&self, aim: Option<Point>, calls: u64, blow: Blow, part: u64) {
        self.lit.set(Some(Lit { aim, calls, blow, part }));
    }

    /// Whether the node is dead.
    #[must_use]
    pub fn dead(&self) -> bool {
        self.dead.get()
    }

    /// How long the node has stood still within this loop.
    #[must_use]
    pub fn late_ns(&self) -> u64 {
        self.late_ns.get()
    }

    /// A new loop begins; the last one was so late.
    pub fn awake(&self) {
        self.late_ns.set(0);
    }

    /// Where the fuse burnt down since this was last asked.
    pub fn blown_at(&self) -> Option<Point> {
        self.blown_at.take()
    }

    /// A call of the loop, of which nothing can be done in part.
    pub fn pass(&self, point: Point) {
        self.pass_some(point, 0);
    }

    /// A call of the loop for `frames` frames. Tells how many of these still count.
    pub fn pass_some(&self, point: Point, frames: usize) -> usize {
        if self.dead.get() {
            return 0;
        }
        let Some(lit) = self.lit.get() else { return frames };
        if lit.aim.is_some_and(|aim| aim != point) {
            return frames;
        }
        if lit.calls > 0 {
            self.lit.set(Some(Lit { calls: lit.calls - 1, ..lit }));
            return frames;
        }
        self.lit.set(None);
        self.blown_at.set(Some(point));
        match lit.blow {
            Blow::Crash => {
                self.dead.set(true);
                (lit.part % (frames as u64 + 1)) as usize
            }
            Blow::Freeze(for_ns) => {
                self.late_ns.set(self.late_ns.get() + for_ns);
                frames
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_after_so_many_others_is_the_last_one() {
        let fuse = Fuse::default();
        fuse.light(None, 2, Blow::Crash, 3);
        assert_eq!(fuse.pass_some(Point::TransmitLan, 5), 5);
        fuse.pass(Point::Clock);
        assert!(!fuse.dead());
        assert_eq!(fuse.pass_some(Point::TransmitLan, 5), 3);
        assert!(fuse.dead());
        assert_eq!(fuse.blown_at(), Some(Point::TransmitLan));
        assert_eq!(fuse.pass_some(Point::TransmitLan, 5), 0);
    }

    #[test]
    fn what_follows_a_freeze_is_late() {
        let fuse = Fuse::default();
        fuse.light(Some(Point::TransmitLink), 0, Blow::Freeze(70), 0);
        assert_eq!(fuse.pass_some(Point::TransmitLan, 4), 4);
        assert_eq!(fuse.late_ns(), 0);
        assert_eq!(fuse.pass_some(Point::TransmitLink, 4), 4);
        assert_eq!((fuse.late_ns(), fuse.dead()), (70, false));
        fuse.awake();
        assert_eq!(fuse.late_ns(), 0);
    }
}
