//! `net_null`: frames without end, and a drain.

use arrayvec::ArrayVec;
use dpdk::{Mbuf, ThreadRegistration};

use crate::{isolate, node};

#[test]
fn a_million_frames_pass_through_a_small_pool() {
    isolate::alone("null::a_million_frames_pass_through_a_small_pool", || {
        let mut node = node::node("null", "", 1500);
        let pool = node.pool;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _registration = ThreadRegistration::new(&node.eal).unwrap();
                let mut frames = ArrayVec::<Mbuf, 32>::new();
                let mut passed = 0;
                while passed < 1_000_000 {
                    passed += node.queues.rx.receive(&mut frames);
                    while !frames.is_empty() {
                        node.queues.tx.transmit(&mut frames);
                    }
                }
            });
        });
        let stats = node.port.stats().unwrap();
        assert!(stats.tx_packets >= 1_000_000 && stats.rx_packets == stats.tx_packets);
        let names: Vec<_> = node.port.xstats().unwrap().into_iter().map(|(name, _)| name).collect();
        assert!(names.iter().any(|name| name == "rx_good_packets"), "{names:?}");
        assert_eq!(pool.in_use(), 0);
    });
}
