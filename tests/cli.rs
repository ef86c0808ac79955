//! The command as scripts see it: exit codes, standard output, standard error.

#![allow(clippy::unwrap_used, reason = "all of it is test, helpers included")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use tempfile::TempDir;

/// Runs the built command, away from any node that this machine may run.
fn holdfast(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.args(args).env_remove("HOLDFAST_SOCKET").output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    let (out, err) = (stdout(output), stderr(output));
    assert_eq!(output.status.code(), Some(code), "stdout: {out}\nstderr: {err}");
}

const NODE: &str = r#"
[cluster]
name = "lab"
secret = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
vip = ["10.77.0.100/24"]

[[cluster.service]]
name = "web"
kind = "http"
port = 80
root = "www"

[node]
name = "a"
profile = "af_packet"

[node.lan]
device = "lan0"
address = "10.77.0.1/24"

[node.link]
device = "link0"
address = "10.78.0.1/24"

[peer]
name = "b"
lan = "10.77.0.2"
link = "10.78.0.2"
"#;

/// A folder with a node's file and the content it serves.
fn site(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("www")).unwrap();
    fs::write(folder.path().join("www/index.html"), "<p>It holds.").unwrap();
    let file = folder.path().join("node.toml");
    fs::write(&file, text).unwrap();
    (folder, file)
}

fn check(text: &str, more: &[&str]) -> Output {
    let (_folder, file) = site(text);
    let mut args = vec!["check", "-c", file.to_str().unwrap()];
    args.extend(more);
    holdfast(&args)
}

#[test]
fn check_tells_what_would_run() {
    let output = check(NODE, &[]);
    assert_code(&output, 0);
    let text = stdout(&output);
    for part in ["10.77.0.100/24", "web", "files: 1", "manifest"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn check_prints_json_that_knows_the_content() {
    let output = check(NODE, &["--json"]);
    assert_code(&output, 0);
    let plan: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(plan["content_files"], 1);
    assert_eq!(plan["manifest_digest"].as_str().unwrap().len(), 64);
    assert!(!stdout(&output).contains("00112233"), "the secret must not be shown");
}

#[test]
fn check_says_what_is_wrong_and_ends_with_1() {
    let output = check(&NODE.replace("vip =", "vipp ="), &[]);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("did you mean `vip`?"), "{text}");
    let output = check(&NODE.replace("root = \"www\"", "root = \"nowhere\""), &[]);
    assert_code(&output, 1);
    assert!(stderr(&output).contains("is not a folder"), "{}", stderr(&output));
    assert_code(&holdfast(&["check", "-c", "/no/such/file.toml"]), 1);
}

#[test]
fn equal_clusters_have_equal_manifests() {
    let other = NODE
        .replace("name = \"a\"", "name = \"x\"")
        .replace("name = \"b\"", "name = \"a\"")
        .replace("10.77.0.2\"", "10.77.0.3\"");
    let settings = |text: &str| {
        let output = check(text, &["--manifest"]);
        assert_code(&output, 0);
        let lines: Vec<String> = stdout(&output).lines().map(ToOwned::to_owned).collect();
        lines.into_iter().filter(|line| line.contains(" = ")).collect::<Vec<_>>()
    };
    assert_eq!(settings(NODE), settings(&other));
    assert_ne!(settings(NODE), settings(&NODE.replace("port = 80", "port = 81")));
}

#[test]
fn doctor_finds_that_the_interfaces_are_missing() {
    let (_folder, file) = site(&NODE.replace("lan0", "no-such-lan"));
    let output = holdfast(&["doctor", "--json", "-c", file.to_str().unwrap()]);
    assert_code(&output, 1);
    let summary: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let findings = summary["findings"].as_array().unwrap();
    let missing = |finding: &&serde_json::Value| {
        finding["severity"] == "error"
            && finding["message"].as_str().unwrap().contains("no-such-lan")
    };
    assert!(findings.iter().find(missing).unwrap()["fix"].is_string());
}

#[test]
fn wrong_command_lines_end_with_2() {
    assert_code(&holdfast(&["chek"]), 2);
    assert_code(&holdfast(&["run"]), 2);
    assert_code(&holdfast(&["profiles", "no-such-profile"]), 2);
    assert_code(&holdfast(&["status", "--reset"]), 2);
}

#[test]
fn a_node_that_is_not_there_ends_with_3() {
    for command in ["status", "conns", "switchover", "drain", "undrain", "upgrade-check"] {
        let output = holdfast(&[command, "-s", "/no/such/node.sock"]);
        assert_code(&output, 3);
        assert!(stderr(&output).contains("/no/such/node.sock"), "{}", stderr(&output));
    }
}

#[test]
fn profiles_are_listed_and_shown() {
    let output = holdfast(&["profiles"]);
    assert_code(&output, 0);
    for name in ["af_packet", "tap", "memif", "ring", "i40e", "mlx5", "virtio"] {
        assert!(stdout(&output).contains(name), "{name}");
    }
    let shown = holdfast(&["profiles", "af_packet"]);
    let profile: toml::Value = toml::from_str(&stdout(&shown)).unwrap();
    assert_eq!(profile["device"]["driver"].as_str(), Some("net_af_packet"));
    let all: serde_json::Value =
        serde_json::from_str(&stdout(&holdfast(&["profiles", "--json"]))).unwrap();
    assert!(all.as_array().unwrap().len() >= 10);
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = holdfast(&["completions", shell]);
        assert_code(&output, 0);
        assert!(stdout(&output).contains("doctor"), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page_and_help_with_examples() {
    let folder = tempfile::tempdir().unwrap();
    assert_code(&holdfast(&["man", folder.path().to_str().unwrap()]), 0);
    let commands = [
        "doctor",
        "check",
        "run",
        "status",
        "conns",
        "switchover",
        "drain",
        "undrain",
        "upgrade-check",
        "profiles",
        "completions",
        "man",
    ];
    for command in commands {
        let page = fs::read_to_string(folder.path().join(format!("holdfast-{command}.1"))).unwrap();
        assert!(page.contains("Examples:"), "{command}");
        let help = holdfast(&[command, "--help"]);
        assert_code(&help, 0);
        assert!(stdout(&help).contains("Examples:"), "{command}");
    }
    let page = holdfast(&["man"]);
    assert!(stdout(&page).contains(".TH holdfast 1"), "{}", stdout(&page));
    assert!(stdout(&holdfast(&["--help"])).contains("Exit codes:"));
}
