//! The register of a pair: each node has a copy, and words exchange them. What keeps that safe is
//! time: who is suspected is dead, frozen or cut off, and who was frozen doubts itself.

use crate::cluster::Cluster;
use crate::log;
use crate::member::Decision;
use crate::plant::Plant;
use crate::quorum::judge;
use crate::state::{Cut, Doubt, Node, Phase, Proposal, Run, Saying, Stall, View, Why, Word, World};

impl Cluster {
    /// `Peer::is_silent`. With a quorum a timeout may fire whenever it likes. In a pair the peer
    /// cannot be heard, and nothing that it sent before is still on its way.
    pub(crate) fn may_suspect(&self, world: &World, at: usize) -> bool {
        self.is_quorum() || is_silent(world, at)
    }

    /// `Member::suspicion`.
    pub(crate) fn suspects_primary(&self, world: &World, at: usize) -> bool {
        if self.is_quorum() {
            return true;
        }
        let Some(node) = &world.nodes[at] else { return false };
        let ended = node.view.primary.is_some_and(|primary| node.knows_another_than(primary));
        let serves =
            |says: Saying| says.is_primary() || matches!(says, Saying::Forming | Saying::Backup);
        // A peer that was handed the service and has not heard of it yet gives nothing up.
        let gave_up = |peer: Word| !serves(peer.saying) && peer.view.epoch >= node.view.epoch;
        ended || is_silent(world, at) || node.peer.is_some_and(gave_up)
    }

    /// `Member::is_well_heard`.
    pub(crate) fn is_well_heard(&self, world: &World, at: usize) -> bool {
        let peer_runs = world.nodes[1 - at].as_ref().is_some_and(Node::awake);
        self.is_quorum() || peer_runs && !world.is_cut()
    }

    /// `Member::start`: nobody is heard, or the peer serves nobody, or no pair can be formed with it.
    pub(crate) fn may_start_alone(&self, world: &World, at: usize) -> bool {
        let Some(node) = &world.nodes[at] else { return false };
        if self.is_quorum() {
            return self.nobody_is_left(node);
        }
        let unpaired = match node.peer_says() {
            Some(Saying::Spare) => true,
            // It has been heard to say so for long.
            Some(Saying::Starting { .. }) => {
                let speaks = world.nodes[1 - at].as_ref().filter(|peer| peer.awake());
                let stays = speaks.is_some_and(|peer| peer.says().is_starting());
                at == 0 && stays && world.is_cut() && nothing_is_on_its_way(world, at)
            }
            _ => false,
        };
        self.is_left_alone(world, at) || unpaired && !is_silent(world, at)
    }

    /// `Member::is_left_alone`. In a pair nobody stands still for that long.
    pub(crate) fn is_left_alone(&self, world: &World, at: usize) -> bool {
        let cut = world.cut[1 - at];
        let down = world.nodes[1 - at].is_none() || cut.link && cut.lan;
        self.is_quorum() || down && is_silent(world, at)
    }

    /// `Member::abandonment`.
    pub(crate) fn has_left_admission(&self, world: &World, at: usize, partner: Run) -> bool {
        let Some(node) = &world.nodes[at] else { return false };
        let stays = |says| matches!(says, Saying::Joining { .. });
        node.knows_another_than(partner)
            || !self.is_well_heard(world, at)
            || !node.peer_says().is_some_and(stays)
    }

    /// `PairRegister::compare_and_set`, and what its caller does when it has won.
    pub(crate) fn change_copy(&self, world: &mut World, at: usize, change: Proposal) -> Option<()> {
        let view = change.view;
        // One that is to be acknowledged serves nobody yet.
        if change.why != Why::Afresh || view.backup.is_none() {
            judge(world, widest(world, at), change);
        }
        self.edit(world, at, |node| {
            node.view = view;
            node.phase = match (change.why, node.phase, view.backup) {
                (Why::Afresh, _, Some(partner)) => Phase::Forming { partner, log: view.epoch },
                (Why::HandOver, _, Some(_)) => {
                    node.stand_back(view, view.primary.unwrap_or(node.run));
                    return;
                }
                (Why::Admit(partner), ..) => {
                    node.confirmed = 0;
                    Phase::Admitting { partner, log: view.epoch, closed_at: None }
                }
                (Why::CountIn, Phase::Admitting { partner, log, .. }, _) => {
                    Phase::With { backup: partner, log }
                }
                _ => Phase::Alone,
            };
        });
        log::ship(world, at);
        log::release(world, at);
        Some(())
    }

    /// `Member::form`.
    pub(crate) fn settle_forming(
        &self,
        world: &mut World,
        at: usize,
        decision: Decision,
    ) -> Option<()> {
        let node = world.nodes[at].as_ref()?;
        let Phase::Forming { partner, log } = node.phase else { return None };
        let says = node.peer_says();
        if decision == Decision::Formed {
            let same = node.peer?.view == node.view;
            (same && says == Some(Saying::Backup)).then_some(())?;
            return self.edit(world, at, |node| node.phase = Phase::With { backup: partner, log });
        }
        if self.is_quorum() {
            return None;
        }
        let gone = node.knows_another_than(partner) || is_silent(world, at);
        (gone || says == Some(Saying::Spare)).then_some(())?;
        self.edit(world, at, |node| {
            node.phase = Phase::Starting;
            node.doubt = None;
        });
        self.reconcile(world, at);
        Some(())
    }

    /// `Member::removal`, `Member::remove`.
    pub(crate) fn remove_in_pair(&self, world: &mut World, at: usize, backup: Run) -> Option<()> {
        let node = world.nodes[at].as_ref()?;
        (node.view.epoch < self.faults.epochs).then_some(())?;
        // One that was counted in, or handed the service over, may not have heard of it yet.
        let unaware = |peer: Word| match peer.saying {
            Saying::Joining { .. } => true,
            Saying::Primary => peer.view.epoch < node.view.epoch,
            _ => false,
        };
        let stays = |peer: Word| peer.saying == Saying::Backup || unaware(peer);
        let left = node.peer.is_some_and(|peer| !stays(peer));
        let gone = node.knows_another_than(backup) || left || is_silent(world, at);
        let link_is_cut = world.cut.iter().any(|cut| cut.link);
        (gone || link_is_cut).then_some(())?;
        let opens = gone || self.planted(Plant::OpensUnacknowledged);
        self.edit(world, at, |node| {
            node.view = node.view.next(node.run, None);
            let Phase::With { backup, log } = node.phase else { return };
            node.phase = if opens { Phase::Alone } else { Phase::Removing { backup, log } };
        });
        log::release(world, at);
        Some(())
    }

    /// `Member::is_gone`, `Member::acknowledged_removal`.
    pub(crate) fn open_gate(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_ref()?;
        let Phase::Removing { backup, .. } = node.phase else { return None };
        let gone = node.knows_another_than(backup)
            || is_silent(world, at)
            || node.peer_says() != Some(Saying::Backup);
        let knows = |peer: Word| peer.from == backup && peer.view.epoch >= node.view.epoch;
        (gone || node.peer.is_some_and(knows)).then_some(())?;
        self.edit(world, at, |node| node.phase = Phase::Alone);
        log::release(world, at);
        Some(())
    }

    /// `PairRegister::observe`, and the poll that follows.
    pub(crate) fn observe(&self, world: &mut World, at: usize) {
        let Some(node) = &mut world.nodes[at] else { return };
        let Some(peer) = node.peer else { return };
        if peer.view.epoch > node.view.epoch {
            node.view = peer.view;
        }
        self.reconcile(world, at);
    }

    /// `Member::settle_doubt`, `Member::settle_rivalry`, `Member::reconcile`.
    fn reconcile(&self, world: &mut World, at: usize) {
        let heard = !is_silent(world, at);
        let Some(node) = &mut world.nodes[at] else { return };
        let before = *node;
        node.settle_doubt();
        if heard {
            node.settle_rivalry(at == 0);
        }
        let (me, view) = (node.run, node.view);
        match (node.phase, view.primary) {
            (Phase::Yielding { backup, .. }, Some(primary)) if backup == primary => {
                node.stand_back(view, primary);
            }
            (Phase::Backup { .. }, primary) if primary == Some(me) => {
                node.receive_service(view);
                world.handed_over = true;
            }
            (Phase::Forming { .. }, primary) if primary != Some(me) => node.become_spare(),
            (phase, primary) if phase.is_primary() && primary != Some(me) => node.become_spare(),
            (Phase::Backup { .. }, _) if !view.has(me) => node.become_spare(),
            (Phase::Starting, Some(primary)) if view.has(me) && primary != me => {
                node.phase = Phase::Backup { primary, log: view.epoch };
            }
            (Phase::Joining { primary: ours, log, .. }, Some(primary))
                if view.has(me) && ours == primary =>
            {
                node.phase = Phase::Backup { primary, log };
            }
            _ => {}
        }
        let changed = *node != before;
        if before.phase == Phase::Starting && matches!(node.phase, Phase::Backup { .. }) {
            // From here on it may serve, with an empty state.
            judge(world, View::default(), Proposal { view, why: Why::Afresh });
        }
        if changed {
            self.say(world, at);
            log::ship(world, at);
            log::release(world, at);
        }
    }

    pub(crate) fn stand_still(&self, world: &mut World, at: usize) {
        world.left.stalls -= 1;
        let heard_both = !is_silent(world, at) && world.cut[1 - at] == Cut::default();
        let Some(node) = &mut world.nodes[at] else { return };
        let earlier = node.doubt.is_none_or(|doubt| doubt.can_lapse);
        node.stall = Some(Stall::Short);
        node.doubt = Some(Doubt { can_lapse: heard_both && earlier });
    }

    /// `Member::note_stall`.
    pub(crate) fn wake_up(&self, world: &mut World, at: usize) -> Option<()> {
        let stays_sure = self.planted(Plant::NeverDoubts);
        self.edit(world, at, |node| {
            let long = node.stall.take() == Some(Stall::Long);
            node.stalls += 1;
            let doubt = node.doubt.map(|doubt| Doubt { can_lapse: doubt.can_lapse && !long });
            node.doubt = doubt.filter(|_| node.partner().is_some() && !stays_sure);
        })
    }

    /// In doubt a primary and a backup only listen.
    pub(crate) fn decide_in_doubt(
        &self,
        world: &mut World,
        at: usize,
        decision: Decision,
    ) -> Option<()> {
        self.settle_forming(world, at, decision)
    }

    /// `Member::settle_doubt`: the peer never answers, and all that it had sent was read.
    pub(crate) fn lapse_doubt(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_ref()?;
        node.doubt.filter(|doubt| doubt.can_lapse)?;
        let ended = node.knows_another_than(node.partner()?);
        (nothing_is_on_its_way(world, at) && (ended || is_silent(world, at))).then_some(())?;
        self.edit(world, at, |node| node.doubt = None);
        log::release(world, at);
        Some(())
    }
}

/// What the judge takes for the register: the copy of whoever else holds the state, or else that of
/// the node itself.
fn widest(world: &World, at: usize) -> View {
    let other = world.nodes[1 - at].filter(|node| node.phase.holds_state());
    other.or(world.nodes[at]).map(|node| node.view).unwrap_or_default()
}

fn is_silent(world: &World, at: usize) -> bool {
    let cut = world.cut[1 - at];
    let speaks = world.nodes[1 - at].as_ref().is_some_and(Node::awake);
    (!speaks || cut.link && cut.lan) && nothing_is_on_its_way(world, at)
}

fn nothing_is_on_its_way(world: &World, at: usize) -> bool {
    let words = world.words[1 - at];
    words.now.is_none() && words.late.is_none()
}

impl Node {
    /// `Member::partner`: who could have changed the register while this node stood still.
    fn partner(&self) -> Option<Run> {
        match self.phase {
            Phase::Forming { partner, .. } => Some(partner),
            Phase::With { backup, .. }
            | Phase::Removing { backup, .. }
            | Phase::Yielding { backup, .. } => Some(backup),
            Phase::Backup { .. } => self.view.primary,
            _ => None,
        }
    }

    fn settle_doubt(&mut self) {
        let Some(partner) = self.partner() else {
            self.doubt = None;
            return;
        };
        let answered = self.peer.is_some_and(|peer| peer.echo >= self.stalls);
        if answered && !self.knows_another_than(partner) {
            self.doubt = None;
        }
    }

    fn settle_rivalry(&mut self, outranks: bool) {
        let Some(peer) = self.peer else { return };
        let theirs = peer.view;
        let serves = peer.saying.is_primary() || peer.saying == Saying::Forming;
        if !serves || theirs.epoch != self.view.epoch || theirs == self.view {
            return;
        }
        if !self.phase.is_primary() && !matches!(self.phase, Phase::Forming { .. }) {
            self.view = theirs;
            return;
        }
        if self.doubt.is_some() {
            return;
        }
        if (!self.phase_is_pending(), outranks) > (!peer.pending, !outranks) {
            self.view = self.view.next(self.run, None);
            self.phase = Phase::Alone;
        } else {
            self.view = theirs;
            self.become_spare();
        }
    }
}
