//! `witness.toml`: what a witness is told.

use std::path::Path;

use super::{
    ConfigError, Log,
    checker::Checker,
    register::{self, Raft},
    schema::WitnessFile,
    types::Secret,
    validate,
};

/// A checked `witness.toml`.
#[derive(Debug, Clone)]
pub struct WitnessConfig {
    pub cluster: String,
    pub secret: Secret,
    pub raft: Raft,
    pub log: Log,
}

/// Reads and checks the file at `path`.
///
/// # Errors
/// As [`super::load`].
pub fn load(path: &Path) -> Result<WitnessConfig, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.into(), source })?;
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<WitnessConfig, ConfigError> {
    let file: WitnessFile = hw_profiles::strict::from_toml(text, &path.display().to_string())?;
    let base = path.parent().unwrap_or(Path::new(""));
    let mut check = Checker::default();
    let cluster = check.name("cluster.name", &file.cluster.name);
    let secret = validate::secret(&file.cluster.secret, &mut check);
    let name = check.name("witness.name", &file.witness.name);
    let raft_only = [("raft", ())];
    let kind = check.choice("register.kind", &file.register.kind, &raft_only);
    let raft = kind
        .and_then(|()| register::raft(&file.register, &name, Some(name.clone()), base, &mut check));
    let log = validate::log(&file.log, &mut check);
    match (secret, raft, log) {
        (Some(secret), Some(raft), Some(log)) if check.problems.is_empty() => {
            Ok(WitnessConfig { cluster, secret, raft, log })
        }
        _ => Err(ConfigError::Invalid { path: path.into(), problems: check.problems }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[cluster]
name = "lab"
secret = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

[register]
kind = "raft"
voters = { a = "10.79.0.1:7500", b = "10.79.0.2:7500", w = "10.79.0.3:7500" }

[witness]
name = "w"
"#;

    fn read(text: &str) -> Result<WitnessConfig, ConfigError> {
        parse(text, Path::new("/etc/holdfast/witness.toml"))
    }

    #[test]
    fn knows_itself_and_both_nodes() {
        let config = read(GOOD).unwrap();
        assert_eq!(config.raft.address, "10.79.0.3:7500".parse().unwrap());
        assert_eq!(config.raft.folder, Path::new("/var/lib/holdfast/w"));
        let nodes: Vec<&str> = config.raft.others.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(nodes, ["a", "b"]);
    }

    #[test]
    fn says_what_is_wrong() {
        for (old, new, expected) in [
            ("name = \"w\"", "name = \"x\"", "do not name this voter"),
            ("kind = \"raft\"", "kind = \"pair\"", "expected \"raft\""),
            ("secret = \"00", "secret = \"", "64 hexadecimal digits"),
        ] {
            let said = read(&GOOD.replacen(old, new, 1)).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        }
    }
}
