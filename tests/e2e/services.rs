//! The services as ordinary tools see them, with the pair in sync.

use std::io::Write as _;
use std::process::{Output, Stdio};

use crate::lab::{Lab, STREAM_N, VIP};

fn curl(lab: &Lab, arguments: &[&str]) -> Output {
    lab.client("curl")
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(arguments)
        .output()
        .expect("curl runs")
}

fn status_of(lab: &Lab, arguments: &[&str]) -> String {
    let output = curl(lab, &[&["-o", "/dev/null", "-w", "%{http_code}"], arguments].concat());
    String::from_utf8(output.stdout).expect("a status code")
}

fn socat(lab: &Lab, target: &str, input: &[u8]) -> Vec<u8> {
    let mut child = lab
        .client("socat")
        .args(["-t", "10", "-", &format!("TCP:{target}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("socat starts");
    child.stdin.take().expect("stdin").write_all(input).expect("input is written");
    child.wait_with_output().expect("socat ends").stdout
}

/// Byte `i` of the documented stream pattern.
fn pattern(i: u64) -> u8 {
    (i.wrapping_mul(2_654_435_761) >> 16) as u8
}

#[test]
fn http_serves_files_ranges_and_conditions() {
    let lab = Lab::up();
    let bytes: Vec<u8> = (0..300_000u64).map(pattern).collect();
    lab.offer("file.bin", &bytes);
    lab.run(&["start"]);
    let url = format!("http://{VIP}/file.bin");

    assert_eq!(curl(&lab, &[&url]).stdout, bytes, "the whole file");
    assert_eq!(curl(&lab, &["-r", "1000-1999", &url]).stdout, &bytes[1000..2000], "a range");
    assert_eq!(curl(&lab, &["-r", "-5", &url]).stdout, &bytes[bytes.len() - 5..], "the tail");
    assert_eq!(status_of(&lab, &["-r", "300000-", &url]), "416");
    assert_eq!(status_of(&lab, &["--head", &url]), "200");
    assert_eq!(status_of(&lab, &[&format!("http://{VIP}/none")]), "404");
    assert_eq!(status_of(&lab, &["-X", "DELETE", &url]), "405");
    let traversal = format!("http://{VIP}/../../etc/passwd");
    assert!(status_of(&lab, &["--path-as-is", &traversal]).starts_with('4'));

    let head = String::from_utf8(curl(&lab, &["--head", &url]).stdout).expect("a head");
    let tag = head
        .lines()
        .find_map(|line| {
            line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("etag"))
        })
        .map(|(_, value)| value.trim().to_owned())
        .expect("an ETag");
    assert_eq!(status_of(&lab, &["-H", &format!("If-None-Match: {tag}"), &url]), "304");

    let twice =
        curl(&lab, &["-w", "%{num_connects} ", "-o", "/dev/null", &url, "-o", "/dev/null", &url]);
    assert_eq!(String::from_utf8_lossy(&twice.stdout), "1 0 ", "the second reuses the connection");
}

#[test]
fn a_file_that_changes_on_disk_changes_nothing() {
    let lab = Lab::up();
    let bytes: Vec<u8> = (0..2_000_000u64).map(pattern).collect();
    let path = lab.offer("file.bin", &bytes);
    lab.run(&["start"]);
    std::fs::write(&path, b"short").expect("the file can be replaced");
    assert_eq!(curl(&lab, &[&format!("http://{VIP}/file.bin")]).stdout, bytes);
}

#[test]
fn echo_and_stream_answer_socat_and_the_address_answers_ping() {
    let lab = Lab::with_pair();
    assert_eq!(socat(&lab, &format!("{VIP}:7"), b"hello\n"), b"hello\n");
    let expected: Vec<u8> = (0..123_456).map(pattern).collect();
    assert_eq!(socat(&lab, STREAM_N, b"123456\n"), expected);
    let ping = lab.client("ping").args(["-c", "2", "-W", "2", VIP]).output().expect("ping runs");
    assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));
}

#[test]
fn a_port_without_service_refuses_at_once() {
    let lab = Lab::with_pair();
    let output = lab
        .client("socat")
        .args(["-T", "5", "-", &format!("TCP:{VIP}:4242,connect-timeout=5")])
        .stdin(Stdio::null())
        .output()
        .expect("socat runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Connection refused"));
}
