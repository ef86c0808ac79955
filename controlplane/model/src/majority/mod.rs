//! A model of the commit rule "quorum", in the same manner: packets leave when a majority of the
//! in-sync set holds what they depend on, so whoever takes over asks others first
//! (`member/majority.rs`, `worker::majority`, `replication::gate`).
//!
//! Three or four nodes and a register as in [`crate::Kind::Quorum`]. Nothing depends on time: each
//! suspicion may come at any moment, and whatever was sent may arrive at any later one, also after
//! its sender's death.
//!
//! Start reading at `state.rs`, then `rules.rs`.

mod rules;
mod state;

use std::fmt;

use stateright::{Model, Property};

pub use state::World;
use state::{Members, Node, Role};

/// Rules of a majority that can be broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum MajorityPlant {
    /// A backup asks to take over without what others hold.
    AsksNobody,
    /// A backup that has given what it holds goes on confirming.
    ConfirmsSealed,
    /// Backups are left out before a majority of the rest holds what has left.
    LeavesOutTooEarly,
    /// While backups are to be left out, packets still leave by the word of those.
    PartsByTheOldRule,
    /// While backups are to be left out, packets leave by the word of the rest alone.
    PartsByTheNewRule,
    /// A node is counted in before it has all that left.
    CountsInTooEarly,
    /// While a node is being counted in, packets leave as if it were not.
    AdmitsByTheOldRule,
    /// While a node is being counted in, packets leave as if it were already.
    AdmitsByTheNewRule,
}

/// The nodes, and how much happens.
#[derive(Debug, Clone, Copy)]
pub struct Majority {
    /// 3 or 4.
    pub nodes: usize,
    /// How many of them are in sync at the beginning, from the first on; the rest hold nothing.
    pub in_sync: usize,
    pub crashes: u8,
    /// Inputs that clients send; at most 4.
    pub inputs: u8,
    /// No change of the register goes beyond this epoch; at most 5.
    pub epochs: u8,
    pub plant: Option<MajorityPlant>,
}

/// Whatever can happen. Nodes go by their index.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Crash(usize),
    /// A client's segment comes to the primary: logged, applied, sent to all backups.
    Input(usize),
    /// The next of what the node's primary has sent reaches it, and is confirmed.
    Deliver(usize),
    /// The node's confirmation arrives.
    Confirm(usize),
    /// The primary lets leave what its gate lets through.
    Tell(usize),
    /// The backup suspects its primary.
    Seal(usize),
    /// A sealed backup gives another one what it holds.
    Give {
        from: usize,
        to: usize,
    },
    AskToTakeOver(usize),
    /// The primary means to leave these out, or, with nobody among them, does not any more.
    Plan(usize, Members),
    AskToLeaveOut(usize),
    /// The primary gives its state to a node that holds none.
    Admit {
        primary: usize,
        joining: usize,
    },
    AskToCountIn(usize),
    /// What the node asked for takes effect.
    Commit(usize),
    /// The node hears what the register held in this epoch.
    Learn(usize, u8),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |node: &usize| ["a", "b", "c", "d"][*node];
        match self {
            Step::Crash(node) => write!(f, "{} crashes", name(node)),
            Step::Input(node) => write!(f, "a segment comes to {}", name(node)),
            Step::Deliver(node) => write!(f, "log reaches {}", name(node)),
            Step::Confirm(node) => write!(f, "confirmation of {} arrives", name(node)),
            Step::Tell(node) => write!(f, "{} answers", name(node)),
            Step::Seal(node) => write!(f, "{} suspects its primary", name(node)),
            Step::Give { from, to } => write!(f, "{} gives to {}", name(from), name(to)),
            Step::AskToTakeOver(node) => write!(f, "{} asks to take over", name(node)),
            Step::Plan(node, lost) => write!(f, "{} means to leave out {lost:?}", name(node)),
            Step::AskToLeaveOut(node) => write!(f, "{} asks to leave them out", name(node)),
            Step::Admit { primary, joining } => {
                write!(f, "{} gives its state to {}", name(primary), name(joining))
            }
            Step::AskToCountIn(node) => write!(f, "{} asks to count it in", name(node)),
            Step::Commit(node) => write!(f, "the register takes what {} asked for", name(node)),
            Step::Learn(node, epoch) => write!(f, "{} learns of epoch {epoch}", name(node)),
        }
    }
}

impl Majority {
    fn planted(&self, plant: MajorityPlant) -> bool {
        self.plant == Some(plant)
    }

    fn steps_of(&self, world: &World, at: usize, node: &Node, steps: &mut Vec<Step>) {
        if world.crashes_left > 0 {
            steps.push(Step::Crash(at));
        }
        let others = (0..self.nodes).filter(|other| *other != at);
        match node.role {
            Role::Primary(lead) => {
                if world.inputs_left > 0 {
                    steps.push(Step::Input(at));
                }
                steps.extend([Step::Tell(at), Step::AskToLeaveOut(at), Step::AskToCountIn(at)]);
                let set = world.view_of(node).in_sync;
                let plans = set.without(at).parts().filter(|lost| *lost != lead.leaving);
                steps.extend(plans.map(|lost| Step::Plan(at, lost)));
                steps.extend(others.map(|joining| Step::Admit { primary: at, joining }));
            }
            Role::Backup { .. } => {
                steps.extend([Step::Deliver(at), Step::Seal(at), Step::AskToTakeOver(at)]);
                steps.extend(others.map(|from| Step::Give { from, to: at }));
            }
            Role::Out => {}
        }
        let later = node.epoch + 1..=world.epoch;
        steps.extend(later.map(|epoch| Step::Learn(at, epoch)));
    }

    fn apply(&self, world: &mut World, step: Step) -> Option<()> {
        match step {
            Step::Crash(at) => {
                world.nodes[at] = None;
                world.crashes_left -= 1;
            }
            Step::Input(at) => world.take_input(at)?,
            Step::Deliver(at) => self.deliver(world, at)?,
            Step::Confirm(at) => world.take_confirmation(at)?,
            Step::Tell(at) => self.tell(world, at)?,
            Step::Seal(at) => self.seal(world, at)?,
            Step::Give { from, to } => self.give(world, from, to)?,
            Step::AskToTakeOver(at) => self.ask_to_take_over(world, at)?,
            Step::Plan(at, lost) => self.plan(world, at, lost)?,
            Step::AskToLeaveOut(at) => self.ask_to_leave_out(world, at)?,
            Step::Admit { primary, joining } => self.admit(world, primary, joining)?,
            Step::AskToCountIn(at) => self.ask_to_count_in(world, at)?,
            Step::Commit(at) => world.commit(at)?,
            Step::Learn(at, epoch) => world.learn(at, epoch)?,
        }
        Some(())
    }
}

impl Model for Majority {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::formed(self.nodes, self.in_sync, self.crashes, self.inputs)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for at in 0..self.nodes {
            if let Some(node) = &world.nodes[at] {
                self.steps_of(world, at, node, steps);
            }
            steps.extend(world.confirmations[at].map(|_| Step::Confirm(at)));
            steps.extend(world.requests[at].map(|_| Step::Commit(at)));
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = *world;
        self.apply(&mut next, step)?;
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Majority>> {
        vec![
            Property::always("no two answers contradict each other", |_, world: &World| {
                !world.conflict
            }),
            Property::always("who takes over has all that was told", |_, world: &World| {
                !world.lost
            }),
            Property::always("only a member of the in-sync set takes over", |_, world: &World| {
                !world.usurped
            }),
            Property::sometimes(
                "a backup takes over with what another gave",
                |_, world: &World| world.completed,
            ),
            Property::sometimes(
                "a backup is left out, and the service goes on",
                |_, world: &World| world.went_on,
            ),
            Property::sometimes("a node is counted in, and takes over", |model, world: &World| {
                let joined = |at: usize| at >= model.in_sync && world.leads(at);
                world.told.len() > 0 && (0..model.nodes).any(joined)
            }),
        ]
    }
}
