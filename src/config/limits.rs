//! Limits of services and sources: from the file's words to the engine's configuration, and from
//! the cluster's numbers to those of a shard.

use engine::{
    buffer::BLOCK_BYTES,
    config::{AtLimit, Rate, ServiceConfig, ServiceLimits, SourceLimits},
};

use super::{
    checker::Checker,
    schema::{PerSourceSection, ServiceSection},
};

/// Connections that a limit can be about.
const MAX_CONNECTIONS: u32 = 1 << 24;
const MAX_PER_S: u32 = 1_000_000;
const BLOCKS_PER_MIB: u32 = (1 << 20) / BLOCK_BYTES as u32;
/// The least that a shard can work with.
const MIN_BLOCKS: u32 = 16;

/// `[cluster.per_source]`.
pub fn sources(section: &PerSourceSection, check: &mut Checker) -> SourceLimits {
    let default = SourceLimits::default();
    let key = |name: &str| format!("cluster.per_source.{name}");
    let prefix = |name: &str, value: Option<u8>, default: u8, max: u8, check: &mut Checker| {
        value.map_or(default, |bits| check.range(&key(name), bits, 1, max))
    };
    SourceLimits {
        ipv4_prefix: prefix("ipv4_prefix", section.ipv4_prefix, default.ipv4_prefix, 32, check),
        ipv6_prefix: prefix("ipv6_prefix", section.ipv6_prefix, default.ipv6_prefix, 128, check),
        max_connections: connections(&key("max_connections"), section.max_connections, check),
        rate: rate(
            "cluster.per_source",
            section.connections_per_s,
            section.connections_burst,
            check,
        ),
    }
}

/// Backlog, cookies and limits of a service.
pub fn service(
    config: &mut ServiceConfig,
    section: &ServiceSection,
    key: &str,
    check: &mut Checker,
) {
    if let Some(backlog) = section.backlog {
        config.backlog = check.range(&format!("{key}.backlog"), backlog, 1, MAX_CONNECTIONS);
    }
    config.cookies_above = match section.syn_cookies_above {
        Some(above) => check.range(&format!("{key}.syn_cookies_above"), above, 0, MAX_CONNECTIONS),
        None => config.cookies_above.min(config.backlog / 4),
    };
    let max_mib = section.max_buffer_mib;
    let max_mib = max_mib.map(|mib| check.range(&format!("{key}.max_buffer_mib"), mib, 1, 1 << 17));
    let choices = [("drop", AtLimit::Drop), ("reset", AtLimit::Reset)];
    let at_limit = section.at_limit.as_ref();
    let at_limit =
        at_limit.and_then(|word| check.choice(&format!("{key}.at_limit"), word, &choices));
    config.limits = ServiceLimits {
        max_connections: connections(
            &format!("{key}.max_connections"),
            section.max_connections,
            check,
        ),
        max_blocks: max_mib.map(|mib| mib * BLOCKS_PER_MIB),
        rate: rate(key, section.connections_per_s, section.connections_burst, check),
        at_limit: at_limit.unwrap_or_default(),
    };
}

fn connections(key: &str, value: Option<u32>, check: &mut Checker) -> Option<u32> {
    value.map(|value| check.range(key, value, 1, MAX_CONNECTIONS))
}

fn rate(
    key: &str,
    per_second: Option<u32>,
    burst: Option<u32>,
    check: &mut Checker,
) -> Option<Rate> {
    let burst_key = format!("{key}.connections_burst");
    let burst = burst.map(|burst| check.range(&burst_key, burst, 1, MAX_CONNECTIONS));
    let Some(per_second) = per_second else {
        let hint = "set connections_per_s too, or remove it";
        check.require(burst.is_none(), &burst_key, "bounds no rate", hint);
        return None;
    };
    let per_second = check.range(&format!("{key}.connections_per_s"), per_second, 1, MAX_PER_S);
    Some(Rate { per_second, burst: burst.unwrap_or(per_second) })
}

/// What a shard allows of a service of the cluster.
pub fn service_of_shard(service: &ServiceConfig, shards: u32) -> ServiceConfig {
    let limits = &service.limits;
    let backlog = share(service.backlog, shards);
    ServiceConfig {
        backlog,
        cookies_above: match service.uses_cookies() {
            true => service.cookies_above.div_ceil(shards),
            false => backlog,
        },
        limits: ServiceLimits {
            max_connections: limits.max_connections.map(|all| share(all, shards)),
            max_blocks: limits.max_blocks.map(|all| (all / shards).max(MIN_BLOCKS)),
            rate: limits.rate.map(|rate| rate_of_shard(rate, shards)),
            at_limit: limits.at_limit,
        },
        ..service.clone()
    }
}

/// What a shard allows each source.
pub fn sources_of_shard(sources: &SourceLimits, shards: u32) -> SourceLimits {
    SourceLimits {
        max_connections: sources.max_connections.map(|all| share(all, shards)),
        rate: sources.rate.map(|rate| rate_of_shard(rate, shards)),
        ..sources.clone()
    }
}

fn rate_of_shard(rate: Rate, shards: u32) -> Rate {
    Rate { per_second: rate.per_second.div_ceil(shards), burst: share(rate.burst, shards) }
}

/// A shard's share of a number of connections. The flow hash spreads them by chance: four standard
/// deviations on top, so that no shard refuses what the cluster allows.
fn share(all: u32, shards: u32) -> u32 {
    let mean = all.div_ceil(shards);
    all.min(mean + 4 * mean.isqrt() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_a_limit_with_a_margin_for_chance() {
        assert_eq!([share(100, 1), share(10, 4), share(1, 4), share(0, 4)], [100, 8, 1, 0]);
        assert_eq!(share(100, 4), 25 + 20 + 1);
        assert_eq!(share(100_000, 4), 25_000 + 4 * 158 + 1);
        assert_eq!(share(u32::MAX >> 8, 4096), 4096 + 256 + 1);
    }
}
