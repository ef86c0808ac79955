use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use clap::Parser;

use super::*;
use crate::args::{Cli, Command};

fn backend(options: &str) -> BackendArgs {
    let line = format!("holdfast-perf rpc --target 127.0.0.1:7 --kernel {options}");
    match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
        Command::Rpc(args) => args.common.backend,
        other => panic!("{other:?}"),
    }
}

/// A transport with connection 0 open, and the other end of it.
fn connected(options: &str) -> (Kernel, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let mut kernel = Kernel::start(&backend(options), target, 1).unwrap();
    kernel.open(0).unwrap();
    let (server, _) = listener.accept().unwrap();
    let notice = next(&mut kernel);
    assert_eq!((notice.events, notice.failure), (Events::OPENED, None));
    (kernel, server)
}

fn next(kernel: &mut Kernel) -> Notice {
    let mut notices = Vec::new();
    let until_ns = kernel.now_ns() + 5_000_000_000;
    while notices.is_empty() && kernel.now_ns() < until_ns {
        kernel.poll(until_ns, &mut notices).unwrap();
    }
    assert_eq!(notices.len(), 1, "{notices:?}");
    notices[0]
}

#[test]
fn bytes_come_and_go_and_both_ends_close() {
    let (mut kernel, mut server) = connected("");
    assert_eq!(kernel.stream(0).unwrap().write(b"question"), 8);
    let mut bytes = [0; 8];
    server.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"question");
    server.write_all(b"answer").unwrap();
    assert_eq!(next(&mut kernel).events, Events::READABLE);
    let mut got = Vec::new();
    kernel.stream(0).unwrap().read(|bytes| got.extend_from_slice(bytes));
    assert_eq!(got, b"answer");
    server.shutdown(Shutdown::Write).unwrap();
    assert!(next(&mut kernel).events.has(Events::PEER_CLOSED));
    kernel.stream(0).unwrap().shut_down();
    let last = next(&mut kernel);
    assert_eq!((last.events, last.failure), (Events::OVER, None));
    assert!(kernel.stream(0).is_none());
}

#[test]
fn room_is_told_after_a_short_write_and_acknowledgements_are_known() {
    let (mut kernel, mut server) = connected("");
    let piece = vec![7; 1 << 20];
    let mut written = 0;
    loop {
        let took = kernel.stream(0).unwrap().write(&piece);
        written += took;
        if took < piece.len() {
            break;
        }
    }
    let unacknowledged = kernel.stream(0).unwrap().unacknowledged();
    assert!(unacknowledged > 0 && unacknowledged <= written as u64);
    let mut sink = vec![0; written];
    server.read_exact(&mut sink).unwrap();
    assert!(next(&mut kernel).events.has(Events::WRITABLE));
}

#[test]
fn resets_are_told_both_ways() {
    let (mut kernel, server) = connected("");
    sockopt_reset(server);
    let notice = next(&mut kernel);
    assert_eq!((notice.events, notice.failure), (Events::OVER, Some(Failure::Reset)));
    assert!(kernel.stream(0).is_none());

    let (mut kernel, mut server) = connected("");
    kernel.stream(0).unwrap().abort();
    assert!(kernel.stream(0).is_none());
    let error = server.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

fn sockopt_reset(server: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&server, Some(Duration::ZERO)).unwrap();
}

#[test]
fn nobody_listening_is_a_refusal() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut kernel = Kernel::start(&backend(""), target, 1).unwrap();
    match kernel.open(0) {
        Ok(()) => assert_eq!(next(&mut kernel).failure, Some(Failure::Refused)),
        Err(failure) => assert_eq!(failure, Failure::Refused),
    }
}

#[test]
fn local_ends_are_used_up_and_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let options = "--bind 127.0.0.2-127.0.0.3 --ports 40000-40001";
    assert!(Kernel::start(&backend(options), target, 5).is_err());
    let mut kernel = Kernel::start(&backend(options), target, 4).unwrap();
    for index in 0..4 {
        assert_eq!(kernel.open(index), Ok(()));
    }
    assert_eq!(kernel.open(4), Err(Failure::NoPorts));
    kernel.stream(2).unwrap().abort();
    assert_eq!(kernel.open(4), Ok(()));
}

#[test]
fn addresses_of_others_are_told_at_once() {
    let target = "127.0.0.1:7".parse().unwrap();
    let mixed = Kernel::start(&backend("--bind ::1"), target, 1).err().unwrap();
    assert!(mixed.to_string().contains("two IP versions"), "{mixed}");
    let error = Kernel::start(&backend("--bind 192.0.2.1"), target, 1).err().unwrap();
    assert!(format!("{error:#}").contains("192.0.2.1"), "{error:#}");
}
