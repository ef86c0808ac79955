//! Makes a failing plan smaller: which faults, and which connections, does it need?

use crate::plan::Plan;
use crate::world::{Failure, World};

/// A plan that fails, with nothing in it that it fails without.
#[derive(Debug)]
pub struct Shrunk {
    /// The plan.
    pub plan: Plan,
    /// How it fails.
    pub failure: Failure,
    /// Worlds that were tried.
    pub tried: usize,
}

/// Shrinks `plan`, which fails with `failure`, in at most `budget` worlds (delta debugging).
#[must_use]
pub fn shrink(plan: Plan, failure: Failure, budget: usize) -> Shrunk {
    let mut shrunk = Shrunk { plan, failure, tried: 0 };
    // Later faults first: what comes after the failure never mattered.
    shrunk.drop_parts(
        budget,
        |plan| plan.faults.len(),
        |plan, from, to| {
            drop(plan.faults.drain(from..to));
        },
    );
    let jobs = |plan: &Plan| plan.hosts.iter().map(|host| host.jobs.len()).sum();
    shrunk.drop_parts(budget, jobs, |plan, from, to| {
        let mut number = 0;
        for host in &mut plan.hosts {
            host.jobs.retain(|_| {
                number += 1;
                !(from..to).contains(&(number - 1))
            });
        }
    });
    shrunk
}

impl Shrunk {
    /// Leaves out parts of a list, large ones first, as long as the plan still fails.
    fn drop_parts(
        &mut self,
        budget: usize,
        len: impl Fn(&Plan) -> usize,
        cut: impl Fn(&mut Plan, usize, usize),
    ) {
        let mut size = len(&self.plan);
        while size > 0 {
            let mut to = len(&self.plan);
            while to > 0 && self.tried < budget {
                let from = to.saturating_sub(size);
                let mut smaller = self.plan.clone();
                cut(&mut smaller, from, to);
                self.tried += 1;
                if let Some(failure) = World::new(smaller.clone(), false).run().failure {
                    self.plan = smaller;
                    self.failure = failure;
                }
                to = from;
            }
            size /= 2;
        }
    }
}
