//! The pair's register, with a way to make sure that a peer that is not heard is not there.

use replication::Epoch;
use tokio::sync::mpsc;

use super::{Assurance, Observation, PairRegister, Proposal, Register, View};

/// A [`PairRegister`] whose node can switch its peer off before it goes on without it.
#[derive(Debug)]
pub struct FencedRegister {
    pair: PairRegister,
    orders: mpsc::Sender<()>,
    outcomes: mpsc::Receiver<bool>,
    ordered: bool,
}

/// The other end of a [`FencedRegister`], for whoever switches peers off.
#[derive(Debug)]
pub struct FenceLines {
    /// An order for each time that the peer is to be switched off.
    pub orders: mpsc::Receiver<()>,
    /// Takes one outcome for each order: whether the peer is known to be off.
    pub outcomes: mpsc::Sender<bool>,
}

impl FencedRegister {
    #[must_use]
    pub fn new() -> (FencedRegister, FenceLines) {
        let (orders, their_orders) = mpsc::channel(1);
        let (their_outcomes, outcomes) = mpsc::channel(1);
        let pair = PairRegister::default();
        let register = FencedRegister { pair, orders, outcomes, ordered: false };
        (register, FenceLines { orders: their_orders, outcomes: their_outcomes })
    }
}

impl Register for FencedRegister {
    fn view(&self) -> &View {
        self.pair.view()
    }

    fn refresh(&mut self) -> bool {
        !self.outcomes.is_empty()
    }

    fn assure(&mut self) -> Assurance {
        if !self.ordered {
            // Nobody takes orders when the node is about to end.
            self.ordered = self.orders.try_send(()).is_ok();
            return Assurance::Pending;
        }
        match self.outcomes.try_recv() {
            Ok(is_off) => {
                self.ordered = false;
                if is_off { Assurance::Given } else { Assurance::Failed }
            }
            Err(_) => Assurance::Pending,
        }
    }

    fn compare_and_set(&mut self, expected: Epoch, next: &View) -> Proposal {
        self.pair.compare_and_set(expected, next)
    }

    fn observe(&mut self, peer: &View) -> Observation {
        self.pair.observe(peer)
    }

    fn yield_to(&mut self, winner: &View) {
        self.pair.yield_to(winner);
    }

    fn begin_anew(&mut self) {
        self.pair.begin_anew();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_has_one_outcome() {
        let (mut register, mut lines) = FencedRegister::new();
        for outcome in [false, true] {
            assert_eq!(register.assure(), Assurance::Pending);
            assert_eq!(register.assure(), Assurance::Pending);
            assert_eq!(lines.orders.try_recv(), Ok(()));
            assert!(lines.orders.try_recv().is_err() && !register.refresh());
            lines.outcomes.try_send(outcome).unwrap();
            assert!(register.refresh());
            let expected = if outcome { Assurance::Given } else { Assurance::Failed };
            assert_eq!(register.assure(), expected);
        }
    }
}
