//! A UDP echo on a port, and a kernel client that talks to it.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrayvec::ArrayVec;
use dpdk::{Eal, Mbuf, QueuePair, ThreadRegistration};

const ETHERNET: usize = 14;
const UDP: usize = ETHERNET + 20;

/// Answers every IPv4 UDP frame by swapping all addresses, in place; the checksums stay right.
/// Runs until `stop`, as a registered thread.
pub fn serve(eal: &Eal, queues: &mut QueuePair, stop: &AtomicBool) {
    let _registration = ThreadRegistration::new(eal).unwrap();
    let mut received = ArrayVec::<Mbuf, 32>::new();
    let mut answers = ArrayVec::<Mbuf, 32>::new();
    while !stop.load(Ordering::Relaxed) {
        if queues.rx.receive(&mut received) == 0 {
            std::thread::yield_now();
        }
        for mut frame in received.drain(..) {
            if swap(frame.data_mut()) {
                answers.push(frame);
            }
        }
        while !answers.is_empty() {
            queues.tx.transmit(&mut answers);
        }
    }
}

fn swap(frame: &mut [u8]) -> bool {
    let is_udp = frame.len() >= UDP + 8 && frame[12..15] == [8, 0, 0x45] && frame[23] == 17;
    if is_udp {
        swap_halves(&mut frame[..12]);
        swap_halves(&mut frame[ETHERNET + 12..UDP]);
        swap_halves(&mut frame[UDP..UDP + 4]);
    }
    is_udp
}

fn swap_halves(bytes: &mut [u8]) {
    let (left, right) = bytes.split_at_mut(bytes.len() / 2);
    left.swap_with_slice(right);
}

/// Sends datagrams of these sizes to the address and wants each back.
pub fn talk(to: &str, sizes: &[usize]) {
    let socket = connect(to);
    for (number, size) in sizes.iter().enumerate() {
        let sent: Vec<u8> = (0..*size).map(|index| (index + number) as u8).collect();
        assert!(ask(&socket, &sent), "no answer to a datagram of {size} bytes");
    }
}

pub fn connect(to: &str) -> UdpSocket {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket.connect(to).unwrap();
    socket
}

/// Whether the very datagram comes back; tried a few times, since the first frames of a link that
/// just came up may be lost.
pub fn ask(socket: &UdpSocket, sent: &[u8]) -> bool {
    let mut answer = vec![0; sent.len() + 1];
    (0..10).any(|_| {
        socket.send(sent).unwrap();
        matches!(socket.recv(&mut answer), Ok(len) if answer[..len] == *sent)
    })
}
