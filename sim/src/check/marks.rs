//! Congestion marks on one connection (RFC 3168): who may be marked, and whether marks are echoed.

use super::segment::{Segment, flags};
use crate::coverage::Coverage;
use crate::wire::CE;

/// What is known of a connection's marks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    /// A SYN of the client has asked for ECN, and one of the service has agreed.
    asked: bool,
    agreed: bool,
    /// A node has received a mark.
    marked: bool,
    /// Numbers of a marked segment, of which no other copy has come. Who acknowledges it has seen
    /// the mark.
    unseen: Option<(u64, u64)>,
    /// The service echoes, and a node has heard that the client reacts.
    echoes: bool,
    answered: bool,
}

impl Marks {
    /// A node's card has received a segment of the client with these numbers, all of them for the
    /// first time (`fresh`) or not.
    pub fn client_heard(&mut self, segment: &Segment, numbers: (u64, u64), fresh: bool) {
        let both = segment.has(flags::ECE) && segment.has(flags::CWR);
        if segment.has(flags::SYN) {
            self.asked |= both;
        } else if !segment.payload.is_empty() {
            self.marked |= segment.ecn == CE;
            self.answered |= segment.has(flags::CWR);
            let again = |unseen: &(u64, u64)| numbers.0 < unseen.1 && unseen.0 < numbers.1;
            if segment.has(flags::CWR) || self.unseen.as_ref().is_some_and(again) {
                self.unseen = None;
            }
            if segment.ecn == CE && fresh && self.agreed && self.unseen.is_none() {
                self.unseen = Some(numbers);
            }
        }
    }

    /// A segment of the service leaves a node, with this ACK; all its data was `known` before or
    /// not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn service_spoke(
        &mut self,
        segment: &Segment,
        ack: u64,
        current: bool,
        known: bool,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let (echoes, reduced) = (segment.has(flags::ECE), segment.has(flags::CWR));
        let may_be_marked = segment.ecn != 0;
        // Section 6.1.1: a SYN may not be marked, and says yes with one flag of the two.
        if segment.has(flags::SYN) {
            self.agreed |= echoes;
            let right = !reduced && !may_be_marked && (self.asked || !echoes);
            return right.then_some(()).ok_or_else(|| "a wrong answer about ECN".to_owned());
        }
        if !self.agreed {
            let right = !echoes && !reduced && !may_be_marked;
            return right.then_some(()).ok_or_else(|| "ECN that was not agreed on".to_owned());
        }
        // Sections 6.1.4 and 6.1.5.
        if may_be_marked && (segment.payload.is_empty() || known) {
            return Err("a segment may be marked that says nothing new".to_owned());
        }
        if echoes && !self.marked {
            return Err("the echo of a mark that never came".to_owned());
        }
        // Section 6.1.3: until the sender has said that it reacts. A takeover changes nothing of
        // it.
        if current && !echoes && self.echoes && !self.answered {
            return Err("the echo of a mark ends before the client has reacted".to_owned());
        }
        if self.unseen.is_some_and(|(_, end)| ack >= end) {
            self.unseen = None;
            if current && !echoes {
                return Err(
                    "a marked segment is acknowledged without a word of the mark".to_owned()
                );
            }
        }
        if echoes && !self.echoes {
            coverage.count("service", "echo of a mark");
        }
        if reduced {
            coverage.count("service", "window reduced");
        }
        if current {
            self.answered &= echoes;
            self.echoes = echoes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ECT_0;

    fn segment(flags: u8, ecn: u8, len: usize) -> Segment {
        Segment { flags: flags | flags::ACK, ecn, payload: vec![1; len], ..Segment::default() }
    }

    fn says(marks: &mut Marks, segment: &Segment, known: bool) -> bool {
        marks
            .service_spoke(segment, u64::from(segment.ack), true, known, &mut Coverage::default())
            .is_ok()
    }

    /// The client has asked, the service has agreed.
    fn agreed() -> Marks {
        let mut marks = Marks::default();
        marks.client_heard(&segment(flags::SYN | flags::ECE | flags::CWR, 0, 0), (1, 10), true);
        assert!(says(&mut marks, &segment(flags::SYN | flags::ECE, 0, 0), false));
        marks
    }

    #[test]
    fn nobody_is_marked_who_has_not_agreed() {
        let mut marks = Marks::default();
        assert!(!says(&mut marks, &segment(flags::SYN | flags::ECE, 0, 0), false));
        let mut marks = Marks::default();
        for (flags, ecn) in [(flags::ECE, 0), (flags::CWR, 0), (0, ECT_0)] {
            assert!(!says(&mut marks, &segment(flags, ecn, 9), false));
        }
        assert!(says(&mut marks, &segment(0, 0, 9), false));
        assert!(!says(&mut agreed(), &segment(flags::SYN | flags::ECE, ECT_0, 0), false));
    }

    #[test]
    fn only_new_data_may_be_marked() {
        let mut marks = agreed();
        assert!(says(&mut marks, &segment(0, ECT_0, 9), false));
        assert!(!says(&mut marks, &segment(0, ECT_0, 9), true));
        assert!(!says(&mut marks, &segment(0, ECT_0, 0), false));
    }

    #[test]
    fn who_acknowledges_a_marked_segment_has_seen_the_mark() {
        let ack = |number: u32| Segment { ack: number, ..segment(0, 0, 0) };
        let mut marks = agreed();
        marks.client_heard(&segment(0, CE, 9), (1, 10), true);
        assert!(says(&mut marks, &ack(9), false));
        assert!(!says(&mut { marks }, &ack(10), false));
        marks.client_heard(&segment(0, 0, 9), (1, 10), false);
        assert!(says(&mut marks, &ack(10), false), "it may be the other copy that was taken");
    }

    #[test]
    fn a_mark_is_echoed_until_the_client_answers() {
        let mut marks = agreed();
        assert!(!says(&mut marks, &segment(flags::ECE, 0, 0), false), "of what?");
        marks.client_heard(&segment(0, CE, 9), (1, 10), true);
        assert!(says(&mut marks, &segment(flags::ECE, 0, 0), false));
        assert!(!says(&mut { marks }, &segment(0, 0, 0), false), "too soon");
        marks.client_heard(&segment(flags::CWR, 0, 9), (1, 10), true);
        assert!(says(&mut marks, &segment(0, 0, 0), false));
        marks.client_heard(&segment(0, CE, 9), (1, 10), true);
        assert!(says(&mut marks, &segment(flags::ECE, 0, 0), false));
        assert!(!says(&mut marks, &segment(0, 0, 0), false), "an answer counts once");
    }
}
