//! From a request target to the path of a file (RFC 9112 3.2, RFC 3986 2.1). The path is looked up
//! among loaded files and never reaches a file system; still, one that tries to climb is refused.

use arrayvec::ArrayVec;

use super::request::MAX_TARGET_BYTES;
use super::response::Status;

/// A decoded path: begins with `/`, has no `.` and `..` segments and no control characters.
pub type Path = ArrayVec<u8, MAX_TARGET_BYTES>;

/// Decodes the path of a request target in origin form (`/a?b`) or absolute form (`http://h/a`).
///
/// # Errors
/// [`Status::BadRequest`] if it is neither, or if the path tries to climb.
pub fn decode(target: &[u8]) -> Result<Path, Status> {
    let target = origin_form(target).ok_or(Status::BadRequest)?;
    let end = target.iter().position(|byte| b"?#".contains(byte)).unwrap_or(target.len());
    let mut path = Path::new();
    let mut rest = &target[..end];
    while let [first, after @ ..] = rest {
        let (byte, after) = match (first, after) {
            (b'%', [high, low, after @ ..]) => (from_hex(*high, *low)?, after),
            (b'%', _) => return Err(Status::BadRequest),
            _ => (*first, after),
        };
        if byte.is_ascii_control() {
            return Err(Status::BadRequest);
        }
        path.try_push(byte).map_err(|_| Status::UriTooLong)?;
        rest = after;
    }
    let climbs = path.split(|&byte| byte == b'/').any(|part| matches!(part, b"." | b".."));
    if climbs { Err(Status::BadRequest) } else { Ok(path) }
}

/// Cuts scheme and authority off (RFC 9112 3.2.2: a server must accept the absolute form).
fn origin_form(target: &[u8]) -> Option<&[u8]> {
    if target.first() == Some(&b'/') {
        return Some(target);
    }
    let after_scheme = ["http://", "https://"].iter().find_map(|scheme| {
        let (front, rest) = target.split_at_checked(scheme.len())?;
        front.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    })?;
    let authority = after_scheme.iter().position(|byte| b"/?#".contains(byte));
    match authority.map(|end| &after_scheme[end..]) {
        Some(path) if path.first() == Some(&b'/') => Some(path),
        _ => Some(b"/"),
    }
}

fn from_hex(high: u8, low: u8) -> Result<u8, Status> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => Ok(high << 4 | low),
        _ => Err(Status::BadRequest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(target: &str) -> Result<String, Status> {
        decode(target.as_bytes()).map(|path| String::from_utf8(path.to_vec()).unwrap())
    }

    #[test]
    fn decodes_both_forms_and_cuts_the_query() {
        assert_eq!(decoded("/a%20b/c?d=/../e").as_deref(), Ok("/a b/c"));
        assert_eq!(decoded("http://host:80/a").as_deref(), Ok("/a"));
        assert_eq!(decoded("HTTP://host").as_deref(), Ok("/"));
        assert_eq!(decoded("http://host?q").as_deref(), Ok("/"));
        assert_eq!(decoded("/%C3%A4").as_deref(), Ok("/ä"));
    }

    #[test]
    fn refuses_to_climb_however_it_is_written() {
        for target in ["/../etc", "/a/..", "/%2e%2e/etc", "/%2e%2e%2fetc", "/.", "/a/./b"] {
            assert_eq!(decoded(target), Err(Status::BadRequest), "{target}");
        }
        assert_eq!(decoded("/...").as_deref(), Ok("/..."));
    }

    #[test]
    fn refuses_what_is_no_path() {
        for target in ["*", "host:80", "a/b", "/%", "/%2", "/%zz", "/%+1", "/a%00b", "/%0a"] {
            assert_eq!(decoded(target), Err(Status::BadRequest), "{target}");
        }
    }
}
