//! The load generator over the kernel's sockets, against small servers on loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../probe/servers.rs"]
#[allow(dead_code, reason = "the tests of holdfast-probe use the rest of it")]
mod servers;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::Value;

fn perf(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-perf"));
    command.args(arguments.split_whitespace());
    command
}

fn run(arguments: &str) -> Output {
    perf(arguments).output().unwrap()
}

/// Exit code and result of a run that prints the latter.
fn result(arguments: &str) -> (Option<i32>, Value) {
    let output = run(arguments);
    let result = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    (output.status.code(), result)
}

fn common(target: SocketAddr) -> String {
    format!("--kernel --target {target} --json -")
}

#[test]
fn rpc_leaves_every_kind_of_result() {
    let target = servers::serve(servers::echo);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (hlog, svg, html) = (file("r.hlog"), file("r.svg"), file("r.html"));
    let common = common(target);
    let (code, result) = result(&format!(
        "rpc {common} -n 4 --pipeline 2 --request 1000 --duration 0.3 --label first \
         --hlog {hlog} --plot {svg} --html {html}"
    ));
    assert_eq!(code, Some(0), "{result}");
    let count = result["requests"].as_u64().unwrap();
    assert!(count > 0 && result["latency_ns"]["count"].as_u64().unwrap() >= count, "{result}");
    assert_eq!(result["connections"]["alive"], 4);
    assert_eq!((&result["command"], &result["backend"]), (&"rpc".into(), &"kernel".into()));
    assert_eq!((&result["label"], &result["stalls"]), (&"first".into(), &Value::Null));
    for file in [hlog, svg, html] {
        assert!(Path::new(&file).metadata().unwrap().len() > 500, "{file}");
    }
}

#[test]
fn rate_is_kept_and_a_count_is_exact() {
    let target = servers::serve(servers::echo);
    let common = common(target);
    let (code, result) = result(&format!("rpc {common} -n 3 --rate 500 --count 100"));
    assert_eq!((code, &result["requests"]), (Some(0), &100.into()), "{result}");
    let duration_us = result["duration_us"].as_u64().unwrap();
    assert!((198_000..1_000_000).contains(&duration_us), "{duration_us}");
}

#[test]
fn http_bodies_are_compared() {
    let serve = |second: &'static [u8]| {
        servers::serve(move |mut stream: TcpStream| {
            let mut buffer = [0; 4096];
            let mut is_second = false;
            while stream.read(&mut buffer).is_ok_and(|len| len > 0) {
                let body: &[u8] = if is_second { second } else { b"body" };
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
                is_second = true;
            }
        })
    };
    let arguments = |target| format!("rpc {} --protocol http --path /x --count 20", common(target));
    let (code, result_of_same) = result(&arguments(serve(b"body")));
    assert_eq!((code, &result_of_same["requests"]), (Some(0), &20.into()));
    let (code, result_of_other) = result(&arguments(serve(b"bode")));
    assert_eq!((code, &result_of_other["requests"]), (Some(1), &1.into()));
}

#[test]
fn bulk_counts_what_arrives() {
    let discard = |stream| servers::discard_with_pause(stream, u64::MAX, Duration::ZERO);
    for (direction, target) in [
        ("--down", servers::serve(servers::stream_endless)),
        ("--up", servers::serve(discard)),
        ("--both", servers::serve(servers::echo)),
    ] {
        let common = common(target);
        let (code, result) = result(&format!("bulk {common} {direction} --bytes 3000000"));
        assert_eq!(code, Some(0), "{result}");
        let moved = |name: &str| result[name].as_u64().unwrap() >= 3_000_000;
        let expected = (direction != "--down", direction != "--up");
        assert_eq!((moved("bytes_up"), moved("bytes_down")), expected, "{direction}: {result}");
    }
}

#[test]
fn cycles_and_idle_connections_come_to_their_ends() {
    let target = servers::serve(servers::echo);
    let common = common(target);
    let (code, result_of_crr) = result(&format!("crr {common} -n 2 --count 50"));
    assert_eq!((code, &result_of_crr["requests"]), (Some(0), &50.into()), "{result_of_crr}");
    let (code, result_of_idle) =
        result(&format!("idle {common} -n 20 --touch-rate 100 --hold 0.2"));
    assert_eq!(code, Some(0), "{result_of_idle}");
    assert_eq!(result_of_idle["connections"]["alive"], 20);
}

#[test]
fn wrong_bytes_are_found_and_what_was_measured_is_told() {
    let target = servers::serve(|stream| {
        servers::echo_changed(stream, |at, bytes| {
            if (at..at + bytes.len() as u64).contains(&64_000) {
                bytes[0] ^= 1;
            }
        });
    });
    let common = common(target);
    let (code, result) = result(&format!("rpc {common} --request 64 --duration 20"));
    assert_eq!((code, &result["requests"]), (Some(1), &1000.into()));
    let text = result["failures"][0]["text"].as_str().unwrap();
    assert_eq!(text, "wrong byte (first: connection 0, position 64000)");
}

#[test]
fn refused_connections_are_a_result_and_wrong_usage_is_none() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, result) = result(&format!("rpc {} -n 3", common(nobody)));
    assert_eq!((code, &result["connections"]["opened"]), (Some(1), &0.into()));
    for wrong in ["--plot x.gif", "--bind 192.0.2.1", "--hlog /nowhere/x", "--device m"] {
        let output = run(&format!("rpc --kernel --target {nobody} {wrong}"));
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong}");
    }
}

#[test]
fn harm_is_marked_and_its_pauses_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("harm");
    let seen = file.clone();
    let target = servers::serve(move |stream| {
        let paused = Cell::new(false);
        servers::echo_changed(stream, |_, _| {
            if !paused.get() && seen.exists() {
                paused.set(true);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
    });
    let output = perf("failover --at 0.2 --command")
        .arg(format!("touch {}", file.display()))
        .args(format!("-- rpc {} -n 3 --duration 3", common(target)).split_whitespace())
        .output()
        .unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{result}");
    assert_eq!(result["stalls"]["count"], 3);
    assert!(result["stalls"]["p50_us"].as_u64().unwrap() >= 150_000, "{}", result["stalls"]);
    let marks = result["marks"].as_array().unwrap();
    assert_eq!(marks.len(), 1);
    assert!(marks[0]["at_us"].as_u64().unwrap() >= 200_000);
}

#[test]
fn interrupted_run_tells_its_results_so_far() {
    let (sender, receiver) = channel();
    let target = servers::serve(move |stream| {
        let sender = sender.clone();
        servers::echo_changed(stream, move |at, _| {
            if at > 1000 {
                // Only the first one counts.
                let _ = sender.send(());
            }
        });
    });
    let child = perf(&format!("rpc {} --duration 600", common(target)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    receiver.recv_timeout(Duration::from_secs(60)).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{result}");
    assert!(result["requests"].as_u64().unwrap() > 10, "{result}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
}
