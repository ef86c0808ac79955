//! The service LAN fails at one node, while its link lives.

use std::io::Write as _;
use std::process::Stdio;

use crate::lab::{Lab, count, let_flow, wait_for};
use crate::takeover::{paired, survives_in};

/// From when nodes have noticed the silence, a detection timeout after the fault, to the change.
const MOST_US: u64 = 3_000_000;

/// Directions of a node's port on the clients' bridge that carry nothing.
#[derive(Clone, Copy)]
struct Cut {
    from_node: bool,
    to_node: bool,
}

const BOTH: Cut = Cut { from_node: true, to_node: true };

fn nft(lab: &Lab, text: &str) {
    let mut nft = lab.client("nft");
    let mut child = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft starts");
    child.stdin.take().expect("its input").write_all(text.as_bytes()).expect("nft listens");
    assert!(child.wait().expect("nft ends").success(), "nft refuses:\n{text}");
}

fn cut(lab: &Lab, node: &str, Cut { from_node, to_node }: Cut) {
    let chain = |wanted: bool, hook: &str, interface: &str| match wanted {
        true => format!(
            "chain {hook} {{ type filter hook {hook} priority 0; {interface} lan-{node} drop; }}\n"
        ),
        false => String::new(),
    };
    let from = chain(from_node, "prerouting", "iifname");
    let to = chain(to_node, "postrouting", "oifname");
    nft(lab, &format!("table bridge holdfast_way {{\n{from}{to}}}\n"));
}

fn mend(lab: &Lab) {
    nft(lab, "delete table bridge holdfast_way\n");
}

/// What a node says of its end of the LAN.
fn lan(lab: &Lab, node: &str) -> String {
    lab.status()[node]["details"]["member"]["lan"].as_str().unwrap_or("unknown").to_owned()
}

fn epoch(lab: &Lab) -> u64 {
    count(&lab.status()["a"]["details"]["member"]["epoch"])
}

fn log(lab: &Lab, node: &str) -> String {
    let path = lab.www().with_file_name(format!("{node}.log"));
    std::fs::read_to_string(path).expect("the node's log")
}

/// When that happened first at a node, by its clock.
fn at_us(lab: &Lab, node: &str, event: &str) -> Option<u64> {
    let log = log(lab, node);
    let line = log.lines().find(|line| line.contains(event));
    line?.split("at_us=").nth(1)?.split(' ').next()?.parse().ok()
}

/// Cuts the primary's port, and waits for the other node to serve.
fn lose_the_primary(lab: &Lab, cut_off: Cut) {
    cut(lab, "a", cut_off);
    wait_for("b to serve", 10, || lab.primary() == "b");
    // Where one direction alone is cut, one node alone notices.
    let took_us = [("a", "handed_over"), ("b", "switched_over")]
        .into_iter()
        .find_map(|(node, end)| Some(at_us(lab, node, end)? - at_us(lab, node, "path_silent")?));
    let took_us = took_us.expect("one of the nodes logged both");
    assert!(took_us <= MOST_US, "it took {took_us} µs");
    wait_for("both to know of their LAN", 5, || {
        lan(lab, "a") == "silent" && lan(lab, "b") == "answers"
    });
}

fn moves_to_b(cut_off: Cut) {
    let lab = survives_in(
        Lab::up().patient(),
        &[],
        |lab| {
            lose_the_primary(lab, cut_off);
            let_flow(1000);
            assert!(paired(lab, "b"), "both hold the state all the while");
            mend(lab);
        },
        |lab| paired(lab, "b") && lan(lab, "a") == "untested",
    );
    assert_eq!(epoch(&lab), 2, "one change, and none back");
    for event in ["lan_lost", "leaves_lan", "handed_over", "lan_regained"] {
        assert!(log(&lab, "a").contains(event), "{event} is in the log of node a");
    }
    assert!(!log(&lab, "b").contains("took_over"), "nothing was taken");
}

#[test]
fn clients_survive_the_loss_of_the_primarys_lan() {
    moves_to_b(BOTH);
}

#[test]
fn clients_survive_a_lan_port_of_the_primary_that_carries_one_way_alone() {
    moves_to_b(Cut { to_node: false, ..BOTH });
    moves_to_b(Cut { from_node: false, ..BOTH });
}

#[test]
fn nothing_moves_when_the_backup_loses_its_lan() {
    let lab = survives_in(
        Lab::up().patient(),
        &[],
        |lab| {
            cut(lab, "b", BOTH);
            wait_for("both to know of their LAN", 5, || {
                lan(lab, "b") == "silent" && lan(lab, "a") == "answers"
            });
            let_flow(2000);
            assert!(paired(lab, "a"), "the backup holds the state all the while");
            mend(lab);
        },
        |lab| paired(lab, "a") && lan(lab, "b") == "untested",
    );
    assert_eq!(epoch(&lab), 1);
    assert!(!log(&lab, "a").contains("switchover_began"));
}
