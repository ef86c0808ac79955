//! The link is not trusted: keys change under load, and whoever has none gets nowhere.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::lab::{DISCARD, ECHO, Lab, RATE, STREAM, holdfast_path, let_flow, wait_for};

const NODES: [&str; 2] = ["a", "b"];
const OLD: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const NEW: &str = "2222222222222222222222222222222222222222222222222222222222222222";

fn beside_www(lab: &Lab, name: &str) -> PathBuf {
    lab.www().with_file_name(name)
}

fn write_keys(lab: &Lab, node: &str, keys: &[&str]) {
    std::fs::write(beside_www(lab, &format!("{node}.keys")), keys.join("\n")).expect("key file");
}

fn names(lab: &Lab, node: &str) -> Value {
    serde_json::from_str(&lab.holdfast("keys", node, &["--json"])).expect("JSON")
}

fn counter(status: &Value, node: &str, part: &str, name: &str) -> u64 {
    status[node]["details"][part]["counters"][name].as_u64().expect("a counter")
}

#[test]
fn keys_rotate_under_load_and_nobody_pauses() {
    let lab = Lab::up().patient();
    NODES.iter().for_each(|node| write_keys(&lab, node, &[OLD]));
    lab.run(&["start"]);
    let stop = lab.scratch("stop");
    let stop_text = stop.to_str().expect("UTF-8");
    let until = ["--duration", "60", "--until-file", stop_text];
    let clients = [
        lab.probe(&[&["upload", "--target", DISCARD][..], &RATE, &until].concat()),
        lab.probe(&[&["download", "--target", STREAM, "--endless"][..], &RATE, &until].concat()),
        lab.probe(
            &[&["echo", "--target", ECHO, "-n", "20", "--interval", "5"][..], &until].concat(),
        ),
    ];
    let_flow(500);
    let first = names(&lab, "a")["node"][0].clone();
    for keys in [&[OLD, NEW][..], &[NEW, OLD], &[NEW]] {
        for node in NODES {
            write_keys(&lab, node, keys);
            lab.holdfast("keys", node, &["reload"]);
            wait_for("the peer to hear of it", 5, || {
                names(&lab, NODES[usize::from(node == "a")])["peers"][node]
                    == names(&lab, node)["node"]
            });
        }
        let_flow(300);
    }
    let status = lab.status();
    assert_ne!(names(&lab, "b")["node"][0], first, "the key is another one");
    for node in NODES {
        assert_eq!(status[node]["epoch"], 1, "no role changed");
        assert_eq!(status[node]["in_sync"], true);
        assert_eq!(counter(&status, node, "member", "unknown_key"), 0);
        assert_eq!(counter(&status, node, "link", "rejected_unknown_key"), 0);
        assert_eq!(counter(&status, node, "link", "rejected_unauthentic"), 0);
    }
    // A key that the peer does not have would part them; the node says so and goes on.
    write_keys(&lab, "a", &[OLD]);
    let socket = beside_www(&lab, "a.sock");
    let mut reload = Command::new(holdfast_path());
    let refused = reload.args(["keys", "reload", "-s"]).arg(socket).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("b does not have key"), "{words}");
    // And the pair still is one.
    lab.run(&["kill", "a"]);
    wait_for("b to serve", 10, || lab.status()["primary"] == "b");
    let_flow(500);
    std::fs::write(&stop, "").expect("the stop file");
    clients.into_iter().for_each(|client| drop(client.must_succeed()));
}

#[test]
fn node_with_another_key_gets_nowhere_and_is_counted() {
    let lab = Lab::up();
    write_keys(&lab, "a", &[OLD]);
    write_keys(&lab, "b", &[NEW]);
    lab.start_with(&[("LAB_NO_WAIT", "1"), ("LAB_LONE_START_MS", "2000")]);
    let reason = |node: &str| lab.status()[node]["reason"].as_str().unwrap_or("").to_owned();
    wait_for("both to hear a stranger", 20, || {
        NODES.iter().all(|node| reason(node).contains("key it does not have"))
    });
    let_flow(3_000);
    let status = lab.status();
    for node in NODES {
        assert_eq!(status[node]["role"], "starting", "neither serves beside the other");
        assert!(counter(&status, node, "member", "unknown_key") > 0);
    }
    // Once they share a key they pair, and no node was restarted.
    write_keys(&lab, "b", &[OLD]);
    lab.holdfast("keys", "b", &["reload"]);
    wait_for("the pair", 20, || NODES.iter().all(|node| lab.status()[node]["in_sync"] == true));
}
