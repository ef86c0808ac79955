//! What is worth a log line: each says what happened, and what to do if anything is to be done.

use std::collections::VecDeque;
use std::fmt;

use replication::{Epoch, KeyId, Link, Mismatch, Path};

use crate::identity::{NodeId, NodeName};
use crate::status::Handing;
use crate::timeline::Timeline;

/// Events kept until the caller drains them.
const CAPACITY: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    /// Redundancy or certainty was lost; service goes on.
    Warning,
    /// Somebody has to look at it.
    Error,
}

/// Why a node took over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// All paths were silent for longer than the detection timeout.
    AllPathsSilent,
    /// The primary's process ended: another run of it was heard.
    RunEnded,
    /// The primary said itself that it serves no more.
    GaveUp,
}

/// Why a primary removed its backup from the in-sync set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    AllPathsSilent,
    RunEnded,
    /// It left by itself: its state is not ours, or it holds none.
    Left,
    /// The service goes to another backup, which it joins then.
    MakesWay,
    /// No link is heard both ways, while the LAN is heard.
    LinkSilent,
    /// The log waits for a confirmation for this long.
    LogUnconfirmed {
        for_us: u64,
    },
}

impl Removal {
    /// The removed node can take over no more, so its acknowledgement need not be awaited.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Removal::AllPathsSilent | Removal::RunEnded | Removal::Left)
    }
}

/// Why a node is spare for the rest of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpareReason {
    /// It started while the peer already served.
    PeerServes,
    /// It differs from the peer in what both must have in common.
    Refused,
    /// The primary removed it from the in-sync set.
    Removed,
    /// It was primary and heard of a newer one.
    Superseded,
    /// It was primary beside another one of the same epoch, and ranks lower.
    LostTie,
    /// It was backup with a state that is not the primary's.
    Diverged,
    /// It was backup and could not take a part of the log.
    RefusedLog,
    /// It was joining, and the primary gave that up.
    NotAdmitted,
    /// It gave the service to a peer whose log it cannot follow.
    HandedOver,
    /// An operator took it out.
    Drained,
    /// It was backup and may lack what clients were told, and who had that is gone.
    Incomplete,
}

impl SpareReason {
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            SpareReason::PeerServes => "the peer already serves",
            SpareReason::Refused => "it differs from its peer, see the refusal",
            SpareReason::Removed => "the primary removed it from the in-sync set",
            SpareReason::Superseded => "a newer primary was heard; stepped back",
            SpareReason::LostTie => "the other primary ranks higher; stepped back",
            SpareReason::Diverged => "its state is not the primary's",
            SpareReason::RefusedLog => "it could not take a part of the log",
            SpareReason::HandedOver => "it handed the service over",
            SpareReason::Incomplete => {
                "it may lack what clients were told, and the nodes that held that are gone: \
                 connections are lost"
            }
            SpareReason::Drained => "it is drained; `holdfast undrain` ends that",
            SpareReason::NotAdmitted => "the primary gave up handing over its state",
        }
    }
}

/// Why a primary gave up giving its state to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandonment {
    /// Another run of the peer was heard.
    RunEnded,
    /// A path to it is silent.
    Silent,
    /// It gave up itself.
    Left,
    /// The log had no room for what happened meanwhile.
    NoRoom,
    /// A backup is about to be removed, which comes first.
    SetChanges,
}

impl Abandonment {
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Abandonment::RunEnded => "it restarted",
            Abandonment::Silent => "a path to it is silent",
            Abandonment::SetChanges => "a backup has to be removed first",
            Abandonment::Left => "it could not take the state",
            Abandonment::NoRoom => {
                "the log had no room for what clients sent meanwhile; is the link fast enough?"
            }
        }
    }
}

/// What two nodes differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    Config,
    Content,
    LogVersion { ours: u16, theirs: u16 },
    LinkVersion { ours: u16, theirs: u16 },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Config => f.write_str("cluster configuration"),
            Difference::Content => f.write_str("files served"),
            Difference::LogVersion { ours, theirs } => {
                write!(f, "log version (ours {ours}, the peer's {theirs})")
            }
            Difference::LinkVersion { ours, theirs } => {
                write!(f, "link version (ours {ours}, the peer's {theirs})")
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    PeerHeard { peer: NodeId },
    PeerRestarted { peer: NodeId },
    PathHeard { path: Path, peer: NodeName },
    PathSilent { path: Path, peer: NodeName, for_us: u64, spared: bool },
    CannotPair { peer: NodeName, hears_link: bool, hears_lan: bool },
    Forming { epoch: Epoch, peer: NodeName },
    AdmissionBegan { epoch: Epoch, peer: NodeName },
    AdmissionAbandoned { peer: NodeName, why: Abandonment },
    Joining { epoch: Epoch, primary: NodeName },
    PairFormed { epoch: Epoch, backup: NodeName },
    BecameBackup { epoch: Epoch, primary: NodeName },
    LoneStart { epoch: Epoch, beside: Option<NodeName> },
    BecameSpare { epoch: Epoch, reason: SpareReason },
    SwitchoverBegan { to: NodeName, by: Handing },
    SwitchoverFailed { to: NodeName, why: &'static str },
    LanLost { neighbours: u8 },
    LanRegained,
    LeavesLan { to: NodeName },
    HandedOver { epoch: Epoch, to: NodeName },
    SwitchedOver { epoch: Epoch, from: NodeName },
    Drained,
    Undrained,
    Sealed { primary: NodeName, suspicion: Suspicion },
    AwaitsOthers { needed: usize },
    TookOver { epoch: Epoch, suspicion: Suspicion, silent_us: u64 },
    TakeoverDone { timeline: Timeline },
    BackupRemoved { epoch: Epoch, backup: NodeName, removal: Removal },
    GateOpened { epoch: Epoch, waited_us: u64 },
    OwnStall { for_us: u64, doubtful: bool },
    DoubtSettled { after_us: u64 },
    DoubtLapsed { stalled_us: u64 },
    Stranded { stalled_us: u64 },
    Refused { what: Difference, diff: String },
    Diverged { mismatch: Mismatch },
    LogRefused,
    TwoPrimaries { epoch: Epoch, peer: NodeName, we_stay: bool },
    Intrusion { path: Path, key: Option<KeyId>, refused: u64 },
    RegisterDelays { what: &'static str, for_us: u64 },
    AwaitsHolder { holder: NodeId },
    StartsAfresh { epoch: Epoch },
    Fencing { peer: NodeName, what: &'static str },
    FenceFailed { peer: NodeName },
}

impl Event {
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Event::PeerHeard { .. }
            | Event::PathHeard { .. }
            | Event::Forming { .. }
            | Event::AdmissionBegan { .. }
            | Event::Joining { .. }
            | Event::PairFormed { .. }
            | Event::BecameBackup { .. }
            | Event::TakeoverDone { .. }
            | Event::SwitchoverBegan { .. }
            | Event::HandedOver { .. }
            | Event::SwitchedOver { .. }
            | Event::Undrained
            | Event::LanRegained
            | Event::GateOpened { .. }
            | Event::DoubtSettled { .. } => Severity::Info,
            Event::LoneStart { beside: None, .. }
            | Event::PeerRestarted { .. }
            | Event::PathSilent { .. }
            | Event::LanLost { .. }
            | Event::LeavesLan { .. }
            | Event::Sealed { .. }
            | Event::TookOver { .. }
            | Event::BackupRemoved { .. }
            | Event::AdmissionAbandoned { .. }
            | Event::SwitchoverFailed { .. }
            | Event::Drained
            | Event::StartsAfresh { .. }
            | Event::Fencing { .. }
            | Event::DoubtLapsed { .. }
            | Event::Intrusion { .. }
            | Event::OwnStall { .. } => Severity::Warning,
            Event::BecameSpare { reason, .. } => match reason {
                SpareReason::PeerServes
                | SpareReason::Superseded
                | SpareReason::HandedOver
                | SpareReason::Drained
                | SpareReason::Removed => Severity::Warning,
                _ => Severity::Error,
            },
            Event::LoneStart { .. }
            | Event::CannotPair { .. }
            | Event::Stranded { .. }
            | Event::Refused { .. }
            | Event::Diverged { .. }
            | Event::LogRefused
            | Event::RegisterDelays { .. }
            | Event::AwaitsHolder { .. }
            | Event::AwaitsOthers { .. }
            | Event::FenceFailed { .. }
            | Event::TwoPrimaries { .. } => Severity::Error,
        }
    }

    /// The event's name, for logs that programs read.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Event::PeerHeard { .. } => "peer_heard",
            Event::PeerRestarted { .. } => "peer_restarted",
            Event::PathHeard { .. } => "path_heard",
            Event::PathSilent { .. } => "path_silent",
            Event::CannotPair { .. } => "cannot_pair",
            Event::Forming { .. } => "forming",
            Event::AdmissionBegan { .. } => "admission_began",
            Event::AdmissionAbandoned { .. } => "admission_abandoned",
            Event::Joining { .. } => "joining",
            Event::PairFormed { .. } => "pair_formed",
            Event::BecameBackup { .. } => "became_backup",
            Event::LoneStart { .. } => "lone_start",
            Event::BecameSpare { .. } => "became_spare",
            Event::SwitchoverBegan { .. } => "switchover_began",
            Event::SwitchoverFailed { .. } => "switchover_failed",
            Event::LanLost { .. } => "lan_lost",
            Event::LanRegained => "lan_regained",
            Event::LeavesLan { .. } => "leaves_lan",
            Event::HandedOver { .. } => "handed_over",
            Event::SwitchedOver { .. } => "switched_over",
            Event::Drained => "drained",
            Event::Undrained => "undrained",
            Event::Sealed { .. } => "sealed",
            Event::AwaitsOthers { .. } => "awaits_others",
            Event::TookOver { .. } => "took_over",
            Event::TakeoverDone { .. } => "takeover_done",
            Event::BackupRemoved { .. } => "backup_removed",
            Event::GateOpened { .. } => "gate_opened",
            Event::OwnStall { .. } => "own_stall",
            Event::DoubtSettled { .. } => "doubt_settled",
            Event::DoubtLapsed { .. } => "doubt_lapsed",
            Event::Stranded { .. } => "stranded",
            Event::Refused { .. } => "refused",
            Event::Diverged { .. } => "diverged",
            Event::LogRefused => "log_refused",
            Event::TwoPrimaries { .. } => "two_primaries",
            Event::Intrusion { .. } => "intrusion",
            Event::RegisterDelays { .. } => "register_delays",
            Event::AwaitsHolder { .. } => "awaits_holder",
            Event::StartsAfresh { .. } => "starts_afresh",
            Event::Fencing { .. } => "fencing",
            Event::FenceFailed { .. } => "fence_failed",
        }
    }
}

fn path_name(path: Path) -> &'static str {
    match path {
        Path::Link(Link::First) => "link",
        Path::Link(Link::Second) => "second link",
        Path::Lan => "service LAN",
    }
}

/// Microseconds as milliseconds with one decimal.
struct Ms(u64);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} ms", self.0 / 1_000, self.0 % 1_000 / 100)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::PeerHeard { peer } => {
                write!(f, "peer {peer} is heard (run {})", peer.incarnation)
            }
            Event::PeerRestarted { peer } => {
                write!(f, "peer {peer} was restarted (run {}) and holds no state", peer.incarnation)
            }
            Event::PathHeard { path, peer } => {
                write!(f, "{peer} is heard on the {}", path_name(*path))
            }
            Event::PathSilent { path, peer, for_us, spared } => write!(
                f,
                "{peer} is silent on the {} since {}{}; check cable, port and addresses there",
                path_name(*path),
                Ms(*for_us),
                if *spared { ", and the other link does its work" } else { "" }
            ),
            Event::CannotPair { peer, hears_link, hears_lan } => {
                let heard = |yes: &bool| if *yes { "works" } else { "does not work both ways" };
                write!(
                    f,
                    "cannot form a pair with {peer}: link {}, service LAN {}; a pair needs both; \
                     check addresses, MTU and firewall of the other path",
                    heard(hears_link),
                    heard(hears_lan)
                )
            }
            Event::Forming { epoch, peer } => {
                write!(f, "proposed epoch {epoch} with {peer} as backup")
            }
            Event::AdmissionBegan { epoch, peer } => {
                write!(f, "gives its state to {peer} in epoch {epoch}; the service goes on")
            }
            Event::AdmissionAbandoned { peer, why } => write!(
                f,
                "gave up giving its state to {peer}: {}; tries again later",
                why.in_words()
            ),
            Event::Joining { epoch, primary } => {
                write!(f, "takes in the state of {primary} in epoch {epoch}")
            }
            Event::PairFormed { epoch, backup } => {
                write!(f, "primary of epoch {epoch}, {backup} is in sync; serving")
            }
            Event::BecameBackup { epoch, primary } => {
                write!(f, "backup of {primary} in epoch {epoch}")
            }
            Event::LoneStart { epoch, beside: None } => write!(
                f,
                "no peer was heard: serving alone in epoch {epoch}; a node that starts from now on \
                 stays spare"
            ),
            Event::LoneStart { epoch, beside: Some(peer) } => write!(
                f,
                "serving alone in epoch {epoch} although {peer} runs, since the two cannot pair; \
                 mend what is reported above and restart {peer}, then this node"
            ),
            Event::BecameSpare { epoch, reason } => write!(
                f,
                "spare in epoch {epoch}: {}; this run of the node disturbs nothing and serves \
                 nothing",
                reason.in_words()
            ),
            Event::SwitchoverBegan { to, by: Handing::Log } => {
                write!(f, "gives the service to {to}, which holds the state")
            }
            Event::SwitchoverBegan { to, by: Handing::Snapshot } => {
                write!(f, "gives the service to {to}, with the state; clients wait meanwhile")
            }
            Event::SwitchoverFailed { to, why } => {
                write!(f, "did not give the service to {to} after all: {why}; serving on")
            }
            Event::LanLost { neighbours } => write!(
                f,
                "none of {neighbours} neighbours on the service LAN answers this node; check its \
                 cable, card and switch port there"
            ),
            Event::LanRegained => f.write_str("the service LAN works again at this node"),
            Event::LeavesLan { to } => write!(
                f,
                "clients cannot reach this node, and the service LAN works at {to}: gives it the \
                 service"
            ),
            Event::HandedOver { epoch, to } => {
                write!(f, "handed the service over to {to} in epoch {epoch}")
            }
            Event::SwitchedOver { epoch, from } => {
                write!(f, "primary of epoch {epoch}: {from} handed the service over")
            }
            Event::Drained => {
                f.write_str("an operator drains this node: it leaves the pair and stays out")
            }
            Event::Undrained => f.write_str("an operator lets this node join the pair again"),
            Event::Sealed { primary, suspicion } => {
                let why = match suspicion {
                    Suspicion::AllPathsSilent => "is silent on all paths",
                    Suspicion::RunEnded => "was restarted",
                    Suspicion::GaveUp => "serves no more",
                };
                write!(
                    f,
                    "{primary} {why}: confirms nothing more, and exchanges with the other backups \
                     what each holds of its log"
                )
            }
            Event::AwaitsOthers { needed } => write!(
                f,
                "may not take over yet: clients may have been told what this node lacks (commit \
                 rule quorum), and {needed} more of the other backups in sync must say what they \
                 hold; see to it that they run and are reached on the link"
            ),
            Event::TookOver { epoch, suspicion, silent_us } => {
                let why = match suspicion {
                    Suspicion::AllPathsSilent => "the primary was silent on all paths",
                    Suspicion::RunEnded => "the primary's process ended",
                    Suspicion::GaveUp => "the primary gave up its role",
                };
                write!(
                    f,
                    "took over as primary of epoch {epoch}: {why}, last heard {} before",
                    Ms(*silent_us)
                )
            }
            Event::TakeoverDone { timeline } => fmt_timeline(f, timeline),
            Event::BackupRemoved { epoch, backup, removal } => {
                fmt_removal(f, *epoch, *backup, *removal)
            }
            Event::GateOpened { epoch, waited_us } => write!(
                f,
                "serving alone in epoch {epoch}, the gate opened after {}",
                Ms(*waited_us)
            ),
            Event::OwnStall { for_us, doubtful } => {
                write!(f, "this node's poll loop stood still for {}", Ms(*for_us))?;
                if *doubtful {
                    f.write_str("; it serves nothing until it has heard its peer")?;
                }
                f.write_str("; check for CPU contention, a paused VM or SIGSTOP")
            }
            Event::DoubtSettled { after_us } => {
                write!(f, "heard the peer {} after the stall; going on", Ms(*after_us))
            }
            Event::DoubtLapsed { stalled_us } => write!(
                f,
                "the peer is silent since this node stood still for {}; the stall was too short to \
                 miss a change of roles, so this node acts on the silence",
                Ms(*stalled_us)
            ),
            Event::Stranded { stalled_us } => write!(
                f,
                "this node stood still for {} and its peer is silent since: its state may be old, \
                 so it serves nothing; if the peer is gone for good, restart this node to serve \
                 afresh",
                Ms(*stalled_us)
            ),
            Event::Refused { what, diff } => write!(
                f,
                "this node and its peer differ in their {what}; make both equal and restart this \
                 node (- only here, + only there):\n{}",
                diff.trim_end()
            ),
            Event::Diverged { mismatch } => mismatch.fmt(f),
            Event::LogRefused => f.write_str(
                "a part of the primary's log could not be applied: this node leaves the in-sync \
                 set; restart it, and run the same release on both nodes",
            ),
            Event::TwoPrimaries { epoch, peer, we_stay } => write!(
                f,
                "after a partition {peer} is primary of epoch {epoch} too; {}; connections that \
                 the other served are lost",
                if *we_stay { "this node stays primary" } else { "this node steps back" }
            ),
            Event::Intrusion { path, key, refused } => {
                write!(
                    f,
                    "refused {refused} control messages, the last on the {}: ",
                    path_name(*path)
                )?;
                match key {
                    Some(key) => write!(
                        f,
                        "it was sealed with key {key}, which this node does not have; compare \
                         [cluster] name and secret and node.key_file of both nodes, or see who \
                         else speaks there"
                    ),
                    None => f.write_str(
                        "its seal does not fit; it was damaged on the way, or somebody forges",
                    ),
                }
            }
            Event::RegisterDelays { what, for_us } => write!(
                f,
                "asked the register {what}, and no majority of it has answered for {}; nothing \
                 changes until it does; check that a majority of its voters runs and is reached",
                Ms(*for_us)
            ),
            Event::AwaitsHolder { holder } => f.write_str(&awaits_holder(*holder)),
            Event::Fencing { peer, what } => {
                write!(f, "{peer} is silent on all paths and may live: fences it first, {what}")
            }
            Event::FenceFailed { peer } => write!(
                f,
                "{peer} could not be fenced, so it may live: nothing is done without it; the log \
                 says why the command failed; it is run again"
            ),
            Event::StartsAfresh { epoch } => write!(
                f,
                "nobody is left that holds the connections of epoch {epoch}: starts afresh, \
                 clients' old connections get a RST"
            ),
        }
    }
}

/// Why a node starts nothing, in words.
#[must_use]
pub fn awaits_holder(holder: NodeId) -> String {
    let run = holder.incarnation;
    format!(
        "waits for {holder} (run {run}), which may hold the connections and is not heard; start \
         {holder}, or, if it is gone for good, restart this node with --assume-ended {run}: \
         connections are lost then"
    )
}

fn fmt_removal(
    f: &mut fmt::Formatter<'_>,
    epoch: Epoch,
    backup: NodeName,
    removal: Removal,
) -> fmt::Result {
    write!(f, "removed {backup} from the in-sync set in epoch {epoch}: ")?;
    match removal {
        Removal::AllPathsSilent => f.write_str("it is silent on all paths"),
        Removal::RunEnded => f.write_str("its process ended"),
        Removal::Left => f.write_str("it left by itself, see its log"),
        Removal::MakesWay => f.write_str("another backup is given the service, and it joins that"),
        Removal::LinkSilent => f.write_str("no link is heard both ways; check them"),
        Removal::LogUnconfirmed { for_us } => write!(
            f,
            "it confirmed nothing for {}; check the link, its MTU and the load of {backup}",
            Ms(for_us)
        ),
    }
}

fn fmt_timeline(f: &mut fmt::Formatter<'_>, timeline: &Timeline) -> fmt::Result {
    write!(f, "takeover of epoch {} is complete; after the last heartbeat:", timeline.epoch)?;
    for (step, at_us) in timeline.steps().into_iter().skip(1) {
        if let Some(at_us) = at_us {
            write!(f, " {step} {at_us} µs,")?;
        }
    }
    f.write_str(" done")
}

/// Events that wait for the caller. A full queue drops the newest and counts it: what came first
/// explains the rest.
#[derive(Debug, Default)]
pub struct EventQueue {
    waiting: VecDeque<(u64, Event)>,
    dropped: u64,
}

impl EventQueue {
    pub fn push(&mut self, now_us: u64, event: Event) {
        if self.waiting.len() < CAPACITY {
            self.waiting.push_back((now_us, event));
        } else {
            self.dropped += 1;
        }
    }

    /// The oldest event, with the time in µs at which it happened.
    pub fn pop(&mut self) -> Option<(u64, Event)> {
        self.waiting.pop_front()
    }

    /// Events that found no room since start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_keeps_the_first_events_and_counts_the_rest() {
        let mut queue = EventQueue::default();
        for n in 0..CAPACITY as u64 + 3 {
            queue.push(n, Event::DoubtSettled { after_us: n });
        }
        assert_eq!(queue.dropped(), 3);
        assert_eq!(queue.pop(), Some((0, Event::DoubtSettled { after_us: 0 })));
    }

    #[test]
    fn a_refusal_reads_as_a_diff() {
        let diff = "- shards = 4\n+ shards = 8\n".to_owned();
        let text = Event::Refused { what: Difference::Config, diff }.to_string();
        assert!(text.contains("cluster configuration"), "{text}");
        assert!(text.ends_with("\n- shards = 4\n+ shards = 8"), "{text}");
    }
}
