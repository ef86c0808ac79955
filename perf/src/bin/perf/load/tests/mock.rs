//! Connections to a server that is not there, in a time that runs only when nothing happens.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::load::transport::{Events, Failure, Index, Notice, Stream, Transport};
use engine::buffer::pattern;

/// What the server does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Echo,
    Discard,
    /// Sends the pattern as fast as it is read.
    Stream,
}

/// How the server and the way to it behave.
#[derive(Debug, Clone)]
pub struct Behaviour {
    pub server: Server,
    /// From a write, or a SYN, until its effect is here.
    pub round_trip_ns: u64,
    /// Nothing comes from the server between these times.
    pub pause_ns: Option<(u64, u64)>,
    /// Bytes that a write takes at most.
    pub room: usize,
    /// Bytes of a piece that is read.
    pub piece: usize,
    /// Connections of which the byte at this position is wrong.
    pub wrong: Option<(Index, u64)>,
    /// A connection that the server resets, or closes, at a time.
    pub lost: Option<(Index, u64, Loss)>,
    /// Connections that may be open at a time.
    pub ports: u32,
    /// From then on this connection hears nothing more.
    pub deaf: Option<(Index, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    Reset,
    Closed,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            server: Server::Echo,
            round_trip_ns: 1_000_000,
            pause_ns: None,
            room: usize::MAX,
            piece: usize::MAX,
            wrong: None,
            lost: None,
            ports: u32::MAX,
            deaf: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Opened,
    Bytes(Vec<u8>),
    Room,
    Closed,
    Reset,
}

/// Time, order, connection and its generation, and what.
type Scheduled = (u64, u64, Index, u64, Happening);

#[derive(Debug, Default)]
struct Connection {
    generation: u64,
    is_open: bool,
    inbox: VecDeque<u8>,
    /// Bytes from the server so far.
    received: u64,
    is_shut: bool,
}

/// The transport.
#[derive(Debug)]
pub struct Mock {
    behaviour: Behaviour,
    now_ns: u64,
    connections: Vec<Option<Connection>>,
    generations: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
}

impl Mock {
    pub fn new(behaviour: Behaviour) -> Mock {
        Mock {
            behaviour,
            now_ns: 0,
            connections: Vec::new(),
            generations: 0,
            queue: BinaryHeap::new(),
            order: 0,
        }
    }

    fn schedule(&mut self, at_ns: u64, index: Index, what: Happening) {
        let mut at_ns = at_ns;
        if let Some((from_ns, to_ns)) = self.behaviour.pause_ns
            && (from_ns..to_ns).contains(&at_ns)
        {
            at_ns = to_ns;
        }
        if self.behaviour.deaf.is_some_and(|(deaf, from_ns)| deaf == index && at_ns >= from_ns) {
            return;
        }
        let generation = self.get(index).map_or(0, |connection| connection.generation);
        self.order += 1;
        self.queue.push(Reverse((at_ns, self.order, index, generation, what)));
    }

    fn get(&mut self, index: Index) -> Option<&mut Connection> {
        self.connections.get_mut(index as usize)?.as_mut()
    }

    fn happen(&mut self, index: Index, generation: u64, what: Happening) -> Option<Notice> {
        let connection = self.get(index).filter(|found| found.generation == generation)?;
        let mut notice = Notice { index, events: Events::NONE, failure: None };
        notice.events = match what {
            Happening::Opened => {
                connection.is_open = true;
                Events::OPENED
            }
            Happening::Bytes(bytes) => {
                connection.inbox.extend(bytes);
                Events::READABLE
            }
            Happening::Room => Events::WRITABLE,
            Happening::Closed if connection.is_shut => Events::OVER,
            Happening::Closed => Events::PEER_CLOSED,
            Happening::Reset => {
                notice.failure = Some(Failure::Reset);
                Events::OVER
            }
        };
        if notice.events == Events::OPENED {
            self.accepted(index);
        }
        if notice.events == Events::OVER {
            self.connections[index as usize] = None;
        }
        Some(notice)
    }

    fn accepted(&mut self, index: Index) {
        if self.behaviour.server == Server::Stream {
            self.send_pattern(index);
        }
        if let Some((lost, at_ns, how)) = self.behaviour.lost
            && lost == index
        {
            let what = if how == Loss::Reset { Happening::Reset } else { Happening::Closed };
            self.schedule(at_ns.max(self.now_ns), index, what);
        }
    }

    fn send_pattern(&mut self, index: Index) {
        let at_ns = self.now_ns + self.behaviour.round_trip_ns;
        let Some(connection) = self.get(index) else { return };
        let mut bytes = vec![0; 10_007];
        pattern::fill(connection.received, &mut bytes);
        self.deliver(at_ns, index, bytes);
    }

    fn deliver(&mut self, at_ns: u64, index: Index, mut bytes: Vec<u8>) {
        let wrong = self.behaviour.wrong;
        let Some(connection) = self.get(index) else { return };
        let start = connection.received;
        connection.received += bytes.len() as u64;
        if let Some((_, at)) = wrong.filter(|(which, _)| *which == index)
            && let Some(byte) = at.checked_sub(start).and_then(|at| bytes.get_mut(at as usize))
        {
            *byte ^= 1;
        }
        self.schedule(at_ns, index, Happening::Bytes(bytes));
    }
}

impl Transport for Mock {
    type Stream<'a> = MockStream<'a>;

    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn open(&mut self, index: Index) -> Result<(), Failure> {
        let place = index as usize;
        if place >= self.connections.len() {
            self.connections.resize_with(place + 1, || None);
        }
        assert!(self.connections[place].is_none(), "{index} is in use");
        if self.connections.iter().flatten().count() >= self.behaviour.ports as usize {
            return Err(Failure::NoPorts);
        }
        self.generations += 1;
        let generation = self.generations;
        self.connections[place] = Some(Connection { generation, ..Connection::default() });
        self.schedule(self.now_ns + self.behaviour.round_trip_ns, index, Happening::Opened);
        Ok(())
    }

    fn stream(&mut self, index: Index) -> Option<MockStream<'_>> {
        self.get(index)?;
        Some(MockStream { mock: self, index })
    }

    fn poll(&mut self, until_ns: u64, notices: &mut Vec<Notice>) -> anyhow::Result<()> {
        assert!(notices.is_empty());
        let next_ns = self.queue.peek().map_or(u64::MAX, |Reverse((at_ns, ..))| *at_ns);
        self.now_ns = self.now_ns.max(next_ns.min(until_ns));
        while let Some(Reverse((at_ns, _, index, ..))) = self.queue.peek() {
            // One notice of a connection at a time.
            if *at_ns > self.now_ns || notices.iter().any(|notice| notice.index == *index) {
                break;
            }
            if let Some(Reverse((_, _, index, generation, what))) = self.queue.pop() {
                notices.extend(self.happen(index, generation, what));
            }
        }
        Ok(())
    }

    fn name(&self) -> &str {
        "mock"
    }

    fn local_ends(&self) -> String {
        format!("{} connections", self.behaviour.ports)
    }
}

/// A connection of it.
pub struct MockStream<'a> {
    mock: &'a mut Mock,
    index: Index,
}

impl Stream for MockStream<'_> {
    fn read(&mut self, mut sink: impl FnMut(&[u8])) -> usize {
        let piece = self.mock.behaviour.piece;
        let connection = self.mock.get(self.index).unwrap();
        let mut bytes: Vec<u8> = connection.inbox.drain(..).collect();
        let total = bytes.len();
        while !bytes.is_empty() {
            let rest = bytes.split_off(piece.min(bytes.len()));
            sink(&bytes);
            bytes = rest;
        }
        if total > 0 && self.mock.behaviour.server == Server::Stream {
            self.mock.send_pattern(self.index);
        }
        total
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let took = bytes.len().min(self.mock.behaviour.room);
        let at_ns = self.mock.now_ns + self.mock.behaviour.round_trip_ns;
        assert!(self.mock.get(self.index).unwrap().is_open);
        if self.mock.behaviour.server == Server::Echo {
            self.mock.deliver(at_ns, self.index, bytes[..took].to_vec());
        }
        if took < bytes.len() {
            self.mock.schedule(self.mock.now_ns + 1000, self.index, Happening::Room);
        }
        took
    }

    fn unacknowledged(&self) -> u64 {
        0
    }

    fn shut_down(&mut self) {
        self.mock.get(self.index).unwrap().is_shut = true;
        let at_ns = self.mock.now_ns + self.mock.behaviour.round_trip_ns;
        self.mock.schedule(at_ns, self.index, Happening::Closed);
    }

    fn abort(&mut self) {
        self.mock.connections[self.index as usize] = None;
    }
}
