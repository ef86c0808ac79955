//! Two nodes, two paths, faults, and a model of the log that the members' decisions protect.

use std::collections::BTreeMap;

use arrayvec::ArrayVec;
use controlplane::{
    AnyRegister, Identity, Manifest, Member, MemberConfig, NodeName, Order, PairRegister, View,
};
use replication::{
    Directive, Epoch, GateMode, Incarnation, KeyRing, Link, Mismatch, Path, Position, Report, Role,
    Transfer,
};

use crate::checker::Checker;
use crate::clock::Clock;
use crate::etcd::Etcd;
use crate::history::State;
use crate::keepers::Keepers;
use crate::trio::Trio;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub fn other(self) -> Side {
        if self == Side::A { Side::B } else { Side::A }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Crash(Side),
    /// For so many microseconds.
    Freeze(Side, u64),
    /// The poll loop alone; the voter beside it goes on.
    FreezeLoop(Side, u64),
    /// The node's clock goes forward by so many microseconds: its machine was suspended, say.
    Jump(Side, u64),
    LinkDown {
        a_to_b: bool,
        b_to_a: bool,
    },
    LanDown {
        a_to_b: bool,
        b_to_a: bool,
    },
    /// Both paths work again.
    Heal,
    /// The backup's state becomes another.
    Diverge(Side),
}

/// One process, with a model of the log: a count of inputs stands for the state.
pub struct Node {
    member: Member<AnyRegister>,
    pub incarnation: Incarnation,
    clock: Clock,
    pub directive: Directive,
    /// By its own clock.
    last_poll_us: u64,
    next_poll_us: u64,
    frozen_until_us: u64,
    inbox: Vec<(Path, Payload)>,
    pub state: State,
    /// Inputs that the peer confirmed in this session.
    confirmed: u64,
    /// Inputs whose packets have left.
    pub released: u64,
    unconfirmed_since_us: Option<u64>,
    diverged: bool,
    /// A primary that gives its state away: inputs in the last snapshot, once that has left.
    handed_over: Option<u64>,
    /// When that is.
    hands_over_at_us: u64,
    /// Inputs whose packets had left when its gate closed for that.
    closed_at: Option<u64>,
    /// A joining node: it has got the snapshots.
    pub restored: bool,
}

/// A node that hears nobody for so long serves alone.
pub const LONE_START_US: u64 = 600_000;
/// How long the model's snapshots take.
const TRANSFER_US: u64 = 20_000;

#[derive(Debug, Clone)]
enum Payload {
    Control(Vec<u8>),
    Log { epoch: Epoch, from: Incarnation, to: Option<Incarnation>, state: State, whole: bool },
    Confirm { epoch: Epoch, from: Incarnation, to: Option<Incarnation>, count: u64 },
}

/// How often what the checks are about has happened.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub takeovers: u64,
    /// Switchovers that came to their end.
    pub handovers: u64,
    pub rejoins: u64,
    pub fresh_starts: u64,
    pub simulated_ms: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.takeovers += other.takeovers;
        self.handovers += other.handovers;
        self.rejoins += other.rejoins;
        self.fresh_starts += other.fresh_starts;
        self.simulated_ms += other.simulated_ms;
    }
}

pub struct World {
    pub now_us: u64,
    pub loss_percent: u64,
    /// What a frozen node's receive ring holds on each path; the rest is dropped.
    pub ring: usize,
    /// Off where pair mode promises nothing.
    pub checks_state: bool,
    /// Off where datagrams may take longer than a node may be heard beside its successor.
    pub checks_overlap: bool,
    /// How long a few datagrams take; 0: none that long.
    pub latest_us: u64,
    /// How far clocks of runs that start from now on are off, at most.
    pub drift_ppm: u64,
    pub config: MemberConfig,
    /// What is simulated at once; a node's turns come up to about four times as far apart.
    pub step_us: u64,
    pub journal: Vec<String>,
    pub tally: Tally,
    /// Of the runs that start from now on.
    pub log_versions: [u16; 2],
    random: u64,
    runs: u64,
    nodes: [Option<Node>; 2],
    /// In flight, by arrival.
    wire: BTreeMap<(u64, u64), (Side, Path, Payload)>,
    sent: u64,
    /// `down[path][sender]`
    down: [[bool; 2]; 2],
    checker: Checker,
    /// Who keeps the register, if not the pair.
    keepers: Option<Keepers>,
}

impl World {
    pub fn new(seed: u64) -> World {
        World {
            now_us: 1_000_000,
            loss_percent: 0,
            ring: 64,
            checks_state: true,
            checks_overlap: true,
            latest_us: 0,
            drift_ppm: 0,
            step_us: 250,
            config: MemberConfig { lone_start_us: LONE_START_US, ..MemberConfig::default() },
            journal: Vec::new(),
            tally: Tally::default(),
            log_versions: [1; 2],
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995,
            runs: 0,
            nodes: [None, None],
            wire: BTreeMap::new(),
            sent: 0,
            down: [[false; 2]; 2],
            checker: Checker::default(),
            keepers: None,
        }
    }

    /// A world where a witness helps the two.
    pub fn with_witness(seed: u64) -> World {
        World { keepers: Some(Keepers::Voters(Trio::new(seed))), ..World::new(seed) }
    }

    /// A world whose register is in etcd.
    pub fn with_etcd(seed: u64) -> World {
        World { keepers: Some(Keepers::Etcd(Etcd::new(seed))), ..World::new(seed) }
    }

    pub fn has_keepers(&self) -> bool {
        self.keepers.is_some()
    }

    pub fn keepers(&mut self) -> &mut Keepers {
        self.keepers.as_mut().expect("a world whose register is not the pair's own")
    }

    pub fn trio(&mut self) -> &mut Trio {
        match &mut self.keepers {
            Some(Keepers::Voters(trio)) => trio,
            _ => panic!("a world without a witness"),
        }
    }

    pub fn etcd(&mut self) -> &mut Etcd {
        match &mut self.keepers {
            Some(Keepers::Etcd(etcd)) => etcd,
            _ => panic!("a world without etcd"),
        }
    }

    /// Uniform in `low..=high` (splitmix64).
    pub fn random(&mut self, low: u64, high: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (z ^ (z >> 31)) % (high - low + 1)
    }

    pub fn note(&mut self, what: impl std::fmt::Display) {
        self.journal.push(format!("{} {what}", self.now_us));
    }

    pub fn start(&mut self, side: Side) {
        self.runs += 1;
        let name = |side| NodeName::new(if side == Side::A { "a" } else { "b" }).unwrap();
        let incarnation = Incarnation(self.runs);
        let drift_ppm = self.random(0, 2 * self.drift_ppm) as i64 - self.drift_ppm as i64;
        let clock = Clock::new(self.now_us, drift_ppm);
        let identity = Identity {
            name: name(side),
            incarnation,
            peers: ArrayVec::from_iter([name(side.other())]),
            keys: KeyRing::single("sim", b""),
            config: Manifest::new("shards = 4\n"),
            content: Manifest::new(""),
            log_version: self.log_versions[side as usize],
            link_version: 1,
            snapshot_version: 1,
            workers: 1,
        };
        let register = match &mut self.keepers {
            Some(keepers) => AnyRegister::Quorum(keepers.start_node(side as usize)),
            None => AnyRegister::Pair(PairRegister::default()),
        };
        if let Some(keepers) = &mut self.keepers {
            keepers.drift(side as usize, drift_ppm);
        }
        let config = self.config.clone();
        let member = Member::with_register(config, identity, register, self.now_us).unwrap();
        let state = self.checker.history.begin(Epoch::default());
        self.journal.push(format!("{} start {side:?}", self.now_us));
        self.checker.started(side);
        self.nodes[side as usize] = Some(Node {
            directive: member.directive(),
            member,
            incarnation,
            clock,
            last_poll_us: self.now_us,
            next_poll_us: self.now_us,
            frozen_until_us: 0,
            inbox: Vec::new(),
            state,
            confirmed: 0,
            released: 0,
            unconfirmed_since_us: None,
            diverged: false,
            handed_over: None,
            hands_over_at_us: 0,
            closed_at: None,
            restored: false,
        });
    }

    pub fn inflict(&mut self, fault: Fault) {
        self.journal.push(format!("{} {fault:?}", self.now_us));
        match fault {
            Fault::Crash(side) => self.crash(side),
            Fault::Freeze(side, for_us) => {
                self.freeze_loop(side, for_us);
                if let Some(keepers) = &mut self.keepers {
                    keepers.freeze(side as usize, self.now_us + for_us);
                }
            }
            Fault::FreezeLoop(side, for_us) => self.freeze_loop(side, for_us),
            Fault::Jump(side, by_us) => {
                if let Some(node) = &mut self.nodes[side as usize] {
                    node.clock.jump(by_us);
                }
            }
            Fault::LinkDown { a_to_b, b_to_a } => self.down[0] = [a_to_b, b_to_a],
            Fault::LanDown { a_to_b, b_to_a } => self.down[1] = [a_to_b, b_to_a],
            Fault::Heal => self.down = [[false; 2]; 2],
            Fault::Diverge(side) => {
                if let Some(node) = &mut self.nodes[side as usize] {
                    node.diverged = true;
                }
            }
        }
    }

    fn freeze_loop(&mut self, side: Side, for_us: u64) {
        if let Some(node) = &mut self.nodes[side as usize] {
            node.frozen_until_us = self.now_us + for_us;
        }
    }

    fn crash(&mut self, side: Side) {
        self.nodes[side as usize] = None;
        if let Some(keepers) = &mut self.keepers {
            keepers.crash(side as usize);
        }
    }

    /// Everything works and runs again.
    pub fn recover(&mut self) {
        self.inflict(Fault::Heal);
        self.recover_register();
        for side in [Side::A, Side::B] {
            if !self.runs(side) {
                self.start(side);
            }
        }
    }

    /// The register answers again.
    pub fn recover_register(&mut self) {
        if let Some(keepers) = &mut self.keepers {
            keepers.recover();
        }
    }

    pub fn runs(&self, side: Side) -> bool {
        self.nodes[side as usize].is_some()
    }

    #[track_caller]
    fn node(&self, side: Side) -> &Node {
        self.nodes[side as usize].as_ref().expect("runs")
    }

    pub fn role(&self, side: Side) -> Role {
        self.node(side).directive.role
    }

    pub fn silent(&self, side: Side) -> bool {
        self.node(side).directive.silent
    }

    /// An operator's order, which may be refused.
    pub fn order(&mut self, side: Side, order: Order) {
        let now_us = self.now_us;
        if let Some(node) = &mut self.nodes[side as usize]
            && node.frozen_until_us <= now_us
        {
            let answer = node.member.order(node.clock.read(now_us), &order);
            self.journal.push(format!("{now_us} {side:?}: {order:?}: {answer:?}"));
        }
    }

    pub fn run_random_us(&mut self, low: u64, high: u64) {
        let for_us = self.random(low, high);
        self.run_us(for_us);
    }

    pub fn run_us(&mut self, for_us: u64) {
        let end_us = self.now_us + for_us;
        self.tally.simulated_ms += for_us / 1_000;
        while self.now_us < end_us {
            self.now_us += self.step_us;
            self.deliver();
            self.vote();
            for side in [Side::A, Side::B] {
                self.turn(side);
            }
            self.check();
        }
    }

    /// Runs until `is_there`, at most for so long; whether it came to be.
    pub fn run_until(&mut self, most_us: u64, is_there: impl Fn(&World) -> bool) -> bool {
        let end_us = self.now_us + most_us;
        while self.now_us < end_us && !is_there(self) {
            self.run_us(1_000);
        }
        is_there(self)
    }

    fn check(&mut self) {
        let works = (0..2).any(|path| self.down[path] == [false, false]);
        let awake = self
            .nodes
            .each_ref()
            .map(|node| node.as_ref().filter(|node| node.frozen_until_us <= self.now_us));
        if self.checks_overlap {
            self.checker.one_primary(self.now_us, awake, works);
        }
        self.checker.no_spares_rise(awake);
        if self.has_keepers() {
            self.checker.one_open_gate(self.nodes.each_ref().map(Option::as_ref));
        }
    }

    fn vote(&mut self) {
        let Some(keepers) = &mut self.keepers else { return };
        keepers.step(self.now_us);
        let died = [Side::A, Side::B].map(|side| !keepers.runs(side as usize));
        for side in [Side::A, Side::B] {
            if self.runs(side) && died[side as usize] {
                self.journal.push(format!("{} {side:?} died writing", self.now_us));
                self.crash(side);
            }
        }
    }

    /// A role without the state that was there before: right only if nobody holds that any more.
    fn check_beginning(&mut self, side: Side) {
        let Directive { epoch, role, .. } = self.node(side).directive;
        let mut began = Epoch::default();
        if let Some(keepers) = &self.keepers {
            let held = keepers.view_before(epoch).is_some_and(|view| {
                self.nodes[side.other() as usize].as_ref().is_some_and(|node| {
                    // An empty state is as good as another one.
                    let role = node.directive.role;
                    let serves = matches!(role, Role::Primary(_) | Role::Backup);
                    let holds = serves && node.state.count > 0;
                    let in_sync =
                        view.in_sync.iter().any(|run| run.incarnation == node.incarnation);
                    holds && in_sync
                })
            });
            assert!(!held, "{side:?} began afresh while the state was held");
            self.checker.started(side);
            began = epoch;
        }
        let state = self.checker.history.begin(began);
        if let Some(node) = &mut self.nodes[side as usize] {
            (node.state, node.released) = (state, 0);
        }
        self.journal.push(format!("{} {side:?} begins afresh as {role:?}", self.now_us));
    }

    /// Who serves is the primary of a view that was decided, and was in the in-sync set before,
    /// unless it was handed all there is. Who gives the service away serves, and waits for its
    /// successor, in the view that names that one; until the successor does, which is alone in it.
    fn check_right_to_serve(&self, side: Side, before: Role) {
        let Some(keepers) = &self.keepers else { return };
        let Node { directive, incarnation, .. } = self.node(side);
        let epoch = directive.epoch;
        let waits = directive.role != Role::Primary(GateMode::Open);
        let is_primary =
            |view: &View| view.primary.map(|node| node.incarnation) == Some(*incarnation);
        let view_before = keepers.view_before(epoch);
        if let Some(view) = keepers.view(epoch) {
            let gives_away = matches!(before, Role::Primary(_)) && waits;
            let gives_away = gives_away && view_before.is_some_and(is_primary);
            assert!(is_primary(view) || gives_away, "{side:?} serves in epoch {epoch}");
            let alone = view.in_sync.len() == 1;
            assert!(alone || waits, "{side:?} waits for nobody in epoch {epoch}");
            let other = self.nodes[side.other() as usize].as_ref().map(|node| node.directive);
            let serves =
                |other: &Directive| matches!(other.role, Role::Primary(_)) && other.epoch == epoch;
            assert!(!other.as_ref().is_some_and(serves), "both serve in epoch {epoch}");
        }
        if let (Role::Backup, Some(view)) = (before, view_before) {
            let in_sync = view.in_sync.iter().any(|node| node.incarnation == *incarnation);
            assert!(in_sync, "{side:?}, which was not in sync, took over in epoch {epoch}");
        }
    }

    fn deliver(&mut self) {
        while let Some(first) = self.wire.first_entry() {
            if first.key().0 > self.now_us {
                break;
            }
            let (to, path, payload) = first.remove();
            if let Some(node) = &mut self.nodes[to as usize] {
                // A frozen node's receive rings keep what came first and drop the rest.
                let waiting = node.inbox.iter().filter(|(other, _)| *other == path).count();
                if waiting < self.ring {
                    node.inbox.push((path, payload));
                }
            }
        }
    }

    /// One turn of a node's poll loop.
    fn turn(&mut self, side: Side) {
        let period_us = self.random(50, 4 * self.step_us - 100);
        let now_us = self.now_us;
        let Some(node) = &mut self.nodes[side as usize] else { return };
        if now_us < node.frozen_until_us || now_us < node.next_poll_us {
            return;
        }
        node.next_poll_us = now_us + period_us;
        let now_us = node.clock.read(now_us);
        let mut out = Vec::new();
        for (path, payload) in std::mem::take(&mut node.inbox) {
            node.take(now_us, path, payload, &mut out);
        }
        let report = node.report(now_us);
        node.last_poll_us = now_us;
        let before = node.directive;
        node.directive = node.member.poll(now_us, &report, &mut |path, _, bytes| {
            out.push((path, Payload::Control(bytes.to_vec())));
        });
        while let Some((_, event)) = node.member.next_event() {
            self.journal.push(format!("{} {side:?}: {event}", self.now_us));
        }
        self.check_roles(side, before.role);
        let Some(node) = &mut self.nodes[side as usize] else { return };
        let released = node.released;
        node.work(now_us, before, &mut out);
        if self.checks_state && node.released > released {
            let told = node.state.first(node.released);
            self.checker.history.tell(told);
        }
        for (path, payload) in out {
            self.transmit(side, path, payload);
        }
    }

    fn check_roles(&mut self, side: Side, before: Role) {
        let role = self.node(side).directive.role;
        match (before, role) {
            (Role::Backup, Role::Primary(GateMode::Open)) => self.tally.takeovers += 1,
            (Role::Backup | Role::Joining, Role::Primary(_)) => self.tally.handovers += 1,
            (Role::Joining, Role::Backup) => self.tally.rejoins += 1,
            (Role::Spare, Role::Primary(_)) => self.tally.fresh_starts += 1,
            _ => {}
        }
        if before == Role::Spare && matches!(role, Role::Primary(_) | Role::Backup) {
            self.check_beginning(side);
        }
        if !matches!(role, Role::Primary(_)) {
            return;
        }
        self.check_right_to_serve(side, before);
        if !matches!(before, Role::Primary(_)) {
            let Node { state, directive, .. } = *self.node(side);
            if self.checker.is_newest(directive.epoch) && self.checks_state {
                self.checker.history.check_successor(state);
            }
            let state = self.checker.history.fork(state);
            if let Some(node) = &mut self.nodes[side as usize] {
                node.state = state;
            }
        }
    }

    fn transmit(&mut self, from: Side, path: Path, payload: Payload) {
        let lost = self.random(0, 99) < self.loss_percent;
        if lost || self.down[usize::from(path == Path::Lan)][from as usize] {
            return;
        }
        let copies = if self.random(0, 99) == 0 { 2 } else { 1 };
        for _ in 0..copies {
            let late = self.random(0, 49) == 0;
            let delay_us = match late {
                true if self.latest_us > 0 => self.random(500, self.latest_us),
                true => self.random(500, 4_000),
                false => self.random(30, 400),
            };
            self.sent += 1;
            self.wire
                .insert((self.now_us + delay_us, self.sent), (from.other(), path, payload.clone()));
        }
    }
}

impl Node {
    fn take(&mut self, now_us: u64, path: Path, payload: Payload, out: &mut Vec<(Path, Payload)>) {
        match payload {
            Payload::Control(bytes) => {
                let _refused = self.member.receive(now_us, path, &bytes);
            }
            Payload::Log { epoch, from, to, state, whole } => {
                let follows = matches!(self.directive.role, Role::Backup | Role::Joining);
                if follows && self.is_session(epoch, from, to) {
                    let has_none = self.directive.role == Role::Joining && !self.restored;
                    if has_none || state.count > self.state.count {
                        self.state = state;
                    }
                    self.restored |= whole;
                    let (from, to) = (self.incarnation, Some(from));
                    let count = self.state.count;
                    out.push((
                        Path::Link(Link::First),
                        Payload::Confirm { epoch, from, to, count },
                    ));
                }
            }
            Payload::Confirm { epoch, from, to, count } => {
                if self.is_session(epoch, from, to) && count > self.confirmed {
                    self.confirmed = count;
                    self.unconfirmed_since_us = (count < self.state.count).then_some(now_us);
                }
            }
        }
    }

    fn is_session(&self, epoch: Epoch, from: Incarnation, to: Option<Incarnation>) -> bool {
        let log = self.directive.logs[0];
        log.is_some_and(|log| (log.epoch, log.run) == (epoch, from)) && to == Some(self.incarnation)
    }

    fn report(&self, now_us: u64) -> Report {
        let serves = matches!(self.directive.role, Role::Primary(_));
        Report {
            stalled_for_us: now_us - self.last_poll_us,
            unconfirmed_since_us: [self.unconfirmed_since_us, None, None],
            session_open: self.directive.logs[0].is_some(),
            digest_mismatch: self.diverged.then_some(Mismatch {
                shard: 0,
                position: Position(1),
                primary: 1,
                ours: 2,
            }),
            refused_log: false,
            log_applied: true,
            transfer: self.transfer(),
            quiet: self.directive.quiesce != 0
                && self.confirmed == self.state.count
                && self.released == self.state.count,
            serving_since_us: serves.then_some(now_us),
            first_packet_us: serves.then_some(now_us),
            last_kick_us: serves.then_some(now_us),
            lan: None,
            parted: 0,
            gathered: [None; 3],
        }
    }

    fn transfer(&self) -> Transfer {
        let has = |inputs: Option<u64>| inputs.is_some_and(|inputs| inputs <= self.confirmed);
        match self.directive.role {
            Role::Primary(GateMode::Confirmed) if has(self.closed_at) => Transfer::Settled,
            Role::Primary(_) if has(self.handed_over) => Transfer::Complete,
            Role::Joining if self.restored => Transfer::Complete,
            _ => Transfer::Incomplete,
        }
    }

    /// What the worker does with the directive: log an input, ship the log, release packets.
    fn work(&mut self, now_us: u64, before: Directive, out: &mut Vec<(Path, Payload)>) {
        let Directive { role, silent, quiesce, logs: [log, ..], .. } = self.directive;
        let hands_over = log.is_some_and(|log| log.hands_over);
        let (epoch, peer) = log.map_or_else(Default::default, |log| (log.epoch, Some(log.run)));
        if before.logs[0].map(|log| (log.epoch, log.run)) != log.map(|log| (log.epoch, log.run)) {
            // A pair begins with equal states; who joins has nothing.
            self.confirmed = if hands_over { 0 } else { self.state.count };
            self.unconfirmed_since_us = None;
            self.handed_over = None;
            self.hands_over_at_us = now_us + TRANSFER_US;
            self.closed_at = None;
            if role == Role::Joining {
                (self.state.count, self.restored) = (0, false);
            }
        }
        if hands_over && before.role != role {
            let closed = role == Role::Primary(GateMode::Confirmed);
            self.closed_at = closed.then_some(self.state.count);
        }
        let Role::Primary(gate) = role else { return };
        if silent {
            return;
        }
        self.state.count += u64::from(quiesce == 0);
        match gate {
            GateMode::Open => {
                self.released = self.state.count;
                if hands_over {
                    let (from, state) = (self.incarnation, self.state);
                    let whole = now_us >= self.hands_over_at_us;
                    if whole {
                        self.handed_over.get_or_insert(state.count);
                    }
                    let log = Payload::Log { epoch, from, to: peer, state, whole };
                    out.push((Path::Link(Link::First), log));
                }
            }
            GateMode::Confirmed => {
                if self.confirmed < self.state.count {
                    self.unconfirmed_since_us.get_or_insert(now_us);
                }
                self.released = self.released.max(self.confirmed);
                let (from, state) = (self.incarnation, self.state);
                out.push((
                    Path::Link(Link::First),
                    Payload::Log { epoch, from, to: peer, state, whole: hands_over },
                ));
            }
        }
    }
}
