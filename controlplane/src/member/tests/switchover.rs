//! What an operator orders: switchover, drain, upgrade.

use super::*;

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
    pair.cut[Path::Lan.place()] = true;
    pair.run_ms(200);
    assert_eq!(pair.role(0), Role::Primary(GateMode::Confirmed));
    assert_eq!(order(&mut pair, 0, to("b")), Err(OrderRefused::PeerNotHeard { peer }));
    pair.cut[Path::Lan.place()] = false;
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
