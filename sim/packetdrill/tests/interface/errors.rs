//! What the calls fail with.

use std::ptr;

use engine::wire::tcp::Flags;

use crate::support::{Drill, Peer, checked, sys};

#[test]
fn a_refused_connection_is_an_error_of_the_socket() {
    let drill = Drill::new("");
    let fd = drill.socket();
    drill.nonblocking(fd);
    assert_eq!(drill.connect(fd), Err(libc::EINPROGRESS));
    assert_eq!(drill.connect(fd), Err(libc::EALREADY));
    let syn = drill.expect();
    let mut peer = Peer::new(syn.source_port, crate::support::PORT);
    peer.hear(&syn);
    drill.inject(&peer.segment(Flags::RST | Flags::ACK, b""));
    let told = drill.poll(fd, libc::POLLIN | libc::POLLOUT, 0);
    assert_eq!(told & (libc::POLLERR | libc::POLLHUP), libc::POLLERR | libc::POLLHUP);
    assert_eq!(drill.error(fd), libc::ECONNREFUSED);
    assert_eq!(drill.error(fd), 0, "it is told once");
    drill.free();
}

#[test]
fn a_reset_ends_reading_and_writing() {
    let drill = Drill::new("");
    let (fd, mut peer) = drill.accepted();
    drill.inject(&peer.segment(Flags::RST, b""));
    assert_eq!(drill.read(fd, 10), Err(libc::ECONNRESET));
    assert_eq!(drill.read(fd, 10).as_deref(), Ok(&b""[..]));
    assert_eq!(drill.write(fd, b"x"), Err(libc::EPIPE));
    assert_eq!(sys!(drill.shutdown(fd, libc::SHUT_WR)), Err(libc::ENOTCONN));
    drill.free();
}

#[test]
fn nothing_to_do_is_told_without_waiting() {
    let drill = Drill::new("");
    let listener = drill.listener();
    drill.nonblocking(listener);
    assert_eq!(drill.accept(listener), Err(libc::EAGAIN));
    let (fd, _peer) = drill.connected();
    assert_eq!(drill.read(fd, 10), Err(libc::EAGAIN));
    assert_eq!(drill.connect(fd), Ok(0), "the handshake is done, which is told once");
    assert_eq!(drill.connect(fd), Err(libc::EISCONN));
    drill.free();
}

#[test]
fn a_full_send_buffer_takes_a_part() {
    let drill = Drill::new("habits=freebsd");
    let (fd, _peer) = drill.accepted();
    drill.nonblocking(fd);
    drill.set(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 10_000).expect("is known");
    assert_eq!(drill.write(fd, &[7; 30_000]), Ok(10_000));
    assert_eq!(drill.write(fd, b"x"), Err(libc::EAGAIN));
    assert_eq!(drill.poll(fd, libc::POLLOUT, 0), 0);
    drill.free();
}

#[test]
fn what_is_no_connection_is_told() {
    let drill = Drill::new("");
    let fd = drill.socket();
    assert_eq!(drill.read(fd, 1), Err(libc::ENOTCONN));
    assert_eq!(drill.write(fd, b"x"), Err(libc::EPIPE));
    assert_eq!(sys!(drill.shutdown(fd, libc::SHUT_RDWR)), Err(libc::ENOTCONN));
    assert_eq!(drill.accept(fd), Err(libc::EINVAL));
    assert_eq!(drill.read(99_999, 1), Err(libc::EBADF));
    let datagrams = sys!(drill.socket(libc::AF_INET, libc::SOCK_DGRAM, 0));
    assert_eq!(datagrams, Err(libc::EPROTONOSUPPORT));
    drill.free();
}

#[test]
fn null_where_something_should_be_is_an_error_and_no_crash() {
    let drill = Drill::new("");
    let (fd, mut peer) = drill.accepted();
    drill.inject(&peer.segment(Flags::ACK, b"data"));
    assert_eq!(sys!(drill.read(fd, ptr::null_mut(), 4)), Err(libc::EFAULT));
    assert_eq!(sys!(drill.write(fd, ptr::null(), 4)), Err(libc::EFAULT));
    assert_eq!(sys!(drill.readv(fd, ptr::null(), 1)), Err(libc::EFAULT));
    assert_eq!(sys!(drill.recvmsg(fd, ptr::null_mut(), 0)), Err(libc::EFAULT));
    assert_eq!(sys!(drill.connect(fd, ptr::null(), 16)), Err(libc::EFAULT));
    assert_eq!(sys!(drill.pipe(ptr::null_mut())), Err(libc::EFAULT));
    assert_eq!(drill.read(fd, 4).as_deref(), Ok(&b"data"[..]));
    // SAFETY: a call without a stack touches nothing.
    let without = unsafe { (drill.table.listen)(ptr::null_mut(), fd, 1) };
    assert_eq!(checked(without), Err(libc::EFAULT));
    drill.free();
}

#[test]
fn a_packet_that_is_none_is_dropped() {
    let drill = Drill::new("");
    drill.listener();
    drill.inject(b"");
    drill.inject(&[0x45; 60]);
    assert!(drill.packet().is_none());
    drill.free();
}

#[test]
fn a_segment_for_nobody_is_reset_even_before_the_first_socket() {
    let drill = Drill::new("");
    let mut peer = Peer::new(9, 40_000);
    drill.inject(&peer.segment(Flags::SYN, b""));
    let answer = drill.expect();
    assert_eq!((answer.flags, answer.ack), (Flags::RST | Flags::ACK, peer.seq));
    drill.free();
}
