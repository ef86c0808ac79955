//! The shard under a stream of packets, timers and actions of its program, beside a twin that gets
//! the same and throws its packets away, as a backup does. What must hold is asked after each step.

pub mod action;
mod peer;
pub mod setup;
mod world;

use arbitrary::{Arbitrary, Unstructured};

use action::Action;
pub use world::World;

/// Longer inputs only repeat themselves.
const MAX_ACTIONS: usize = 400;

pub fn run(input: &[u8]) {
    let Some((&variant, rest)) = input.split_first() else { return };
    let mut world = World::new(variant);
    actions(rest).for_each(|action| world.act(&action));
    world.settle();
}

/// The actions that `bytes` stand for.
pub fn actions(bytes: &[u8]) -> impl Iterator<Item = Action> {
    let mut input = Unstructured::new(bytes);
    std::iter::from_fn(move || {
        if input.is_empty() {
            return None;
        }
        Action::arbitrary(&mut input).ok()
    })
    .take(MAX_ACTIONS)
}
