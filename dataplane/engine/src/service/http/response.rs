//! The head of a response, formatted on the stack (RFC 9112 4, RFC 9110 8 and 15). Errors carry
//! their status line as a tiny text, so that whoever types into a socket sees what happened.

use std::fmt;

use arrayvec::ArrayString;

use super::types;
use crate::content::{Content, FileId, FileInfo};

/// Longest response head, the text of an error included.
pub const MAX_RESPONSE_HEAD: usize = 512;

/// Status codes that this server sends (RFC 9110 15, RFC 6585 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 200
    Ok,
    /// 206
    PartialContent,
    /// 304
    NotModified,
    /// 400
    BadRequest,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 408
    RequestTimeout,
    /// 412
    PreconditionFailed,
    /// 413
    ContentTooLarge,
    /// 414
    UriTooLong,
    /// 416
    RangeNotSatisfiable,
    /// 431
    HeadTooLarge,
    /// 505
    VersionNotSupported,
}

impl Status {
    /// Code and reason phrase.
    fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::PartialContent => "206 Partial Content",
            Status::NotModified => "304 Not Modified",
            Status::BadRequest => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::RequestTimeout => "408 Request Timeout",
            Status::PreconditionFailed => "412 Precondition Failed",
            Status::ContentTooLarge => "413 Content Too Large",
            Status::UriTooLong => "414 URI Too Long",
            Status::RangeNotSatisfiable => "416 Range Not Satisfiable",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
            Status::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }

    /// Whether the response describes the file rather than a refusal.
    fn is_about_file(self) -> bool {
        matches!(self, Status::Ok | Status::PartialContent | Status::NotModified)
    }
}

/// What happens to the connection after the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It stays, as HTTP/1.1 takes for granted.
    Persistent,
    /// It stays, which an HTTP/1.0 client must be told.
    KeepAlive,
    /// It ends.
    Close,
}

/// A response, decided but not yet written.
#[derive(Debug, Clone, Copy)]
pub struct Response {
    /// Status code.
    pub status: Status,
    /// The file that the request names, if there is one.
    pub file: Option<FileId>,
    /// First byte and number of bytes of the file to send.
    pub part: (u64, u64),
    /// HEAD: everything but the content.
    pub head_only: bool,
    /// What happens afterwards.
    pub connection: Connection,
}

impl Response {
    /// An answer to a request that was understood but cannot be fulfilled.
    pub fn error(status: Status, head_only: bool, connection: Connection) -> Response {
        Response { status, file: None, part: (0, 0), head_only, connection }
    }

    /// An answer to what is no request that we understand. It ends the connection.
    pub fn refusal(status: Status) -> Response {
        Response::error(status, false, Connection::Close)
    }

    /// The piece of a file that follows the head: file, first byte, number of bytes (not 0).
    pub fn body(&self) -> Option<(FileId, u64, u64)> {
        let sends = matches!(self.status, Status::Ok | Status::PartialContent) && !self.head_only;
        let (offset, len) = self.part;
        self.file.filter(|_| sends && len > 0).map(|file| (file, offset, len))
    }

    /// The head with its empty line, and the text of an error behind it.
    pub fn head(&self, content: &Content) -> ArrayString<MAX_RESPONSE_HEAD> {
        let mut head = ArrayString::new();
        self.write_head(&mut head, content).expect("every field's length is bounded");
        head
    }

    fn write_head(&self, head: &mut impl fmt::Write, content: &Content) -> fmt::Result {
        let line = self.status.line();
        write!(head, "HTTP/1.1 {line}\r\n")?;
        match self.connection {
            Connection::Persistent => {}
            Connection::KeepAlive => head.write_str("Connection: keep-alive\r\n")?,
            Connection::Close => head.write_str("Connection: close\r\n")?,
        }
        match self.file {
            Some(file) if self.status.is_about_file() => {
                self.write_file_fields(head, content, file)?;
                return head.write_str("\r\n");
            }
            Some(file) if self.status == Status::RangeNotSatisfiable => {
                write!(head, "Content-Range: bytes */{}\r\n", content.info(file).size)?;
            }
            _ => {}
        }
        if self.status == Status::MethodNotAllowed {
            head.write_str("Allow: GET, HEAD\r\n")?;
        }
        let len = line.len() + 1;
        write!(head, "Content-Type: text/plain\r\nContent-Length: {len}\r\n\r\n")?;
        if self.head_only { Ok(()) } else { writeln!(head, "{line}") }
    }

    fn write_file_fields(
        &self,
        head: &mut impl fmt::Write,
        content: &Content,
        file: FileId,
    ) -> fmt::Result {
        let FileInfo { size, etag, last_modified, .. } = content.info(file);
        write!(head, "ETag: {etag}\r\nLast-Modified: {last_modified}\r\n")?;
        head.write_str("Accept-Ranges: bytes\r\n")?;
        // RFC 9110 15.4.5: a 304 says no more than what a cache needs.
        if self.status == Status::NotModified {
            return Ok(());
        }
        let (offset, len) = self.part;
        if self.status == Status::PartialContent {
            write!(head, "Content-Range: bytes {offset}-{}/{size}\r\n", offset + len - 1)?;
        }
        let media_type = types::of_path(content.path(file));
        write!(head, "Content-Type: {media_type}\r\nContent-Length: {len}\r\n")
    }
}
