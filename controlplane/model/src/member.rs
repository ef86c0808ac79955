//! The rules of the phases: `controlplane::member`. What differs by register is in `pair.rs` and
//! `quorum.rs`.

use crate::cluster::Cluster;
use crate::log;
use crate::plant::Plant;
use crate::state::{Node, Phase, Run, Saying, View, Why, World};

/// What a node may make of what it knows. Most need time to pass, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Two fresh nodes: propose to be their primary.
    Form,
    /// The peer acknowledged the proposal, or, in a pair, never will.
    Formed,
    NotFormed,
    /// A spare begins as if it had just been started.
    StartAfresh,
    /// Serve alone with an empty state.
    StartAlone,
    /// The peer serves.
    StandBy,
    TakeOver,
    Remove,
    /// Pair: the removed backup acknowledged it, or is gone.
    OpenGate,
    Admit,
    CloseGate,
    CountIn,
    Abandon,
    Join,
    LeaveOff,
    /// A switchover: begins, ends, comes to nothing.
    Yield,
    HandOver,
    SetBack,
    /// Pair: nobody answers the doubt.
    LapseDoubt,
}

impl Decision {
    /// What a node in this phase has to decide.
    pub(crate) fn in_phase(phase: Phase) -> &'static [Decision] {
        use Decision::{
            Abandon, Admit, CloseGate, CountIn, Form, Formed, HandOver, Join, LapseDoubt, LeaveOff,
            NotFormed, OpenGate, Remove, SetBack, StandBy, StartAfresh, StartAlone, TakeOver,
            Yield,
        };
        match phase {
            Phase::Starting => &[Form, StartAlone, StandBy],
            Phase::Forming { .. } => &[Formed, NotFormed, Remove, LapseDoubt],
            Phase::Spare => &[Join, StartAfresh, StartAlone, TakeOver],
            Phase::Joining { .. } => &[LeaveOff],
            Phase::Backup { .. } => &[TakeOver, LapseDoubt],
            Phase::With { .. } => &[Remove, Yield, LapseDoubt],
            Phase::Removing { .. } => &[OpenGate, LapseDoubt],
            Phase::Yielding { .. } => &[HandOver, SetBack, Remove, LapseDoubt],
            Phase::Alone => &[Admit],
            Phase::Admitting { .. } => &[CloseGate, CountIn, Abandon],
        }
    }
}

impl Node {
    /// `Member::is_pending`.
    pub fn phase_is_pending(&self) -> bool {
        matches!(self.phase, Phase::Forming { .. } | Phase::Removing { .. })
    }
}

impl Cluster {
    /// `None` when the node has no reason for it.
    pub(crate) fn decide(&self, world: &mut World, at: usize, decision: Decision) -> Option<()> {
        let node = world.nodes[at].as_ref().filter(|node| node.awake())?;
        // `Member::pursue`: what was asked for may come true at any time.
        let hasty = decision == Decision::Abandon && self.planted(Plant::AbandonsWhileCountingIn);
        if node.proposal.is_some() && !hasty {
            return None;
        }
        // In doubt nothing is decided against the peer.
        if node.doubt.is_some() && decision != Decision::LapseDoubt {
            return self.decide_in_doubt(world, at, decision);
        }
        match decision {
            Decision::Form => {
                let peer = self.fresh_peer(world, at)?;
                self.propose(world, at, Some(peer), Why::Afresh)
            }
            Decision::Formed | Decision::NotFormed => self.settle_forming(world, at, decision),
            Decision::StartAfresh => self.start_afresh(world, at),
            Decision::StartAlone => {
                let hasty = self.planted(Plant::AsksAsSpare) && node.phase == Phase::Spare;
                let starting = node.phase == Phase::Starting || hasty;
                (starting && self.may_start_alone(world, at)).then_some(())?;
                self.propose(world, at, None, Why::Afresh)
            }
            Decision::StandBy => {
                let serves = |says: Saying| says.is_primary() || says == Saying::Backup;
                let starting = node.phase == Phase::Starting;
                (starting && node.peer_says().is_some_and(serves)).then_some(())?;
                self.edit(world, at, Node::become_spare)
            }
            Decision::TakeOver => self.take_over(world, at),
            Decision::Remove => self.remove(world, at),
            Decision::OpenGate => self.open_gate(world, at),
            Decision::Admit => {
                let idle = node.peer_says() == Some(Saying::Spare) && self.is_well_heard(world, at);
                let peer = node.peer.filter(|_| node.phase == Phase::Alone && idle)?;
                self.propose(world, at, None, Why::Admit(peer.from))
            }
            Decision::CloseGate => self.close_gate(world, at),
            Decision::CountIn => self.count_in(world, at),
            Decision::Abandon => self.abandon(world, at),
            Decision::Join => self.join(world, at),
            Decision::LeaveOff => self.leave_off(world, at),
            Decision::Yield => self.begin_to_yield(world, at),
            Decision::HandOver => self.hand_over(world, at),
            Decision::SetBack => {
                let Phase::Yielding { backup, log } = node.phase else { return None };
                if self.is_quorum() {
                    self.propose(world, at, Some(backup), Why::TakeBack)?;
                }
                self.edit(world, at, |node| node.phase = Phase::With { backup, log })
            }
            Decision::LapseDoubt => self.lapse_doubt(world, at),
        }
    }

    pub(crate) fn edit(
        &self,
        world: &mut World,
        at: usize,
        change: impl FnOnce(&mut Node),
    ) -> Option<()> {
        change(world.nodes[at].as_mut()?);
        if !self.is_quorum() {
            // `Member::hasten`, and `send` in the same poll.
            self.say(world, at);
        }
        Some(())
    }

    /// `Member::start`: a fresh peer that ranks lower. Node 0 outranks node 1.
    fn fresh_peer(&self, world: &World, at: usize) -> Option<Run> {
        let node = world.nodes[at].as_ref()?;
        let fresh =
            node.phase == Phase::Starting && node.peer_says().is_some_and(Saying::is_starting);
        let free = !self.is_quorum() || self.nobody_is_left(node);
        (at == 0 && fresh && free && self.is_well_heard(world, at)).then_some(())?;
        node.peer.map(|peer| peer.from)
    }

    fn take_over(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_ref()?;
        let usurps = self.planted(Plant::RemovedTakesOver) && node.phase == Phase::Spare;
        let (may, in_sync) = (self.may_suspect(world, at), node.view.has(node.run));
        if usurps && may && !in_sync {
            return self.propose(world, at, None, Why::TakeOver);
        }
        let backup = matches!(node.phase, Phase::Backup { .. });
        (backup && in_sync && self.suspects_primary(world, at)).then_some(())?;
        if self.is_quorum() && self.planted(Plant::TakesOverWithoutRegister) {
            return self.edit(world, at, |node| node.phase = Phase::Alone);
        }
        self.propose(world, at, None, Why::TakeOver)
    }

    fn remove(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_ref()?;
        let backup = match node.phase {
            Phase::With { backup, .. } => backup,
            // `Member::forming_failed`: with a quorum it takes a change to leave the peer out.
            Phase::Forming { partner, .. } if self.is_quorum() => partner,
            // `Member::is_set_back`.
            Phase::Yielding { backup, .. } if self.is_quorum() => backup,
            _ => return None,
        };
        if !self.is_quorum() {
            return self.remove_in_pair(world, at, backup);
        }
        self.propose(world, at, None, Why::Remove)?;
        if self.planted(Plant::OpensBeforeCommit) {
            self.edit(world, at, |node| node.phase = Phase::Alone)?;
            log::release(world, at);
        }
        Some(())
    }

    /// `Member::admit_partner`: the partner has restored what it was given.
    fn close_gate(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_mut()?;
        let restored = node.peer_says() == Some(Saying::Joining { restored: true });
        let known = node.peer?.from;
        let Phase::Admitting { partner, closed_at, .. } = &mut node.phase else { return None };
        (restored && *partner == known && closed_at.is_none()).then_some(())?;
        *closed_at = Some(node.state.len());
        Some(())
    }

    /// `Member::count_in`: the partner has the log of all that left before the gate closed.
    fn count_in(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_ref()?;
        let Phase::Admitting { partner, closed_at, .. } = node.phase else { return None };
        let restored = node.peer_says() == Some(Saying::Joining { restored: true });
        let settled = closed_at.is_some_and(|closed_at| closed_at <= node.confirmed);
        let hasty = self.planted(Plant::CountsInUnsettled);
        (restored && node.peer?.from == partner && (settled || hasty)).then_some(())?;
        self.propose(world, at, Some(partner), Why::CountIn)
    }

    /// `Member::abandonment`.
    fn abandon(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_ref()?;
        let Phase::Admitting { partner, .. } = node.phase else { return None };
        if !self.is_quorum() && !self.has_left_admission(world, at, partner) {
            return None;
        }
        self.edit(world, at, |node| node.phase = Phase::Alone)?;
        log::release(world, at);
        Some(())
    }

    /// `Member::consider_joining`.
    fn join(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_ref()?;
        let peer = node.peer.filter(|_| node.phase == Phase::Spare)?;
        let Saying::Admits { partner, log } = peer.saying else { return None };
        (partner == node.run && node.tried < log).then_some(())?;
        self.edit(world, at, |node| {
            node.become_spare();
            node.tried = log;
            node.phase = Phase::Joining { primary: peer.from, log, restored: false };
        })
    }

    /// `Member::join_primary`: the attempt is over.
    fn leave_off(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_ref()?;
        let Phase::Joining { primary, .. } = node.phase else { return None };
        let admits = |says| matches!(says, Saying::Admits { partner, .. } if partner == node.run);
        let over = node.knows_another_than(primary)
            || self.may_suspect(world, at)
            || !node.peer_says().is_some_and(admits);
        over.then_some(())?;
        self.edit(world, at, Node::become_spare)
    }

    /// `Member::start_afresh`.
    fn start_afresh(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_ref().filter(|node| node.phase == Phase::Spare)?;
        let tells = self.is_quorum() && node.view.primary.is_some();
        let free = if tells { self.nobody_is_left(node) } else { self.is_left_alone(world, at) };
        free.then_some(())?;
        self.edit(world, at, |node| {
            node.phase = Phase::Starting;
            if !self.is_quorum() {
                node.view = View::default();
            }
        })
    }

    /// `Member::switch_over`: an operator wants it. A register of others is asked at once, and this
    /// node rests when it has answered.
    fn begin_to_yield(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_ref()?;
        let Phase::With { backup, log } = node.phase else { return None };
        (world.left.switchovers > 0 && self.is_well_heard(world, at)).then_some(())?;
        if self.is_quorum() {
            self.propose(world, at, Some(backup), Why::HandOver)?;
        } else {
            self.edit(world, at, |node| node.phase = Phase::Yielding { backup, log })?;
        }
        world.left.switchovers -= 1;
        Some(())
    }

    /// `Member::yield_service`: all is confirmed, hence all has left.
    fn hand_over(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_ref()?;
        let Phase::Yielding { backup, .. } = node.phase else { return None };
        let hasty = self.planted(Plant::HandsOverUnsettled);
        (node.confirmed == node.state.len() || hasty).then_some(())?;
        if self.is_quorum() {
            let view = node.view;
            return self.edit(world, at, |node| node.stand_back(view, backup));
        }
        self.propose(world, at, Some(backup), Why::HandOver)
    }
}
