//! `[[cluster.service]]`: from the file's words to the engine's service configuration.

use std::path::{Path, PathBuf};

use engine::config::{
    Commit, CongestionControl, Keepalive, ServiceConfig, ServiceKind, StreamLength,
};

use super::{ContentRoot, Rule, checker::Checker, limits, schema::ServiceSection};

/// Time between keepalive probes once they started (RFC 9293 3.8.4 leaves it open).
const KEEPALIVE_INTERVAL_US: u64 = 15_000_000;
/// Probes without an answer before a connection is given up.
const KEEPALIVE_PROBES: u8 = 5;

/// The services of a file, and the folders that its `http` services serve. `rule` is the cluster's.
pub fn services(
    sections: &[ServiceSection],
    rule: Rule,
    base: &Path,
    check: &mut Checker,
) -> (Vec<ServiceConfig>, Vec<ContentRoot>) {
    let mut roots = Vec::new();
    let mut services: Vec<ServiceConfig> = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        let key = format!("cluster.service[{index}]");
        for earlier in &services {
            let port_free = earlier.port != section.port;
            let what = format!("port {} is already used by \"{}\"", section.port, earlier.name);
            check.require(port_free, &format!("{key}.port"), what, "give each its own port");
            let what = format!("\"{}\" is already the name of another service", section.name);
            let hint = "give each its own name";
            check.require(earlier.name != section.name, &format!("{key}.name"), what, hint);
        }
        services.extend(service(section, &key, rule, base, check, &mut roots));
    }
    if services.is_empty() && check.problems.is_empty() {
        let hint = "add one, e.g. [[cluster.service]] name=\"echo\" kind=\"echo\" port=7";
        check.fail("cluster.service", "there is no service", hint);
    }
    (services, roots)
}

fn service(
    section: &ServiceSection,
    key: &str,
    rule: Rule,
    base: &Path,
    check: &mut Checker,
    roots: &mut Vec<ContentRoot>,
) -> Option<ServiceConfig> {
    let name = check.name(&format!("{key}.name"), &section.name);
    check.range(&format!("{key}.port"), section.port, 1, u16::MAX);
    only_where_it_belongs(section, key, check);
    let kind = match section.kind.as_str() {
        "echo" => ServiceKind::Echo,
        "discard" => ServiceKind::Discard,
        "stream" => stream(section, key, check)?,
        "http" => {
            roots.extend(content_root(section, key, base, check));
            let directory_index = section.directory_index.unwrap_or(false);
            ServiceKind::Http { root: name.clone(), directory_index }
        }
        other => {
            let hint = "expected \"echo\", \"discard\", \"stream\" or \"http\"";
            check.fail(&format!("{key}.kind"), format!("\"{other}\" is unknown"), hint);
            return None;
        }
    };
    let mut config = ServiceConfig::new(&name, section.port, kind);
    if rule == Rule::Quorum {
        config.commit = Commit::Quorum;
    }
    settings(&mut config, section, key, check);
    Some(config)
}

fn stream(section: &ServiceSection, key: &str, check: &mut Checker) -> Option<ServiceKind> {
    let lengths = [("endless", StreamLength::Endless), ("requested", StreamLength::Requested)];
    let word = section.length.as_deref().unwrap_or("endless");
    let length = check.choice(&format!("{key}.length"), word, &lengths)?;
    if let Some(rate_bps) = section.rate_bps {
        check.range(&format!("{key}.rate_bps"), rate_bps, 1000, 1_000_000_000_000);
    }
    let seed = section.seed.unwrap_or(0);
    Some(ServiceKind::Stream { length, rate_bps: section.rate_bps, seed })
}

/// A key that the service's kind would ignore is a misunderstanding: say so.
fn only_where_it_belongs(section: &ServiceSection, key: &str, check: &mut Checker) {
    let keys = [
        ("root", "http", section.root.is_some()),
        ("directory_index", "http", section.directory_index.is_some()),
        ("length", "stream", section.length.is_some()),
        ("rate_bps", "stream", section.rate_bps.is_some()),
        ("seed", "stream", section.seed.is_some()),
    ];
    for (name, kind, present) in keys {
        if present && section.kind != kind {
            let what = format!("kind \"{}\" has no such key", section.kind);
            let hint = format!("remove it, or set kind = \"{kind}\"");
            check.fail(&format!("{key}.{name}"), what, hint);
        }
    }
}

fn content_root(
    section: &ServiceSection,
    key: &str,
    base: &Path,
    check: &mut Checker,
) -> Option<ContentRoot> {
    let key = format!("{key}.root");
    let Some(root) = &section.root else {
        check.fail(&key, "missing", "an http service needs the folder that it serves");
        return None;
    };
    let folder: PathBuf = base.join(root);
    let what = format!("{} is not a folder", folder.display());
    check.require(folder.is_dir(), &key, what, "create it, or name an existing folder");
    let directory_index = section.directory_index.unwrap_or(false);
    Some(ContentRoot { name: section.name.clone(), folder, directory_index })
}

fn settings(config: &mut ServiceConfig, section: &ServiceSection, key: &str, check: &mut Checker) {
    const DAY_S: u32 = 86_400;
    if let Some(word) = &section.commit {
        let choices = [("swmu", Commit::Swmu), ("swfr", Commit::Swfr), ("quorum", Commit::Quorum)];
        config.commit = check.choice(&format!("{key}.commit"), word, &choices).unwrap_or_default();
    }
    config.nagle = section.nagle.unwrap_or(config.nagle);
    if let Some(dscp) = section.dscp {
        config.dscp = check.range(&format!("{key}.dscp"), dscp, 0, 63);
    }
    if let Some(word) = &section.congestion {
        let choices =
            [("cubic", CongestionControl::Cubic), ("newreno", CongestionControl::NewReno)];
        let congestion = check.choice(&format!("{key}.congestion"), word, &choices);
        config.congestion = congestion.unwrap_or_default();
    }
    if let Some(idle_s) = section.keepalive_s {
        let idle_s = check.range(&format!("{key}.keepalive_s"), idle_s, 1, DAY_S);
        config.keepalive = Some(Keepalive {
            idle_us: u64::from(idle_s) * 1_000_000,
            interval_us: KEEPALIVE_INTERVAL_US,
            probes: KEEPALIVE_PROBES,
        });
    }
    if let Some(idle_s) = section.idle_timeout_s {
        let idle_s = check.range(&format!("{key}.idle_timeout_s"), idle_s, 1, 30 * DAY_S);
        config.idle_timeout_us = Some(u64::from(idle_s) * 1_000_000);
    }
    if let Some(kib) = section.send_buffer_kib {
        config.send_buffer_bytes =
            check.range(&format!("{key}.send_buffer_kib"), kib, 4, 1 << 20) << 10;
    }
    if let Some(kib) = section.recv_buffer_kib {
        // An http request stays in the buffer until its head is whole.
        let min = if matches!(config.kind, ServiceKind::Http { .. }) { 16 } else { 4 };
        config.recv_buffer_bytes =
            check.range(&format!("{key}.recv_buffer_kib"), kib, min, 1 << 20) << 10;
    }
    limits::service(config, section, key, check);
}
