//! The workers of a node, made together: they share rings and a board.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{Builder, JoinHandle};

use arrayvec::ArrayVec;
use crossbeam::channel::{Receiver, Sender};
use engine::addr::Addr;
use engine::wire::ethernet::Mac;
use engine::wire::ipv6;
use replication::{Link, MAX_LINKS, Path};
use rustix::thread::set_current_timer_slack;

use crate::board::Board;
use crate::clock::Clock;
use crate::config::{Ingress, NodeConfig, PortConfig};
use crate::events::{self, Events, Told};
use crate::ingress::{Local, MAX_OWN, MAX_VIPS};
use crate::links::LinkEnd;
use crate::nic::Nic;
use crate::poll::{Parts, Worker};
use crate::port::Port;
use crate::query::{self, Query};
use crate::spread::Spread;
use crate::steward::Steward;

/// Frames that wait for a card beside those that the gate may release at once.
const QUEUE_FRAMES: usize = 1024;

/// What the links are called, by their places.
const LINK_NAMES: [&str; MAX_LINKS] = ["link", "second link"];

/// One worker's shares of all ports.
#[derive(Debug)]
pub struct Shares<N> {
    /// Of the service LAN.
    pub lan: N,
    /// Of the replication links, in the order of [`NodeConfig::links`].
    pub links: ArrayVec<N, MAX_LINKS>,
}

/// A node's workers, and the control thread's ends of what they talk through.
#[derive(Debug)]
pub struct Crew<N: Nic, S: Steward> {
    /// Worker 0 is the lead.
    pub workers: Vec<Worker<N, S>>,
    /// Questions to each worker.
    pub queries: Vec<Sender<Query>>,
    /// What happened.
    pub events: Receiver<Told>,
}

/// Why no crew can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrewError {
    /// Nobody to work.
    #[error("{workers} workers were asked for, expected 1 to 1024: set `cores` to that many")]
    Workers {
        /// How many.
        workers: usize,
    },
    /// The log could not leave.
    #[error("the node has {links} replication links and not a share of each for every worker")]
    Links {
        /// How many.
        links: usize,
    },
    /// Nobody could receive.
    #[error("worker 0 has no queue of the {port}: give the first queue pair to the first worker")]
    NoQueue {
        /// Which port.
        port: &'static str,
    },
    /// More than the workers are built for.
    #[error("{vips} service addresses were given, expected 1 to {MAX_VIPS}")]
    Vips {
        /// How many.
        vips: usize,
    },
    /// Nobody could be asked for the way to its clients, or to another node.
    #[error(
        "{address} is of an IP version of which the node has no address on its {port}: add one"
    )]
    Version {
        /// The service address, or the other node's.
        address: Addr,
        /// Which port.
        port: &'static str,
    },
}

/// Makes a worker for each element of `shares`. The first workers must be those with queues.
///
/// # Errors
/// When the shares can't serve a node; see [`CrewError`].
pub fn crew<N: Nic, S: Steward>(
    node: NodeConfig,
    shares: Vec<Shares<N>>,
    steward: S,
) -> Result<Crew<N, S>, CrewError> {
    let workers = u16::try_from(shares.len()).unwrap_or(u16::MAX);
    if !(1..=1024).contains(&workers) {
        return Err(CrewError::Workers { workers: shares.len() });
    }
    let lan_queues = shares.iter().take_while(|share| share.lan.has_queues()).count();
    let links = node.links.len();
    if links == 0 || shares.iter().any(|share| share.links.len() != links) {
        return Err(CrewError::Links { links });
    }
    let queues_of =
        |link: usize| shares.iter().take_while(|share| share.links[link].has_queues()).count();
    let link_queues: ArrayVec<usize, MAX_LINKS> = (0..links).map(queues_of).collect();
    let vips: ArrayVec<_, MAX_VIPS> = node.shard.vips.iter().copied().take(MAX_VIPS).collect();
    if vips.len() != node.shard.vips.len() || vips.is_empty() {
        return Err(CrewError::Vips { vips: node.shard.vips.len() });
    }
    let on_lan = node.shard.vips.iter().chain(&node.lan.peers);
    check_versions(&node.lan, on_lan, "service LAN")?;
    for (net, name) in node.links.iter().zip(LINK_NAMES) {
        check_versions(net, &net.peers, name)?;
    }
    let node = Arc::new(node);
    let board = Arc::new(Board::new(workers, node.shard.shards));
    let (event_sender, events) = events::channel();
    let (query_senders, query_receivers): (Vec<_>, Vec<_>) =
        (0..workers).map(|_| query::channel()).unzip();
    let mut steward = Some(steward);
    let capacity = node.gate_packets() + QUEUE_FRAMES;
    let mut crew = Vec::with_capacity(shares.len());
    let meshes = Spread::mesh(shares.len());
    for (index, ((share, spread), queries)) in
        (0..workers).zip(shares.into_iter().zip(meshes).zip(query_receivers))
    {
        let relay = |queues: usize| index % u16::try_from(queues.max(1)).unwrap_or(1);
        if index == 0 && lan_queues == 0 {
            return Err(CrewError::NoQueue { port: "service LAN" });
        }
        let without = link_queues.iter().zip(LINK_NAMES).find(|(queues, _)| **queues == 0);
        if let Some((_, port)) = without {
            return Err(CrewError::NoQueue { port });
        }
        let lan_local = local(Path::Lan, share.lan.mac(), &node.lan, &node, vips.clone());
        let link_end = |((link, nic), net): ((Link, N), &PortConfig)| {
            let path = Path::Link(link);
            let local = local(path, nic.mac(), net, &node, ArrayVec::new());
            let relay = relay(link_queues[link.place()]);
            LinkEnd { port: Port::new(nic, path, net.clone(), relay, QUEUE_FRAMES), local }
        };
        let links = Link::ALL.into_iter().zip(share.links).zip(&node.links).map(link_end);
        let (links, lan) = (links.collect(), node.lan.clone());
        let service_mac = match node.ingress {
            Ingress::Switch => node.vmac,
            Ingress::Flood(_) => share.lan.mac(),
        };
        let mut lan_port = Port::new(share.lan, Path::Lan, lan, relay(lan_queues), capacity);
        lan_port.service_mac = service_mac;
        crew.push(Worker::new(Parts {
            index,
            steward: steward.take(),
            board: Arc::clone(&board),
            lan: lan_port,
            links,
            lan_local,
            spread,
            events: Events::new(index, event_sender.clone()),
            queries,
            node: Arc::clone(&node),
        }));
    }
    Ok(Crew { workers: crew, queries: query_senders, events })
}

fn check_versions<'a>(
    net: &PortConfig,
    addresses: impl IntoIterator<Item = &'a Addr>,
    port: &'static str,
) -> Result<(), CrewError> {
    let without = addresses.into_iter().find(|address| net.address_beside(**address).is_none());
    without.map_or(Ok(()), |address| Err(CrewError::Version { address: *address, port }))
}

fn local(
    path: Path,
    mac: Mac,
    net: &PortConfig,
    node: &NodeConfig,
    vips: ArrayVec<Addr, MAX_VIPS>,
) -> Local {
    let mut own: ArrayVec<_, MAX_OWN> = net.addresses.iter().map(|own| own.address).collect();
    let speaks_ipv6 = own.iter().any(|address| !address.is_ipv4());
    let link_local = speaks_ipv6.then(|| ipv6::link_local(mac));
    own.extend(link_local.map(Addr::from));
    let (vmac, peers, control_port) = (node.vmac, net.peers.clone(), node.control_port);
    Local { path, mac, vmac, own, link_local, peers, vips, control_port }
}

/// How much longer than asked for a worker's sleep may be, in nanoseconds.
const TIMER_SLACK_NS: u64 = 1000;

/// Runs a worker on a thread of its own, pinned to `core` if one is given, until `stop` is set.
/// `enter` runs on the thread first; what it returns is dropped there at the end, which is the
/// place for a registration with the driver.
///
/// # Errors
/// When the system has no thread to give.
pub fn spawn<N, S, C, G>(
    mut worker: Worker<N, S>,
    core: Option<usize>,
    mut clock: C,
    stop: Arc<AtomicBool>,
    enter: impl FnOnce() -> G + Send + 'static,
) -> io::Result<JoinHandle<Worker<N, S>>>
where
    N: Nic + Send + 'static,
    S: Steward + Send + 'static,
    C: Clock + Send + 'static,
{
    let name = format!("worker-{}", worker.index);
    Builder::new().name(name).spawn(move || {
        let _guard = enter();
        if let Some(id) = core {
            let pinned = core_affinity::set_for_current(core_affinity::CoreId { id });
            if !pinned {
                tracing::warn!(worker = worker.index, core = id, "cannot pin to this core");
            }
        }
        // The kernel may lengthen a sleep by 50 µs to save wake-ups; a packet would wait for it.
        if let Err(error) = set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NS)) {
            tracing::warn!(worker = worker.index, %error, "sleeps will be longer than asked for");
        }
        worker.run(&mut clock, &stop);
        worker
    })
}
