//! What went wrong in a run, counted by kind.

use std::collections::BTreeMap;
use std::fmt;

use super::transport::{Failure, Index};
use crate::result::Failures;

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The connection was lost, or could not be opened.
    Connection(Failure),
    /// The handshake was not through in time.
    NotOpened,
    /// A byte is not what it must be.
    WrongByte,
    /// More bytes came than were due.
    TooMuch,
    /// The peer closed while bytes were due.
    ClosedEarly,
    /// An HTTP response with another status than 200.
    Status(u16),
    /// Not the HTTP that this program understands.
    Http(HttpTrouble),
    /// The body of an HTTP response is not the same as the first one's.
    BodyDiffers,
    /// A request was sent and not answered.
    Unanswered,
    /// Nothing at all was answered for so long that the run was given up.
    Silence,
}

/// What is wrong with an HTTP response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpTrouble {
    /// The head does not begin with a status line.
    NoStatus,
    /// The head does not end.
    EndlessHead,
    /// The head does not say how long the body is.
    NoLength,
}

impl Trouble {
    /// Whether a connection ended by it.
    fn ends_a_connection(self) -> bool {
        !matches!(self, Trouble::Unanswered | Trouble::Silence)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trouble::Connection(failure) => return failure.fmt(f),
            Trouble::NotOpened => "no answer to the SYN in time",
            Trouble::WrongByte => "wrong byte",
            Trouble::TooMuch => "more bytes than were due",
            Trouble::ClosedEarly => "closed by the peer while bytes were due",
            Trouble::Status(status) => return write!(f, "HTTP status {status} in place of 200"),
            Trouble::Http(HttpTrouble::NoStatus) => "not an HTTP/1 response",
            Trouble::Http(HttpTrouble::EndlessHead) => "the head of an HTTP response is too long",
            Trouble::Http(HttpTrouble::NoLength) => "an HTTP response has no Content-Length",
            Trouble::BodyDiffers => "the body of an HTTP response differs from the first one",
            Trouble::Unanswered => "a request was not answered",
            Trouble::Silence => "the target stopped answering altogether, so the run was given up",
        })
    }
}

/// The troubles of a run.
#[derive(Debug, Default)]
pub struct Tally {
    kinds: BTreeMap<Trouble, Entry>,
}

#[derive(Debug)]
struct Entry {
    count: u64,
    /// Where it was seen first.
    first: Option<Place>,
}

/// A place in a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The connection.
    pub connection: Index,
    /// Byte of it, in the direction of the trouble.
    pub position: u64,
}

impl Tally {
    /// Counts one trouble.
    pub fn add(&mut self, trouble: Trouble, first: Option<Place>) {
        self.add_many(trouble, 1, first);
    }

    /// Counts `count` troubles of a kind, of which `first` is where the first was.
    pub fn add_many(&mut self, trouble: Trouble, count: u64, first: Option<Place>) {
        if count > 0 {
            self.kinds.entry(trouble).or_insert(Entry { count: 0, first }).count += count;
        }
    }

    /// Whether all went well.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Connections that ended by a reset.
    pub fn resets(&self) -> u64 {
        let reset = Trouble::Connection(Failure::Reset);
        self.kinds.get(&reset).map_or(0, |entry| entry.count)
    }

    /// Connections that ended, or did not begin, for any other reason.
    pub fn errors(&self) -> u64 {
        let all = self.kinds.iter().filter(|(trouble, _)| trouble.ends_a_connection());
        all.map(|(_, entry)| entry.count).sum::<u64>() - self.resets()
    }

    /// For the result.
    pub fn failures(&self) -> Vec<Failures> {
        let text = |trouble: &Trouble, first: Option<Place>| match first {
            Some(Place { connection, position }) => {
                format!("{trouble} (first: connection {connection}, position {position})")
            }
            None => trouble.to_string(),
        };
        self.kinds
            .iter()
            .map(|(trouble, entry)| Failures {
                text: text(trouble, entry.first),
                count: entry.count,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_are_counted_by_kind_with_their_first_place() {
        let mut tally = Tally::default();
        assert!(tally.is_empty());
        let place = |connection| Some(Place { connection, position: 64 });
        tally.add(Trouble::WrongByte, place(3));
        tally.add(Trouble::WrongByte, place(4));
        tally.add_many(Trouble::Connection(Failure::Reset), 5, None);
        tally.add_many(Trouble::Unanswered, 7, None);
        tally.add_many(Trouble::TooMuch, 0, None);
        assert_eq!((tally.resets(), tally.errors()), (5, 2));
        let failures = tally.failures();
        assert_eq!(failures.len(), 3);
        let wrong = failures.iter().find(|failure| failure.count == 2).unwrap();
        assert_eq!(wrong.text, "wrong byte (first: connection 3, position 64)");
    }
}
