//! The control plane's member, on the lead worker's thread.

use controlplane::{Accepted, AnyRegister, Event, Member, MemberStatus, Order, OrderRefused};
use crossbeam::channel::{Receiver, Sender, bounded};
use replication::{Directive, KeyRing, Path, PeerIndex, Report};
use worker::Steward;

/// Events that wait for the log thread before the member keeps them itself.
const EVENTS: usize = 256;
/// Questions about the member that wait for an answer.
const QUESTIONS: usize = 16;

/// What the poll loop asks about the node's role: a [`Member`] with its ways to other threads.
/// Nothing here waits for anybody.
#[derive(Debug)]
pub struct MemberSteward {
    member: Member<AnyRegister>,
    events: Sender<(u64, Event)>,
    questions: Receiver<Question>,
}

/// What other threads want of the member, each with the channel for its answer.
#[derive(Debug)]
pub enum Question {
    /// How it stands.
    Status(Sender<MemberStatus>),
    /// Whether it follows an order.
    Order(Order, Sender<Result<Accepted, OrderRefused>>),
    /// Other keys, from now on.
    Keys(KeyRing, Sender<()>),
}

/// The other threads' ends of a [`MemberSteward`].
#[derive(Debug)]
pub struct StewardLines {
    /// What happened, with the node's time in microseconds.
    pub events: Receiver<(u64, Event)>,
    /// Takes what the member is asked.
    pub questions: Sender<Question>,
}

impl MemberSteward {
    /// Puts `member` to work.
    pub fn new(member: Member<AnyRegister>) -> (Self, StewardLines) {
        let (events, their_events) = bounded(EVENTS);
        let (their_questions, questions) = bounded(QUESTIONS);
        let lines = StewardLines { events: their_events, questions: their_questions };
        (Self { member, events, questions }, lines)
    }
}

impl Steward for MemberSteward {
    fn receive(&mut self, now_us: u64, path: Path, datagram: &[u8]) {
        // A refusal is counted by the member, which is all that an unwelcome datagram deserves.
        let _refused = self.member.receive(now_us, path, datagram);
    }

    fn poll(
        &mut self,
        now_us: u64,
        report: &Report,
        emit: &mut impl FnMut(Path, PeerIndex, &[u8]),
    ) -> Directive {
        while let Ok(question) = self.questions.try_recv() {
            // Who has gone meanwhile wants no answer.
            let _gone = match question {
                Question::Status(answer) => answer.try_send(self.member.status(now_us)).is_err(),
                Question::Order(order, answer) => {
                    answer.try_send(self.member.order(now_us, &order)).is_err()
                }
                Question::Keys(keys, answer) => {
                    self.member.change_keys(keys);
                    answer.try_send(()).is_err()
                }
            };
        }
        let directive = self.member.poll(now_us, report, emit);
        while !self.events.is_full()
            && let Some(event) = self.member.next_event()
        {
            // The log thread ends after this one: there is somebody to take it.
            let _ended = self.events.try_send(event);
        }
        directive
    }

    fn next_deadline_us(&self) -> Option<u64> {
        Some(self.member.next_deadline_us())
    }
}
