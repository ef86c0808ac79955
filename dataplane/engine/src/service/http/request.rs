//! The head of a request: the request line and the fields (RFC 9112 2 to 5). A view over the bytes;
//! nothing is copied. Strict where leniency has been used to smuggle requests.

use super::response::Status;

/// Longest request target.
pub const MAX_TARGET_BYTES: usize = 4096;

/// What the client wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Head and content.
    Get,
    /// The head alone.
    Head,
    /// Anything else that is a token: not for files.
    Other,
}

/// A head that keeps the grammar.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Method.
    pub method: Method,
    /// Request target as it came.
    pub target: &'a [u8],
    /// The `x` of HTTP/1.x.
    pub minor_version: u8,
    /// Whether bytes of a body follow.
    pub has_body: bool,
    /// The field lines, each one checked.
    fields: &'a [u8],
}

/// Length of the head at the front of `bytes`, its empty line included. Lines may end with a bare
/// LF (RFC 9112 2.2).
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(line) = bytes[at..].iter().position(|&byte| byte == b'\n') {
        at += line + 1;
        match &bytes[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

impl<'a> Request<'a> {
    /// Reads a whole head.
    ///
    /// # Errors
    /// The status of the refusal; the connection is to be closed after it, for nobody knows where
    /// the next request would begin.
    pub fn parse(head: &'a [u8]) -> Result<Request<'a>, Status> {
        let (line, fields) = split_line(head);
        let mut parts = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Status::BadRequest);
        };
        let method = parse_method(method)?;
        let minor_version = parse_version(version)?;
        if target.len() > MAX_TARGET_BYTES {
            return Err(Status::UriTooLong);
        }
        if target.is_empty() || !target.iter().all(|&byte| byte > b' ' && byte != 0x7f) {
            return Err(Status::BadRequest);
        }
        check_fields(fields)?;
        let mut request = Request { method, target, minor_version, has_body: false, fields };
        request.has_body = request.announces_body()?;
        // RFC 9112 3.2: one Host, no more, and in HTTP/1.1 no less.
        match (request.values("host").count(), minor_version) {
            (1, _) | (0, 0) => Ok(request),
            _ => Err(Status::BadRequest),
        }
    }

    /// Values of all fields of this name (lower case), without the white space around them.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        lines(self.fields).filter_map(split_field).filter_map(move |(field, value)| {
            field.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
        })
    }

    /// The value of a field that may be there once. None if it is absent or not alone.
    pub fn single(&self, name: &str) -> Option<&'a [u8]> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Members of a list field (RFC 9110 5.6.1), from all its lines.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.values(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty())
    }

    /// RFC 9112 6.3.
    fn announces_body(&self) -> Result<bool, Status> {
        let mut body = self.values("transfer-encoding").next().is_some();
        for length in self.values("content-length") {
            if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
                return Err(Status::BadRequest);
            }
            body |= length.iter().any(|&digit| digit != b'0');
        }
        Ok(body)
    }
}

fn parse_method(method: &[u8]) -> Result<Method, Status> {
    match method {
        b"GET" => Ok(Method::Get),
        b"HEAD" => Ok(Method::Head),
        other if is_token(other) => Ok(Method::Other),
        _ => Err(Status::BadRequest),
    }
}

fn parse_version(version: &[u8]) -> Result<u8, Status> {
    match version.strip_prefix(b"HTTP/") {
        Some([b'1', b'.', minor @ b'0'..=b'9']) => Ok(minor - b'0'),
        Some([b'0'..=b'9', b'.', b'0'..=b'9']) => Err(Status::VersionNotSupported),
        _ => Err(Status::BadRequest),
    }
}

/// Each line is `name: value` with a token for a name right before the colon (RFC 9112 5.1), no
/// line is folded (5.2), and there is no stray CR or NUL (RFC 9110 5.5).
fn check_fields(fields: &[u8]) -> Result<(), Status> {
    let is_good = |line: &[u8]| {
        split_field(line).is_some_and(|(name, value)| {
            is_token(name) && !value.iter().any(|&byte| matches!(byte, b'\r' | b'\0'))
        })
    };
    if lines(fields).all(is_good) { Ok(()) } else { Err(Status::BadRequest) }
}

/// The lines before the empty one.
fn lines(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (line, after) = split_line(rest);
        rest = after;
        (!line.is_empty()).then_some(line)
    })
}

/// The first line without its end, and what follows it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(at) => {
            let line = &bytes[..at];
            (line.strip_suffix(b"\r").unwrap_or(line), &bytes[at + 1..])
        }
        None => (bytes, &[]),
    }
}

fn split_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

/// RFC 9110 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |&byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> Result<Method, Status> {
        Request::parse(head.as_bytes()).map(|request| request.method)
    }

    #[test]
    fn head_ends_at_the_first_empty_line() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n\r\nrest"), Some(18));
        assert_eq!(head_end(b"a\n\nb"), Some(3));
        assert_eq!(head_end(b"a\n\r\nb"), Some(4));
        assert_eq!(head_end(b"a\r\nb: c\r\n\r"), None);
    }

    #[test]
    fn request_line_must_keep_the_grammar() {
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Method::Get));
        assert_eq!(status("HEAD / HTTP/1.0\r\n\r\n"), Ok(Method::Head));
        assert_eq!(status("get / HTTP/1.0\r\n\r\n"), Ok(Method::Other));
        assert_eq!(status("GET / HTTP/2.0\r\n\r\n"), Err(Status::VersionNotSupported));
        for line in
            ["GET /", "GET  / HTTP/1.0", "GET / HTTP/1.0 ", "GET / http/1.0", "G(T / HTTP/1.0"]
        {
            assert_eq!(status(&format!("{line}\r\n\r\n")), Err(Status::BadRequest), "{line}");
        }
    }

    #[test]
    fn field_lines_that_smuggle_are_refused() {
        for field in ["Host : a", " folded", "no colon", ": empty", "A: b\rc", "A: b\0c"] {
            let head = format!("GET / HTTP/1.0\r\n{field}\r\n\r\n");
            assert_eq!(status(&head), Err(Status::BadRequest), "{field}");
        }
    }

    #[test]
    fn one_host_is_needed_in_1_1_and_never_two() {
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), Err(Status::BadRequest));
        let two = "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n";
        assert_eq!(status(two), Err(Status::BadRequest));
    }

    #[test]
    fn body_is_announced_by_length_or_coding() {
        let body = |field: &str| {
            let head = format!("GET / HTTP/1.0\r\n{field}\r\n\r\n");
            Request::parse(head.as_bytes()).map(|request| request.has_body)
        };
        assert_eq!(body("Content-Length: 000"), Ok(false));
        assert_eq!(body("Content-Length: 1"), Ok(true));
        assert_eq!(body("Transfer-Encoding: chunked"), Ok(true));
        assert_eq!(body("Content-Length: -1"), Err(Status::BadRequest));
    }

    #[test]
    fn list_members_come_from_all_lines_of_a_field() {
        let head = b"GET / HTTP/1.0\r\nConnection: a, ,b\r\nX: y\r\nconnection:c\r\n\r\n";
        let request = Request::parse(head).unwrap();
        let members: Vec<_> = request.list("connection").collect();
        assert_eq!(members, [b"a", b"b", b"c"]);
        assert_eq!(request.single("connection"), None);
        assert_eq!(request.single("x"), Some(&b"y"[..]));
    }
}
