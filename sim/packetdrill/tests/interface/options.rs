//! Socket options, and what they do to the connection.

use std::ptr;

use engine::wire::tcp::Flags;

use crate::support::{Drill, sys};

const TCP: i32 = libc::IPPROTO_TCP;
const SOCKET: i32 = libc::SOL_SOCKET;

#[test]
fn lingering_for_no_time_resets() {
    let drill = Drill::new("");
    let (fd, _peer) = drill.connected();
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let value = ptr::from_ref(&linger).cast();
    assert_eq!(sys!(drill.setsockopt(fd, SOCKET, libc::SO_LINGER, value, 8)), Ok(0));
    drill.close(fd);
    assert!(drill.expect().flags.rst());
    assert!(drill.packet().is_none());
    drill.free();
}

#[test]
fn closing_with_unread_data_resets() {
    for (flags, resets) in [("", true), ("habits=freebsd", false)] {
        let drill = Drill::new(flags);
        let (fd, mut peer) = drill.connected();
        drill.inject(&peer.segment(Flags::ACK, b"never read"));
        let mut answer = drill.expect();
        drill.close(fd);
        while !answer.flags.rst() && !answer.flags.fin() {
            answer = drill.expect();
        }
        assert_eq!(answer.flags.rst(), resets, "{flags}");
        drill.free();
    }
}

#[test]
fn a_silent_peer_is_probed_as_often_as_told() {
    let drill = Drill::new("");
    let (fd, _peer) = drill.connected();
    for (level, name, value) in [
        (SOCKET, libc::SO_KEEPALIVE, 1),
        (TCP, libc::TCP_KEEPIDLE, 5),
        (TCP, libc::TCP_KEEPINTVL, 2),
        (TCP, libc::TCP_KEEPCNT, 3),
    ] {
        drill.set(fd, level, name, value).expect("is known");
        assert_eq!(drill.get(fd, level, name), value);
    }
    let start = drill.time_us();
    let at: Vec<i64> = (0..3).map(|_| (drill.expect().at_us - start) / 100_000).collect();
    assert_eq!(at, [49, 69, 89], "tenths of a second");
    assert!(drill.expect().flags.rst());
    assert_eq!(drill.error(fd), libc::ETIMEDOUT);
    drill.free();
}

#[test]
fn the_user_timeout_ends_what_is_not_acknowledged() {
    let drill = Drill::new("");
    let (fd, _peer) = drill.connected();
    drill.set(fd, TCP, libc::TCP_USER_TIMEOUT, 3000).expect("is known");
    let start = drill.time_us();
    assert_eq!(drill.write(fd, b"anybody?"), Ok(8));
    while !drill.expect().flags.rst() {}
    let waited_us = drill.time_us() - start;
    assert!((2_900_000..3_100_000).contains(&waited_us), "{waited_us}");
    assert_eq!(drill.read(fd, 1), Err(libc::ETIMEDOUT));
    drill.free();
}

#[test]
fn the_largest_segment_is_announced_and_kept() {
    let drill = Drill::new("");
    let fd = drill.socket();
    drill.nonblocking(fd);
    drill.set(fd, TCP, libc::TCP_MAXSEG, 700).expect("is known");
    assert_eq!(drill.connect(fd), Err(libc::EINPROGRESS));
    assert_eq!(drill.expect().options.mss, Some(700));
    drill.free();
}

#[test]
fn small_writes_wait_for_company_unless_told_not_to() {
    let drill = Drill::new("");
    let (fd, mut peer) = drill.connected();
    for (no_delay, payload) in [(0, &b"bc"[..]), (1, &b"b"[..])] {
        drill.set(fd, TCP, libc::TCP_NODELAY, no_delay).expect("is known");
        for byte in [b"a", b"b", b"c"] {
            assert_eq!(drill.write(fd, byte), Ok(1));
        }
        let first = drill.expect();
        assert_eq!(first.payload, b"a");
        if no_delay == 0 {
            peer.hear(&first);
            drill.inject(&peer.segment(Flags::ACK, b""));
        }
        let second = drill.expect();
        assert_eq!(second.payload, payload, "with TCP_NODELAY {no_delay}");
        peer.hear(&second);
        drill.inject(&peer.segment(Flags::ACK, b""));
    }
    drill.free();
}

#[test]
fn the_connection_tells_of_itself() {
    let drill = Drill::new("");
    let (fd, _peer) = drill.connected();
    let mut info = [0_u8; 232];
    let mut len = 232;
    let value = info.as_mut_ptr().cast();
    assert_eq!(sys!(drill.getsockopt(fd, TCP, libc::TCP_INFO, value, &mut len)), Ok(0));
    let word = |at: usize| u32::from_ne_bytes(info[at..at + 4].try_into().expect("four bytes"));
    assert_eq!((len, info[0]), (232, 1), "ESTABLISHED");
    // rto, snd_mss, snd_ssthresh, snd_cwnd
    assert_eq!(word(16), 536, "the peer has named none");
    assert_eq!((word(76), word(80)), (0x7fff_ffff, 10));
    drill.free();
}

#[test]
fn settings_of_a_script_reach_the_engine() {
    let path = std::env::temp_dir().join(format!("settings-{}", std::process::id()));
    std::fs::write(&path, "net.ipv4.tcp_sack=0\nnet.ipv4.tcp_timestamps=0\n").expect("a file");
    let drill = Drill::new(&format!("settings={}", path.display()));
    let fd = drill.socket();
    drill.nonblocking(fd);
    assert_eq!(drill.connect(fd), Err(libc::EINPROGRESS));
    let options = drill.expect().options;
    assert!(!options.sack_permitted && options.timestamps.is_none());
    drill.free();
    std::fs::remove_file(path).expect("it is there");
}
