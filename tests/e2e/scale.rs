//! Many connections at once.

use crate::lab::{ECHO, Lab, let_flow, wait_for};

const CONNECTIONS: u64 = 10_000;

#[test]
fn ten_thousand_idle_connections_are_alive_after_the_takeover() {
    let lab = Lab::with_pair();
    let stop = lab.scratch("stop");
    let count = CONNECTIONS.to_string();
    let client = lab.probe(&[
        "idle",
        "--target",
        ECHO,
        "-n",
        &count,
        "--until-file",
        stop.to_str().expect("UTF-8"),
    ]);
    wait_for("10,000 connections on both nodes", 60, || {
        let status = lab.status();
        ["a", "b"].iter().all(|node| status[node]["connections"].as_u64() >= Some(CONNECTIONS))
    });
    let bytes = lab.status()["a"]["memory"]["bytes_per_idle_connection"].as_u64();
    assert!(
        bytes.is_some_and(|bytes| bytes > 0 && bytes <= 1024),
        "{bytes:?} bytes per connection"
    );

    lab.run(&["kill", "a"]);
    wait_for("b to serve", 10, || lab.status()["primary"] == "b");
    let_flow(500);
    std::fs::write(&stop, "").expect("the stop file");
    client.must_succeed();
}
