//! Whole transfers between two shards, over good links and bad ones.

use engine::addr::Endpoint;
use engine::config::{Config, CongestionControl};

use crate::support::link::Quality;
use crate::support::pair::Pair;
use crate::support::{DISCARD, DISCARD_INDEX, STREAM, config};

const MB: u64 = 1 << 20;
/// Index of the service that pushes the endless pattern.
const STREAM_INDEX: u16 = 2;

/// Downloads at least `bytes` of the endless stream; returns the time it took.
fn download(pair: &mut Pair, bytes: u64, limit_us: u64) -> u64 {
    let start = pair.now_us;
    let local = pair.connect(STREAM, DISCARD_INDEX);
    let got = |pair: &Pair, local: Endpoint| pair.of_client(local).map_or(0, |info| info.bytes_in);
    let done = pair.run_until(limit_us, |pair| got(pair, local) >= bytes);
    let info = pair.of_server(local);
    assert!(done, "{} bytes in {limit_us} us: {info:?}", got(pair, local));
    pair.now_us - start
}

fn upload(pair: &mut Pair, bytes: u64, limit_us: u64) -> u64 {
    let start = pair.now_us;
    let local = pair.connect(DISCARD, STREAM_INDEX);
    let got = |pair: &Pair| pair.of_server(local).map_or(0, |info| info.bytes_in);
    let done = pair.run_until(limit_us, |pair| got(pair) >= bytes);
    let info = pair.of_client(local);
    assert!(done, "{} bytes in {limit_us} us: {info:?}", got(pair));
    pair.now_us - start
}

#[test]
fn download_over_a_good_link_never_retransmits() {
    let mut pair = Pair::new(config(), Quality::perfect(1000), 1);
    let us = download(&mut pair, MB, 2_000_000);
    assert_eq!(pair.server.counters().retransmissions, 0);
    assert!(us < 100_000, "{us} us for 1 MB with a round trip of 2 ms");
    assert!(pair.largest_step <= 256);
}

#[test]
fn upload_over_a_good_link_never_retransmits() {
    let mut pair = Pair::new(config(), Quality::perfect(1000), 1);
    let us = upload(&mut pair, MB, 2_000_000);
    assert_eq!(pair.client.counters().retransmissions, 0);
    assert!(us < 100_000, "{us} us for 1 MB with a round trip of 2 ms");
}

#[test]
fn megabyte_each_way_survives_five_percent_loss() {
    for seed in 0..8 {
        let mut pair = Pair::new(config(), Quality::lossy(5_000, 50), seed);
        let us = download(&mut pair, MB, 60_000_000);
        assert!(us < 20_000_000, "seed {seed}: {us} us");
        let mut pair = Pair::new(config(), Quality::lossy(5_000, 50), seed);
        upload(&mut pair, MB, 60_000_000);
    }
}

#[test]
fn reordering_and_duplication_cost_time_only() {
    for seed in 0..4 {
        let quality = Quality {
            delay_us: 2_000,
            loss_permille: 10,
            reorder_permille: 100,
            duplicate_permille: 50,
        };
        let mut pair = Pair::new(config(), quality, seed);
        download(&mut pair, MB, 60_000_000);
        upload(&mut pair, MB, 60_000_000);
    }
}

#[test]
fn every_set_of_options_and_controls_completes_under_loss() {
    for bits in 0..16_u32 {
        let mut config = config();
        config.tcp.sack = bits & 1 != 0;
        config.tcp.timestamps = bits & 2 != 0;
        config.tcp.window_scaling = bits & 4 != 0;
        let control =
            if bits & 8 != 0 { CongestionControl::NewReno } else { CongestionControl::Cubic };
        config.services.iter_mut().for_each(|service| service.congestion = control);
        let mut pair = Pair::new(config, Quality::lossy(3_000, 20), bits.into());
        download(&mut pair, MB / 4, 120_000_000);
        upload(&mut pair, MB / 4, 120_000_000);
    }
}

#[test]
fn ends_with_different_options_agree() {
    let mut plain = config();
    plain.tcp.sack = false;
    plain.tcp.timestamps = false;
    plain.tcp.window_scaling = false;
    let quality = Quality::lossy(3_000, 20);
    let mut pair = Pair::unlike(plain.clone(), config(), quality, 5);
    download(&mut pair, MB / 4, 120_000_000);
    let mut pair = Pair::unlike(config(), plain, quality, 6);
    download(&mut pair, MB / 4, 120_000_000);
}

#[test]
fn many_connections_share_a_shard() {
    let config = Config { tx_segments: 512, pool_blocks: 512, ..config() };
    let mut pair = Pair::new(config, Quality::lossy(1_000, 10), 7);
    let locals: Vec<Endpoint> = (0..20).map(|_| pair.connect(STREAM, DISCARD_INDEX)).collect();
    let done = pair.run_until(60_000_000, |pair| {
        locals.iter().all(|local| pair.of_client(*local).is_some_and(|i| i.bytes_in > MB / 8))
    });
    let progress: Vec<u64> =
        locals.iter().filter_map(|l| pair.of_client(*l)).map(|i| i.bytes_in).collect();
    assert!(done, "{progress:?} {:?}", pair.server.counters());
}
