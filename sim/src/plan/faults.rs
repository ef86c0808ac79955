//! What can go wrong, and a seed's choice of it.

use std::fmt;

use crate::net::{Burst, LineId, Place, Router, Way};
use crate::node::fuse::{Blow, Point};
use crate::plan::NODES;
use crate::plan::mistakes::Mistake;
use crate::random::Random;
use crate::time::{MS, S, US};

/// A fault, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// From the moment that the pair has formed.
    pub at_ns: u64,
    /// What.
    pub fault: Fault,
}

/// Something that goes wrong. What has a length ends by itself, or with the calm at the latest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node dies, or stands still, after `calls` calls of its loops to cards and clock; after so
    /// many of one kind if it has an aim.
    Blow {
        node: usize,
        aim: Option<Point>,
        calls: u64,
        blow: Blow,
        /// Chooses how much of the last burst the card has taken.
        part: u64,
        /// The card forgets what it has not sent yet.
        card_dies: bool,
    },
    /// A dead node is started again.
    Restart { node: usize },
    /// A dead node is started, and told the wrong thing; later it is started again as it should be.
    Mistake { node: usize, mistake: Mistake, for_ns: u64 },
    /// A node's clock leaps forward.
    Leap { node: usize, by_ns: u64 },
    /// An operator lets the other node serve.
    Switchover,
    /// An operator takes a node out of the pair for a while.
    Drain { node: usize, for_ns: u64 },
    /// Each loop of a node takes longer.
    Slow { node: usize, loop_ns: u64, for_ns: u64 },
    /// A node's clock runs at another rate.
    Drift { node: usize, ppm: i64 },
    /// A node's card has less memory.
    Scarce { node: usize, link: bool, pool: usize, ring: usize, for_ns: u64 },
    /// A node and the register hear nothing of each other.
    Mute { node: usize, for_ns: u64 },
    /// A node hears nothing of one of the others on the links.
    Deaf { node: usize, to: usize, for_ns: u64 },
    /// A line passes nothing, one way.
    Cut { line: LineId, for_ns: u64 },
    /// A line loses frames.
    Loss { line: LineId, permille: u32, for_ns: u64 },
    /// A line loses frames in a row.
    Bursts { line: LineId, burst: Burst, for_ns: u64 },
    /// A line holds frames back, sends some twice, damages some.
    Mess { line: LineId, reorder: u32, duplicate: u32, corrupt: u32, for_ns: u64 },
    /// A line becomes slow, and shaky.
    Throttle { line: LineId, bits_per_s: u64, delay_ns: u64, jitter_ns: u64, for_ns: u64 },
    /// A line takes shorter packets only.
    Narrow { line: LineId, mtu: u16, router: Router, for_ns: u64 },
    /// A line marks packets that may be marked.
    Mark { line: LineId, permille: u32, for_ns: u64 },
    /// The last frames that are on their way to a place are lost.
    Tail { place: Place, frames: usize },
    /// A client's machine hears nothing and is not heard.
    Unplug { host: usize, for_ns: u64 },
    /// A client's machine is gone for ever.
    Vanish { host: usize },
}

impl Fault {
    /// For the coverage table.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Blow { blow: Blow::Crash, .. } => "crash",
            Fault::Blow { blow: Blow::Freeze(_), .. } => "freeze",
            Fault::Restart { .. } => "restart",
            Fault::Mistake { mistake: Mistake::Key, .. } => "start with another key",
            Fault::Mistake { mistake: Mistake::Configuration, .. } => {
                "start with another configuration"
            }
            Fault::Mistake { mistake: Mistake::Content, .. } => "start with other files",
            Fault::Leap { .. } => "clock leap",
            Fault::Switchover => "switchover",
            Fault::Drain { .. } => "drain",
            Fault::Slow { .. } => "slow node",
            Fault::Drift { .. } => "clock drift",
            Fault::Scarce { .. } => "scarce frames",
            Fault::Deaf { .. } => "node deaf to one other",
            Fault::Mute { .. } => "node cut off from the register",
            Fault::Cut { line: (Place::Link(_), _), .. } => "link cut one way",
            Fault::Cut { line: (Place::SecondLink(_), _), .. } => "second link cut one way",
            Fault::Cut { .. } => "line cut one way",
            Fault::Loss { .. } => "random loss",
            Fault::Bursts { .. } => "bursts of loss",
            Fault::Mess { .. } => "reordering, duplicates, corruption",
            Fault::Throttle { .. } => "narrow line",
            Fault::Narrow { line: (Place::Link(_), _), .. } => "link with a smaller MTU",
            Fault::Narrow { line: (Place::Lan(_), _), .. } => "node's line with a smaller MTU",
            Fault::Narrow { router: Router::Silent, .. } => "black hole for long packets",
            Fault::Narrow { .. } => "smaller path MTU",
            Fault::Mark { .. } => "marks",
            Fault::Tail { .. } => "tail loss",
            Fault::Unplug { .. } => "client unplugged",
            Fault::Vanish { .. } => "client gone for ever",
        }
    }
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.at_ns as f64 / MS as f64;
        write!(f, "{ms:>10.3} ms  {}: {:?}", self.fault.name(), self.fault)
    }
}

/// Some worlds have one fault, some many; few have none.
pub(super) fn plan(random: &mut Random, hosts: usize) -> Vec<Timed> {
    let mut faults = Vec::new();
    // Most connections live within the first part of this.
    let span_ns = random.pick(&[30 * MS, 200 * MS, S, 3 * S]);
    for _ in 0..random.pick(&[0, 0, 1, 2, 3, 5]) {
        let fault = weather(random, hosts);
        faults.push(Timed { at_ns: random.below(span_ns), fault });
    }
    if random.permille(60) {
        let host = random.below(hosts as u64) as usize;
        faults.push(Timed { at_ns: random.below(span_ns), fault: Fault::Vanish { host } });
    }
    for _ in 0..random.pick(&[0, 0, 0, 1, 2]) {
        let node = random.below(NODES as u64) as usize;
        faults.push(Timed { at_ns: random.below(span_ns), fault: trouble(random, node) });
    }
    // One node of a pair may die, and come back as a spare. When the other follows it, all
    // connections are lost, which is by design and so seldom worth a world.
    let deaths = random.pick(&[0, 0, 1, 1, 1, 1, 1, 1, 1, 2]);
    let first = usize::from(random.permille(300));
    for death in 0..deaths {
        let node = (first + death) % NODES;
        let at_ns = random.below(span_ns);
        faults.push(Timed { at_ns, fault: blow(random, node, Blow::Crash) });
        let restart = restart(random, node, at_ns);
        faults.extend(restart.map(|(at_ns, fault)| Timed { at_ns, fault }));
    }
    faults.sort_by_key(|timed| timed.at_ns);
    faults
}

/// An operator is at work in some worlds; now and then right before something fails.
pub(super) fn add_orders(faults: &mut Vec<Timed>, random: &mut Random) {
    let span_ns = random.pick(&[30 * MS, 200 * MS, S]);
    for _ in 0..random.pick(&[0, 0, 1, 2, 5]) {
        let near = faults.get(random.below(8) as usize).filter(|_| random.permille(300));
        let near_ns = near.map(|timed| timed.at_ns.saturating_sub(random.below(600) * US));
        let at_ns = near_ns.unwrap_or_else(|| random.below(span_ns));
        faults.push(Timed { at_ns, fault: Fault::Switchover });
    }
    if random.permille(50) {
        let node = random.below(NODES as u64) as usize;
        let fault = Fault::Drain { node, for_ns: random.magnitude(10, 2000) * MS };
        faults.push(Timed { at_ns: random.below(span_ns), fault });
    }
    faults.sort_by_key(|timed| timed.at_ns);
}

/// A node that dies at `at_ns` comes back in every other world.
pub(super) fn restart(random: &mut Random, node: usize, at_ns: u64) -> Option<(u64, Fault)> {
    let comes_back = random.permille(500);
    comes_back.then(|| (at_ns + random.magnitude(1, 2000) * MS, Fault::Restart { node }))
}

pub(super) fn blow(random: &mut Random, node: usize, blow: Blow) -> Fault {
    let aim = random.permille(600).then(|| random.pick(&Point::ALL));
    // A loop makes about ten calls.
    let calls = random.below(if aim.is_some() { 10 } else { 40 });
    Fault::Blow { node, aim, calls, blow, part: random.below(64), card_dies: random.permille(600) }
}

/// Trouble of a node that does not kill it.
pub(super) fn trouble(random: &mut Random, node: usize) -> Fault {
    let for_ns = random.magnitude(1, 1500) * MS;
    match random.below(8) {
        0..=2 => {
            let freeze_ns = random.magnitude(1, 400) * MS;
            blow(random, node, Blow::Freeze(freeze_ns))
        }
        3 | 4 => Fault::Slow { node, loop_ns: random.magnitude(20, 4000) * US, for_ns },
        5 => Fault::Drift { node, ppm: random.between(0, 2000) as i64 - 1000 },
        _ => Fault::Scarce {
            node,
            link: random.permille(400),
            pool: random.pick(&[16, 64, 300, 16_384]),
            ring: random.pick(&[2, 32, 1024]),
            for_ns: for_ns / 3,
        },
    }
}

fn weather(random: &mut Random, hosts: usize) -> Fault {
    let line = any_line(random, hosts);
    let for_ns = random.magnitude(1, 3000) * MS;
    // What the nodes say to each other is bounded by what their detection timeout bears: beyond it
    // a pair is right to part.
    let between_nodes = !matches!(line.0, Place::Host(_));
    match random.below(12) {
        0 | 1 => {
            let permille = random.pick(&[1, 10, 50, 200]);
            let permille = if between_nodes { permille.min(50) } else { permille };
            Fault::Loss { line, permille, for_ns }
        }
        2 | 3 => {
            let burst = Burst {
                begin: random.pick(&[1, 10, 50]),
                end: if between_nodes { 500 } else { random.pick(&[50, 200, 500]) },
            };
            Fault::Bursts { line, burst, for_ns }
        }
        4 | 5 => Fault::Mess {
            line,
            reorder: random.pick(&[0, 20, 200]),
            duplicate: random.pick(&[0, 20, 200]),
            corrupt: random.pick(&[0, 5, 50]),
            for_ns,
        },
        6 => Fault::Cut { line, for_ns: if between_nodes { for_ns } else { for_ns.min(S) } },
        7 => Fault::Throttle {
            line,
            bits_per_s: random.magnitude(if between_nodes { 50_000_000 } else { 500_000 }, 1 << 30),
            delay_ns: random.magnitude(1, if between_nodes { 5_000 } else { 100_000 }) * US,
            jitter_ns: random.magnitude(1, 5_000) * US,
            for_ns,
        },
        8 | 9 => {
            let host = random.below(hosts as u64) as usize;
            let place = random.pick(&[line.0, Place::Host(host)]);
            Fault::Tail { place, frames: random.magnitude(1, 20) as usize }
        }
        10 => Fault::Unplug {
            host: random.below(hosts as u64) as usize,
            for_ns: random.magnitude(10, 6000) * MS,
        },
        _ => Fault::Loss {
            line: (Place::Host(random.below(hosts as u64) as usize), Way::In),
            permille: random.pick(&[10, 100, 300]),
            for_ns,
        },
    }
}

fn any_line(random: &mut Random, hosts: usize) -> LineId {
    let way = random.pick(&[Way::Out, Way::In]);
    match random.below(5) {
        0 => (Place::Link(random.below(NODES as u64) as usize), Way::Out),
        1 => (Place::Lan(random.below(NODES as u64) as usize), way),
        _ => (Place::Host(random.below(hosts as u64) as usize), way),
    }
}
