//! The model as the checker sees it: what can happen in a state, and what comes of it.

use std::fmt;

use stateright::{Model, Property};

use crate::member::Decision;
use crate::plant::Plant;
use crate::properties;
use crate::state::{Left, Node, Phase, Run, Saying, Stall, View, Word, World};

/// Which register the nodes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Kind {
    /// Each node keeps a copy, and words exchange them.
    Pair,
    /// It is one, and answers late or never.
    Quorum,
}

/// What the nodes are before anything happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Begin {
    /// Both have just started.
    Fresh,
    /// Both hold the state.
    Formed,
    /// One serves alone, the other one is spare.
    Alone,
}

/// How much goes wrong, and how much is done meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Faults {
    pub begin: Begin,
    pub crashes: u8,
    /// Pair: how often a node stands still for so long that its peer suspects it.
    pub stalls: u8,
    /// Pair: how often a direction of the link is cut, or also of the LAN.
    pub cuts: u8,
    pub lan: bool,
    /// Pair: how many heartbeats are lost on all paths.
    pub losses: u8,
    /// How often a backup finds that its state is not the primary's.
    pub withdrawals: u8,
    /// How often an operator wants the service to go to the other node.
    pub switchovers: u8,
    /// Inputs that clients send; at most 4.
    pub inputs: u8,
    /// No change of the register goes beyond this epoch.
    pub epochs: u8,
}

/// Two nodes, their paths, their register and their clients.
#[derive(Debug, Clone, Copy)]
pub struct Cluster {
    pub kind: Kind,
    pub faults: Faults,
    pub plant: Option<Plant>,
}

/// Whatever can happen. Nodes go by their index.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Crash(usize),
    Start(usize),
    /// The backup leaves: its state is not the primary's.
    Withdraw(usize),
    StandStill(usize),
    StandStillLonger(usize),
    WakeUp(usize),
    CutLink {
        from: usize,
    },
    CutLan {
        from: usize,
    },
    Heal,
    /// The node sends a heartbeat.
    Say(usize),
    /// The heartbeat of the node arrives at the other one.
    Hear(usize),
    /// So does one of its run before.
    HearLate(usize),
    /// It finds no room in the queue of a node that stands still.
    Overrun(usize),
    /// It is lost.
    Lose(usize),
    Decide(usize, Decision),
    /// The proposal takes effect.
    Commit(View),
    /// The node hears what the register held in this epoch.
    Learn(usize, u8),
    /// A client's segment comes to the primary: logged, applied, answered through the gate.
    Input(usize),
    /// What the node sent of its log arrives, and is confirmed.
    Deliver(usize),
    /// The node's confirmation arrives.
    Confirm(usize),
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |node: &usize| ["a", "b"][*node];
        match self {
            Action::Crash(node) => write!(f, "{} crashes", name(node)),
            Action::Start(node) => write!(f, "{} starts", name(node)),
            Action::Withdraw(node) => write!(f, "{} withdraws", name(node)),
            Action::StandStill(node) => write!(f, "{} stands still", name(node)),
            Action::StandStillLonger(node) => write!(f, "{} stands still for longer", name(node)),
            Action::WakeUp(node) => write!(f, "{} goes on", name(node)),
            Action::CutLink { from } => write!(f, "link from {} is cut", name(from)),
            Action::CutLan { from } => write!(f, "LAN from {} is cut", name(from)),
            Action::Heal => write!(f, "all paths work again"),
            Action::Say(node) => write!(f, "{} sends a heartbeat", name(node)),
            Action::Hear(from) => write!(f, "heartbeat of {} arrives", name(from)),
            Action::HearLate(from) => {
                write!(f, "heartbeat of the run of {} before arrives", name(from))
            }
            Action::Overrun(from) => write!(f, "heartbeat of {} finds no room", name(from)),
            Action::Lose(from) => write!(f, "heartbeat of {} is lost", name(from)),
            Action::Decide(node, decision) => write!(f, "{} decides: {decision:?}", name(node)),
            Action::Commit(view) => write!(f, "register becomes {view:?}"),
            Action::Learn(node, epoch) => write!(f, "{} learns of epoch {epoch}", name(node)),
            Action::Input(node) => write!(f, "a segment comes to {}", name(node)),
            Action::Deliver(from) => write!(f, "log of {} arrives", name(from)),
            Action::Confirm(from) => write!(f, "confirmation of {} arrives", name(from)),
        }
    }
}

impl Cluster {
    pub(crate) fn is_quorum(&self) -> bool {
        self.kind == Kind::Quorum
    }

    pub(crate) fn planted(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    fn actions_of(&self, world: &World, at: usize, actions: &mut Vec<Action>) {
        let Some(node) = &world.nodes[at] else {
            actions.push(Action::Start(at));
            return;
        };
        if world.left.crashes > 0 {
            actions.push(Action::Crash(at));
        }
        if !node.awake() {
            let short = node.stall == Some(Stall::Short);
            actions.extend(short.then_some(Action::StandStillLonger(at)));
            actions.push(Action::WakeUp(at));
            return;
        }
        if world.left.stalls > 0 {
            actions.push(Action::StandStill(at));
        }
        if world.left.withdrawals > 0 && matches!(node.phase, Phase::Backup { .. }) {
            actions.push(Action::Withdraw(at));
        }
        let rests = matches!(node.phase, Phase::Yielding { .. });
        if node.serves() && !rests && world.left.inputs > 0 {
            actions.push(Action::Input(at));
        }
        actions.push(Action::Say(at));
        let decisions = Decision::in_phase(node.phase).iter();
        actions.extend(decisions.map(|decision| Action::Decide(at, *decision)));
        if self.is_quorum() {
            let later = node.view.epoch + 1..=world.epoch;
            actions.extend(later.map(|epoch| Action::Learn(at, epoch)));
        }
    }

    fn apply(&self, world: &mut World, action: Action) -> Option<()> {
        match action {
            Action::Crash(at) => {
                world.nodes[at] = None;
                world.left.crashes -= 1;
                world.words[at].late = world.words[at].now.take();
            }
            Action::Start(at) => {
                let run = Run::new(at, world.started[at]);
                world.started[at] += 1;
                world.nodes[at] = Some(Node::new(run));
            }
            Action::Withdraw(at) => {
                world.left.withdrawals -= 1;
                // `Member::withdraw`: also while what it asked for is undecided.
                self.edit(world, at, Node::become_spare)?;
            }
            Action::StandStill(at) => self.stand_still(world, at),
            Action::StandStillLonger(at) => {
                world.nodes[at].as_mut()?.stall = Some(Stall::Long);
            }
            Action::WakeUp(at) => self.wake_up(world, at)?,
            Action::CutLink { from } => {
                world.cut[from].link = true;
                world.left.cuts -= 1;
            }
            Action::CutLan { from } => {
                world.cut[from].lan = true;
                world.left.cuts -= 1;
            }
            Action::Heal => world.cut = Default::default(),
            Action::Say(at) => self.say(world, at)?,
            Action::Hear(from) => {
                let word = world.words[from].now.take()?;
                self.hear(world, word)?;
            }
            Action::HearLate(from) => {
                let word = world.words[from].late.take()?;
                self.hear(world, word)?;
            }
            Action::Overrun(from) => {
                world.words[from].now.take()?;
            }
            Action::Lose(from) => {
                world.words[from].now.take()?;
                world.left.losses -= 1;
            }
            Action::Decide(at, decision) => self.decide(world, at, decision)?,
            Action::Commit(view) => self.commit(world, view)?,
            Action::Learn(at, epoch) => {
                self.learn(world, at, world.history[usize::from(epoch)])?;
            }
            Action::Input(at) => self.input(world, at)?,
            Action::Deliver(from) => self.deliver(world, from)?,
            Action::Confirm(from) => self.take_confirmation(world, from)?,
        }
        Some(())
    }

    /// A heartbeat leaves. It is what the node is now; one that was on its way is overtaken.
    ///
    /// It names the receiver's present run: what names another one is no more than an introduction.
    pub(crate) fn say(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_ref()?;
        let receiver = world.nodes[1 - at].as_ref()?;
        let cut = world.cut[at];
        if cut.link && cut.lan {
            return None;
        }
        let quorum = self.is_quorum();
        let saying = node.says();
        // With a quorum a newer view may be learned at any time anyway.
        let matters = !quorum || matches!(saying, Saying::Forming | Saying::Backup);
        let of_that_run = node.peer.filter(|peer| peer.from == receiver.run);
        let word = Word {
            from: node.run,
            to: receiver.run,
            saying,
            view: if matters { node.view } else { View::default() },
            pending: !quorum && node.phase_is_pending(),
            stalls: node.stalls,
            echo: of_that_run.map_or(0, |peer| peer.stalls),
            stale: false,
        };
        if receiver.peer == Some(word) && world.words[at].now.is_none() {
            // Heard once more it would change nothing, unless the hearer is another by now.
            let mut again = *world;
            self.hear(&mut again, word);
            if quorum || again == *world {
                return None;
            }
        }
        world.words[at].now = Some(word);
        Some(())
    }

    fn hear(&self, world: &mut World, word: Word) -> Option<()> {
        let at = 1 - word.from.node();
        let node = world.nodes[at].as_mut().filter(|node| node.awake())?;
        // `Peer::succeeds`: a run that ended cannot have heard what its successor did.
        let goes_back = node.peer.is_some_and(|peer| peer.from > word.from);
        if word.to != node.run || goes_back && !self.planted(Plant::FormerRunReturns) {
            return Some(());
        }
        node.peer = Some(word);
        if self.is_quorum() {
            self.heed(world, at);
        } else {
            self.observe(world, at);
        }
        Some(())
    }
}

impl Model for Cluster {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let Faults {
            begin, crashes, stalls, cuts, losses, withdrawals, switchovers, inputs, ..
        } = self.faults;
        let left = Left { crashes, stalls, cuts, losses, withdrawals, switchovers, inputs };
        vec![match begin {
            Begin::Fresh => World::fresh(left),
            Begin::Formed => World::formed(left),
            Begin::Alone => World::alone(left),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for at in 0..world.nodes.len() {
            self.actions_of(world, at, actions);
            if world.left.cuts > 0 && !world.cut[at].link {
                actions.push(Action::CutLink { from: at });
            }
            if world.left.cuts > 0 && self.faults.lan && !world.cut[at].lan {
                actions.push(Action::CutLan { from: at });
            }
        }
        if world.is_cut() {
            actions.push(Action::Heal);
        }
        for from in 0..world.nodes.len() {
            let words = world.words[from];
            // In a pair what was sent first arrives first.
            let queued = !self.is_quorum() && words.late.is_some();
            let heard = words.now.filter(|_| !queued || self.planted(Plant::FormerRunReturns));
            actions.extend(heard.map(|_| Action::Hear(from)));
            let sleeps = |node: &Node| node.stall == Some(Stall::Long);
            let overruns = world.nodes[1 - from].as_ref().is_some_and(sleeps);
            actions.extend(words.now.filter(|_| overruns).map(|_| Action::Overrun(from)));
            let loses = world.left.losses > 0;
            actions.extend(words.now.filter(|_| loses).map(|_| Action::Lose(from)));
            actions.extend(words.late.map(|_| Action::HearLate(from)));
            actions.extend(world.batches[from].map(|_| Action::Deliver(from)));
            actions.extend(world.confirmations[from].map(|_| Action::Confirm(from)));
        }
        let requests = world.requests.iter().flatten();
        actions.extend(requests.map(|request| Action::Commit(request.view)));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = *world;
        self.apply(&mut next, action)?;
        next.forget_the_dead();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Cluster>> {
        properties::all()
    }
}
