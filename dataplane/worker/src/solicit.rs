//! Whether this node's end of the service LAN works. While the control plane doubts it, the lead asks
//! neighbours there for an answer, in the node's own name: whoever answers has heard the node, and is
//! heard. Nothing is asked in normal operation.

use arrayvec::ArrayVec;
use engine::addr::Addr;
use replication::Solicited;

use crate::nic::Nic;
use crate::poll::Worker;
use crate::port::MOST_ASKED;
use crate::receive::LEAD;
use crate::spread::Parcel;
use crate::steward::Steward;

/// Time between two questions while no answer comes, for as long as that is news.
const HASTY_US: u64 = 10_000;
const HASTE_US: u64 = 1_000_000;
/// The same while answers come, or after none has come for that long: a LAN may be in doubt for days.
const CALM_US: u64 = 100_000;

/// What was asked, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Solicitor {
    /// Who was asked last.
    asked: ArrayVec<Addr, MOST_ASKED>,
    asked_us: u64,
    next_us: u64,
    /// Who answered last.
    answered_by: Option<Addr>,
    unanswered_since_us: Option<u64>,
}

impl Solicitor {
    /// Notes that `neighbours` are asked now, or one alone of them that has just answered; says
    /// whether it is that one.
    fn ask(&mut self, now_us: u64, neighbours: &ArrayVec<Addr, MOST_ASKED>) -> bool {
        let proven = self.answered_by.filter(|_| self.unanswered_since_us.is_none());
        let proven = proven.filter(|by| neighbours.contains(by));
        self.asked = proven.map_or_else(|| neighbours.clone(), |by| ArrayVec::from_iter([by]));
        self.asked_us = now_us;
        let since_us = self.unanswered_since_us.unwrap_or(now_us);
        self.unanswered_since_us = (!self.asked.is_empty()).then_some(since_us);
        let hasty = now_us.saturating_sub(since_us) < HASTE_US;
        self.next_us = now_us + if hasty { HASTY_US } else { CALM_US };
        proven.is_some()
    }

    /// An answer from somebody who was not asked proves nothing.
    fn answered(&mut self, by: Addr) {
        if self.asked.contains(&by) {
            self.answered_by = Some(by);
            self.unanswered_since_us = None;
            self.next_us = self.asked_us + CALM_US;
        }
    }

    pub fn report(&self) -> Solicited {
        Solicited {
            neighbours: self.asked.len() as u8,
            answered: self.answered_by.is_some(),
            unanswered_since_us: self.unanswered_since_us,
        }
    }

    /// When the next question is due, in microseconds.
    pub fn next_deadline_us(&self) -> u64 {
        self.next_us
    }
}

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Asks neighbours on the service LAN, if that is wanted and due. A silent node asks nobody.
    pub(crate) fn solicit(&mut self, now_us: u64) {
        if !self.directive.solicits || self.is_silent() || self.steward.is_none() {
            self.solicitor = None;
            return;
        }
        let solicitor = self.solicitor.get_or_insert_default();
        if now_us < solicitor.next_us {
            return;
        }
        let directly = solicitor.ask(now_us, &self.lan.worth_asking(now_us));
        for neighbour in &solicitor.asked {
            self.lan.solicit(*neighbour, directly, &mut self.counters);
        }
    }

    /// A neighbour on the service LAN has answered a question of this node.
    pub(crate) fn hear_answer(&mut self, by: Addr) {
        if self.steward.is_none() {
            // A full ring means a busy lead; the next answer will find room.
            let _ = self.spread.hand(LEAD, Parcel::Answered(by));
        } else if let Some(solicitor) = &mut self.solicitor {
            solicitor.answered(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: Addr = Addr::from_ipv4_octets([10, 77, 0, 254]);
    const CLIENT: Addr = Addr::from_ipv4_octets([10, 77, 0, 9]);

    fn both() -> ArrayVec<Addr, MOST_ASKED> {
        ArrayVec::from_iter([GATEWAY, CLIENT])
    }

    #[test]
    fn question_is_repeated_in_haste_for_a_while_and_then_calmly() {
        let mut solicitor = Solicitor::default();
        let times: Vec<u64> = (0..110)
            .map(|_| {
                let at_us = solicitor.next_deadline_us();
                solicitor.ask(at_us, &both());
                assert_eq!(solicitor.asked[..], [GATEWAY, CLIENT]);
                at_us
            })
            .collect();
        assert_eq!(times[..3], [0, 10_000, 20_000]);
        assert_eq!(times[108] - times[107], 100_000);
        let unanswered_since_us = Some(0);
        let expected = Solicited { neighbours: 2, answered: false, unanswered_since_us };
        assert_eq!(solicitor.report(), expected);
    }

    #[test]
    fn who_answered_is_asked_alone_until_it_does_not() {
        let mut solicitor = Solicitor::default();
        solicitor.ask(7_000, &both());
        solicitor.answered(CLIENT);
        assert_eq!(solicitor.next_deadline_us(), 107_000);
        assert_eq!(solicitor.report().unanswered_since_us, None);
        assert!(solicitor.ask(107_000, &both()));
        assert_eq!(solicitor.asked[..], [CLIENT]);
        assert!(!solicitor.ask(117_000, &both()));
        assert_eq!(solicitor.asked[..], [GATEWAY, CLIENT]);
        let unanswered_since_us = Some(107_000);
        let expected = Solicited { neighbours: 2, answered: true, unanswered_since_us };
        assert_eq!(solicitor.report(), expected);
    }

    #[test]
    fn answer_of_somebody_who_was_not_asked_proves_nothing() {
        let mut solicitor = Solicitor::default();
        solicitor.ask(0, &ArrayVec::from_iter([GATEWAY]));
        solicitor.answered(CLIENT);
        assert_eq!(solicitor.report().unanswered_since_us, Some(0));
        let nobody = Solicitor::default();
        let mut nobody = Solicitor { answered_by: Some(CLIENT), ..nobody };
        nobody.ask(0, &ArrayVec::new());
        assert_eq!(nobody.report().unanswered_since_us, None);
    }
}
