//! The same over IPv6: what ordinary tools see, and takeovers.

use std::process::Stdio;

use crate::lab::{Client, Lab, RATE, VIP6, VMAC, let_flow, wait_for};

const ECHO: &str = "[fd77::100]:7";
const DISCARD: &str = "[fd77::100]:9";
const STREAM: &str = "[fd77::100]:19";
const STREAM_N: &str = "[fd77::100]:20";

fn download(lab: &Lab) -> Client {
    let mut curl = lab.client("curl");
    curl.args(["-6", "--silent", "--show-error", "--limit-rate", "3M", "--max-time", "60"])
        .args(["-o", lab.scratch("download").to_str().expect("UTF-8")])
        .arg(format!("http://[{VIP6}]/big.bin"));
    Client::start("curl", curl)
}

/// One client of each kind. They run until `stop` appears or their bytes are through.
fn all_clients(lab: &Lab, stop: &str) -> Vec<Client> {
    let until = ["--duration", "60", "--until-file", stop];
    let probe = |command: &str, target: &str, arguments: &[&str]| {
        lab.probe(&[&[command, "--target", target], arguments].concat())
    };
    vec![
        download(lab),
        probe("download", STREAM, &[&["--endless"][..], &RATE, &until].concat()),
        probe("download", STREAM_N, &[["--bytes", "8000000"], RATE].concat()),
        probe("upload", DISCARD, &[&RATE[..], &until].concat()),
        probe("upload-echo", ECHO, &[["--bytes", "8000000"], RATE].concat()),
        echo(lab, stop),
        probe("idle", ECHO, &["-n", "50", "--until-file", stop]),
    ]
}

/// The lab with a file to download, and its bytes.
fn lab_with_file() -> (Lab, Vec<u8>) {
    let lab = Lab::up();
    let bytes: Vec<u8> =
        (0..10_000_000u64).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
    lab.offer("big.bin", &bytes);
    (lab, bytes)
}

fn ping(lab: &Lab) {
    let output = lab.client("ping").args(["-6", "-c", "2", "-W", "2", VIP6]).output();
    let output = output.expect("ping runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn lan_may_be_ipv6_alone_and_carries_the_heartbeats() {
    let lab = Lab::up();
    lab.start_on_ipv6_alone();
    let stop = lab.scratch("stop");
    let clients = echo(&lab, stop.to_str().expect("UTF-8"));
    let_flow(500);
    // Without heartbeats on the LAN the backup would take over now.
    lab.run(&["loss", "link", "100"]);
    wait_for("a to be alone", 10, || lab.status()["a"]["in_sync"] == false);
    let_flow(500);
    let status = lab.status();
    assert_eq!((&status["primary"], &status["b"]["role"]), (&"a".into(), &"spare".into()));
    std::fs::write(&stop, "").expect("the stop file");
    clients.must_succeed();
}

/// Echo connections until `stop` appears.
fn echo(lab: &Lab, stop: &str) -> Client {
    let command = ["echo", "--target", ECHO, "-n", "20", "--size", "64", "--interval", "10"];
    lab.probe(&[&command[..], &["--duration", "60", "--until-file", stop]].concat())
}

/// Where the client's kernel believes the service address to be.
fn neighbour(lab: &Lab) -> String {
    let output = lab.client("ip").args(["-6", "neighbour", "show", VIP6]).output();
    let text = String::from_utf8(output.expect("ip runs").stdout).expect("text");
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "lladdr").expect("it is known");
    words[at + 1].to_owned()
}

fn survives(start: impl FnOnce(&Lab)) {
    let (lab, bytes) = lab_with_file();
    start(&lab);
    let stop = lab.scratch("stop");
    let clients = all_clients(&lab, stop.to_str().expect("UTF-8"));
    let_flow(1500);
    lab.run(&["kill", "a"]);
    wait_for("b to serve", 20, || lab.status()["primary"] == "b");
    let_flow(1500);
    std::fs::write(&stop, "").expect("the stop file");
    for client in clients {
        client.must_succeed();
    }
    assert!(std::fs::read(lab.scratch("download")).expect("curl's file") == bytes, "curl's bytes");
}

#[test]
fn clients_survive_the_death_of_the_primary() {
    survives(|lab| {
        lab.run(&["start"]);
    });
}

#[test]
fn clients_survive_the_death_of_the_primary_where_there_is_no_ipv4() {
    survives(|lab| {
        lab.start_on_ipv6_alone();
        lab.run(&["loss", "link", "1"]);
    });
}

#[test]
fn clients_survive_the_death_of_the_primary_with_loss_on_lan_and_link() {
    survives(|lab| {
        lab.run(&["start"]);
        lab.run(&["loss", "lan", "1"]);
        lab.run(&["loss", "link", "1"]);
    });
}

#[test]
fn address_answers_ping_and_its_neighbour_entry_stays_through_a_takeover() {
    let lab = Lab::with_pair();
    ping(&lab);
    assert_eq!(neighbour(&lab), VMAC);
    lab.run(&["kill", "a"]);
    wait_for("b to serve", 20, || lab.status()["primary"] == "b");
    ping(&lab);
    assert_eq!(neighbour(&lab), VMAC);
}

#[test]
fn port_without_service_refuses_at_once() {
    let lab = Lab::with_pair();
    let output = lab
        .client("socat")
        .args(["-T", "5", "-", &format!("TCP6:[{VIP6}]:4242,connect-timeout=5")])
        .stdin(Stdio::null())
        .output()
        .expect("socat runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Connection refused"));
}

#[test]
fn conns_shows_and_filters_them() {
    let lab = Lab::with_pair();
    let stop = lab.scratch("stop");
    let stop_text = stop.to_str().expect("UTF-8");
    let client = lab.probe(&["idle", "--target", ECHO, "-n", "3", "--until-file", stop_text]);
    wait_for("the connections", 10, || lab.status()["a"]["connections"].as_u64() >= Some(3));
    let conns = |filter: &[&str]| {
        let output = lab.holdfast("conns", "a", filter);
        output.lines().filter(|line| line.contains("[fd77::100]:7")).count()
    };
    assert_eq!(conns(&[]), 3);
    assert_eq!(conns(&["src", "fd77::/64"]), 3);
    assert_eq!(conns(&["dst", "[fd77::10]"]), 3);
    assert_eq!(conns(&["dst", "[fd77::11]"]), 0);
    std::fs::write(&stop, "").expect("the stop file");
    client.must_succeed();
}

#[test]
fn switch_that_forwards_by_listener_knows_where_the_address_is() {
    let lab = Lab::up();
    let bridge = |key: &str, value: &str| {
        let set = ["link", "set", "lan", "type", "bridge", key, value];
        let done = lab.client("ip").args(set).status().expect("ip runs");
        assert!(done.success(), "{key} {value}");
    };
    bridge("mcast_snooping", "1");
    bridge("mcast_querier", "1");
    bridge("mcast_startup_query_interval", "100");
    bridge("mcast_query_response_interval", "50");
    lab.run(&["start"]);
    let groups = || {
        let output = lab.client("bridge").args(["mdb", "show", "dev", "lan"]).output();
        String::from_utf8(output.expect("bridge runs").stdout).expect("text")
    };
    let listens = |port: &str| {
        let of_port = |line: &&str| line.contains(&format!("port {port}"));
        groups().lines().filter(of_port).any(|line| line.contains("ff02::1:ff00:100"))
    };
    wait_for("the switch to hear of a's groups", 10, || listens("lan-a"));
    assert!(!listens("lan-b"), "{}", groups());
    ping(&lab);
    lab.run(&["kill", "a"]);
    wait_for("the switch to hear of b's groups", 10, || listens("lan-b"));
    let forget = ["-6", "neighbour", "flush", "dev", "lan"];
    assert!(lab.client("ip").args(forget).status().expect("ip runs").success());
    ping(&lab);
}
