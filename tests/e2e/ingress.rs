//! A bridge that floods what is for the service: the node that takes over has heard the clients
//! itself.

use crate::lab::{Client, ECHO, Lab, RATE, VMAC, let_flow, wait_for};
use crate::takeover::{serving, survives_in};

const DISCARD6: &str = "[fd77::100]:9";
/// Of nobody's group, so that switches have no use for it.
const GROUP: &str = "03:48:46:4d:00:64";

/// What a node's workers count under this name.
fn counted(lab: &Lab, node: &str, name: &str) -> u64 {
    let status = lab.status();
    let workers = status[node]["details"]["workers"].as_array().expect("workers in status").clone();
    workers.iter().filter_map(|worker| worker["counters"][name].as_u64()).sum()
}

/// The port behind which the bridge believes the service to be.
fn learned(lab: &Lab) -> Option<String> {
    let table = lab.run(&["exec", "client", "bridge", "fdb", "show"]);
    let line = table.lines().find(|line| line.starts_with(VMAC))?;
    line.split_whitespace().nth(2).map(str::to_owned)
}

fn flooded() -> Lab {
    Lab::up_with(&["--ingress", "flood"])
}

#[test]
fn clients_survive_the_death_of_the_primary_where_both_nodes_hear_them() {
    let lab = survives_in(
        flooded(),
        &[],
        |lab| {
            assert!(counted(lab, "b", "kept") > 100);
            assert_eq!(counted(lab, "b", "drop_not_serving"), 0);
            lab.run(&["kill", "a"]);
        },
        |lab| serving(lab, "b"),
    );
    assert!(counted(&lab, "b", "replayed") > 0);
    assert_eq!(learned(&lab), None, "nothing was sent from the service's address");
}

/// RFC 1812 3.3.2 would have routers refuse it; Linux does not.
#[test]
fn service_may_have_a_group_address() {
    let lab = flooded();
    lab.start_with(&[("LAB_VMAC", GROUP)]);
    let stop = lab.scratch("stop");
    let until = ["--duration", "60", "--until-file", stop.to_str().expect("UTF-8")];
    let probe = |command: &str, target: &str, more: &[&str]| -> Client {
        lab.probe(&[&[command, "--target", target][..], more, &until].concat())
    };
    let clients = [
        probe("echo", ECHO, &["-n", "10", "--size", "64", "--interval", "10"]),
        probe("upload", DISCARD6, &RATE),
    ];
    let_flow(1000);
    lab.run(&["kill", "a"]);
    wait_for("b to serve", 10, || serving(&lab, "b"));
    let_flow(1000);
    std::fs::write(&stop, "").expect("the stop file");
    clients.into_iter().for_each(|client| drop(client.must_succeed()));
    assert!(counted(&lab, "b", "replayed") > 0);
    let neighbours = lab.run(&["exec", "client", "ip", "neighbour", "show"]);
    assert!(neighbours.contains(GROUP), "{neighbours}");
}

#[test]
fn bridge_that_has_learned_the_address_is_noticed_and_told_better() {
    let lab = flooded();
    lab.run(&["start"]);
    let stop = lab.scratch("stop");
    let until = ["--duration", "60", "--until-file", stop.to_str().expect("UTF-8")];
    let teach =
        ["exec", "client", "bridge", "fdb", "add", VMAC, "dev", "lan-a", "master", "dynamic"];
    lab.run(&teach);
    let echo = ["echo", "--target", ECHO, "-n", "10", "--size", "64", "--interval", "10"];
    let client = lab.probe(&[&echo[..], &until].concat());
    let log = lab.www().with_file_name("b.log");
    let noticed = || std::fs::read_to_string(&log).unwrap_or_default().contains("not_flooded");
    wait_for("b to notice that it hears nobody", 10, noticed);
    lab.run(&["kill", "a"]);
    wait_for("b to serve", 10, || serving(&lab, "b"));
    wait_for("the bridge to learn where b is", 5, || learned(&lab).as_deref() == Some("lan-b"));
    let_flow(500);
    std::fs::write(&stop, "").expect("the stop file");
    client.must_succeed();
}
