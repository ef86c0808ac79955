//! The http service: a client's bytes in one piece, in many, and with hardly any memory for the
//! answers. What comes back is the same.

use std::collections::VecDeque;
use std::sync::LazyLock;

use engine::config::{ServiceConfig, ServiceKind};
use engine::content::{Content, FileId, SourceFile, listings};
use engine::service::{ByteStream, ServiceState};
use engine::snapshot::{Reader, Writer};
use engine::time::Instant;

/// Longer inputs only repeat themselves.
const MAX_BYTES: usize = 20_000;
/// What is in a file of another root.
const SECRET: &[u8] = b"NOBODY-MAY-SEE-THIS";

static CONTENT: LazyLock<Content> = LazyLock::new(|| {
    let file = |root, path, bytes: &[u8]| SourceFile::new(root, path, bytes.into(), 784_111_777);
    let mut files = vec![
        file("www", "/a.txt", b"0123456789"),
        file("www", "/empty", b""),
        file("www", "/x y/index.html", b"<p>x y"),
        file("www", "/docs/b.bin", b"b"),
    ];
    files.extend(listings("www", &files));
    files.push(file("other", "/secret", SECRET));
    Content::new(files).expect("paths that differ")
});

static CONFIG: LazyLock<ServiceConfig> = LazyLock::new(|| {
    let kind = ServiceKind::Http { root: "www".to_owned(), directory_index: true };
    ServiceConfig::new("web", 80, kind)
});

pub fn run(input: &[u8]) {
    let [pieces, memory, bytes @ ..] = input else { return };
    let bytes = &bytes[..bytes.len().min(MAX_BYTES)];
    let whole = serve([bytes].into_iter(), usize::MAX);
    let size = 1 + usize::from(*pieces);
    let split = serve(bytes.chunks(size), usize::MAX);
    assert_eq!(whole, split, "pieces of {size} bytes");
    let starved = serve(bytes.chunks(size), 1 + usize::from(*memory) * 8);
    assert_eq!(whole, starved, "{memory} times 8 bytes of memory");
    judge(&whole);
}

/// Each answer begins with a status line, and nothing is sent that is not there to be served.
fn judge(answer: &Answer) {
    assert!(!answer.bytes.windows(SECRET.len()).any(|window| window == SECRET));
    assert!(answer.bytes.is_empty() || answer.bytes.starts_with(b"HTTP/1.1 "));
    assert!(answer.closed, "the client has closed, and is not let go");
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    bytes: Vec<u8>,
    closed: bool,
}

/// Feeds the pieces to the service and then closes. There is room for `memory` more bytes whenever
/// the service is called.
fn serve<'a>(pieces: impl Iterator<Item = &'a [u8]>, memory: usize) -> Answer {
    let mut state = ServiceState::new(&CONFIG.kind);
    let mut stream = Stream { memory, ..Stream::default() };
    state.accept(&CONFIG, &CONTENT, &mut stream);
    for piece in pieces {
        stream.unread.extend(piece);
        stream.unread.make_contiguous();
        stream.memory = memory;
        state.data(&CONFIG, &CONTENT, &mut stream);
        drain(&mut state, &mut stream, memory);
        state = reloaded(&state);
    }
    stream.peer_closed = true;
    stream.memory = memory;
    state.closed(&CONFIG, &CONTENT, &mut stream);
    drain(&mut state, &mut stream, memory);
    assert!(!stream.aborted, "an abort that nobody caused");
    Answer { bytes: stream.written, closed: stream.closed }
}

/// Memory comes back until the service makes no more use of it.
fn drain(state: &mut ServiceState, stream: &mut Stream, memory: usize) {
    while stream.is_short {
        stream.is_short = false;
        stream.memory = memory;
        let before = stream.written.len();
        state.writable(&CONFIG, &CONTENT, stream);
        assert!(stream.written.len() > before || !stream.is_short, "no progress");
    }
}

fn reloaded(state: &ServiceState) -> ServiceState {
    let mut bytes = Vec::new();
    state.save(&mut Writer::new(&mut bytes));
    let restored = ServiceState::restore(&mut Reader::new(&bytes), &CONTENT);
    let restored = restored.expect("it was saved just now");
    assert_eq!(restored, *state);
    restored
}

/// A connection without a network.
#[derive(Default)]
struct Stream {
    unread: VecDeque<u8>,
    written: Vec<u8>,
    memory: usize,
    is_short: bool,
    peer_closed: bool,
    closed: bool,
    aborted: bool,
}

impl ByteStream for Stream {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn readable(&self) -> usize {
        self.unread.len()
    }

    fn peek(&self, offset: usize, into: &mut [u8]) -> usize {
        let rest = self.read_slice().get(offset..).unwrap_or_default();
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        n
    }

    fn read_slice(&self) -> &[u8] {
        let (front, rest) = self.unread.as_slices();
        assert!(rest.is_empty(), "made contiguous when it came");
        front
    }

    fn consume(&mut self, n: usize) {
        self.unread.drain(..n);
    }

    fn urgent(&self) -> u32 {
        0
    }

    fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    fn writable(&self) -> usize {
        if self.closed { 0 } else { 1 << 20 }
    }

    fn queued(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = if self.closed { 0 } else { bytes.len().min(self.memory) };
        self.written.extend_from_slice(&bytes[..taken]);
        self.memory -= taken;
        self.is_short |= taken < bytes.len();
        taken
    }

    fn write_content(&mut self, file: FileId, offset: u64, len: u64) -> bool {
        if self.closed || self.memory == 0 {
            self.is_short = true;
            return false;
        }
        self.memory -= 1;
        let bytes = &CONTENT.bytes(file)[offset as usize..(offset + len) as usize];
        self.written.extend_from_slice(bytes);
        true
    }

    fn write_pattern(&mut self, _offset: u64, _len: u64) -> bool {
        unreachable!("files have nothing of the pattern")
    }

    fn close(&mut self) {
        self.closed = true;
    }

    fn abort(&mut self) {
        self.aborted = true;
    }

    fn set_timer(&mut self, _after_us: u64) {}
}
