//! Three nodes without a witness: what one of them loses two others hold, and who comes back is
//! given the state again.

use std::process::Command;

use crate::lab::{Lab, wait_for};
use crate::switchover::order;
use crate::takeover::{serving, standing, survives_in};

const NODES: [&str; 3] = ["a", "b", "c"];

fn three_nodes() -> Lab {
    Lab::up_with(&["--nodes", "3"])
}

fn all_but<'a>(node: &str) -> Vec<&'a str> {
    NODES.into_iter().filter(|other| *other != node).collect()
}

/// Just these nodes hold the same state, and all of them know it.
fn in_sync(lab: &Lab, nodes: &[&str]) -> bool {
    let status = lab.status();
    let Some(primary) = status["primary"].as_str() else { return false };
    let set = status[primary]["details"]["member"]["in_sync"].as_array().expect("a list of names");
    let mut set: Vec<&str> = set.iter().filter_map(|name| name.as_str()).collect();
    set.sort_unstable();
    set == nodes && nodes.iter().all(|node| status[node]["in_sync"] == true)
}

fn wait_until_in_sync(lab: &Lab, nodes: &[&str]) {
    wait_for(&format!("{nodes:?} to be in sync"), 20, || in_sync(lab, nodes));
}

/// No backup ever had another state than its primary's.
fn nobody_diverged(lab: &Lab) {
    for node in NODES {
        let log = std::fs::read_to_string(lab.www().with_file_name(format!("{node}.log")));
        for event in ["diverged", "log_refused", "two_primaries"] {
            let happened = log.as_ref().is_ok_and(|log| log.contains(&format!("\"{event}\"")));
            assert!(!happened, "{event} at node {node}");
        }
    }
}

/// The primary dies when `heir` has missed the last of its log, and `other`, which has it, is asleep
/// until `heir` had time to take over. Which of the two does is left to them.
fn crash_the_primary(lab: &Lab, primary: &str, heir: &str, other: &str) {
    let pid = |node: &str| {
        let file = lab.www().with_file_name(format!("{node}.pid"));
        let text = std::fs::read_to_string(file).expect("the node runs");
        text.split(' ').next().expect("an id").to_owned()
    };
    let (dying, asleep) = (pid(primary), pid(other));
    let trouble = format!(
        "ip -n hf-w link set link-{heir} down
         kill -STOP {asleep}; kill -KILL {dying}; sleep 0.2
         kill -CONT {asleep}; ip -n hf-w link set link-{heir} up"
    );
    let done = Command::new("sh").args(["-c", &trouble]).status().expect("sh runs");
    assert!(done.success());
}

#[test]
fn clients_survive_the_death_of_every_primary() {
    let lab = survives_in(
        three_nodes(),
        &[],
        |lab| {
            let mut served = vec![lab.primary()];
            for heir in ["b", "c", "a"] {
                let primary = lab.primary();
                if primary == heir {
                    continue;
                }
                let other = all_but(heir).into_iter().find(|node| *node != primary).expect("one");
                crash_the_primary(lab, &primary, heir, other);
                wait_until_in_sync(lab, &all_but(&primary));
                served.push(lab.primary());
                nobody_diverged(lab);
                lab.run(&["start", &primary]);
                wait_until_in_sync(lab, &NODES);
            }
            // Of two backups either may take over; one alone has to.
            for heir in NODES.into_iter().filter(|node| !served.iter().any(|done| done == node)) {
                let primary = lab.primary();
                let other = all_but(heir).into_iter().find(|node| *node != primary).expect("one");
                order(lab, other, "drain");
                lab.run(&["kill", &primary]);
                wait_for(&format!("{heir} to serve"), 10, || serving(lab, heir));
                order(lab, other, "undrain");
                lab.run(&["start", &primary]);
            }
        },
        |lab| in_sync(lab, &NODES),
    );
    nobody_diverged(&lab);
}

#[test]
fn clients_survive_the_loss_of_either_backup_and_orders_of_an_operator() {
    let lab = survives_in(
        three_nodes(),
        &[],
        |lab| {
            let primary = lab.primary();
            let [first, second] = all_but(&primary).try_into().expect("two backups");
            lab.run(&["kill", second]);
            wait_until_in_sync(lab, &all_but(second));
            lab.run(&["start", second]);
            wait_until_in_sync(lab, &NODES);
            lab.run(&["freeze", first]);
            wait_until_in_sync(lab, &all_but(first));
            lab.run(&["thaw", first]);
            wait_until_in_sync(lab, &NODES);
            assert_eq!(lab.primary(), primary, "the service stayed");

            lab.run(&["switchover", "c"]);
            wait_until_in_sync(lab, &NODES);
            assert_eq!(lab.primary(), "c");
            order(lab, "a", "drain");
            wait_until_in_sync(lab, &["b", "c"]);
            assert_eq!(standing(lab, "a"), "spare");
            order(lab, "a", "undrain");
        },
        |lab| serving(lab, "c") && in_sync(lab, &NODES),
    );
    nobody_diverged(&lab);
}
