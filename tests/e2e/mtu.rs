//! A network that gets narrower behind a router, while downloads run through it. The router is the
//! kernel's: it tells of packets that are too long, or a filter keeps it silent.

use std::process::Command;

use serde_json::Value;

use crate::lab::{Client, Lab, RATE, VIP, VIP6, in_namespace, wait_for};

/// Where the far clients are, and the router's interface towards them.
const FAR: &str = "hf-far";
const PORT: &str = "to-far";
/// MTU of the far network once it is narrow. A client's SYN, sent before, asks for 1500.
const NARROW: u64 = 1300;
/// What is tried first where nobody tells.
const BLACK_HOLE: u64 = 1280;
/// Headers of a segment with data and timestamps.
const HEADERS: u64 = 20 + 32;
const HEADERS_V6: u64 = 40 + 32;
/// What must get through, at least, for a download to count as going on.
const SOME: u64 = 2_000_000;

/// The namespace of the far clients, behind the client's one as their router.
struct Far<'a>(&'a Lab);

impl<'a> Far<'a> {
    fn behind(lab: &'a Lab) -> Far<'a> {
        // One that a killed test has left.
        let _ = Command::new("ip").args(["netns", "del", FAR]).output();
        let far = Far(lab);
        let added = Command::new("ip").args(["netns", "add", FAR]).status();
        assert!(added.is_ok_and(|status| status.success()), "no namespace {FAR}");
        far.on_router("ip", &format!("link add {PORT} type veth peer name far0 netns {FAR}"));
        for key in [
            "ipv4.ip_forward=1",
            "ipv6.conf.all.forwarding=1",
            &format!("ipv6.conf.{PORT}.disable_ipv6=0"),
        ] {
            far.on_router("sysctl", &format!("-qw net.{key}"));
        }
        for (address, more) in [("10.79.0.1/24", ""), ("fd79::1/64", " nodad")] {
            far.on_router("ip", &format!("address add {address} dev {PORT}{more}"));
        }
        far.on_router("ip", &format!("link set {PORT} up"));
        far.inside("sysctl", "-qw net.ipv6.conf.far0.disable_ipv6=0");
        for (address, more) in [("10.79.0.20/24", ""), ("fd79::20/64", " nodad")] {
            far.inside("ip", &format!("address add {address} dev far0{more}"));
        }
        far.inside("ip", "link set far0 up");
        far.inside("ip", "route add default via 10.79.0.1");
        far.inside("ip", "route add default via fd79::1");
        far
    }

    fn on_router(&self, program: &str, arguments: &str) {
        run(self.0.client(program), arguments);
    }

    fn inside(&self, program: &str, arguments: &str) {
        run(in_namespace(FAR, program), arguments);
    }

    fn becomes_narrow(&self) {
        self.on_router("ip", &format!("link set {PORT} mtu {NARROW}"));
    }

    /// From here on the router drops what is too long without a word.
    fn says_nothing(&self) {
        let chain = "chain out { type filter hook output priority 0; \
                     icmp type destination-unreachable drop; icmpv6 type packet-too-big drop; };";
        self.on_router("nft", &format!("add table inet mute {{ {chain} }}"));
    }

    /// A download from `address`, its bytes checked, until the file `stop` appears.
    fn download(&self, address: &str, stop: &str) -> Client {
        let target = format!("{address}:19");
        let until = ["--duration", "60", "--until-file", stop];
        let download = ["download", "--target", &target, "--endless"];
        self.0.probe_in(FAR, &[&download[..], &RATE, &until].concat())
    }
}

impl Drop for Far<'_> {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", FAR]).status();
    }
}

fn run(mut command: Command, arguments: &str) {
    let output = command.args(arguments.split(' ')).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {text}");
}

/// The far client's connection to `address`, as `node` tells of it: its largest segment, and what
/// the client has acknowledged.
fn progress(lab: &Lab, node: &str, address: &str) -> (u64, u64) {
    let rows: Value =
        serde_json::from_str(&lab.holdfast("conns", node, &["--json"])).expect("JSON");
    let row = rows.as_array().and_then(|rows| {
        rows.iter()
            .find(|row| row["local"].as_str().is_some_and(|local| local.starts_with(address)))
    });
    let number = |key: &str| row.and_then(|row| row[key].as_u64()).unwrap_or_default();
    (number("mss"), number("bytes_out"))
}

fn goes_on(lab: &Lab, node: &str, address: &str) {
    let (_, before) = progress(lab, node, address);
    wait_for(&format!("{address} to go on at {node}"), 20, || {
        progress(lab, node, address).1 > before + SOME
    });
}

/// Downloads over both versions of IP run while the far network gets narrow; each must come down to
/// what `mtu` allows and go on, also after a takeover. Gives how often node a was told.
fn survives(mtu: u64, prepare: impl Fn(&Far<'_>)) -> u64 {
    let lab = Lab::up();
    let far = Far::behind(&lab);
    // A node that takes over has heard nothing of the router yet.
    lab.start_with(&[("LAB_GATEWAY", "\"10.77.0.10\", \"fd77::10\"")]);
    prepare(&far);
    let addresses = [(VIP.to_owned(), mtu - HEADERS), (format!("[{VIP6}]"), mtu - HEADERS_V6)];
    let stop = lab.scratch("stop");
    let clients = addresses
        .each_ref()
        .map(|(address, _)| far.download(address, stop.to_str().expect("UTF-8")));
    for (address, mss) in &addresses {
        goes_on(&lab, "a", address);
        assert_eq!(progress(&lab, "a", address).0, mss + 1500 - mtu);
    }
    far.becomes_narrow();
    for (address, mss) in &addresses {
        wait_for(&format!("{address} to learn the path's MTU"), 20, || {
            progress(&lab, "a", address).0 == *mss
        });
        goes_on(&lab, "a", address);
    }
    let told = lab.counter("tcp_path_mtu_told");
    lab.run(&["kill", "a"]);
    wait_for("b to serve", 20, || lab.status()["primary"] == "b");
    for (address, mss) in &addresses {
        // It has learned with the primary.
        assert_eq!(progress(&lab, "b", address).0, *mss);
        goes_on(&lab, "b", address);
    }
    std::fs::write(&stop, "").expect("the stop file");
    clients.into_iter().for_each(|client| drop(client.must_succeed()));
    told
}

#[test]
fn downloads_go_on_when_a_router_tells_of_a_narrower_network() {
    assert!(survives(NARROW, |_| ()) >= 2);
}

#[test]
fn downloads_go_on_when_a_router_drops_what_is_too_long_and_says_nothing() {
    assert_eq!(survives(BLACK_HOLE, |far| far.says_nothing()), 0);
}
