//! The service LAN fails at one node, in one direction or both, while the link lives.

use replication::Solicited;

use super::*;
use crate::status::LanState;

const A: usize = 0;
const B: usize = 1;
const SERVING: Role = Role::Primary(GateMode::Confirmed);

/// A pair whose neighbours answer who is reached by them and reaches them.
struct World {
    pair: Pair,
    /// What each node says on the LAN comes through, and what is said to it.
    out: [bool; 2],
    into: [bool; 2],
    neighbours: [u8; 2],
    unanswered_since_us: [Option<u64>; 2],
}

impl World {
    fn formed() -> World {
        let mut pair = Pair::formed();
        pair.run_ms(100);
        World {
            pair,
            out: [true; 2],
            into: [true; 2],
            neighbours: [3; 2],
            unanswered_since_us: [None; 2],
        }
    }

    fn run_ms(&mut self, ms: u64) {
        (0..ms).for_each(|_| self.turn());
    }

    fn turn(&mut self) {
        for side in [A, B] {
            self.pair.unheard[side] = !(self.out[side] && self.into[1 - side]);
            let directive = self.pair.directives[side].unwrap();
            let works = self.out[side] && self.into[side];
            let asks = directive.solicits && self.neighbours[side] > 0;
            let since_us = self.unanswered_since_us[side].unwrap_or(self.pair.now_us);
            self.unanswered_since_us[side] = (asks && !works).then_some(since_us);
            let told = Solicited {
                neighbours: self.neighbours[side],
                answered: asks && works,
                unanswered_since_us: self.unanswered_since_us[side],
            };
            let report = &mut self.pair.reports[side];
            report.lan = directive.solicits.then_some(told);
            report.quiet = directive.quiesce != 0;
        }
        self.pair.run_ms(1);
    }

    /// How many milliseconds until `side` serves.
    #[track_caller]
    fn until_it_serves(&mut self, side: usize) -> u64 {
        for ms in 0..20_000 {
            if self.pair.role(side) == SERVING {
                return ms;
            }
            self.turn();
        }
        panic!("it never serves");
    }

    fn unplug(&mut self, side: usize) {
        (self.out[side], self.into[side]) = (false, false);
    }

    fn plug_in(&mut self, side: usize) {
        (self.out[side], self.into[side]) = (true, true);
    }

    fn count(&self, side: usize, name: &str) -> usize {
        self.pair.events[side].iter().filter(|event| event.name() == name).count()
    }

    fn lan(&self, side: usize) -> LanState {
        self.pair.members[side].as_ref().unwrap().status(self.pair.now_us).lan
    }

    /// The directives that say to ask neighbours.
    fn solicits(&self) -> [bool; 2] {
        self.pair.directives.map(|directive| directive.unwrap().solicits)
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert_eq!([self.pair.role(A), self.pair.role(B)], [SERVING, Role::Backup]);
        assert_eq!(self.pair.directives[A].unwrap().epoch, Epoch(1));
        assert_eq!(self.count(A, "switchover_began"), 0);
    }
}

#[test]
fn primary_that_clients_cannot_reach_gives_the_service_to_a_backup_that_they_can() {
    for (out, into) in [(false, false), (true, false), (false, true)] {
        let mut world = World::formed();
        (world.out[A], world.into[A]) = (out, into);
        let after_ms = world.until_it_serves(B);
        assert!((150..=180).contains(&after_ms), "{after_ms} ms, out {out}, in {}", into);
        world.run_ms(5);
        assert_eq!(world.pair.role(A), Role::Backup, "both stay in sync");
        assert_eq!([world.lan(A), world.lan(B)], [LanState::Silent, LanState::Answers]);
        let names: Vec<_> = world.pair.events[A].iter().map(Event::name).collect();
        let expected = ["lan_lost", "leaves_lan", "switchover_began", "handed_over"];
        assert!(names.ends_with(&expected), "{names:?}");
        let peer = world.pair.members[B].as_ref().unwrap().status(world.pair.now_us);
        assert_eq!(peer.peers[0].lan_state, LanState::Silent);
        world.run_ms(60_000);
        assert_eq!(world.pair.role(B), SERVING, "it stays there");
        world.plug_in(A);
        world.run_ms(200);
        assert_eq!(world.lan(A), LanState::Untested);
        assert_eq!((world.count(A, "lan_lost"), world.count(A, "lan_regained")), (1, 1));
        assert_eq!(world.count(B, "lan_lost"), 0);
        assert_eq!(world.pair.role(B), SERVING, "there is no way back by itself");
    }
}

#[test]
fn nobody_is_asked_while_the_lan_is_heard() {
    let mut world = World::formed();
    for _ in 0..3_000 {
        world.turn();
        assert_eq!(world.solicits(), [false; 2]);
    }
    world.assert_untouched();
    world.into[A] = false;
    world.run_ms(70);
    assert_eq!(world.solicits(), [true; 2], "both, whoever does not hear");
    world.plug_in(A);
    world.run_ms(20);
    assert_eq!(world.solicits(), [false; 2]);
    world.run_ms(1_000);
    world.assert_untouched();
}

#[test]
fn backup_that_loses_its_lan_moves_nothing() {
    for (out, into) in [(false, false), (true, false), (false, true)] {
        let mut world = World::formed();
        (world.out[B], world.into[B]) = (out, into);
        world.run_ms(30_000);
        world.assert_untouched();
        assert_eq!([world.lan(A), world.lan(B)], [LanState::Answers, LanState::Silent]);
        assert_eq!((world.count(A, "lan_lost"), world.count(B, "lan_lost")), (0, 1));
    }
}

#[test]
fn switch_that_dies_for_all_moves_nothing() {
    let mut world = World::formed();
    world.unplug(A);
    world.unplug(B);
    world.run_ms(30_000);
    world.assert_untouched();
    assert_eq!([world.lan(A), world.lan(B)], [LanState::Silent; 2]);
    // The backup's port is the first to be back.
    world.plug_in(B);
    world.until_it_serves(B);
}

#[test]
fn where_nobody_is_there_to_be_asked_nothing_moves() {
    for alone in [[0, 3], [3, 0], [0, 0]] {
        let mut world = World::formed();
        world.neighbours = alone;
        world.unplug(A);
        world.run_ms(10_000);
        world.assert_untouched();
        assert_eq!(world.lan(A) == LanState::Silent, alone[0] > 0);
    }
}

#[test]
fn backup_whose_word_does_not_come_over_the_link_is_given_nothing() {
    let mut world = World::formed();
    world.unplug(A);
    world.pair.cut[Path::Link(Link::First).place()] = true;
    world.run_ms(1_000);
    assert_eq!(world.count(A, "switchover_began"), 0, "all paths are silent: a takeover");
}

#[test]
fn service_does_not_go_to_and_fro() {
    let mut world = World::formed();
    let mut moves = 0;
    for turn in 0..120 {
        let (bad, good) = if turn % 2 == 0 { (A, B) } else { (B, A) };
        world.plug_in(good);
        world.unplug(bad);
        world.run_ms(500);
        moves = world.count(A, "handed_over") + world.count(B, "handed_over");
    }
    assert!((2..=7).contains(&moves), "{moves} times in a minute");
}

#[test]
fn attempt_that_fails_is_repeated_with_patience() {
    let mut world = World::formed();
    world.unplug(A);
    world.pair.reports[B].log_applied = false;
    world.run_ms(20_000);
    let began = world.count(A, "switchover_began");
    assert!((3..=5).contains(&began), "{began} times");
    assert_eq!(world.count(A, "switchover_failed"), began);
    world.pair.reports[B].log_applied = true;
    world.until_it_serves(B);
}

#[test]
fn operator_may_choose_what_the_rule_would() {
    let mut world = World::formed();
    world.unplug(A);
    world.run_ms(120);
    assert_eq!(world.lan(B), LanState::Answers);
    let now_us = world.pair.now_us;
    let order = Order::Switchover { to: None };
    let began = world.pair.members[A].as_mut().unwrap().order(now_us, &order);
    assert_eq!(began, Ok(Accepted::Began { attempt: 1 }));
    world.until_it_serves(B);
    // And is refused what nobody could use.
    let now_us = world.pair.now_us;
    let back = world.pair.members[B].as_mut().unwrap().order(now_us, &order);
    assert!(matches!(back, Err(OrderRefused::PeerNotHeard { .. })), "{back:?}");
}

#[test]
fn nothing_is_asked_or_moved_where_the_watch_is_off() {
    let config = MemberConfig { lan_watch: false, ..MemberConfig::default() };
    let mut pair = Pair::new(None, None);
    for (side, name) in ["a", "b"].into_iter().enumerate() {
        let identity = identity(name, 1 + side as u64);
        pair.members[side] = Some(Member::new(config.clone(), identity, 0).unwrap());
    }
    pair.run_ms(50);
    let unanswered_since_us = [None; 2];
    let (out, into, neighbours) = ([true; 2], [true; 2], [3; 2]);
    let mut world = World { pair, out, into, neighbours, unanswered_since_us };
    world.unplug(A);
    for _ in 0..5_000 {
        world.turn();
        assert_eq!(world.solicits(), [false; 2]);
    }
    world.assert_untouched();
}
