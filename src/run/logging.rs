//! Where log lines go: standard error, as text or JSON.

use anyhow::anyhow;
use tracing_subscriber::{
    filter::Targets, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat};

/// Installs the process's log. `level` goes before the configuration's.
///
/// # Errors
/// `level` is neither a level nor a list of directives.
pub fn install(log: &Log, level: Option<&str>) -> anyhow::Result<()> {
    let level = level.unwrap_or(&log.level);
    let filter: Targets = level.parse().map_err(|error| {
        anyhow!("log level \"{level}\": {error}; expected e.g. info or info,worker=debug")
    })?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => registry().with(lines.with_ansi(false)).with(filter).init(),
        LogFormat::Json => {
            registry().with(lines.json().flatten_event(true)).with(filter).init();
        }
    }
    Ok(())
}
