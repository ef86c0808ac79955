//! `net_memif`: shared memory between two processes.

use std::io::ErrorKind::ConnectionRefused as REFUSED;
use std::os::unix::net::{UnixListener, UnixStream};

use arrayvec::ArrayVec;
use dpdk::{Mbuf, ThreadRegistration};

use crate::isolate::{self, Player};
use crate::node::{self, Node};

const FRAMES: u32 = 5_000;

#[test]
fn two_processes_exchange_frames_in_order() {
    exchange("memif::two_processes_exchange_frames_in_order", 1500);
}

#[test]
fn two_processes_exchange_jumbo_frames() {
    exchange("memif::two_processes_exchange_jumbo_frames", 9000);
}

fn exchange(test: &str, mtu: u16) {
    if !isolate::is_root() {
        return;
    }
    let role = isolate::role();
    let socket = |director: u32| format!("/tmp/hf-t-memif-{director}-{mtu}.sock");
    match role.as_deref() {
        None => {
            let path = socket(std::process::id());
            // A server that was killed leaves its socket behind; the next one takes it over.
            drop(UnixListener::bind(&path).unwrap());
            let server = Player::start(test, &format!("server {path}"), &[]);
            let listens = || UnixStream::connect(&path).is_err_and(|error| error.kind() != REFUSED);
            isolate::wait_for("the server's socket", || listens().then_some(()));
            Player::start(test, &format!("client {path}"), &[]).succeed();
            drop(server);
            let _ = std::fs::remove_file(path);
        }
        Some(role) => match role.split_once(' ') {
            Some(("server", path)) => reflect(up("server", path, mtu)),
            Some((_, path)) => send_and_compare(up("client", path, mtu)),
            None => panic!("unknown role {role}"),
        },
    }
}

fn up(role: &str, path: &str, mtu: u16) -> Node {
    let node = node::node("memif", &format!("role={role},socket={path}"), mtu);
    isolate::wait_for("the memif link", || node.port.link().unwrap().up.then_some(()));
    node
}

fn reflect(mut node: Node) {
    let mut frames = ArrayVec::<Mbuf, 32>::new();
    loop {
        node.queues.rx.receive(&mut frames);
        node.queues.tx.transmit(&mut frames);
        std::thread::yield_now();
    }
}

fn send_and_compare(mut node: Node) {
    let worker = std::thread::spawn(move || {
        let registration = ThreadRegistration::new(&node.eal).unwrap();
        let len = |number: u32| 60 + (number % (u32::from(node.port.mtu()) - 60)) as usize;
        let (mut sent, mut expected) = (0, 0u32);
        let mut out = ArrayVec::<Mbuf, 32>::new();
        let mut back = ArrayVec::<Mbuf, 32>::new();
        isolate::wait_for("all frames to come back", || {
            while sent < FRAMES && sent - expected < 256 && !out.is_full() {
                let mut frame = node.pool.allocate().unwrap();
                frame.append(len(sent)).unwrap().fill(sent as u8);
                frame.data_mut()[..4].copy_from_slice(&sent.to_be_bytes());
                out.push(frame);
                sent += 1;
            }
            node.queues.tx.transmit(&mut out);
            node.queues.rx.receive(&mut back);
            for frame in back.drain(..) {
                assert_eq!(frame.data()[..4], expected.to_be_bytes());
                assert_eq!(frame.len(), len(expected));
                assert!(frame.data()[4..].iter().all(|byte| *byte == expected as u8));
                expected += 1;
            }
            std::thread::yield_now();
            (expected == FRAMES).then_some(())
        });
        drop(registration);
        node
    });
    let node = worker.join().unwrap();
    drop((node.port, node.queues));
    assert_eq!(node.pool.in_use(), 0);
}
