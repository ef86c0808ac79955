//! How fast bulk goes over paths that lose: a table over loss and round trip, the same in every
//! run, so that a change to the congestion control or to the repair of losses can be judged.
//!
//! `cargo test -p engine --test tcp -- --nocapture goodput` prints it.

use engine::config::{Config, CongestionControl};

use crate::support::link::{Quality, Shape};
use crate::support::pair::Pair;
use crate::support::{DISCARD_INDEX, STREAM, config};

const ROUND_TRIPS_MS: [u64; 3] = [1, 20, 100];
const LOSSES_PERMILLE: [u64; 4] = [0, 1, 10, 50];
const RATE_BPS: u64 = 100_000_000;
const SECONDS: u64 = 12;
const SEEDS: u64 = 4;

/// Bottlenecks have a queue of one bandwidth-delay product, but of some packets at least.
fn shape(rtt_ms: u64) -> Shape {
    let queue_bytes = (RATE_BPS / 8 * rtt_ms / 1000).max(64 * 1024);
    Shape { rate_bps: RATE_BPS, queue_bytes, mark_bytes: None }
}

fn large_windows(control: CongestionControl) -> Config {
    let mut config = Config { pool_blocks: 16_384, ..config() };
    for service in &mut config.services {
        service.congestion = control;
        service.recv_buffer_bytes = 8 << 20;
    }
    config
}

/// Mbit/s of payload, and what the sender counted.
fn download(control: CongestionControl, rtt_ms: u64, loss_permille: u64, seed: u64) -> f64 {
    let quality = Quality::lossy(rtt_ms * 500, loss_permille);
    let mut pair = Pair::new(large_windows(control), quality, seed);
    pair.link.shape = Some(shape(rtt_ms));
    let local = pair.connect(STREAM, DISCARD_INDEX);
    pair.run(SECONDS * 1_000_000);
    let bytes = pair.of_client(local).map_or(0, |info| info.bytes_in);
    (bytes * 8) as f64 / (SECONDS * 1_000_000) as f64
}

fn mean(control: CongestionControl, rtt_ms: u64, loss_permille: u64) -> f64 {
    let seeds = if loss_permille == 0 { 1 } else { SEEDS };
    let sum: f64 = (1..=seeds).map(|seed| download(control, rtt_ms, loss_permille, seed)).sum();
    sum / seeds as f64
}

/// Mbit/s that must not be fallen short of, for each loss in each round trip's row.
fn floors(control: CongestionControl) -> [[f64; 4]; 3] {
    match control {
        CongestionControl::Cubic => {
            [[94.0, 94.0, 80.0, 27.5], [93.0, 23.5, 6.2, 2.25], [75.0, 11.5, 1.7, 0.58]]
        }
        CongestionControl::NewReno => {
            [[94.0, 94.0, 80.0, 33.0], [93.0, 21.5, 6.5, 2.4], [75.0, 7.0, 1.5, 0.56]]
        }
    }
}

#[test]
fn goodput_over_loss_and_round_trip_is_what_it_was() {
    let mut short = Vec::new();
    for control in [CongestionControl::Cubic, CongestionControl::NewReno] {
        println!("{control:?}, Mbit/s of {}:", RATE_BPS / 1_000_000);
        println!("| round trip | 0 % | 0.1 % | 1 % | 5 % |\n|---:|---:|---:|---:|---:|");
        for (rtt_ms, floors) in ROUND_TRIPS_MS.into_iter().zip(floors(control)) {
            print!("| {rtt_ms} ms |");
            for (loss, floor) in LOSSES_PERMILLE.into_iter().zip(floors) {
                let mbps = mean(control, rtt_ms, loss);
                print!(" {mbps:.2} |");
                if mbps < floor {
                    short.push((control, rtt_ms, loss, mbps, floor));
                }
            }
            println!();
        }
    }
    assert!(short.is_empty(), "{short:?}");
}
