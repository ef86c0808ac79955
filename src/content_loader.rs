//! Reads the folders that `http` services serve into one unchanging [`Content`]. After this no file
//! is ever looked at again: what changes on disk is served after the next start.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read as _},
    num::NonZero,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use engine::content::{Content, ContentError, SourceFile, listings};

use crate::config::ContentRoot;

/// Files of all roots together that are still reasonable to hold in memory.
const MAX_FILES: usize = 1 << 20;

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The system refused.
    #[error("can't read {}: {source}; make it readable, or remove it from the content", path.display())]
    Read {
        /// File or folder.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Another process wrote to a file while it was read.
    #[error(
        "{} changed while it was read; start again when nothing writes to the content any more",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// URLs can't name it.
    #[error("{} has a name that is not UTF-8; rename it", path.display())]
    Name {
        /// File or folder.
        path: PathBuf,
    },
    /// A device, pipe or socket.
    #[error("{} is neither a file nor a folder; remove it from the content", path.display())]
    Kind {
        /// What was found.
        path: PathBuf,
    },
    /// The way out of the folder.
    #[error(
        "{} is a symbolic link that leads to {}, outside of {}; copy the target into the folder",
        path.display(), target.display(), root.display()
    )]
    Outside {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
        /// The content's folder.
        root: PathBuf,
    },
    /// Links that lead to a folder around them.
    #[error("{} leads back to a folder that it lies in; remove the symbolic link", path.display())]
    Loop {
        /// The folder reached again.
        path: PathBuf,
    },
    /// Out of proportion.
    #[error("{} and the roots before it hold more than {MAX_FILES} files; serve a smaller folder", path.display())]
    TooMany {
        /// The content's folder.
        path: PathBuf,
    },
    /// The files make no content.
    #[error(transparent)]
    Content(#[from] ContentError),
}

/// A file to be read.
#[derive(Debug)]
struct Found<'a> {
    root: &'a ContentRoot,
    /// URL path below the root.
    url_path: String,
    path: PathBuf,
}

/// Reads and hashes every file below the folders, on all cores. Symbolic links are followed as long
/// as they stay within their folder.
///
/// # Errors
/// The first file or folder that can't be served, with the reason.
pub fn load(roots: &[ContentRoot]) -> Result<Content, LoadError> {
    let mut found = Vec::new();
    for root in roots {
        let real = fs::canonicalize(&root.folder).map_err(|error| refused(&root.folder, error))?;
        let mut walk = Walk { root, real: &real, around: HashSet::new(), found: &mut found };
        walk.folder(&root.folder, "/")?;
    }
    let mut files = read_all(&found)?;
    for root in roots.iter().filter(|root| root.directory_index) {
        let lists = listings(&root.name, files.iter().filter(|file| file.root() == root.name));
        files.extend(lists);
    }
    Ok(Content::new(files)?)
}

struct Walk<'a, 'f> {
    root: &'a ContentRoot,
    /// The root's folder without symbolic links.
    real: &'f Path,
    /// Folders that the walk is in, without symbolic links.
    around: HashSet<PathBuf>,
    found: &'f mut Vec<Found<'a>>,
}

impl Walk<'_, '_> {
    /// Collects the files below `folder`, whose URL path is `url_path`.
    fn folder(&mut self, folder: &Path, url_path: &str) -> Result<(), LoadError> {
        let real = fs::canonicalize(folder).map_err(|error| refused(folder, error))?;
        if !self.around.insert(real.clone()) {
            return Err(LoadError::Loop { path: folder.into() });
        }
        for entry in fs::read_dir(folder).map_err(|error| refused(folder, error))? {
            let entry = entry.map_err(|error| refused(folder, error))?;
            self.entry(&entry, url_path)?;
        }
        self.around.remove(&real);
        Ok(())
    }

    fn entry(&mut self, entry: &fs::DirEntry, url_path: &str) -> Result<(), LoadError> {
        let path = entry.path();
        let file_type = entry.file_type().map_err(|error| refused(&path, error))?;
        if file_type.is_symlink() {
            let target = fs::canonicalize(&path).map_err(|error| refused(&path, error))?;
            if !target.starts_with(self.real) {
                return Err(LoadError::Outside { path, target, root: self.root.folder.clone() });
            }
        }
        let name = entry.file_name().into_string();
        let name = name.map_err(|_| LoadError::Name { path: path.clone() })?;
        let kind = fs::metadata(&path).map_err(|error| refused(&path, error))?;
        if kind.is_dir() {
            return self.folder(&path, &format!("{url_path}{name}/"));
        }
        if !kind.is_file() {
            return Err(LoadError::Kind { path });
        }
        if self.found.len() == MAX_FILES {
            return Err(LoadError::TooMany { path: self.root.folder.clone() });
        }
        self.found.push(Found { root: self.root, url_path: format!("{url_path}{name}"), path });
        Ok(())
    }
}

/// Threads take one file after the other: a folder of many files keeps all cores busy.
fn read_all(found: &[Found<'_>]) -> Result<Vec<SourceFile>, LoadError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut files = Vec::new();
        while let Some(file) = found.get(next.fetch_add(1, Ordering::Relaxed)) {
            files.push(read(file)?);
        }
        Ok::<_, LoadError>(files)
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(found.len());
    thread::scope(|scope| {
        let readers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut files = Vec::with_capacity(found.len());
        for reader in readers {
            files.extend(reader.join().expect("reading a file does not panic")?);
        }
        Ok(files)
    })
}

fn read(found: &Found<'_>) -> Result<SourceFile, LoadError> {
    let refused = |error| refused(&found.path, error);
    let mut file = File::open(&found.path).map_err(refused)?;
    let before = file.metadata().map_err(refused)?;
    // One byte more than the file has, so that the end is seen without growing the buffer.
    let size = usize::try_from(before.len()).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size.saturating_add(1)).map_err(|error| refused(error.into()))?;
    file.read_to_end(&mut bytes).map_err(refused)?;
    let after = file.metadata().map_err(refused)?;
    let modified = before.modified().map_err(refused)?;
    if bytes.len() != size || after.modified().map_err(refused)? != modified {
        return Err(LoadError::Changed { path: found.path.clone() });
    }
    let since_1970 = modified.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (root, path) = (&found.root.name, &found.url_path);
    Ok(SourceFile::new(root, path, bytes.into_boxed_slice(), since_1970.as_secs()))
}

fn refused(path: &Path, source: io::Error) -> LoadError {
    LoadError::Read { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn root(folder: &Path) -> ContentRoot {
        ContentRoot { name: "www".into(), folder: folder.into(), directory_index: false }
    }

    fn paths(content: &Content) -> Vec<String> {
        content.manifest().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn loads_every_file_below_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/c.bin"), [7; 100_000]).unwrap();
        fs::write(folder.path().join("d.txt"), "text").unwrap();
        symlink("a/b/c.bin", folder.path().join("link")).unwrap();
        let content = load(&[root(folder.path())]).unwrap();
        assert_eq!(paths(&content), ["/a/b/c.bin", "/d.txt", "/link"]);
        let file = content.lookup("www", b"/link").unwrap();
        assert_eq!(content.bytes(file), [7; 100_000]);
    }

    #[test]
    fn folders_get_lists_only_if_they_answer() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("d.txt"), "text").unwrap();
        let with_lists = ContentRoot { directory_index: true, ..root(folder.path()) };
        assert_eq!(paths(&load(&[with_lists]).unwrap()), ["/", "/d.txt"]);
    }

    #[test]
    fn loaded_bytes_stay_when_the_file_shrinks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "before").unwrap();
        let content = load(&[root(folder.path())]).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(content.bytes(content.lookup("www", b"/f").unwrap()), b"before");
    }

    #[test]
    fn links_out_of_the_folder_and_loops_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        symlink("/etc/hostname", folder.path().join("out")).unwrap();
        let error = load(&[root(folder.path())]).unwrap_err();
        assert!(matches!(error, LoadError::Outside { .. }), "{error}");
        fs::remove_file(folder.path().join("out")).unwrap();
        symlink(".", folder.path().join("around")).unwrap();
        let error = load(&[root(folder.path())]).unwrap_err();
        assert!(matches!(error, LoadError::Loop { .. }), "{error}");
    }

    #[test]
    fn errors_name_the_path_and_the_cause() {
        let error = load(&[root(Path::new("/nowhere/at/all"))]).unwrap_err().to_string();
        assert!(error.starts_with("can't read /nowhere/at/all: No such file"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        symlink("gone", folder.path().join("dangling")).unwrap();
        let error = load(&[root(folder.path())]).unwrap_err().to_string();
        assert!(error.contains("dangling"), "{error}");
    }
}
