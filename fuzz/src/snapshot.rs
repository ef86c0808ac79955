//! A snapshot with some of its bytes changed: it is refused, or what it becomes runs on like any
//! shard. First come the scenario and the number of changes, three bytes for each change (where,
//! and to what), and what happens after.

use std::sync::LazyLock;

use crate::engine::action::{Action, Kind};
use crate::engine::{World, actions};

/// Says that the bytes behind the first two are the snapshot itself.
const RAW: u8 = 0xff;
/// Changes at most.
const MAX_CHANGES: usize = 16;

pub fn run(input: &[u8]) {
    let [scenario, count, rest @ ..] = input else { return };
    let mut happens: &[u8] = &[];
    let (variant, bytes) = if *scenario == RAW {
        (*count, rest.to_vec())
    } else {
        let scenario = &SCENARIOS[usize::from(*scenario) % SCENARIOS.len()];
        let mut bytes = scenario.1.clone();
        let (changes, after) = rest
            .as_chunks::<3>()
            .0
            .split_at((usize::from(*count) % (MAX_CHANGES + 1)).min(rest.len() / 3));
        for [low, high, value] in changes {
            let place = usize::from(u16::from_le_bytes([*low, *high])) % bytes.len();
            bytes[place] = *value;
        }
        happens = after.as_flattened();
        (scenario.0, bytes)
    };
    let Some(mut world) = World::restored(variant, &bytes) else { return };
    actions(happens).for_each(|action| world.act(&action));
    world.settle();
}

/// Variants of the configuration, and snapshots of shards under them.
static SCENARIOS: LazyLock<Vec<(u8, Vec<u8>)>> = LazyLock::new(|| {
    let variants = [0, 0b1000, 0b111, 0b0001_0001, 0b0110_0000, 0b1000_0000];
    let busy = variants.map(|variant| (variant, busy(variant)));
    let kicked = [0, 0b1000_0000].map(|variant| (variant, kicked(variant)));
    busy.into_iter().chain(kicked).collect()
});

/// Connections to each service, with data both ways, holes, losses, and some that close.
pub fn story() -> Vec<Action> {
    let mut story = Vec::new();
    for who in 0..6 {
        story.push(Action { a: 0b1111, b: 7, d: 1460, ..Action::of(Kind::Syn, who) });
        story.push(Action::of(Kind::Acknowledge, who));
    }
    story.push(Action { a: 0b11_1111, ..Action::of(Kind::Program, 0) });
    for who in 0..6 {
        story.push(Action { d: 300, ..Action::of(Kind::Data, who) });
        story.push(Action { b: 2, a: 0x10, d: 400, ..Action::of(Kind::Segment, who) });
        story.push(Action { a: 1, b: 90, d: 1440, ..Action::of(Kind::Acknowledge, who) });
    }
    story.push(Action { a: 2, d: 30, ..Action::of(Kind::Wait, 0) });
    story.push(Action { a: 1, ..Action::of(Kind::Close, 1) });
    story.push(Action { a: 1, ..Action::of(Kind::Close, 2) });
    story.push(Action { c: 0, ..Action::of(Kind::Acknowledge, 0) });
    story
}

fn busy(variant: u8) -> Vec<u8> {
    told(variant).save()
}

fn kicked(variant: u8) -> Vec<u8> {
    let mut world = told(variant);
    world.act(&Action { a: 1, ..Action::of(Kind::Kick, 0) });
    world.save()
}

fn told(variant: u8) -> World {
    let mut world = World::new(variant);
    story().iter().for_each(|action| world.act(action));
    world
}
