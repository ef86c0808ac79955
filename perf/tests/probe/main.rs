//! The probe against servers whose behaviour is known: it must find right what is right, and wrong
//! what is wrong, and see pauses where they were made.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod servers;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use servers::*;

/// A pause that no scheduler makes by accident.
const PAUSE: Duration = Duration::from_millis(600);
/// What of a pause shows at least, in microseconds: socket buffers that still take data and a
/// reader that the scheduler holds back hide its beginning.
const PAUSE_SEEN_US: u64 = 300_000;

fn start(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_holdfast-probe"))
        .args(arguments)
        .arg("--json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs to the end. Returns the exit code and the report.
fn finish(child: Child) -> (i32, Value) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = String::from_utf8(stdout).unwrap();
    let report = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}\n{}", String::from_utf8_lossy(&stderr)));
    (status.code().unwrap(), report)
}

fn run(command: &str, target: impl ToString, arguments: &[&str]) -> (i32, Value) {
    finish(start(&[&[command, "--target", &target.to_string()], arguments].concat()))
}

#[track_caller]
fn assert_right(result: &(i32, Value)) {
    let (code, report) = result;
    assert_eq!((*code, &report["ok"]), (0, &Value::Bool(true)), "{report}");
    assert_eq!((&report["resets"], &report["errors"]), (&0.into(), &0.into()), "{report}");
}

#[track_caller]
fn assert_failure(result: &(i32, Value), text: &str) {
    let (code, report) = result;
    assert_eq!((*code, &report["ok"]), (1, &Value::Bool(false)), "{report}");
    let failure = report["per_connection"][0]["failure"].as_str().unwrap();
    assert!(failure.contains(text), "{report}");
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "gave up waiting for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn echo_measures_every_message() {
    let arguments = ["-n", "5", "--size", "100", "--interval", "10", "--duration", "0.5"];
    let result = run("echo", serve(echo), &arguments);
    assert_right(&result);
    let report = &result.1;
    let messages = report["latency_us"]["count"].as_u64().unwrap();
    assert!(messages >= 5, "{report}");
    assert_eq!(report["bytes"].as_u64().unwrap(), messages * 100);
    assert_eq!(report["per_connection"].as_array().unwrap().len(), 5);
}

#[test]
fn echo_sees_a_pause_in_every_message_that_it_delays() {
    let pausing = |stream| {
        echo_changed(stream, |at, _| {
            if at == 10 * 64 {
                thread::sleep(PAUSE);
            }
        });
    };
    let before = std::time::SystemTime::now();
    let result = run("echo", serve(pausing), &["--interval", "20", "--duration", "1.5"]);
    assert_right(&result);
    let report = &result.1;
    assert!(report["longest_gap_us"].as_u64().unwrap() >= PAUSE_SEEN_US, "{report}");
    assert!(report["latency_us"]["max"].as_u64().unwrap() >= PAUSE_SEEN_US, "{report}");
    assert!(report["latency_us"]["p90"].as_u64().unwrap() >= 100_000, "open loop: {report}");
    let began_us = u128::from(report["longest_gap_at_unix_us"].as_u64().unwrap());
    let start_us = before.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    assert!((start_us..start_us + 5_000_000).contains(&began_us), "{report}");
}

#[test]
fn wrong_echo_is_told_with_its_position() {
    let spoiled = |stream| {
        echo_changed(stream, |at, bytes| {
            if (at..at + bytes.len() as u64).contains(&200) {
                bytes[usize::try_from(200 - at).unwrap()] ^= 1;
            }
        });
    };
    let result = run("echo", serve(spoiled), &["--duration", "1"]);
    assert_failure(&result, "wrong byte at position 200");
}

#[test]
fn reset_is_told_as_a_reset() {
    // A socket that is closed with unread bytes answers with RST.
    let resetting = |stream: std::net::TcpStream| {
        while stream.peek(&mut [0; 64]).unwrap() < 64 {}
    };
    let result = run("echo", serve(resetting), &["--duration", "1"]);
    assert_failure(&result, "reset");
    assert_eq!((&result.1["resets"], &result.1["errors"]), (&1.into(), &0.into()));
}

#[test]
fn nobody_listening_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    drop(listener);
    assert_failure(&run("download", target, &["--endless"]), "refused");
}

#[test]
fn silent_server_is_unfinished_business() {
    let silent = |stream| {
        thread::sleep(Duration::from_secs(60));
        drop(stream);
    };
    let arguments = ["--duration", "0.5", "--grace", "1"];
    let result = run("echo", serve(silent), &arguments);
    assert_failure(&result, "not finished");
    assert!(result.1["longest_gap_us"].as_u64().unwrap() >= 300_000);
}

#[test]
fn download_verifies_all_bytes_and_the_fin() {
    let right = serve(|stream| stream_n(stream, |_, _| {}));
    let result = run("download", right, &["--bytes", "20000000", "-n", "2"]);
    assert_right(&result);
    assert_eq!(result.1["bytes"], 40_000_000);

    let wrong = serve(|stream| {
        stream_n(stream, |end, piece| {
            if end == 100_000 {
                piece[7] ^= 0x80;
            }
        });
    });
    let result = run("download", wrong, &["--bytes", "1000000"]);
    assert_failure(&result, "wrong byte at position 50007");

    let short = serve(|stream| {
        stream_n(stream, |end, piece| {
            if end == 100_000 {
                piece.clear();
            }
        });
    });
    assert_failure(&run("download", short, &["--bytes", "100000"]), "FIN after 50000 bytes");
}

#[test]
fn endless_download_ends_when_its_time_is_over() {
    let result = run("download", serve(stream_endless), &["--endless", "--duration", "1"]);
    assert_right(&result);
    assert!(result.1["bytes"].as_u64().unwrap() > 100_000);
    assert!(result.1["duration_us"].as_u64().unwrap() < 10_000_000, "no grace was needed");
}

#[test]
fn upload_sees_a_pause_of_the_receiver() {
    let target =
        serve_with_receive_buffer(65_536, |stream| discard_with_pause(stream, 8_000_000, PAUSE));
    let result = run("upload", target, &["--bytes", "16000000"]);
    assert_right(&result);
    assert_eq!(result.1["bytes"], 16_000_000);
    assert!(result.1["longest_gap_us"].as_u64().unwrap() >= PAUSE_SEEN_US, "{}", result.1);
}

#[test]
fn upload_without_a_length_ends_when_its_time_is_over() {
    let target = serve(|stream| discard_with_pause(stream, u64::MAX, PAUSE));
    let result = run("upload", target, &["--duration", "1"]);
    assert_right(&result);
    assert!(result.1["bytes"].as_u64().unwrap() > 0);
}

#[test]
fn upload_echo_gets_everything_back() {
    let result = run("upload-echo", serve(echo), &["--bytes", "10000000"]);
    assert_right(&result);
    assert_eq!(result.1["bytes"], 10_000_000);
}

#[test]
fn no_bulk_is_faster_than_asked_for() {
    let stream = serve(|stream| stream_n(stream, |_, _| {}));
    let discard = serve(|stream| discard_with_pause(stream, u64::MAX, PAUSE));
    for (command, target) in
        [("download", stream), ("upload", discard), ("upload-echo", serve(echo))]
    {
        let result = run(command, target, &["--bytes", "1000000", "--rate", "40"]);
        assert_right(&result);
        // 200 ms, of which the first 20 are free.
        assert!(result.1["duration_us"].as_u64().unwrap() >= 170_000, "{command}: {}", result.1);
    }
}

#[test]
fn halfclose_reads_only_after_the_hold() {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    // Takes everything until FIN before it sends anything, as only a half-closed connection can.
    let target = serve(move |mut stream| {
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut all).unwrap();
        counter.store(all.len() as u64, Ordering::SeqCst);
        std::io::Write::write_all(&mut stream, &all).unwrap();
    });
    let target = target.to_string();
    let child = start(&["halfclose", "--target", &target, "--hold-until-file", text(&go)]);
    wait_for("FIN at the server", || received.load(Ordering::SeqCst) == 256 << 10);
    std::fs::write(&go, "").unwrap();
    let result = finish(child);
    assert_right(&result);
    assert_eq!(result.1["bytes"], 256 << 10);
}

#[test]
fn idle_connections_are_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let (ready, go) = (folder.path().join("ready"), folder.path().join("go"));
    let files = ["--ready-file", text(&ready), "--until-file", text(&go)];
    let target = serve(echo).to_string();
    let child = start(&[&["idle", "--target", &target, "-n", "200"][..], &files].concat());
    wait_for("the ready file", || ready.exists());
    std::fs::write(&go, "").unwrap();
    let result = finish(child);
    assert_right(&result);
    assert_eq!((&result.1["alive"], &result.1["bytes"]), (&200.into(), &(200 * 128).into()));
}

#[test]
fn idle_connection_that_died_is_counted() {
    let accepted = AtomicU64::new(0);
    let accepted = Arc::new(accepted);
    // The third connection is closed as soon as it was answered.
    let target = serve(move |mut stream| {
        if accepted.fetch_add(1, Ordering::SeqCst) == 2 {
            let mut message = [0; 64];
            std::io::Read::read_exact(&mut stream, &mut message).unwrap();
            std::io::Write::write_all(&mut stream, &message).unwrap();
        } else {
            echo(stream);
        }
    });
    let (code, report) = run("idle", target, &["-n", "10", "--hold", "2"]);
    assert_eq!((code, &report["alive"], &report["errors"]), (1, &9.into(), &1.into()), "{report}");
}

#[test]
fn connect_measures_each_new_connection() {
    let result = run("connect", serve(echo), &["-n", "20", "--interval", "5"]);
    assert_right(&result);
    assert_eq!(result.1["latency_us"]["count"], 20);
}

#[test]
fn meter_times_what_comes_through_a_pipe() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast-probe"))
        .args(["meter", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for _ in 0..2 {
        std::io::Write::write_all(&mut pipe, &[0; 1000]).unwrap();
        thread::sleep(PAUSE);
    }
    drop(pipe);
    let result = finish(child);
    assert_right(&result);
    assert_eq!(result.1["bytes"], 2000);
    assert!(result.1["longest_gap_us"].as_u64().unwrap() >= PAUSE_SEEN_US, "{}", result.1);
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    for arguments in [
        &["download", "--target", "127.0.0.1:9"][..],
        &["echo"],
        &["echo", "--target", "nonsense"],
        &["echo", "--target", "127.0.0.1:9", "--duration", "-1"],
    ] {
        let output = start(arguments).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
