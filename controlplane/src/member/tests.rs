//! The rules of single phases, told as short stories. `tests/pair` has the schedules of faults.

use arrayvec::ArrayVec;
use replication::{
    Directive, Epoch, GateMode, Incarnation, KeyRing, Log, Mismatch, Path, PeerIndex, Position,
    Report, Role, Transfer,
};

use super::Member;
use crate::config::MemberConfig;
use crate::events::{Difference, Event, Removal, Severity, SpareReason};
use crate::identity::{Identity, NodeName};
use crate::manifest::Manifest;
use crate::message::MessageError;
use crate::order::{Accepted, Order, OrderRefused};
use crate::status::{Gate, MemberStatus, Standing};

const CONFIG: &str = "service[web].port = 80\nshards = 4\n";
const TURN_US: u64 = 1_000;

fn identity(name: &str, run: u64) -> Identity {
    Identity {
        name: NodeName::new(name).unwrap(),
        incarnation: Incarnation(run),
        peers: ArrayVec::from_iter([NodeName::new(if name == "a" { "b" } else { "a" }).unwrap()]),
        keys: KeyRing::single("lab", b"secret"),
        config: Manifest::new(CONFIG),
        content: Manifest::new("c0ffee 12 index.html\n"),
        log_version: 1,
        link_version: 1,
        snapshot_version: 1,
        workers: 2,
    }
}

/// Two members joined by perfect paths that can be cut, and everything that happened.
struct Pair {
    now_us: u64,
    members: [Option<Member>; 2],
    reports: [Report; 2],
    directives: [Option<Directive>; 2],
    events: [Vec<Event>; 2],
    cut: [bool; 2],
    sent: Vec<(usize, Path, Vec<u8>)>,
}

impl Pair {
    fn new(a: Option<Identity>, b: Option<Identity>) -> Pair {
        let caught_up = Report { log_applied: true, ..Report::default() };
        let start = |identity: Identity| Member::new(MemberConfig::default(), identity, 0).unwrap();
        Pair {
            now_us: 0,
            members: [a.map(start), b.map(start)],
            reports: [caught_up; 2],
            directives: [None, None],
            events: [Vec::new(), Vec::new()],
            cut: [false; 2],
            sent: Vec::new(),
        }
    }

    fn formed() -> Pair {
        let mut pair = Pair::new(Some(identity("a", 1)), Some(identity("b", 2)));
        pair.run_ms(50);
        assert_eq!(pair.role(0), Role::Primary(GateMode::Confirmed));
        assert_eq!(pair.role(1), Role::Backup);
        pair
    }

    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now_us += TURN_US;
            self.turn();
        }
    }

    fn turn(&mut self) {
        for (from, path, bytes) in std::mem::take(&mut self.sent) {
            if let Some(member) = &mut self.members[1 - from]
                && !self.cut[path as usize]
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
    fn next_from(&mut self, side: usize) -> (Path, Vec<u8>) {
        loop {
            self.run_ms(1);
            if let Some((_, path, bytes)) = self.sent.iter().find(|(from, ..)| *from == side) {
                return (*path, bytes.clone());
            }
        }
    }

    fn role(&self, side: usize) -> Role {
        self.directives[side].expect("polled").role
    }

    /// The log that `side` shares with the other one.
    fn log(&self, side: usize) -> Option<Log> {
        self.directives[side].expect("polled").logs[0]
    }

    fn happened(&self, side: usize, event: impl Fn(&Event) -> bool) -> bool {
        self.events[side].iter().any(event)
    }
}

#[test]
fn higher_priority_wins_the_first_start_the_smaller_name_breaks_a_tie() {
    for (priority_b, primary) in [(100, 0), (101, 1)] {
        let mut pair = Pair::new(Some(identity("a", 1)), None);
        let config = MemberConfig { priority: priority_b, ..MemberConfig::default() };
        pair.members[1] = Some(Member::new(config, identity("b", 2), 0).unwrap());
        pair.run_ms(50);
        assert_eq!(pair.role(primary), Role::Primary(GateMode::Confirmed));
        assert_eq!(pair.role(1 - primary), Role::Backup);
        let directive = pair.directives[primary].unwrap();
        assert_eq!(directive.epoch, Epoch(1));
        let log = directive.logs[0].unwrap();
        assert_eq!((log.run, log.workers), (Incarnation(2 - primary as u64), 2));
        assert!(log.counts && !log.hands_over);
    }
}

#[test]
fn nothing_serves_before_the_peer_has_acknowledged() {
    let mut pair = Pair::new(Some(identity("a", 1)), Some(identity("b", 2)));
    for _ in 0..50 {
        pair.run_ms(1);
        let serves = matches!(pair.role(0), Role::Primary(_));
        assert!(!serves || pair.role(1) == Role::Backup);
    }
}

#[test]
fn a_lone_node_serves_after_the_lone_start_time_and_not_before() {
    let mut pair = Pair::new(Some(identity("a", 1)), None);
    pair.run_ms(3_000);
    assert_eq!(pair.role(0), Role::Spare);
    pair.run_ms(10);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Open));
    assert_eq!(pair.directives[0].unwrap().epoch, Epoch(1));
    pair.members[1] =
        Some(Member::new(MemberConfig::default(), identity("b", 2), pair.now_us).unwrap());
    pair.run_ms(5_000);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Open));
    assert_eq!(pair.role(1), Role::Joining);
    let reason = SpareReason::PeerServes;
    assert!(pair.happened(1, |e| *e == Event::BecameSpare { epoch: Epoch(1), reason }));
}

#[test]
fn another_configuration_is_refused_with_what_differs() {
    let mut b = identity("b", 2);
    b.config = Manifest::new("service[web].port = 8080\nshards = 4\n");
    let mut pair = Pair::new(Some(identity("a", 1)), Some(b));
    pair.run_ms(200);
    assert_eq!((pair.role(0), pair.role(1)), (Role::Spare, Role::Spare));
    let diff = "- service[web].port = 80\n+ service[web].port = 8080\n".to_owned();
    let what = Difference::Config;
    assert!(pair.happened(0, |e| *e == Event::Refused { what, diff: diff.clone() }));
    let diff = "- service[web].port = 8080\n+ service[web].port = 80\n";
    assert_eq!(pair.members[1].as_ref().unwrap().status(pair.now_us).refusals[0].diff, diff);
    pair.run_ms(3_100);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Open), "it ranks higher and serves alone");
    assert_eq!(pair.role(1), Role::Spare);
    assert!(pair.happened(0, |e| e.severity() == Severity::Error && e.name() == "lone_start"));
}

#[test]
fn other_files_are_refused_with_what_differs_also_when_the_list_is_long() {
    let list = |skip: u32| -> String {
        (0..2_000).filter(|n| *n != skip).map(|n| format!("{n:064x} 10 dir/{n}.html\n")).collect()
    };
    let (mut a, mut b) = (identity("a", 1), identity("b", 2));
    a.content = Manifest::new(list(700));
    b.content = Manifest::new(list(1_500));
    b.log_version = 2;
    let mut pair = Pair::new(Some(a), Some(b));
    pair.run_ms(1_000);
    let refusals = pair.members[0].as_ref().unwrap().status(pair.now_us).refusals;
    assert_eq!(refusals[0].what, "log version (ours 1, the peer's 2)");
    assert_eq!(refusals[1].what, "files served");
    assert_eq!(refusals[1].diff.lines().count(), 2);
    assert!(refusals[1].diff.contains("dir/1500.html") && refusals[1].diff.contains("dir/700"));
}

#[test]
fn a_fresh_node_with_other_files_is_refused_by_a_serving_peer_without_disturbing_it() {
    let mut pair = Pair::new(Some(identity("a", 1)), None);
    pair.run_ms(3_100);
    let mut b = identity("b", 2);
    b.content = Manifest::new("");
    pair.members[1] = Some(Member::new(MemberConfig::default(), b, pair.now_us).unwrap());
    pair.run_ms(300);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Open));
    assert!(pair.happened(1, |e| matches!(e, Event::Refused { what: Difference::Content, .. })));
    assert!(!pair.happened(0, |e| matches!(e, Event::Refused { .. })));
}

#[test]
fn no_pair_forms_on_one_path_alone() {
    let mut pair = Pair::new(Some(identity("a", 1)), Some(identity("b", 2)));
    pair.cut[Path::Lan as usize] = true;
    pair.run_ms(3_200);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Open));
    assert_eq!(pair.role(1), Role::Spare);
    let (hears_link, hears_lan) = (true, false);
    let peer = NodeName::new("b").unwrap();
    assert!(pair.happened(0, |e| *e == Event::CannotPair { peer, hears_link, hears_lan }));
}

#[test]
fn takeover_happens_within_detection_and_leaves_a_timeline() {
    let mut pair = Pair::formed();
    pair.run_ms(500);
    let died_us = pair.now_us;
    pair.members[0] = None;
    pair.reports[1].log_applied = true;
    pair.run_ms(52);
    assert_eq!(pair.role(1), Role::Primary(GateMode::Open));
    assert_eq!(pair.directives[1].unwrap().epoch, Epoch(2));
    pair.reports[1].serving_since_us = Some(pair.now_us);
    pair.reports[1].first_packet_us = Some(pair.now_us + 40);
    pair.reports[1].last_kick_us = Some(pair.now_us + 60);
    pair.run_ms(2);
    let status = pair.members[1].as_ref().unwrap().status(pair.now_us);
    let timeline = status.takeover.unwrap();
    assert!(timeline.is_complete());
    assert!(timeline.last_heartbeat_us + 6_000 >= died_us);
    assert!(timeline.suspected_us > timeline.last_heartbeat_us + 50_000);
    assert!(timeline.suspected_us <= timeline.last_heartbeat_us + 52_000);
    assert!(pair.happened(1, |e| *e == Event::TakeoverDone { timeline }));
    assert_eq!((status.standing, status.gate), (Standing::Primary, Some(Gate::Open)));
}

#[test]
fn a_restarted_primary_is_taken_over_from_at_once() {
    let mut pair = Pair::formed();
    pair.members[0] =
        Some(Member::new(MemberConfig::default(), identity("a", 3), pair.now_us).unwrap());
    pair.run_ms(20);
    assert_eq!(pair.role(1), Role::Primary(GateMode::Open));
    pair.run_ms(5_000);
    assert_eq!(pair.role(0), Role::Joining);
}

#[test]
fn an_unconfirmed_log_removes_the_backup_which_must_acknowledge_first() {
    let mut pair = Pair::formed();
    pair.run_ms(100);
    pair.reports[0].unconfirmed_since_us[0] = Some(pair.now_us);
    pair.run_ms(49);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Confirmed));
    let mut waited = false;
    for _ in 0..10 {
        pair.run_ms(1);
        let opened = pair.role(0) == Role::Primary(GateMode::Open);
        assert!(!opened || matches!(pair.role(1), Role::Spare | Role::Joining));
        waited |= !opened && pair.happened(0, |e| matches!(e, Event::BackupRemoved { .. }));
        if waited && !opened {
            let log = pair.log(0).unwrap();
            assert_eq!((log.epoch, log.run, log.counts), (Epoch(1), Incarnation(2), true));
        }
    }
    assert!(waited);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Open));
    assert!(pair.happened(0, |e| matches!(e, Event::GateOpened { epoch: Epoch(2), .. })));
}

#[test]
fn a_backup_that_differs_leaves_loudly_and_the_primary_goes_on_alone() {
    let mut pair = Pair::formed();
    let mismatch = Mismatch { shard: 3, position: Position(9), primary: 1, ours: 2 };
    pair.reports[1].digest_mismatch = Some(mismatch);
    pair.run_ms(3);
    assert_eq!(pair.role(1), Role::Spare);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Open));
    assert!(pair.happened(1, |e| *e == Event::Diverged { mismatch }));
    pair.members[0] = None;
    pair.run_ms(1_000);
    assert_eq!(pair.role(1), Role::Spare);
}

#[test]
fn spare_that_starts_over_is_no_rival_of_a_peer_that_is_gone() {
    let mut pair = Pair::formed();
    let mismatch = Mismatch { shard: 3, position: Position(9), primary: 1, ours: 2 };
    pair.reports[1].digest_mismatch = Some(mismatch);
    pair.run_ms(1);
    pair.members[0] = None;
    pair.sent.clear();
    pair.reports[1] = Report::default();
    pair.run_ms(MemberConfig::default().lone_start_us / 1000 + 1_000);
    // The first start is epoch 1 again, as was the view that the peer spoke of last.
    assert_eq!(pair.role(1), Role::Primary(GateMode::Open));
    let starts = pair.events[1].iter().filter(|e| matches!(e, Event::LoneStart { .. }));
    assert_eq!(starts.count(), 1);
}

#[test]
fn a_stalled_primary_is_silent_until_its_peer_has_answered() {
    let mut pair = Pair::formed();
    pair.run_ms(100);
    pair.reports[0].stalled_for_us = 45_000;
    pair.turn();
    assert!(pair.directives[0].unwrap().silent);
    pair.reports[0].stalled_for_us = 0;
    pair.run_ms(4);
    assert_eq!(
        pair.directives[0].unwrap(),
        Directive {
            epoch: Epoch(1),
            role: Role::Primary(GateMode::Confirmed),
            silent: false,
            logs: [
                Some(Log {
                    epoch: Epoch(1),
                    run: Incarnation(2),
                    workers: 2,
                    counts: true,
                    hands_over: false,
                }),
                None,
                None,
            ],
            quiesce: 0,
            passes_on: None,
        }
    );
    assert!(pair.happened(0, |e| matches!(e, Event::DoubtSettled { .. })));
}

#[test]
fn repeated_foreign_and_former_datagrams_change_nothing_and_are_counted() {
    let mut pair = Pair::formed();
    let former = Member::new(MemberConfig::default(), identity("a", 1), 0).map(|mut member| {
        let mut sent = Vec::new();
        member.poll(0, &Report::default(), &mut |_, _, bytes: &[u8]| sent.push(bytes.to_vec()));
        sent.remove(0)
    });
    let former = former.unwrap();
    let now_us = pair.now_us;
    let (path, recorded) = pair.next_from(0);
    let (_, own) = pair.next_from(1);
    pair.run_ms(10);
    let b = pair.members[1].as_mut().unwrap();
    assert_eq!(b.receive(now_us, path, &recorded), Err(MessageError::Replayed));
    assert_eq!(b.receive(now_us, path, &own), Err(MessageError::Own));
    let mut other = identity("c", 9);
    other.peers = ArrayVec::from_iter([NodeName::new("b").unwrap()]);
    let mut stranger = Member::new(MemberConfig::default(), other, 0).unwrap();
    stranger.poll(0, &Report::default(), &mut |path, _, bytes: &[u8]| {
        let refused = b.receive(now_us, path, bytes);
        assert!(matches!(refused, Err(MessageError::Stranger(_))));
    });
    assert_eq!(b.receive(now_us, Path::Lan, b"garbage"), Err(MessageError::Malformed));
    // Another run of the primary is heard; what the former one said is void from then on.
    pair.members[0] = Some(Member::new(MemberConfig::default(), identity("a", 7), now_us).unwrap());
    pair.run_ms(20);
    let b = pair.members[1].as_mut().unwrap();
    assert_eq!(b.receive(now_us, Path::Link, &former), Err(MessageError::FormerRun));
    let counters = b.status(now_us).counters;
    assert_eq!((counters.strangers, counters.malformed, counters.former_run), (2, 1, 1));
}

#[test]
fn a_late_datagram_of_an_earlier_run_does_not_bring_it_back() {
    let mut pair = Pair::new(None, Some(identity("b", 2)));
    let (path, introduction) = pair.next_from(1);
    let mut earlier = Member::new(MemberConfig::default(), identity("a", 1), 0).unwrap();
    earlier.receive(pair.now_us, path, &introduction).unwrap();
    let mut late = Vec::new();
    earlier.poll(pair.now_us, &Report::default(), &mut |_, _, bytes: &[u8]| {
        late.push(bytes.to_vec());
    });
    // It names this run of b, which never got it; meanwhile a has been started again.
    let now_us = pair.now_us;
    pair.members[0] = Some(Member::new(MemberConfig::default(), identity("a", 7), now_us).unwrap());
    pair.run_ms(50);
    assert_eq!(pair.role(1), Role::Backup);
    for datagram in &late {
        pair.members[1].as_mut().unwrap().receive(pair.now_us, path, datagram).unwrap();
        pair.run_ms(200);
        assert_eq!(pair.role(0), Role::Primary(GateMode::Confirmed));
        assert_eq!(pair.role(1), Role::Backup);
    }
}

#[test]
fn a_proposal_that_nobody_acknowledged_makes_no_primary() {
    let mut pair = Pair::new(Some(identity("a", 1)), Some(identity("b", 2)));
    let standing = |pair: &Pair| pair.members[0].as_ref().unwrap().status(pair.now_us).standing;
    while standing(&pair) != Standing::Forming {
        pair.run_ms(1);
    }
    pair.members[1] = None;
    pair.run_ms(500);
    assert_eq!(standing(&pair), Standing::Starting, "it listens afresh");
    pair.run_ms(3_000);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Open));
}

#[test]
fn asks_to_be_polled_when_a_heartbeat_or_a_suspicion_is_due() {
    let mut pair = Pair::formed();
    pair.members[0] = None;
    for _ in 0..200 {
        let member = pair.members[1].as_mut().unwrap();
        let deadline_us = member.next_deadline_us();
        assert!(deadline_us <= pair.now_us + 5_000);
        pair.now_us = pair.now_us.max(deadline_us);
        pair.turn();
    }
    let Some(Event::TookOver { silent_us, .. }) =
        pair.events[1].iter().find(|e| matches!(e, Event::TookOver { .. })).cloned()
    else {
        panic!("took over");
    };
    assert_eq!(silent_us, 50_001, "to the microsecond");
}

/// Node a has died, b serves alone and hears a run of a that has just begun.
fn came_back() -> Pair {
    let mut pair = Pair::formed();
    pair.members[0] = None;
    pair.run_ms(200);
    assert_eq!(pair.role(1), Role::Primary(GateMode::Open));
    pair.members[0] =
        Some(Member::new(MemberConfig::default(), identity("a", 7), pair.now_us).unwrap());
    pair.run_ms(100);
    pair
}

#[test]
fn node_that_comes_back_is_given_the_state_and_then_counts() {
    let mut pair = came_back();
    let (primary, joining) = (pair.log(1).unwrap(), pair.log(0).unwrap());
    assert_eq!(pair.role(1), Role::Primary(GateMode::Open));
    assert!(primary.hands_over && !primary.counts);
    assert_eq!(pair.role(0), Role::Joining);
    assert_eq!(primary.epoch, joining.epoch, "both open the same log");
    // One end alone says too little.
    pair.reports[1].transfer = Transfer::Complete;
    pair.run_ms(20);
    assert_eq!(pair.role(1), Role::Primary(GateMode::Open));
    pair.reports[0].transfer = Transfer::Complete;
    pair.run_ms(20);
    assert_eq!(pair.role(1), Role::Primary(GateMode::Confirmed));
    assert_eq!(pair.role(0), Role::Joining, "not before all that left is held");
    pair.reports[1].transfer = Transfer::Settled;
    pair.run_ms(20);
    assert_eq!(pair.role(0), Role::Backup);
    let logs = [pair.log(0).unwrap(), pair.log(1).unwrap()];
    assert!(logs[0].is_same(&joining) && logs[1].epoch == joining.epoch, "the log goes on");
    // And it is worth as much as the first backup was.
    pair.members[1] = None;
    pair.run_ms(200);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Open));
    assert!(pair.directives[0].unwrap().epoch > joining.epoch);
}

#[test]
fn joining_node_never_takes_over() {
    let mut pair = came_back();
    pair.reports = [Transfer::Complete; 2].map(|transfer| Report { transfer, ..Report::default() });
    pair.run_ms(20);
    assert_eq!(pair.role(1), Role::Primary(GateMode::Confirmed));
    pair.members[1] = None;
    pair.run_ms(1_000);
    assert_eq!(pair.role(0), Role::Spare, "nobody said that it is in sync");
}

#[test]
fn spare_that_is_left_alone_serves_afresh_and_gives_way_to_who_has_the_state() {
    let mut pair = came_back();
    let serving = pair.directives[1].unwrap().epoch;
    pair.reports[0].transfer = Transfer::Failed;
    pair.run_ms(20);
    assert_eq!(pair.role(0), Role::Spare);
    // Nothing is heard, but the primary lives.
    pair.cut = [true; 2];
    pair.reports = [Report::default(); 2];
    pair.run_ms(MemberConfig::default().lone_start_us / 1000 - 100);
    assert_eq!(pair.role(0), Role::Spare);
    pair.run_ms(200);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Open));
    assert!(pair.directives[0].unwrap().epoch < serving);
    pair.cut = [false; 2];
    pair.run_ms(50);
    let role = pair.role(0);
    assert!(matches!(role, Role::Spare | Role::Joining), "what it served was its own: {role:?}");
    assert!(matches!(pair.role(1), Role::Primary(_)));
}

#[test]
fn gate_opens_again_when_the_joining_node_dies() {
    let mut pair = came_back();
    pair.reports = [Transfer::Complete; 2].map(|transfer| Report { transfer, ..Report::default() });
    pair.run_ms(20);
    assert_eq!(pair.role(1), Role::Primary(GateMode::Confirmed));
    pair.members[0] = None;
    pair.run_ms(200);
    assert_eq!((pair.role(1), pair.log(1)), (Role::Primary(GateMode::Open), None));
    assert!(pair.happened(1, |e| matches!(e, Event::AdmissionAbandoned { .. })));
}

#[test]
fn each_attempt_to_join_has_an_epoch_of_its_own_and_comes_later() {
    let mut pair = came_back();
    let first = pair.log(1).unwrap().epoch;
    pair.reports[0].transfer = Transfer::Failed;
    pair.run_ms(50);
    assert_eq!(pair.role(0), Role::Spare);
    assert_eq!(pair.role(1), Role::Primary(GateMode::Open));
    pair.reports[0].transfer = Transfer::Incomplete;
    pair.run_ms(500);
    assert_eq!(pair.role(0), Role::Spare, "there is a pause");
    pair.run_ms(3_000);
    assert_eq!(pair.role(0), Role::Joining);
    assert!(pair.log(0).unwrap().epoch > first);
}

#[test]
fn node_with_another_configuration_is_not_admitted() {
    let mut pair = Pair::formed();
    pair.members[0] = None;
    pair.run_ms(200);
    let config = Manifest::new("shards = 8\n");
    let other = Identity { config, ..identity("a", 7) };
    pair.members[0] = Some(Member::new(MemberConfig::default(), other, pair.now_us).unwrap());
    pair.run_ms(5_000);
    assert_eq!(pair.role(0), Role::Spare);
    assert_eq!(pair.log(1), None);
}

#[test]
fn peer_that_leaves_again_and_again_is_admitted_less_and_less_often() {
    let mut pair = Pair::formed();
    let mismatch = Mismatch { shard: 3, position: Position(9), primary: 1, ours: 2 };
    pair.reports[0].transfer = Transfer::Complete;
    for _ in 0..20_000 {
        pair.run_ms(1);
        let settled = pair.role(0) == Role::Primary(GateMode::Confirmed);
        pair.reports[0].transfer = if settled { Transfer::Settled } else { Transfer::Complete };
        pair.reports[1].transfer = Transfer::Complete;
        pair.reports[1].digest_mismatch = (pair.role(1) == Role::Backup).then_some(mismatch);
    }
    let admissions = pair.events[0].iter().filter(|e| matches!(e, Event::AdmissionBegan { .. }));
    assert!((3..=5).contains(&admissions.count()), "after 1, 2, 4 and 8 s");
}

const SWITCHOVER: Order = Order::Switchover { to: None };

fn order(pair: &mut Pair, side: usize, order: Order) -> Result<Accepted, OrderRefused> {
    let now_us = pair.now_us;
    pair.members[side].as_mut().unwrap().order(now_us, &order)
}

fn status(pair: &Pair, side: usize) -> MemberStatus {
    pair.members[side].as_ref().unwrap().status(pair.now_us)
}

#[test]
fn switchover_happens_between_two_steps_and_both_stay_in_sync() {
    let mut pair = Pair::formed();
    assert_eq!(order(&mut pair, 0, SWITCHOVER), Ok(Accepted::Began { attempt: 1 }));
    pair.run_ms(5);
    let directive = pair.directives[0].unwrap();
    assert_eq!((directive.role, directive.quiesce), (Role::Primary(GateMode::Confirmed), 1));
    assert_eq!(pair.role(1), Role::Backup, "steps may still be unconfirmed");
    pair.reports[0].quiet = true;
    pair.run_ms(1);
    assert_eq!((pair.role(0), pair.role(1)), (Role::Backup, Role::Backup), "nobody serves");
    pair.reports[0].quiet = false;
    pair.run_ms(3);
    let (old, new) = (pair.directives[0].unwrap(), pair.directives[1].unwrap());
    assert_eq!((old.role, new.role), (Role::Backup, Role::Primary(GateMode::Confirmed)));
    let logs = [pair.log(0).unwrap(), pair.log(1).unwrap()];
    assert_eq!(logs.map(|log| log.epoch), [Epoch(2); 2], "a log of its own");
    assert_eq!(logs.map(|log| log.run), [Incarnation(2), Incarnation(1)]);
    assert_eq!((old.passes_on, new.passes_on, old.quiesce), (Some(PeerIndex(0)), None, 0));
    let (old, new) = (status(&pair, 0), status(&pair, 1));
    assert!(old.pair_in_sync && new.pair_in_sync);
    let switchover = old.switchover.unwrap();
    assert_eq!((switchover.attempt, switchover.epoch, switchover.failed), (1, Some(2), None));
    assert!(switchover.peer_serves_us >= switchover.handed_over_us);
    assert!(switchover.handed_over_us >= switchover.quiet_us && switchover.quiet_us.is_some());
    assert!(new.takeover.unwrap().planned);
    pair.run_ms(1_100);
    assert_eq!(pair.directives[0].unwrap().passes_on, None, "the network knows by now");
    // What the old primary holds is worth as much as what the new one does.
    pair.members[1] = None;
    pair.run_ms(200);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Open));
}

#[test]
fn either_node_may_die_when_the_register_has_changed() {
    for dead in [0, 1] {
        let mut pair = Pair::formed();
        assert!(order(&mut pair, 0, SWITCHOVER).is_ok());
        pair.reports[0].quiet = true;
        while pair.directives[0].unwrap().role != Role::Backup {
            pair.run_ms(1);
        }
        pair.members[dead] = None;
        pair.sent.clear();
        pair.run_ms(300);
        assert_eq!(pair.role(1 - dead), Role::Primary(GateMode::Open), "{dead} died");
    }
}

#[test]
fn primary_serves_on_when_its_backup_does_not_confirm() {
    let mut pair = Pair::formed();
    assert!(order(&mut pair, 0, SWITCHOVER).is_ok());
    assert_eq!(order(&mut pair, 0, SWITCHOVER), Err(OrderRefused::Busy));
    pair.run_ms(110);
    let directive = pair.directives[0].unwrap();
    assert_eq!((directive.role, directive.quiesce), (Role::Primary(GateMode::Confirmed), 0));
    assert_eq!(directive.epoch, Epoch(1), "the same log goes on");
    assert!(status(&pair, 0).switchover.unwrap().failed.is_some());
    assert_eq!(order(&mut pair, 0, SWITCHOVER), Ok(Accepted::Began { attempt: 2 }));
    pair.run_ms(1);
    pair.members[1] = None;
    pair.run_ms(200);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Open), "nobody is there to take it");
}

#[test]
fn primary_serves_on_while_its_backup_is_behind() {
    let mut pair = Pair::formed();
    pair.reports[1].log_applied = false;
    pair.run_ms(20);
    assert!(order(&mut pair, 0, SWITCHOVER).is_ok());
    pair.run_ms(500);
    assert_eq!(pair.directives[0].unwrap().quiesce, 0, "clients need not wait for it");
    pair.reports[1].log_applied = true;
    pair.run_ms(10);
    assert_eq!(pair.directives[0].unwrap().quiesce, 1);
    pair.reports[1].log_applied = false;
    pair.run_ms(200);
    assert!(order(&mut pair, 0, SWITCHOVER).is_ok(), "the first one failed");
    pair.run_ms(1_100);
    let failed = status(&pair, 0).switchover.unwrap().failed.unwrap();
    assert!(failed.contains("behind"), "{failed}");
    assert_eq!(pair.role(0), Role::Primary(GateMode::Confirmed));
}

#[test]
fn orders_that_make_no_sense_are_refused_with_the_reason() {
    let mut pair = Pair::formed();
    let to = |name| Order::Switchover { to: Some(NodeName::new(name).unwrap()) };
    let primary = Some(NodeName::new("a").unwrap());
    assert_eq!(order(&mut pair, 1, SWITCHOVER), Err(OrderRefused::NotPrimary { primary }));
    assert_eq!(order(&mut pair, 1, to("b")), Err(OrderRefused::NotPrimary { primary }));
    assert_eq!(order(&mut pair, 0, to("a")), Ok(Accepted::NothingToDo));
    assert_eq!(order(&mut pair, 1, to("a")), Ok(Accepted::NothingToDo));
    let node = NodeName::new("c").unwrap();
    assert_eq!(order(&mut pair, 0, to("c")), Err(OrderRefused::UnknownNode { node }));
    let peer = NodeName::new("b").unwrap();
    pair.cut[Path::Lan as usize] = true;
    pair.run_ms(200);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Confirmed));
    assert_eq!(order(&mut pair, 0, to("b")), Err(OrderRefused::PeerNotHeard { peer }));
    pair.cut[Path::Lan as usize] = false;
    pair.members[1] = None;
    pair.run_ms(200);
    assert_eq!(order(&mut pair, 0, Order::Drain), Err(OrderRefused::PeerNotHeard { peer }));
    assert!(!status(&pair, 0).drained);
}

#[test]
fn drained_backup_stays_out_until_it_is_let_in() {
    let mut pair = Pair::formed();
    assert_eq!(order(&mut pair, 1, Order::Drain), Ok(Accepted::Done));
    pair.run_ms(3_000);
    assert_eq!((pair.role(0), pair.role(1)), (Role::Primary(GateMode::Open), Role::Spare));
    assert!(status(&pair, 1).drained && status(&pair, 0).peers[0].drained);
    let peer = NodeName::new("b").unwrap();
    assert_eq!(order(&mut pair, 0, SWITCHOVER), Err(OrderRefused::PeerDrained { peer }));
    assert_eq!(order(&mut pair, 1, Order::Undrain), Ok(Accepted::Done));
    pair.run_ms(50);
    assert_eq!(pair.role(1), Role::Joining);
    assert_eq!(order(&mut pair, 1, Order::Undrain), Ok(Accepted::NothingToDo));
}

#[test]
fn drained_primary_hands_over_before_it_leaves() {
    let mut pair = Pair::formed();
    assert_eq!(order(&mut pair, 0, Order::Drain), Ok(Accepted::Began { attempt: 1 }));
    pair.reports[0].quiet = true;
    pair.run_ms(20);
    assert_eq!((pair.role(0), pair.role(1)), (Role::Spare, Role::Primary(GateMode::Open)));
    assert!(pair.happened(0, |e| matches!(e, Event::HandedOver { epoch: Epoch(2), .. })));
    let left = |e: &Event| {
        matches!(e, Event::BackupRemoved { removal: Removal::Left, epoch: Epoch(3), .. })
    };
    assert!(pair.happened(1, left));
    pair.run_ms(3_000);
    assert_eq!(pair.role(0), Role::Spare);
}

#[test]
fn node_with_fewer_workers_takes_the_service_and_the_other_joins_anew() {
    let (a, b) = (identity("a", 1), Identity { workers: 1, ..identity("b", 2) });
    let mut pair = Pair::new(Some(a), Some(b));
    pair.run_ms(50);
    assert!(order(&mut pair, 0, SWITCHOVER).is_ok());
    pair.reports[0].quiet = true;
    pair.run_ms(10);
    assert_eq!(pair.role(1), Role::Primary(GateMode::Open));
    let reason = SpareReason::HandedOver;
    assert!(
        pair.happened(0, |e| matches!(e, Event::BecameSpare { reason: r, .. } if *r == reason))
    );
    pair.run_ms(50);
    assert_eq!((pair.role(0), pair.role(1)), (Role::Joining, Role::Primary(GateMode::Open)));
}

/// Node a serves alone; b runs a release with another log, and snapshots of version `snapshots`.
fn upgraded(snapshots: u16) -> Pair {
    let mut pair = Pair::new(Some(identity("a", 1)), None);
    pair.run_ms(3_100);
    let b = Identity { log_version: 2, snapshot_version: snapshots, ..identity("b", 2) };
    pair.members[1] = Some(Member::new(MemberConfig::default(), b, pair.now_us).unwrap());
    pair.run_ms(500);
    assert_eq!((pair.role(0), pair.role(1)), (Role::Primary(GateMode::Open), Role::Spare));
    pair
}

#[test]
fn peer_with_another_log_is_given_snapshots_while_nobody_serves() {
    let mut pair = upgraded(1);
    assert_eq!(order(&mut pair, 0, SWITCHOVER), Ok(Accepted::Began { attempt: 1 }));
    pair.run_ms(20);
    let (old, new) = (pair.directives[0].unwrap(), pair.directives[1].unwrap());
    let logs = [pair.log(0).unwrap(), pair.log(1).unwrap()];
    assert!(logs[0].hands_over && old.quiesce == 1);
    assert_eq!((new.role, logs[1].epoch), (Role::Joining, logs[0].epoch));
    pair.reports[0] = Report { quiet: true, transfer: Transfer::Complete, ..Report::default() };
    pair.run_ms(20);
    assert_eq!(pair.role(1), Role::Joining, "it has not restored them");
    pair.reports[1].transfer = Transfer::Complete;
    pair.run_ms(10);
    assert_eq!((pair.role(0), pair.role(1)), (Role::Spare, Role::Primary(GateMode::Open)));
    assert!(pair.directives[0].unwrap().passes_on.is_some());
    pair.run_ms(2_000);
    assert_eq!(pair.role(0), Role::Spare, "it cannot follow");
}

#[test]
fn peer_that_cannot_read_the_snapshots_is_given_nothing() {
    let mut pair = upgraded(2);
    let refused = order(&mut pair, 0, SWITCHOVER).unwrap_err();
    assert!(matches!(&refused, OrderRefused::PeerUnfit { .. }), "{refused}");
    assert!(refused.to_string().contains("log version"), "{refused}");
}

#[test]
fn node_with_another_key_gets_nowhere_and_does_not_start_alone() {
    let mut stranger = identity("b", 2);
    stranger.keys = KeyRing::single("lab", b"other");
    let mut pair = Pair::new(Some(identity("a", 1)), Some(stranger));
    pair.run_ms(5_000);
    for node in [0, 1] {
        assert_eq!(pair.role(node), Role::Spare, "node {node} serves beside one that it hears");
        let status = pair.members[node].as_ref().unwrap().status(pair.now_us);
        assert!(status.reason.unwrap().contains("key it does not have"));
        assert!(status.counters.unknown_key > 100);
        let told = pair.events[node].iter();
        let told = told.filter(|e| matches!(e, Event::Intrusion { key: Some(_), .. })).count();
        assert_eq!(told, 1, "one line, however many datagrams");
    }
    pair.members[0].as_mut().unwrap().change_keys(KeyRing::single("lab", b"other"));
    pair.run_ms(50);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Confirmed), "with the same key they pair");
    assert_eq!(pair.role(1), Role::Backup);
}

#[test]
fn keys_change_one_node_after_the_other_and_nobody_falls_silent() {
    let ring = |secrets: &[&[u8]]| KeyRing::new("lab", secrets).unwrap();
    let mut pair = Pair::formed();
    for keys in [ring(&[b"secret", b"new"]), ring(&[b"new", b"secret"]), ring(&[b"new"])] {
        for node in [0, 1] {
            pair.members[node].as_mut().unwrap().change_keys(keys.clone());
            pair.run_ms(100);
        }
    }
    for node in [0, 1] {
        let status = pair.members[node].as_ref().unwrap().status(pair.now_us);
        assert!(status.pair_in_sync && status.epoch == 1);
        assert_eq!(status.counters.unknown_key, 0);
        assert_eq!(status.keys, [KeyRing::single("lab", b"new").sealing().to_string()]);
        assert_eq!(status.peers[0].keys, status.keys);
        assert!(!pair.happened(node, |e| matches!(e, Event::PathSilent { .. })));
    }
}
