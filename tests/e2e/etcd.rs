//! A register in etcd: it decides, and its absence disturbs nobody who serves.

use serde_json::Value;

use crate::lab::{Client, ECHO, Lab, let_flow, wait_for};

/// What the test does is about etcd, not about how soon a node notices.
const PATIENT: [(&str, &str); 1] = [("LAB_DETECTION_MS", "200")];

fn register(lab: &Lab, node: &str) -> Value {
    lab.status()[node]["details"]["register"].clone()
}

fn serving(lab: &Lab, node: &str) -> bool {
    lab.status()["primary"] == node
}

fn echo_until(lab: &Lab, stop: &str) -> Client {
    let how = ["echo", "--target", ECHO, "-n", "20", "--size", "64", "--interval", "10"];
    lab.probe(&[&how[..], &["--duration", "80", "--until-file", stop]].concat())
}

#[test]
fn etcd_lets_a_survivor_serve_and_its_absence_lets_nobody() {
    let lab = Lab::up_with(&["--register", "etcd"]);
    lab.start_with(&PATIENT);
    let stop = lab.scratch("stop");
    let client = echo_until(&lab, stop.to_str().expect("UTF-8"));
    let_flow(500);
    lab.run(&["kill", "a"]);
    wait_for("b to serve", 10, || lab.status()["b"]["gate"] == "open" && serving(&lab, "b"));
    lab.start_node("a", &PATIENT);
    wait_for("a to be in sync again", 20, || lab.status()["in_sync"] == true);
    let before = register(&lab, "b");
    assert_eq!((&before["kind"], &before["problem"]), (&"etcd".into(), &Value::Null));
    assert!(before["view"].as_str().expect("a view").contains("\"b\""), "{before}");

    lab.run(&["kill", "etcd"]);
    wait_for("the loss to be known", 10, || {
        ["a", "b"].iter().all(|node| register(&lab, node)["problem"].is_string())
    });
    assert!(lab.holdfast("status", "a", &[]).contains("NOTHING CAN CHANGE"));
    assert!(serving(&lab, "b") && lab.status()["in_sync"] == true, "a pair in sync needs no etcd");
    lab.run(&["kill", "b"]);
    wait_for("a to ask the register", 10, || {
        lab.status()["a"]["reason"].to_string().contains("to take over")
    });
    let_flow(1_000);
    assert_eq!(lab.status()["a"]["role"], "backup", "nobody decides without etcd");
    lab.run(&["start", "etcd"]);
    wait_for("a to serve", 10, || serving(&lab, "a"));
    assert_eq!(register(&lab, "a")["problem"], Value::Null);
    let_flow(500);
    std::fs::write(&stop, "").expect("the stop file");
    client.must_succeed();
}
