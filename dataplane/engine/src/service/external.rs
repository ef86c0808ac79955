//! Leaves the bytes to the program around the shard: notes what happened, so that
//! [`Shard::next_ready`](crate::shard::Shard::next_ready) can tell. For a client of its own, such
//! as a load generator; a replicated shard has none, for a program is no replicated state.

use super::{ByteStream, Context, Service};
use crate::snapshot::{Reader, SnapshotError, Writer};

/// What happened on a connection since it was last told of. Any number at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events(u8);

impl std::ops::BitOr for Events {
    type Output = Events;

    fn bitor(self, other: Events) -> Events {
        Events(self.0 | other.0)
    }
}

impl Events {
    /// The connection is established.
    pub const OPENED: Events = Events(1);
    /// New in-order bytes are readable.
    pub const READABLE: Events = Events(1 << 1);
    /// The send queue became shorter.
    pub const WRITABLE: Events = Events(1 << 2);
    /// The peer's FIN is in order.
    pub const PEER_CLOSED: Events = Events(1 << 3);
    /// The time set by [`ByteStream::set_timer`] has come.
    pub const TIMER: Events = Events(1 << 4);
    /// The peer has urgent data ([`ByteStream::urgent`]).
    pub const URGENT: Events = Events(1 << 5);
    const ALL: u8 = 0b11_1111;

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether one of `events` is among them.
    #[must_use]
    #[inline]
    pub fn has(self, events: Events) -> bool {
        self.0 & events.0 != 0
    }
}

/// What the program has not been told yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct External {
    events: Events,
    /// It was told of the end: there is nothing more to tell.
    over: bool,
}

impl External {
    /// Takes the events out, and with `over` closes the book.
    #[inline]
    pub(crate) fn take(&mut self, over: bool) -> Option<Events> {
        if self.over {
            return None;
        }
        self.over = over;
        let events = std::mem::take(&mut self.events);
        (over || !events.is_empty()).then_some(events)
    }

    fn note(&mut self, events: Events) {
        self.events.0 |= events.0;
    }

    pub(super) fn save(self, out: &mut Writer<'_>) {
        out.u8(self.events.0);
        out.bool(self.over);
    }

    pub(super) fn restore(input: &mut Reader<'_>) -> Result<External, SnapshotError> {
        let events = Events(input.u8("events of a connection")? & Events::ALL);
        Ok(External { events, over: input.bool("end of a connection")? })
    }
}

impl Service for External {
    fn accept<S: ByteStream>(&mut self, _: Context<'_>, _: &mut S) {
        self.note(Events::OPENED);
    }

    fn data<S: ByteStream>(&mut self, _: Context<'_>, _: &mut S) {
        self.note(Events::READABLE);
    }

    fn writable<S: ByteStream>(&mut self, _: Context<'_>, _: &mut S) {
        self.note(Events::WRITABLE);
    }

    fn closed<S: ByteStream>(&mut self, _: Context<'_>, _: &mut S) {
        self.note(Events::PEER_CLOSED);
    }

    fn timer<S: ByteStream>(&mut self, _: Context<'_>, _: &mut S) {
        self.note(Events::TIMER);
    }

    fn urgent<S: ByteStream>(&mut self, _: Context<'_>, _: &mut S) {
        self.note(Events::URGENT);
    }
}
