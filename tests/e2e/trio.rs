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

/// The node that serves, if just these nodes hold the same state and all of them know it.
fn primary_of(lab: &Lab, nodes: &[&str]) -> Option<String> {
    let status = lab.status();
    let primary = status["primary"].as_str()?;
    let set = status[primary]["details"]["member"]["in_sync"].as_array().expect("a list of names");
    let mut set: Vec<&str> = set.iter().filter_map(|name| name.as_str()).collect();
    set.sort_unstable();
    let agree = set == nodes && nodes.iter().all(|node| status[node]["in_sync"] == true);
    agree.then(|| primary.to_owned())
}

/// Waits until just these nodes hold the same state; the one that serves. A node that stands still
/// on a busy machine leaves, and each time it is admitted again after twice as long a pause.
fn until_in_sync(lab: &Lab, nodes: &[&str]) -> String {
    let mut primary = None;
    wait_for(&format!("{nodes:?} to be in sync"), 60, || {
        primary = primary_of(lab, nodes);
        primary.is_some()
    });
    primary.expect("it was waited for")
}

/// The third node.
fn beside(one: &str, other: &str) -> &'static str {
    NODES.into_iter().find(|node| *node != one && *node != other).expect("they are three")
}

/// No backup ever had another state than its primary's.
fn nobody_diverged(lab: &Lab) {
    let www = lab.www();
    for node in NODES {
        let log = std::fs::read_to_string(www.with_file_name(format!("{node}.log")));
        let log = log.expect("the node's log");
        for event in ["diverged", "log_refused", "two_primaries"] {
            assert!(!log.contains(&format!("\"{event}\"")), "{event} at node {node}");
        }
    }
}

/// The primary dies when `heir` has missed the last of its log, and `other`, which has it, is asleep
/// until `heir` had time to take over. Which of the two does is left to them.
fn crash_the_primary(lab: &Lab, primary: &str, heir: &str, other: &str) {
    let www = lab.www();
    let pid = |node: &str| {
        let file = www.with_file_name(format!("{node}.pid"));
        let text = std::fs::read_to_string(file).expect("the node runs");
        text.split(' ').next().expect("an id").to_owned()
    };
    let (dying, asleep) = (pid(primary), pid(other));
    let trouble = format!(
        "ip -n hf-w link set link-{heir} down
         kill -STOP {asleep}; kill -KILL {dying}; sleep 0.4
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
            let mut primary = lab.primary();
            let mut served = vec![primary.clone()];
            for heir in ["b", "c", "a"] {
                if primary == heir {
                    continue;
                }
                crash_the_primary(lab, &primary, heir, beside(heir, &primary));
                served.push(until_in_sync(lab, &all_but(&primary)));
                nobody_diverged(lab);
                lab.run(&["start", &primary]);
                primary = until_in_sync(lab, &NODES);
            }
            // Of two backups either may take over; one alone has to.
            for heir in NODES.into_iter().filter(|node| !served.iter().any(|done| done == node)) {
                let primary = lab.primary();
                let other = beside(heir, &primary);
                order(lab, other, "drain");
                lab.run(&["kill", &primary]);
                wait_for(&format!("{heir} to serve"), 10, || serving(lab, heir));
                order(lab, other, "undrain");
                lab.run(&["start", &primary]);
            }
        },
        |lab| primary_of(lab, &NODES).is_some(),
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
            until_in_sync(lab, &all_but(second));
            lab.run(&["start", second]);
            until_in_sync(lab, &NODES);
            lab.run(&["freeze", first]);
            until_in_sync(lab, &all_but(first));
            lab.run(&["thaw", first]);
            assert_eq!(until_in_sync(lab, &NODES), primary, "the service stayed");

            lab.run(&["switchover", "c"]);
            assert_eq!(until_in_sync(lab, &NODES), "c");
            order(lab, "a", "drain");
            until_in_sync(lab, &["b", "c"]);
            assert_eq!(standing(lab, "a"), "spare");
            order(lab, "a", "undrain");
        },
        |lab| primary_of(lab, &NODES).is_some_and(|primary| primary == "c"),
    );
    nobody_diverged(&lab);
}

/// Packets wait for one of two backups, so the node that takes over may lack what the other one has,
/// and waits for it.
#[test]
fn clients_survive_the_death_of_a_primary_that_waited_for_one_backup_of_two() {
    let lab = survives_in(
        Lab::up_with(&["--nodes", "3", "--commit", "quorum"]),
        &[],
        |lab| {
            let primary = until_in_sync(lab, &NODES);
            let [heir, other] = all_but(&primary).try_into().expect("two backups");
            // What the first backup says of the log gets lost: nobody waits for that.
            lab.run(&["loss", "link", "30", heir]);
            crash_the_primary(lab, &primary, heir, other);
            lab.run(&["loss", "link", "0", heir]);
            until_in_sync(lab, &all_but(&primary));
            nobody_diverged(lab);
            lab.run(&["start", &primary]);
        },
        |lab| primary_of(lab, &NODES).is_some(),
    );
    nobody_diverged(&lab);
}
