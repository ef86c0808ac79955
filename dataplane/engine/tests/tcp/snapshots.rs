//! A shard that is saved and restored has equal bytes and an equal future.

use std::sync::Arc;

use engine::config::Config;
use engine::shard::{Restoring, Shard};
use proptest::prelude::*;

use crate::support::link::Quality;
use crate::support::pair::Pair;
use crate::support::peer::Peer;
use crate::support::{DISCARD, DISCARD_INDEX, ECHO, STREAM, STREAM_N, config, content};

fn small() -> Config {
    Config { pool_blocks: 256, tx_segments: 256, max_connections: 12, ..config() }
}

fn saved(shard: &Shard) -> Vec<u8> {
    let mut bytes = Vec::new();
    shard.save(&mut bytes);
    bytes
}

/// In portions of `most` connections.
fn restored(config: Config, bytes: &[u8], most: u32) -> Shard {
    let begun = Restoring::begin(Arc::new(config), content(), bytes);
    let mut shard = begun.expect("it was saved");
    while shard.advance(bytes, most).expect("it was saved") {}
    shard.finish(bytes).expect("it was saved")
}

fn busy(seed: u64) -> Pair {
    let quality = Quality {
        delay_us: 2_000,
        loss_permille: 30,
        reorder_permille: 50,
        duplicate_permille: 20,
    };
    let mut pair = Pair::new(small(), quality, seed);
    for _ in 0..3 {
        pair.connect(STREAM, DISCARD_INDEX);
        pair.connect(DISCARD, 2);
        pair.connect(ECHO, 2);
        pair.connect(STREAM_N, 2);
    }
    pair
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn restored_shard_equals_the_saved_one_now_and_later(seed: u64, at_us in 0_u64..1_500_000, most in 1_u32..5) {
        let mut pair = busy(seed);
        pair.run(at_us);
        let bytes = saved(&pair.server);
        let copy = restored(small(), &bytes, most);
        prop_assert!(saved(&copy) == bytes, "equal bytes");
        // The copy goes on in the place of the original; a twin run keeps the original.
        let mut twin = busy(seed);
        twin.run(at_us);
        pair.server = copy;
        for _ in 0..20 {
            pair.run(20_000);
            twin.run(20_000);
            prop_assert_eq!(pair.server.digest(), twin.server.digest());
        }
        prop_assert!(saved(&pair.server) == saved(&twin.server), "equal future");
    }

    #[test]
    fn bytes_that_are_no_snapshot_are_refused_without_panic(
        seed: u64,
        cut in 0_usize..4000,
        at in 0_usize..4000,
        value: u8,
    ) {
        let mut pair = busy(seed);
        pair.run(60_000);
        let mut bytes = saved(&pair.server);
        let short = &bytes[..cut.min(bytes.len() - 1)];
        prop_assert!(Shard::restore(Arc::new(small()), content(), short).is_err());
        let at = at % bytes.len();
        bytes[at] = value;
        // Whether it is refused depends on the byte; if not, the shard runs on like any other.
        if let Ok(shard) = Shard::restore(Arc::new(small()), content(), &bytes) {
            pair.server = shard;
            for _ in 0..10 {
                pair.run(100_000);
                prop_assert_eq!(pair.server.check(), Ok(()));
            }
        }
    }
}

#[test]
fn timer_of_a_connection_that_is_not_there_is_refused() {
    let peer = Peer::established(small(), ECHO);
    let mut bytes = saved(&peer.shard);
    // A snapshot ends with the timers: id and tick.
    let last = bytes.len() - 12;
    let id = &mut bytes[last..last + 4];
    assert_eq!(id, 0_u32.to_le_bytes(), "the only connection has the only timer");
    id.copy_from_slice(&7_u32.to_le_bytes());
    assert!(Shard::restore(Arc::new(small()), content(), &bytes).is_err());
}

#[test]
fn snapshot_of_another_version_is_refused_in_words() {
    let mut bytes = saved(&busy(1).server);
    bytes[0] ^= 0xff;
    let error = Shard::restore(Arc::new(small()), content(), &bytes).expect_err("another version");
    assert!(error.to_string().contains("version"), "{error}");
}
