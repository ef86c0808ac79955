//! Lists of a folder's files, made once when the content is built: they are content like any other,
//! with a hash and a date, equal on both nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::SourceFile;

#[derive(Default)]
struct Folder<'a> {
    /// Names of files, and of folders with a `/` at the end.
    names: BTreeSet<&'a str>,
    /// Date of the newest file below.
    modified_unix_s: u64,
}

/// A page for each folder that `files` lie in, at the folder's URL path (`/`, `/a/`, …).
#[must_use]
pub fn listings<'a>(
    root: &str,
    files: impl IntoIterator<Item = &'a SourceFile>,
) -> Vec<SourceFile> {
    let mut folders: BTreeMap<&str, Folder<'_>> = BTreeMap::new();
    for file in files {
        let path = file.path.as_str();
        for (slash, _) in path.match_indices('/') {
            let next = path[slash + 1..].find('/').map_or(path.len(), |at| slash + 1 + at + 1);
            let folder = folders.entry(&path[..=slash]).or_default();
            folder.names.insert(&path[slash + 1..next]);
            folder.modified_unix_s = folder.modified_unix_s.max(file.modified_unix_s);
        }
    }
    let page = |(path, folder): (&str, Folder<'_>)| {
        let bytes = page(path, &folder).into_bytes().into_boxed_slice();
        SourceFile::new(root, path, bytes, folder.modified_unix_s)
    };
    folders.into_iter().map(page).collect()
}

fn page(path: &str, folder: &Folder<'_>) -> String {
    let title = escape(path);
    let mut page = format!("<!doctype html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n");
    let _ = writeln!(page, "<h1>{title}</h1>\n<ul>");
    for name in &folder.names {
        let _ = writeln!(page, "<li><a href=\"./{}\">{}</a>", encode(name), escape(name));
    }
    page.push_str("</ul>\n");
    page
}

/// Text within HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A path within a URL (RFC 3986 2.1): everything but unreserved characters and `/` is encoded.
fn encode(name: &str) -> String {
    name.bytes().fold(String::new(), |mut url, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
        url
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, modified_unix_s: u64) -> SourceFile {
        SourceFile::new("www", path, Box::default(), modified_unix_s)
    }

    #[test]
    fn every_folder_has_a_page_with_its_own_names() {
        let pages = listings("www", &[file("/a/b/c.txt", 5), file("/a/<d> &", 9), file("/e", 2)]);
        let paths: Vec<_> = pages.iter().map(SourceFile::path).collect();
        assert_eq!(paths, ["/", "/a/", "/a/b/"]);
        let text = |index: usize| str::from_utf8(&pages[index].bytes).unwrap();
        assert!(text(0).contains("<a href=\"./a/\">a/</a>"), "{}", text(0));
        assert!(text(0).contains("<a href=\"./e\">e</a>") && !text(0).contains("c.txt"));
        assert!(text(1).contains("<a href=\"./%3Cd%3E%20%26\">&lt;d&gt; &amp;</a>"));
        assert_eq!(pages[0].modified_unix_s, 9);
        assert_eq!(pages[2].modified_unix_s, 5);
    }
}
