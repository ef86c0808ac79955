//! What each role may do: `controlplane/src/member/majority.rs`, and the gate.

use super::state::{Lead, Members, Node, Role, World};
use super::{Majority, MajorityPlant as Plant};
use crate::state::Inputs;

impl Lead {
    /// How many of `set` hold the first `count` inputs, the primary `at` among them.
    fn holders(&self, at: usize, set: Members, count: u8) -> usize {
        set.iter().filter(|node| *node == at || self.confirmed[*node] >= count).count()
    }

    fn has_majority(&self, at: usize, set: Members, count: u8) -> bool {
        self.holders(at, set, count) >= set.majority()
    }
}

impl Majority {
    /// The backup takes the next input of its primary's log, and confirms it.
    pub(super) fn deliver(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_mut()?;
        let Role::Backup { primary, log, sealed, .. } = node.role else { return None };
        let (of, sent) = world.sent[primary];
        let hears = !sealed || self.planted(Plant::ConfirmsSealed);
        (of == log && hears && node.state.len() < sent.len()).then_some(())?;
        node.state = sent.first(node.state.len() + 1);
        world.confirmations[at] = Some((log, node.state.len()));
        Some(())
    }

    /// `replication::gate`, `Votes`: what has left is held by a majority of each set that may be the
    /// register's.
    pub(super) fn tell(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at]?;
        let Role::Primary(lead) = node.role else { return None };
        let set = world.view_of(&node).in_sync;
        let rest = set.minus(lead.leaving);
        let grown = node.asked.and(lead.joining).map_or(set, |joining| set.with(joining));
        let (parts, grows) = (rest != set, grown != set);
        let by = |set: Members, count: u8| lead.has_majority(at, set, count);
        let early = parts && self.planted(Plant::PartsByTheNewRule)
            || grows && self.planted(Plant::AdmitsByTheNewRule);
        let late = (
            !parts || self.planted(Plant::PartsByTheOldRule),
            !grows || self.planted(Plant::AdmitsByTheOldRule),
        );
        let leaves = |count: &u8| {
            (early || by(set, *count))
                && (late.0 || by(rest, *count))
                && (late.1 || by(grown, *count))
        };
        let count = (lead.told + 1..=node.state.len()).rev().find(leaves)?;
        world.say(&node.state.first(count));
        let before = world.history[usize::from(node.epoch - 1)];
        world.went_on |= before.primary == at && before.in_sync.len() > set.len();
        if let Some(Node { role: Role::Primary(lead), .. }) = &mut world.nodes[at] {
            lead.told = count;
        }
        Some(())
    }

    /// `Member::others_needed`.
    fn needed(&self, in_sync: Members) -> usize {
        if self.planted(Plant::AsksNobody) { 0 } else { in_sync.len() - in_sync.majority() }
    }

    /// `Member::seal`. Only who is in the view suspects anybody.
    pub(super) fn seal(&self, world: &mut World, at: usize) -> Option<()> {
        let in_sync = world.view_of(&world.nodes[at]?).in_sync;
        let Role::Backup { sealed, .. } = &mut world.nodes[at].as_mut()?.role else { return None };
        (in_sync.has(at) && self.needed(in_sync) > 0 && !*sealed).then_some(())?;
        *sealed = true;
        Some(())
    }

    /// Sealed backups of one view write each other what they keep of the log.
    pub(super) fn give(&self, world: &mut World, from: usize, to: usize) -> Option<()> {
        let giver = world.nodes[from]?;
        let taker = world.nodes[to].as_mut()?;
        let told = world.told.len();
        let Role::Backup { log: theirs, sealed: true, .. } = giver.role else { return None };
        let Role::Backup { log, sealed: true, gathered, gained, .. } = &mut taker.role else {
            return None;
        };
        (giver.epoch == taker.epoch && theirs == *log && !gathered.has(from)).then_some(())?;
        *gathered = gathered.with(from);
        if giver.state.len() > taker.state.len() {
            *gained |= taker.state.len() < told;
            taker.state = giver.state;
        }
        Some(())
    }

    /// `Member::may_take_over`. The others join anew.
    pub(super) fn ask_to_take_over(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at]?;
        let Role::Backup { primary, sealed, gathered, .. } = node.role else { return None };
        let in_sync = world.view_of(&node).in_sync;
        let needed = self.needed(in_sync);
        let given = gathered.and(in_sync.without(primary).without(at)).len();
        let may = in_sync.has(at) && given >= needed && (sealed || needed == 0);
        may.then_some(())?;
        world.ask(at, at, Members::of(at), self.epochs)
    }

    /// `Member::prepare_parting`. A plan ends an admission that is not asked for, and any may be
    /// given up as long as the register is not asked.
    pub(super) fn plan(&self, world: &mut World, at: usize, lost: Members) -> Option<()> {
        let node = world.nodes[at].as_mut().filter(|node| node.asked.is_none())?;
        let Role::Primary(lead) = &mut node.role else { return None };
        lead.leaving = lost;
        lead.left_before = if lost.is_empty() { 0 } else { lead.told };
        lead.joining = None;
        Some(())
    }

    pub(super) fn ask_to_leave_out(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at]?;
        let Role::Primary(lead) = node.role else { return None };
        let rest = world.view_of(&node).in_sync.minus(lead.leaving);
        let ready = lead.has_majority(at, rest, lead.left_before);
        let may = !lead.leaving.is_empty() && (ready || self.planted(Plant::LeavesOutTooEarly));
        may.then_some(())?;
        world.ask(at, at, rest, self.epochs)
    }

    /// The primary's state as it is now; the log follows.
    pub(super) fn admit(&self, world: &mut World, at: usize, joining: usize) -> Option<()> {
        let primary = world.nodes[at].filter(|node| node.asked.is_none())?;
        let Role::Primary(lead) = primary.role else { return None };
        let free = lead.leaving.is_empty() && lead.joining.is_none();
        let is_new = !world.view_of(&primary).in_sync.has(joining);
        (free && is_new).then_some(())?;
        let node = world.nodes[joining].as_mut().filter(|node| node.role == Role::Out)?;
        node.role = Role::Backup {
            primary: at,
            log: lead.log,
            sealed: false,
            gathered: Members::default(),
            gained: false,
        };
        let empty = self.planted(Plant::CountsInTooEarly);
        node.state = if empty { Inputs::default() } else { primary.state };
        world.confirmations[joining] = Some((lead.log, node.state.len()));
        if let Some(Node { role: Role::Primary(lead), .. }) = &mut world.nodes[at] {
            lead.joining = Some(joining);
            lead.confirmed[joining] = 0;
        }
        Some(())
    }

    /// It is counted in when it has all that left.
    pub(super) fn ask_to_count_in(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at]?;
        let Role::Primary(Lead { joining: Some(joining), confirmed, told, .. }) = node.role else {
            return None;
        };
        let has_all = confirmed[joining] >= told || self.planted(Plant::CountsInTooEarly);
        has_all.then_some(())?;
        let in_sync = world.view_of(&node).in_sync;
        world.ask(at, at, in_sync.with(joining), self.epochs)
    }
}
