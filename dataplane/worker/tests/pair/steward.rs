//! A control plane as small as it can be: heartbeats, a fixed timeout, an epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use replication::{
    Directive, Epoch, GateMode, Incarnation, Link, Log, MAX_PEERS, Path, PeerIndex, Report, Role,
    Transfer, Votes,
};
use worker::Steward;

pub const DETECTION_US: u64 = 50_000;
/// What a test can order: to give the service to the backup, or with the state to a node that comes
/// back.
pub const SWITCH_OVER: u8 = 1;
pub const SWITCH_OVER_BY_SNAPSHOT: u8 = 2;
const HEARTBEAT_US: u64 = 10_000;
/// The other node's place at each of them.
const PEER: PeerIndex = PeerIndex(0);
const DATAGRAM_LEN: usize = 21;
/// Flags: the primary gives its state away; the joining node has it; it is in sync.
const HANDS_OVER: u8 = 1;
const RESTORED: u8 = 2;
const IN_SYNC: u8 = 4;
/// The sender has made the receiver primary, and follows it.
const MAKES_PRIMARY: u8 = 8;

/// Node 0 begins as the primary, as soon as both nodes have heard each other.
#[derive(Clone, Debug)]
pub struct TestSteward {
    node: usize,
    incarnation: Incarnation,
    workers: u16,
    pub epoch: Epoch,
    pub role: Role,
    pub silent: bool,
    /// The backup found out that it can't follow.
    failed: bool,
    hands_over: bool,
    restored: bool,
    peer_restored: bool,
    order: Arc<AtomicU8>,
    /// The last order to quiesce, and whether it holds.
    quiesce: (u32, bool),
    /// The service goes with the state.
    by_snapshot: bool,
    /// This node has made its peer primary.
    yielded: bool,
    peer_serves: bool,
    peer: Option<(Incarnation, u16)>,
    heard_us: u64,
    sent_us: Option<u64>,
}

impl TestSteward {
    pub fn new(
        node: usize,
        workers: u16,
        incarnation: Incarnation,
        order: Arc<AtomicU8>,
    ) -> TestSteward {
        TestSteward {
            node,
            incarnation,
            workers,
            epoch: Epoch(0),
            role: Role::Spare,
            silent: false,
            failed: false,
            hands_over: false,
            restored: false,
            peer_restored: false,
            order,
            quiesce: (0, false),
            by_snapshot: false,
            yielded: false,
            peer_serves: false,
            peer: None,
            heard_us: 0,
            sent_us: None,
        }
    }

    fn heartbeat(&self) -> [u8; DATAGRAM_LEN] {
        let mut datagram = [0; DATAGRAM_LEN];
        datagram[..8].copy_from_slice(&self.epoch.0.to_le_bytes());
        datagram[8] = match self.role {
            Role::Spare => 0,
            Role::Backup => 1,
            Role::Primary(_) => 2,
            Role::Joining => 3,
        };
        datagram[9] = self.failed.into();
        datagram[10..18].copy_from_slice(&self.incarnation.0.to_le_bytes());
        datagram[18..20].copy_from_slice(&self.workers.to_le_bytes());
        let in_sync = self.role == Role::Primary(GateMode::Confirmed) && !self.hands_over;
        let flags = [
            (self.hands_over, HANDS_OVER),
            (self.restored, RESTORED),
            (in_sync, IN_SYNC),
            (self.yielded, MAKES_PRIMARY),
        ];
        datagram[20] = flags.iter().filter(|flag| flag.0).map(|flag| flag.1).sum();
        datagram
    }

    /// Not the first run of this node, and one that can join.
    fn is_back(&self) -> bool {
        self.incarnation.0 >= 200 && !self.failed
    }

    fn is_late(&self, now_us: u64) -> bool {
        now_us.saturating_sub(self.heard_us) > DETECTION_US
    }

    /// Hands the service to the peer as soon as the workers are quiet.
    fn switch_over(&mut self, quiet: bool) {
        let paired = self.role == Role::Primary(GateMode::Confirmed) && !self.hands_over;
        if self.by_snapshot {
            return;
        }
        if !paired {
            self.quiesce.1 = false;
        } else if self.quiesce.1 && quiet {
            self.quiesce.1 = false;
            self.next_epoch(Role::Backup);
            self.yielded = true;
            self.sent_us = None;
        } else if self.ordered(SWITCH_OVER) {
            self.quiesce = (self.quiesce.0 + 1, true);
        }
    }

    fn ordered(&self, what: u8) -> bool {
        self.order.compare_exchange(what, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Gives service and state away once the peer has restored all of it.
    fn yield_state(&mut self, report: &Report) {
        let complete = report.transfer == Transfer::Complete && self.peer_restored;
        if self.by_snapshot && report.quiet && complete {
            (self.by_snapshot, self.hands_over, self.quiesce.1) = (false, false, false);
            self.next_epoch(Role::Spare);
            self.yielded = true;
            self.sent_us = None;
        }
    }

    fn logs(&self) -> [Option<Log>; MAX_PEERS] {
        let (counts, hands_over) = match self.role {
            Role::Primary(mode) => (mode == GateMode::Confirmed, self.hands_over),
            Role::Spare | Role::Joining | Role::Backup => (false, false),
        };
        let exists = !matches!(self.role, Role::Primary(GateMode::Open)) || hands_over;
        let (epoch, link) = (self.epoch, Link::First);
        let log = |(run, workers)| Log {
            epoch,
            run,
            workers,
            link,
            counts,
            hands_over,
            votes: Votes::NONE,
        };
        let mut logs = [None; MAX_PEERS];
        logs[PEER.place()] = self.peer.filter(|_| exists).map(log);
        logs
    }

    fn next_epoch(&mut self, role: Role) {
        self.yielded = false;
        self.epoch = self.epoch.next();
        self.role = role;
    }
}

impl Steward for TestSteward {
    fn receive(&mut self, now_us: u64, _path: Path, datagram: &[u8]) {
        let Ok(datagram) = <[u8; DATAGRAM_LEN]>::try_from(datagram) else { return };
        let epoch = Epoch(u64::from_le_bytes(datagram[..8].try_into().unwrap()));
        let (role, failed) = (datagram[8], datagram[9] != 0);
        let incarnation = u64::from_le_bytes(datagram[10..18].try_into().unwrap());
        let workers = u16::from_le_bytes(datagram[18..20].try_into().unwrap());
        let flags = datagram[20];
        self.peer_restored = flags & RESTORED != 0;
        self.peer_serves = role == 2 && epoch == self.epoch;
        self.heard_us = now_us;
        self.silent = false;
        self.peer = Some((Incarnation(incarnation), workers));
        let fresh = self.epoch == Epoch(0);
        // A run that was never heard before comes while this node serves alone.
        let alone = self.role == Role::Primary(GateMode::Open) && !self.hands_over;
        let back = incarnation >= 200;
        match (self.role, role) {
            (Role::Primary(_), 0) if alone && back && !failed => {
                self.next_epoch(Role::Primary(GateMode::Open));
                self.hands_over = true;
                if self.ordered(SWITCH_OVER_BY_SNAPSHOT) {
                    self.by_snapshot = true;
                    self.quiesce = (self.quiesce.0 + 1, true);
                }
            }
            (Role::Joining, 0) if epoch > self.epoch && flags & MAKES_PRIMARY != 0 => {
                self.epoch = epoch;
                self.role = Role::Primary(GateMode::Open);
                self.sent_us = None;
            }
            (Role::Spare, 2) if self.is_back() && flags & HANDS_OVER != 0 => {
                self.epoch = epoch;
                self.role = Role::Joining;
            }
            (Role::Joining, 2) if epoch == self.epoch && flags & IN_SYNC != 0 => {
                self.role = Role::Backup;
            }
            (Role::Backup, 1) if epoch > self.epoch && flags & MAKES_PRIMARY != 0 => {
                self.next_epoch(Role::Primary(GateMode::Confirmed));
                self.sent_us = None;
            }
            (Role::Spare, 2) if fresh && self.node == 1 && !self.is_back() => {
                self.epoch = epoch;
                self.role = Role::Backup;
            }
            (Role::Spare, 0) if fresh && self.node == 0 && epoch == Epoch(0) => {
                self.next_epoch(Role::Primary(GateMode::Confirmed));
            }
            (_, 2) if epoch > self.epoch => {
                self.epoch = epoch;
                self.role = Role::Spare;
            }
            (Role::Primary(GateMode::Confirmed), 0) if failed => {
                self.next_epoch(Role::Primary(GateMode::Open));
            }
            _ => {}
        }
    }

    fn poll(
        &mut self,
        now_us: u64,
        report: &Report,
        emit: &mut impl FnMut(Path, PeerIndex, &[u8]),
    ) -> Directive {
        if report.stalled_for_us > DETECTION_US {
            self.silent = true;
            self.heard_us = now_us;
        }
        if self.role == Role::Backup && (report.digest_mismatch.is_some() || report.refused_log) {
            self.failed = true;
            self.role = Role::Spare;
        }
        if self.role == Role::Joining && report.transfer == Transfer::Failed {
            self.failed = true;
            self.role = Role::Spare;
        }
        self.restored = self.role == Role::Joining && report.transfer == Transfer::Complete;
        match report.transfer {
            Transfer::Complete if self.hands_over && self.peer_restored && !self.by_snapshot => {
                self.role = Role::Primary(GateMode::Confirmed);
            }
            Transfer::Settled if self.hands_over => self.hands_over = false,
            _ => {}
        }
        if self.is_late(now_us) && !self.silent {
            match self.role {
                Role::Primary(_) if self.hands_over => {
                    self.hands_over = false;
                    self.next_epoch(Role::Primary(GateMode::Open));
                }
                Role::Backup | Role::Primary(GateMode::Confirmed) => {
                    self.next_epoch(Role::Primary(GateMode::Open));
                }
                Role::Primary(GateMode::Open) | Role::Spare | Role::Joining => {}
            }
        }
        self.switch_over(report.quiet);
        self.yield_state(report);
        if self.sent_us.is_none_or(|at| now_us.saturating_sub(at) >= HEARTBEAT_US) {
            self.sent_us = Some(now_us);
            emit(Path::Link(Link::First), PEER, &self.heartbeat());
            emit(Path::Lan, PEER, &self.heartbeat());
        }
        Directive {
            epoch: self.epoch,
            role: self.role,
            silent: self.silent,
            logs: self.logs(),
            quiesce: if self.quiesce.1 { self.quiesce.0 } else { 0 },
            passes_on: (self.yielded && self.peer_serves).then_some(PEER),
            ..Directive::SPARE
        }
    }

    fn next_deadline_us(&self) -> Option<u64> {
        self.sent_us.map(|at| at + HEARTBEAT_US)
    }
}
