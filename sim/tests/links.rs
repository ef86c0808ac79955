//! The loss of one of two links is nobody's loss.

use sim::plan::Plan;
use sim::world::World;

#[test]
fn nobody_parts_when_one_of_two_links_fails_at_a_time() {
    let (mut changes, mut cuts) = (0, 0);
    for seed in 0..12 {
        let report = World::new(Plan::spared(seed), false).run();
        assert!(report.failure.is_none(), "seed {seed}: {:?}", report.failure);
        let coverage = report.coverage;
        for decision in ["link silent", "log unconfirmed", "all paths silent", "its run ended"] {
            let name = format!("backup removed: {decision}");
            assert_eq!(coverage.get("decisions", &name), 0, "seed {seed}: {name}");
        }
        assert_eq!(coverage.get("decisions", "took over: all paths silent"), 0, "seed {seed}");
        changes += coverage.get("workers count", "logs_moved");
        cuts += coverage.get("faults", "link cut one way");
    }
    assert!(changes > 0 && cuts > 5, "{cuts} cuts, {changes} changes of the link");
}
