//! The calls on a healthy connection.

use std::ptr;

use engine::wire::tcp::Flags;

use crate::support::{Drill, sys};

#[test]
fn a_peer_connects_sends_receives_and_closes() {
    let drill = Drill::new("");
    let (fd, mut peer) = drill.accepted();
    drill.inject(&peer.segment(Flags::ACK | Flags::PSH, b"hello"));
    assert_eq!(drill.read(fd, 100).as_deref(), Ok(&b"hello"[..]));
    assert_eq!(drill.expect().ack, peer.seq);
    assert_eq!(drill.write(fd, b"world"), Ok(5));
    let answer = drill.expect();
    assert_eq!(answer.payload, b"world");
    peer.hear(&answer);
    drill.inject(&peer.segment(Flags::ACK | Flags::FIN, b""));
    assert_eq!(drill.expect().ack, peer.seq);
    assert_eq!(drill.read(fd, 100).as_deref(), Ok(&b""[..]));
    drill.close(fd);
    let fin = drill.expect();
    assert!(fin.flags.fin());
    peer.hear(&fin);
    drill.inject(&peer.segment(Flags::ACK, b""));
    assert!(drill.packet().is_none());
    drill.free();
}

#[test]
fn we_connect_close_and_the_peer_goes_on() {
    let drill = Drill::new("");
    let (fd, mut peer) = drill.connected();
    assert_eq!(drill.error(fd), 0);
    assert_eq!(sys!(drill.shutdown(fd, libc::SHUT_WR)), Ok(0));
    let fin = drill.expect();
    assert_eq!(fin.flags, Flags::FIN | Flags::ACK);
    peer.hear(&fin);
    drill.inject(&peer.segment(Flags::ACK, b""));
    assert_eq!(drill.write(fd, b"x"), Err(libc::EPIPE));
    drill.inject(&peer.segment(Flags::ACK, b"more"));
    assert_eq!(drill.read(fd, 100).as_deref(), Ok(&b"more"[..]));
    drill.inject(&peer.segment(Flags::ACK | Flags::FIN, b""));
    assert_eq!(drill.read(fd, 100).as_deref(), Ok(&b""[..]));
    drill.free();
}

#[test]
fn what_was_not_read_outlives_the_connection() {
    let drill = Drill::new("");
    let (fd, mut peer) = drill.accepted();
    drill.inject(&peer.segment(Flags::ACK | Flags::FIN, b"last words"));
    assert_eq!(sys!(drill.shutdown(fd, libc::SHUT_WR)), Ok(0));
    drill.expect();
    let fin = drill.expect();
    assert!(fin.flags.fin());
    peer.hear(&fin);
    drill.inject(&peer.segment(Flags::ACK, b""));
    assert_eq!(drill.read(fd, 100).as_deref(), Ok(&b"last words"[..]));
    assert_eq!(drill.read(fd, 100).as_deref(), Ok(&b""[..]));
    drill.free();
}

#[test]
fn vectors_and_messages_are_gathered_and_scattered() {
    let drill = Drill::new("");
    let (fd, mut peer) = drill.accepted();
    let (mut one, mut two) = (*b"ab", *b"cde");
    let mut vectors = [
        libc::iovec { iov_base: one.as_mut_ptr().cast(), iov_len: 2 },
        libc::iovec { iov_base: two.as_mut_ptr().cast(), iov_len: 3 },
    ];
    assert_eq!(sys!(drill.writev(fd, vectors.as_ptr(), 2)), Ok(5));
    assert_eq!(drill.expect().payload, b"abcde");
    drill.inject(&peer.segment(Flags::ACK, b"12345678"));
    assert_eq!(sys!(drill.readv(fd, vectors.as_ptr(), 2)), Ok(5));
    assert_eq!((one, two), (*b"12", *b"345"));
    // SAFETY: a header of zeros is one without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = 2;
    assert_eq!(sys!(drill.recvmsg(fd, &mut message, 0)), Ok(3));
    assert_eq!((one, two), (*b"67", *b"845"));
    assert_eq!(sys!(drill.sendmsg(fd, &message, 0)), Ok(5));
    drill.free();
}

#[test]
fn bytes_can_be_looked_at_and_thrown_away() {
    let drill = Drill::new("");
    let (fd, mut peer) = drill.accepted();
    drill.inject(&peer.segment(Flags::ACK, b"abcdef"));
    let mut byte = [0_u8; 2];
    let peek = libc::MSG_PEEK;
    assert_eq!(sys!(drill.recv(fd, byte.as_mut_ptr().cast(), 2, peek)), Ok(2));
    assert_eq!(&byte, b"ab");
    assert_eq!(sys!(drill.recv(fd, ptr::null_mut(), 4, libc::MSG_TRUNC)), Ok(4));
    let mut waiting = 0;
    assert_eq!(sys!(drill.ioctl(fd, libc::FIONREAD, &mut waiting)), Ok(0));
    assert_eq!(waiting, 2);
    assert_eq!(drill.read(fd, 10).as_deref(), Ok(&b"ef"[..]));
    drill.free();
}

#[test]
fn readiness_is_told_by_poll_and_once_by_an_edge() {
    let drill = Drill::new("");
    let (fd, mut peer) = drill.accepted();
    let (input, output) = (libc::POLLIN, libc::POLLOUT);
    assert_eq!(drill.poll(fd, input | output, 0), output);
    let epoll = sys!(drill.epoll_create(1)).expect("a set") as i32;
    let events = (libc::EPOLLIN | libc::EPOLLET) as u32;
    let mut event = libc::epoll_event { events, u64: 42 };
    assert_eq!(sys!(drill.epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event)), Ok(0));
    assert_eq!(sys!(drill.epoll_wait(epoll, &mut event, 1, 0)), Ok(0));
    for _ in 0..2 {
        drill.inject(&peer.segment(Flags::ACK, b"data"));
        assert_eq!(drill.poll(fd, input, 0), input);
        assert_eq!(sys!(drill.epoll_wait(epoll, &mut event, 1, 0)), Ok(1));
        assert_eq!({ event.u64 }, 42);
        assert_eq!(sys!(drill.epoll_wait(epoll, &mut event, 1, 0)), Ok(0));
    }
    drill.inject(&peer.segment(Flags::ACK | Flags::FIN, b""));
    assert_eq!(drill.poll(fd, input | libc::POLLRDHUP, 0), input | libc::POLLRDHUP);
    drill.free();
}

#[test]
fn bytes_are_spliced_through_a_pipe() {
    let drill = Drill::new("");
    let (fd, mut peer) = drill.accepted();
    let mut ends = [0; 2];
    assert_eq!(sys!(drill.pipe(ends.as_mut_ptr())), Ok(0));
    drill.inject(&peer.segment(Flags::ACK, b"through"));
    let none = ptr::null_mut();
    assert_eq!(sys!(drill.splice(fd, none, ends[1], none, 100, 0)), Ok(7));
    drill.expect();
    assert_eq!(sys!(drill.splice(ends[0], none, fd, none, 5, 0)), Ok(5));
    assert_eq!(drill.expect().payload, b"throu");
    assert_eq!(drill.read(ends[0], 10).as_deref(), Ok(&b"gh"[..]));
    drill.free();
}

#[test]
fn descriptors_are_real_ones() {
    let drill = Drill::new("");
    let fd = drill.socket();
    // SAFETY: no memory is involved.
    assert_ne!(unsafe { libc::fcntl(fd, libc::F_GETFD) }, -1);
    drill.close(fd);
    assert_eq!(sys!(drill.close(fd)), Err(libc::EBADF));
    drill.free();
}
