//! The keys that a node shares with its peer: of the key file, or the cluster's secret.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use replication::{KeyRing, KeyRingError};

use super::types::Secret;

/// Where a node's keys come from. They may be read again while it runs.
#[derive(Debug, Clone)]
pub struct KeySource {
    pub cluster: String,
    pub secret: Secret,
    /// One secret on each line; without a file it is the cluster's.
    pub file: Option<PathBuf>,
}

/// Why there are no keys to be had. Never tells a secret, not even a mistyped one.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{}: cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{}, line {line}: {characters} characters are no key; expected 64 hexadecimal digits, as \
         from: openssl rand -hex 32",
        path.display()
    )]
    Line { path: PathBuf, line: usize, characters: usize },
    #[error("{}: {source}; one on each line", path.display())]
    Ring { path: PathBuf, source: KeyRingError },
}

impl KeySource {
    /// Reads the keys as they are now. The first one seals, each of them opens.
    ///
    /// # Errors
    /// The file can't be read, or does not hold one to four keys.
    pub fn read(&self) -> Result<KeyRing, KeyError> {
        let Some(path) = &self.file else {
            return Ok(KeyRing::single(&self.cluster, &of_link(&self.secret)));
        };
        let text = fs::read_to_string(path)
            .map_err(|source| KeyError::Read { path: path.clone(), source })?;
        self.ring_of(&text, path)
    }

    /// The keys of a file's text.
    fn ring_of(&self, text: &str, path: &Path) -> Result<KeyRing, KeyError> {
        let secrets = secrets(text, path)?;
        let secrets: Vec<&[u8]> = secrets.iter().map(<[u8; 32]>::as_slice).collect();
        KeyRing::new(&self.cluster, &secrets)
            .map_err(|source| KeyError::Ring { path: path.to_owned(), source })
    }
}

/// A file whose only line is the cluster's secret means the same as none.
fn of_link(secret: &Secret) -> [u8; 32] {
    secret.derive("link and control messages")
}

fn secrets(text: &str, path: &Path) -> Result<Vec<[u8; 32]>, KeyError> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let keys = lines.enumerate().filter(|(_, line)| !line.is_empty());
    keys.map(|(index, line)| {
        let (path, characters) = (path.to_owned(), line.chars().count());
        let wrong = |()| KeyError::Line { path, line: index + 1, characters };
        line.parse::<Secret>().map(|secret| of_link(&secret)).map_err(wrong)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(file: Option<PathBuf>) -> KeySource {
        let secret = "ab".repeat(32).parse().unwrap();
        KeySource { cluster: "lab".into(), secret, file }
    }

    fn of_file(text: &str) -> Result<KeyRing, KeyError> {
        source(None).ring_of(text, Path::new("link.keys"))
    }

    #[test]
    fn file_with_the_clusters_secret_means_the_same_as_none() {
        let alone = source(None).read().unwrap();
        assert_eq!(of_file(&"ab".repeat(32)).unwrap(), alone);
        let text = format!("# new\n{}  # since May\n\n{}\n", "cd".repeat(32), "AB".repeat(32));
        let both = of_file(&text).unwrap();
        assert_eq!(both.ids().count(), 2);
        assert_ne!(both.sealing(), alone.sealing());
        assert_eq!(both.ids().last(), Some(alone.sealing()));
    }

    #[test]
    fn wrong_file_is_told_by_line_and_never_repeated() {
        let text = format!("{}\nnot-hex-but-secret\n", "cd".repeat(32));
        let message = of_file(&text).unwrap_err().to_string();
        assert!(message.contains("line 2") && message.contains("openssl"), "{message}");
        assert!(!message.contains("not-hex"), "{message}");
        let twice = format!("{0}\n{0}\n", "cd".repeat(32));
        assert!(of_file(&twice).unwrap_err().to_string().contains("twice"));
        assert!(of_file("# nothing\n").unwrap_err().to_string().contains("no key"));
        let missing = source(Some("/nowhere/link.keys".into())).read().unwrap_err();
        assert!(missing.to_string().contains("/nowhere/link.keys"));
    }
}
