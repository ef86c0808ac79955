//! What states are made of, and what clients were told of them.
//!
//! A state is a branch of inputs and how many of them it has. Who begins to serve goes on in a
//! branch of its own, so two that serve at once part there, as the bytes that they send do.

use std::collections::BTreeMap;

use replication::Epoch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    branch: usize,
    /// Inputs.
    pub count: u64,
}

impl State {
    /// What was before the inputs after the first `count`.
    pub fn first(self, count: u64) -> State {
        State { count: self.count.min(count), ..self }
    }
}

#[derive(Default)]
pub struct History {
    branches: Vec<Branch>,
    /// The root of the states that began empty in that epoch.
    roots: BTreeMap<Epoch, usize>,
    /// By root.
    told: BTreeMap<usize, State>,
}

struct Branch {
    parent: Option<State>,
    root: usize,
}

impl History {
    /// An empty state of those that begin in this epoch.
    pub fn begin(&mut self, epoch: Epoch) -> State {
        let new = self.branches.len();
        let root = *self.roots.entry(epoch).or_insert(new);
        if root == new {
            self.branches.push(Branch { parent: None, root });
        }
        State { branch: root, count: 0 }
    }

    /// The same state, whose further inputs are its own.
    pub fn fork(&mut self, state: State) -> State {
        let root = self.branches[state.branch].root;
        self.branches.push(Branch { parent: Some(state), root });
        State { branch: self.branches.len() - 1, ..state }
    }

    /// Clients hear what this state answers.
    pub fn tell(&mut self, state: State) {
        let root = self.branches[state.branch].root;
        let told = *self.told.entry(root).or_insert(State { branch: root, count: 0 });
        let shared = self.shared(state, told);
        assert!(
            shared == state.count.min(told.count),
            "clients were told {} inputs, and now {} others after the first {shared}",
            told.count,
            state.count - shared
        );
        if state.count > told.count {
            self.told.insert(root, state);
        }
    }

    /// Who serves from this state on must have all that clients were told.
    pub fn check_successor(&self, state: State) {
        let root = self.branches[state.branch].root;
        let Some(told) = self.told.get(&root) else { return };
        let held = self.shared(state, *told);
        assert!(held == told.count, "begins with {held} inputs of {} that were told", told.count);
    }

    /// How many inputs two states have in common.
    fn shared(&self, one: State, other: State) -> u64 {
        let (mut old, mut young) = (one, other);
        while old.branch != young.branch {
            if old.branch > young.branch {
                std::mem::swap(&mut old, &mut young);
            }
            let Some(parent) = self.branches[young.branch].parent else { return 0 };
            young = State { count: young.count.min(parent.count), ..parent };
        }
        old.count.min(young.count)
    }
}

#[test]
fn states_share_what_came_before_they_parted() {
    let mut history = History::default();
    let root = history.begin(Epoch(1));
    let first = history.fork(root);
    let left = history.fork(State { count: 5, ..first });
    let right = history.fork(State { count: 3, ..left });
    let (left, right) = (State { count: 9, ..left }, State { count: 4, ..right });
    assert_eq!(history.shared(left, right), 3);
    assert_eq!(history.shared(State { count: 2, ..left }, right), 2);
    let foreign = history.begin(Epoch(2));
    assert_eq!(history.shared(foreign, right), 0);
}
