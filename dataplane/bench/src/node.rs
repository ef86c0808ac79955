//! Nodes to be measured: a shard alone, a worker that serves alone, a worker with a backup.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use engine::addr::Addr;
use engine::content::Content;
use engine::egress::{Egress, Outgoing};
use engine::shard::Shard;
use engine::time::Instant;
use engine::wire::Checksums;
use engine::wire::ethernet::{self, Mac};
use engine::wire::segment::Segment;
use hw_profiles::{Idle, IdleStrategy};
use replication::{
    Directive, Epoch, GateMode, Incarnation, Link, Log, MAX_PEERS, Path, PeerIndex, Protection,
    Report, Role, Votes,
};
use worker::nic::Frame;
use worker::{
    AddressConfig, At, Commit, Ingress, NodeConfig, PortConfig, Shares, Steward, Worker, crew,
};

use crate::clients;
use crate::nic::{PoolFrame, PoolNic, Queue};
use crate::{LAN_MTU, LINK_MTU, Meter, TURN_US, VMAC, shard_config};

/// Something that clients can talk to.
pub trait Node {
    /// One turn: takes frames from the front of `input`, a burst at most, and appends what comes
    /// out for the clients to `output`.
    fn turn(&mut self, input: &mut Vec<PoolFrame>, output: &mut Vec<PoolFrame>, meter: &mut Meter);
    /// The node's clock.
    fn now_us(&self) -> u64;
}

/// The functions whose instructions a profiler counts: `--toggle-collect` finds them by name.
mod counted {
    use super::*;

    #[inline(never)]
    pub fn counted_step(
        shard: &mut Shard,
        now: Instant,
        frames: &[PoolFrame],
        egress: &mut BuildEgress<'_>,
    ) {
        let packets = frames.iter().map(|frame| &frame.bytes()[ethernet::HEADER_LEN..]);
        let segments: arrayvec::ArrayVec<Segment<'_>, { worker::nic::BURST }> = packets
            .map(|packet| Segment::parse(packet, Checksums::Verify).expect("clients send no junk"))
            .collect();
        shard.step(now, &segments, egress);
    }

    #[inline(never)]
    pub fn counted_loop(worker: &mut Worker<PoolNic, Fixed>, now_us: u64) {
        worker.run_once(&mut At(now_us));
    }

    #[inline(never)]
    pub fn counted_takeover_loop(worker: &mut Worker<PoolNic, Fixed>, now_us: u64) {
        std::hint::black_box(worker.run_once(&mut At(std::hint::black_box(now_us))));
    }

    /// Not just the same as `counted_loop`, or the linker would make one function of both.
    #[inline(never)]
    pub fn counted_backup_loop(worker: &mut Worker<PoolNic, Fixed>, now_us: u64) -> bool {
        worker.run_once(&mut At(now_us)).busy
    }
}

/// One shard and nothing around it.
#[derive(Debug)]
pub struct Engine {
    shard: Shard,
    now_us: u64,
}

impl Engine {
    /// A shard with room for so many connections.
    #[must_use]
    pub fn new(connections: u32) -> Engine {
        let shard = Shard::new(0, Arc::new(shard_config(connections, 1)), no_content());
        Engine { shard, now_us: 0 }
    }
}

/// Copies packets into frames, without checksums: these are the worker's work.
pub struct BuildEgress<'a> {
    output: &'a mut Vec<PoolFrame>,
}

impl Egress for BuildEgress<'_> {
    const WANTS_PAYLOAD: bool = true;

    fn emit(&mut self, packet: &Outgoing<'_>) {
        let mut frame = PoolFrame::take();
        let (destination, source) = (Mac::default(), VMAC);
        let ethertype = ethernet::ETHERTYPE_IPV4;
        let link = ethernet::Header { destination, source, ethertype }.to_bytes();
        let headers = [&link[..], packet.header];
        let fits = headers.iter().chain(packet.payload).all(|part| frame.append(part));
        assert!(fits, "a packet within the MTU");
        self.output.push(frame);
    }
}

impl Node for Engine {
    fn turn(&mut self, input: &mut Vec<PoolFrame>, output: &mut Vec<PoolFrame>, meter: &mut Meter) {
        self.now_us += TURN_US;
        let burst: Vec<PoolFrame> = input.drain(..input.len().min(worker::nic::BURST)).collect();
        let (now, shard) = (Instant::from_micros(self.now_us), &mut self.shard);
        let mut egress = BuildEgress { output };
        if meter.on {
            meter.node(|| counted::counted_step(shard, now, &burst, &mut egress));
        } else {
            let packets = burst.iter().map(|frame| &frame.bytes()[ethernet::HEADER_LEN..]);
            let segments: Vec<_> =
                packets.filter_map(|p| Segment::parse(p, Checksums::Verify).ok()).collect();
            shard.step(now, &segments, &mut egress);
        }
    }

    fn now_us(&self) -> u64 {
        self.now_us
    }
}

/// A steward that is told what to say.
#[derive(Clone, Debug)]
pub struct Fixed(Rc<Cell<Directive>>);

impl Steward for Fixed {
    fn receive(&mut self, _now_us: u64, _path: Path, _datagram: &[u8]) {}

    fn poll(
        &mut self,
        _: u64,
        _: &Report,
        _: &mut impl FnMut(Path, PeerIndex, &[u8]),
    ) -> Directive {
        self.0.get()
    }

    fn next_deadline_us(&self) -> Option<u64> {
        None
    }
}

/// A worker, and the other ends of its wires.
#[derive(Debug)]
struct Station {
    worker: Worker<PoolNic, Fixed>,
    steward: Fixed,
    to_lan: Queue,
    from_lan: Queue,
    to_link: Queue,
    from_link: Queue,
}

impl Station {
    fn new(
        index: u8,
        role: Role,
        peer: Option<u64>,
        size: (u32, u16),
        protection: Protection,
    ) -> Station {
        let mac = |port| Mac([2, 0, 0, 0, port, index]);
        let (lan, to_lan, from_lan) = PoolNic::new(mac(1), LAN_MTU);
        let (link, to_link, from_link) = PoolNic::new(mac(2), LINK_MTU);
        let counts = role == Role::Primary(GateMode::Confirmed);
        let epoch = Epoch(1);
        let log = |run| Log {
            epoch,
            run,
            workers: 1,
            link: Link::First,
            counts,
            hands_over: false,
            votes: Votes::NONE,
        };
        let logs = [peer.map(Incarnation).map(log), None, None];
        let directive = Directive { epoch, role, logs, ..Directive::SPARE };
        let config = node_config(index, size, protection);
        let steward = Fixed(Rc::new(Cell::new(directive)));
        let crew = crew(
            config,
            vec![Shares { lan, links: [link].into_iter().collect() }],
            steward.clone(),
        );
        let worker = crew.expect("one worker with queues").workers.remove(0);
        Station { worker, steward, to_lan, from_lan, to_link, from_link }
    }
}

fn node_config(index: u8, size: (u32, u16), protection: Protection) -> NodeConfig {
    let port = |net| {
        let address = |index| Addr::from_ipv4_octets([10, net, 0, index]);
        let own = AddressConfig { address: address(index), prefix_len: 24, gateway: None };
        PortConfig::new(own, [address(3 - index)])
    };
    NodeConfig {
        incarnation: Incarnation(index.into()),
        vmac: VMAC,
        ingress: Ingress::Switch,
        lan: port(77),
        links: [port(78)].into_iter().collect(),
        control_port: worker::config::DEFAULT_CONTROL_PORT,
        commit: Commit::default(),
        protection,
        detection_timeout_us: 1_000_000,
        idle: Idle {
            strategy: IdleStrategy::Spin,
            spin_polls: 0,
            yield_polls: 0,
            sleep_us: 0,
            coalesce_us: 0,
        },
        shard: Arc::new(shard_config(size.0, size.1)),
        content: no_content(),
        pending_log_bytes: NodeConfig::DEFAULT_PENDING_LOG_BYTES,
        handover_bytes_per_second: NodeConfig::DEFAULT_HANDOVER_BYTES_PER_SECOND,
        gate_frames: NodeConfig::DEFAULT_GATE_FRAMES,
    }
}

fn no_content() -> Arc<Content> {
    Arc::new(Content::new([]).expect("nothing can't be wrong"))
}

/// Steps in which a pause goes by.
const PAUSE_STEP_US: u64 = 10_000;

/// A worker behind its wires; with a backup, or with its gate open.
#[derive(Debug)]
pub struct Serving {
    primary: Station,
    backup: Option<Station>,
    now_us: u64,
}

impl Serving {
    /// One node, without a peer.
    #[must_use]
    pub fn solo(connections: u32, shards: u16) -> Serving {
        let role = Role::Primary(GateMode::Open);
        let primary = Station::new(1, role, None, (connections, shards), crate::sealed());
        Serving::started(primary, None)
    }

    /// A primary, and a backup that follows and confirms.
    #[must_use]
    pub fn pair(connections: u32, shards: u16) -> Serving {
        Serving::protected_pair(connections, shards, &crate::sealed())
    }

    /// The same with another protection of the log.
    #[must_use]
    pub fn protected_pair(connections: u32, shards: u16, protection: &Protection) -> Serving {
        let (role, size) = (Role::Primary(GateMode::Confirmed), (connections, shards));
        let primary = Station::new(1, role, Some(2), size, protection.clone());
        let backup = Station::new(2, Role::Backup, Some(1), size, protection.clone());
        Serving::started(primary, Some(backup))
    }

    fn started(primary: Station, backup: Option<Station>) -> Serving {
        let mut serving = Serving { primary, backup, now_us: 0 };
        let (mut input, mut output) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            serving.turn(&mut input, &mut output, &mut Meter::default());
        }
        serving
    }

    fn run_backup(&mut self, meter: &mut Meter) {
        let Some(backup) = &mut self.backup else { return };
        move_all(&self.primary.from_link, &backup.to_link);
        let (worker, now_us) = (&mut backup.worker, self.now_us);
        if meter.on {
            std::hint::black_box(meter.backup(|| counted::counted_backup_loop(worker, now_us)));
        } else {
            worker.run_once(&mut At(now_us));
        }
        move_all(&backup.from_link, &self.primary.to_link);
        answer_arp(backup);
        move_all(&backup.from_lan, &self.primary.to_lan);
    }

    /// Lets simulated time pass in which nobody sends anything.
    pub(crate) fn pause(&mut self, time_us: u64) {
        let end_us = self.now_us + time_us;
        let (mut input, mut output) = (Vec::new(), Vec::new());
        while self.now_us < end_us {
            self.now_us += PAUSE_STEP_US.min(end_us - self.now_us);
            self.turn(&mut input, &mut output, &mut Meter::default());
        }
        assert!(!output.iter().any(clients::is_packet), "nothing is due on idle connections");
    }

    /// The primary is heard of no more, and its backup is told to take its place.
    pub(crate) fn kill_primary(&mut self) {
        let Some(backup) = &mut self.backup else { return };
        let role = Role::Primary(GateMode::Open);
        let steward = &backup.steward.0;
        steward.set(Directive { epoch: Epoch(2), role, logs: [None; MAX_PEERS], ..steward.get() });
    }

    /// One loop of the backup alone.
    pub(crate) fn backup_loop(&mut self) {
        self.now_us += TURN_US;
        let Some(backup) = &mut self.backup else { return };
        counted::counted_takeover_loop(&mut backup.worker, self.now_us);
    }

    /// Takes what the backup's card sent.
    pub(crate) fn take_from_backup(&mut self, output: &mut Vec<PoolFrame>) {
        let Some(backup) = &mut self.backup else { return };
        answer_arp(backup);
        output.extend(backup.from_lan.borrow_mut().drain(..));
    }
}

/// Answers in the clients' name where they are.
fn answer_arp(station: &Station) {
    let mut to_lan = station.to_lan.borrow_mut();
    station.from_lan.borrow_mut().retain(|frame| {
        let reply = clients::arp_reply(frame);
        let kept = reply.is_none();
        to_lan.extend(reply);
        kept
    });
}

fn move_all(from: &Queue, to: &Queue) {
    to.borrow_mut().append(&mut from.borrow_mut());
}

impl Node for Serving {
    fn turn(&mut self, input: &mut Vec<PoolFrame>, output: &mut Vec<PoolFrame>, meter: &mut Meter) {
        self.now_us += TURN_US;
        self.primary.to_lan.borrow_mut().extend(input.drain(..));
        let (worker, now_us) = (&mut self.primary.worker, self.now_us);
        if meter.on {
            meter.node(|| counted::counted_loop(worker, now_us));
        } else {
            worker.run_once(&mut At(now_us));
        }
        output.extend(self.primary.from_lan.borrow_mut().drain(..));
        self.run_backup(meter);
    }

    fn now_us(&self) -> u64 {
        self.now_us
    }
}
