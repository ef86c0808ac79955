//! The control plane's member in its place on the lead worker, as the appliance has it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use controlplane::{AnyRegister, Event, Member, Order};
use replication::{Directive, Path, PeerIndex, Report};
use worker::Steward;

use super::fuse::{Fuse, Point};

/// What the world can see of a member.
#[derive(Clone, Debug)]
pub struct MemberView {
    /// What happened, with the node's time in microseconds.
    pub events: Rc<RefCell<Vec<(u64, Event)>>>,
    /// What it last told its workers.
    pub directive: Rc<Cell<Directive>>,
    /// What an operator wants of it.
    pub orders: Rc<RefCell<VecDeque<Order>>>,
}

/// A member, with a window for the world.
#[derive(Debug)]
pub struct MemberSteward {
    member: Member<AnyRegister>,
    view: MemberView,
    fuse: Rc<Fuse>,
}

impl MemberSteward {
    /// Puts `member` to work.
    #[must_use]
    pub fn new(member: Member<AnyRegister>, fuse: Rc<Fuse>) -> (MemberSteward, MemberView) {
        let directive = Rc::new(Cell::new(member.directive()));
        let view = MemberView { events: Rc::default(), directive, orders: Rc::default() };
        (MemberSteward { member, view: view.clone(), fuse }, view)
    }
}

impl Steward for MemberSteward {
    fn receive(&mut self, now_us: u64, path: Path, datagram: &[u8]) {
        // A refusal is counted by the member.
        let _refused = self.member.receive(now_us, path, datagram);
    }

    fn poll(
        &mut self,
        now_us: u64,
        report: &Report,
        emit: &mut impl FnMut(Path, PeerIndex, &[u8]),
    ) -> Directive {
        self.fuse.pass(Point::Consult);
        while let Some(order) = self.view.orders.borrow_mut().pop_front() {
            // One that makes no sense at the moment changes nothing.
            let _answer = self.member.order(now_us, &order);
        }
        let directive = self.member.poll(now_us, report, emit);
        if !self.fuse.dead() {
            let mut events = self.view.events.borrow_mut();
            events.extend(std::iter::from_fn(|| self.member.next_event()));
            self.view.directive.set(directive);
        }
        directive
    }

    fn next_deadline_us(&self) -> Option<u64> {
        Some(self.member.next_deadline_us())
    }
}
