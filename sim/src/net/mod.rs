//! The wires: a switch that learns, with a line to each station, and a link among the nodes.

mod line;
mod router;

use std::collections::{BTreeMap, HashMap};

pub use line::{Burst, Line, Passage, Weather};
pub use router::Router;

use replication::Link;

use crate::coverage::Coverage;
use crate::node;
use crate::random::Random;

/// Where a frame can come out, and go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A node's port on the service LAN.
    Lan(usize),
    /// A node's port on the replication link.
    Link(usize),
    /// A node's port on the second one, where there are two.
    SecondLink(usize),
    /// A client's machine.
    Host(usize),
}

impl Place {
    /// A node's port on a link.
    #[must_use]
    pub fn of_link(link: Link, node: usize) -> Place {
        match link {
            Link::First => Place::Link(node),
            Link::Second => Place::SecondLink(node),
        }
    }

    /// The link and the node, if it is a port on one.
    #[must_use]
    pub fn on_link(self) -> Option<(Link, usize)> {
        match self {
            Place::Link(node) => Some((Link::First, node)),
            Place::SecondLink(node) => Some((Link::Second, node)),
            Place::Lan(_) | Place::Host(_) => None,
        }
    }
}

/// A direction of a line, as the station sees it. The link has none of the second kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// Away from the station.
    Out,
    /// To the station.
    In,
}

impl Way {
    /// The other one.
    #[must_use]
    pub fn back(self) -> Way {
        match self {
            Way::Out => Way::In,
            Way::In => Way::Out,
        }
    }
}

/// One direction of one line.
pub type LineId = (Place, Way);

/// A frame under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// From the Ethernet header on, without FCS.
    pub bytes: Vec<u8>,
    /// A line has changed a bit of it.
    pub damaged: bool,
}

impl Frame {
    /// A frame as its sender made it.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Frame {
        Frame { bytes, damaged: false }
    }
}

#[derive(Debug)]
enum Hop {
    Switch {
        from: Place,
    },
    Arrive(Place),
    /// From one node's port on a link to another's.
    Link {
        link: Link,
        from: usize,
        to: usize,
    },
    /// A router at the far end of this line has something to say to the near one.
    Back(LineId),
}

/// Where a frame on a link goes: to the node whose it is, or to all.
fn ends_of_link(
    (link, from): (Link, usize),
    nodes: usize,
    frame: &Frame,
) -> impl Iterator<Item = usize> {
    let destination: Option<[u8; 6]> = frame.bytes.get(..6).and_then(|mac| mac.try_into().ok());
    let others = move |to: &usize| *to != from;
    let takes = move |to: &usize| {
        let for_it =
            destination.is_none_or(|mac| mac[0] & 1 == 1 || mac == node::link_mac(link, *to).0);
        // A link of two is a cable.
        nodes == 2 || for_it
    };
    (0..nodes).filter(others).filter(takes)
}

/// All lines, and what is on them.
#[derive(Debug)]
pub struct Network {
    lines: BTreeMap<LineId, Line>,
    /// By arrival; the number keeps frames of one moment in their order.
    under_way: BTreeMap<(u64, u64), (Hop, Frame)>,
    sent: u64,
    /// How many are on the link.
    nodes: usize,
    /// Which of them do not hear which other there, and until when.
    deaf: Vec<(usize, usize, u64)>,
    /// The switch's table: where a MAC address was last seen.
    stations: HashMap<[u8; 6], Place>,
}

impl Network {
    /// A network with these lines.
    #[must_use]
    pub fn new(seed: u64, lines: &[(LineId, Weather)]) -> Network {
        let nodes = lines.iter().filter(|(id, _)| matches!(id.0, Place::Link(_))).count();
        let lines = lines.iter().enumerate().map(|(number, (id, weather))| {
            (*id, Line::new(*weather, Random::new(seed, 1000 + number as u64)))
        });
        Network {
            lines: lines.collect(),
            under_way: BTreeMap::new(),
            sent: 0,
            nodes,
            deaf: Vec::new(),
            stations: HashMap::new(),
        }
    }

    /// The line itself, to change its weather.
    pub fn line(&mut self, id: LineId) -> Option<&mut Line> {
        self.lines.get_mut(&id)
    }

    /// Until then a node hears nothing of another one on the links.
    pub fn deafen(&mut self, to: usize, from: usize, until_ns: u64) {
        self.deaf.push((to, from, until_ns));
    }

    fn is_deaf(&self, now_ns: u64, to: usize, from: usize) -> bool {
        self.deaf.iter().any(|known| (known.0, known.1) == (to, from) && now_ns < known.2)
    }

    /// All lines.
    pub fn lines(&mut self) -> impl Iterator<Item = (LineId, &mut Line)> {
        self.lines.iter_mut().map(|(id, line)| (*id, line))
    }

    /// A station sends.
    pub fn send(&mut self, now_ns: u64, from: Place, frame: Frame, coverage: &mut Coverage) {
        self.pass(now_ns, (from, Way::Out), frame, coverage);
    }

    fn pass(&mut self, now_ns: u64, line: LineId, frame: Frame, coverage: &mut Coverage) {
        let Some(wire) = self.lines.get_mut(&line) else { return };
        let passage = wire.pass(now_ns, frame, coverage);
        for (at_ns, frame) in passage.arrives {
            if let Some((link, from)) = line.0.on_link() {
                for to in ends_of_link((link, from), self.nodes, &frame) {
                    self.set_out(at_ns, Hop::Link { link, from, to }, frame.clone());
                }
                continue;
            }
            match line {
                (place, Way::In) => self.set_out(at_ns, Hop::Arrive(place), frame),
                (from, Way::Out) => self.set_out(at_ns, Hop::Switch { from }, frame),
            }
        }
        if let Some((at_ns, frame)) = passage.answer {
            self.set_out(at_ns, Hop::Back(line), frame);
        }
    }

    fn set_out(&mut self, at_ns: u64, hop: Hop, frame: Frame) {
        self.sent += 1;
        self.under_way.insert((at_ns, self.sent), (hop, frame));
    }

    /// When the next frame has come to the end of a line.
    #[must_use]
    pub fn next_ns(&self) -> Option<u64> {
        self.under_way.first_key_value().map(|((at_ns, _), _)| *at_ns)
    }

    /// The next frame that has arrived at a station by `now_ns`.
    pub fn arrived(&mut self, now_ns: u64, coverage: &mut Coverage) -> Option<(Place, Frame)> {
        loop {
            let entry = self.under_way.first_entry()?;
            if entry.key().0 > now_ns {
                return None;
            }
            match entry.remove() {
                (Hop::Arrive(place), frame) => return Some((place, frame)),
                (Hop::Link { from, to, .. }, _) if self.is_deaf(now_ns, to, from) => {
                    coverage.count("frames", "not heard by one of several nodes");
                }
                (Hop::Link { link, to, .. }, frame) => {
                    return Some((Place::of_link(link, to), frame));
                }
                (Hop::Switch { from }, frame) => self.switch(now_ns, from, frame, coverage),
                (Hop::Back((place, way)), frame) => {
                    coverage.count("frames", "told to be too long");
                    self.pass(now_ns, (place, way.back()), frame, coverage);
                }
            }
        }
    }

    fn switch(&mut self, now_ns: u64, from: Place, frame: Frame, coverage: &mut Coverage) {
        let mac = |at: usize| -> Option<[u8; 6]> { frame.bytes.get(at..at + 6)?.try_into().ok() };
        let (Some(destination), Some(source)) = (mac(0), mac(6)) else { return };
        self.stations.insert(source, from);
        let to: Vec<Place> = match self.stations.get(&destination) {
            Some(place) => vec![*place],
            None => self.flooded(),
        };
        for place in to.into_iter().filter(|place| *place != from) {
            self.pass(now_ns, (place, Way::In), frame.clone(), coverage);
        }
    }

    fn flooded(&self) -> Vec<Place> {
        self.lines.keys().filter(|(_, way)| *way == Way::In).map(|(place, _)| *place).collect()
    }

    /// Loses the last `frames` of those that are on their way to `place`.
    pub fn lose_tail(&mut self, place: Place, frames: usize) -> usize {
        self.lose_last(frames, |hop| match hop {
            Hop::Arrive(to) => *to == place,
            Hop::Link { link, to, .. } => Place::of_link(*link, *to) == place,
            Hop::Switch { .. } | Hop::Back(_) => false,
        })
    }

    fn lose_last(&mut self, frames: usize, which: impl Fn(&Hop) -> bool) -> usize {
        let last = self.under_way.iter().rev().filter(|(_, (hop, _))| which(hop));
        let keys: Vec<_> = last.take(frames).map(|(key, _)| *key).collect();
        keys.iter().for_each(|key| drop(self.under_way.remove(key)));
        keys.len()
    }

    /// How many frames `from` has on the line that leads away from it.
    #[must_use]
    pub fn leaving(&self, from: Place) -> usize {
        self.under_way.values().filter(|(hop, _)| hop.left(from)).count()
    }

    /// A card that dies with its machine: the last `frames` that it was given never leave.
    pub fn lose_leaving(&mut self, from: Place, frames: usize) {
        self.lose_last(frames, |hop| hop.left(from));
    }
}

impl Hop {
    /// Whether it is the first after `place`.
    fn left(&self, place: Place) -> bool {
        match self {
            Hop::Link { link, from, .. } => Place::of_link(*link, *from) == place,
            Hop::Switch { from } => *from == place,
            Hop::Arrive(_) | Hop::Back(_) => false,
        }
    }
}
