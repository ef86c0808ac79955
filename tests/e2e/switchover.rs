//! An operator changes who serves; kernel clients must not notice.

use std::process::Command;

use serde_json::Value;

use crate::lab::{Lab, holdfast_path, wait_for};
use crate::takeover::{serving, standing, survives};

/// `holdfast COMMAND` at a node, waiting for what it orders.
pub fn order(lab: &Lab, node: &str, command: &str) {
    lab.holdfast(command, node, &["--wait=30"]);
}

fn in_sync(lab: &Lab) -> bool {
    lab.status()["in_sync"] == true
}

#[test]
fn clients_survive_switchovers_to_and_fro() {
    let lab = survives(
        &[],
        |lab| {
            for node in ["a", "b", "a"] {
                order(lab, node, "switchover");
                wait_for("the pair to be in sync", 10, || in_sync(lab));
            }
        },
        |lab| serving(lab, "b") && standing(lab, "a") == "backup",
    );
    let status: Value = serde_json::from_str(&lab.holdfast("status", "a", &["--json"])).unwrap();
    let last = &status["details"]["member"]["switchover"];
    assert_eq!((&last["attempt"], &last["by"]), (&2.into(), &"log".into()), "{last}");
    assert!(last["peer_serves_us"].as_u64() > last["began_us"].as_u64(), "{last}");
}

#[test]
fn a_drained_node_leaves_and_joins_again() {
    survives(
        &[],
        |lab| {
            order(lab, "a", "drain");
            wait_for("b to serve", 10, || serving(lab, "b") && standing(lab, "a") == "spare");
            order(lab, "a", "undrain");
        },
        |lab| serving(lab, "b") && in_sync(lab),
    );
}

#[test]
fn the_death_of_either_node_after_a_switchover_is_survived() {
    survives(
        &[],
        |lab| {
            order(lab, "a", "switchover");
            lab.run(&["kill", "b"]);
        },
        |lab| serving(lab, "a"),
    );
}

/// Node b runs a release that cannot follow a's log.
#[test]
fn connections_survive_an_upgrade_to_another_log() {
    let other = format!("{}-other-log", holdfast_path());
    assert!(std::path::Path::new(&other).exists(), "{other} is not there: scripts/test builds it");
    survives(
        &[],
        |lab| {
            order(lab, "b", "drain");
            lab.run(&["kill", "b"]);
            lab.start_node("b", &[("LAB_HOLDFAST", &other)]);
            wait_for("b to hear a", 10, || standing(lab, "b") == "spare");
            let verdict = lab.holdfast("upgrade-check", "a", &["--peer", "--json"]);
            assert!(verdict.contains("\"way\":\"snapshot\""), "{verdict}");
            wait_for("a to hear b", 10, || {
                let socket = lab.www().with_file_name("a.sock");
                let mut switchover = Command::new(holdfast_path());
                switchover.arg("switchover").arg("--wait").arg("-s").arg(socket);
                switchover.output().is_ok_and(|output| output.status.success())
            });
            assert!(serving(lab, "b"));
            lab.run(&["kill", "a"]);
            lab.start_node("a", &[("LAB_HOLDFAST", &other)]);
        },
        |lab| serving(lab, "b") && in_sync(lab),
    );
}
