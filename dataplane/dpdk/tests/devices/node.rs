//! EAL and a port by a profile, as a node opens them.

use dpdk::{Eal, EalConfig, Mempool, Port, PortConfig, QueuePair};
use hw_profiles::Profile;

pub struct Node {
    pub pool: Mempool,
    pub port: Port,
    pub queues: QueuePair,
    /// Those of further workers.
    pub more_queues: Vec<QueuePair>,
    pub eal: Eal,
}

pub fn eal(profile: &Profile) -> Eal {
    show_log();
    let prefix = format!("hf-t-{}", std::process::id());
    let config = EalConfig::from_profile(&profile.eal, &prefix, Vec::new());
    Eal::init(&config).unwrap_or_else(|error| panic!("{error}"))
}

/// With DPDK_TEST_LOG set, DPDK's log is shown.
fn show_log() {
    if std::env::var_os("DPDK_TEST_LOG").is_some() {
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).init();
    }
}

/// A port with one queue pair on `device`, by the profile of that name.
pub fn node(profile: &str, device: &str, mtu: u16) -> Node {
    node_of(profile, device, 1, mtu)
}

/// The same for this number of workers.
pub fn node_of(profile: &str, device: &str, workers: u16, mtu: u16) -> Node {
    let profile = hw_profiles::load(profile, None).unwrap();
    let eal = eal(&profile);
    let config = PortConfig::from_profile(&profile, 0, device, workers, mtu).unwrap();
    let pool = Mempool::new(&eal, "frames", &config.mempool(&profile).unwrap()).unwrap();
    let mut port = Port::open(&eal, &config, &pool).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(port.driver(), profile.device.driver);
    assert_eq!(port.mtu(), mtu);
    let mut queues = port.take_queues();
    assert!(port.take_queues().is_empty(), "queues are handed out once");
    assert_eq!(queues.len(), usize::from(workers));
    Node { pool, port, queues: queues.remove(0), more_queues: queues, eal }
}
