//! Time, and calls that wait for it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use engine::wire::tcp::Flags;

use crate::support::{Drill, PORT, Peer};

#[test]
fn time_goes_on_with_each_look_and_with_sleep() {
    let drill = Drill::new("");
    let mut last = drill.time_us();
    for _ in 0..3 {
        let now = drill.time_us();
        assert!(now > last);
        last = now;
    }
    drill.sleep_us(1_000_000);
    assert_eq!(drill.time_us() - last, 1_000_001);
    drill.free();
}

#[test]
fn the_search_for_a_packet_ends_when_nothing_is_going_to_happen() {
    let drill = Drill::new("");
    assert!(drill.packet().is_none());
    drill.listener();
    assert!(drill.packet().is_none());
    drill.free();
}

#[test]
fn a_call_of_the_driver_moves_the_clock_until_it_is_done() {
    let drill = Drill::new("");
    let fd = drill.socket();
    let start = drill.time_us();
    assert_eq!(drill.connect(fd), Err(libc::ETIMEDOUT));
    // Eight SYNs, with a timeout that begins with a second and doubles up to a minute.
    let waited_us = drill.time_us() - start;
    assert!((183_000_000..183_100_000).contains(&waited_us), "{waited_us}");
    let sent = (0..8).map(|_| drill.expect().flags).all(|flags| flags == Flags::SYN);
    assert!(sent && drill.packet().is_none());
    drill.free();
}

#[test]
fn a_poll_waits_as_long_as_it_is_told() {
    let drill = Drill::new("");
    let (fd, _peer) = drill.connected();
    let start = drill.time_us();
    assert_eq!(drill.poll(fd, libc::POLLIN, 250), 0);
    assert_eq!((drill.time_us() - start) / 1000, 250);
    drill.free();
}

#[test]
fn retransmissions_come_when_their_time_has_come() {
    let drill = Drill::new("");
    let (fd, _peer) = drill.connected();
    assert_eq!(drill.write(fd, b"lost"), Ok(4));
    let (first, second) = (drill.expect(), drill.expect());
    assert_eq!((first.seq, first.payload), (second.seq, second.payload));
    assert!((200_000..1_100_000).contains(&(second.at_us - first.at_us)));
    drill.free();
}

/// Runs a call in a thread of its own, and lets it begin.
fn begin<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(call()));
    thread::sleep(Duration::from_millis(50));
    result
}

fn result<T>(of: &mpsc::Receiver<T>) -> T {
    of.recv_timeout(Duration::from_secs(10)).expect("the call returns")
}

#[test]
fn a_call_of_another_thread_returns_at_the_moment_of_its_event() {
    let drill = Drill::new("");
    let fd = drill.socket();
    let start = drill.time_us();
    let call = begin(move || {
        let connected = drill.connect(fd);
        (connected, drill.time_us())
    });
    let syn = drill.expect();
    let mut peer = Peer::new(syn.source_port, PORT);
    peer.hear(&syn);
    drill.sleep_us(100_000);
    drill.inject(&peer.segment(Flags::SYN | Flags::ACK, b""));
    drill.sleep_us(900_000);
    let (connected, at) = result(&call);
    assert_eq!(connected, Ok(0));
    assert!((100_000..101_000).contains(&(at - start)), "{}", at - start);
    drill.free();
}

#[test]
fn a_timeout_of_another_thread_stops_the_clock_in_time() {
    let drill = Drill::new("");
    let (fd, _peer) = drill.connected();
    let start = drill.time_us();
    let call = begin(move || (drill.poll(fd, libc::POLLIN, 30), drill.time_us()));
    drill.sleep_us(1_000_000);
    let (ready, at) = result(&call);
    assert_eq!((ready, (at - start) / 1000), (0, 30));
    drill.free();
}

#[test]
fn a_write_waits_for_room() {
    let drill = Drill::new("habits=freebsd");
    let (fd, mut peer) = drill.accepted();
    drill.set(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 8192).expect("is known");
    let call = begin(move || drill.write(fd, &[1; 20_000]));
    let mut got = 0;
    while got < 20_000 {
        let heard = drill.expect();
        got += heard.payload.len();
        peer.hear(&heard);
        drill.inject(&peer.segment(Flags::ACK, b""));
    }
    assert_eq!(result(&call), Ok(20_000));
    drill.free();
}
