//! Stewards that the test speaks through: it decides what each node is, and sees what that reports.

use std::sync::{Arc, Mutex};

use replication::{Directive, Path, PeerIndex, Report};
use worker::Steward;

use crate::steward::TestSteward;

/// Says what the test says.
#[derive(Clone, Debug)]
pub struct Told(Arc<Mutex<(Directive, Report)>>);

impl Told {
    pub fn new(directive: Directive) -> Told {
        Told(Arc::new(Mutex::new((directive, Report::default()))))
    }

    pub fn say(&self, directive: Directive) {
        self.0.lock().unwrap().0 = directive;
    }

    pub fn directive(&self) -> Directive {
        self.0.lock().unwrap().0
    }

    /// What the node reported last.
    pub fn report(&self) -> Report {
        self.0.lock().unwrap().1
    }
}

/// Who decides for a node.
#[derive(Clone, Debug)]
pub enum AnySteward {
    Own(TestSteward),
    Told(Told),
}

impl Steward for AnySteward {
    fn receive(&mut self, now_us: u64, path: Path, datagram: &[u8]) {
        if let AnySteward::Own(own) = self {
            own.receive(now_us, path, datagram);
        }
    }

    fn poll(
        &mut self,
        now_us: u64,
        report: &Report,
        emit: &mut impl FnMut(Path, PeerIndex, &[u8]),
    ) -> Directive {
        match self {
            AnySteward::Own(own) => own.poll(now_us, report, emit),
            AnySteward::Told(told) => {
                let mut told = told.0.lock().unwrap();
                told.1 = *report;
                told.0
            }
        }
    }

    fn next_deadline_us(&self) -> Option<u64> {
        match self {
            AnySteward::Own(own) => own.next_deadline_us(),
            AnySteward::Told(_) => None,
        }
    }
}
