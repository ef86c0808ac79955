//! What a client does with a connection, and what it must get for it: every byte, in order.

use std::collections::VecDeque;

use crate::plan::JobPlan;

/// RFC 862.
pub const ECHO_PORT: u16 = 7;
/// RFC 863.
pub const DISCARD_PORT: u16 = 9;
/// Sends as much of the pattern as is asked for.
pub const STREAM_PORT: u16 = 20;
/// The same at a pace.
pub const PACED_PORT: u16 = 21;
/// Where the paced stream's pattern begins.
const PACED_OFFSET: u64 = 77;
/// Files.
pub const HTTP_PORT: u16 = 80;

/// Path and length of each file that is served.
pub const FILES: [(&str, u64); 4] =
    [("/empty", 0), ("/note.txt", 37), ("/page.html", 5_000), ("/image.bin", 200_001)];

/// The longest head of a response that is believed.
const MAX_HEAD: usize = 2048;
/// How often a client that reads slowly does so.
const READ_PAUSES: u64 = 6;
/// Bytes that are written at once.
const PIECE: u64 = 4096;

/// A connection's purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Sends so many bytes, and wants them back.
    Echo { bytes: u64 },
    /// Sends so many bytes that nobody answers.
    Upload { bytes: u64 },
    /// Asks for so many bytes of the pattern.
    Download { bytes: u64, paced: bool },
    /// Asks for files, one after the other.
    Fetch { files: Vec<(&'static str, u64)> },
}

/// The manner in which it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Habits {
    /// Bytes between two pauses.
    pub chunk: u64,
    /// Length of a pause.
    pub pause_ns: u64,
    /// Time between two looks at what has come, for the first ones; nothing is read in between.
    pub read_pause_ns: u64,
    /// The client says nothing for so long when half is done.
    pub silence_ns: u64,
    /// It closes its side so long after it has asked for what it wants, and does not wait for it.
    pub half_close_ns: Option<u64>,
    /// How it ends.
    pub ending: Ending,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// When everything is done.
    Orderly,
    /// With a RST, once so many bytes were written.
    AbortAfter(u64),
    /// The program is killed, once so many bytes were written.
    AbandonAfter(u64),
}

impl Work {
    /// The port of the service.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Work::Echo { .. } => ECHO_PORT,
            Work::Upload { .. } => DISCARD_PORT,
            Work::Download { paced: false, .. } => STREAM_PORT,
            Work::Download { paced: true, .. } => PACED_PORT,
            Work::Fetch { .. } => HTTP_PORT,
        }
    }

    /// Bytes that the client sends altogether.
    #[must_use]
    pub fn sends(&self) -> u64 {
        match self {
            Work::Echo { bytes } | Work::Upload { bytes } => *bytes,
            Work::Download { bytes, .. } => request_line(*bytes).len() as u64,
            Work::Fetch { files } => files.iter().map(|file| request(file.0).len() as u64).sum(),
        }
    }

    /// Bytes that may be written after so many answers.
    fn may_send(&self, answers: usize) -> u64 {
        match self {
            Work::Fetch { files } => {
                files.iter().take(answers + 1).map(|file| request(file.0).len() as u64).sum()
            }
            _ => self.sends(),
        }
    }

    /// What the client sends, from byte `from` on: `len` bytes, which are there.
    fn outgoing(&self, from: u64, len: u64) -> Vec<u8> {
        let whole = match self {
            Work::Echo { .. } | Work::Upload { .. } => {
                return (from..from + len).map(pattern).collect();
            }
            Work::Download { bytes, .. } => request_line(*bytes).into_bytes(),
            Work::Fetch { files } => {
                files.iter().flat_map(|file| request(file.0).into_bytes()).collect()
            }
        };
        whole[from as usize..(from + len) as usize].to_vec()
    }
}

/// Byte `i` of the stream pattern, as the services' documentation has it.
#[must_use]
pub fn pattern(i: u64) -> u8 {
    (i.wrapping_mul(2_654_435_761) >> 16) as u8
}

/// The content of a file: no two have the same.
#[must_use]
pub fn file_bytes(path: &str, len: u64) -> Vec<u8> {
    let salt = path.bytes().map(u64::from).sum::<u64>();
    (0..len).map(|i| pattern(i * 31 + salt * 1009)).collect()
}

fn request_line(bytes: u64) -> String {
    format!("{bytes}\n")
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: sim\r\n\r\n")
}

/// A connection as a program sees it, on whichever stack.
pub trait Pipe {
    /// How far it is.
    fn phase(&self) -> Phase;
    /// Writes; tells how much was taken.
    fn send(&mut self, bytes: &[u8]) -> usize;
    /// Reads all there is.
    fn receive(&mut self, take: &mut impl FnMut(&[u8]));
    /// The peer has closed its side, and all that it sent has been read.
    fn ended(&self) -> bool;
    /// No more will be written.
    fn close(&mut self);
    /// Ends it with a RST.
    fn abort(&mut self);
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The handshake is not done.
    Opening,
    /// Bytes can flow.
    Alive,
    /// Both sides have closed; what is unread can be read. A RST, which answers any segment now
    /// that the service has forgotten the connection, makes smoltcp forget that, too.
    Over,
    /// It was refused, reset, or given up.
    Gone,
}

/// How a connection came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The client got all that it wanted, or ended it itself.
    Done,
    /// The connection was lost. What had come by then was right.
    Lost(&'static str),
    /// What came is wrong.
    Wrong(String),
}

/// A connection's work, and how far it is.
#[derive(Clone, Debug)]
pub struct Job {
    plan: JobPlan,
    sent: u64,
    received: u64,
    answers: Answers,
    closed: bool,
    opened: bool,
    write_at_ns: u64,
    read_at_ns: u64,
    was_silent: bool,
    has_asked: bool,
    read_pauses: u64,
    /// How it came out.
    pub end: Option<End>,
    /// When it last went forward.
    pub moved_ns: u64,
}

impl Job {
    /// A job that is about to be begun.
    #[must_use]
    pub fn new(plan: JobPlan, now_ns: u64) -> Job {
        Job {
            plan,
            sent: 0,
            received: 0,
            answers: Answers::default(),
            closed: false,
            opened: false,
            write_at_ns: 0,
            read_at_ns: 0,
            was_silent: false,
            has_asked: false,
            read_pauses: 0,
            end: None,
            moved_ns: now_ns,
        }
    }

    /// The client's program is gone without a word: its machine knows nothing of the connection.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.end.is_some() && matches!(self.plan.habits.ending, Ending::AbandonAfter(_))
    }

    /// Goes on as far as it can; says whether anything moved.
    pub fn run(&mut self, now_ns: u64, pipe: &mut impl Pipe) -> bool {
        if self.end.is_some() {
            return false;
        }
        if pipe.phase() == Phase::Opening {
            return false;
        }
        let was_over = pipe.phase() == Phase::Over;
        let before = (self.sent, self.received, self.closed, self.opened);
        self.opened = self.opened || pipe.phase() == Phase::Alive;
        if now_ns >= self.read_at_ns || pipe.phase() == Phase::Over {
            self.read(now_ns, pipe);
        }
        if pipe.phase() == Phase::Alive {
            self.write(now_ns, pipe);
        }
        self.conclude(pipe, was_over);
        let moved = before != (self.sent, self.received, self.closed, self.opened);
        if moved || self.end.is_some() {
            self.moved_ns = now_ns;
        }
        moved
    }

    /// When it wants to go on by itself.
    #[must_use]
    pub fn next_ns(&self, now_ns: u64) -> Option<u64> {
        if self.end.is_some() {
            return None;
        }
        [self.write_at_ns, self.read_at_ns].into_iter().filter(|at_ns| *at_ns > now_ns).min()
    }

    fn read(&mut self, now_ns: u64, pipe: &mut impl Pipe) {
        let mut wrong = None;
        let before = self.received;
        pipe.receive(&mut |bytes| {
            if wrong.is_none() {
                wrong = self.take(bytes).err();
            }
        });
        if let Some(wrong) = wrong {
            self.end = Some(End::Wrong(wrong));
        }
        if self.received > before && self.read_pauses < READ_PAUSES {
            self.read_pauses += 1;
            self.read_at_ns = now_ns + self.plan.habits.read_pause_ns;
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let from = self.received;
        self.received += bytes.len() as u64;
        let (total, offset) = match &self.plan.work {
            Work::Echo { .. } => (self.sent, 0),
            Work::Upload { .. } => (0, 0),
            Work::Download { bytes, paced: false } => (*bytes, 0),
            Work::Download { bytes, paced: true } => (*bytes, PACED_OFFSET),
            Work::Fetch { files } => return self.answers.take(files, bytes),
        };
        if self.received > total {
            return Err(format!("{} bytes came, {total} were expected", self.received));
        }
        let right = |(at, byte): (u64, &u8)| *byte == pattern(at + offset);
        match (from..).zip(bytes).find(|pair| !right(*pair)) {
            Some((at, byte)) => Err(format!("byte {at} is {byte:#04x}")),
            None => Ok(()),
        }
    }

    fn write(&mut self, now_ns: u64, pipe: &mut impl Pipe) {
        let total = self.plan.work.sends();
        let Habits { chunk, pause_ns, silence_ns, half_close_ns, .. } = self.plan.habits;
        while now_ns >= self.write_at_ns && self.end.is_none() {
            if self.leaves(pipe) {
                return;
            }
            if silence_ns > 0 && !self.was_silent && self.sent >= total / 2 {
                self.was_silent = true;
                self.write_at_ns = now_ns + silence_ns;
                return;
            }
            let allowed = self.plan.work.may_send(self.answers.done);
            let len = (allowed - self.sent).min(PIECE).min(chunk - self.sent % chunk);
            if len == 0 {
                break;
            }
            let taken = pipe.send(&self.plan.work.outgoing(self.sent, len)) as u64;
            self.sent += taken;
            if taken < len {
                return;
            }
            if self.sent.is_multiple_of(chunk) {
                self.write_at_ns = now_ns + pause_ns;
            }
        }
        if self.sent == total && !self.has_asked {
            self.has_asked = true;
            self.write_at_ns = self.write_at_ns.max(now_ns + half_close_ns.unwrap_or(0));
        }
        let is_all = self.sent == total && now_ns >= self.write_at_ns;
        // Who asks for something mostly waits for it before it hangs up.
        let hangs_up = match self.plan.work {
            Work::Echo { .. } | Work::Upload { .. } => true,
            Work::Download { .. } => half_close_ns.is_some(),
            Work::Fetch { ref files } => self.answers.done == files.len(),
        };
        if is_all && hangs_up && !self.closed {
            self.closed = true;
            pipe.close();
        }
    }

    /// The client does not wait for the end.
    fn leaves(&mut self, pipe: &mut impl Pipe) -> bool {
        let (Ending::AbortAfter(bytes) | Ending::AbandonAfter(bytes)) = self.plan.habits.ending
        else {
            return false;
        };
        if self.sent < bytes {
            return false;
        }
        if matches!(self.plan.habits.ending, Ending::AbortAfter(_)) {
            pipe.abort();
        }
        self.end = Some(End::Done);
        true
    }

    fn is_complete(&self) -> bool {
        let all_sent = self.sent == self.plan.work.sends();
        all_sent
            && match &self.plan.work {
                Work::Echo { bytes } => self.received == *bytes,
                Work::Upload { .. } => true,
                Work::Download { bytes, .. } => self.received == *bytes,
                Work::Fetch { files } => self.answers.done == files.len(),
            }
    }

    fn conclude(&mut self, pipe: &mut impl Pipe, was_over: bool) {
        if self.end.is_some() {
            return;
        }
        if pipe.ended() {
            if self.is_complete() {
                if !self.closed {
                    self.closed = true;
                    pipe.close();
                }
                self.end = Some(End::Done);
            } else {
                self.end = Some(End::Wrong(format!(
                    "the stream ended after {} bytes sent and {} received",
                    self.sent, self.received
                )));
            }
        } else if pipe.phase() == Phase::Gone && was_over && self.closed && self.is_complete() {
            // The last of it was still to be read when the last ACK had come.
            self.end = Some(End::Done);
        } else if pipe.phase() == Phase::Gone {
            self.end = Some(End::Lost(if self.opened { "reset" } else { "refused" }));
        }
    }
}

/// How far the answers to requests for files have come.
#[derive(Clone, Debug, Default)]
struct Answers {
    /// Complete ones.
    done: usize,
    head: VecDeque<u8>,
    /// Bytes of the body that came, once the head is whole.
    body: Option<u64>,
}

impl Answers {
    fn take(&mut self, files: &[(&'static str, u64)], mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let Some((path, len)) = files.get(self.done) else {
                return Err("bytes came that nobody had asked for".to_owned());
            };
            let Some(got) = self.body else {
                let end = self.take_head(bytes, *len)?;
                bytes = &bytes[end..];
                self.finish(*len);
                continue;
            };
            let now = bytes.len().min((len - got) as usize);
            let expected = &file_bytes(path, *len)[got as usize..got as usize + now];
            if bytes[..now] != *expected {
                return Err(format!("the content of {path} is wrong behind byte {got}"));
            }
            self.body = Some(got + now as u64);
            bytes = &bytes[now..];
            self.finish(*len);
        }
        Ok(())
    }

    /// An empty body is complete with its head.
    fn finish(&mut self, len: u64) {
        if self.body == Some(len) {
            self.done += 1;
            self.body = None;
            self.head.clear();
        }
    }

    /// Takes what belongs to the head; tells how much of `bytes` that was.
    fn take_head(&mut self, bytes: &[u8], len: u64) -> Result<usize, String> {
        for (at, byte) in bytes.iter().enumerate() {
            self.head.push_back(*byte);
            let head = self.head.make_contiguous();
            if head.ends_with(b"\r\n\r\n") {
                let head = String::from_utf8_lossy(head).to_lowercase();
                let length = format!("\r\ncontent-length: {len}\r\n");
                if !head.starts_with("http/1.1 200 ") || !head.contains(&length) {
                    return Err(format!("a head is wrong: {head:?}"));
                }
                self.body = Some(0);
                return Ok(at + 1);
            }
            if self.head.len() > MAX_HEAD {
                return Err("a head never ends".to_owned());
            }
        }
        Ok(bytes.len())
    }
}
