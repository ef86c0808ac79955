//! What happens next, as eight bytes: small changes of an input change little of what happens.

use arbitrary::Arbitrary;

/// One action. The fields mean what [`Kind`] makes of them.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    pub kind: u8,
    pub who: u8,
    pub a: u8,
    pub b: u8,
    pub c: u16,
    pub d: u16,
}

/// What an action is, by `kind` modulo their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A segment of peer `who` with flags `a`, numbers as `b` chooses, window `c`, `d` bytes.
    Segment,
    /// The next data of peer `who`: `d` bytes, window `c`, everything acknowledged.
    Data,
    /// An acknowledgment of all that came to peer `who`, window `c`; `a`, `b`, `d` make its SACKs.
    Acknowledge,
    /// A SYN of peer `who`: options and flags in `a`, shift in `b`, MSS `d`, window `c`.
    Syn,
    /// Time passes: `d` times a unit that `a` chooses.
    Wait,
    /// Time passes up to the next deadline, `a` times.
    Deadline,
    /// A portion of a takeover's kick, or all of it.
    Kick,
    /// The twin goes on from a snapshot.
    Snapshot,
    /// Connects to peer `who`, with service `a` on our side.
    Connect,
    /// Segments wait for company from now on, or leave together.
    Burst,
    /// What the program will do when it is next told of something: `a` chooses.
    Program,
    /// A segment of peer `who` as Linux would answer: FIN if `a` is odd.
    Close,
    /// An ICMP error about a segment sent to peer `who`: `a` chooses what it says, with MTU `c`,
    /// `b` and `d` the segment's number.
    Icmp,
}

impl Kind {
    pub const ALL: [Kind; 13] = [
        Kind::Segment,
        Kind::Data,
        Kind::Acknowledge,
        Kind::Syn,
        Kind::Wait,
        Kind::Deadline,
        Kind::Kick,
        Kind::Snapshot,
        Kind::Connect,
        Kind::Burst,
        Kind::Program,
        Kind::Close,
        Kind::Icmp,
    ];
}

impl Action {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::ALL[usize::from(self.kind) % Kind::ALL.len()]
    }

    /// An action of this kind, to be filled in.
    #[must_use]
    pub fn of(kind: Kind, who: u8) -> Action {
        Action { kind: kind as u8, who, a: 0, b: 0, c: 0xffff, d: 0 }
    }

    /// The bytes that [`Arbitrary`] makes this action of.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        let ([c0, c1], [d0, d1]) = (self.c.to_le_bytes(), self.d.to_le_bytes());
        [self.kind, self.who, self.a, self.b, c0, c1, d0, d1]
    }
}
