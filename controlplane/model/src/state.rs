//! What the world is at a moment.

use std::fmt;

/// One run of a node: `2 * count + node`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Run(pub u8);

impl Run {
    pub fn new(node: usize, count: u8) -> Run {
        Run(count * 2 + node as u8)
    }

    pub fn node(self) -> usize {
        usize::from(self.0 & 1)
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", ["a", "b"][self.node()], self.0 / 2 + 1)
    }
}

/// What the register says.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct View {
    pub epoch: u8,
    pub primary: Option<Run>,
    pub backup: Option<Run>,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.epoch)?;
        self.members().try_for_each(|run| write!(f, "{run:?}"))
    }
}

impl View {
    pub fn next(self, primary: Run, backup: Option<Run>) -> View {
        View { epoch: self.epoch + 1, primary: Some(primary), backup }
    }

    pub fn members(self) -> impl Iterator<Item = Run> {
        [self.primary, self.backup].into_iter().flatten()
    }

    pub fn has(self, run: Run) -> bool {
        self.members().any(|member| member == run)
    }
}

const MOST_INPUTS: usize = 4;

/// The inputs that made a state, in order: each has a number of its own, `2 * count + node`, where
/// the node is the one that took it from a client.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Inputs {
    ids: [u8; MOST_INPUTS],
    len: u8,
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.known())
    }
}

impl Inputs {
    fn known(&self) -> &[u8] {
        &self.ids[..usize::from(self.len)]
    }

    /// The node that took the first one.
    pub fn begun_by(&self) -> Option<usize> {
        self.known().first().map(|id| usize::from(id & 1))
    }

    pub fn len(&self) -> u8 {
        self.len
    }

    pub fn push(&mut self, id: u8) {
        self.ids[usize::from(self.len)] = id;
        self.len += 1;
    }

    pub fn first(&self, count: u8) -> Inputs {
        let mut first = Inputs::default();
        self.known().iter().take(usize::from(count)).for_each(|id| first.push(*id));
        first
    }

    pub fn begins_with(&self, other: &Inputs) -> bool {
        self.known().starts_with(other.known())
    }
}

/// Which log a batch or confirmation belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId {
    pub epoch: u8,
    pub primary: Run,
    pub backup: Run,
}

/// What a node is: `controlplane::member::Phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Starting,
    /// Proposed a view that the partner has not acknowledged.
    Forming {
        partner: Run,
        log: u8,
    },
    Spare,
    Joining {
        primary: Run,
        log: u8,
        restored: bool,
    },
    Backup {
        primary: Run,
        log: u8,
    },
    With {
        backup: Run,
        log: u8,
    },
    /// Pair: the backup is removed and has not acknowledged it.
    Removing {
        backup: Run,
        log: u8,
    },
    /// Takes no input: the backup is to go on in its place. With a quorum the register says so.
    Yielding {
        backup: Run,
        log: u8,
    },
    Alone,
    Admitting {
        partner: Run,
        log: u8,
        closed_at: Option<u8>,
    },
}

impl Phase {
    pub fn is_primary(self) -> bool {
        use Phase::{Admitting, Alone, Removing, With, Yielding};
        matches!(self, With { .. } | Removing { .. } | Yielding { .. } | Alone | Admitting { .. })
    }

    pub fn gate_is_open(self) -> bool {
        matches!(self, Phase::Alone | Phase::Admitting { closed_at: None, .. })
    }

    pub fn holds_state(self) -> bool {
        self.is_primary() || matches!(self, Phase::Backup { .. })
    }

    /// The log that `me` takes part in.
    pub fn log(self, me: Run) -> Option<LogId> {
        match self {
            Phase::Joining { primary, log, .. } | Phase::Backup { primary, log } => {
                Some(LogId { epoch: log, primary, backup: me })
            }
            Phase::With { backup, log }
            | Phase::Removing { backup, log }
            | Phase::Yielding { backup, log }
            | Phase::Admitting { partner: backup, log, .. } => {
                Some(LogId { epoch: log, primary: me, backup })
            }
            Phase::Starting | Phase::Forming { .. } | Phase::Spare | Phase::Alone => None,
        }
    }
}

/// What a heartbeat says of its sender: `controlplane::message::Condition`, and a little more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Saying {
    /// `pending`: it has asked to serve.
    Starting {
        pending: bool,
    },
    Forming,
    Spare,
    Joining {
        restored: bool,
    },
    Backup,
    Primary,
    Admits {
        partner: Run,
        log: u8,
    },
}

impl Saying {
    pub fn is_primary(self) -> bool {
        matches!(self, Saying::Primary | Saying::Admits { .. })
    }

    pub fn is_starting(self) -> bool {
        matches!(self, Saying::Starting { .. })
    }
}

/// A heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Word {
    pub from: Run,
    /// The receiver's run.
    pub to: Run,
    pub saying: Saying,
    /// The sender's view, if it matters, and, in a pair, whether it waits to be acknowledged.
    pub view: View,
    pub pending: bool,
    /// Pair: how often the sender stood still, and how often it knows that the receiver did.
    pub stalls: u8,
    pub echo: u8,
    /// Quorum: it was said before the receiver learned of the view that it knows now, so it proves
    /// nothing about the runs in that.
    pub stale: bool,
}

/// Why a change of the register was proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// Nobody holds the state: begin with an empty one.
    Afresh,
    TakeOver,
    Remove,
    Admit(Run),
    CountIn,
    /// The backup is to be the primary: in a pair now, with a quorum when this node rests.
    HandOver,
    /// It came to nothing.
    TakeBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Proposal {
    pub view: View,
    pub why: Why,
}

/// How long a node has been standing still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stall {
    /// Longer than it takes to be suspected.
    Short,
    /// Receive queues ran over.
    Long,
}

/// A node that stood still and has not heard since that its peer goes on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Doubt {
    pub can_lapse: bool,
}

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    pub run: Run,
    pub phase: Phase,
    /// The newest view that this node knows.
    pub view: View,
    /// What was heard last of the peer's newest run.
    pub peer: Option<Word>,
    /// Quorum: what was proposed and is undecided.
    pub proposal: Option<Proposal>,
    pub state: Inputs,
    /// Inputs that the backup confirmed in this log.
    pub confirmed: u8,
    /// The last admission that this node took up.
    pub tried: u8,
    pub stall: Option<Stall>,
    pub stalls: u8,
    pub doubt: Option<Doubt>,
}

impl Node {
    pub fn new(run: Run) -> Node {
        Node {
            run,
            phase: Phase::Starting,
            view: View::default(),
            peer: None,
            proposal: None,
            state: Inputs::default(),
            confirmed: 0,
            tried: 0,
            stall: None,
            stalls: 0,
            doubt: None,
        }
    }

    pub fn awake(&self) -> bool {
        self.stall.is_none()
    }

    /// It sends for the service what its gate lets through.
    pub fn serves(&self) -> bool {
        self.phase.is_primary() && self.awake() && self.doubt.is_none()
    }

    /// `Member::condition`, `Member::is_pending`.
    pub fn says(&self) -> Saying {
        match self.phase {
            Phase::Starting => {
                let alone = |proposal: Proposal| proposal.view.backup.is_none();
                Saying::Starting { pending: self.proposal.is_some_and(alone) }
            }
            Phase::Forming { .. } => Saying::Forming,
            Phase::Spare => Saying::Spare,
            Phase::Joining { restored, .. } => Saying::Joining { restored },
            Phase::Backup { .. } => Saying::Backup,
            Phase::With { .. } | Phase::Removing { .. } | Phase::Yielding { .. } | Phase::Alone => {
                Saying::Primary
            }
            Phase::Admitting { partner, log, .. } => Saying::Admits { partner, log },
        }
    }

    pub fn peer_says(&self) -> Option<Saying> {
        self.peer.map(|peer| peer.saying)
    }

    /// `controlplane::peer::Peer::has_ended`: another run is known.
    pub fn knows_another_than(&self, run: Run) -> bool {
        self.peer.is_some_and(|peer| peer.from != run)
    }

    /// `Member::note_handed_over`: the register has `primary` in this node's place.
    pub fn stand_back(&mut self, view: View, primary: Run) {
        if view.has(self.run) {
            self.phase = Phase::Backup { primary, log: view.epoch };
            self.doubt = None;
        } else {
            self.become_spare();
        }
    }

    /// `Member::receive_service`: the register has this node, a backup, as primary.
    pub fn receive_service(&mut self, view: View) {
        self.phase = match view.backup {
            Some(backup) => Phase::With { backup, log: view.epoch },
            None => Phase::Alone,
        };
        // Who gave the service away holds the same.
        self.confirmed = self.state.len();
    }

    /// A spare holds nothing.
    pub fn become_spare(&mut self) {
        self.phase = Phase::Spare;
        self.state = Inputs::default();
        self.confirmed = 0;
        self.doubt = None;
    }
}

/// What is down of one direction between the nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Cut {
    pub link: bool,
    pub lan: bool,
}

/// Faults and inputs that have yet to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Left {
    pub crashes: u8,
    pub stalls: u8,
    pub cuts: u8,
    pub losses: u8,
    pub withdrawals: u8,
    pub switchovers: u8,
    pub inputs: u8,
}

/// Heartbeats of one node that are on their way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Words {
    /// The newest one of its run; it overtakes what was on its way before.
    pub now: Option<Word>,
    /// The last one of the run before.
    pub late: Option<Word>,
}

pub const MOST_EPOCHS: usize = 6;
/// One of each run that lives, and of those that died meanwhile.
pub const MOST_REQUESTS: usize = 4;

/// Everything. What a node sent lies by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    pub nodes: [Option<Node>; 2],
    /// Runs that each node has begun.
    pub started: [u8; 2],
    pub words: [Words; 2],
    /// What it has sent of a log: may arrive at any time, or never, or again.
    pub batches: [Option<(LogId, Inputs)>; 2],
    pub confirmations: [Option<(LogId, u8)>; 2],
    /// Quorum: the view of each epoch that was committed, the last one, and what may yet be.
    pub history: [View; MOST_EPOCHS],
    pub epoch: u8,
    pub requests: [Option<Proposal>; MOST_REQUESTS],
    pub cut: [Cut; 2],
    /// What clients know: every state that answers them must begin with this.
    pub told: Inputs,
    /// The epoch in which somebody began with an empty state. What an earlier primary still lets
    /// through belongs to connections that are gone.
    pub began: u8,
    /// Two answers disagreed.
    pub conflict: bool,
    /// Somebody began to serve without what clients know, while somebody who has it lived.
    pub lost: bool,
    /// Somebody outside the in-sync set took over.
    pub usurped: bool,
    /// A switchover came to its end.
    pub handed_over: bool,
    pub left: Left,
}

impl World {
    /// Two fresh nodes that have not heard each other.
    pub fn fresh(left: Left) -> World {
        World {
            nodes: [Some(Node::new(Run::new(0, 0))), Some(Node::new(Run::new(1, 0)))],
            started: [1, 1],
            words: [Words::default(); 2],
            batches: [None; 2],
            confirmations: [None; 2],
            history: [View::default(); MOST_EPOCHS],
            epoch: 0,
            requests: [None; MOST_REQUESTS],
            cut: [Cut::default(); 2],
            told: Inputs::default(),
            began: 0,
            conflict: false,
            lost: false,
            usurped: false,
            handed_over: false,
            left,
        }
    }

    /// A pair in sync.
    pub fn formed(left: Left) -> World {
        let (a, b) = (Run::new(0, 0), Run::new(1, 0));
        let view = View::default().next(a, Some(b));
        let phases = [Phase::With { backup: b, log: 1 }, Phase::Backup { primary: a, log: 1 }];
        World::fresh(left).begun(view, phases)
    }

    /// One node serves alone, and the other one has come back.
    pub fn alone(left: Left) -> World {
        let view = View::default().next(Run::new(0, 0), None);
        World::fresh(left).begun(view, [Phase::Alone, Phase::Spare])
    }

    fn begun(mut self, view: View, phases: [Phase; 2]) -> World {
        (self.history[1], self.epoch, self.began) = (view, 1, 1);
        let runs = [Run::new(0, 0), Run::new(1, 0)];
        for (at, node) in self.nodes.iter_mut().flatten().enumerate() {
            (node.phase, node.view) = (phases[at], view);
        }
        let says = self.nodes.map(|node| node.map_or(Saying::Spare, |node| node.says()));
        for (at, node) in self.nodes.iter_mut().flatten().enumerate() {
            let (from, to, saying) = (runs[1 - at], runs[at], says[1 - at]);
            let (pending, stalls, echo, stale) = (false, 0, 0, false);
            node.peer = Some(Word { from, to, saying, view, pending, stalls, echo, stale });
        }
        self
    }

    pub fn is_cut(&self) -> bool {
        self.cut != [Cut::default(); 2]
    }

    pub fn committed(&self) -> View {
        self.history[usize::from(self.epoch)]
    }

    /// A client hears what the node's state, as far as these inputs go, answers.
    pub fn tell(&mut self, at: usize, inputs: &Inputs) {
        if self.nodes[at].is_none_or(|node| node.view.epoch < self.began) {
            return;
        }
        if inputs.begins_with(&self.told) {
            self.told = *inputs;
        } else if !self.told.begins_with(inputs) {
            self.conflict = true;
        }
    }
}
