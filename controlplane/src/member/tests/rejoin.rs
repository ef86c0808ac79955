//! A node comes back and is given the state.

use super::*;

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
    pair.cut = [true; 3];
    pair.reports = [Report::default(); 2];
    pair.run_ms(MemberConfig::default().lone_start_us / 1000 - 100);
    assert_eq!(pair.role(0), Role::Spare);
    pair.run_ms(200);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Open));
    assert!(pair.directives[0].unwrap().epoch < serving);
    pair.cut = Default::default();
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
