//! The register of a quorum: one history of views. A proposal takes effect at some moment, in any
//! order, or never; who proposed it learns of that later, as everybody else.

use crate::cluster::Cluster;
use crate::log;
use crate::plant::Plant;
use crate::state::{Node, Phase, Proposal, Run, Saying, View, Why, Word, World};

impl Cluster {
    /// `Register::compare_and_set`: asks, or, in a pair, changes the copy at once.
    pub(crate) fn propose(
        &self,
        world: &mut World,
        at: usize,
        backup: Option<Run>,
        why: Why,
    ) -> Option<()> {
        let node = world.nodes[at].as_mut()?;
        if node.view.epoch >= self.faults.epochs {
            return None;
        }
        let view = match backup.filter(|_| why == Why::HandOver) {
            Some(successor) => node.view.next(successor, Some(node.run)),
            None => node.view.next(node.run, backup),
        };
        let proposal = Proposal { view, why };
        if !self.is_quorum() {
            return self.change_copy(world, at, proposal);
        }
        node.proposal = Some(proposal);
        // One that comes too late changes nothing.
        if world.epoch + 1 == proposal.view.epoch || self.planted(Plant::WritesBlindly) {
            *world.requests.iter_mut().find(|free| free.is_none())? = Some(proposal);
            world.requests.sort_unstable();
        }
        Some(())
    }

    /// A proposal reaches the register.
    pub(crate) fn commit(&self, world: &mut World, view: View) -> Option<()> {
        let request = world.requests.into_iter().flatten().find(|request| request.view == view)?;
        let held = world.committed();
        let blind = self.planted(Plant::WritesBlindly);
        judge(world, held, request);
        world.epoch += 1;
        let place = world.history.get_mut(usize::from(world.epoch))?;
        *place = View { epoch: world.epoch, ..view };
        let stays = |other: &Proposal| blind && *other != request;
        world.requests = world.requests.map(|other| other.filter(stays));
        world.requests.sort_unstable();
        Some(())
    }

    /// `Register::view` has a newer one: a watch, an answer, or a peer's heartbeat told it.
    pub(crate) fn learn(&self, world: &mut World, at: usize, view: View) -> Option<()> {
        let node = world.nodes[at].as_mut()?;
        node.view = view;
        let words = &mut world.words[1 - at];
        for word in [&mut node.peer, &mut words.now, &mut words.late] {
            *word = word.map(|word| Word { stale: true, ..word });
        }
        let won = node.proposal.filter(|proposal| proposal.view == view);
        if node.proposal.is_some_and(|proposal| proposal.view.epoch <= view.epoch) {
            node.proposal = None;
        }
        if view.primary == Some(node.run) {
            self.lead(world, at, view, won);
        } else {
            self.follow(world, at, view, won);
        }
        self.heed(world, at);
        Some(())
    }

    /// This run is primary by the register.
    pub(crate) fn lead(
        &self,
        world: &mut World,
        at: usize,
        view: View,
        won: Option<Proposal>,
    ) -> Option<()> {
        let node = world.nodes[at].as_mut()?;
        let afresh = won.is_some_and(|proposal| proposal.why == Why::Afresh);
        let stateless = self.planted(Plant::ServesWithoutState);
        node.phase = match (node.phase, view.backup) {
            (Phase::Starting | Phase::Spare, Some(backup)) if afresh => {
                Phase::Forming { partner: backup, log: view.epoch }
            }
            // `Member::succeed`: it was counted in, and did not hear of it.
            (Phase::Joining { primary, log, restored: true }, Some(former))
                if former == primary =>
            {
                if self.planted(Plant::ServesWhenCountedInUnheard) {
                    node.receive_service(view);
                    node.phase
                } else {
                    Phase::Backup { primary, log }
                }
            }
            (Phase::Starting | Phase::Spare, None) if afresh || stateless => Phase::Alone,
            (
                Phase::Backup { .. }
                | Phase::With { .. }
                | Phase::Yielding { .. }
                | Phase::Forming { .. },
                None,
            ) => Phase::Alone,
            (Phase::Backup { .. }, Some(former)) => {
                let ended = node.knows_another_than(former);
                if ended && self.planted(Plant::ServesBesideTheEnded) {
                    node.phase = Phase::Alone;
                }
                node.phase
            }
            (Phase::Alone, None) => match won.map(|proposal| proposal.why) {
                Some(Why::Admit(partner)) => {
                    node.confirmed = 0;
                    Phase::Admitting { partner, log: view.epoch, closed_at: None }
                }
                _ => Phase::Alone,
            },
            (Phase::Admitting { .. }, None) => Phase::Alone,
            (Phase::Admitting { partner, log, .. }, Some(backup)) if partner == backup => {
                Phase::With { backup, log }
            }
            (phase, _) => phase,
        };
        log::release(world, at);
        log::ship(world, at);
        Some(())
    }

    /// Another run is primary by the register.
    fn follow(
        &self,
        world: &mut World,
        at: usize,
        view: View,
        won: Option<Proposal>,
    ) -> Option<()> {
        let node = world.nodes[at].as_mut()?;
        let in_sync = view.has(node.run);
        match (node.phase, view.primary) {
            (Phase::Joining { primary: ours, log, .. }, Some(primary))
                if in_sync && ours == primary =>
            {
                node.phase = Phase::Backup { primary, log };
            }
            (Phase::Backup { .. }, _) if in_sync => {}
            (Phase::With { backup, log }, _) if won.is_some_and(|won| won.why == Why::HandOver) => {
                node.phase = Phase::Yielding { backup, log };
            }
            (Phase::Starting | Phase::Joining { .. } | Phase::Spare, _) => {}
            _ => node.become_spare(),
        }
        Some(())
    }

    /// What the last heartbeat means for the view that this node knows.
    pub(crate) fn heed(&self, world: &mut World, at: usize) {
        self.accept_invitation(world, at);
        self.serve_after_the_former(world, at);
    }

    /// `Member::has_rested`: the register has this node in the place of its primary, which says
    /// that it makes no more steps.
    fn serve_after_the_former(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_mut()?;
        let Phase::Backup { primary, .. } = node.phase else { return None };
        let (view, named) = (node.view, node.view.primary == Some(node.run));
        let hasty = self.planted(Plant::ServesBesideTheFormer);
        let rests = |peer: Word| {
            peer.from == primary && (hasty || peer.saying == Saying::Backup && peer.view == view)
        };
        (named && node.proposal.is_none() && node.peer.is_some_and(rests)).then_some(())?;
        node.receive_service(view);
        world.handed_over = true;
        log::release(world, at);
        log::ship(world, at);
        Some(())
    }

    /// `Member::invitation`: the peer forms a pair, now, with this run in it.
    fn accept_invitation(&self, world: &mut World, at: usize) -> Option<()> {
        let hasty = self.planted(Plant::JoinsWhileAsking);
        let free = |node: &&mut Node| node.proposal.is_none() || hasty;
        let starting = world.nodes[at].as_mut().filter(|node| node.phase == Phase::Starting);
        let node = starting.filter(free)?;
        let (view, me) = (node.view, node.run);
        let primary = view.primary.filter(|primary| *primary != me)?;
        let forming = |peer: Word| peer.saying == Saying::Forming && peer.view == view;
        (view.has(me) && node.peer.is_some_and(forming)).then_some(())?;
        node.phase = Phase::Backup { primary, log: view.epoch };
        Some(())
    }

    /// `Member::possible_holder`: every run that may hold the state, as far as this node knows the
    /// register, is proven to have ended. If it does not know the newest view its proposal loses.
    pub(crate) fn nobody_is_left(&self, node: &Node) -> bool {
        let ended = |run: Run| {
            let own = run.node() == node.run.node();
            // Only what was said since this node knows the view proves anything: the view may name
            // a run that is newer than the one that was heard.
            let fresh = node.peer.is_some_and(|peer| !peer.stale);
            let proves = fresh || self.planted(Plant::AnotherRunMeansEnded);
            let blind = self.planted(Plant::AsksUnsaid);
            let dropped = node.peer_says().is_some_and(|says| match says {
                Saying::Spare => true,
                // It may have been decided already that it serves.
                Saying::Starting { pending } => !pending || blind,
                _ => false,
            });
            own || proves && (node.knows_another_than(run) || dropped)
        };
        node.view.members().all(ended)
    }
}

/// Notes what a change of the register breaks.
pub fn judge(world: &mut World, held: View, change: Proposal) {
    let member = |node: &&Node| held.has(node.run) && node.phase.holds_state();
    let lives = world.told.len() > 0 && world.nodes.iter().flatten().any(|node| member(&node));
    match change.why {
        Why::Afresh => {
            world.lost |= lives;
            world.told = Default::default();
            world.began = change.view.epoch;
        }
        Why::TakeOver | Why::HandOver => {
            world.usurped |= change.view.primary.is_some_and(|primary| !held.has(primary));
        }
        Why::Remove | Why::Admit(_) | Why::CountIn | Why::TakeBack => {}
    }
}
