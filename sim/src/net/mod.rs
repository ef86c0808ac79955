//! The wires: a switch that learns, with a line to each station, and a link between the nodes.

mod line;
mod router;

use std::collections::{BTreeMap, HashMap};

pub use line::{Burst, Line, Passage, Weather};
pub use router::Router;

use crate::coverage::Coverage;
use crate::random::Random;

/// Where a frame can come out, and go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A node's port on the service LAN.
    Lan(usize),
    /// A node's port on the replication link.
    Link(usize),
    /// A client's machine.
    Host(usize),
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
    /// A router at the far end of this line has something to say to the near one.
    Back(LineId),
}

/// What is at the end of a line.
fn end_of((place, way): LineId) -> Hop {
    match (place, way) {
        (Place::Link(node), _) => Hop::Arrive(Place::Link(1 - node)),
        (_, Way::In) => Hop::Arrive(place),
        (_, Way::Out) => Hop::Switch { from: place },
    }
}

/// All lines, and what is on them.
#[derive(Debug)]
pub struct Network {
    lines: BTreeMap<LineId, Line>,
    /// By arrival; the number keeps frames of one moment in their order.
    under_way: BTreeMap<(u64, u64), (Hop, Frame)>,
    sent: u64,
    /// The switch's table: where a MAC address was last seen.
    stations: HashMap<[u8; 6], Place>,
}

impl Network {
    /// A network with these lines.
    #[must_use]
    pub fn new(seed: u64, lines: &[(LineId, Weather)]) -> Network {
        let lines = lines.iter().enumerate().map(|(number, (id, weather))| {
            (*id, Line::new(*weather, Random::new(seed, 1000 + number as u64)))
        });
        Network {
            lines: lines.collect(),
            under_way: BTreeMap::new(),
            sent: 0,
            stations: HashMap::new(),
        }
    }

    /// The line itself, to change its weather.
    pub fn line(&mut self, id: LineId) -> Option<&mut Line> {
        self.lines.get_mut(&id)
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
        let arrives =
            passage.arrives.into_iter().map(|(at_ns, frame)| (at_ns, end_of(line), frame));
        let answer = passage.answer.map(|(at_ns, frame)| (at_ns, Hop::Back(line), frame));
        for (at_ns, hop, frame) in arrives.chain(answer) {
            self.sent += 1;
            self.under_way.insert((at_ns, self.sent), (hop, frame));
        }
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
        let on_way = |hop: &Hop| matches!(hop, Hop::Arrive(to) if *to == place);
        let tail = self.under_way.iter().rev().filter(|(_, (hop, _))| on_way(hop));
        let keys: Vec<_> = tail.take(frames).map(|(key, _)| *key).collect();
        keys.iter().for_each(|key| drop(self.under_way.remove(key)));
        keys.len()
    }

    /// How many frames `from` has on the line that leads away from it.
    #[must_use]
    pub fn leaving(&self, from: Place) -> usize {
        let left = |hop: &Hop| match (hop, from) {
            (Hop::Arrive(Place::Link(to)), Place::Link(node)) => *to == 1 - node,
            (Hop::Switch { from: other }, _) => *other == from,
            (Hop::Arrive(_) | Hop::Back(_), _) => false,
        };
        self.under_way.values().filter(|(hop, _)| left(hop)).count()
    }

    /// A card that dies with its machine: the last `frames` that it was given never leave.
    pub fn lose_leaving(&mut self, from: Place, frames: usize) {
        match from {
            Place::Link(node) => drop(self.lose_tail(Place::Link(1 - node), frames)),
            Place::Lan(_) | Place::Host(_) => {
                let left = |hop: &Hop| matches!(hop, Hop::Switch { from: other } if *other == from);
                let last = self.under_way.iter().rev().filter(|(_, (hop, _))| left(hop));
                let keys: Vec<_> = last.take(frames).map(|(key, _)| *key).collect();
                keys.iter().for_each(|key| drop(self.under_way.remove(key)));
            }
        }
    }
}
