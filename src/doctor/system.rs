//! The machine as files and tools show it. Tests put a folder in the place of `/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where `/sys` and `/proc` are found.
#[derive(Debug)]
pub struct System {
    root: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self { root: "/".into() }
    }
}

impl System {
    /// A machine whose files lie under `root`.
    #[cfg(test)]
    pub fn under(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// `path` on this machine; `path` is absolute.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Whether `path` is there.
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// A file's text without surrounding space; nothing when it can't be read.
    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok().map(|text| text.trim().to_owned())
    }

    /// A file that holds one number.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.parse().ok()
    }

    /// Names in a folder, sorted; none when it can't be read.
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The last part of what a symbolic link points at.
    pub fn link_name(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        target.file_name()?.to_str().map(ToOwned::to_owned)
    }
}

/// What a tool prints; nothing when it is missing or fails.
pub fn output_of(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Numbers of a list such as `0-3,8`, as the kernel writes sets of cores.
pub fn number_list(text: &str) -> Vec<u16> {
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            numbers.extend(first..=last);
        }
    }
    numbers
}

/// Whether a folder may be written by this process.
pub fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_number_lists() {
        assert_eq!(number_list("0-3,8"), [0, 1, 2, 3, 8]);
        assert_eq!(number_list(""), [] as [u16; 0]);
        assert_eq!(number_list("5"), [5]);
    }
}
