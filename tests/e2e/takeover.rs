//! Nodes die, freeze and lose frames; clients must not notice more than a pause.

use crate::lab::{Client, DISCARD, ECHO, Lab, RATE, STREAM, STREAM_N, VIP, let_flow, wait_for};

/// One client of each kind. They run until `stop` appears or their bytes are through.
fn all_clients(lab: &Lab, stop: &str) -> Vec<Client> {
    let mut curl = lab.client("curl");
    curl.args(["--silent", "--show-error", "--limit-rate", "3M", "--max-time", "60"])
        .args(["-o", lab.scratch("download").to_str().expect("UTF-8")])
        .arg(format!("http://{VIP}/big.bin"));
    let until = ["--duration", "60", "--until-file", stop];
    let probe = |command: &str, target: &str, more: &[&str]| {
        lab.probe(&[&[command, "--target", target], more].concat())
    };
    vec![
        Client::start("curl", curl),
        probe("download", STREAM, &[&["--endless"][..], &RATE, &until].concat()),
        probe("download", STREAM_N, &[["--bytes", "8000000"], RATE].concat()),
        probe("upload", DISCARD, &[&RATE[..], &until].concat()),
        probe("upload-echo", ECHO, &[["--bytes", "8000000"], RATE].concat()),
        probe(
            "echo",
            ECHO,
            &[&["-n", "20", "--size", "64", "--interval", "10"][..], &until].concat(),
        ),
        probe("halfclose", ECHO, &["--hold-until-file", stop]),
        probe("idle", ECHO, &["-n", "50", "--until-file", stop]),
    ]
}

/// Runs all clients, makes the trouble, waits for `recovered`, and collects every verdict.
pub fn survives(
    prepare: &[&[&str]],
    trouble: impl Fn(&Lab),
    recovered: impl Fn(&Lab) -> bool,
) -> Lab {
    survives_in(Lab::up(), prepare, trouble, recovered)
}

/// The same in a lab that is up.
pub fn survives_in(
    lab: Lab,
    prepare: &[&[&str]],
    trouble: impl Fn(&Lab),
    recovered: impl Fn(&Lab) -> bool,
) -> Lab {
    let bytes: Vec<u8> =
        (0..10_000_000u64).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
    lab.offer("big.bin", &bytes);
    lab.run(&["start"]);
    for command in prepare {
        lab.run(command);
    }
    let stop = lab.scratch("stop");
    let clients = all_clients(&lab, stop.to_str().expect("UTF-8"));
    let_flow(1500);
    trouble(&lab);
    wait_for("the lab to recover", 20, || recovered(&lab));
    let_flow(1500);
    std::fs::write(&stop, "").expect("the stop file");
    for client in clients {
        client.must_succeed();
    }
    assert!(std::fs::read(lab.scratch("download")).expect("curl's file") == bytes, "curl's bytes");
    lab
}

pub fn serving(lab: &Lab, node: &str) -> bool {
    lab.status()["primary"] == node
}

pub fn standing(lab: &Lab, node: &str) -> String {
    lab.status()[node]["role"].as_str().unwrap_or("down").into()
}

/// `node` serves, and the other one holds the same state.
pub fn paired(lab: &Lab, node: &str) -> bool {
    let status = lab.status();
    status["primary"] == node && ["a", "b"].iter().all(|node| status[node]["in_sync"] == true)
}

#[test]
fn clients_survive_the_death_of_the_primary() {
    survives(&[], |lab| drop(lab.run(&["kill", "a"])), |lab| serving(lab, "b"));
}

#[test]
fn clients_survive_the_death_of_the_primary_with_loss_on_lan_and_link() {
    survives(
        &[&["loss", "lan", "1"], &["loss", "link", "1"]],
        |lab| drop(lab.run(&["kill", "a"])),
        |lab| serving(lab, "b"),
    );
}

/// They have, and acknowledge, more than the node knows that takes over.
#[test]
fn clients_survive_the_death_of_a_primary_whose_payload_leaves_early() {
    let lab = survives_in(
        Lab::up_with(&["--commit", "swfr"]),
        &[],
        |lab| {
            assert!(lab.counter("packets_early") > 1_000, "payload leaves early");
            lab.run(&["kill", "a"]);
        },
        |lab| serving(lab, "b"),
    );
    // And again, with the other one.
    lab.run(&["start", "a"]);
    wait_for("both to be in sync", 20, || paired(&lab, "b"));
}

#[test]
fn clients_survive_the_death_of_the_backup() {
    survives(
        &[],
        |lab| drop(lab.run(&["kill", "b"])),
        |lab| lab.status()["a"]["in_sync"] == false && serving(lab, "a"),
    );
}

#[test]
fn a_frozen_primary_steps_back_when_it_wakes_and_joins_again() {
    let lab = survives(
        &[],
        |lab| {
            lab.run(&["freeze", "a"]);
            wait_for("b to serve", 10, || serving(lab, "b"));
            let_flow(2000);
            lab.run(&["thaw", "a"]);
        },
        |lab| paired(lab, "b"),
    );
    assert_eq!(lab.primary(), "b");
}

#[test]
fn link_loss_alone_makes_the_backup_a_spare_until_the_link_is_back() {
    survives(
        &[],
        |lab| {
            lab.run(&["loss", "link", "100"]);
            wait_for("b to be spare", 10, || {
                let alone = lab.status()["a"]["in_sync"] == false;
                alone && serving(lab, "a") && standing(lab, "b") == "spare"
            });
            let_flow(500);
            lab.run(&["loss", "link", "0"]);
        },
        |lab| paired(lab, "a"),
    );
}

#[test]
fn connections_opened_during_the_takeover_are_accepted() {
    let lab = Lab::with_pair();
    lab.run(&["kill", "a"]);
    let clients: Vec<_> = (0..5)
        .map(|_| {
            lab.probe(&[
                "echo",
                "--target",
                ECHO,
                "-n",
                "4",
                "--size",
                "32",
                "--interval",
                "20",
                "--duration",
                "3",
            ])
        })
        .collect();
    for client in clients {
        client.must_succeed();
    }
    wait_for("b to serve", 5, || serving(&lab, "b"));
}

#[test]
fn clients_survive_the_death_of_both_nodes_in_turn() {
    survives(
        &[],
        |lab| {
            lab.run(&["kill", "a"]);
            wait_for("b to serve", 10, || serving(lab, "b"));
            lab.run(&["start", "a"]);
            wait_for("the pair to be in sync", 20, || paired(lab, "b"));
            let_flow(500);
            lab.run(&["kill", "b"]);
        },
        |lab| serving(lab, "a"),
    );
}

#[test]
fn clients_survive_a_second_death_under_loss() {
    survives(
        &[&["loss", "lan", "1"], &["loss", "link", "1"]],
        |lab| {
            lab.run(&["kill", "b"]);
            wait_for("a to know that it is alone", 10, || lab.status()["a"]["in_sync"] == false);
            lab.run(&["start", "b"]);
            wait_for("the pair to be in sync", 20, || paired(lab, "a"));
            let_flow(500);
            lab.run(&["kill", "a"]);
        },
        |lab| serving(lab, "b"),
    );
}
