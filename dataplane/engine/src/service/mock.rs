//! A connection without a network: what a test feeds comes in, what the service writes is kept as
//! bytes. Input arrives in the pieces in which it was fed; room and extents run out when told to.

use std::collections::VecDeque;

use super::{ByteStream, ServiceState};
use crate::config::ServiceConfig;
use crate::content::{Content, FileId};
use crate::snapshot::{Reader, Writer};
use crate::time::Instant;

/// The far end and the queues of one connection, with the service on it.
pub struct Mock<'a> {
    pub state: ServiceState,
    pub config: &'a ServiceConfig,
    pub content: &'a Content,
    pub wire: Wire,
}

/// What the service sees.
#[derive(Debug, Clone, Default)]
pub struct Wire {
    pub now: Instant,
    pub input: VecDeque<Vec<u8>>,
    pub peer_closed: bool,
    /// Room for copied bytes that is left.
    pub room: usize,
    /// Bytes for which the shard has memory at a time; as many as there is room for when absent.
    pub memory: Option<usize>,
    /// Extents that are left.
    pub extents: usize,
    pub queue: Vec<Extent>,
    pub closed: bool,
    pub aborted: bool,
    pub timer: Option<Instant>,
}

/// A piece of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    Bytes(Vec<u8>),
    Content { file: FileId, offset: u64, len: u64 },
    Pattern { offset: u64, len: u64 },
}

impl Extent {
    fn len(&self) -> u64 {
        match self {
            Extent::Bytes(bytes) => bytes.len() as u64,
            Extent::Content { len, .. } | Extent::Pattern { len, .. } => *len,
        }
    }
}

impl ByteStream for Wire {
    fn now(&self) -> Instant {
        self.now
    }

    fn readable(&self) -> usize {
        self.input.iter().map(Vec::len).sum()
    }

    fn peek(&self, offset: usize, into: &mut [u8]) -> usize {
        let bytes = self.input.iter().flatten().skip(offset);
        into.iter_mut().zip(bytes).map(|(to, from)| *to = *from).count()
    }

    fn read_slice(&self) -> &[u8] {
        self.input.front().map_or(&[], Vec::as_slice)
    }

    fn consume(&mut self, mut n: usize) {
        while n > 0 {
            let first = self.input.front_mut().expect("only readable bytes can be consumed");
            let taken = n.min(first.len());
            first.drain(..taken);
            n -= taken;
            if first.is_empty() {
                self.input.pop_front();
            }
        }
    }

    fn urgent(&self) -> u32 {
        0
    }

    fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    fn writable(&self) -> usize {
        if self.closed { 0 } else { self.room }
    }

    fn queued(&self) -> u64 {
        self.queue.iter().map(Extent::len).sum()
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.writable()).min(self.memory.unwrap_or(usize::MAX));
        self.memory = self.memory.map(|memory| memory - taken);
        self.room -= taken;
        if taken > 0 {
            self.queue.push(Extent::Bytes(bytes[..taken].to_vec()));
        }
        taken
    }

    fn write_content(&mut self, file: FileId, offset: u64, len: u64) -> bool {
        self.push(Extent::Content { file, offset, len })
    }

    fn write_pattern(&mut self, offset: u64, len: u64) -> bool {
        self.push(Extent::Pattern { offset, len })
    }

    fn close(&mut self) {
        self.closed = true;
    }

    fn abort(&mut self) {
        self.aborted = true;
    }

    fn set_timer(&mut self, after_us: u64) {
        self.timer = Some(self.now.plus_us(after_us));
    }
}

impl Wire {
    fn push(&mut self, extent: Extent) -> bool {
        assert!(!self.closed, "a reference was queued behind FIN");
        let free = self.extents > 0;
        if free {
            self.extents -= 1;
            self.queue.push(extent);
        }
        free
    }
}

impl<'a> Mock<'a> {
    /// An accepted connection with plenty of room.
    pub fn new(config: &'a ServiceConfig, content: &'a Content) -> Mock<'a> {
        Mock::with_room(config, content, 1 << 20, 1 << 10)
    }

    /// An accepted connection with room for `room` copied bytes and `extents` references.
    pub fn with_room(
        config: &'a ServiceConfig,
        content: &'a Content,
        room: usize,
        extents: usize,
    ) -> Mock<'a> {
        let wire = Wire { room, extents, ..Wire::default() };
        let mut mock = Mock { state: ServiceState::new(&config.kind), config, content, wire };
        mock.state.accept(config, content, &mut mock.wire);
        mock
    }

    /// A segment's payload arrives.
    pub fn feed(&mut self, bytes: &[u8]) {
        assert!(!self.wire.aborted, "no call comes after an abort");
        if !bytes.is_empty() {
            self.wire.input.push_back(bytes.to_vec());
            self.state.data(self.config, self.content, &mut self.wire);
        }
    }

    /// The peer's FIN arrives.
    pub fn finish(&mut self) {
        self.wire.peer_closed = true;
        self.state.closed(self.config, self.content, &mut self.wire);
    }

    /// The peer acknowledges all that is queued. Returns it as bytes, the pattern as its formula.
    pub fn acknowledge(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for extent in std::mem::take(&mut self.wire.queue) {
            match extent {
                Extent::Bytes(copied) => {
                    self.wire.room += copied.len();
                    bytes.extend(copied);
                }
                Extent::Content { file, offset, len } => {
                    self.wire.extents += 1;
                    let range = offset as usize..(offset + len) as usize;
                    bytes.extend_from_slice(&self.content.bytes(file)[range]);
                }
                Extent::Pattern { offset, len } => {
                    self.wire.extents += 1;
                    bytes.extend((0..len).map(|i| pattern(offset.wrapping_add(i))));
                }
            }
        }
        self.state.writable(self.config, self.content, &mut self.wire);
        bytes
    }

    /// Acknowledges until nothing more comes.
    pub fn drain(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let more = self.acknowledge();
            if more.is_empty() {
                return bytes;
            }
            bytes.extend(more);
        }
    }

    /// Time goes to the moment for which the timer is set, and it fires.
    pub fn fire(&mut self) {
        self.wire.now = self.wire.timer.take().expect("a timer is set");
        self.state.timer(self.config, self.content, &mut self.wire);
    }

    /// Replaces the state by what its snapshot restores to.
    pub fn restart(&mut self) {
        let mut bytes = Vec::new();
        self.state.save(&mut Writer::new(&mut bytes));
        let mut reader = Reader::new(&bytes);
        let restored = ServiceState::restore(&mut reader, self.content).unwrap();
        reader.finish().unwrap();
        assert_eq!(restored, self.state);
        self.state = restored;
    }
}

/// The documented pattern, straight from its definition.
pub fn pattern(i: u64) -> u8 {
    (i.wrapping_mul(2_654_435_761) >> 16) as u8
}
