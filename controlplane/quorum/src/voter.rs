//! One voter of several: Raft over views, and the pursuit of what the own node asks for.
//!
//! The witness leads when it can, or a node that is not the primary: then a change that a node
//! wants takes one write on two disks side by side, even if the primary is gone. If the leader is
//! gone, too, or the primary leads after all, a node that wants a change does not wait for
//! Raft's election timeout: it knows better than any timer who is gone, so it stands for
//! election at once, and proposes when it is elected.

use std::collections::BTreeMap;
use std::fmt;

use controlplane::{NodeName, View, register::Change};
use protobuf::Message as _;
use raft::eraftpb::{Entry, Message, MessageType};
use raft::{Config, RawNode, SnapshotStatus, StateRole};
use slog::Logger;
use thiserror::Error;

use crate::log::{Log, LogError, Voters};

/// A leader tells the others that it lives, every so many ticks.
const HEARTBEAT_TICKS: usize = 10;
/// Silence of the leader after which a voter stands for election; each has a time of its own, so
/// that two do not stand at once for ever.
const ELECTION_TICKS: usize = 50;
const ELECTION_STEP: usize = 15;
/// How long a voter that wants a change waits before it stands again.
const INSIST_TICKS: u64 = 4;
const INSIST_STEP: u64 = 3;
/// How often who leads looks whether the chair can, and how lately that was heard then.
const HAND_BACK_TICKS: u64 = 100;
const LATELY_TICKS: u64 = 15;
/// Bytes of entries in one message, beyond the first entry.
const MESSAGE_BYTES: u64 = 600;
/// Bytes of changes that may wait for a majority at a leader.
const UNCOMMITTED_BYTES: u64 = 8 * 1024;

/// Where a voter's memory survives a crash.
pub trait Disk {
    /// Returns when `memory` would be found after a crash, in place of what was saved before.
    ///
    /// # Errors
    /// It may be there or not; the voter must not vote any more.
    fn save(&mut self, memory: &[u8]) -> std::io::Result<()>;
}

/// Why a voter cannot begin or go on.
#[derive(Debug, Error)]
pub enum VoterError {
    #[error("the register's state cannot be taken up: {0}")]
    Log(#[from] LogError),
    #[error("the register's state cannot be saved, so this voter votes no more: {0}")]
    Disk(#[from] std::io::Error),
    #[error("the register's library refuses: {0}")]
    Raft(#[from] raft::Error),
}

/// What a voter is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Follower,
    Candidate,
    Leader,
}

/// How the register fares, as one voter sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub role: Role,
    pub leader: Option<NodeName>,
    pub term: u64,
    /// Entries that are decided.
    pub commit: u64,
    pub view: View,
}

/// One voter. Its clock is [`Voter::tick`], 10 ms each.
pub struct Voter {
    raft: RawNode<Log>,
    wanted: Option<Wanted>,
    ticks: u64,
    insist_ticks: u64,
    /// When each other voter was heard last.
    heard_at: BTreeMap<NodeName, u64>,
}

/// A change that the own node asked for and that has no outcome yet.
struct Wanted {
    change: Change,
    /// The term in which this voter, as its leader, proposed it.
    proposed_in: Option<u64>,
    /// When to try again.
    next_at: u64,
    /// The last try was to pass it to the leader.
    passed_on: bool,
    /// Nothing was tried yet.
    fresh: bool,
}

impl fmt::Debug for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voter").field("standing", &self.standing()).finish_non_exhaustive()
    }
}

impl Voter {
    /// A voter with what it remembers; `None`: it never voted.
    ///
    /// # Errors
    /// The memory is none, or not this voter's.
    pub fn new(voters: Voters, memory: Option<&[u8]>) -> Result<Voter, VoterError> {
        let rank = voters.rank();
        let id = Voters::id(voters.me());
        let log = match memory {
            Some(memory) => Log::decode(memory, voters)?,
            None => Log::new(voters),
        };
        let election_tick = ELECTION_TICKS + rank * ELECTION_STEP;
        let config = Config {
            id,
            election_tick,
            min_election_tick: election_tick,
            max_election_tick: election_tick + 1,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied: log.view_index(),
            max_size_per_msg: MESSAGE_BYTES,
            max_uncommitted_size: UNCOMMITTED_BYTES,
            pre_vote: true,
            ..Config::default()
        };
        let raft = RawNode::new(&config, log, &Logger::root(slog::Discard, slog::o!()))?;
        let insist_ticks = INSIST_TICKS + rank as u64 * INSIST_STEP;
        Ok(Voter { raft, wanted: None, ticks: 0, insist_ticks, heard_at: BTreeMap::new() })
    }

    /// What this voter remembers, as it would be saved.
    #[must_use]
    pub fn memory(&self) -> Vec<u8> {
        self.raft.store().encode()
    }

    /// The newest view that this voter knows to be decided.
    #[must_use]
    pub fn view(&self) -> &View {
        self.raft.store().view()
    }

    #[must_use]
    pub fn standing(&self) -> Standing {
        let raft = &self.raft.raft;
        Standing {
            role: match raft.state {
                StateRole::Leader => Role::Leader,
                StateRole::Follower => Role::Follower,
                StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            },
            leader: self.raft.store().voters().name_of(raft.leader_id),
            term: raft.term,
            commit: raft.raft_log.committed,
            view: self.view().clone(),
        }
    }

    /// Ten milliseconds have passed.
    pub fn tick(&mut self) {
        self.ticks += 1;
        self.raft.tick();
        if self.ticks.is_multiple_of(HAND_BACK_TICKS) {
            self.hand_back();
        }
        self.pursue();
    }

    /// Takes a message that voter `from` sent. What cannot be right is dropped.
    pub fn receive(&mut self, from: NodeName, bytes: &[u8]) {
        let Ok(message) = Message::parse_from_bytes(bytes) else { return };
        if self.is_plausible(from, &message) {
            self.heard_at.insert(from, self.ticks);
            // A message that came too late or too early is no error: its like will come again.
            let _ignored = self.raft.step(message);
            self.pursue();
        }
    }

    fn is_plausible(&self, from: NodeName, message: &Message) -> bool {
        use MessageType::{
            MsgAppend, MsgAppendResponse, MsgHeartbeat, MsgHeartbeatResponse, MsgPropose,
            MsgRequestPreVote, MsgRequestPreVoteResponse, MsgRequestVote, MsgRequestVoteResponse,
            MsgSnapshot, MsgTimeoutNow,
        };
        let known = matches!(
            message.get_msg_type(),
            MsgAppend
                | MsgAppendResponse
                | MsgHeartbeat
                | MsgHeartbeatResponse
                | MsgPropose
                | MsgRequestPreVote
                | MsgRequestPreVoteResponse
                | MsgRequestVote
                | MsgRequestVoteResponse
                | MsgSnapshot
                | MsgTimeoutNow
        );
        let log = &self.raft.raft.raft_log;
        // A leader that is sure of more than this voter has would know it from a memory that was
        // lost: a voter must not come back without the one that it had.
        let beyond = message.get_msg_type() == MsgHeartbeat && message.commit > log.last_index();
        let empty = message.get_msg_type() == MsgPropose && message.entries.is_empty();
        let addressed = message.to == self.raft.raft.id && message.from == Voters::id(from);
        known && addressed && !beyond && !empty
    }

    /// The own node asks for a change. It is pursued until a view of its epoch is decided, this
    /// one or another.
    pub fn want(&mut self, change: Change) {
        let next_at = self.ticks;
        let (proposed_in, passed_on, fresh) = (None, false, true);
        self.wanted = Some(Wanted { change, proposed_in, next_at, passed_on, fresh });
        self.pursue();
    }

    fn pursue(&mut self) {
        let Some(wanted) = &mut self.wanted else { return };
        if self.raft.store().view().epoch >= wanted.change.next.epoch {
            self.wanted = None;
            return;
        }
        let raft = &self.raft.raft;
        let entry = || wanted.change.next.to_json().into_bytes();
        if raft.state == StateRole::Leader {
            let term = raft.term;
            if wanted.proposed_in != Some(term) {
                let proposed = self.raft.propose(Vec::new(), entry());
                wanted.proposed_in = proposed.is_ok().then_some(term);
            }
        } else if self.ticks >= wanted.next_at {
            let log = self.raft.store();
            let leader = log.voters().name_of(raft.leader_id);
            let passed_on = leader.is_some_and(|leader| may_lead(leader, log, &wanted.change.next))
                && !wanted.passed_on
                && self.raft.propose(Vec::new(), entry()).is_ok();
            wanted.passed_on = passed_on;
            wanted.next_at = self.ticks + self.insist_ticks;
            let fresh = std::mem::take(&mut wanted.fresh);
            if !passed_on {
                self.stand(fresh);
            }
        }
    }

    /// A voter that leads lets the chair lead, once that can.
    fn hand_back(&mut self) {
        let log = self.raft.store();
        let Some(chair) = log.voters().chair(log.view()) else { return };
        let (id, raft) = (Voters::id(chair), &self.raft.raft);
        let leads = raft.state == StateRole::Leader && raft.id != id;
        let heard = self.heard_at.get(&chair).is_some_and(|at| self.ticks - at <= LATELY_TICKS);
        let last = raft.raft_log.last_index();
        let follows = raft.prs().get(id).is_some_and(|progress| progress.matched == last);
        if leads && heard && follows && self.wanted.is_none() {
            self.raft.transfer_leader(id);
        }
    }

    /// Stands for election now. In the beginning without asking first whether it can win: that
    /// saves a round trip. Later that would depose, again and again, whoever can.
    fn stand(&mut self, at_once: bool) {
        let id = self.raft.raft.id;
        let _already = if at_once && self.raft.raft.state == StateRole::Follower {
            // As if the leader had asked for it.
            let mut now = Message::default();
            now.set_msg_type(MessageType::MsgTimeoutNow);
            (now.from, now.to, now.term) = (id, id, self.raft.raft.term);
            self.raft.step(now)
        } else {
            self.raft.campaign()
        };
    }

    /// Does what is due: saves what must not be forgotten, then sends what depends on it.
    ///
    /// # Errors
    /// The disk failed. The voter must not be used any more.
    pub fn act(
        &mut self,
        disk: &mut impl Disk,
        send: &mut impl FnMut(NodeName, &[u8]),
    ) -> Result<(), VoterError> {
        while self.raft.has_ready() {
            let mut ready = self.raft.ready();
            self.send(ready.take_messages(), send);
            if !ready.snapshot().is_empty() {
                self.raft.mut_store().restore(ready.snapshot())?;
            }
            let decided = ready.take_committed_entries();
            let log = self.raft.mut_store();
            log.append(ready.entries());
            if let Some(hard_state) = ready.hs() {
                log.hard_state = hard_state.clone();
            }
            decided.iter().for_each(|entry| fold(log, entry));
            if ready.must_sync() || !ready.snapshot().is_empty() {
                disk.save(&log.encode())?;
            }
            self.send(ready.take_persisted_messages(), send);
            let mut light = self.raft.advance(ready);
            let log = self.raft.mut_store();
            if let Some(commit) = light.commit_index() {
                log.hard_state.commit = commit;
            }
            light.take_committed_entries().iter().for_each(|entry| fold(log, entry));
            self.send(light.take_messages(), send);
            self.raft.advance_apply();
            self.pursue();
        }
        Ok(())
    }

    fn send(&mut self, messages: Vec<Message>, send: &mut impl FnMut(NodeName, &[u8])) {
        for message in messages {
            let Some(to) = self.raft.store().voters().name_of(message.to) else { continue };
            if let Ok(bytes) = message.write_to_bytes() {
                send(to, &bytes);
            }
            if message.get_msg_type() == MessageType::MsgSnapshot {
                // If it is lost the next heartbeat shows it.
                self.raft.report_snapshot(message.to, SnapshotStatus::Finish);
            }
        }
    }
}

/// Whether `leader` may be asked for a change to `next`: it is the chair, and not the one that a
/// primary removes because it may be gone. Whom a new primary leaves out may well be there.
fn may_lead(leader: NodeName, log: &Log, next: &View) -> bool {
    let names = |view: &View| view.in_sync.iter().any(|node| node.name == leader);
    let same_primary = next.primary_name() == log.view().primary_name();
    let removed = same_primary && names(log.view()) && !names(next);
    log.voters().chair(log.view()) == Some(leader) && !removed
}

/// A change counts only if it follows the view that is decided when its turn comes: this is the
/// compare of compare-and-set, the same on every voter.
fn fold(log: &mut Log, entry: &Entry) {
    let next = View::from_json(&entry.data).ok();
    let next = next.filter(|next| next.epoch == log.view().epoch.next());
    log.fold(entry, next);
}
