//! Two members in virtual time.

use replication::{Directive, GateMode, Log, Path, Report, Role};

use crate::config::MemberConfig;
use crate::events::Event;
use crate::identity::Identity;
use crate::manifest::Manifest;
use crate::member::Member;
use crate::message::MessageError;

const CONFIG: &str = "service[web].port = 80\nshards = 4\n";
const TURN_US: u64 = 1_000;

pub fn identity(name: &str, run: u64) -> Identity {
    let peer = if name == "a" { "b" } else { "a" };
    Identity {
        config: Manifest::new(CONFIG),
        content: Manifest::new("c0ffee 12 index.html\n"),
        workers: 2,
        ..Identity::sample(name, run, [peer])
    }
}

/// Two members joined by perfect paths that can be cut, and everything that happened.
pub struct Pair {
    pub now_us: u64,
    pub members: [Option<Member>; 2],
    pub reports: [Report; 2],
    pub directives: [Option<Directive>; 2],
    pub events: [Vec<Event>; 2],
    pub cut: [bool; Path::ALL.len()],
    /// Nobody hears this side on the LAN.
    pub unheard: [bool; 2],
    pub sent: Vec<(usize, Path, Vec<u8>)>,
}

impl Pair {
    pub fn new(a: Option<Identity>, b: Option<Identity>) -> Pair {
        let caught_up = Report { log_applied: true, ..Report::default() };
        let start = |identity: Identity| Member::new(MemberConfig::default(), identity, 0).unwrap();
        Pair {
            now_us: 0,
            members: [a.map(start), b.map(start)],
            reports: [caught_up; 2],
            directives: [None, None],
            events: [Vec::new(), Vec::new()],
            cut: [false; Path::ALL.len()],
            unheard: [false; 2],
            sent: Vec::new(),
        }
    }

    pub fn formed() -> Pair {
        let mut pair = Pair::new(Some(identity("a", 1)), Some(identity("b", 2)));
        pair.run_ms(50);
        assert_eq!(pair.role(0), Role::Primary(GateMode::Confirmed));
        assert_eq!(pair.role(1), Role::Backup);
        pair
    }

    pub fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now_us += TURN_US;
            self.turn();
        }
    }

    pub fn turn(&mut self) {
        for (from, path, bytes) in std::mem::take(&mut self.sent) {
            if let Some(member) = &mut self.members[1 - from]
                && !self.cut[path.place()]
                && !(path == Path::Lan && self.unheard[from])
            {
                let taken = member.receive(self.now_us, path, &bytes);
                assert!(matches!(taken, Ok(()) | Err(MessageError::UnknownKey(_))), "{taken:?}");
            }
        }
        for side in 0..2 {
            let Some(member) = &mut self.members[side] else { continue };
            let sent = &mut self.sent;
            let mut emit = |path, _, bytes: &[u8]| sent.push((side, path, bytes.to_vec()));
            self.directives[side] = Some(member.poll(self.now_us, &self.reports[side], &mut emit));
            while let Some((_, event)) = member.next_event() {
                self.events[side].push(event);
            }
        }
    }

    /// The next datagram that `side` sends.
    pub fn next_from(&mut self, side: usize) -> (Path, Vec<u8>) {
        loop {
            self.run_ms(1);
            if let Some((_, path, bytes)) = self.sent.iter().find(|(from, ..)| *from == side) {
                return (*path, bytes.clone());
            }
        }
    }

    pub fn role(&self, side: usize) -> Role {
        self.directives[side].expect("polled").role
    }

    /// The log that `side` shares with the other one.
    pub fn log(&self, side: usize) -> Option<Log> {
        self.directives[side].expect("polled").logs[0]
    }

    pub fn happened(&self, side: usize, event: impl Fn(&Event) -> bool) -> bool {
        self.events[side].iter().any(event)
    }
}
