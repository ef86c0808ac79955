//! One node under a directive that the test changes: what must not happen within one loop.

use std::sync::{Arc, Mutex};

use engine::content::Content;
use engine::egress::CountingEgress;
use engine::shard::Shard;
use engine::time::Instant;
use engine::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, Header, Mac};
use engine::wire::segment::Segment;
use engine::wire::{Checksums, arp, ipv4, udp};
use replication::{
    Directive, Epoch, GateMode, Incarnation, Link, Log, Numbers, Path, PeerIndex, PendingLog,
    RecordKind, Report, Role, Session, SessionConfig, Votes,
};
use worker::{At, Event, Steward};

use crate::world::{VIP, VMAC, crew_of, mac, protection, shard_config};
use crate::{STRANGER, STRANGER_MAC, frame, syn_from};

/// Of an MTU of 1500, beside the headers of IPv4 and UDP.
const MAX_DATAGRAM: usize = 1472;
const SERVING: Directive =
    Directive { epoch: Epoch(2), role: Role::Primary(GateMode::Open), ..Directive::SPARE };
const FOLLOWING: Directive = Directive {
    epoch: Epoch(1),
    role: Role::Backup,
    logs: [Some(FOLLOWED), None, None],
    ..Directive::SPARE
};
const FOLLOWED: Log = Log {
    epoch: Epoch(1),
    run: Incarnation(100),
    workers: 1,
    link: Link::First,
    counts: false,
    hands_over: false,
    votes: Votes::NONE,
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
        _emit: &mut impl FnMut(Path, PeerIndex, &[u8]),
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
    let mut session = Session::new(SessionConfig::for_datagrams(0, MAX_DATAGRAM));
    session.open(Epoch(1), Incarnation(100), Incarnation(101), &protection());
    for step in 1..=steps {
        shard.step(Instant::from_micros(step), &[], &mut CountingEgress::default());
        session.append(0, RecordKind::Input, &[&step.to_le_bytes()]).unwrap();
    }
    session.append(0, RecordKind::Digest, &[&shard.digest().to_le_bytes()]).unwrap();
    session.close_batch();
    let mut datagrams = Vec::new();
    let nothing = PendingLog::new(1 << 18, 1 << 10);
    session.poll_transmit(0, true, &nothing, &mut Numbers::default(), &mut |sending| {
        datagrams.push(sending.to_vec());
        true
    });
    datagrams
}

/// The datagrams of a primary of which each shard got a SYN, one for each of these times.
fn log_of_syns(times_us: &[[u64; 4]]) -> Vec<Vec<u8>> {
    let mut session = Session::new(SessionConfig::for_datagrams(0, MAX_DATAGRAM));
    session.open(Epoch(1), Incarnation(100), Incarnation(101), &protection());
    let mut source_port = FIRST_PORT;
    for times in times_us {
        for (shard, time_us) in (0..).zip(times) {
            let syn = syn_from(source_port, 7);
            let length = u16::try_from(syn.len()).unwrap().to_le_bytes();
            let body: [&[u8]; 3] = [&time_us.to_le_bytes(), &length, &syn];
            session.append(shard, RecordKind::Input, &body).unwrap();
            source_port += 1;
        }
    }
    session.close_batch();
    let mut datagrams = Vec::new();
    let nothing = PendingLog::new(1 << 18, 1 << 10);
    session.poll_transmit(0, true, &nothing, &mut Numbers::default(), &mut |sending| {
        datagrams.push(sending.to_vec());
        true
    });
    datagrams
}

const FIRST_PORT: u16 = 4000;

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
    let (mut crew, lan, link) = crew_of(1, Incarnation(101), 1, shard_config(), steward.clone());
    let worker = &mut crew.workers[0];
    worker.run_once(&mut At(0));
    for datagram in log_of(STEPS) {
        link.deliver(on_the_link(&datagram));
    }
    // All of it is received in a few loops, and only some of it applied.
    for loops in 1..=8 {
        worker.run_once(&mut At(loops));
    }
    let end = Instant::from_micros(STEPS);
    assert!(worker.pending_log_bytes() > 0);
    assert!(worker.shards().next().is_some_and(|shard| shard.now() < end));
    assert!(worker.foresee().is_some_and(|shards| shards[0].now() == end));
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
    let (mut crew, lan, _link) = crew_of(0, Incarnation(100), 1, shard_config(), steward.clone());
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

#[test]
fn takeover_kicks_active_connections_of_all_shards_before_idle_ones_of_any() {
    // One connection of each shard that has been idle for long, one for less, one for hardly at
    // all.
    let times =
        [[1; 4], [900_000, 900_001, 900_002, 900_003], [999_000, 999_990, 999_900, 999_500]];
    let steward = Scripted::new(FOLLOWING);
    let (mut crew, lan, link) = crew_of(1, Incarnation(101), 1, shard_config(), steward.clone());
    let worker = &mut crew.workers[0];
    worker.run_once(&mut At(0));
    for datagram in log_of_syns(&times) {
        link.deliver(on_the_link(&datagram));
    }
    worker.run_once(&mut At(1));
    let question = arp::Packet::request(mac(1, 1), [10, 77, 0, 2].into(), STRANGER);
    lan.deliver(frame(mac(1, 1), ETHERTYPE_ARP, &question.reply(STRANGER_MAC).to_bytes()));
    worker.run_once(&mut At(2));
    steward.say(SERVING);
    let mut order = Vec::new();
    for loops in 0..40 {
        worker.run_once(&mut At(3 + loops));
        order.extend(std::iter::from_fn(|| lan.take()).filter_map(|frame| kicked(&frame)));
    }
    let [idle, less, active] = [0, 4, 8].map(|first| (first..first + 4).collect::<Vec<u16>>());
    let sorted = |part: &[u16]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part
    };
    assert_eq!(order.len(), 12, "{order:?}");
    assert_eq!(order[..4], [9, 10, 11, 8], "{order:?}");
    assert_eq!((sorted(&order[4..8]), sorted(&order[8..])), (less, idle), "{order:?}");
    assert_eq!(sorted(&order[..4]), active);
}

/// Which of the connections in the log a frame kicks.
fn kicked(frame: &[u8]) -> Option<u16> {
    let (header, packet) = Header::parse(frame).unwrap();
    if header.source != VMAC || header.ethertype != ETHERTYPE_IPV4 {
        return None;
    }
    let segment = Segment::parse(packet, Checksums::Verify).unwrap();
    Some(segment.flow.local.port - FIRST_PORT)
}
