//! Conditional and range requests: what of a file a client gets (RFC 9110 13 and 14).

use std::time::{Duration, SystemTime};

use super::request::{Method, Request};
use crate::content::FileInfo;

/// What is sent of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All of it.
    Whole,
    /// A part: never empty, within the file.
    Part {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
    /// Nothing: the client has it.
    NotModified,
    /// Nothing: the client asked on a condition that is not met.
    Failed,
    /// Nothing: the range lies outside the file.
    Unsatisfiable,
}

/// Evaluates preconditions in the order of RFC 9110 13.2.2.
pub fn select(request: &Request<'_>, info: &FileInfo) -> Selection {
    let unmodified = |field: &str| date(request, field).map(|date| modified(info) <= date);
    if has(request, "if-match") {
        if !matches_tag(request, "if-match", info, Comparison::Strong) {
            return Selection::Failed;
        }
    } else if unmodified("if-unmodified-since") == Some(false) {
        return Selection::Failed;
    }
    if has(request, "if-none-match") {
        if matches_tag(request, "if-none-match", info, Comparison::Weak) {
            return Selection::NotModified;
        }
    } else if unmodified("if-modified-since") == Some(true) {
        return Selection::NotModified;
    }
    // RFC 9110 14.2: Range is for GET alone.
    match request.single("range") {
        Some(range) if request.method == Method::Get && range_applies(request, info) => {
            parse_range(range, info.size)
        }
        _ => Selection::Whole,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

fn has(request: &Request<'_>, field: &str) -> bool {
    request.values(field).next().is_some()
}

/// RFC 9110 8.8.3.2. Our tags hold no comma, so members of the list can be compared as they are.
fn matches_tag(
    request: &Request<'_>,
    field: &str,
    info: &FileInfo,
    comparison: Comparison,
) -> bool {
    request.list(field).any(|member| {
        let tag = match comparison {
            Comparison::Weak => member.strip_prefix(b"W/").unwrap_or(member),
            Comparison::Strong => member,
        };
        tag == b"*" || tag == info.etag.as_bytes()
    })
}

/// If-Range (RFC 9110 13.1.5): the range counts only for the very file that the client knows.
fn range_applies(request: &Request<'_>, info: &FileInfo) -> bool {
    if !has(request, "if-range") {
        return true;
    }
    request.single("if-range").is_some_and(|value| {
        value == info.etag.as_bytes()
            || date(request, "if-range").is_some_and(|date| date == modified(info))
    })
}

fn modified(info: &FileInfo) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(info.modified_unix_s)
}

/// A date that cannot be read counts as absent (RFC 9110 13.1.3).
fn date(request: &Request<'_>, field: &str) -> Option<SystemTime> {
    let value = str::from_utf8(request.single(field)?).ok()?;
    httpdate::parse_http_date(value).ok()
}

/// RFC 9110 14.1.2 and 14.2. What cannot be read, or names several ranges, is ignored.
fn parse_range(value: &[u8], size: u64) -> Selection {
    let Some((first, last)) = split_range(value) else { return Selection::Whole };
    match (parse_position(first), parse_position(last)) {
        (Some(offset), Some(last)) if offset > last => Selection::Whole,
        (Some(offset), _) if offset >= size => Selection::Unsatisfiable,
        (Some(offset), Some(last)) => {
            Selection::Part { offset, len: last.min(size - 1) - offset + 1 }
        }
        (Some(offset), None) if last.is_empty() => Selection::Part { offset, len: size - offset },
        (None, Some(0)) if first.is_empty() => Selection::Unsatisfiable,
        (None, Some(suffix)) if first.is_empty() && size > 0 => {
            let len = suffix.min(size);
            Selection::Part { offset: size - len, len }
        }
        _ => Selection::Whole,
    }
}

fn split_range(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (unit, ranges) = value.split_at_checked(b"bytes=".len())?;
    let ranges = unit.eq_ignore_ascii_case(b"bytes=").then_some(ranges)?.trim_ascii();
    let dash = ranges.iter().position(|&byte| byte == b'-')?;
    Some((&ranges[..dash], &ranges[dash + 1..]))
}

/// A decimal number; one that no file reaches counts as the largest.
fn parse_position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number: u64, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(offset: u64, len: u64) -> Selection {
        Selection::Part { offset, len }
    }

    #[test]
    fn ranges_are_clamped_to_the_file() {
        let cases: [(&str, Selection); 16] = [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-4", part(2, 3)),
            ("Bytes=5-", part(5, 5)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-30", part(0, 10)),
            ("bytes=8-99999999999999999999999", part(8, 2)),
            ("bytes=10-", Selection::Unsatisfiable),
            ("bytes=99999999999999999999999-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=4-2", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes=0-1,3-4", Selection::Whole),
            ("bytes=a-b", Selection::Whole),
            ("bytes=5-x", Selection::Whole),
            ("lines=0-1", Selection::Whole),
            ("", Selection::Whole),
        ];
        for (value, expected) in cases {
            assert_eq!(parse_range(value.as_bytes(), 10), expected, "{value}");
        }
    }

    #[test]
    fn empty_file_has_no_parts() {
        assert_eq!(parse_range(b"bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(parse_range(b"bytes=-1", 0), Selection::Whole);
    }
}
