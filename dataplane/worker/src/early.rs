//! Commit rule SWFR: payload leaves before the log that it follows from is safe, with the
//! acknowledgment and the window that the client has been told already; what is new of these follows
//! in a segment of its own, which waits. So this node has to know what each client was told.

use engine::config::{Commit, Config};
use engine::egress::Outgoing;
use engine::seq::SeqNumber;
use engine::wire::edit::{self, Acknowledgment};
use engine::wire::tcp::Flags;

/// What the connection in a slot was told. Means nothing unless it is of this connection and of
/// this time of serving.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    opened_us: u32,
    /// The time of serving; 0: nothing was told.
    serving: u16,
    said: Acknowledgment,
    /// The newest among what waits.
    queued: Acknowledgment,
    /// Behind the last byte that left.
    sent: SeqNumber,
    /// The newest TSval that left.
    clock: Option<u32>,
}

/// What all clients of a shard were told of late.
#[derive(Debug)]
pub(crate) struct Told {
    entries: Box<[Entry]>,
    serving: u16,
}

/// What a packet tells a client once it leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    slot: u32,
    opened_us: u32,
    /// The window as in a segment that is no SYN.
    said: Acknowledgment,
    seq: SeqNumber,
    /// TSval of an established connection.
    clock: Option<u32>,
    len: u16,
    /// The place of its shard among the worker's.
    shard: u16,
    /// Its number is that of what follows all that was sent: what leaves meanwhile moves it.
    follows: bool,
    /// It acknowledges something.
    speaks: bool,
}

impl Word {
    /// Of a packet of the worker's shard at this place, if its connection has this rule.
    pub fn of(packet: &Outgoing<'_>, shard: usize) -> Option<Word> {
        let place = packet.swfr?;
        let ip_len = usize::from(packet.ip_header_len);
        let flags = edit::flags(packet.header, ip_len);
        let mut said = edit::acknowledgment(packet.header, ip_len);
        if flags.contains(Flags::SYN) {
            // RFC 7323 2.2: its window is not scaled; RFC 3168 6.1.1.1: its ECE is no echo.
            said.window = said.window.div_ceil(1 << place.window_shift.min(15));
            said.echoes_mark = false;
        }
        Some(Word {
            slot: place.slot,
            opened_us: place.opened_us,
            said,
            seq: edit::seq(packet.header, ip_len),
            clock: edit::clock(packet.header, ip_len),
            len: packet.payload_len,
            shard: shard as u16,
            follows: false,
            speaks: flags.contains(Flags::ACK) && !flags.contains(Flags::RST),
        })
    }

    /// The place of its shard among the worker's.
    pub fn shard(&self) -> usize {
        self.shard.into()
    }

    /// Behind its last byte. A SYN and a FIN take a number too, but nothing goes by them.
    fn end(&self) -> SeqNumber {
        self.seq + u32::from(self.len)
    }
}

/// What has to be changed in a packet that waited while others of its connection left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Amendment {
    /// Its number.
    pub seq: SeqNumber,
    /// Its TSval, where it has one: it must not go back (RFC 7323 5.3).
    pub clock: Option<u32>,
}

/// How a packet is to leave.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leave {
    /// When the log is safe.
    Later(Word),
    /// Now, with what was told already; the word, if it has news, follows later on its own.
    Now { said: Acknowledgment, news: Option<Word> },
}

impl Told {
    /// For a shard of this configuration. Costs nothing where no service has the rule.
    pub fn new(config: &Config) -> Told {
        let any = config.services.iter().any(|service| service.commit == Commit::Swfr);
        let slots = if any { config.max_connections as usize } else { 0 };
        Told { entries: vec![Entry::default(); slots].into_boxed_slice(), serving: 1 }
    }

    /// Whether there is any use for it.
    #[inline]
    pub fn is_on(&self) -> bool {
        !self.entries.is_empty()
    }

    /// The node begins to serve: what it told long ago, others have gone on from.
    pub fn begin(&mut self) {
        self.serving = self.serving.checked_add(1).unwrap_or_else(|| {
            self.entries.fill(Entry::default());
            1
        });
    }

    fn entry(&mut self, word: &Word) -> Option<&mut Entry> {
        let serving = self.serving;
        let entry = self.entries.get_mut(word.slot as usize)?;
        (entry.serving == serving && entry.opened_us == word.opened_us).then_some(entry)
    }

    /// Decides for a packet that follows from input which is not safe yet.
    pub fn decide(&mut self, packet: &Outgoing<'_>, mut word: Word) -> Leave {
        let flags = edit::flags(packet.header, packet.ip_header_len.into());
        // Ends and beginnings wait: they follow from more than bytes.
        let early = word.len > 0 && !flags.intersects(Flags::SYN | Flags::FIN | Flags::RST);
        let Some(entry) = self.entry(&word) else { return Leave::Later(word) };
        if !early {
            let bare = word.len == 0 && flags.without(Flags::ECE) == Flags::ACK;
            word.follows = bare && word.seq.ge(entry.sent);
            entry.queued = word.said;
            return Leave::Later(word);
        }
        entry.note(&word);
        let news = word.said != std::mem::replace(&mut entry.queued, word.said);
        let news = news.then_some(Word { seq: word.end(), len: 0, follows: true, ..word });
        Leave::Now { said: entry.said, news }
    }

    /// A packet leaves with what it says. Returns what has to be changed in it, if anything has.
    pub fn left(&mut self, word: &Word) -> Option<Amendment> {
        if !word.speaks {
            return None;
        }
        let serving = self.serving;
        let Some(entry) = self.entry(word) else {
            let Word { opened_us, said, clock, .. } = *word;
            let told = Entry { opened_us, serving, said, queued: said, sent: word.end(), clock };
            if let Some(entry) = self.entries.get_mut(word.slot as usize) {
                *entry = told;
            }
            return None;
        };
        entry.said = word.said;
        entry.note(word);
        let seq = if word.follows { entry.sent } else { word.seq };
        let amended = Amendment { seq, clock: entry.clock };
        (amended != Amendment { seq: word.seq, clock: word.clock }).then_some(amended)
    }
}

impl Entry {
    /// A packet leaves.
    fn note(&mut self, word: &Word) {
        if word.end().gt(self.sent) {
            self.sent = word.end();
        }
        let is_later = |than: u32| word.clock.is_some_and(|at| SeqNumber(at).gt(SeqNumber(than)));
        if self.clock.is_none_or(is_later) {
            self.clock = word.clock.or(self.clock);
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::addr::{Addr, Endpoint, Flow};
    use engine::config::{ServiceConfig, ServiceKind};
    use engine::egress::Place;
    use engine::wire::segment::{MAX_HEADER_LEN, SegmentHeader};
    use engine::wire::tcp::{Options, Timestamps};

    use super::*;

    const PLACE: Place = Place { slot: 3, opened_us: 77, window_shift: 3 };

    fn told(commit: Commit) -> Told {
        let service = ServiceConfig { commit, ..ServiceConfig::new("echo", 7, ServiceKind::Echo) };
        Told::new(&Config { max_connections: 8, services: vec![service], ..Config::default() })
    }

    /// A packet as a shard emits it.
    struct Packet {
        header: Vec<u8>,
        len: u16,
        place: Place,
    }

    fn packet(seq: u32, len: u16, ack: u32, flags: Flags) -> Packet {
        stamped(seq, len, ack, flags, None)
    }

    fn stamped(
        seq: u32,
        len: u16,
        ack: u32,
        flags: Flags,
        timestamps: Option<Timestamps>,
    ) -> Packet {
        let endpoint =
            |last, port| Endpoint { addr: Addr::from_ipv4_octets([10, 0, 0, last]), port };
        let flow = Flow { local: endpoint(1, 7), remote: endpoint(2, 4000) };
        let header = SegmentHeader {
            flow,
            seq: SeqNumber(seq),
            ack: SeqNumber(ack),
            flags,
            window: 1000,
            options: Options { timestamps, ..Options::default() },
        };
        let mut bytes = [0; MAX_HEADER_LEN];
        let header_len = header.emit(len, &mut bytes);
        Packet { header: bytes[..header_len].to_vec(), len, place: PLACE }
    }

    impl Packet {
        fn outgoing(&self) -> Outgoing<'_> {
            Outgoing {
                remote: Addr::from_ipv4_octets([10, 0, 0, 2]),
                header: &self.header,
                ip_header_len: 20,
                payload: &[],
                payload_len: self.len,
                swfr: Some(self.place),
                quorum: false,
            }
        }

        fn word(&self) -> Word {
            Word::of(&self.outgoing(), 0).expect("it has the rule")
        }

        fn decide(&self, told: &mut Told) -> Leave {
            told.decide(&self.outgoing(), self.word())
        }
    }

    fn later(leave: Leave) -> Word {
        let Leave::Later(word) = leave else { panic!("{leave:?}") };
        word
    }

    /// A SYN-ACK has left: ISN 100, the client's 500.
    fn opened() -> Told {
        let mut told = told(Commit::Swfr);
        let word = later(packet(100, 0, 501, Flags::SYN | Flags::ACK).decide(&mut told));
        assert_eq!(told.left(&word), None);
        told
    }

    #[test]
    fn payload_leaves_with_what_was_told_and_the_news_follow_once() {
        let mut told = opened();
        let Leave::Now { said, news } = packet(101, 6, 507, Flags::ACK).decide(&mut told) else {
            panic!("it has to leave")
        };
        assert_eq!(said.ack, SeqNumber(501));
        let news = news.expect("507 is new");
        // More of the same step.
        let Leave::Now { said, news: none } = packet(107, 9, 507, Flags::ACK).decide(&mut told)
        else {
            panic!("it has to leave")
        };
        assert_eq!((said.ack, none.is_none()), (SeqNumber(501), true));
        // The news come behind all that has left: at an older place the client would refuse them.
        assert_eq!(told.left(&news), Some(Amendment { seq: SeqNumber(116), clock: None }));
        let Leave::Now { said, news } = packet(116, 1, 507, Flags::ACK).decide(&mut told) else {
            panic!("it has to leave")
        };
        assert_eq!((said.ack, news.is_none()), (SeqNumber(507), true));
    }

    #[test]
    fn bare_acknowledgment_that_waited_follows_what_has_left_meanwhile() {
        let mut told = opened();
        let waits = later(packet(101, 0, 507, Flags::ACK).decide(&mut told));
        let Leave::Now { said, news } = packet(101, 50, 507, Flags::ACK).decide(&mut told) else {
            panic!("it has to leave")
        };
        assert_eq!((said.ack, news.is_none()), (SeqNumber(501), true));
        assert_eq!(told.left(&waits), Some(Amendment { seq: SeqNumber(151), clock: None }));
        // A probe has its number for a reason.
        let probe = later(packet(100, 0, 507, Flags::ACK).decide(&mut told));
        assert_eq!(told.left(&probe), None);
    }

    #[test]
    fn nothing_leaves_early_of_a_connection_of_which_nothing_was_told() {
        let mut told = told(Commit::Swfr);
        let word = later(packet(101, 6, 507, Flags::ACK).decide(&mut told));
        told.left(&word);
        assert!(matches!(packet(107, 6, 507, Flags::ACK).decide(&mut told), Leave::Now { .. }));
        // Its successor in the slot.
        let mut other = packet(9_000, 6, 77, Flags::ACK);
        other.place.opened_us += 1;
        later(other.decide(&mut told));
        // Another time of serving.
        told.begin();
        later(packet(113, 6, 507, Flags::ACK).decide(&mut told));
    }

    #[test]
    fn beginnings_ends_and_resets_wait() {
        let mut told = opened();
        for flags in [Flags::FIN | Flags::ACK, Flags::RST | Flags::ACK, Flags::SYN | Flags::ACK] {
            for len in [0, 6] {
                let word = later(packet(101, len, 507, flags).decide(&mut told));
                assert!(!word.follows);
            }
        }
        // What a RST says of the window is nothing that was told.
        let word = packet(101, 0, 900, Flags::RST | Flags::ACK).word();
        told.left(&word);
        let Leave::Now { said, .. } = packet(101, 6, 507, Flags::ACK).decide(&mut told) else {
            panic!("it has to leave")
        };
        assert_eq!(said.ack, SeqNumber(501));
    }

    #[test]
    fn clock_of_what_waited_is_no_older_than_what_has_left() {
        let stamp = |value| Some(Timestamps { value, echo: 1 });
        let mut told = opened();
        let fin = Flags::FIN | Flags::ACK;
        let waits = later(stamped(110, 5, 507, fin, stamp(u32::MAX)).decide(&mut told));
        stamped(101, 9, 507, Flags::ACK, stamp(2)).decide(&mut told);
        let amendment = told.left(&waits).expect("2 is later, round the corner");
        assert_eq!(amendment, Amendment { seq: SeqNumber(110), clock: Some(2) });
    }

    #[test]
    fn mark_is_echoed_in_its_turn() {
        let mut told = opened();
        let echo = Flags::ACK | Flags::ECE;
        let Leave::Now { said, news } = packet(101, 6, 501, echo).decide(&mut told) else {
            panic!("it has to leave")
        };
        assert!(!said.echoes_mark);
        let news = news.expect("the echo is new");
        told.left(&news);
        let Leave::Now { said, news } = packet(107, 6, 501, echo).decide(&mut told) else {
            panic!("it has to leave")
        };
        assert!(said.echoes_mark && news.is_none());
    }

    #[test]
    fn window_of_a_syn_is_told_as_the_client_will_read_it() {
        let mut told = opened();
        let leave = packet(101, 6, 501, Flags::ACK).decide(&mut told);
        let Leave::Now { said, .. } = leave else { panic!("it has to leave") };
        assert_eq!(said.window, 1000_u16.div_ceil(1 << 3));
    }

    #[test]
    fn other_rules_cost_nothing() {
        assert!(!told(Commit::Swmu).is_on());
        assert!(told(Commit::Swfr).is_on());
    }
}
