//! Changes of the register: asked for, awaited, carried out.
//!
//! A change that was asked for may come true at any time until its outcome is known, so until
//! then this node decides nothing else; it goes on as what it is. A change that was won is carried
//! out, even if what led to it has passed: every other node holds to it already.

use crate::events::{Event, Suspicion};
use crate::identity::{NodeId, NodeName};
use crate::register::{Assurance, Proposal, Register, View};
use crate::status::Handing;

use super::majority::Lost;
use super::{Act, Member, Partner, Partners, Phase, Serving};

/// A change whose outcome is not known yet.
#[derive(Debug)]
pub(super) struct Asked {
    next: View,
    pub intent: Intent,
    pub since_us: u64,
    /// Somebody was told that it takes long.
    reported: bool,
    /// The peer that this change leaves out is known to be off, as far as anybody can know.
    pub assured: bool,
}

/// Why the register is to change, and what follows when it has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Intent {
    StartAlone {
        /// A peer that is there, and with which no pair can be formed.
        beside: Option<NodeName>,
    },
    /// With these. Their log begins with the change.
    Form(Partners),
    TakeOver(Suspicion),
    Remove {
        lost: Lost,
    },
    /// Its log begins with the change.
    Admit(Partner),
    CountIn(Partner),
    /// Give the service to the partner, which holds the state or will when this node rests.
    HandOver(Partner),
    /// Serve on after all.
    TakeBack,
    /// Begin to give the service away, by snapshots.
    Yield(Partner),
    /// Stay primary beside another one of the same epoch.
    Outvote,
}

impl Intent {
    /// The peer is left out because it is not heard, which is no proof that it is not there.
    fn leaves_out_unheard(self) -> bool {
        match self {
            Intent::TakeOver(suspicion) => suspicion == Suspicion::AllPathsSilent,
            Intent::Remove { lost } => lost.has_unheard(),
            Intent::StartAlone { beside } => beside.is_none(),
            Intent::Form(_)
            | Intent::Admit(_)
            | Intent::CountIn(_)
            | Intent::HandOver(_)
            | Intent::TakeBack
            | Intent::Yield(_)
            | Intent::Outvote => false,
        }
    }

    pub fn in_words(self) -> &'static str {
        match self {
            Intent::StartAlone { .. } => "to serve alone",
            Intent::Form(_) => "to form a pair",
            Intent::TakeOver(_) => "to take over",
            Intent::Remove { .. } => "to remove a backup from the in-sync set",
            Intent::Admit(_) => "to admit a peer",
            Intent::CountIn(_) => "to count a peer as in sync",
            Intent::HandOver(_) | Intent::Yield(_) => "to hand the service over",
            Intent::TakeBack | Intent::Outvote => "to stay primary",
        }
    }
}

impl<R: Register> Member<R> {
    /// Asks for the view after the present one, with this node as primary and `others` in sync.
    pub(super) fn ask(&mut self, now_us: u64, others: &[NodeId], intent: Intent) {
        self.ask_for(now_us, self.register.view().next(self.me, others), intent);
    }

    /// Asks for `next`, which is the view after the present one.
    pub(super) fn ask_for(&mut self, now_us: u64, next: View, intent: Intent) {
        let assured = !intent.leaves_out_unheard();
        self.asked = Some(Asked { next, intent, since_us: now_us, reported: false, assured });
        self.pursue(now_us);
    }

    /// Looks whether the change that was asked for has an outcome, and acts on it.
    pub(super) fn pursue(&mut self, now_us: u64) {
        let Some(mut asked) = self.asked.take() else { return };
        if !asked.assured {
            match self.register.assure() {
                Assurance::Given => asked.assured = true,
                Assurance::Pending => {
                    self.tell_of_fence(now_us, &mut asked);
                    self.asked = Some(asked);
                    return;
                }
                Assurance::Failed => {
                    let peer = self.left_out(asked.intent);
                    self.events.push(now_us, Event::FenceFailed { peer });
                    self.unsettled = true;
                    return;
                }
            }
        }
        let expected = asked.next.epoch.previous();
        match self.register.compare_and_set(expected, &asked.next) {
            Proposal::Pending => {
                let for_us = now_us.saturating_sub(asked.since_us);
                if for_us > self.config.detection_ceiling_us && !asked.reported {
                    asked.reported = true;
                    let what = asked.intent.in_words();
                    self.events.push(now_us, Event::RegisterDelays { what, for_us });
                }
                self.asked = Some(asked);
            }
            // What stands instead decides.
            Proposal::Lost => {
                self.unsettled = true;
                if let Intent::Yield(partner) | Intent::HandOver(partner) = asked.intent {
                    self.note_failure(now_us, partner.id, "this node is not the primary any more");
                }
            }
            Proposal::Won => {
                self.note_view(now_us);
                self.carry_out(now_us, asked.intent);
            }
        }
    }

    fn tell_of_fence(&mut self, now_us: u64, asked: &mut Asked) {
        if !std::mem::replace(&mut asked.reported, true) {
            let (peer, what) = (self.left_out(asked.intent), asked.intent.in_words());
            self.events.push(now_us, Event::Fencing { peer, what });
        }
    }

    fn carry_out(&mut self, now_us: u64, intent: Intent) {
        let epoch = self.register.view().epoch;
        match intent {
            Intent::StartAlone { beside } => {
                self.enter(now_us, Phase::Primary(Serving::default()));
                self.events.push(now_us, Event::LoneStart { epoch, beside });
            }
            Intent::Form(partners) => {
                let begin = |partner| Partner { since_us: now_us, ..partner };
                self.enter(now_us, Phase::Forming(partners.iter().map(begin).collect()));
                for partner in partners.iter() {
                    self.events.push(now_us, Event::Forming { epoch, peer: partner.id.name });
                }
            }
            Intent::TakeOver(suspicion) => self.begin_takeover(now_us, suspicion),
            Intent::Remove { lost } => {
                self.end_parting();
                lost.iter().for_each(|(partner, why)| self.part_with(now_us, partner, why));
            }
            Intent::Admit(partner) => {
                let partner = Partner { since_us: now_us, ..partner };
                self.set_about(now_us, Act::Admitting { partner, closed: false });
                let peer = partner.id.name;
                self.events.push(now_us, Event::AdmissionBegan { epoch, peer });
            }
            Intent::CountIn(partner) => self.has_counted_in(now_us, partner),
            Intent::HandOver(partner) => self.hand_over(now_us, partner),
            Intent::TakeBack => self.set_about(now_us, Act::Nothing),
            Intent::Yield(partner) => self.begin_to_yield(now_us, partner, Handing::Snapshot),
            Intent::Outvote => self.enter(now_us, Phase::Primary(Serving::default())),
        }
    }

    /// A backup is not heard and may be primary by now: clients must not hear this node until
    /// the register has said that it is not.
    pub(super) fn may_be_replaced(&self, now_us: u64) -> bool {
        let replaceable = self.asked.as_ref().is_some_and(|asked| match asked.intent {
            Intent::Remove { lost } => lost.has_unheard(),
            // One that is heard says itself that it serves; until then clients' segments wait.
            Intent::HandOver(partner) => self.peer(partner.at).is_silent(now_us),
            _ => false,
        });
        self.register.is_binding() && replaceable
    }

    /// The register may have a view that was not there when this was called last.
    pub(super) fn note_view(&mut self, now_us: u64) {
        let epoch = self.register.view().epoch;
        if epoch != self.view_epoch {
            self.view_epoch = epoch;
            self.view_since_us = now_us;
            self.unsettled = true;
        }
    }

    /// A run that may hold the connections, as far as anybody can know: the register names it,
    /// and nothing proves that it has ended or dropped them.
    ///
    /// Only a sign of a peer that answers something that was sent after the view was known proves
    /// anything: a run that was heard before may be older than the one in the view.
    pub(super) fn possible_holder(&self) -> Option<NodeId> {
        let own = |node: &NodeId| node.name == self.me.name;
        self.register.view().in_sync.iter().copied().find(|node| !own(node) && !self.is_over(node))
    }

    /// What that run of another node held is proven to be gone.
    pub(super) fn is_over(&self, node: &NodeId) -> bool {
        let says_so = self.peer_of(*node).is_some_and(|peer| {
            let gave_up = peer
                .heartbeat()
                .is_some_and(|said| said.condition.holds_nothing() && !said.pending);
            let is_fresh = peer.echo_sent_us() >= self.view_since_us;
            is_fresh && (peer.has_ended(*node) || gave_up)
        });
        self.assumed_ended.contains(&node.incarnation) || says_so
    }

    /// Whom the change leaves out, since it is not heard.
    fn left_out(&self, intent: Intent) -> NodeName {
        let primary = self.register.view().primary_name();
        match intent {
            Intent::Remove { lost } => lost.first().unwrap_or(self.me.name),
            Intent::TakeOver(_) => primary.unwrap_or(self.me.name),
            _ => self.peers.first().map_or(self.me.name, |peer| peer.name),
        }
    }

    /// A primary is about something else from now on.
    pub(super) fn set_about(&mut self, now_us: u64, act: Act) {
        if let Phase::Primary(serving) = self.phase {
            self.enter(now_us, Phase::Primary(Serving { act, ..serving }));
        }
    }
}
