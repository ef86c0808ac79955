//! What a member knows of its peer: which run of it is heard, on which path, and what it said.

use arrayvec::ArrayVec;
use replication::{Incarnation, Link, MAX_LINKS, Path};

use crate::config::MemberConfig;
use crate::detector::Detector;
use crate::identity::{NodeId, NodeName};
use crate::links::{Choice, Lags, patience_us};
use crate::message::{Body, Heartbeat, Message, MessageError};

/// Runs of the peer that have ended and may still have datagrams on the way.
const FORMER_RUNS: usize = 16;

/// The peer, over all its runs.
#[derive(Debug)]
pub struct Peer {
    pub name: NodeName,
    run: Option<Run>,
    /// The run that our messages name as their receiver.
    introduced: Option<Introduced>,
    former: ArrayVec<Incarnation, FORMER_RUNS>,
    paths: [PathState; Path::ALL.len()],
    /// How many links this node has.
    links: usize,
    lags: Lags,
    patience_us: u64,
    choice: Choice,
}

/// Whoever was heard, whether or not it knows this run of ours.
#[derive(Debug, Clone, Copy)]
struct Introduced {
    incarnation: Incarnation,
    /// The newest clock reading heard; what we echo.
    sent_us: u64,
}

/// The run that is heard now and knows this run of ours.
#[derive(Debug)]
struct Run {
    incarnation: Incarnation,
    /// When it became known.
    since_us: u64,
    heartbeat: Option<Heartbeat>,
    /// Of the newest heartbeat.
    seq: u64,
    /// The newest of our clock readings that the peer has proven to have heard.
    echo_sent_us: u64,
}

#[derive(Debug)]
struct PathState {
    detector: Detector,
    /// Highest sequence number of the present run here.
    seq: u64,
    /// What the last event about this path said.
    reported_heard: bool,
    /// When the path had been heard last, when that event was made.
    heard_at_report_us: Option<u64>,
}

/// What a datagram was for the membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The sender does not know this run of ours yet: proof of life of somebody, nothing more.
    Introduction,
    /// From the run that is known.
    KnownRun,
    /// The first message of a run; `replaces` an earlier one that was known.
    NewRun { replaces: bool },
}

impl Peer {
    pub fn new(name: NodeName, config: &MemberConfig) -> Peer {
        let path = |_| PathState {
            detector: Detector::new(
                config.heartbeat_us,
                config.detection_timeout_us,
                config.detection_ceiling_us,
            ),
            seq: 0,
            reported_heard: false,
            heard_at_report_us: None,
        };
        Peer {
            name,
            run: None,
            introduced: None,
            former: ArrayVec::new(),
            paths: Path::ALL.map(path),
            links: config.links.into(),
            lags: Lags::default(),
            patience_us: patience_us(config.heartbeat_us, config.detection_timeout_us),
            choice: Choice::default(),
        }
    }

    /// Admits or refuses a message; accounts for the run and path that it came from.
    pub fn admit(
        &mut self,
        now_us: u64,
        path: Path,
        message: &Message<'_>,
        me: Incarnation,
    ) -> Result<Heard, MessageError> {
        let sender = message.from.incarnation;
        if self.former.contains(&sender) {
            return Err(MessageError::FormerRun);
        }
        let known = self.run.as_ref().map(|run| run.incarnation);
        if known != Some(sender) && !self.succeeds(message) {
            return Ok(Heard::Introduction);
        }
        self.introduce(sender, message.sent_us);
        // Only what names this run of ours was said to it: a recorded message of former times
        // must not move anybody.
        if message.to != Some(me) {
            return Ok(Heard::Introduction);
        }
        let heard = if known == Some(sender) {
            Heard::KnownRun
        } else {
            self.change_run(now_us, sender);
            Heard::NewRun { replaces: known.is_some() }
        };
        let state = self.path_mut(path);
        if message.seq <= state.seq {
            return Err(MessageError::Replayed);
        }
        state.seq = message.seq;
        state.detector.heard(now_us);
        self.lags.heard(now_us, path, message.seq);
        Ok(heard)
    }

    /// Whether the sender may take the place of the known run: only who began after it. A message
    /// that was late, or recorded, names a run before; that one has heard nothing that was sent
    /// since its successor is known, and cannot echo it.
    fn succeeds(&self, message: &Message<'_>) -> bool {
        let echo_us = match &message.body {
            Body::Heartbeat(heartbeat) => heartbeat.echo_sent_us,
            Body::ManifestRequest { .. } | Body::ManifestChunk { .. } => 0,
        };
        self.run.as_ref().is_none_or(|run| echo_us > run.since_us)
    }

    fn introduce(&mut self, incarnation: Incarnation, sent_us: u64) {
        let same = self.introduced.filter(|introduced| introduced.incarnation == incarnation);
        let sent_us = same.map_or(0, |introduced| introduced.sent_us).max(sent_us);
        self.introduced = Some(Introduced { incarnation, sent_us });
    }

    fn change_run(&mut self, now_us: u64, incarnation: Incarnation) {
        if let Some(ended) = self.run.take() {
            if self.former.is_full() {
                self.former.remove(0);
            }
            self.former.push(ended.incarnation);
            for path in &mut self.paths {
                path.detector.forget();
                path.seq = 0;
            }
            self.lags = Lags::default();
        }
        self.run =
            Some(Run { incarnation, since_us: now_us, heartbeat: None, seq: 0, echo_sent_us: 0 });
    }

    /// Keeps a heartbeat of the present run, unless a newer one came on the other path first.
    pub fn note(&mut self, seq: u64, heartbeat: Heartbeat) -> Option<&Heartbeat> {
        let run = self.run.as_mut()?;
        run.echo_sent_us = run.echo_sent_us.max(heartbeat.echo_sent_us);
        if seq <= run.seq {
            return None;
        }
        run.seq = seq;
        Some(run.heartbeat.insert(heartbeat))
    }

    /// What the present run said last.
    pub fn heartbeat(&self) -> Option<&Heartbeat> {
        self.run.as_ref()?.heartbeat.as_ref()
    }

    pub fn id(&self) -> Option<NodeId> {
        let incarnation = self.run.as_ref()?.incarnation;
        Some(NodeId { name: self.name, incarnation })
    }

    /// Another run than `node` is known: that one has ended.
    pub fn has_ended(&self, node: NodeId) -> bool {
        self.id().is_some_and(|present| present != node)
    }

    pub fn introduced(&self) -> Option<Incarnation> {
        self.introduced.map(|introduced| introduced.incarnation)
    }

    pub fn last_sent_us(&self) -> u64 {
        self.introduced.map_or(0, |introduced| introduced.sent_us)
    }

    pub fn echo_sent_us(&self) -> u64 {
        self.run.as_ref().map_or(0, |run| run.echo_sent_us)
    }

    pub fn detector(&self, path: Path) -> &Detector {
        &self.paths[path.place()].detector
    }

    pub fn hears(&self, path: Path, now_us: u64) -> bool {
        !self.detector(path).is_silent(now_us)
    }

    /// At least one link has been heard within its timeout.
    pub fn hears_link(&self, now_us: u64) -> bool {
        self.links().any(|link| self.hears(Path::Link(link), now_us))
    }

    /// How long the peer's links may be silent before they count as lost.
    pub fn link_timeout_us(&self) -> u64 {
        let timeouts = self.links().map(|link| self.detector(Path::Link(link)).timeout_us());
        timeouts.max().unwrap_or(u64::MAX)
    }

    /// This node's links.
    pub fn links(&self) -> impl Iterator<Item = Link> + use<> {
        Link::ALL.into_iter().take(self.links)
    }

    /// The links on which the peer is heard later than elsewhere, or not at all, if there is a
    /// choice.
    pub fn links_behind(&self, now_us: u64) -> [bool; MAX_LINKS] {
        match self.links {
            MAX_LINKS => self.lags.behind(now_us, self.patience_us),
            _ => [false; MAX_LINKS],
        }
    }

    /// The link that what goes to this peer takes.
    pub fn link(&self) -> Link {
        self.choice.active()
    }

    /// Chooses the link anew; what the peer has not confirmed waits since `unconfirmed_since_us`.
    /// Says whether it is another one now.
    pub fn choose_link(&mut self, now_us: u64, unconfirmed_since_us: Option<u64>) -> bool {
        let said = self.run.as_ref().and_then(|run| run.heartbeat.as_ref());
        let Some(said) = said.filter(|_| self.links == MAX_LINKS) else { return false };
        let flows = unconfirmed_since_us
            .is_some_and(|since_us| now_us.saturating_sub(since_us) <= self.patience_us);
        self.choice.follow(said.links_behind, flows)
    }

    /// No path has been heard within its timeout, or ever.
    pub fn is_silent(&self, now_us: u64) -> bool {
        self.paths.iter().all(|path| path.detector.is_silent(now_us))
    }

    pub fn last_heard_us(&self) -> Option<u64> {
        self.paths.iter().filter_map(|path| path.detector.last_heard_us()).max()
    }

    /// When the next path falls silent if nothing more is heard.
    pub fn deadline_us(&self, now_us: u64) -> Option<u64> {
        self.paths
            .iter()
            .filter_map(|path| path.detector.deadline_us())
            .filter(|deadline_us| *deadline_us >= now_us)
            .min()
    }

    /// This node stood still until now: silence counts from here.
    pub fn restart_windows(&mut self, now_us: u64) {
        self.paths.iter_mut().for_each(|path| path.detector.restart(now_us));
        self.lags.restart(now_us);
    }

    /// Whether a path began or ceased to be heard since the last call. A silence ends with a
    /// heartbeat alone: the time that a stall of our own gives the path is none.
    pub fn path_change(&mut self, path: Path, now_us: u64) -> Option<bool> {
        let hears = self.hears(path, now_us);
        let state = self.path_mut(path);
        let heard_us = state.detector.last_heard_us();
        if state.reported_heard == hears || hears && heard_us == state.heard_at_report_us {
            return None;
        }
        (state.reported_heard, state.heard_at_report_us) = (hears, heard_us);
        Some(hears)
    }

    fn path_mut(&mut self, path: Path) -> &mut PathState {
        &mut self.paths[path.place()]
    }
}
