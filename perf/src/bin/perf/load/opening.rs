//! Opening the connections that a run holds: spread over a time, and with so many handshakes under
//! way as the target's backlog bears.

use super::context::Context;
use super::driver::Plan;
use super::schedule::Schedule;
use super::transport::{Index, Transport};
use super::trouble::Trouble;

/// Connections begun in one go before the transport is polled again.
const AT_ONCE: u32 = 64;

/// The connections that have been begun and that are still to be.
#[derive(Debug)]
pub struct Opening {
    total: u32,
    begun: u32,
    /// Handshakes that may be under way.
    handshakes: u32,
    under_way: u32,
    schedule: Option<Schedule>,
}

impl Opening {
    /// Of connections 0 up to `total`, from `now_ns` on.
    pub fn new(now_ns: u64, total: u32, plan: Plan) -> Opening {
        let schedule = (plan.ramp_ns > 0)
            .then(|| Schedule::new(now_ns, f64::from(total) * 1e9 / plan.ramp_ns as f64));
        Opening { total, begun: 0, handshakes: plan.handshakes, under_way: 0, schedule }
    }

    /// Begins what is due. Returns when more is.
    pub fn due<T: Transport>(&mut self, context: &mut Context<T>) -> u64 {
        for _ in 0..AT_ONCE {
            if self.begun == self.total
                || self.under_way >= self.handshakes
                || context.exhausted.is_some()
            {
                return u64::MAX;
            }
            let due_ns = self.schedule.map_or(0, |schedule| schedule.due_ns(self.begun.into()));
            if due_ns > context.now_ns {
                return due_ns;
            }
            self.under_way += u32::from(context.open(self.begun));
            self.begun += 1;
        }
        context.now_ns
    }

    /// A handshake came to its end, good or bad.
    pub fn settled(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Whether every connection has been opened, or cannot be.
    pub fn is_done(&self) -> bool {
        self.begun == self.total && self.under_way == 0
    }

    /// Whether handshakes are under way.
    pub fn is_waiting(&self) -> bool {
        self.under_way > 0
    }

    /// Begins no more, and forgets the handshakes that are under way.
    pub fn abandon<T: Transport>(&mut self, context: &mut Context<T>) {
        let pending: Vec<Index> = (0..self.begun).filter(|i| context.is_pending(*i)).collect();
        for index in pending {
            context.abandon(index);
        }
        let missing = self.total - self.begun;
        context.tally.add_many(Trouble::NotOpened, missing.into(), None);
        (self.total, self.under_way) = (self.begun, 0);
    }
}
