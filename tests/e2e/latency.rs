//! The histograms inside a node, read while kernel clients load the pair.

use std::process::Command;

use serde_json::Value;

use crate::lab::{ECHO, Lab, holdfast_path};

/// What one node answers to `holdfast status --latency`.
fn latency_of(lab: &Lab, node: &str, more: &[&str]) -> String {
    let socket = lab.www().with_file_name(format!("{node}.sock"));
    let output = Command::new(holdfast_path())
        .args(["status", "--latency", "-s"])
        .arg(socket)
        .args(more)
        .output()
        .expect("holdfast runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn histograms_of(lab: &Lab, node: &str, more: &[&str]) -> Value {
    let text = latency_of(lab, node, &[&["--json"], more].concat());
    serde_json::from_str(&text).expect("JSON")
}

#[track_caller]
fn assert_consistent(report: &Value, name: &str) {
    let all = &report["all"][name];
    let values: Vec<u64> = ["min", "p50", "p90", "p99", "p99_9", "max"]
        .iter()
        .map(|value| all[value].as_u64().expect("a number"))
        .collect();
    assert!(values.is_sorted() && values[0] > 0, "{name}: {values:?}");
    let buckets = all["buckets"].as_array().expect("buckets");
    let counted: u64 = buckets.iter().filter_map(|bucket| bucket["count"].as_u64()).sum();
    assert_eq!(all["count"].as_u64(), Some(counted), "{name}");
}

#[test]
fn histograms_fill_under_load_on_both_nodes_and_begin_anew() {
    const MESSAGES: u64 = 100;
    let lab = Lab::with_pair();
    for node in ["a", "b"] {
        histograms_of(&lab, node, &["--reset"]);
    }
    lab.probe(&[
        "echo",
        "--target",
        ECHO,
        "-n",
        "4",
        "--size",
        "64",
        "--interval",
        "5",
        "--duration",
        "2",
    ])
    .must_succeed();

    let primary = histograms_of(&lab, "a", &["--reset"]);
    for name in ["rx_to_tx_ns", "gate_ns", "link_rtt_ns", "poll_ns", "batch_segments"] {
        let count = primary["all"][name]["count"].as_u64();
        assert!(count >= Some(MESSAGES), "{name}: {count:?}");
        assert_consistent(&primary, name);
    }
    let [way, gate, link] = ["rx_to_tx_ns", "gate_ns", "link_rtt_ns"]
        .map(|name| primary["all"][name]["min"].as_u64().expect("a number"));
    assert!(link <= gate && gate <= way, "a packet waits for the link, and is then sent");
    let median = primary["all"]["rx_to_tx_ns"]["p50"].as_u64();
    assert!(median < Some(1_000_000_000), "no echo takes a second");

    let backup = histograms_of(&lab, "b", &[]);
    assert!(backup["all"]["batch_segments"]["count"].as_u64() >= Some(MESSAGES));
    assert_eq!(backup["all"]["rx_to_tx_ns"]["count"], 0, "a backup sends no packet");

    let anew = histograms_of(&lab, "a", &[]);
    assert!(anew["since_us"].as_u64() > primary["since_us"].as_u64());
    assert!(anew["all"]["gate_ns"]["count"].as_u64() < primary["all"]["gate_ns"]["count"].as_u64());
    let text = latency_of(&lab, "b", &["--per-core"]);
    assert!(text.contains("segments per poll: ") && text.contains("worker 0 on core"), "{text}");
}
