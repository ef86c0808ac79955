//! `net_tap`: an interface of our own making, the kernel at its other end.

use std::sync::atomic::{AtomicBool, Ordering};

use arrayvec::ArrayVec;
use dpdk::Mbuf;

use crate::isolate::{self, Player};
use crate::netns::{self, Namespace};
use crate::{echo, node};

#[test]
fn echoes_datagrams_of_the_kernel_and_gives_all_frames_back() {
    let test = "tap::echoes_datagrams_of_the_kernel_and_gives_all_frames_back";
    if !isolate::is_root() {
        return;
    }
    if isolate::role().is_none() {
        let namespace = Namespace::new("tap");
        return Player::start(test, "node", &namespace.exec()).succeed();
    }
    let mut node = node::node("tap", "hft0", 1500);
    let sizes = [1, 64, 500, 1472, 10, 1472];
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
        echo::talk("10.99.0.2:7", &sizes);
        stop.store(true, Ordering::Relaxed);
    });
    assert!(node.port.stats().unwrap().tx_packets >= sizes.len() as u64);
    drop((node.port, node.queues));
    assert_eq!(node.pool.in_use(), 0);
}

#[test]
fn a_frame_longer_than_the_mtu_does_not_block_those_behind_it() {
    if !isolate::is_root() {
        return;
    }
    let test = "tap::a_frame_longer_than_the_mtu_does_not_block_those_behind_it";
    if isolate::role().is_none() {
        let namespace = Namespace::new("tap");
        return Player::start(test, "node", &namespace.exec()).succeed();
    }
    let mut node = node::node("tap", "hft0", 1500);
    netns::run(&["ip", "link", "set", "hft0", "up"]);
    let mut frames = ArrayVec::<Mbuf, 3>::new();
    assert!(node.pool.allocate_burst(&mut frames));
    for (frame, len) in frames.iter_mut().zip([60, 1519, 1514]) {
        frame.append(len).unwrap().fill(0xff);
    }
    assert_eq!(node.queues.tx.transmit(&mut frames), 2);
    assert!(frames.is_empty());
    assert_eq!(node.queues.tx.counters().too_long, 1);
}
