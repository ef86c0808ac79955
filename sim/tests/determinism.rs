//! The same seed gives the same story, bit for bit.

use sim::plan::Plan;
use sim::world::World;

fn digest(seed: u64) -> u64 {
    World::new(Plan::new(seed), false).run().trace.digest()
}

#[test]
fn the_same_seed_tells_the_same_story_on_any_thread() {
    let mut digests: Vec<u64> = Vec::new();
    for seed in 0..6 {
        let first = digest(seed);
        let again = std::thread::spawn(move || digest(seed)).join().unwrap();
        assert_eq!(first, again, "seed {seed}");
        digests.push(first);
    }
    digests.dedup();
    assert_eq!(digests.len(), 6, "each seed has a story of its own");
}

#[test]
fn keeping_the_story_does_not_change_it() {
    let kept = World::new(Plan::new(3), true).run().trace;
    assert_eq!(kept.digest(), digest(3));
}
