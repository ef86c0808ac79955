use super::*;

fn file(root: &str, path: &str, text: &str) -> SourceFile {
    SourceFile::new(root, path, text.as_bytes().into(), 784_111_777)
}

#[test]
fn order_of_loading_does_not_matter() {
    let files = [file("a", "/x", "1"), file("a", "/y", "2"), file("b", "/x", "3")];
    let forward = Content::new(files.clone()).unwrap();
    let backward = Content::new(files.into_iter().rev()).unwrap();
    assert_eq!(forward.digest(), backward.digest());
    assert_eq!(forward.lookup("b", b"/x"), backward.lookup("b", b"/x"));
    assert_eq!(forward.bytes(forward.lookup("b", b"/x").unwrap()), b"3");
    assert_eq!(forward.lookup("b", b"/y"), None);
    assert_eq!(forward.lookup("", b"a/x"), None);
    assert_eq!((forward.len(), forward.size()), (3, 3));
}

#[test]
fn digest_tells_bytes_dates_and_names_apart() {
    let digest = |file: SourceFile| Content::new([file]).unwrap().digest();
    let base = digest(file("a", "/x", "1"));
    assert_ne!(base, Content::default().digest());
    assert_ne!(base, digest(file("a", "/x", "2")));
    assert_ne!(base, digest(file("a", "/y", "1")));
    assert_ne!(base, digest(file("b", "/x", "1")));
    assert_ne!(base, digest(SourceFile::new("a", "/x", b"1"[..].into(), 0)));
}

#[test]
fn manifest_has_one_line_for_each_file() {
    let content = Content::new([file("www", "/b c", "abc"), file("www", "/a", "")]).unwrap();
    let lines: Vec<String> = content.manifest().collect();
    let hash = blake3::hash(b"abc");
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1], format!("{hash} 3 784111777 www /b c"));
}

#[test]
fn file_info_is_what_http_says() {
    let content = Content::new([file("www", "/a", "abc")]).unwrap();
    let info = content.info(FileId(0));
    assert_eq!(info.size, 3);
    assert_eq!(info.last_modified.as_str(), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(info.etag.as_str(), format!("\"{}\"", &blake3::hash(b"abc").to_hex()[..32]));
}

#[test]
fn dates_beyond_four_digit_years_are_cut() {
    let content = Content::new([SourceFile::new("w", "/a", Box::default(), u64::MAX)]).unwrap();
    let info = content.info(FileId(0));
    assert_eq!(info.last_modified.as_str(), "Fri, 31 Dec 9999 23:59:59 GMT");
}

#[test]
fn paths_that_no_url_has_are_refused() {
    for path in ["a", "", "/a\nb", "/\u{7f}"] {
        let error = Content::new([file("www", path, "")]).unwrap_err();
        assert!(matches!(error, ContentError::BadPath { .. }), "{path:?}: {error}");
    }
    let twice = Content::new([file("www", "/a", "1"), file("www", "/a", "2")]).unwrap_err();
    assert_eq!(twice, ContentError::Duplicate { root: "www".into(), path: "/a".into() });
}
