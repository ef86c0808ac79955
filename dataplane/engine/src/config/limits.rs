//! What services and sources may take of a shard. All of it for one shard: a cluster's limits are
//! shared out among its shards.

use serde::{Deserialize, Serialize};

use super::{ConfigError, range};
use crate::addr::Addr;

/// What the connections of one service may take. Nothing is limited when absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceLimits {
    /// Connections at once, TIME-WAIT not counted.
    pub max_connections: Option<u32>,
    /// Buffer blocks that their queues may hold, `BLOCK_BYTES` each.
    pub max_blocks: Option<u32>,
    /// New connections.
    pub rate: Option<Rate>,
    /// What a client hears that comes beyond a limit.
    pub at_limit: AtLimit,
}

/// What one source may take, over all services. A source is a prefix of its clients' addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceLimits {
    /// Length of the prefix that makes an IPv4 source, 1 to 32.
    pub ipv4_prefix: u8,
    /// Length of the prefix that makes an IPv6 source, 1 to 128.
    pub ipv6_prefix: u8,
    /// Connections at once, TIME-WAIT not counted.
    pub max_connections: Option<u32>,
    /// New connections.
    pub rate: Option<Rate>,
}

impl Default for SourceLimits {
    fn default() -> Self {
        SourceLimits { ipv4_prefix: 32, ipv6_prefix: 64, max_connections: None, rate: None }
    }
}

/// So many in a second, and after a pause so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// In the long run, 1 to 1,000,000 in a second.
    pub per_second: u32,
    /// At once, 1 or more.
    pub burst: u32,
}

/// What becomes of a SYN beyond a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtLimit {
    /// It is dropped: the client tries again by itself, later and later.
    #[default]
    Drop,
    /// It is answered with a RST: the client knows at once.
    Reset,
}

impl SourceLimits {
    /// The source that a client belongs to: its address, cut to the prefix.
    #[inline]
    pub(crate) fn source_of(&self, client: Addr) -> Addr {
        let bits = match client.as_ipv4() {
            Some(_) => 96 + u32::from(self.ipv4_prefix),
            None => u32::from(self.ipv6_prefix),
        };
        let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0);
        Addr::from_octets((u128::from_be_bytes(client.octets()) & mask).to_be_bytes())
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        range("sources.ipv4_prefix", self.ipv4_prefix, 1, 32, "1 to 32")?;
        range("sources.ipv6_prefix", self.ipv6_prefix, 1, 128, "1 to 128")?;
        connections("sources", self.max_connections)?;
        self.rate.map_or(Ok(()), |rate| rate.validate("sources"))
    }
}

impl ServiceLimits {
    pub(super) fn validate(&self, field: &str) -> Result<(), ConfigError> {
        connections(field, self.max_connections)?;
        if let Some(blocks) = self.max_blocks {
            range(&format!("{field}.max_blocks"), blocks, 16, 1 << 26, "16 to 67108864")?;
        }
        self.rate.map_or(Ok(()), |rate| rate.validate(field))
    }
}

impl Rate {
    fn validate(&self, field: &str) -> Result<(), ConfigError> {
        let name = format!("{field}.rate.per_second");
        range(&name, self.per_second, 1, 1_000_000, "1 to 1000000")?;
        range(&format!("{field}.rate.burst"), self.burst, 1, 1 << 24, "1 to 16777216")
    }
}

fn connections(field: &str, limit: Option<u32>) -> Result<(), ConfigError> {
    let Some(limit) = limit else { return Ok(()) };
    range(&format!("{field}.max_connections"), limit, 1, 1 << 24, "1 to 16777216")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_prefix_of_the_address() {
        let limits = SourceLimits { ipv4_prefix: 24, ..SourceLimits::default() };
        let source = |text: &str| limits.source_of(text.parse().unwrap()).to_string();
        assert_eq!(source("192.0.2.77"), "192.0.2.0");
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        let whole = SourceLimits { ipv4_prefix: 32, ipv6_prefix: 128, ..limits };
        let source = |text: &str| whole.source_of(text.parse().unwrap()).to_string();
        assert_eq!(source("192.0.2.77"), "192.0.2.77");
        assert_eq!(source("2001:db8::6"), "2001:db8::6");
    }

    #[test]
    fn limits_out_of_range_are_refused_by_name() {
        let rate = Rate { per_second: 0, burst: 1 };
        let limits = ServiceLimits { rate: Some(rate), ..ServiceLimits::default() };
        let message = limits.validate("limits").unwrap_err().to_string();
        assert!(message.contains("limits.rate.per_second is 0"), "{message}");
    }
}
