//! Local addresses and ports for connections.

use std::collections::VecDeque;
use std::fmt;

use engine::addr::Endpoint;

use crate::ranges::{AddressRange, PortRange};

/// Hands out pairs of address and port, each to one user at a time. Those never used come first,
/// then those free for longest.
#[derive(Debug)]
pub struct LocalEnds {
    addresses: AddressRange,
    ports: PortRange,
    total: u32,
    /// Which of them is the first to be handed out.
    start: u32,
    fresh: u32,
    free: VecDeque<u32>,
}

impl LocalEnds {
    /// At most 2^32 - 1 pairs are used.
    pub fn new(addresses: AddressRange, ports: PortRange) -> LocalEnds {
        let total = addresses.count().saturating_mul(ports.count());
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        LocalEnds { addresses, ports, total, start: 0, fresh: 0, free: VecDeque::new() }
    }

    /// Begins with any of them, by chance. A run that begins where an earlier one broke off would
    /// meet its connections, and lose a second for each.
    pub fn starting_at(self, chance: u32) -> LocalEnds {
        LocalEnds { start: chance % self.total, ..self }
    }

    /// How many pairs there are.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// A pair and its number; nothing when all are in use.
    pub fn take(&mut self) -> Option<(u32, Endpoint)> {
        let number = if self.fresh < self.total {
            self.fresh += 1;
            self.fresh - 1
        } else {
            self.free.pop_front()?
        };
        Some((number, self.at(number)))
    }

    /// Takes back what is free again.
    pub fn put_back(&mut self, number: u32) {
        self.free.push_back(number);
    }

    /// Neighbours in number are on different addresses, so that all of these are used evenly.
    fn at(&self, number: u32) -> Endpoint {
        let addresses = u32::try_from(self.addresses.count()).unwrap_or(u32::MAX);
        let place = (u64::from(number) + u64::from(self.start)) % u64::from(self.total);
        let number = u32::try_from(place).expect("it is below the total");
        let port = u32::from(self.ports.first) + number / addresses;
        let port = u16::try_from(port).expect("numbers end with the last port");
        Endpoint::new(self.addresses.at(number % addresses), port)
    }
}

impl fmt::Display for LocalEnds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ports {}: {} connections", self.addresses, self.ports, self.total)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_pair_is_handed_out_once_before_any_comes_again() {
        let (addresses, ports) = ("10.0.0.2-10.0.0.4", "65530-65535");
        let mut ends =
            LocalEnds::new(addresses.parse().unwrap(), ports.parse().unwrap()).starting_at(40);
        assert_eq!(ends.to_string(), "10.0.0.2-10.0.0.4, ports 65530-65535: 18 connections");
        let taken: Vec<_> = std::iter::from_fn(|| ends.take()).collect();
        let pairs: HashSet<_> = taken.iter().map(|(_, end)| *end).collect();
        assert_eq!((taken.len(), pairs.len()), (18, 18));
        ends.put_back(taken[7].0);
        ends.put_back(taken[3].0);
        assert_eq!((ends.take(), ends.take(), ends.take()), (Some(taken[7]), Some(taken[3]), None));
    }
}
