//! A node that loses its service LAN alone costs no connection, and a backup that does moves nothing.

use sim::coverage::Coverage;
use sim::plan::Plan;
use sim::world::World;

/// Worlds in which nothing fails but the LAN at that node, for seconds.
fn worlds(node: usize) -> impl Iterator<Item = (u64, Coverage)> {
    (0..12).map(move |seed| {
        let report = World::new(Plan::unplugged(seed, node), false).run();
        assert!(report.failure.is_none(), "seed {seed}: {:?}", report.failure);
        let coverage = report.coverage;
        for decision in ["took over: all paths silent", "backup removed: link silent"] {
            assert_eq!(coverage.get("decisions", decision), 0, "seed {seed}: {decision}");
        }
        (seed, coverage)
    })
}

#[test]
fn service_leaves_a_primary_that_has_lost_its_lan() {
    let moves: Vec<u64> =
        worlds(0).map(|(_, coverage)| coverage.get("decisions", "leaves lan")).collect();
    let moved = moves.iter().filter(|moves| **moves > 0).count();
    assert!(moved >= 8 && moves.iter().all(|moves| *moves <= 1), "{moves:?}");
}

#[test]
fn nothing_moves_when_a_backup_loses_its_lan() {
    let mut lost = 0;
    for (seed, coverage) in worlds(1) {
        assert_eq!(coverage.get("decisions", "switchover began"), 0, "seed {seed}");
        lost += coverage.get("decisions", "lan lost");
    }
    assert!(lost >= 8, "{lost}");
}
