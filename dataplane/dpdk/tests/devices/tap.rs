//! `net_tap`: an interface of our own making, the kernel at its other end.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::isolate::{self, Player};
use crate::netns::{self, Namespace};
use crate::{echo, node};

#[test]
fn echoes_datagrams_of_the_kernel_and_gives_all_frames_back() {
    if !isolate::is_root() {
        return;
    }
    if isolate::role().is_none() {
        let namespace = Namespace::new("tap");
        let test = "tap::echoes_datagrams_of_the_kernel_and_gives_all_frames_back";
        return Player::start(test, "node", &namespace.exec()).succeed();
    }
    let mut node = node::node("tap", "hft0", 1500);
    for command in [
        "ip address add 10.99.0.1/24 dev hft0",
        "ip link set hft0 up",
        "ip neigh add 10.99.0.2 lladdr 02:00:00:00:00:02 dev hft0",
    ] {
        netns::run(&command.split(' ').collect::<Vec<_>>());
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| echo::serve(&node.eal, &mut node.queues, &stop));
        echo::talk("10.99.0.2:7", &[1, 64, 500, 1472, 10, 1472]);
        stop.store(true, Ordering::Relaxed);
    });
    assert!(node.port.stats().unwrap().tx_packets >= 6);
    drop((node.port, node.queues));
    assert_eq!(node.pool.in_use(), 0);
}
