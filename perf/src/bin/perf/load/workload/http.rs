//! As much of HTTP/1.1 (RFC 9112) as a client needs that gets one path over and over.

use crate::load::trouble::{HttpTrouble, Trouble};

/// Longest head of a response.
const MAX_HEAD: usize = 16 << 10;

/// A GET request, and what its responses have in common.
#[derive(Debug)]
pub struct Http {
    request: Vec<u8>,
    /// The first response's body: each is to be the same.
    body: Option<Body>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Body {
    len: u64,
    crc: u32,
}

/// How far a connection's next response has come.
#[derive(Debug, Default)]
pub struct Incoming {
    /// The head, if it came in pieces.
    head: Vec<u8>,
    body: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    len: u64,
    left: u64,
    hasher: crc32fast::Hasher,
}

impl Incoming {
    /// Whether nothing of a response has come.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.body.is_none()
    }
}

impl Http {
    /// A request. `closes`: the server is asked to close after its response.
    pub fn new(host: &str, path: &str, closes: bool) -> Http {
        let connection = if closes { "Connection: close\r\n" } else { "" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{connection}\r\n");
        Http { request: request.into_bytes(), body: None }
    }

    /// Bytes of a request.
    pub fn request_len(&self) -> u32 {
        u32::try_from(self.request.len()).unwrap_or(u32::MAX)
    }

    /// The last bytes of a request.
    pub fn last_bytes(&self, count: u32) -> &[u8] {
        &self.request[self.request.len() - count as usize..]
    }

    /// Verifies bytes that came. Returns how many responses they completed.
    ///
    /// # Errors
    /// The trouble, and the byte of `bytes` at or before which it is.
    pub fn take(&mut self, incoming: &mut Incoming, bytes: &[u8]) -> Result<u64, (Trouble, usize)> {
        let mut complete = 0;
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let trouble = |trouble| (trouble, at);
            if incoming.body.is_none() {
                let Some(behind) = take_head(incoming, rest).map_err(trouble)? else { break };
                rest = behind;
            }
            if let Some(pending) = &mut incoming.body {
                rest = pending.take(rest);
                if pending.left == 0 {
                    let body = Body { len: pending.len, crc: pending.hasher.clone().finalize() };
                    incoming.body = None;
                    complete += 1;
                    if *self.body.get_or_insert(body) != body {
                        return Err(trouble(Trouble::BodyDiffers));
                    }
                }
            }
        }
        Ok(complete)
    }
}

impl Pending {
    fn take<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.hasher.update(&bytes[..len]);
        self.left -= len as u64;
        &bytes[len..]
    }
}

/// Takes the head, or what there is of it. Returns the bytes behind it if it is complete.
fn take_head<'a>(incoming: &mut Incoming, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, Trouble> {
    let endless = Trouble::Http(HttpTrouble::EndlessHead);
    let (len, behind) = if incoming.head.is_empty() {
        let Some(end) = end_of_head(bytes) else {
            incoming.head.extend_from_slice(bytes);
            return if bytes.len() > MAX_HEAD { Err(endless) } else { Ok(None) };
        };
        (content_length(&bytes[..end])?, &bytes[end..])
    } else {
        let before = incoming.head.len();
        incoming.head.extend_from_slice(&bytes[..bytes.len().min(MAX_HEAD)]);
        let Some(end) = end_of_head(&incoming.head) else {
            return if incoming.head.len() > MAX_HEAD { Err(endless) } else { Ok(None) };
        };
        let len = content_length(&incoming.head[..end])?;
        incoming.head.clear();
        (len, &bytes[end - before..])
    };
    incoming.body = Some(Pending { len, left: len, hasher: crc32fast::Hasher::new() });
    Ok(Some(behind))
}

/// Where the head ends, the empty line included.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Checks the status of a head and tells the length of the body.
fn content_length(head: &[u8]) -> Result<u64, Trouble> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let status_line = lines.next().unwrap_or_default();
    let no_status = Trouble::Http(HttpTrouble::NoStatus);
    let version = status_line.strip_prefix(b"HTTP/1.").ok_or(no_status)?;
    match number(version.get(2..5).unwrap_or_default()) {
        Some(200) => {}
        Some(status) => return Err(Trouble::Status(u16::try_from(status).unwrap_or(u16::MAX))),
        None => return Err(no_status),
    }
    lines
        .filter_map(|line| line.split_at_checked(line.iter().position(|byte| *byte == b':')?))
        .find(|(name, _)| name.eq_ignore_ascii_case(b"content-length"))
        .and_then(|(_, value)| number(value[1..].trim_ascii()))
        .ok_or(Trouble::Http(HttpTrouble::NoLength))
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] =
        b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length:  5\r\nA: b\r\n\r\nhello";

    fn take_in_pieces(bytes: &[u8], cut: usize) -> Result<u64, Trouble> {
        let mut http = Http::new("h", "/", false);
        let mut incoming = Incoming::default();
        let mut complete = 0;
        for piece in bytes.chunks(cut) {
            complete += http.take(&mut incoming, piece).map_err(|(trouble, _)| trouble)?;
        }
        assert!(incoming.is_empty());
        Ok(complete)
    }

    #[test]
    fn responses_complete_however_they_are_cut() {
        let three = RESPONSE.repeat(3);
        for cut in 1..=three.len() {
            assert_eq!(take_in_pieces(&three, cut), Ok(3), "pieces of {cut}");
        }
        let empty = b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n".repeat(2);
        for cut in 1..=empty.len() {
            assert_eq!(take_in_pieces(&empty, cut), Ok(2), "pieces of {cut}");
        }
    }

    #[test]
    fn what_is_not_the_expected_response_is_told() {
        let mut other = RESPONSE.repeat(2);
        *other.last_mut().unwrap() = b'0';
        assert_eq!(take_in_pieces(&other, 7), Err(Trouble::BodyDiffers));
        let status = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(take_in_pieces(status, 100), Err(Trouble::Status(404)));
        let no_length = b"HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(take_in_pieces(no_length, 5), Err(Trouble::Http(HttpTrouble::NoLength)));
        let echo = b"GET / HTTP/1.1\r\n\r\n";
        assert_eq!(take_in_pieces(echo, 100), Err(Trouble::Http(HttpTrouble::NoStatus)));
        let endless = vec![b'a'; MAX_HEAD * 2];
        assert_eq!(take_in_pieces(&endless, 100), Err(Trouble::Http(HttpTrouble::EndlessHead)));
    }

    #[test]
    fn request_asks_to_close_if_it_is_the_only_one() {
        let http = Http::new("10.0.0.1", "/a", true);
        let text = std::str::from_utf8(http.last_bytes(http.request_len())).unwrap();
        assert_eq!(text, "GET /a HTTP/1.1\r\nHost: 10.0.0.1\r\nConnection: close\r\n\r\n");
        assert_eq!(http.last_bytes(4), b"\r\n\r\n");
    }
}
