//! Clients' machines.

mod ecn;
mod foreign;
mod neighbour;
mod own;
pub mod work;

use std::net::IpAddr;

use engine::tcp::State;
use engine::wire::ethernet::Mac;

use crate::plan::{HostPlan, JobPlan, LAN, Stack, Version};
use foreign::{ForeignHost, Manner};
use own::OwnHost;
use work::Job;

/// Where a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// On the LAN.
    pub mac: Mac,
    /// In the subnet of the service.
    pub ip: IpAddr,
}

impl Address {
    /// The address of the machine with this number.
    #[must_use]
    pub fn of(host: usize, version: Version) -> Address {
        let last = 10 + host as u8;
        Address { mac: Mac([2, 0, 0, 0, 9, last]), ip: version.address(LAN, last) }
    }
}

/// What a machine is made with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where it is.
    pub address: Address,
    /// Its IP version.
    pub version: Version,
    /// MTU of its card.
    pub mtu: u16,
    /// It asks for ECN.
    pub ecn: bool,
    /// For its initial sequence numbers.
    pub seed: u64,
}

impl Settings {
    /// The local port of a connection.
    #[must_use]
    pub fn port(&self, job: usize) -> u16 {
        40_000 + (self.seed % 1000) as u16 * 16 + job as u16
    }
}

/// A client's machine, with either stack.
pub enum Host {
    /// smoltcp.
    Foreign(Box<ForeignHost>),
    /// Our engine.
    Own(Box<OwnHost>),
}

macro_rules! either {
    ($host:expr, $inner:ident => $call:expr) => {
        match $host {
            Host::Foreign($inner) => $call,
            Host::Own($inner) => $call,
        }
    };
}

impl Host {
    /// The machine of a plan.
    #[must_use]
    pub fn new(index: usize, seed: u64, plan: &HostPlan) -> Host {
        let HostPlan { version, mtu, ecn, .. } = *plan;
        let settings = Settings { address: Address::of(index, version), version, mtu, ecn, seed };
        match plan.stack {
            Stack::Foreign { timestamps, buffer, delays_acks, congestion } => {
                let manner = Manner { timestamps, buffer, delays_acks, congestion };
                Host::Foreign(Box::new(ForeignHost::new(settings, manner)))
            }
            Stack::Own { buffer } => Host::Own(Box::new(OwnHost::new(settings, buffer))),
        }
    }

    /// Whether its TCP is our engine.
    #[must_use]
    pub fn is_own(&self) -> bool {
        matches!(self, Host::Own(_))
    }

    /// Opens a connection and begins its work.
    pub fn start(&mut self, now_ns: u64, plan: JobPlan) {
        either!(self, host => host.start(now_ns, plan));
    }

    /// A frame comes in.
    pub fn deliver(&mut self, frame: Vec<u8>) {
        either!(self, host => host.deliver(frame));
    }

    /// Lets time and frames work, and returns what the machine sends.
    pub fn poll(&mut self, now_ns: u64) -> Vec<Vec<u8>> {
        either!(self, host => host.poll(now_ns))
    }

    /// When it wants to be polled at the latest.
    pub fn next_ns(&mut self, now_ns: u64) -> Option<u64> {
        either!(self, host => host.next_ns(now_ns))
    }

    /// The connections' work.
    #[must_use]
    pub fn jobs(&self) -> Vec<&Job> {
        either!(self, host => host.jobs().collect())
    }

    /// The state of each connection, by the local port.
    #[must_use]
    pub fn states(&self) -> Vec<(u16, State)> {
        either!(self, host => host.states().collect())
    }

    /// What the machine still holds although all its connections are over; it is known of our own
    /// stack alone.
    #[must_use]
    pub fn leftover(&self) -> Option<String> {
        match self {
            Host::Foreign(_) => None,
            Host::Own(host) => host.leftover(),
        }
    }

    /// Where a connection stands.
    #[must_use]
    pub fn describe(&self, job: usize) -> String {
        either!(self, host => host.describe(job))
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.jobs()).finish()
    }
}
