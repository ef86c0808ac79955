//! A good configuration for tests, and ways to spoil it.

use std::path::Path;

use super::{ConfigError, NodeConfig, parse};

/// A `node.toml` without an http service, so that it needs no folder.
pub const GOOD: &str = r#"
[cluster]
name = "lab"
secret = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
vip = ["10.77.0.100/24"]

[[cluster.service]]
name = "echo"
kind = "echo"
port = 7

[[cluster.service]]
name = "stream"
kind = "stream"
port = 19

[node]
name = "a"
profile = "af_packet"
cores = [0]

[node.lan]
device = "lan0"
address = "10.77.0.1/24"

[node.link]
device = "link0"
address = "10.78.0.1/24"
mtu = 9000

[peer]
name = "b"
lan = "10.77.0.2"
link = "10.78.0.2"
"#;

/// Reads `text` as if it were `/etc/holdfast/node.toml`.
pub fn read(text: &str) -> Result<NodeConfig, ConfigError> {
    parse(text, Path::new("/etc/holdfast/node.toml"))
}

/// [`GOOD`] with `old` replaced by `new`.
pub fn with(old: &str, new: &str) -> Result<NodeConfig, ConfigError> {
    assert!(GOOD.contains(old), "{old} is not in the good configuration");
    read(&GOOD.replacen(old, new, 1))
}

/// The good configuration on other hardware.
pub fn config_with_profile(profile: &str) -> NodeConfig {
    with("profile = \"af_packet\"", &format!("profile = \"{profile}\"")).unwrap()
}
