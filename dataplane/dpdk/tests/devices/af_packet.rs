//! `net_af_packet` on one end of a veth, the kernel's UDP at the other.

use std::sync::atomic::AtomicBool;

use arrayvec::ArrayVec;
use dpdk::Mbuf;

use crate::isolate::{self, Player};
use crate::netns::Namespace;
use crate::{echo, node};

const CLIENT: &str = "10.99.0.1/24";
const SERVER: &str = "10.99.0.2";
const SERVER_AND_PORT: &str = "10.99.0.2:7";

struct Lab {
    server: Namespace,
    client: Namespace,
}

impl Lab {
    fn new(mtu: &str) -> Self {
        let lab = Self { server: Namespace::new("srv"), client: Namespace::new("cli") };
        lab.server.join("srv0", &lab.client, "cli0", mtu);
        lab.server.run(&["ip", "link", "set", "srv0", "address", "02:00:00:00:00:02"]);
        lab.client.run(&["ip", "address", "add", CLIENT, "dev", "cli0"]);
        lab.client.run(&[
            "ip",
            "neigh",
            "add",
            SERVER,
            "lladdr",
            "02:00:00:00:00:02",
            "dev",
            "cli0",
        ]);
        lab
    }

    /// The client's process ends when it has seen all it wants; the server's is then stopped.
    fn play(&self, test: &str) {
        let _server = Player::start(test, "server", &self.server.exec());
        Player::start(test, "client", &self.client.exec()).succeed();
    }
}

fn serve(mtu: u16) {
    let mut node = node::node("af_packet", "srv0", mtu);
    assert_eq!(node.port.mac().unwrap(), [2, 0, 0, 0, 0, 2]);
    // The director stops this process when the client is content.
    echo::serve(&node.eal, &mut node.queues, &AtomicBool::new(false));
}

#[test]
fn echoes_datagrams_of_a_kernel_client() {
    if !isolate::is_root() {
        return;
    }
    match isolate::role().as_deref() {
        None => Lab::new("1500").play("af_packet::echoes_datagrams_of_a_kernel_client"),
        Some("server") => serve(1500),
        Some(_) => echo::talk(SERVER_AND_PORT, &[1, 64, 500, 1472, 10, 1472]),
    }
}

#[test]
fn each_worker_serves_the_flows_of_its_own_queue() {
    if !isolate::is_root() {
        return;
    }
    match isolate::role().as_deref() {
        None => Lab::new("1500").play("af_packet::each_worker_serves_the_flows_of_its_own_queue"),
        Some("server") => {
            let mut node = node::node_of("af_packet", "srv0", 2, 1500);
            let (eal, never) = (&node.eal, &AtomicBool::new(false));
            std::thread::scope(|scope| {
                scope.spawn(move || echo::serve(eal, &mut node.more_queues[0], never));
                scope.spawn(move || echo::serve(eal, &mut node.queues, never));
            });
        }
        Some(_) => (0..16).for_each(|_flow| echo::talk(SERVER_AND_PORT, &[100])),
    }
}

#[test]
fn carries_jumbo_frames() {
    if !isolate::is_root() {
        return;
    }
    match isolate::role().as_deref() {
        None => Lab::new("9000").play("af_packet::carries_jumbo_frames"),
        Some("server") => serve(9000),
        Some(_) => echo::talk(SERVER_AND_PORT, &[1, 1472, 4000, 8972, 8972, 3]),
    }
}

/// The lab's packet loss stands on this: what the driver sends with the options
/// of a jumbo link passes nftables. A frame that is
/// dropped there goes back into the ring to be sent again, and blocks it until then; one that is
/// forwarded into a sink is lost for good.
#[test]
fn loses_frames_that_nftables_diverts_at_egress() {
    if !isolate::is_root() {
        return;
    }
    match isolate::role().as_deref() {
        None => {
            let lab = Lab::new("9000");
            lab.server.run(&["ip", "link", "add", "sink0", "type", "veth", "peer", "sink1"]);
            lab.server.run(&["ip", "link", "set", "sink0", "up"]);
            lab.server.run(&["ip", "link", "set", "sink1", "up"]);
            lab.server.run(&["sysctl", "-q", "net.ipv6.conf.srv0.disable_ipv6=1"]);
            lab.server.run(&[
                "nft",
                "add table netdev loss; \
                 add chain netdev loss out { type filter hook egress device srv0 priority 0; }; \
                 add rule netdev loss out numgen inc mod 3 < 1 fwd to sink0",
            ]);
            lab.play("af_packet::loses_frames_that_nftables_diverts_at_egress");
        }
        Some("server") => serve(9000),
        Some(_) => lose_a_third(),
    }
}

fn lose_a_third() {
    let socket = echo::connect(SERVER_AND_PORT);
    assert!(echo::ask(&socket, b"is anybody there?"));
    let rounds = 60u8;
    let answered = (0..rounds)
        .filter(|round| {
            socket.send(&[*round]).unwrap();
            // Late answers to the question above come first.
            let mut answer = [0; 64];
            std::iter::from_fn(|| socket.recv(&mut answer).ok().map(|len| answer[..len].to_vec()))
                .any(|answer| answer == [*round])
        })
        .count();
    assert_eq!(answered, usize::from(rounds) * 2 / 3);
}

#[test]
fn frames_return_to_the_pool_when_the_port_is_closed() {
    if !isolate::is_root() {
        return;
    }
    match isolate::role().as_deref() {
        None => {
            let lab = Lab::new("1500");
            let test = "af_packet::frames_return_to_the_pool_when_the_port_is_closed";
            Player::start(test, "server", &lab.server.exec()).succeed();
        }
        Some(_) => {
            let mut node = node::node("af_packet", "srv0", 1500);
            let mut frames = ArrayVec::<Mbuf, 32>::new();
            assert!(node.pool.allocate_burst(&mut frames));
            for frame in &mut frames {
                frame.append(60).unwrap().fill(0xff);
            }
            while !frames.is_empty() {
                node.queues.tx.transmit(&mut frames);
            }
            assert_eq!(node.port.stats().unwrap().tx_packets, 32);
            drop((node.port, node.queues));
            assert_eq!(node.pool.in_use(), 0);
        }
    }
}
