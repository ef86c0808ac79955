//! What the nodes hold: whoever dies next, all that clients were told is in the others' hands.

use controlplane::NodeId;
use engine::addr::Flow;
use engine::shard::Standing;
use replication::{GateMode, Role, majority_of};

use super::{Verdict, World};
use crate::check::Promise;
use crate::check::states::{OF_SERVICES, States};
use crate::coverage::Coverage;
use crate::node::fuse::Point;

const ON_A_BACKUP: &str = "transitions on a backup";
const WITH_A_BACKUP: &str = "transitions on a primary with a backup";
const ALONE: &str = "transitions on a primary alone";

/// What many worlds should have seen between them.
pub fn expect(coverage: &mut Coverage) {
    for kind in [ON_A_BACKUP, WITH_A_BACKUP, ALONE] {
        OF_SERVICES.iter().for_each(|name| coverage.expect(kind, name));
    }
    for point in Point::ALL {
        coverage.expect("crash at", &point.to_string());
        coverage.expect("freeze at", &point.to_string());
    }
}

/// What was last seen of a node.
#[derive(Debug, Default)]
pub(super) struct Seen {
    role: Option<Role>,
    /// Of each of its shards.
    digests: Vec<u64>,
    states: States<Flow>,
}

impl World {
    /// A node has just made a promise in the name of all that are in sync. If it died now, could
    /// each of the others keep it?
    pub(super) fn keep_safe(&mut self, teller: usize, promise: &Promise) -> Verdict {
        if self.plan.diverges.is_some() {
            return Ok(());
        }
        let others: Vec<usize> =
            (0..self.nodes.len()).filter(|other| self.may_follow(*other, teller)).collect();
        if others.is_empty() {
            self.coverage.count("promises", "made where no other node holds the state");
        }
        if self.plan.majority_ports().any(|port| port == promise.flow.local.port) {
            return self.keep_safe_by_majority(&others, teller, promise);
        }
        others.into_iter().try_for_each(|other| self.keep_safe_at(other, teller, promise))
    }

    /// Of the in-sync set so many have to be able to keep it that any that are enough for a takeover
    /// have one of these among them. Whoever has died could, for all that its confirmation says.
    fn keep_safe_by_majority(
        &mut self,
        others: &[usize],
        teller: usize,
        promise: &Promise,
    ) -> Verdict {
        let nodes = self.register.decided().in_sync.len();
        let in_sync = |other: &&usize| self.is_in_sync(**other);
        let in_sync: Vec<usize> = others.iter().filter(in_sync).copied().collect();
        let (mut lacking, mut verdict) = (0, Ok(()));
        for other in in_sync {
            if let Err(wrong) = self.keep_safe_at(other, teller, promise) {
                self.coverage.count("promises", "beyond one other node, and held by a majority");
                (lacking, verdict) = (lacking + 1, Err(wrong));
            }
        }
        if lacking > nodes - majority_of(nodes).min(nodes) { verdict } else { Ok(()) }
    }

    /// Whether the register has this node's present run as one that holds the state.
    fn is_in_sync(&self, node: usize) -> bool {
        let run = self.nodes[node].run.as_ref().map(|run| run.incarnation);
        let view = self.register.decided();
        view.in_sync.iter().any(|known| Some(known.incarnation) == run)
    }

    /// Whether what clients were told may be gone, where a majority holds it: of those that are in
    /// sync the primary is gone, and so many others that those who are left may lack a part.
    pub(super) fn majority_is_gone(&self) -> bool {
        let view = self.register.decided();
        let holds = |node: &NodeId| {
            let runs = self.nodes.iter().filter_map(|node| node.run.as_ref());
            let mut runs = runs.filter(|run| run.holds_state());
            runs.any(|run| run.incarnation == node.incarnation)
        };
        let (nodes, left) = (view.in_sync.len(), view.in_sync.iter().filter(|node| holds(node)));
        let primary = view.primary.is_some_and(|node| holds(&node));
        self.plan.machines[0].member.by_majority
            && !primary
            && left.count() <= nodes - majority_of(nodes).min(nodes)
    }

    /// Whether `other` may have to keep what `teller` promises.
    fn may_follow(&self, other: usize, teller: usize) -> bool {
        let run = self.nodes[other].run.as_ref().filter(|run| run.holds_state());
        let (Some(run), Some(told)) = (run, &self.nodes[teller].run) else { return false };
        let counts = told
            .directive()
            .logs
            .into_iter()
            .flatten()
            .any(|log| log.counts && log.run == run.incarnation);
        other != teller && (counts || !self.register.is_binding())
    }

    fn keep_safe_at(&mut self, other: usize, teller: usize, promise: &Promise) -> Verdict {
        let Some(other) = &self.nodes[other].run else { return Ok(()) };
        if other.standing(&promise.flow).is_some_and(|standing| covers(&standing, promise)) {
            self.coverage.count("promises", "applied on the other node");
            return Ok(());
        }
        let foreseen = other.foresee(&promise.flow);
        if foreseen.is_some_and(|standing| covers(&standing, promise)) {
            self.coverage.count("promises", "received by the other node");
            return Ok(());
        }
        let teller = self.nodes[teller].run.as_ref();
        let is_over = teller.is_none_or(|run| run.standing(&promise.flow).is_none());
        let may_be_over = matches!(other.directive().role, Role::Primary(_));
        if foreseen.is_none() && (is_over || may_be_over) {
            self.coverage.count("promises", "to a connection that is over");
            return Ok(());
        }
        Err(format!("if it died now, {promise:?} would be broken: the other has {foreseen:?}"))
    }

    /// Counts how a node and its connections have changed since the last look.
    pub(super) fn note_states(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let Some(run) = node.run.as_ref().filter(|run| !run.fuse.dead()) else { return };
        let (seen, role) = (&mut node.seen, run.directive().role);
        if seen.role != Some(role) {
            let change = format!("{} -> {}", seen.role.map_or("start", name_of), name_of(role));
            self.coverage.count("roles", &change);
            seen.role = Some(role);
        }
        let digests = || run.shards().map(|shard| shard.digest());
        if digests().eq(seen.digests.iter().copied()) {
            return;
        }
        seen.digests = digests().collect();
        let kind = match role {
            Role::Spare | Role::Joining => return seen.states.forget(),
            Role::Backup => ON_A_BACKUP,
            Role::Primary(GateMode::Confirmed) => WITH_A_BACKUP,
            Role::Primary(GateMode::Open) => ALONE,
        };
        let states = run.shards().flat_map(|shard| shard.states());
        seen.states.look(kind, "LISTEN", states, &mut self.coverage);
    }
}

fn covers(standing: &Standing, promise: &Promise) -> bool {
    standing.rcv_nxt.ge(promise.ack) && promise.end.is_none_or(|end| standing.snd_nxt.ge(end))
}

fn name_of(role: Role) -> &'static str {
    match role {
        Role::Spare => "spare",
        Role::Joining => "joining",
        Role::Backup => "backup",
        Role::Primary(GateMode::Confirmed) => "primary with a backup",
        Role::Primary(GateMode::Open) => "primary alone",
    }
}
