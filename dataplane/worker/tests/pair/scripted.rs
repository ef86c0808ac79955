//! One node under a directive that the test changes: what must not happen within one loop.

use std::sync::{Arc, Mutex};

use engine::content::Content;
use engine::egress::CountingEgress;
use engine::shard::Shard;
use engine::time::Instant;
use engine::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, Header, Mac};
use engine::wire::{arp, ipv4, udp};
use replication::{
    Directive, Epoch, GateMode, Incarnation, Path, PendingLog, RecordKind, Report, Role, Session,
    SessionConfig,
};
use worker::{At, Event, Steward};

use crate::world::{VIP, VMAC, crew_of, mac, shard_config};
use crate::{STRANGER, STRANGER_MAC, frame};

const SERVING: Directive = Directive {
    epoch: Epoch(2),
    role: Role::Primary(GateMode::Open),
    silent: false,
    peer: None,
    peer_workers: 0,
};
const FOLLOWING: Directive = Directive {
    epoch: Epoch(1),
    role: Role::Backup,
    silent: false,
    peer: Some(Incarnation(100)),
    peer_workers: 1,
};

/// Says what the test says.
#[derive(Clone)]
struct Scripted(Arc<Mutex<Directive>>);

impl Scripted {
    fn new(directive: Directive) -> Scripted {
        Scripted(Arc::new(Mutex::new(directive)))
    }

    fn say(&self, directive: Directive) {
        *self.0.lock().unwrap() = directive;
    }
}

impl Steward for Scripted {
    fn receive(&mut self, _now_us: u64, _path: Path, _datagram: &[u8]) {}

    fn poll(
        &mut self,
        _now_us: u64,
        _report: &Report,
        _emit: &mut impl FnMut(Path, &[u8]),
    ) -> Directive {
        *self.0.lock().unwrap()
    }

    fn next_deadline_us(&self) -> Option<u64> {
        None
    }
}

/// The datagrams of a primary that logged so many steps without segments, and its state's proof.
fn log_of(steps: u64) -> Vec<Vec<u8>> {
    let config = Arc::new(shard_config());
    let content = Arc::new(Content::new([]).unwrap());
    let mut shard = Shard::new(0, config, content);
    let mut session = Session::new(SessionConfig::for_mtu(0, 1500));
    session.open(Epoch(1), Incarnation(100), Incarnation(101));
    for step in 1..=steps {
        shard.step(Instant::from_micros(step), &[], &mut CountingEgress::default());
        session.append(0, RecordKind::Input, &[&step.to_le_bytes()]).unwrap();
    }
    session.append(0, RecordKind::Digest, &[&shard.digest().to_le_bytes()]).unwrap();
    session.close_batch();
    let mut datagrams = Vec::new();
    let nothing = PendingLog::new(1 << 18, 1 << 10);
    session.poll_transmit(0, true, &nothing, &mut |parts| {
        datagrams.push(parts.concat());
        true
    });
    datagrams
}

fn on_the_link(datagram: &[u8]) -> Vec<u8> {
    let (source, destination) = ([10, 78, 0, 1].into(), [10, 78, 0, 2].into());
    let protocol = ipv4::PROTOCOL_UDP;
    let ip = ipv4::Header { source, destination, protocol, ttl: 64 };
    let mut packet = vec![0; ipv4::HEADER_LEN + udp::HEADER_LEN];
    udp::emit(&ip, (7401, 7401), &[datagram], &mut packet);
    packet.extend_from_slice(datagram);
    frame(mac(1, 2), ETHERTYPE_IPV4, &packet)
}

fn speaks_for_the_service(frame: &[u8]) -> bool {
    Header::parse(frame).unwrap().0.source == VMAC
}

#[test]
fn takeover_applies_the_rest_of_the_log_before_it_announces() {
    const STEPS: u64 = 6000;
    let steward = Scripted::new(FOLLOWING);
    let (mut crew, lan, link) = crew_of(1, 1, shard_config(), steward.clone());
    let worker = &mut crew.workers[0];
    worker.run_once(&mut At(0));
    for datagram in log_of(STEPS) {
        link.deliver(on_the_link(&datagram));
    }
    // All of it is received in a few loops, and only some of it applied.
    for loops in 1..=8 {
        worker.run_once(&mut At(loops));
    }
    steward.say(SERVING);
    let mut loops = 0;
    let records = loop {
        worker.run_once(&mut At(100 + loops));
        loops += 1;
        let spoken = std::iter::from_fn(|| lan.take()).any(|frame| speaks_for_the_service(&frame));
        let told = crew.events.try_iter().find_map(|(_, _, event)| match event {
            Event::LogApplied { records, .. } => Some(records),
            _ => None,
        });
        assert_eq!(spoken, told.is_some(), "announced before the log was applied");
        if let Some(records) = told {
            break records;
        }
    };
    assert!(loops > 1 && records > STEPS / 2, "{loops} loops, {records} records");
    assert!(format!("{worker:?}").contains("digests_equal: 1,"));
}

#[test]
fn loop_that_stood_still_answers_nothing_for_the_service_before_it_has_asked() {
    let steward = Scripted::new(SERVING);
    let (mut crew, lan, _link) = crew_of(0, 1, shard_config(), steward.clone());
    let worker = &mut crew.workers[0];
    let mut answers = |now_us| {
        let request = arp::Packet::request(STRANGER_MAC, STRANGER, VIP);
        lan.deliver(frame(Mac::BROADCAST, ETHERTYPE_ARP, &request.to_bytes()));
        worker.run_once(&mut At(now_us));
        let frames = std::iter::from_fn(|| lan.take());
        frames.filter(|frame| frame[..6] == STRANGER_MAC.0).count()
    };
    assert_eq!((answers(0), answers(1)), (0, 1), "it serves from the first loop's end on");
    assert_eq!(answers(200_000), 0, "it has just woken up");
    assert_eq!(answers(200_001), 1, "the steward had nothing against it");
    steward.say(Directive { silent: true, ..SERVING });
    answers(200_002);
    assert_eq!(answers(200_003), 0);
}
