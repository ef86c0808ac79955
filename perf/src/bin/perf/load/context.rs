//! What a load has at hand: the transport, the time, and where to count.

use super::meter::Meter;
use super::transport::{Events, Failure, Index, Notice, Stream, Transport};
use super::trouble::{Place, Tally, Trouble};

/// How the connections of a run fare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many were begun.
    pub begun: u64,
    /// How many came to be open.
    pub opened: u64,
    /// How many of these are open now.
    pub open: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Pending,
    Open,
}

/// At hand in a run.
#[derive(Debug)]
pub struct Context<T> {
    /// Carries the connections.
    pub transport: T,
    /// The transport's time.
    pub now_ns: u64,
    /// When something last came from the target.
    pub heard_ns: u64,
    /// Where measurements go.
    pub meter: Meter,
    /// Where troubles go.
    pub tally: Tally,
    /// Connections.
    pub counts: Counts,
    /// Why nothing more can be done at all, e.g. no ports are left.
    pub exhausted: Option<Failure>,
    states: Vec<State>,
}

impl<T: Transport> Context<T> {
    /// Nothing has happened yet.
    pub fn new(transport: T, meter: Meter) -> Context<T> {
        let now_ns = transport.now_ns();
        Context {
            transport,
            now_ns,
            heard_ns: now_ns,
            meter,
            tally: Tally::default(),
            counts: Counts::default(),
            exhausted: None,
            states: Vec::new(),
        }
    }

    /// Begins a connection. Returns false, and has counted it, if that fails.
    pub fn open(&mut self, index: Index) -> bool {
        let place = index as usize;
        if place >= self.states.len() {
            self.states.resize(place + 1, State::Free);
        }
        match self.transport.open(index) {
            Ok(()) => {
                self.counts.begun += 1;
                self.states[place] = State::Pending;
                true
            }
            Err(failure) => {
                self.tally.add(Trouble::Connection(failure), None);
                if matches!(failure, Failure::NoPorts | Failure::NoRoom) {
                    self.exhausted = Some(failure);
                }
                false
            }
        }
    }

    /// Counts what a notice says of a connection's beginning and end. Returns whether a handshake
    /// came to its end.
    pub fn count(&mut self, notice: Notice) -> bool {
        let state = &mut self.states[notice.index as usize];
        let before = *state;
        if notice.events.has(Events::OPENED) {
            *state = State::Open;
            self.counts.opened += 1;
            self.counts.open += 1;
            self.heard_ns = self.now_ns;
        }
        if notice.events.has(Events::OVER) {
            self.counts.open -= u64::from(*state == State::Open);
            *state = State::Free;
            if let Some(failure) = notice.failure {
                self.tally.add(Trouble::Connection(failure), None);
            }
        }
        before == State::Pending
    }

    /// Whether a connection is open.
    #[inline]
    pub fn is_open(&self, index: Index) -> bool {
        self.states.get(index as usize) == Some(&State::Open)
    }

    /// Whether a connection's handshake is under way.
    pub fn is_pending(&self, index: Index) -> bool {
        self.states.get(index as usize) == Some(&State::Pending)
    }

    /// Ends a connection with RST because of a trouble at a byte of it.
    pub fn condemn(&mut self, index: Index, trouble: Trouble, position: u64) {
        self.tally.add(trouble, Some(Place { connection: index, position }));
        self.forget(index);
    }

    /// Ends a connection whose handshake takes too long.
    pub fn abandon(&mut self, index: Index) {
        self.tally.add(Trouble::NotOpened, None);
        self.forget(index);
    }

    /// Ends a connection with RST; nothing is wrong with it.
    pub fn forget(&mut self, index: Index) {
        if let Some(mut stream) = self.transport.stream(index) {
            stream.abort();
        }
        let state = &mut self.states[index as usize];
        self.counts.open -= u64::from(*state == State::Open);
        *state = State::Free;
    }

    /// Indices there may be, open or not: 0 up to that.
    pub fn indices(&self) -> Index {
        Index::try_from(self.states.len()).unwrap_or(Index::MAX)
    }

    /// Bytes came from the target.
    #[inline]
    pub fn heard(&mut self, bytes: u64) {
        self.heard_ns = self.now_ns;
        self.meter.received(bytes);
    }
}
