//! What a script runs on: the engine's configuration with what its header changes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use engine::addr::{Addr, Endpoint};
use engine::config::{Config, ServiceConfig, ServiceKind};
use engine::content::Content;
use toml::{Table, Value};

use super::ip::Family;

/// Both ends, the shard's first.
const IPV4: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 100), Ipv4Addr::new(10, 77, 0, 9)];
const IPV6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100), Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 9)];
/// Where the service listens.
const SERVICE_PORT: u16 = 80;
/// The peer's port on the first flow; the others count up from it.
const PEER_PORT: u16 = 50_000;
/// The peer's initial number: near the end, so that numbers wrap early.
const PEER_ISN: u32 = 0xffff_fff0;
/// Name of the kind that is driven by the script's own lines.
const DRIVEN: &str = "external";

pub struct Setup {
    pub config: Arc<Config>,
    pub content: Arc<Content>,
    pub peer_isn: u32,
    /// A guard stands before the shard.
    pub guarded: bool,
    pub local: IpAddr,
    pub remote: IpAddr,
    /// By how much MTUs are larger than the script has them.
    pub wider: u16,
}

/// The families that a script is for: those that its header names, or both.
pub fn families(header: &Table) -> Result<Vec<Family>, String> {
    let Some(value) = header.get("peer").and_then(|peer| peer.get("family")) else {
        return Ok(Family::ALL.to_vec());
    };
    let family = value.as_str().and_then(Family::from_name);
    Ok(vec![family.ok_or_else(|| format!("peer.family is \"ipv4\" or \"ipv6\", not {value}"))?])
}

impl Setup {
    /// Reads a header: `[peer]` is for the runner, `[service]` the service under test, and
    /// everything else the engine's own configuration.
    pub fn new(header: &Table, family: Family) -> Result<Setup, String> {
        // A script for both has segments of one size, though the headers are not.
        let both = families(header)?.len() > 1 && family == Family::V6;
        let wider = if both { Family::V6.header_len() - Family::V4.header_len() } else { 0 } as u16;
        let mut header = header.clone();
        let peer = table(header.remove("peer"))?;
        let service = service(table(header.remove("service"))?)?;
        let mut config = overlay(&base(), header)?;
        config.services = vec![service];
        config.mtu += wider;
        config.validate().map_err(|error| error.to_string())?;
        let isn = match peer.get("isn") {
            None => PEER_ISN,
            Some(value) => {
                let isn = value.as_integer().and_then(|isn| u32::try_from(isn).ok());
                isn.ok_or("peer.isn is a number of 32 bits")?
            }
        };
        let [local, remote] = match family {
            Family::V4 => IPV4.map(IpAddr::from),
            Family::V6 => IPV6.map(IpAddr::from),
        };
        Ok(Setup {
            config: Arc::new(config),
            content: Arc::new(Content::default()),
            peer_isn: isn,
            guarded: peer.get("guarded").and_then(Value::as_bool).unwrap_or(false),
            local,
            remote,
            wider,
        })
    }

    /// Both ends of flow number `index`, ours first.
    pub fn endpoints(&self, index: u16) -> (Endpoint, Endpoint) {
        let end = |address: IpAddr, port| Endpoint::new(Addr::from(address), port);
        (end(self.local, SERVICE_PORT), end(self.remote, PEER_PORT + index))
    }
}

/// The engine's defaults, with less memory.
fn base() -> Config {
    Config {
        max_connections: 16,
        pool_blocks: 4096,
        tx_segments: 4096,
        isn_key: *b"a key for script",
        ..Config::default()
    }
}

fn service(mut changes: Table) -> Result<ServiceConfig, String> {
    let driven = match changes.get("kind") {
        Some(kind) => kind.as_str() == Some(DRIVEN),
        None => true,
    };
    if driven {
        changes.remove("kind");
    }
    let mut service =
        overlay(&ServiceConfig::new("script", SERVICE_PORT, ServiceKind::Echo), changes)?;
    if driven {
        service.kind = ServiceKind::External;
    }
    Ok(service)
}

/// `base` with some of its fields changed.
fn overlay<T>(base: &T, changes: Table) -> Result<T, String>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let mut fields = Table::try_from(base).map_err(|error| error.to_string())?;
    merge(&mut fields, changes);
    fields.try_into().map_err(|error: toml::de::Error| error.to_string())
}

fn merge(fields: &mut Table, changes: Table) {
    for (key, change) in changes {
        match (fields.get_mut(&key), change) {
            (Some(Value::Table(inner)), Value::Table(change)) => merge(inner, change),
            (_, change) => {
                fields.insert(key, change);
            }
        }
    }
}

fn table(value: Option<Value>) -> Result<Table, String> {
    match value {
        None => Ok(Table::new()),
        Some(Value::Table(table)) => Ok(table),
        Some(other) => Err(format!("expected a table, found {other}")),
    }
}
