//! The files that services send. Built once from bytes in memory and never changed afterwards, so
//! that a reference to a piece of a file stays a promise that can be kept: on either node, for as
//! long as the process lives. Reading files is somebody else's work.

mod listing;

#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime};

use arrayvec::ArrayString;

pub use self::listing::listings;

/// First line of what [`Content::digest`] hashes; a change of the manifest's form changes it.
const MANIFEST_VERSION: &str = "holdfast content 1\n";
/// Bytes of a file's hash that its entity tag shows, two digits each.
const TAG_BYTES: usize = 16;

/// A file as a loader hands it in, hashed.
#[derive(Debug, Clone)]
pub struct SourceFile {
    root: String,
    path: String,
    bytes: Box<[u8]>,
    modified_unix_s: u64,
    hash: [u8; 32],
}

impl SourceFile {
    /// A file of the content root `root` with the URL path `path` (decoded, begins with `/`), last
    /// modified at `modified_unix_s` (seconds since 1970). Hashes the bytes: worth a thread of its
    /// own when there are many.
    #[must_use]
    pub fn new(root: &str, path: &str, bytes: Box<[u8]>, modified_unix_s: u64) -> SourceFile {
        let hash = *blake3::hash(&bytes).as_bytes();
        SourceFile { root: root.to_owned(), path: path.to_owned(), bytes, modified_unix_s, hash }
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Name of its content root.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// URL path within the root.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Names a file of one [`Content`]. Equal contents give equal names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// A content that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Two files would answer for one URL.
    #[error("content root \"{root}\" has the path {path} twice: keep one of the files")]
    Duplicate {
        /// Content root.
        root: String,
        /// URL path.
        path: String,
    },
    /// A path that no URL can have, or that would break the manifest's lines.
    #[error(
        "content root \"{root}\" has the path {path:?}: expected a path that begins with '/' and \
         holds no control characters; rename the file"
    )]
    BadPath {
        /// Content root.
        root: String,
        /// URL path.
        path: String,
    },
    /// More files than a [`FileId`] can name.
    #[error("{count} files are more than 2^32 - 1: serve a smaller folder")]
    TooMany {
        /// Number of files.
        count: usize,
    },
}

/// What HTTP says about a file, ready to be written.
#[derive(Debug, Clone)]
pub struct FileInfo {
    /// Size in bytes.
    pub size: u64,
    /// Strong entity tag with its quotes (RFC 9110 8.8.3): the first half of the content's hash.
    pub etag: ArrayString<{ 2 * TAG_BYTES + 2 }>,
    /// Date of the last change as an IMF-fixdate (RFC 9110 5.6.7).
    pub last_modified: ArrayString<29>,
    /// The same date in seconds since 1970.
    pub modified_unix_s: u64,
}

#[derive(Debug)]
struct Entry {
    source: SourceFile,
    info: FileInfo,
}

/// The files of all content roots of a node, sorted by root and path.
pub struct Content {
    entries: Vec<Entry>,
    digest: [u8; 32],
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("files", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Default for Content {
    fn default() -> Self {
        Content { entries: Vec::new(), digest: digest_of(&[]) }
    }
}

impl Content {
    /// Takes the files over. The order in which they come does not matter.
    ///
    /// # Errors
    /// A path that comes twice, is not a URL path, or one file too many.
    pub fn new(files: impl IntoIterator<Item = SourceFile>) -> Result<Content, ContentError> {
        let mut files: Vec<SourceFile> = files.into_iter().collect();
        if u32::try_from(files.len()).is_err() {
            return Err(ContentError::TooMany { count: files.len() });
        }
        files.sort_unstable_by(|a, b| (&a.root, &a.path).cmp(&(&b.root, &b.path)));
        if let Some(bad) = files.iter().find(|file| !is_valid(file)) {
            return Err(ContentError::BadPath { root: bad.root.clone(), path: bad.path.clone() });
        }
        if let Some([twice, _]) =
            files.array_windows().find(|[a, b]| (&a.root, &a.path) == (&b.root, &b.path))
        {
            let (root, path) = (twice.root.clone(), twice.path.clone());
            return Err(ContentError::Duplicate { root, path });
        }
        let entries: Vec<Entry> =
            files.into_iter().map(|source| Entry { info: info_of(&source), source }).collect();
        let digest = digest_of(&entries);
        Ok(Content { entries, digest })
    }

    /// Number of files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no file at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Finds the file of `root` whose path is exactly `path` (decoded bytes of a URL).
    #[must_use]
    pub fn lookup(&self, root: &str, path: &[u8]) -> Option<FileId> {
        let key = (root.as_bytes(), path);
        let index = self
            .entries
            .binary_search_by(|entry| {
                (entry.source.root.as_bytes(), entry.source.path.as_bytes()).cmp(&key)
            })
            .ok()?;
        u32::try_from(index).ok().map(FileId)
    }

    /// Whether `file` is one of this content's. Ids from a snapshot are checked with it.
    #[must_use]
    pub fn contains(&self, file: FileId) -> bool {
        (file.0 as usize) < self.entries.len()
    }

    /// The bytes of a file.
    ///
    /// # Panics
    /// If `file` is not one of this content's.
    #[must_use]
    pub fn bytes(&self, file: FileId) -> &[u8] {
        &self.entries[file.0 as usize].source.bytes
    }

    /// What HTTP says about a file.
    ///
    /// # Panics
    /// If `file` is not one of this content's.
    #[must_use]
    pub fn info(&self, file: FileId) -> &FileInfo {
        &self.entries[file.0 as usize].info
    }

    /// URL path of a file within its root.
    ///
    /// # Panics
    /// If `file` is not one of this content's.
    #[must_use]
    pub fn path(&self, file: FileId) -> &str {
        &self.entries[file.0 as usize].source.path
    }

    /// Total size of all files in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.source.size()).sum()
    }

    /// blake3 over the manifest: equal on two nodes if and only if they hold the same files with
    /// the same dates.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// One line for each file, `hash size date root path`, sorted by root and path: what two nodes
    /// compare to say what differs. The date is in seconds since 1970: clients see it, so it has
    /// to be the same on both nodes.
    pub fn manifest(&self) -> impl Iterator<Item = String> + '_ {
        self.entries.iter().map(manifest_line)
    }
}

fn is_valid(file: &SourceFile) -> bool {
    let clean = |text: &str| !text.contains(char::is_control);
    file.path.starts_with('/') && clean(&file.path) && clean(&file.root)
}

fn info_of(source: &SourceFile) -> FileInfo {
    let mut etag = ArrayString::new();
    etag.push('"');
    for byte in &source.hash[..TAG_BYTES] {
        write!(etag, "{byte:02x}").expect("two digits for each byte fit");
    }
    etag.push('"');
    // The last second that an IMF-fixdate's four-digit year can express.
    let modified_unix_s = source.modified_unix_s.min(253_402_300_799);
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(modified_unix_s);
    let mut last_modified = ArrayString::new();
    write!(last_modified, "{}", httpdate::HttpDate::from(date))
        .expect("an IMF-fixdate has 29 characters");
    FileInfo { size: source.size(), etag, last_modified, modified_unix_s }
}

fn manifest_line(entry: &Entry) -> String {
    let source = &entry.source;
    let hash = blake3::Hash::from_bytes(source.hash);
    let (root, path) = (&source.root, &source.path);
    format!("{hash} {} {} {root} {path}", source.size(), source.modified_unix_s)
}

fn digest_of(entries: &[Entry]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(MANIFEST_VERSION.as_bytes());
    for entry in entries {
        hasher.update(manifest_line(entry).as_bytes());
        hasher.update(b"\n");
    }
    *hasher.finalize().as_bytes()
}
