//! Small servers on loopback, well-behaved and otherwise.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Serves each connection in a thread of its own. Lives as long as the test process.
pub fn serve(handler: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    serve_on(TcpListener::bind("127.0.0.1:0").unwrap(), handler)
}

/// The same with receive buffers of `bytes`, so that the sender notices when nobody reads.
pub fn serve_with_receive_buffer(
    bytes: usize,
    handler: impl Fn(TcpStream) + Send + Sync + Clone + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, bytes).unwrap();
    serve_on(listener, handler)
}

fn serve_on(
    listener: TcpListener,
    handler: impl Fn(TcpStream) + Send + Sync + Clone + 'static,
) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let handler = handler.clone();
            thread::spawn(move || handler(stream.unwrap()));
        }
    });
    address
}

/// Sends everything back, changed by `change` (position, bytes), and closes after the peer.
pub fn echo_changed(mut stream: TcpStream, change: impl Fn(u64, &mut [u8])) {
    let mut buffer = [0; 16384];
    let mut at = 0;
    while let Ok(len) = stream.read(&mut buffer) {
        if len == 0 {
            return;
        }
        change(at, &mut buffer[..len]);
        if stream.write_all(&buffer[..len]).is_err() {
            return;
        }
        at += len as u64;
    }
}

/// Sends everything back.
pub fn echo(stream: TcpStream) {
    echo_changed(stream, |_, _| {});
}

/// Throws everything away, with a pause once `at` bytes have come.
pub fn discard_with_pause(mut stream: TcpStream, at: u64, pause: Duration) {
    let mut buffer = [0; 65536];
    let (mut total, mut paused) = (0, false);
    while let Ok(len) = stream.read(&mut buffer) {
        if len == 0 {
            return;
        }
        total += len as u64;
        if total >= at && !paused {
            paused = true;
            thread::sleep(pause);
        }
    }
}

/// The documented pattern, straight from its definition.
pub fn pattern(at: u64, len: usize) -> Vec<u8> {
    (at..at + len as u64).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as u8).collect()
}

/// Reads a decimal line and sends so many bytes of the pattern, changed by `change`, and FIN.
pub fn stream_n(mut stream: TcpStream, change: impl Fn(u64, &mut Vec<u8>)) {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    let total: u64 = String::from_utf8(line).unwrap().parse().unwrap();
    let mut at = 0;
    while at < total {
        let mut piece = pattern(at, usize::try_from((total - at).min(50_000)).unwrap());
        at += piece.len() as u64;
        change(at, &mut piece);
        if stream.write_all(&piece).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read(&mut byte);
}

/// Sends the pattern until the peer is gone.
pub fn stream_endless(mut stream: TcpStream) {
    let mut at = 0;
    loop {
        let piece = pattern(at, 100_000);
        if stream.write_all(&piece).is_err() {
            return;
        }
        at += piece.len() as u64;
    }
}
