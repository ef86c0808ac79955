//! One node's part in the cluster: what it is, and when that changes.
//!
//! | phase    | leaves it for | when |
//! |----------|---------------|------|
//! | Starting | Forming  | fresh peers with equal manifests are heard on both paths, and rank lower |
//! |          | Backup   | the peer proposed a view with this run in its in-sync set |
//! |          | Primary  | nobody was heard for the lone-start time, or nobody to pair with |
//! |          | Spare    | the peer serves already |
//! | Forming  | Primary  | all of them acknowledged the view |
//! |          | Starting | one of them fell silent or restarted before it did |
//! | Spare    | Joining  | the primary admits this run |
//! |          | Starting | nobody was heard for the lone-start time |
//! | Joining  | Backup   | the primary counted it as in sync |
//! |          | Spare    | the attempt failed |
//! | Primary  | Backup   | a switchover: it gave the service to its backup |
//! |          | Spare    | a newer view, or a rival of the same epoch that ranks higher |
//! | Backup   | Primary  | takeover: all paths silent, or the primary's run ended; or a switchover |
//! |          | Spare    | removed by the primary, or its state is not the primary's |
//! A drained node is Spare until an operator ends that.
//!
//! All decisions are made in [`Member::poll`]; [`Member::receive`] only takes note. `startup.rs`,
//! `primary.rs`, `backup.rs`, `admission.rs` and `switchover.rs` hold the rules of the phases,
//! `doubt.rs` what a node does that stood still itself, `inquiry.rs` how a refusal is explained,
//! `partners.rs` with whom a log is shared, `lan.rs` what follows when the service LAN fails at one
//! node alone.

mod admission;
mod backup;
mod change;
mod doubt;
#[cfg(test)]
mod fence_tests;
mod inquiry;
mod intrusions;
mod lan;
#[cfg(test)]
mod link_tests;
mod majority;
mod partners;
mod peers;
mod primary;
#[cfg(test)]
mod quorum_tests;
mod report;
mod startup;
mod switchover;
#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;
use replication::{
    Directive, Epoch, GateMode, Incarnation, KeyRing, Log, MAX_PEERS, Majority, Path, PeerIndex,
    Report, Role, Votes,
};

use crate::config::{ConfigError, MemberConfig};
use crate::events::{Event, EventQueue, SpareReason};
use crate::identity::{Identity, NodeId};
use crate::message::{self, Body, Condition, Heartbeat, Message, MessageError, Which};
use crate::peer::{Heard, Peer};
use crate::register::{MAX_IN_SYNC, PairRegister, Register};
use crate::status::{Handing, MemberCounters};
use crate::timeline::Timeline;

use admission::Retry;
use change::{Asked, Intent};
use doubt::Doubt;
use inquiry::Inquiry;
use intrusions::Intrusions;
use lan::Lan;
use majority::{Parting, Sealed};
use partners::{Partner, Partners};
use switchover::{Switchovers, Yielding};

/// How often a node that has asked the register for a change looks for the answer.
const REGISTER_US: u64 = 500;
/// Manifest chunks that are answered in one poll.
const ANSWERS: usize = 4;

/// The state machine of one node. See the module's table.
#[derive(Debug)]
pub struct Member<R = PairRegister> {
    config: MemberConfig,
    identity: Identity,
    me: NodeId,
    register: R,
    /// The other nodes, by their places.
    peers: ArrayVec<Peer, MAX_PEERS>,
    phase: Phase,
    phase_since_us: u64,
    /// When anything of a peer, known or not, was heard last; at first the start of this node.
    last_sign_us: u64,
    /// When somebody was heard on the link under a key that this node does not have.
    foreign_us: Option<u64>,
    doubt: Option<Doubt>,
    /// End of this node's last own stall: waiting of others counts from there.
    stall_end_us: u64,
    /// With each peer.
    inquiries: [Inquiry; MAX_PEERS],
    answers: ArrayVec<(PeerIndex, Path, Which, u32), ANSWERS>,
    events: EventQueue,
    timeline: Option<Timeline>,
    timeline_reported: bool,
    counters: MemberCounters,
    intrusions: Intrusions,

    seq: u64,
    last_heartbeat_us: u64,
    next_heartbeat_us: u64,
    last_poll_us: u64,
    /// A poll before this time with nothing received and nothing new reported decides nothing.
    wake_us: u64,
    /// When the next admission of each peer may begin.
    retries: [Retry; MAX_PEERS],
    /// The last epoch in which this node began to join.
    tried: Epoch,
    switchovers: Switchovers,
    lan: Lan,
    /// An operator took this node out.
    drained: bool,
    /// The report says that all shards are restored.
    restored: bool,
    /// A backup that suspects its primary, where a majority decides who holds what.
    sealed: Option<Sealed>,
    /// A primary that leaves backups out, there; and how often one did.
    parting: Option<Parting>,
    partings: u32,
    /// What the register was asked for; until it has answered nothing else is decided.
    asked: Option<Asked>,
    /// The epoch of the newest view, and when this node learned of it.
    view_epoch: Epoch,
    view_since_us: u64,
    /// Whom this node waits for, as far as it was told.
    awaited: Option<NodeId>,
    /// Runs that an operator vouches to have ended.
    assumed_ended: ArrayVec<Incarnation, MAX_IN_SYNC>,
    unsettled: bool,
    last_report: Report,
    directive: Directive,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Starting {
        /// Since when a peer is heard that this node cannot pair with.
        unpaired_since_us: Option<u64>,
    },
    Forming(Partners),
    Primary(Serving),
    /// Follows the log of that primary.
    Backup(Partner),
    /// Takes in the state of that primary.
    Joining(Partner),
    Spare(SpareReason),
}

/// How a primary serves.
#[derive(Debug, Clone, Copy, Default)]
struct Serving {
    /// Who else is in sync, as the register says it.
    backups: Partners,
    act: Act,
}

/// What a primary is about beside serving.
#[derive(Debug, Clone, Copy, Default)]
enum Act {
    #[default]
    Nothing,
    /// The backup was removed from the register and has not acknowledged it. It might still take
    /// over, so the gate stays closed for it. Not with a register that binds all.
    Removing { partner: Partner, since_us: u64 },
    /// Gives its state to the partner. `closed`: the partner has it, and the gate waits for it, too,
    /// until the partner is known to have the log of all that left before.
    Admitting { partner: Partner, closed: bool },
    /// Gives the service away.
    Yielding(Yielding),
}

impl Serving {
    /// Each log that this primary writes, and whether the gate waits for it.
    fn logs(&self) -> impl Iterator<Item = (Partner, bool)> {
        let beside = match self.act {
            Act::Nothing => None,
            Act::Removing { partner, .. } => Some((partner, true)),
            Act::Admitting { partner, closed } => Some((partner, closed)),
            Act::Yielding(Yielding { partner, by, .. }) => {
                (by == Handing::Snapshot).then_some((partner, false))
            }
        };
        self.backups.iter().map(|partner| (partner, true)).chain(beside)
    }
}

impl Member<PairRegister> {
    /// A freshly started node of a pair.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(
        config: MemberConfig,
        identity: Identity,
        now_us: u64,
    ) -> Result<Member, ConfigError> {
        Member::with_register(config, identity, PairRegister::default(), now_us)
    }
}

impl<R: Register> Member<R> {
    /// A freshly started node whose views are kept by `register`.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn with_register(
        config: MemberConfig,
        identity: Identity,
        register: R,
        now_us: u64,
    ) -> Result<Member<R>, ConfigError> {
        config.validate()?;
        let me = identity.id();
        let peers = identity.peers.iter().map(|name| Peer::new(*name, &config)).collect();
        Ok(Member {
            config,
            identity,
            me,
            register,
            peers,
            phase: Phase::Starting { unpaired_since_us: None },
            phase_since_us: now_us,
            last_sign_us: now_us,
            foreign_us: None,
            doubt: None,
            stall_end_us: now_us,
            inquiries: Default::default(),
            answers: ArrayVec::new(),
            events: EventQueue::default(),
            timeline: None,
            timeline_reported: false,
            counters: MemberCounters::default(),
            intrusions: Intrusions::default(),
            seq: 0,
            last_heartbeat_us: 0,
            next_heartbeat_us: now_us,
            last_poll_us: now_us,
            wake_us: now_us,
            retries: Default::default(),
            tried: Epoch::default(),
            switchovers: Switchovers::default(),
            lan: Lan::default(),
            drained: false,
            restored: false,
            sealed: None,
            parting: None,
            partings: 0,
            asked: None,
            view_epoch: Epoch::default(),
            view_since_us: now_us,
            awaited: None,
            assumed_ended: ArrayVec::new(),
            unsettled: true,
            last_report: Report::default(),
            directive: Directive::SPARE,
        })
    }

    /// Takes note of a datagram that came on `path`. Decisions follow in the next [`Self::poll`].
    ///
    /// # Errors
    /// The datagram is refused and counted; nothing changed.
    pub fn receive(
        &mut self,
        now_us: u64,
        path: Path,
        datagram: &[u8],
    ) -> Result<(), MessageError> {
        let result = self.admit(now_us, path, datagram);
        self.counters.messages_received += 1;
        if let Err(error) = result {
            if let Some(event) = self.intrusions.note(now_us, path, error) {
                self.events.push(now_us, event);
            }
            // Somebody on the link may be the peer with other keys, and may serve: no lone start.
            // On the service LAN anybody could say so.
            let on_link = matches!(path, Path::Link(_));
            if on_link && matches!(error, MessageError::UnknownKey(_)) {
                self.last_sign_us = now_us;
                self.foreign_us = Some(now_us);
            }
            let counters = &mut self.counters;
            *match error {
                MessageError::Malformed => &mut counters.malformed,
                MessageError::Version(_) => &mut counters.other_version,
                MessageError::UnknownKey(_) => &mut counters.unknown_key,
                MessageError::Unauthentic => &mut counters.unauthentic,
                MessageError::Stranger(_) => &mut counters.strangers,
                MessageError::Replayed => &mut counters.replayed,
                MessageError::FormerRun => &mut counters.former_run,
                MessageError::Own => &mut counters.own_reflected,
            } += 1;
        }
        result
    }

    fn admit(&mut self, now_us: u64, path: Path, datagram: &[u8]) -> Result<(), MessageError> {
        let mut opened = message::Datagram::new();
        let message = Message::decode(datagram, &self.identity.keys, &mut opened)?;
        if message.from == self.me {
            return Err(MessageError::Own);
        }
        let place = self.place_of(message.from.name);
        let place = place.ok_or(MessageError::Stranger(message.from.name))?;
        let peer = &mut self.peers[place.place()];
        let heard = peer.admit(now_us, path, &message, self.me.incarnation)?;
        self.last_sign_us = now_us;
        self.unsettled = true;
        match heard {
            Heard::Introduction => return Ok(()),
            Heard::KnownRun => {}
            Heard::NewRun { replaces } => {
                self.inquiries[place.place()] = Inquiry::default();
                self.note_new_run(now_us, message.from, replaces);
            }
        }
        match message.body {
            Body::Heartbeat(heartbeat) => self.note_heartbeat(place, message.seq, heartbeat),
            Body::ManifestRequest { which, chunk } => {
                // One that finds no room is asked for again.
                let _ = self.answers.try_push((place, path, which, chunk));
            }
            Body::ManifestChunk { which, chunk, chunks, bytes } => {
                self.inquiries[place.place()].receive(now_us, which, chunk, chunks, bytes);
            }
        }
        Ok(())
    }

    fn note_new_run(&mut self, now_us: u64, peer: NodeId, replaces: bool) {
        self.hasten(now_us);
        self.events.push(
            now_us,
            if replaces { Event::PeerRestarted { peer } } else { Event::PeerHeard { peer } },
        );
    }

    fn note_heartbeat(&mut self, from: PeerIndex, seq: u64, heartbeat: Heartbeat) {
        if heartbeat.answer {
            // Soon, but a peer that keeps asking cannot make us flood it.
            let soon_us = self.last_heartbeat_us + self.config.heartbeat_us / 8;
            self.next_heartbeat_us = self.next_heartbeat_us.min(soon_us);
        }
        let ours = self.identity.config.digest();
        if let Some(newest) = self.peers[from.place()].note(seq, heartbeat) {
            // A peer that is configured otherwise may keep another register.
            if !self.register.is_binding() || newest.config_digest == *ours {
                self.register.observe(&newest.view);
            }
        }
    }

    /// One turn of the poll loop: decides, sends what is due through `emit`, and says what the
    /// node is. Call it after [`Self::receive`] and before anything is transmitted in the turn.
    ///
    /// Cheap when nothing happened, so that it can stand in every turn.
    pub fn poll(
        &mut self,
        now_us: u64,
        report: &Report,
        emit: &mut impl FnMut(Path, PeerIndex, &[u8]),
    ) -> Directive {
        let gap_us = report.stalled_for_us.max(now_us.saturating_sub(self.last_poll_us));
        self.last_poll_us = now_us;
        self.unsettled |= self.register.refresh();
        if self.is_calm(now_us, gap_us, report) {
            return self.directive;
        }
        self.unsettled = false;
        self.note_stall(now_us, gap_us);
        self.note_report(now_us, report);
        self.note_restored(now_us, report);
        self.note_lan(now_us, report);
        self.note_view(now_us);
        self.settle_doubt(now_us);
        self.pursue(now_us);
        self.reconcile(now_us);
        self.consider_leaving(now_us);
        self.note_peer_serves(now_us);
        match self.phase {
            _ if self.asked.is_some() => {}
            Phase::Starting { unpaired_since_us } => self.start(now_us, unpaired_since_us),
            Phase::Forming(partners) => self.form(now_us, partners),
            Phase::Primary(serving) => self.serve(now_us, serving, report),
            Phase::Backup(primary) => self.watch(now_us, primary, report),
            Phase::Joining(primary) => self.join_primary(now_us, primary, report),
            Phase::Spare(_) if self.may_start_afresh(now_us) => self.start_afresh(now_us),
            Phase::Spare(_) => {
                self.tell_of_holder(now_us);
                self.explain(now_us);
                self.consider_joining(now_us);
            }
        }
        self.note_paths(now_us);
        self.choose_links(now_us, report);
        self.send(now_us, emit);
        self.directive = self.decide(now_us);
        let silences = self.peers.iter().filter_map(|peer| peer.deadline_us(now_us));
        let silence_us = silences.min().map_or(u64::MAX, |at_us| at_us + 1);
        self.wake_us = self.next_heartbeat_us.min(silence_us).min(self.register_deadline_us());
        self.directive
    }

    fn is_calm(&mut self, now_us: u64, gap_us: u64, report: &Report) -> bool {
        let overdue = self.peers.iter().zip(report.unconfirmed_since_us).any(|(peer, since_us)| {
            let for_us = since_us.map_or(0, |since_us| now_us.saturating_sub(since_us));
            for_us > confirm_timeout_us(peer)
        });
        let nothing = [None; MAX_PEERS];
        let news = Report { stalled_for_us: 0, unconfirmed_since_us: nothing, ..*report };
        let same = news == self.last_report;
        self.last_report = news;
        let stalled = gap_us > self.config.self_doubt_us();
        same && !overdue && !stalled && !self.unsettled && now_us < self.wake_us
    }

    /// Brings the phase in line with the register.
    fn reconcile(&mut self, now_us: u64) {
        self.settle_rivalry(now_us);
        let view = self.register.view();
        let to_me = view.primary == Some(self.me);
        match self.phase {
            // The register knows already what is to be when this node rests.
            Phase::Primary(Serving { act: Act::Yielding(yielding), .. })
                if yielding.decided == Some(view.epoch) => {}
            Phase::Primary(Serving { act: Act::Yielding(yielding), .. })
                if yielding.rests() && view.primary == Some(yielding.partner.id) =>
            {
                self.note_handed_over(now_us, yielding.partner);
            }
            Phase::Backup(from) if to_me && self.has_rested(from) => {
                self.receive_service(now_us, from);
            }
            Phase::Joining(from) if to_me && self.restored => self.succeed(now_us, from),
            Phase::Primary(_) | Phase::Forming(_) if view.primary != Some(self.me) => {
                self.become_spare(now_us, SpareReason::Superseded);
            }
            Phase::Backup(primary)
                if !view.has(self.me) || view.primary != Some(primary.id) && !to_me =>
            {
                let reason = if self.drained { SpareReason::Drained } else { SpareReason::Removed };
                self.become_spare(now_us, reason);
            }
            Phase::Starting { .. } if self.asked.is_none() => {
                if let Some(at) = self.invitation() {
                    self.join(now_us, at);
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, now_us: u64, phase: Phase) {
        self.phase = phase;
        self.phase_since_us = now_us;
        self.sealed = None;
        if !matches!(phase, Phase::Primary(_)) {
            self.parting = None;
        }
        self.unsettled = true;
        self.hasten(now_us);
    }

    fn become_spare(&mut self, now_us: u64, reason: SpareReason) {
        self.doubt = None;
        self.enter(now_us, Phase::Spare(reason));
        let epoch = self.register.view().epoch;
        self.events.push(now_us, Event::BecameSpare { epoch, reason });
    }

    /// Tell the peers at once: something changed that one of them waits for.
    fn hasten(&mut self, now_us: u64) {
        self.next_heartbeat_us = now_us;
    }

    fn note_paths(&mut self, now_us: u64) {
        for path in self.config.paths() {
            for peer in &mut self.peers {
                let name = peer.name;
                let heard_us = peer.detector(path).last_heard_us().unwrap_or(now_us);
                let for_us = now_us.saturating_sub(heard_us);
                let event = match peer.path_change(path, now_us) {
                    None => continue,
                    Some(true) => Event::PathHeard { path, peer: name },
                    Some(false) => {
                        let spared = matches!(path, Path::Link(_)) && peer.hears_link(now_us);
                        Event::PathSilent { path, peer: name, for_us, spared }
                    }
                };
                self.events.push(now_us, event);
            }
        }
    }

    fn choose_links(&mut self, now_us: u64, report: &Report) {
        for (peer, since_us) in self.peers.iter_mut().zip(report.unconfirmed_since_us) {
            let since_us = since_us.map(|since_us| since_us.max(self.stall_end_us));
            let changed = peer.choose_link(now_us, since_us);
            self.counters.link_changes += u64::from(changed);
        }
    }

    fn decide(&self, now_us: u64) -> Directive {
        let mut logs = [None; MAX_PEERS];
        let mut quiesces = false;
        let mut majority = Majority::NONE;
        let role = match self.phase {
            Phase::Starting { .. } | Phase::Forming(_) | Phase::Spare(_) => Role::Spare,
            Phase::Joining(primary) => {
                let log = self.log_with(primary, false, Votes::NONE);
                logs[primary.at.place()] = Some(log);
                Role::Joining
            }
            Phase::Backup(primary) => {
                let log = self.log_with(primary, false, Votes::NONE);
                logs[primary.at.place()] = Some(log);
                majority = self.exchanges(primary);
                Role::Backup
            }
            Phase::Primary(serving) => {
                for (partner, counts) in serving.logs() {
                    let votes = self.votes(serving, partner, counts);
                    logs[partner.at.place()] = Some(self.log_with(partner, counts, votes));
                }
                majority.parting = self.parting();
                if let Act::Yielding(yielding) = serving.act {
                    quiesces = yielding.rests();
                }
                let waits = serving.logs().any(|(_, counts)| counts);
                Role::Primary(if waits { GateMode::Confirmed } else { GateMode::Open })
            }
        };
        Directive {
            epoch: self.register.view().epoch,
            role,
            silent: self.doubt.is_some() || self.may_be_replaced(now_us),
            logs,
            quiesce: if quiesces { self.switchovers.attempts } else { 0 },
            passes_on: self.passes_on(now_us),
            solicits: self.doubts_lan(now_us),
            majority,
        }
    }

    fn log_with(&self, partner: Partner, counts: bool, votes: Votes) -> Log {
        partner.log(self.peer(partner.at).link(), counts, votes)
    }

    /// The log that this node writes for `peer`, and whether the state comes in it and the service
    /// behind that.
    fn log_for(&self, peer: PeerIndex) -> (Option<Epoch>, bool, bool) {
        let (backups, act) = match self.phase {
            Phase::Forming(partners) => (partners, Act::Nothing),
            Phase::Primary(serving) => (serving.backups, serving.act),
            _ => return (None, false, false),
        };
        match act {
            Act::Admitting { partner, .. } if partner.at == peer => {
                (Some(partner.log), true, false)
            }
            Act::Yielding(Yielding { partner, by: Handing::Snapshot, .. })
                if partner.at == peer =>
            {
                (Some(partner.log), true, true)
            }
            _ => (backups.at(peer).map(|partner| partner.log), false, false),
        }
    }

    fn condition(&self) -> Condition {
        match self.phase {
            Phase::Starting { .. } => Condition::Starting,
            Phase::Forming(_) => Condition::Forming,
            Phase::Primary(_) => Condition::Primary,
            Phase::Backup(_) => Condition::Backup,
            Phase::Joining(_) => Condition::Joining,
            Phase::Spare(SpareReason::Diverged | SpareReason::RefusedLog) => Condition::Withdrawn,
            Phase::Spare(_) => Condition::Spare,
        }
    }

    /// The view of this node waits for a peer's acknowledgement, or the register was asked to let
    /// it begin alone.
    fn is_pending(&self) -> bool {
        let waits = matches!(
            self.phase,
            Phase::Forming(_) | Phase::Primary(Serving { act: Act::Removing { .. }, .. })
        );
        let begins = |asked: &Asked| matches!(asked.intent, Intent::StartAlone { .. });
        waits || self.asked.as_ref().is_some_and(begins)
    }

    fn send(&mut self, now_us: u64, emit: &mut impl FnMut(Path, PeerIndex, &[u8])) {
        if now_us >= self.next_heartbeat_us {
            for to in self.places() {
                let heartbeat = Body::Heartbeat(self.heartbeat(now_us, to));
                self.transmit(now_us, to, self.config.paths(), heartbeat, emit);
            }
            self.counters.heartbeats_sent += 1;
            self.last_heartbeat_us = now_us;
            self.next_heartbeat_us = now_us + self.config.heartbeat_us;
        }
        for (to, path, which, chunk) in std::mem::take(&mut self.answers) {
            let manifest = match which {
                Which::Config => self.identity.config.clone(),
                Which::Content => self.identity.content.clone(),
            };
            if let Some(body) = inquiry::answer(which, &manifest, chunk) {
                self.transmit(now_us, to, [path], body, emit);
            }
        }
        for to in self.places() {
            if let Some(body) = self.inquiries[to.place()].request(now_us) {
                self.transmit(now_us, to, self.config.paths(), body, emit);
            }
        }
    }

    fn transmit(
        &mut self,
        now_us: u64,
        receiver: PeerIndex,
        paths: impl IntoIterator<Item = Path>,
        body: Body<'_>,
        emit: &mut impl FnMut(Path, PeerIndex, &[u8]),
    ) {
        self.seq += 1;
        let to = self.peers[receiver.place()].introduced();
        let message = Message { from: self.me, to, seq: self.seq, sent_us: now_us, body };
        let datagram = message.encode(&self.identity.keys);
        paths.into_iter().for_each(|path| emit(path, receiver, &datagram));
    }

    fn heartbeat(&self, now_us: u64, to: PeerIndex) -> Heartbeat {
        let peer = &self.peers[to.place()];
        let (log, admits, yields) = self.log_for(to);
        Heartbeat {
            priority: self.config.priority,
            condition: self.condition(),
            silent: self.doubt.is_some(),
            answer: self.doubt.is_some(),
            pending: self.is_pending(),
            hears_link: peer.hears_link(now_us),
            hears_lan: peer.hears(Path::Lan, now_us),
            links_behind: peer.links_behind(now_us),
            lan: self.lan.state,
            restored: self.restored,
            drained: self.drained,
            sealed: self.is_sealed(),
            log,
            admits,
            yields,
            keys: self.identity.keys.ids().collect(),
            log_version: self.identity.log_version,
            link_version: self.identity.link_version,
            snapshot_version: self.identity.snapshot_version,
            workers: self.identity.workers,
            echo_sent_us: peer.last_sent_us(),
            config_digest: *self.identity.config.digest(),
            content_digest: *self.identity.content.digest(),
            view: self.register.view().clone(),
        }
    }

    /// Vouches that `run` has ended, which nothing proves: a machine that burned, say. A node that
    /// waits for that run then begins afresh without it.
    pub fn assume_ended(&mut self, run: Incarnation) {
        // There are no more runs than fit that could be waited for.
        let _full = self.assumed_ended.try_push(run);
    }

    /// Until when nothing happens here by itself, in microseconds. A datagram or a report may
    /// need [`Self::poll`] earlier.
    #[must_use]
    pub fn next_deadline_us(&self) -> u64 {
        if self.unsettled { self.last_poll_us } else { self.wake_us }
    }

    /// When to look whether the register has answered. It tells of an answer itself; this is for
    /// what is said when there is none.
    fn register_deadline_us(&self) -> u64 {
        self.asked.as_ref().map_or(u64::MAX, |_| self.last_poll_us + REGISTER_US)
    }

    /// Goes on with other keys: says everything under the first of them, and hears any.
    pub fn change_keys(&mut self, keys: KeyRing) {
        self.identity.keys = keys;
    }

    /// The oldest event that was not taken yet, with the time at which it happened.
    pub fn next_event(&mut self) -> Option<(u64, Event)> {
        self.events.pop()
    }

    /// The directive of the last poll.
    #[must_use]
    pub fn directive(&self) -> Directive {
        self.directive
    }
}

/// How long a batch may wait for that peer's confirmation.
fn confirm_timeout_us(peer: &Peer) -> u64 {
    peer.link_timeout_us()
}
