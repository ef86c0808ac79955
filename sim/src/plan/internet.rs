//! What lies between the clients and the cluster: IP versions, how long a packet may be, and
//! routers that mark.
//!
//! It is drawn when everything else is, and changes nothing of that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use engine::addr::Addr;
use replication::MAX_LINKS;

use super::{Fault, HostPlan, NODES, Plan, Register, Stack, Timed};
use crate::host::work::{Ending, Habits, Work};
use crate::net::{LineId, Place, Router, Way, Weather};
use crate::random::Random;
use crate::time::{MS, S};

/// The service LAN.
pub const LAN: u8 = 77;
/// The links.
pub const LINKS: [u8; MAX_LINKS] = [78, 80];
/// Last number of the service's addresses.
const VIP: u8 = 100;
/// What paths take that are narrower than Ethernet; IPv6 has none below 1280 bytes.
const MTUS: [u16; 5] = [1492, 1400, 1280, 1006, 576];
/// How many of these IPv6 can have.
const MTUS_IPV6: usize = 3;

/// A version of IP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    #[default]
    V4,
    V6,
}

impl Version {
    /// The address with this last number in one of our networks.
    #[must_use]
    pub fn address(self, net: u8, last: u8) -> IpAddr {
        match self {
            Version::V4 => Ipv4Addr::new(10, net, 0, last).into(),
            Version::V6 => {
                Ipv6Addr::new(0xfd00 | u16::from(net), 0, 0, 0, 0, 0, 0, last.into()).into()
            }
        }
    }

    /// The service's address.
    #[must_use]
    pub fn vip(self) -> IpAddr {
        self.address(LAN, VIP)
    }

    /// Length of the prefix of our networks.
    #[must_use]
    pub fn prefix_len(self) -> u8 {
        match self {
            Version::V4 => 24,
            Version::V6 => 64,
        }
    }
}

/// Whether `address` is one of the service's.
#[must_use]
pub fn is_vip(address: IpAddr) -> bool {
    [Version::V4, Version::V6].iter().any(|version| version.vip() == address)
}

pub(super) fn add(plan: &mut Plan, random: &mut Random) {
    versions(plan, random);
    for index in 0..plan.hosts.len() {
        let host = &mut plan.hosts[index];
        if random.permille(200) {
            host.mtu = narrow(random, host.version);
        }
        host.ecn = random.permille(500);
        let narrow = random.permille(250).then(|| path(random, host.version));
        let above = random.permille(400).then(|| random.between(2, 8));
        let narrowed = narrowed(index, host);
        for (id, weather) in plan.lines.iter_mut().filter(|line| line.0.0 == Place::Host(index)) {
            if let Some((mtu, router)) = narrow.filter(|_| narrowed.contains(id)) {
                *weather = Weather { mtu, router, ..*weather };
            }
            if let Some(part) = above {
                weather.mark_above_bytes = weather.queue_bytes / part;
            }
        }
    }
    faults(plan, random);
    if random.permille(8) {
        widen(plan, random);
    }
    if random.permille(80) {
        cluster_fault(plan, random);
    }
}

/// What of all this a world has, for the coverage table.
#[must_use]
pub fn features(plan: &Plan) -> Vec<&'static str> {
    use Version::{V4, V6};
    let machine = &plan.machines[0];
    let mut features = vec![match machine.lan[..] {
        [V4] => "IPv4 on the LAN",
        [V6] => "IPv6 on the LAN",
        _ => "both IP versions on the LAN",
    }];
    features.extend((machine.link == V6).then_some("IPv6 on the link"));
    features.extend((machine.links() == MAX_LINKS).then_some("a second link"));
    features.extend(plan.floods().then_some("a switch that floods"));
    features.push(match (plan.register, plan.machines.len()) {
        (Register::Pair, _) => "a register of the pair's own",
        (Register::Binding { .. }, 2) => "a register that binds, two nodes",
        (Register::Binding { .. }, 3) => "a register that binds, three nodes",
        (Register::Binding { .. }, _) => "a register that binds, four nodes",
    });
    features
        .extend(plan.machines[0].member.by_majority.then_some("packets that wait for a majority"));
    for host in &plan.hosts {
        features.push(match (host.stack, host.ecn) {
            (Stack::Foreign { .. }, false) => "client with smoltcp",
            (Stack::Foreign { .. }, true) => "client with smoltcp and ECN",
            (Stack::Own { .. }, false) => "client with our TCP",
            (Stack::Own { .. }, true) => "client with our TCP and ECN",
        });
        features.extend((host.mtu < machine.mtu).then_some("client with a smaller MTU"));
    }
    let to_clients = plan.lines.iter().filter(|((_, way), _)| *way == Way::In);
    for (_, weather) in to_clients.filter(|(_, weather)| weather.mtu < machine.mtu) {
        features.push(match weather.router {
            Router::Silent => "narrow path, a black hole",
            Router::Tells => "narrow path, with a router",
            Router::TellsNoMtu => "narrow path, with an old router",
        });
    }
    features
}

fn versions(plan: &mut Plan, random: &mut Random) {
    use Version::{V4, V6};
    // The first of them is that of the heartbeats on the LAN.
    let lan: &[Version] = random.pick(&[&[V4], &[V6], &[V6], &[V4, V6], &[V6, V4]]);
    let link = random.pick(&[V4, V4, V6]);
    for machine in &mut plan.machines {
        machine.lan = lan.to_vec();
        machine.link = link;
        let vips = lan.iter().map(|version| Addr::from(version.vip()));
        Arc::make_mut(&mut machine.shard).vips = vips.collect();
    }
    plan.hosts.iter_mut().for_each(|host| host.version = random.pick(lan));
}

fn faults(plan: &mut Plan, random: &mut Random) {
    let any_host = |random: &mut Random| random.below(plan.hosts.len() as u64) as usize;
    let mut faults = Vec::new();
    if random.permille(200) {
        let index = any_host(random);
        let host = &plan.hosts[index];
        let (mtu, router) = path(random, host.version);
        let for_ns = random.magnitude(10, 4000) * MS;
        faults.extend(narrowed(index, host).into_iter().map(|line| Fault::Narrow {
            line,
            mtu,
            router,
            for_ns,
        }));
    }
    if random.permille(200) {
        let line = (Place::Host(any_host(random)), random.pick(&[Way::Out, Way::In]));
        let permille = random.pick(&[1, 20, 200, 1000]);
        faults.push(Fault::Mark { line, permille, for_ns: random.magnitude(10, 4000) * MS });
    }
    let at_ns = random.below(plan.calm_ns);
    plan.faults.extend(faults.into_iter().map(|fault| Timed { at_ns, fault }));
    plan.faults.sort_by_key(|timed| timed.at_ns);
}

/// Long packets vanish for a while at a node, of clients or of the log.
fn cluster_fault(plan: &mut Plan, random: &mut Random) {
    let node = random.below(NODES as u64) as usize;
    let lines =
        [(Place::Link(node), Way::Out), (Place::Lan(node), Way::Out), (Place::Lan(node), Way::In)];
    let fault = Fault::Narrow {
        line: random.pick(&lines),
        mtu: random.pick(&MTUS),
        router: Router::Silent,
        for_ns: random.magnitude(10, 2000) * MS,
    };
    plan.faults.push(Timed { at_ns: random.below(plan.calm_ns), fault });
    plan.faults.sort_by_key(|timed| timed.at_ns);
}

/// A black hole that is mended, and a client that still has much to send when the stack tries
/// whether the path has got wider.
fn widen(plan: &mut Plan, random: &mut Random) {
    let index = random.below(plan.hosts.len() as u64) as usize;
    let host = &mut plan.hosts[index];
    let Some(job) = host.jobs.first_mut() else { return };
    job.start_ns = 0;
    job.work = Work::Echo { bytes: random.between(100_000, 400_000) };
    job.habits = Habits {
        chunk: u64::MAX,
        pause_ns: 0,
        read_pause_ns: 0,
        silence_ns: random.between(65, 75) * S,
        half_close_ns: None,
        ending: Ending::Orderly,
    };
    let (mtu, router) = (narrow(random, host.version), Router::Silent);
    let holes = narrowed(index, host).into_iter().map(|line| Fault::Narrow {
        line,
        mtu,
        router,
        for_ns: 20 * S,
    });
    plan.faults.splice(0..0, holes.map(|fault| Timed { at_ns: 0, fault }));
}

fn narrow(random: &mut Random, version: Version) -> u16 {
    match version {
        Version::V4 => random.pick(&MTUS),
        Version::V6 => random.pick(&MTUS[..MTUS_IPV6]),
    }
}

fn path(random: &mut Random, version: Version) -> (u16, Router) {
    let router = match random.below(5) {
        0 if version == Version::V4 => Router::TellsNoMtu,
        0..3 => Router::Tells,
        _ => Router::Silent,
    };
    (narrow(random, version), router)
}

/// The lines of a client that can be narrow. smoltcp heeds no router, so nothing is in its way.
fn narrowed(index: usize, host: &HostPlan) -> Vec<LineId> {
    let ways: &[Way] = match host.stack {
        Stack::Foreign { .. } => &[Way::In],
        Stack::Own { .. } => &[Way::In, Way::Out],
    };
    ways.iter().map(|way| (Place::Host(index), *way)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_the_internet_is_met() {
        let plans: Vec<Plan> = (0..200).map(Plan::new).collect();
        let lans: Vec<_> = plans.iter().map(|plan| plan.machines[0].lan.clone()).collect();
        for lan in [&[Version::V4][..], &[Version::V6], &[Version::V4, Version::V6]] {
            assert!(lans.iter().any(|met| met == lan), "{lan:?}");
        }
        let weathers: Vec<_> =
            plans.iter().flat_map(|plan| &plan.lines).map(|line| line.1).collect();
        for router in [Router::Silent, Router::Tells, Router::TellsNoMtu] {
            assert!(weathers.iter().any(|met| met.mtu < 1500 && met.router == router));
        }
        for plan in &plans {
            for (index, host) in plan.hosts.iter().enumerate() {
                let lines = plan.lines.iter().filter(|line| line.0.0 == Place::Host(index));
                let least = if host.version == Version::V6 { 1280 } else { 576 };
                assert!(host.mtu >= least && lines.clone().all(|line| line.1.mtu >= least));
                assert!(plan.machines[0].lan.contains(&host.version));
            }
        }
    }

    #[test]
    fn a_plain_world_is_the_same_without_it() {
        for seed in 0..50 {
            let (plain, plan) = (Plan::plain(seed), Plan::by_all(seed));
            let jobs =
                |plan: &Plan| plan.hosts.iter().map(|host| host.jobs.clone()).collect::<Vec<_>>();
            assert_eq!(jobs(&plain).len(), jobs(&plan).len());
            assert!(plain.faults.iter().all(|fault| plan.faults.contains(fault)));
            assert!(plain.hosts.iter().all(|host| host.version == Version::V4 && !host.ecn));
        }
    }
}
