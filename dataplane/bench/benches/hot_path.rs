//! The hot path under criterion: each unit of work on a shard, a worker, and a worker with its
//! backup. Only the measured node's time counts, the backup's and the clients' do not.
//!
//!     cargo bench -p bench --bench hot_path -- [FILTER]

#![allow(missing_docs, reason = "a program, not a library")]

use std::time::Duration;

use bench::{Clients, Engine, Log, Meter, Node, Serving, Work};
use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};

const CONNECTIONS: u32 = 64;
const SHARDS: u16 = 4;
const WORKS: [(Work, &str); 4] = [
    (Work::Upload, "received data segment"),
    (Work::Ack, "received ACK"),
    (Work::Rpc, "64 B request and response"),
    (Work::Connect, "connection set-up and close"),
];

fn hot_path(criterion: &mut Criterion) {
    for (work, name) in WORKS {
        let mut group = criterion.benchmark_group(name);
        measure(&mut group, "engine", work, &mut Engine::new(CONNECTIONS));
        measure(&mut group, "solo", work, &mut Serving::solo(CONNECTIONS, SHARDS));
        measure(&mut group, "pair", work, &mut Serving::pair(CONNECTIONS, SHARDS));
        group.finish();
    }
    let mut group = criterion.benchmark_group("replicated record");
    let mut log = Log::new(&bench::sealed());
    group.bench_function("sent", |bencher| {
        bencher.iter_custom(|units| timed(units, |m| log.run(units, m), Meter::node_time));
    });
    group.bench_function("received", |bencher| {
        bencher.iter_custom(|units| timed(units, |m| log.run(units, m), Meter::backup_time));
    });
    group.finish();
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, work: Work, node: &mut impl Node) {
    // An upload's segments of one connection come together.
    let connections = if work == Work::Upload { 1 } else { CONNECTIONS };
    let mut clients = Clients::new(work, connections, node);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|units| {
            timed(units, |meter| clients.run(units, node, meter), Meter::node_time)
        });
    });
}

/// The time of `units`, although a few more may have been done.
fn timed(
    units: u64,
    run: impl FnOnce(&mut Meter) -> u64,
    time: impl FnOnce(&Meter) -> Duration,
) -> Duration {
    let mut meter = Meter::running();
    let done = run(&mut meter);
    time(&meter).mul_f64(units as f64 / done as f64)
}

criterion_group!(benches, hot_path);
criterion_main!(benches);
