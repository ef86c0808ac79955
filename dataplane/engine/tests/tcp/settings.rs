//! Settings of a program's connections that change while they live.

use std::sync::Arc;

use engine::config::{Config, ServiceConfig, ServiceKind};
use engine::service::ByteStream;
use engine::shard::{ConnectionId, ReconfigureError, Shard};
use engine::time::Instant;

use super::support::{Recorder, client, config, parse, server, shard};

fn external(port: u16) -> ServiceConfig {
    ServiceConfig::new("program", port, ServiceKind::External)
}

fn program(services: Vec<ServiceConfig>) -> Config {
    Config { services, ..config() }
}

/// A program's shard and a peer that is a shard too, with one connection between them.
fn connected(ours: Config) -> (Shard, ConnectionId) {
    let (mut us, mut peer) = (shard(ours), shard(program(vec![external(80)])));
    let mut out = Recorder::default();
    let now = Instant::from_micros(1000);
    let id = us.connect(now, client(4000), server(80), 0, &mut out).expect("there is room");
    for _ in 0..2 {
        let mut back = Recorder::default();
        let sent = std::mem::take(&mut out.packets);
        let segments: Vec<_> = sent.iter().map(|packet| parse(packet)).collect();
        peer.step(now, &segments, &mut back);
        let segments: Vec<_> = back.packets.iter().map(|packet| parse(packet)).collect();
        us.step(now, &segments, &mut out);
    }
    (us, id)
}

#[test]
fn a_connection_takes_its_memory_along_to_other_settings() {
    let (mut us, id) = connected(program(vec![external(0)]));
    let mut nagle = external(0);
    nagle.nagle = true;
    let more = Arc::new(program(vec![external(0), nagle]));
    assert_eq!(us.reconfigure(more), Ok(()));
    us.stream(id).expect("it lives").write(&[1; 10_000]);
    let held = us.blocks_of(0);
    assert!(held > 0);
    assert!(us.assign(id, 1));
    assert_eq!((us.blocks_of(0), us.blocks_of(1)), (0, held));
    us.stream(id).expect("it lives").abort();
    us.flush(&mut Recorder::default());
    assert_eq!((us.blocks_of(1), us.connection_info(id)), (0, None));
    assert!(!us.assign(id, 0), "it is gone");
}

#[test]
fn a_configuration_that_does_not_fit_is_refused() {
    let mut us = shard(program(vec![external(0), external(9)]));
    let fewer = Arc::new(program(vec![external(0)]));
    assert_eq!(us.reconfigure(fewer), Err(ReconfigureError::ServiceGone(1)));
    let larger = Config { max_connections: 7, ..program(vec![external(0), external(9)]) };
    assert_eq!(us.reconfigure(Arc::new(larger)), Err(ReconfigureError::Memory));
    let twice = Arc::new(program(vec![external(9), external(9)]));
    assert!(matches!(us.reconfigure(twice), Err(ReconfigureError::Invalid(_))));
}

#[test]
fn the_user_timeout_ends_what_nobody_acknowledges() {
    let mut patient = external(0);
    patient.user_timeout_us = Some(3_000_000);
    let (mut us, id) = connected(program(vec![patient]));
    let mut out = Recorder::default();
    us.stream(id).expect("it lives").write(b"anybody?");
    us.flush(&mut out);
    let start = us.now();
    while let Some(deadline) = us.next_deadline()
        && us.connection_info(id).is_some()
    {
        us.step(deadline, &[], &mut out);
    }
    let waited_us = us.now().since_us(start);
    // The tail loss probe goes first, and starts the timer anew.
    assert!((3_000_000..3_300_000).contains(&waited_us), "{waited_us}");
    let last = out.packets.last().expect("something left");
    assert!(parse(last).flags.rst());
}
