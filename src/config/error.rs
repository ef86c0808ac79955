//! What can be wrong with a configuration, told so that it can be mended.

use std::{fmt, io, path::PathBuf};

/// One wrong value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key, e.g. `cluster.service[2].port`.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
    /// What was expected, or what to do.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.key, self.what, self.hint)
    }
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: cannot be read: {source}; give a node.toml with -c FILE", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// No TOML, or keys that don't belong there; the message names file and line.
    #[error(transparent)]
    Parse(#[from] hw_profiles::strict::StrictError),
    #[error("{}", list(path, problems))]
    Invalid { path: PathBuf, problems: Vec<Problem> },
}

fn list(path: &std::path::Path, problems: &[Problem]) -> String {
    let lines: Vec<String> =
        problems.iter().map(|problem| format!("{}: {problem}", path.display())).collect();
    lines.join("\n")
}
