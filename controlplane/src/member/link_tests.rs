//! A pair with two replication links: which one its log takes, and what the loss of one, in one way
//! or both, of both, or again and again, changes beside that.

use std::collections::HashSet;

use replication::{Directive, GateMode, Link, Path, PeerIndex, Report, Role};

use super::Member;
use crate::config::MemberConfig;
use crate::events::{Event, Removal};
use crate::identity::Identity;
use crate::status::MemberStatus;

const CONFIRMED: Role = Role::Primary(GateMode::Confirmed);
const FIRST: Path = Path::Link(Link::First);
const SECOND: Path = Path::Link(Link::Second);
/// Half the detection timeout, and half a heartbeat for the nodes' different rhythm.
const BOUND_MS: u64 = 28;

struct Pair {
    now_us: u64,
    members: [Member; 2],
    reports: [Report; 2],
    directives: [Option<Directive>; 2],
    events: [Vec<Event>; 2],
    /// Paths, and who speaks there in vain.
    cut: HashSet<(Path, usize)>,
    sent: Vec<(usize, Path, Vec<u8>)>,
}

fn member(side: usize, links: u8) -> Member {
    let names = ["a", "b"];
    let identity = Identity::sample(names[side], 1 + side as u64, [names[1 - side]]);
    Member::new(MemberConfig { links, ..MemberConfig::default() }, identity, 0).unwrap()
}

impl Pair {
    fn formed() -> Pair {
        Pair::with_links([2, 2])
    }

    fn with_links(links: [u8; 2]) -> Pair {
        let caught_up = Report { log_applied: true, ..Report::default() };
        let mut pair = Pair {
            now_us: 0,
            members: [member(0, links[0]), member(1, links[1])],
            reports: [caught_up; 2],
            directives: [None; 2],
            events: [Vec::new(), Vec::new()],
            cut: HashSet::new(),
            sent: Vec::new(),
        };
        pair.run_ms(200);
        assert_eq!([pair.role(0), pair.role(1)], [CONFIRMED, Role::Backup]);
        pair.events = [Vec::new(), Vec::new()];
        pair
    }

    fn run_ms(&mut self, ms: u64) {
        (0..ms).for_each(|_| self.turn());
    }

    fn turn(&mut self) {
        self.now_us += 1_000;
        for (from, path, bytes) in std::mem::take(&mut self.sent) {
            if !self.cut.contains(&(path, from)) {
                self.members[1 - from].receive(self.now_us, path, &bytes).unwrap();
            }
        }
        for side in 0..2 {
            let (member, sent) = (&mut self.members[side], &mut self.sent);
            let mut emit = |path, _: PeerIndex, bytes: &[u8]| {
                sent.push((side, path, bytes.to_vec()));
            };
            self.directives[side] = Some(member.poll(self.now_us, &self.reports[side], &mut emit));
            self.events[side].extend(std::iter::from_fn(|| Some(member.next_event()?.1)));
        }
    }

    /// How many milliseconds until `until` holds.
    #[track_caller]
    fn run_until(&mut self, until: impl Fn(&Pair) -> bool) -> u64 {
        for ms in 0..1_000 {
            if until(self) {
                return ms;
            }
            self.turn();
        }
        panic!("not within a second");
    }

    fn cut(&mut self, path: Path) {
        self.cut.extend([(path, 0), (path, 1)]);
    }

    fn role(&self, side: usize) -> Role {
        self.directives[side].unwrap().role
    }

    /// The link that each node's part of the log takes.
    fn links(&self) -> [Link; 2] {
        self.directives.map(|directive| directive.unwrap().logs[0].unwrap().link)
    }

    fn status(&self, side: usize) -> MemberStatus {
        self.members[side].status(self.now_us)
    }

    /// Both are what they were, and nothing happened that is more than a link's affair.
    #[track_caller]
    fn assert_untouched(&self) {
        assert_eq!([self.role(0), self.role(1)], [CONFIRMED, Role::Backup]);
        let of_link = |event: &Event| {
            let (Event::PathSilent { path, .. } | Event::PathHeard { path, .. }) = event else {
                return false;
            };
            matches!(path, Path::Link(_))
        };
        let others: Vec<_> = self.events.iter().flatten().filter(|event| !of_link(event)).collect();
        assert!(others.is_empty(), "{others:?}");
        assert!((0..2).all(|side| self.status(side).pair_in_sync));
    }
}

#[test]
fn pair_takes_the_first_link_and_stays_there() {
    let mut pair = Pair::formed();
    pair.run_ms(5_000);
    assert_eq!(pair.links(), [Link::First; 2]);
    assert_eq!(pair.events, [Vec::new(), Vec::new()]);
    assert_eq!(pair.status(0).counters.link_changes, 0);
}

#[test]
fn lost_link_costs_half_a_detection_timeout_and_a_log_line() {
    for moment_ms in 0..10 {
        let mut pair = Pair::formed();
        pair.run_ms(moment_ms);
        pair.cut(FIRST);
        let after_ms = pair.run_until(|pair| pair.links() == [Link::Second; 2]);
        assert!(after_ms <= BOUND_MS, "{after_ms} ms");
        pair.run_ms(1_000);
        pair.assert_untouched();
        for side in 0..2 {
            let [Event::PathSilent { path, spared: true, .. }] = pair.events[side][..] else {
                panic!("{:?}", pair.events[side]);
            };
            assert_eq!(path, FIRST);
            let status = pair.status(side);
            let (peer, changes) = (&status.peers[0], status.counters.link_changes);
            assert_eq!((peer.active_link, changes), (2, 1));
            assert!(!peer.link.heard && peer.second_link.unwrap().heard);
        }
        // It comes back, and nothing needs to move.
        pair.cut.clear();
        pair.run_ms(1_000);
        pair.assert_untouched();
        assert_eq!(pair.links(), [Link::Second; 2]);
        assert!(pair.events.iter().all(|events| events.len() == 2), "{:?}", pair.events);
        // But it does when the other one is lost.
        pair.cut(SECOND);
        let after_ms = pair.run_until(|pair| pair.links() == [Link::First; 2]);
        assert!(after_ms <= BOUND_MS, "{after_ms} ms");
        pair.run_ms(1_000);
        pair.assert_untouched();
    }
}

#[test]
fn link_that_is_lost_one_way_is_left_by_whom_it_does_not_carry() {
    for from in 0..2 {
        let mut pair = Pair::formed();
        pair.cut.insert((FIRST, from));
        let after_ms = pair.run_until(|pair| pair.links()[from] == Link::Second);
        assert!(after_ms <= BOUND_MS, "{after_ms} ms");
        pair.run_ms(1_000);
        assert_eq!(pair.links()[1 - from], Link::First);
        pair.assert_untouched();
        assert_eq!(pair.events[from], []);
        assert_eq!(pair.events[1 - from].len(), 1);
    }
}

#[test]
fn two_links_that_carry_one_way_each_are_enough() {
    let mut pair = Pair::formed();
    pair.cut.insert((FIRST, 0));
    pair.run_ms(100);
    pair.cut.insert((SECOND, 1));
    pair.run_ms(1_000);
    assert_eq!(pair.links(), [Link::Second, Link::First]);
    pair.assert_untouched();
}

#[test]
fn loss_of_both_links_parts_the_pair_as_that_of_the_only_one() {
    for (links, paths) in [(1, &[FIRST][..]), (2, &[FIRST, SECOND])] {
        let mut pair = Pair::with_links([links; 2]);
        paths.iter().for_each(|path| pair.cut(*path));
        let after_ms = pair.run_until(|pair| pair.role(0) == Role::Primary(GateMode::Open));
        assert!((50..=70).contains(&after_ms), "{after_ms} ms");
        let removed = |event: &Event| {
            matches!(event, Event::BackupRemoved { removal: Removal::LinkSilent, .. })
        };
        assert!(pair.events[0].iter().any(removed), "{:?}", pair.events[0]);
        pair.run_ms(500);
        assert_eq!(pair.role(1), Role::Spare, "and nobody takes over");
    }
}

#[test]
fn links_that_come_and_go_part_nobody() {
    let mut pair = Pair::formed();
    for turn in 0..40 {
        let (bad, good) = if turn % 2 == 0 { (FIRST, SECOND) } else { (SECOND, FIRST) };
        pair.cut.retain(|(path, _)| *path != good);
        pair.cut(bad);
        pair.run_ms(30 + turn * 7 % 40);
    }
    let changes = pair.status(0).counters.link_changes;
    assert!(changes <= 40, "{changes}");
    pair.assert_untouched();
}

#[test]
fn link_that_flaps_is_left_once() {
    let mut pair = Pair::formed();
    for _ in 0..40 {
        pair.cut(FIRST);
        pair.run_ms(40);
        pair.cut.clear();
        pair.run_ms(40);
    }
    pair.assert_untouched();
    assert_eq!(pair.status(0).counters.link_changes, 1);
}

#[test]
fn log_that_is_confirmed_stays_where_it_is() {
    let mut pair = Pair::formed();
    // Heartbeats of the first link wait behind a long queue; what is logged there is confirmed.
    pair.cut(FIRST);
    for _ in 0..40 {
        pair.reports[0].unconfirmed_since_us[0] = Some(pair.now_us);
        pair.turn();
    }
    assert_eq!(pair.links()[0], Link::First);
    for ms in 0..=BOUND_MS {
        assert!(ms < BOUND_MS, "the log is not confirmed any more");
        pair.turn();
        if pair.links()[0] == Link::Second {
            break;
        }
    }
}

#[test]
fn peer_with_one_link_is_reached_on_that() {
    let mut pair = Pair::with_links([2, 1]);
    pair.run_ms(1_000);
    assert_eq!(pair.links(), [Link::First; 2]);
    assert_eq!(pair.status(0).counters.link_changes, 0);
}

#[test]
fn a_pair_forms_when_one_of_the_links_never_works() {
    let mut pair = Pair::with_links([2, 2]);
    pair.cut(FIRST);
    pair.members = [member(0, 2), member(1, 2)];
    (pair.now_us, pair.events) = (0, Default::default());
    pair.sent.clear();
    pair.run_ms(500);
    assert_eq!([pair.role(0), pair.role(1)], [CONFIRMED, Role::Backup]);
    assert_eq!(pair.links(), [Link::Second; 2]);
}
