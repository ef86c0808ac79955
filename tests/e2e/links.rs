//! Two replication links: the loss of one costs a log line, that of both what the loss of the only
//! one costs.

use serde_json::Value;

use crate::lab::{Lab, count, let_flow, wait_for};
use crate::takeover::{paired, serving, standing, survives_in};

/// What a node says of its peer.
fn peer(lab: &Lab, node: &str) -> Value {
    lab.status()[node]["details"]["member"]["peers"][0].clone()
}

/// Each node's part of the log takes this link.
fn both_take(lab: &Lab, link: u64) -> bool {
    ["a", "b"].iter().all(|node| count(&peer(lab, node)["active_link"]) == link)
}

/// Each node hears the other one on a link, or not.
fn both_hear(lab: &Lab, link: &str, heard: bool) -> bool {
    ["a", "b"].iter().all(|node| peer(lab, node)[link]["heard"] == heard)
}

fn lines_of(lab: &Lab, node: &str, what: &str) -> usize {
    let log = std::fs::read_to_string(lab.www().with_file_name(format!("{node}.log")));
    log.expect("the node's log")
        .lines()
        .filter(|line| line.contains(what) && !line.contains("own_stall"))
        .count()
}

fn changes(lab: &Lab, node: &str) -> u64 {
    count(&lab.status()[node]["details"]["member"]["counters"]["link_changes"])
}

/// Loses a link, and says what its loss costs: its log line.
fn lose(lab: &Lab, command: &str, key: &str, other: u64) {
    let before = ["a", "b"].map(|node| lines_of(lab, node, "WARN"));
    lab.run(&["loss", command, "100"]);
    wait_for("both to have left the link", 5, || {
        both_take(lab, other) && both_hear(lab, key, false)
    });
    let_flow(1000);
    for (node, before) in ["a", "b"].into_iter().zip(before) {
        assert_eq!(lines_of(lab, node, "WARN"), before + 1, "one line of node {node}");
    }
}

fn regain(lab: &Lab, command: &str, key: &str) {
    lab.run(&["loss", command, "0"]);
    wait_for("both to hear each other on the link", 5, || both_hear(lab, key, true));
}

/// Nobody has taken over, or left, since the pair formed.
fn nothing_happened(lab: &Lab) {
    assert!(paired(lab, "a"));
    for node in ["a", "b"] {
        let epoch = &lab.status()[node]["details"]["member"]["epoch"];
        assert_eq!(count(epoch), 1, "node {node}");
    }
}

#[test]
fn clients_notice_nothing_when_one_link_after_the_other_is_lost() {
    let lab = survives_in(
        Lab::up_with(&["--links", "2"]).patient(),
        &[],
        |lab| {
            assert!(both_take(lab, 1));
            lose(lab, "link", "link", 2);
            let_flow(500);
            regain(lab, "link", "link");
            lose(lab, "link2", "second_link", 1);
            let_flow(500);
            regain(lab, "link2", "second_link");
        },
        |lab| paired(lab, "a"),
    );
    nothing_happened(&lab);
    for node in ["a", "b"] {
        assert_eq!(changes(&lab, node), 2, "node {node}");
    }
    let [first, second] = ["link_tx_bytes", "second_link_tx_bytes"].map(|name| lab.counter(name));
    assert!(first > 1_000_000 && second > 1_000_000, "{first} and {second} bytes");
}

#[test]
fn clients_notice_nothing_when_a_link_carries_one_way_alone() {
    let lab = survives_in(
        Lab::up_with(&["--links", "2"]).patient(),
        &[],
        |lab| {
            lab.run(&["loss", "link", "100", "a"]);
            wait_for("a to leave the link", 5, || count(&peer(lab, "a")["active_link"]) == 2);
            let_flow(500);
            lab.run(&["loss", "link2", "100", "b"]);
            let_flow(1000);
            assert_eq!(count(&peer(lab, "b")["active_link"]), 1);
        },
        |lab| paired(lab, "a"),
    );
    nothing_happened(&lab);
}

#[test]
fn loss_of_both_links_makes_the_backup_a_spare_until_one_is_back() {
    survives_in(
        Lab::up_with(&["--links", "2"]).patient(),
        &[],
        |lab| {
            lab.run(&["loss", "link", "100"]);
            lab.run(&["loss", "link2", "100"]);
            wait_for("b to be spare", 10, || {
                let alone = lab.status()["a"]["in_sync"] == false;
                alone && serving(lab, "a") && standing(lab, "b") == "spare"
            });
            let_flow(500);
            lab.run(&["loss", "link2", "0"]);
        },
        |lab| paired(lab, "a") && both_take(lab, 2),
    );
}
