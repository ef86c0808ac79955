//! Bad input from outside: an error or a counter, never a crash.

use std::process::Command;

use crate::lab::{ECHO, Lab, VIP, holdfast_path, in_namespace, wait_for};

const UNLIKE_EACH_OTHER: &str =
    "[[cluster.service]]\nname = \"extra\"\nkind = \"discard\"\nport = 99\n";

fn log_of(lab: &Lab, node: &str) -> String {
    let path = lab.www().with_file_name(format!("{node}.log"));
    std::fs::read_to_string(path).unwrap_or_default()
}

fn start_with_another_config(node: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lab");
    let output = Command::new(script)
        .args(["start", node])
        .env("LAB_EXTRA", UNLIKE_EACH_OTHER)
        .env("LAB_NO_WAIT", "1")
        .output()
        .expect("lab runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_peer_with_another_configuration_is_refused_with_a_diff() {
    let lab = Lab::up();
    lab.run(&["start", "a"]);
    start_with_another_config("b");
    wait_for("the difference to be named", 20, || log_of(&lab, "b").contains("extra"));
    assert_ne!(lab.status()["b"]["role"], "backup");
    assert_eq!(lab.status()["in_sync"], false);
}

#[test]
fn a_peer_with_other_files_is_refused_with_a_diff() {
    let lab = Lab::up();
    lab.offer("same-name.txt", b"one");
    lab.run(&["start", "a"]);
    lab.offer("same-name.txt", b"two");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lab");
    let started = Command::new(script).args(["start", "b"]).env("LAB_NO_WAIT", "1").status();
    assert!(started.is_ok_and(|status| status.success()));
    wait_for("the difference to be named", 20, || log_of(&lab, "b").contains("same-name.txt"));
    assert_ne!(lab.status()["b"]["role"], "backup");
}

#[test]
fn a_second_node_with_the_same_config_is_told_what_is_in_use() {
    let lab = Lab::with_pair();
    let config = lab.www().with_file_name("a.toml");
    let output = in_namespace("hf-a", &holdfast_path())
        .args(["run", "-c"])
        .arg(config)
        .output()
        .expect("holdfast runs");
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(words.contains("in use"), "{words}");
    assert_eq!(lab.primary(), "a", "the first one is not disturbed");
}

#[test]
fn garbage_datagrams_on_lan_and_link_are_counted_and_change_nothing() {
    let lab = Lab::with_pair();
    let send = |namespace: &str, target: &str, bytes: &str| {
        let script = format!("{bytes} | socat -u - UDP-SENDTO:{target}");
        let sent = in_namespace(namespace, "sh").args(["-c", &script]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{script}");
    };
    // The kernel of hf-a gets an address on the link to send from; the nodes do not see it
    // otherwise.
    let address =
        in_namespace("hf-a", "ip").args("address add 10.78.0.77/24 dev link0".split(' ')).status();
    assert!(address.is_ok_and(|status| status.success()));
    for _ in 0..50 {
        for port in [7400, 7401, 7402, 9] {
            send("hf-a", &format!("10.78.0.2:{port}"), "head -c 700 /dev/urandom");
            send("hf-client", &format!("10.77.0.1:{port}"), "head -c 300 /dev/urandom");
            send("hf-client", &format!("{VIP}:{port}"), "printf x");
        }
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
        "10",
        "--duration",
        "1",
    ])
    .must_succeed();
    assert_eq!(lab.status()["in_sync"], true);
}

#[test]
fn a_wrong_config_ends_with_words_and_an_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.toml");
    std::fs::write(&path, "[node]\nnam = \"a\"\n").expect("a file");
    let output =
        Command::new(holdfast_path()).args(["check", "-c"]).arg(&path).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("nam") && words.contains("name"), "{words}");
}
