//! What the nodes' histograms tell of a pair, and of what is left of it.

use replication::{GateMode, Role};

use crate::client::Work;
use crate::world::World;

#[test]
fn packets_are_timed_through_the_gate_and_without_one() {
    let mut world = World::new(31, 1);
    world.start(0, Work::Echo(100_000));
    world.run_clients();

    let primary = world.latency(0);
    // Nearly all packets of an echo answer a segment; the others are delayed ACKs.
    let (way, gate) = (primary.rx_to_tx_ns.len(), primary.gate_ns.len());
    assert!(way <= gate && gate - way < gate / 4 && way > 50, "{way} of {gate} packets");
    let link_ns = primary.link_rtt_ns.min();
    assert!(link_ns > 0 && link_ns <= primary.gate_ns.min(), "{link_ns} ns");
    assert!(primary.gate_ns.min() <= primary.rx_to_tx_ns.min());

    let backup = world.latency(1);
    assert!(backup.rx_to_tx_ns.is_empty() && backup.gate_ns.is_empty());
    let (batches, polls) = (backup.batch_segments.len(), backup.poll_ns.len());
    assert!(batches > 0 && polls >= batches, "{batches} batches in {polls} polls");

    world.kill(0);
    world.run(1_000_000, |world| world.role(1) == Role::Primary(GateMode::Open));
    world.start(0, Work::Echo(100_000));
    world.run_clients();
    let alone = world.latency(1);
    assert!(alone.rx_to_tx_ns.len() > 50 && alone.gate_ns.is_empty(), "nobody to wait for");
}
