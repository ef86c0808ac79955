//! A pair whose nodes can switch each other off: what waits for that, and what does not.

use replication::{GateMode, Path, Report, Role};

use super::Member;
use crate::config::MemberConfig;
use crate::events::Event;
use crate::identity::Identity;
use crate::register::{FenceLines, FencedRegister};

struct Node {
    member: Member<FencedRegister>,
    fence: FenceLines,
    role: Role,
    events: Vec<Event>,
}

fn node(side: usize, run: u64, now_us: u64) -> Node {
    let names = ["a", "b"];
    let identity = Identity::sample(names[side], run, [names[1 - side]]);
    let (register, fence) = FencedRegister::new();
    let config = MemberConfig::default();
    let member = Member::with_register(config, identity, register, now_us).unwrap();
    Node { member, fence, role: Role::Spare, events: Vec::new() }
}

struct Pair {
    now_us: u64,
    nodes: [Option<Node>; 2],
    cut: bool,
    sent: Vec<(usize, Path, Vec<u8>)>,
}

impl Pair {
    fn formed() -> Pair {
        let nodes = [Some(node(0, 1, 0)), Some(node(1, 2, 0))];
        let mut pair = Pair { now_us: 0, nodes, cut: false, sent: Vec::new() };
        pair.run_ms(50);
        assert_eq!(pair.node(0).role, Role::Primary(GateMode::Confirmed));
        assert_eq!(pair.node(1).role, Role::Backup);
        pair
    }

    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now_us += 1_000;
            for (from, path, bytes) in std::mem::take(&mut self.sent) {
                if let Some(node) = self.nodes[1 - from].as_mut().filter(|_| !self.cut) {
                    let _refused = node.member.receive(self.now_us, path, &bytes);
                }
            }
            for side in 0..2 {
                let Some(node) = &mut self.nodes[side] else { continue };
                let sent = &mut self.sent;
                let mut emit = |path, _, bytes: &[u8]| sent.push((side, path, bytes.to_vec()));
                node.role = node.member.poll(self.now_us, &Report::default(), &mut emit).role;
                let events = std::iter::from_fn(|| node.member.next_event());
                node.events.extend(events.map(|(_, event)| event));
            }
        }
    }

    #[track_caller]
    fn node(&mut self, side: usize) -> &mut Node {
        self.nodes[side].as_mut().expect("runs")
    }

    fn happened(&mut self, side: usize, event: impl Fn(&Event) -> bool) -> bool {
        self.node(side).events.iter().any(event)
    }
}

#[test]
fn takeover_from_a_silent_primary_waits_until_it_is_off() {
    let mut pair = Pair::formed();
    pair.nodes[0] = None;
    pair.run_ms(500);
    assert_eq!(pair.node(1).role, Role::Backup);
    assert!(pair.happened(1, |event| matches!(event, Event::Fencing { .. })));
    assert_eq!(pair.node(1).fence.orders.try_recv(), Ok(()));
    pair.node(1).fence.outcomes.try_send(false).unwrap();
    pair.run_ms(2);
    assert_eq!(pair.node(1).role, Role::Backup);
    assert!(pair.happened(1, |event| matches!(event, Event::FenceFailed { .. })));
    assert_eq!(pair.node(1).fence.orders.try_recv(), Ok(()), "it is tried again");
    pair.node(1).fence.outcomes.try_send(true).unwrap();
    pair.run_ms(2);
    assert_eq!(pair.node(1).role, Role::Primary(GateMode::Open));
}

#[test]
fn gate_stays_closed_until_a_silent_backup_is_off() {
    let mut pair = Pair::formed();
    pair.cut = true;
    pair.run_ms(500);
    assert_eq!(pair.node(0).role, Role::Primary(GateMode::Confirmed));
    assert_eq!(pair.node(1).role, Role::Backup, "neither goes on before the other one is off");
    pair.node(0).fence.outcomes.try_send(true).unwrap();
    pair.nodes[1] = None;
    pair.run_ms(2);
    assert_eq!(pair.node(0).role, Role::Primary(GateMode::Open));
}

#[test]
fn nobody_is_switched_off_who_is_known_to_have_ended() {
    let mut pair = Pair::formed();
    let now_us = pair.now_us;
    pair.nodes[0] = Some(node(0, 3, now_us));
    pair.run_ms(20);
    assert_eq!(pair.node(1).role, Role::Primary(GateMode::Open));
    assert!(pair.node(1).fence.orders.try_recv().is_err());
}
