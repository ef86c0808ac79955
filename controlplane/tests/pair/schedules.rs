//! Short schedules, dense with faults, over voters and over etcd: the many that a claim of safety needs.
//!
//! `PAIR_SCHEDULES=1000000 cargo test --release -p controlplane --test pair schedules` runs so many, on all
//! cores; `PAIR_BASE=n` says which seed is the first.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use controlplane::{MemberConfig, Order};
use replication::{GateMode, Role};

use crate::switchover::SWITCHOVER;
use crate::world::{Fault, Side, Tally, World};

/// What a test run has time for.
const FEW: u64 = 400;
/// One of so many ends with a recovery, which takes far longer than the faults.
const RECOVERIES: u64 = 200;
/// How late what the register's keepers say may be, unless a schedule has it otherwise.
const USUAL_LATEST_US: u64 = 40_000;
/// Seeds that found something, run first.
const REGRESSIONS: [u64; 2] = [
    // Was handed the service, by a run that took it back before it died, and served alone.
    519_000,
    // Was counted in and named primary without hearing of either, and served beside the old one.
    110_563,
];
const REGRESSIONS_OVER_ETCD: [u64; 1] = [
    // The same.
    11_521,
];
const SIDES: [Side; 2] = [Side::A, Side::B];

#[test]
fn dense_faults_break_no_promise() {
    run_many(World::with_witness, &REGRESSIONS);
}

#[test]
fn dense_faults_over_etcd_break_no_promise() {
    run_many(World::with_etcd, &REGRESSIONS_OVER_ETCD);
}

fn run_many(make: fn(u64) -> World, regressions: &[u64]) {
    for seed in regressions {
        run(make, *seed, 1);
    }
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (base, count) = match number("PAIR_SEED") {
        Some(seed) => (seed, 1),
        None => (number("PAIR_BASE").unwrap_or(0), number("PAIR_SCHEDULES").unwrap_or(FEW)),
    };
    let tally = run(make, base, count);
    println!("{count} schedules from seed {base}: {tally:?}");
    let rare = [tally.takeovers, tally.handovers, tally.rejoins, tally.fresh_starts];
    assert!(count < FEW || rare.iter().all(|times| *times > 0), "too little happens: {tally:?}");
}

/// The schedules of `count` seeds, on all cores. A failure ends all of them.
fn run(make: fn(u64) -> World, base: u64, count: u64) -> Tally {
    let next = AtomicU64::new(0);
    let sum = Mutex::new(Tally::default());
    let work = || {
        let mut own = Tally::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            let seed = base + number;
            let mut world = make(seed);
            let stop = || next.store(count, Ordering::Relaxed);
            crate::run_world(seed, &mut world, |world| schedule(seed, world), stop);
            own.add(&world.tally);
            if (number + 1).is_multiple_of(50_000) {
                eprintln!("{} schedules begun, the last with seed {seed}", number + 1);
            }
        }
        sum.lock().unwrap().add(&own);
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    sum.into_inner().unwrap()
}

fn schedule(seed: u64, world: &mut World) {
    // Quick to suspect and to begin, so that much is decided in little time.
    let heartbeat_us = world.random(2, 4) * 1_500;
    world.config = MemberConfig {
        heartbeat_us,
        detection_timeout_us: 4 * heartbeat_us,
        detection_ceiling_us: 8 * heartbeat_us,
        lone_start_us: 40 * heartbeat_us,
        ..MemberConfig::default()
    };
    world.step_us = 500;
    world.checks_overlap = false;
    world.drift_ppm = [0, 200, 50_000, 300_000][world.random(0, 3) as usize];
    begin(world);
    world.loss_percent = world.random(0, 4);
    let mut latest_us = USUAL_LATEST_US;
    if world.random(0, 1) == 0 {
        latest_us = world.random(5_000, 300_000);
        world.latest_us = latest_us;
    }
    let loss_percent = world.loss_percent * 3;
    world.keepers().lose(loss_percent, latest_us);
    // Most are short. Some faults show only after a time.
    let (faults, pauses_us) = match world.random(0, 7) {
        0 => (12, [300, 8_000, 60_000, 180_000]),
        _ => (8, [100, 2_000, 12_000, 60_000]),
    };
    for _ in 0..world.random(3, faults) {
        disturb(world);
        let most_us = pauses_us[world.random(0, 3) as usize];
        world.run_random_us(0, most_us);
        mend(world);
    }
    if seed.is_multiple_of(RECOVERIES) {
        recover(world);
    }
}

/// What the nodes are when the faults begin.
fn begin(world: &mut World) {
    let kind = world.random(0, 15);
    if kind == 0 {
        world.log_versions = [1, 2];
    }
    world.start(Side::A);
    world.run_random_us(0, 30_000);
    world.start(Side::B);
    match kind {
        0 => drop(world.run_until(1_500_000, |world| serves_alone(world, Side::A))),
        1 | 2 => world.run_random_us(0, 100_000),
        _ => assert!(world.run_until(1_500_000, is_pair), "they form a pair"),
    }
    // Somebody comes back.
    if (3..=7).contains(&kind) {
        let (dead, heir) =
            if world.random(0, 1) == 0 { (SIDES[0], SIDES[1]) } else { (SIDES[1], SIDES[0]) };
        world.run_random_us(0, 20_000);
        world.inflict(Fault::Crash(dead));
        world.run_until(500_000, |world| serves_alone(world, heir));
        world.start(dead);
        world.run_until(1_500_000, |world| world.role(dead) == Role::Joining);
    }
    world.run_random_us(0, 10_000);
}

fn disturb(world: &mut World) {
    let side = SIDES[world.random(0, 1) as usize];
    let (from, to) = (world.random(0, 2) as usize, world.random(0, 2) as usize);
    let length_us = world.random(1_000, 120_000);
    let a_to_b = world.random(0, 1) == 0;
    let b_to_a = !a_to_b || world.random(0, 2) > 0;
    match world.random(0, 25) {
        0 | 1 => world.inflict(Fault::Freeze(side, length_us)),
        2 => world.inflict(Fault::FreezeLoop(side, length_us)),
        3 => {
            let until_us = world.now_us + length_us;
            world.note(format!("voter {from} stands still"));
            world.keepers().stand_still(from, until_us);
        }
        4 => world.inflict(Fault::LinkDown { a_to_b, b_to_a }),
        5 => world.inflict(Fault::LanDown { a_to_b, b_to_a }),
        6 | 7 | 21 => {
            world.inflict(Fault::LinkDown { a_to_b, b_to_a });
            world.inflict(Fault::LanDown { a_to_b, b_to_a });
        }
        8 | 9 => {
            world.note(format!("voter {from} is cut off from {to}"));
            world.keepers().cut(from, to);
        }
        10 => {
            world.note(format!("voter {from} is cut off"));
            world.keepers().isolate(from);
        }
        11 => {
            world.note("the witness, or etcd, crashes");
            world.keepers().run_other(false);
        }
        12 | 13 => {
            world.note(format!("voter {from} dies in its next write"));
            world.keepers().tear_next_write(from);
        }
        14 | 20 => world.inflict(Fault::Jump(side, 10 * length_us)),
        15..=18 => world.order(side, SWITCHOVER),
        19 => world.order(side, [Order::Drain, Order::Undrain][usize::from(a_to_b)]),
        _ => world.inflict(Fault::Crash(side)),
    }
}

/// Some of what is broken works again.
fn mend(world: &mut World) {
    for side in SIDES {
        if !world.runs(side) && world.random(0, 2) > 0 {
            world.start(side);
        }
    }
    if !world.keepers().other_runs() && world.random(0, 1) == 0 {
        world.note("the witness, or etcd, starts");
        world.keepers().run_other(true);
    }
    match world.random(0, 15) {
        0..=2 => world.inflict(Fault::Heal),
        3 | 4 => world.keepers().heal(),
        5 => world.recover(),
        _ => {}
    }
}

fn recover(world: &mut World) {
    world.recover();
    world.latest_us = 0;
    world.loss_percent = 0;
    world.keepers().lose(0, USUAL_LATEST_US);
    world.run_us(500_000);
    SIDES.iter().for_each(|side| world.order(*side, Order::Undrain));
    let serves = |world: &World| {
        let is_primary =
            |side: &&Side| matches!(world.role(**side), Role::Primary(_)) && !world.silent(**side);
        SIDES.iter().filter(is_primary).count() == 1
    };
    assert!(world.run_until(10_000_000, serves), "somebody serves again");
}

fn is_pair(world: &World) -> bool {
    let paired = (Role::Primary(GateMode::Confirmed), Role::Backup);
    (world.role(Side::A), world.role(Side::B)) == paired
}

fn serves_alone(world: &World, side: Side) -> bool {
    world.runs(side) && world.role(side) == Role::Primary(GateMode::Open)
}
