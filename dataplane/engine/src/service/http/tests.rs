//! Behaviour of the http service on a connection: what goes in as text, what comes out as text.

use proptest::prelude::*;

use super::*;
use crate::config::ServiceConfig;
use crate::content::{SourceFile, listings};
use crate::service::mock::{Extent, Mock};
use crate::time::Instant;

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

fn config(directory_index: bool) -> ServiceConfig {
    let root = "www".to_owned();
    ServiceConfig::new("web", 80, ServiceKind::Http { root, directory_index })
}

fn content() -> Content {
    let file =
        |path: &str, text: &str| SourceFile::new("www", path, text.as_bytes().into(), 784_111_777);
    let mut files = vec![
        file("/a.txt", "0123456789"),
        file("/empty", ""),
        file("/x y/index.html", "<p>x y"),
        file("/docs/b.bin", "b"),
    ];
    files.extend(listings("www", &files));
    files.push(SourceFile::new("other", "/secret", b"secret"[..].into(), 0));
    Content::new(files).unwrap()
}

/// Everything that comes back for `input`, in one piece.
fn exchange(input: &str) -> String {
    exchange_with(&config(false), input)
}

fn exchange_with(config: &ServiceConfig, input: &str) -> String {
    let content = content();
    let mut mock = Mock::new(config, &content);
    mock.feed(input.as_bytes());
    String::from_utf8(mock.drain()).unwrap()
}

/// Answer to a GET of /a.txt with these further fields.
fn get(fields: &str) -> String {
    exchange(&format!("GET /a.txt HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
}

fn etag() -> String {
    let content = content();
    content.info(content.lookup("www", b"/a.txt").unwrap()).etag.to_string()
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_else(|| panic!("no status line in {answer:?}"))
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head has an end").1
}

#[test]
fn get_answers_with_the_file() {
    let expected = format!(
        "HTTP/1.1 200 OK\r\nETag: {}\r\nLast-Modified: {DATE}\r\nAccept-Ranges: bytes\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: 10\r\n\r\n0123456789",
        etag()
    );
    assert_eq!(get(""), expected);
}

#[test]
fn head_answers_without_the_file() {
    let answer = exchange("HEAD /a.txt HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\n\r\n");
    assert_eq!(answer, get("").strip_suffix("0123456789").unwrap());
    let missing = exchange("HEAD /b.txt HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(missing.contains("404 Not Found\r\n") && body(&missing).is_empty(), "{missing}");
}

#[test]
fn file_is_queued_by_reference() {
    let (config, content) = (config(false), content());
    let mut mock = Mock::new(&config, &content);
    mock.feed(b"GET /a.txt HTTP/1.0\r\n\r\n");
    let file = content.lookup("www", b"/a.txt").unwrap();
    assert_eq!(mock.wire.queue[1], Extent::Content { file, offset: 0, len: 10 });
    assert!(mock.wire.closed);
}

#[test]
fn empty_file_has_a_head_alone() {
    let answer = exchange("GET /empty HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.contains("Content-Length: 0\r\n") && body(&answer).is_empty(), "{answer}");
}

#[test]
fn ranges_are_answered_in_part() {
    let answer = get("Range: bytes=2-4\r\n");
    assert_eq!((status(&answer), body(&answer)), ("206", "234"));
    assert!(answer.contains("Content-Range: bytes 2-4/10\r\n"), "{answer}");
    assert!(answer.contains("Content-Length: 3\r\n"), "{answer}");
    assert_eq!(body(&get("Range: bytes=-4\r\n")), "6789");
    let outside = get("Range: bytes=10-\r\n");
    assert_eq!(status(&outside), "416");
    assert!(outside.contains("Content-Range: bytes */10\r\n"), "{outside}");
    assert_eq!(status(&get("Range: bytes=0-1,4-5\r\n")), "200");
}

#[test]
fn if_range_counts_only_for_the_same_file() {
    let range = |validator: &str| {
        let answer = get(&format!("Range: bytes=0-1\r\nIf-Range: {validator}\r\n"));
        status(&answer).to_owned()
    };
    assert_eq!(range(&etag()), "206");
    assert_eq!(range(DATE), "206");
    assert_eq!(range(&format!("W/{}", etag())), "200");
    assert_eq!(range(LATER), "200");
}

#[test]
fn unchanged_file_is_not_sent_again() {
    let status_of = |fields: &str| status(&get(fields)).to_owned();
    assert_eq!(status_of(&format!("If-None-Match: \"x\", W/{}\r\n", etag())), "304");
    assert_eq!(status_of("If-None-Match: *\r\n"), "304");
    assert_eq!(status_of(&format!("If-None-Match: \"x\"\r\nIf-None-Match: {}\r\n", etag())), "304");
    assert_eq!(status_of("If-None-Match: \"x\"\r\n"), "200");
    assert_eq!(status_of(&format!("If-Modified-Since: {DATE}\r\n")), "304");
    assert_eq!(status_of(&format!("If-Modified-Since: {EARLIER}\r\n")), "200");
    assert_eq!(status_of("If-Modified-Since: yesterday\r\n"), "200");
    let tag_first = format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {DATE}\r\n");
    assert_eq!(status_of(&tag_first), "200");
    assert_eq!(body(&get("If-None-Match: *\r\n")), "");
}

#[test]
fn unmet_precondition_is_told() {
    let status_of = |fields: &str| status(&get(fields)).to_owned();
    assert_eq!(status_of("If-Match: \"x\"\r\n"), "412");
    assert_eq!(status_of(&format!("If-Match: {}\r\n", etag())), "200");
    assert_eq!(status_of(&format!("If-Unmodified-Since: {EARLIER}\r\n")), "412");
    assert_eq!(status_of(&format!("If-Unmodified-Since: {DATE}\r\n")), "200");
}

#[test]
fn connection_stays_or_ends_as_both_versions_say() {
    let (config, content) = (config(false), content());
    let ends = |head: &str| {
        let mut mock = Mock::new(&config, &content);
        mock.feed(head.as_bytes());
        let answer = String::from_utf8(mock.drain()).unwrap();
        let told = answer.contains("Connection: close\r\n");
        assert_eq!(told, mock.wire.closed, "{answer}");
        (mock.wire.closed, answer.contains("Connection: keep-alive\r\n"))
    };
    assert_eq!(ends("GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n"), (false, false));
    assert_eq!(
        ends("GET /a.txt HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n"),
        (true, false)
    );
    assert_eq!(ends("GET /a.txt HTTP/1.0\r\n\r\n"), (true, false));
    assert_eq!(ends("GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), (false, true));
    assert_eq!(ends("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n"), (false, false));
    assert_eq!(ends("GET /a.txt HTTP/1.1\r\n\r\n"), (true, false));
}

#[test]
fn requests_in_a_row_are_answered_in_order() {
    let (config, content) = (config(false), content());
    let requests = "GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n".repeat(20);
    let expected = get("").repeat(20);
    for (room, extents) in [(MAX_RESPONSE_HEAD, 1), (2 * MAX_RESPONSE_HEAD, 30), (1 << 20, 3)] {
        let mut mock = Mock::with_room(&config, &content, room, extents);
        mock.feed(requests.as_bytes());
        assert!(mock.wire.readable() > 0, "what cannot be answered yet waits");
        mock.restart();
        assert_eq!(String::from_utf8(mock.drain()).unwrap(), expected);
    }
}

#[test]
fn head_for_which_memory_runs_short_goes_out_in_pieces() {
    let (config, content) = (config(false), content());
    let expected = get("") + &exchange("BAD\r\n\r\n");
    for memory in [0, 1, 7, 100] {
        let mut mock = Mock::new(&config, &content);
        mock.wire.memory = Some(memory);
        mock.feed(b"GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\nBAD\r\n\r\n");
        let mut answer = mock.acknowledge();
        while !mock.wire.closed {
            mock.restart();
            mock.wire.memory = Some(memory.max(1));
            answer.extend(mock.acknowledge());
        }
        answer.extend(mock.acknowledge());
        assert_eq!(String::from_utf8(answer).unwrap(), expected);
    }
}

#[test]
fn answers_go_out_before_fin_when_the_peer_shuts_down() {
    let (config, content) = (config(false), content());
    let mut mock = Mock::with_room(&config, &content, MAX_RESPONSE_HEAD, 1);
    mock.feed("GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n".repeat(3).as_bytes());
    mock.feed(b"GET /a");
    mock.finish();
    assert!(!mock.wire.closed);
    assert_eq!(String::from_utf8(mock.drain()).unwrap(), get("").repeat(3));
    assert!(mock.wire.closed);
}

#[test]
fn body_that_finds_no_extent_waits_for_one() {
    let (config, content) = (config(false), content());
    let mut mock = Mock::with_room(&config, &content, 4096, 0);
    mock.feed(b"GET /a.txt HTTP/1.0\r\n\r\n");
    assert!(!mock.wire.closed);
    mock.restart();
    let mut answer = mock.acknowledge();
    mock.wire.extents = 1;
    answer.extend(mock.acknowledge());
    answer.extend(mock.drain());
    assert_eq!(body(str::from_utf8(&answer).unwrap()), "0123456789");
    assert!(mock.wire.closed);
}

#[test]
fn refusals_have_the_right_status() {
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(5000));
    let long_line = format!("GET /{}", "a".repeat(9000));
    let long_field = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "a".repeat(9000));
    let cases = [
        ("GET /../secret HTTP/1.1\r\nHost: h\r\n\r\n", "400"),
        ("GET /%2e%2e/secret HTTP/1.1\r\nHost: h\r\n\r\n", "400"),
        ("GET /secret HTTP/1.1\r\nHost: h\r\n\r\n", "404"),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "404"),
        ("GET /docs/ HTTP/1.1\r\nHost: h\r\n\r\n", "404"),
        ("GET a.txt HTTP/1.1\r\nHost: h\r\n\r\n", "400"),
        ("POST /a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "405"),
        ("GET /a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "413"),
        ("GET /a.txt HTTP/3.0\r\nHost: h\r\n\r\n", "505"),
        ("\x16\x03\x01\n\n", "400"),
        (&long_target, "414"),
        (&long_line, "414"),
        (&long_field, "431"),
    ];
    for (input, expected) in cases {
        let answer = exchange(input);
        assert_eq!(status(&answer), expected, "{input}");
        let length = format!("Content-Length: {}\r\n", body(&answer).len());
        assert!(answer.contains(&length), "{answer}");
    }
}

#[test]
fn absolute_form_and_query_lead_to_the_file() {
    let request = "GET http://h/a.txt?q=1 HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(body(&exchange(request)), "0123456789");
}

#[test]
fn folder_answers_only_if_switched_on() {
    let ask = |path: &str, on: bool| {
        exchange_with(&config(on), &format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
    };
    assert_eq!(status(&ask("/x%20y/", false)), "404");
    assert_eq!(body(&ask("/x%20y/", true)), "<p>x y");
    let list = ask("/", true);
    assert!(list.contains("text/html") && body(&list).contains("href=\"./a.txt\""), "{list}");
    assert!(!list.contains("secret"));
    assert_eq!(status(&ask("/nowhere/", true)), "404");
}

#[test]
fn what_follows_the_last_request_is_thrown_away() {
    let (config, content) = (config(false), content());
    let mut mock = Mock::new(&config, &content);
    mock.feed(b"POST /a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nGET ");
    mock.feed(b"/ HTTP/1.1\r\n\r\n");
    assert_eq!((mock.wire.readable(), mock.wire.closed, mock.wire.aborted), (0, true, false));
    assert_eq!(status(str::from_utf8(&mock.drain()).unwrap()), "405");
}

#[test]
fn head_that_never_ends_times_out() {
    let (config, content) = (config(false), content());
    let mut mock = Mock::new(&config, &content);
    mock.feed(b"GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n");
    mock.drain();
    assert_eq!(mock.wire.timer, None, "an idle connection is not the service's matter");
    mock.feed(b"GET /a.txt HT");
    mock.wire.now = Instant::from_micros(1_000_000);
    mock.feed(b"TP/1.1\r\nHost: h\r\n\r\nG"); // a new request, with its own time
    mock.fire();
    assert_eq!(mock.wire.now.as_micros(), 31_000_000);
    assert_eq!(mock.wire.readable(), 0);
    assert!(mock.wire.closed);
    let answers = String::from_utf8(mock.drain()).unwrap();
    assert!(answers.contains("408 Request Timeout"), "{answers}");
}

/// Bytes that come back, however the input is cut; and whether FIN or RST came.
fn outcome(pieces: &[&[u8]], room: usize) -> (Vec<u8>, bool, bool) {
    let (config, content) = (config(true), content());
    let mut mock = Mock::with_room(&config, &content, room, 2);
    let mut out = Vec::new();
    for piece in pieces {
        mock.feed(piece);
        mock.restart();
        out.extend(mock.acknowledge());
    }
    mock.finish();
    out.extend(mock.drain());
    (out, mock.wire.closed, mock.wire.aborted)
}

fn cut<'a>(bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        pieces.push(piece);
        rest = after;
        if rest.is_empty() {
            return pieces;
        }
    }
    pieces
}

fn token() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "GET",
        "HEAD",
        "POST",
        " ",
        " ",
        "/a.txt",
        "/x%20y/",
        "/..",
        "%2e",
        "HTTP/1.1",
        "HTTP/1.0",
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "Host: h\r\n",
        "Range: bytes=",
        "1-2",
        "-",
        "Content-Length: 1\r\n",
        "If-None-Match: *\r\n",
        "Connection: close\r\n",
        ":",
        "\0",
        "GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n",
        "If-Range: ",
        "If-Modified-Since: ",
        DATE,
    ]);
    prop_oneof![
        8 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..6),
        1 => (1_usize..9000).prop_map(|len| vec![b'a'; len]),
    ]
}

proptest! {
    #[test]
    fn same_answer_however_the_request_is_cut(
        tokens in prop::collection::vec(token(), 1..12),
        lengths in prop::collection::vec(1_usize..2000, 1..6),
        room in MAX_RESPONSE_HEAD..2000,
    ) {
        let input = tokens.concat();
        let whole = outcome(&[&input], 1 << 20);
        prop_assert_eq!(&outcome(&cut(&input, &lengths), room), &whole);
        prop_assert!(whole.1 && !whole.2, "every connection ends with FIN");
    }

    #[test]
    fn byte_by_byte_is_the_same_too(tokens in prop::collection::vec(token(), 1..4)) {
        let mut input = tokens.concat();
        input.truncate(300);
        prop_assert_eq!(outcome(&cut(&input, &[1]), 1 << 20), outcome(&[&input], 1 << 20));
    }
}
