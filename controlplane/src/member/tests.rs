//! The rules of single phases, told as short stories. `tests/pair` has the schedules of faults.

use arrayvec::ArrayVec;
use replication::{
    Directive, Epoch, GateMode, Incarnation, KeyRing, Link, Log, Mismatch, Path, PeerIndex,
    Position, Report, Role, Transfer, Votes,
};

use super::Member;
use crate::config::MemberConfig;
use crate::events::{Difference, Event, Removal, Severity, SpareReason};
use crate::identity::{Identity, NodeName};
use crate::manifest::Manifest;
use crate::message::MessageError;
use crate::order::{Accepted, Order, OrderRefused};
use crate::status::{Gate, MemberStatus, Standing};

mod lan;
mod pair;
mod rejoin;
mod switchover;

use pair::{Pair, identity};

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
    pair.cut[Path::Lan.place()] = true;
    pair.run_ms(3_200);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Open));
    assert_eq!(pair.role(1), Role::Spare);
    let (hears_link, hears_lan) = (true, false);
    let peer = NodeName::new("b").unwrap();
    assert!(pair.happened(0, |e| *e == Event::CannotPair { peer, hears_link, hears_lan }));
}

#[test]
fn path_to_a_dead_peer_is_not_said_to_be_heard_again_after_a_stall_of_our_own() {
    let mut pair = Pair::formed();
    pair.members[0] = None;
    pair.run_ms(200);
    pair.events[1].clear();
    pair.now_us += 300_000;
    pair.run_ms(200);
    assert!(pair.happened(1, |e| matches!(e, Event::OwnStall { .. })));
    let told = |e: &Event| matches!(e, Event::PathHeard { .. } | Event::PathSilent { .. });
    assert!(!pair.happened(1, told));
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
                    link: Link::First,
                    counts: true,
                    hands_over: false,
                    votes: Votes::steady(true),
                }),
                None,
                None,
            ],
            ..Directive::SPARE
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
    assert_eq!(b.receive(now_us, Path::Link(Link::First), &former), Err(MessageError::FormerRun));
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
