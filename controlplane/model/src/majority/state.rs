//! What three or four nodes are at a moment.

use std::fmt;

use crate::state::Inputs;

pub const MOST_NODES: usize = 4;
pub const MOST_EPOCHS: usize = 6;

/// A set of nodes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Members(u8);

impl Members {
    pub fn first(count: usize) -> Members {
        Members((1 << count) - 1)
    }

    pub fn of(at: usize) -> Members {
        Members(1 << at)
    }

    pub fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }

    pub fn with(self, at: usize) -> Members {
        Members(self.0 | 1 << at)
    }

    pub fn without(self, at: usize) -> Members {
        self.minus(Members::of(at))
    }

    pub fn minus(self, other: Members) -> Members {
        Members(self.0 & !other.0)
    }

    pub fn and(self, other: Members) -> Members {
        Members(self.0 & other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MOST_NODES).filter(move |at| self.has(*at))
    }

    /// `replication::majority_of`.
    pub fn majority(self) -> usize {
        self.len() / 2 + 1
    }

    /// Nobody, anybody, and so on up to all of them.
    pub fn parts(self) -> impl Iterator<Item = Members> {
        (0..=self.0).map(Members).filter(move |part| part.minus(self).is_empty())
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|at| write!(f, "{}", ["a", "b", "c", "d"][at]))
    }
}

/// What the register says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct View {
    pub epoch: u8,
    pub primary: usize,
    pub in_sync: Members,
}

/// What a primary knows and means to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Lead {
    /// The epoch in which its log began.
    pub log: u8,
    /// Inputs that each backup has confirmed.
    pub confirmed: [u8; MOST_NODES],
    /// Inputs whose answers have left.
    pub told: u8,
    /// Backups that it means to leave out, or nobody.
    pub leaving: Members,
    /// Inputs whose answers had left when it began to mean that.
    pub left_before: u8,
    /// The node that has been given its state.
    pub joining: Option<usize>,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Primary(Lead),
    /// Also one that joins, which the view does not have yet.
    Backup {
        primary: usize,
        log: u8,
        sealed: bool,
        /// Who has given what it holds since this node knows its view.
        gathered: Members,
        /// It lacked something of that.
        gained: bool,
    },
    /// It holds nothing.
    Out,
}

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    pub role: Role,
    /// Of the newest view that this node knows.
    pub epoch: u8,
    /// What it has asked the register for, as long as it does not know that this is decided.
    pub asked: Option<View>,
    pub state: Inputs,
}

/// Everything. What a node sent lies by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    pub nodes: [Option<Node>; MOST_NODES],
    /// What each node, as a primary, has sent of its last log.
    pub sent: [(u8, Inputs); MOST_NODES],
    /// A confirmation on its way: of which log, and how much.
    pub confirmations: [Option<(u8, u8)>; MOST_NODES],
    /// What may yet be decided.
    pub requests: [Option<View>; MOST_NODES],
    pub history: [View; MOST_EPOCHS],
    pub epoch: u8,
    /// What clients know: every state that answers them must begin with this.
    pub told: Inputs,
    /// Two answers disagreed.
    pub conflict: bool,
    /// Somebody took over without what clients know.
    pub lost: bool,
    /// Somebody outside the in-sync set took over.
    pub usurped: bool,
    /// Somebody took over who had lacked what clients knew.
    pub completed: bool,
    /// A primary left somebody out, and answered a later input.
    pub went_on: bool,
    pub crashes_left: u8,
    pub inputs_left: u8,
}

impl World {
    /// The first `in_sync` nodes hold the same, and the first of them serves.
    pub fn formed(nodes: usize, in_sync: usize, crashes: u8, inputs: u8) -> World {
        let view = View { epoch: 1, primary: 0, in_sync: Members::first(in_sync) };
        let node = |at: usize| {
            let backup = Role::Backup {
                primary: 0,
                log: 1,
                sealed: false,
                gathered: Members::default(),
                gained: false,
            };
            let role = match at {
                0 => Role::Primary(Lead { log: 1, ..Lead::default() }),
                _ if at < in_sync => backup,
                _ => Role::Out,
            };
            let node = Node { role, epoch: 1, asked: None, state: Inputs::default() };
            (at < nodes).then_some(node)
        };
        let mut history = [View::default(); MOST_EPOCHS];
        history[1] = view;
        World {
            nodes: std::array::from_fn(node),
            sent: [(1, Inputs::default()); MOST_NODES],
            confirmations: [None; MOST_NODES],
            requests: [None; MOST_NODES],
            history,
            epoch: 1,
            told: Inputs::default(),
            conflict: false,
            lost: false,
            usurped: false,
            completed: false,
            went_on: false,
            crashes_left: crashes,
            inputs_left: inputs,
        }
    }

    /// The view that a node knows.
    pub fn view_of(&self, node: &Node) -> View {
        self.history[usize::from(node.epoch)]
    }

    pub fn leads(&self, at: usize) -> bool {
        self.nodes[at].is_some_and(|node| matches!(node.role, Role::Primary(_)))
    }

    /// A client's segment. Its number tells it from all others, also from those of other primaries.
    pub fn take_input(&mut self, at: usize) -> Option<()> {
        let node = self.nodes[at].as_mut()?;
        node.state.push(self.inputs_left << 2 | at as u8);
        self.inputs_left -= 1;
        self.sent[at].1 = node.state;
        Some(())
    }

    pub fn take_confirmation(&mut self, from: usize) -> Option<()> {
        let (log, count) = self.confirmations[from].take()?;
        let leads = self.nodes.iter_mut().flatten().find_map(|node| match &mut node.role {
            Role::Primary(lead) if lead.log == log => Some(lead),
            _ => None,
        });
        // Nobody waits for it any more.
        let Some(lead) = leads else { return Some(()) };
        lead.confirmed[from] = lead.confirmed[from].max(count);
        Some(())
    }

    /// Asks the register, once at a time.
    pub fn ask(&mut self, at: usize, primary: usize, in_sync: Members, epochs: u8) -> Option<()> {
        let node = self.nodes[at].as_mut().filter(|node| node.asked.is_none())?;
        let view = View { epoch: node.epoch + 1, primary, in_sync };
        (view.epoch <= epochs).then_some(())?;
        node.asked = Some(view);
        // One that comes too late changes nothing.
        if self.epoch < view.epoch {
            self.requests[at] = Some(view);
        }
        Some(())
    }

    /// What a node asked for takes effect. All else that was asked for comes too late.
    pub fn commit(&mut self, at: usize) -> Option<()> {
        let view = self.requests[at]?;
        let held = self.history[usize::from(self.epoch)];
        self.usurped |= !held.in_sync.has(view.primary);
        self.epoch = view.epoch;
        self.history[usize::from(view.epoch)] = view;
        self.requests = Default::default();
        Some(())
    }

    pub fn learn(&mut self, at: usize, epoch: u8) -> Option<()> {
        let view = self.history[usize::from(epoch)];
        let told = self.told;
        let node = self.nodes[at].as_mut()?;
        node.epoch = epoch;
        node.asked = node.asked.filter(|asked| asked.epoch > epoch);
        match &mut node.role {
            Role::Primary(lead) if view.primary == at => {
                lead.leaving = Members::default();
                lead.joining = None;
            }
            Role::Backup { gained, .. } if view.primary == at => {
                self.lost |= !node.state.begins_with(&told);
                self.completed |= *gained;
                node.role = Role::Primary(Lead { log: epoch, ..Lead::default() });
                self.sent[at] = (epoch, node.state);
            }
            Role::Backup { primary, gathered, .. }
                if view.primary == *primary && view.in_sync.has(at) =>
            {
                *gathered = Members::default();
            }
            _ => {
                node.role = Role::Out;
                node.state = Inputs::default();
            }
        }
        Some(())
    }

    /// A client hears what these inputs answer.
    pub fn say(&mut self, inputs: &Inputs) {
        if inputs.begins_with(&self.told) {
            self.told = *inputs;
        } else if !self.told.begins_with(inputs) {
            self.conflict = true;
        }
    }
}
