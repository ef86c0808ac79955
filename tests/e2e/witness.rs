//! A register of three voters, and a fence: who may serve is decided before anybody does.

use std::os::unix::fs::PermissionsExt;

use crate::lab::{Client, ECHO, Lab, let_flow, wait_for};

fn standing(lab: &Lab, node: &str) -> String {
    lab.status()[node]["role"].as_str().unwrap_or("down").into()
}

fn serving(lab: &Lab, node: &str) -> bool {
    lab.status()["primary"] == node
}

/// Every byte of every connection is checked, from before the trouble to after it.
fn echo_until(lab: &Lab, stop: &str) -> Client {
    let how = ["echo", "--target", ECHO, "-n", "20", "--size", "64", "--interval", "10"];
    lab.probe(&[&how[..], &["--duration", "80", "--until-file", stop]].concat())
}

#[test]
fn witness_lets_a_survivor_serve_and_its_absence_lets_nobody() {
    let lab = Lab::up_with(&["--register", "raft"]);
    lab.run(&["start"]);
    let stop = lab.scratch("stop");
    let client = echo_until(&lab, stop.to_str().expect("UTF-8"));
    let_flow(500);
    lab.run(&["kill", "b"]);
    wait_for("a to serve alone", 10, || lab.status()["a"]["gate"] == "open" && serving(&lab, "a"));
    lab.run(&["start", "b"]);
    wait_for("b to be in sync again", 20, || lab.status()["in_sync"] == true);
    for node in ["b", "a"] {
        lab.run(&["switchover"]);
        wait_for("the service to go over", 10, || {
            serving(&lab, node) && lab.status()["in_sync"] == true
        });
    }
    // A pair that is in sync needs no witness, until one of the two is gone.
    lab.run(&["kill", "w"]);
    let_flow(500);
    assert!(serving(&lab, "a"));
    lab.run(&["kill", "a"]);
    wait_for("b to ask the register", 5, || {
        lab.status()["b"]["reason"].to_string().contains("to take over")
    });
    let_flow(1_000);
    assert_eq!(standing(&lab, "b"), "backup", "nobody decides without a majority");
    lab.run(&["start", "w"]);
    wait_for("b to serve", 10, || serving(&lab, "b"));
    let_flow(500);
    std::fs::write(&stop, "").expect("the stop file");
    client.must_succeed();
}

#[test]
fn register_survives_the_restart_of_all_its_voters() {
    let lab = Lab::up_with(&["--register", "raft"]);
    lab.run(&["start"]);
    let epoch = |lab: &Lab| lab.status()["a"]["epoch"].as_u64().expect("an epoch");
    let before = epoch(&lab);
    for voter in ["a", "b", "w"] {
        lab.run(&["kill", voter]);
    }
    lab.run(&["start"]);
    wait_for("the pair to be in sync", 10, || lab.status()["in_sync"] == true);
    assert!(epoch(&lab) > before, "it goes on from what it was");
}

#[test]
fn silent_primary_is_fenced_before_the_takeover() {
    let lab = Lab::up();
    let (fence, is_off) = (lab.scratch("fence"), lab.scratch("is-off"));
    let www = lab.www();
    let state = www.parent().expect("the lab's folder");
    // As slow as power switches are: whoever does not wait for it is seen to serve before.
    let script = format!(
        "#!/bin/sh\nread -r pid _ <{}/$HOLDFAST_FENCE_NODE.pid\nsleep 0.5\nkill -KILL \"$pid\"\n: >{}\n",
        state.display(),
        is_off.display()
    );
    std::fs::write(&fence, script).unwrap();
    std::fs::set_permissions(&fence, PermissionsExt::from_mode(0o755)).unwrap();
    let extra = format!("[register]\nfence = [\"{}\"]", fence.display());
    lab.start_with(&[("LAB_EXTRA", &extra)]);
    let stop = lab.scratch("stop");
    let client = echo_until(&lab, stop.to_str().expect("UTF-8"));
    let_flow(500);
    lab.run(&["freeze", "a"]);
    wait_for("b to serve", 10, || serving(&lab, "b"));
    assert!(is_off.exists(), "b has switched it off");
    let_flow(500);
    std::fs::write(&stop, "").expect("the stop file");
    client.must_succeed();
}
