//! Static files over HTTP/1.1 and 1.0 (RFC 9110, RFC 9112): GET and HEAD, single byte ranges,
//! conditional requests, keep-alive, pipelining.
//!
//! A request stays in the receive queue until its whole head is there; then it is answered at once.
//! The head of the response is copied into the send queue, the file is queued by reference. The
//! next request is looked at when the response before it is queued as a whole, so that a client
//! that asks without reading fills its own buffers and nothing of ours.
//!
//! Decisions:
//! - No `Date`: the engine has no wall clock, and an origin without one must not send it
//!   (RFC 9110 6.6.1).
//! - A request with a body is answered and the connection closed: no file needs one.
//! - After an answer that closes, what the peer still sends is read and thrown away, so that no
//!   reset destroys the answer on its way (RFC 9112 9.6).
//! - Several ranges in one request are answered with the whole file (RFC 9110 14.2 permits it).
//! - A folder's URL answers only if the service says so: with its `index.html`, or else with the
//!   list that came with the content.

mod condition;
mod path;
mod request;
mod response;
mod types;

#[cfg(test)]
mod tests;

use self::condition::Selection;
use self::request::{Method, Request};
use self::response::{Connection, MAX_RESPONSE_HEAD, Response, Status};
use super::{ByteStream, Context, Service};
use crate::config::{Commit, ServiceKind};
use crate::content::{Content, FileId};
use crate::snapshot::{Reader, SnapshotError, Writer};

/// Longest request head, the empty line included.
pub const MAX_HEAD_BYTES: usize = 8192;
/// Time for a request's head to become complete once its first byte is there.
const HEAD_TIMEOUT_US: u64 = 30_000_000;

/// What the service remembers of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Http {
    phase: Phase,
    /// Readable bytes in which no end of a head was found.
    scanned: u16,
    /// Whether the timer runs for a head that is incomplete.
    head_is_timed: bool,
    /// Bytes of the response's head that are queued while memory for the rest was missing. The
    /// request stays readable until then, so that the same head can be made again.
    head_written: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Phase {
    /// Waiting for a head.
    #[default]
    Head,
    /// The response's head is queued, the reference to its body found no room yet.
    Body { file: FileId, offset: u64, len: u64, close: bool },
    /// The last response and FIN are queued.
    Closing,
}

impl Http {
    /// Answers every request that is there, as far as the send queue takes it.
    fn pump<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S) {
        loop {
            match self.phase {
                Phase::Head => {
                    if !self.answer_next(context, stream) {
                        break;
                    }
                }
                Phase::Body { file, offset, len, close } => {
                    if !stream.write_content(file, offset, len) {
                        break;
                    }
                    self.finish(close, stream);
                }
                Phase::Closing => {
                    stream.consume(stream.readable());
                    break;
                }
            }
        }
    }

    /// Answers the first request in the receive queue. False: there is none to answer now.
    fn answer_next<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S) -> bool {
        if stream.writable() < MAX_RESPONSE_HEAD {
            return false;
        }
        skip_empty_lines(stream);
        let Some(end) = self.find_end(stream) else {
            return self.wait_for_more(context, stream);
        };
        self.scanned = 0;
        self.head_is_timed = false;
        let first = stream.read_slice();
        let response = if first.len() >= end {
            respond(context, &first[..end])
        } else {
            let mut head = [0; MAX_HEAD_BYTES];
            let copied = stream.peek(0, &mut head[..end]);
            respond(context, &head[..copied])
        };
        self.send(response, end, context.content, stream)
    }

    /// Where the head at the front of the receive queue ends. Each byte is looked at once, however
    /// small the pieces are in which it comes.
    fn find_end<S: ByteStream>(&mut self, stream: &S) -> Option<usize> {
        let limit = stream.readable().min(MAX_HEAD_BYTES);
        // An end that was not complete may have begun in the last two bytes.
        let from = usize::from(self.scanned).saturating_sub(2).min(limit);
        let first = stream.read_slice();
        let found = if first.len() >= limit {
            request::head_end(&first[from..limit])
        } else {
            let mut buffer = [0; MAX_HEAD_BYTES];
            let copied = stream.peek(from, &mut buffer[..limit - from]);
            request::head_end(&buffer[..copied])
        };
        self.scanned = u16::try_from(limit).expect("a head is at most 8 KiB");
        found.map(|end| from + end)
    }

    /// No whole head is there: refuses one that is too long, closes when no more can come, or waits
    /// with an eye on the time. Returns whether there is more to do.
    fn wait_for_more<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S) -> bool {
        if stream.readable() >= MAX_HEAD_BYTES {
            let mut head = [0; MAX_HEAD_BYTES];
            stream.peek(0, &mut head);
            let status =
                if head.contains(&b'\n') { Status::HeadTooLarge } else { Status::UriTooLong };
            return self.send(Response::refusal(status), 0, context.content, stream);
        }
        if stream.peer_closed() {
            self.finish(true, stream);
            return true;
        }
        if stream.readable() > 0 && !self.head_is_timed {
            self.head_is_timed = true;
            stream.set_timer(HEAD_TIMEOUT_US);
        }
        false
    }

    /// Queues the response's head, and drops the `request_len` bytes that asked for it. False: the
    /// shard's memory did not last for all of it, the rest has to wait.
    fn send<S: ByteStream>(
        &mut self,
        response: Response,
        request_len: usize,
        content: &Content,
        stream: &mut S,
    ) -> bool {
        let head = response.head(content);
        let rest = head.as_bytes().get(usize::from(self.head_written)..).unwrap_or_default();
        let taken = stream.write(rest);
        if taken < rest.len() {
            self.head_written += u16::try_from(taken).expect("a response's head is short");
            return false;
        }
        self.head_written = 0;
        stream.consume(request_len);
        let close = response.connection == Connection::Close;
        match response.body() {
            Some((file, offset, len)) => {
                self.phase = Phase::Body { file, offset, len, close };
            }
            None => self.finish(close, stream),
        }
        true
    }

    fn finish<S: ByteStream>(&mut self, close: bool, stream: &mut S) {
        if close {
            stream.close();
            self.phase = Phase::Closing;
        } else {
            self.phase = Phase::Head;
        }
    }

    pub(super) fn save(&self, out: &mut Writer<'_>) {
        match self.phase {
            Phase::Head => out.u8(0),
            Phase::Body { file, offset, len, close } => {
                out.u8(1);
                out.u32(file.0);
                out.u64(offset);
                out.u64(len);
                out.bool(close);
            }
            Phase::Closing => out.u8(2),
        }
        out.u16(self.scanned);
        out.bool(self.head_is_timed);
        out.u16(self.head_written);
    }

    pub(super) fn restore(
        input: &mut Reader<'_>,
        content: &Content,
    ) -> Result<Http, SnapshotError> {
        let phase = match input.u8("http phase")? {
            0 => Phase::Head,
            1 => {
                let file = FileId(input.u32("file")?);
                let (offset, len) = (input.u64("file offset")?, input.u64("file part")?);
                let size = if content.contains(file) { content.info(file).size } else { 0 };
                if len == 0 || offset.checked_add(len).is_none_or(|end| end > size) {
                    return Err(input.invalid("part of a file", len));
                }
                Phase::Body { file, offset, len, close: input.bool("http close")? }
            }
            2 => Phase::Closing,
            other => return Err(input.invalid("http phase", other.into())),
        };
        let scanned = input.u16("http head")?;
        if usize::from(scanned) > MAX_HEAD_BYTES {
            return Err(input.invalid("http head", scanned.into()));
        }
        let head_is_timed = input.bool("http timer")?;
        let head_written = input.u16("http response")?;
        if usize::from(head_written) > MAX_RESPONSE_HEAD {
            return Err(input.invalid("http response", head_written.into()));
        }
        Ok(Http { phase, scanned, head_is_timed, head_written })
    }
}

impl Service for Http {
    fn accept<S: ByteStream>(&mut self, _: Context<'_>, _: &mut S) {}

    fn data<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S) {
        self.pump(context, stream);
    }

    fn writable<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S) {
        self.pump(context, stream);
    }

    fn closed<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S) {
        self.pump(context, stream);
    }

    /// A head that does not become complete holds a connection for nothing.
    fn timer<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S) {
        if !std::mem::take(&mut self.head_is_timed) {
            return;
        }
        if context.config.commit == Commit::Swfr {
            // A refusal for the time's sake is nothing that another node would send at that place.
            return self.finish(true, stream);
        }
        let refusal = Response::refusal(Status::RequestTimeout);
        if self.send(refusal, 0, context.content, stream) {
            self.pump(context, stream);
        } else {
            stream.abort();
            self.phase = Phase::Closing;
        }
    }
}

/// Empty lines before a request are ignored (RFC 9112 2.2).
fn skip_empty_lines<S: ByteStream>(stream: &mut S) {
    let mut front = [0; 2];
    loop {
        let copied = stream.peek(0, &mut front);
        match &front[..copied] {
            [b'\n', ..] => stream.consume(1),
            b"\r\n" => stream.consume(2),
            _ => return,
        }
    }
}

/// The answer to the request with this head.
fn respond(context: Context<'_>, head: &[u8]) -> Response {
    match Request::parse(head) {
        Ok(request) => answer(context, &request).unwrap_or_else(|status| {
            Response::error(status, request.method == Method::Head, connection_after(&request))
        }),
        Err(status) => Response::refusal(status),
    }
}

/// Chooses the file and what to send of it, or the status that says why not.
fn answer(context: Context<'_>, request: &Request<'_>) -> Result<Response, Status> {
    let head_only = match request.method {
        Method::Get => false,
        Method::Head => true,
        Method::Other => return Err(Status::MethodNotAllowed),
    };
    if request.has_body {
        return Err(Status::ContentTooLarge);
    }
    let file = find(context, request.target)?;
    let info = context.content.info(file);
    let connection = connection_after(request);
    let whole = (0, info.size);
    let (status, part) = match condition::select(request, info) {
        Selection::Whole => (Status::Ok, whole),
        Selection::Part { offset, len } => (Status::PartialContent, (offset, len)),
        Selection::NotModified => (Status::NotModified, whole),
        Selection::Failed => return Err(Status::PreconditionFailed),
        Selection::Unsatisfiable => (Status::RangeNotSatisfiable, whole),
    };
    Ok(Response { status, file: Some(file), part, head_only, connection })
}

fn find(context: Context<'_>, target: &[u8]) -> Result<FileId, Status> {
    let ServiceKind::Http { root, directory_index } = &context.config.kind else {
        return Err(Status::NotFound);
    };
    let mut path = path::decode(target)?;
    if path.last() != Some(&b'/') {
        return context.content.lookup(root, &path).ok_or(Status::NotFound);
    }
    if !directory_index {
        return Err(Status::NotFound);
    }
    let listing = context.content.lookup(root, &path);
    path.try_extend_from_slice(b"index.html").map_err(|_| Status::UriTooLong)?;
    context.content.lookup(root, &path).or(listing).ok_or(Status::NotFound)
}

/// RFC 9112 9.3: HTTP/1.1 persists unless told otherwise, HTTP/1.0 only if asked to. A body that we
/// do not read ends the connection.
fn connection_after(request: &Request<'_>) -> Connection {
    let asks = |option: &str| {
        request.list("connection").any(|member| member.eq_ignore_ascii_case(option.as_bytes()))
    };
    if request.has_body || asks("close") {
        Connection::Close
    } else if request.minor_version > 0 {
        Connection::Persistent
    } else if asks("keep-alive") {
        Connection::KeepAlive
    } else {
        Connection::Close
    }
}
