//! The link is not trusted: what it shows, what it may do, and keys that change.

use crossbeam::channel::Sender;
use replication::{KeyRing, SessionCounters};
use worker::Query;

use crate::client::Work;
use crate::network::{Place, Weather};
use crate::start_all;
use crate::world::{VIP, VMAC, World, mac};

fn sessions(world: &mut World, node: usize) -> SessionCounters {
    world.summaries(node)[0].sessions[0].counters
}

/// What the sender of `frame` would send a moment later, with one bit of its last bytes changed.
fn forged(frame: &[u8], bit: usize) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let at = frame.len() - 40 + bit / 8;
    frame[at] ^= 1 << (bit % 8);
    frame
}

#[test]
fn link_shows_nothing_of_what_clients_and_service_say() {
    let mut world = World::new(31, 2);
    start_all(&mut world);
    world.network.watch(&mac(1, 2).0);
    world.run_clients();
    let frames = world.network.watched();
    assert!(frames.len() > 500, "the log crossed the link: {} frames", frames.len());
    // What a segment of the first client has in its IPv4 header.
    let addresses = [&[10, 77, 0, 10][..], &VIP.octets()].concat();
    for frame in frames {
        assert!(!frame.windows(8).any(|bytes| bytes == addresses), "{frame:02x?}");
        assert!(!frame.windows(6).any(|bytes| bytes == VMAC.0));
    }
}

#[test]
fn keys_change_under_load_and_no_frame_is_sent_again() {
    let mut world = World::new(32, 2);
    start_all(&mut world);
    world.start(0, Work::Ask(40_000));
    // The backup opens its end a moment after the primary.
    world.run_for(5_000);
    let sent_again = |counters: SessionCounters| (counters.frames_retransmitted, counters.timeouts);
    let before = [0, 1].map(|node| sent_again(sessions(&mut world, node)));
    let ring = |secrets: &[&[u8]]| KeyRing::new("lab", secrets).unwrap();
    for keys in [ring(&[b"secret", b"new"]), ring(&[b"new", b"secret"]), ring(&[b"new"])] {
        for node in [0, 1] {
            world.run_for(5_000);
            let change = |done: Sender<()>| Query::Keys(keys.clone(), done);
            assert_eq!(world.question(node, change).len(), 1);
        }
    }
    assert!(!world.clients.iter().all(crate::Client::is_done), "it happened under load");
    world.run_clients();
    for node in [0, 1] {
        let counters = sessions(&mut world, node);
        assert_eq!(sent_again(counters), before[node], "node {node}");
        assert_eq!((counters.rejected_unknown_key, counters.rejected_unauthentic), (0, 0));
    }
    world.kill(0);
    world.run(1_000_000, |world| world.is_serving(1));
}

#[test]
fn recorded_and_forged_datagrams_are_counted_and_change_nothing() {
    let mut world = World::new(33, 1);
    world.network.watch(&mac(1, 2).0);
    start_all(&mut world);
    world.run_for(20_000);
    let recorded = world.network.watched();
    assert!(recorded.len() > 20);
    for (at, frame) in recorded.iter().enumerate() {
        world.inject(Place::Link(1), frame.clone());
        world.inject(Place::Link(1), forged(frame, at % 300));
        world.run_for(100);
    }
    world.weather(Weather { link_duplicate: 200, ..Weather::default() });
    world.run_clients();
    let counters = sessions(&mut world, 1);
    assert!(counters.rejected_replayed as usize > recorded.len() / 2, "{counters:?}");
    assert!(counters.rejected_unauthentic > 10, "{counters:?}");
}
