//! What this binary understands of what other nodes say.

use controlplane::status::Versions;
use engine::shard::SNAPSHOT_VERSION;

/// Of the log: as `worker` has it, unless the build says otherwise. The latter makes a binary whose
/// log is as foreign to others as a later release's, to try an upgrade with.
const LOG_VERSION: u16 = match option_env!("HOLDFAST_LOG_VERSION") {
    None => worker::LOG_VERSION,
    Some(text) => match u16::from_str_radix(text, 10) {
        Ok(version) => version,
        Err(_) => panic!("HOLDFAST_LOG_VERSION is no number from 0 to 65535"),
    },
};

/// The versions of this binary.
pub fn own() -> Versions {
    Versions {
        control: controlplane::message::VERSION.into(),
        link: replication::frame::VERSION.into(),
        log: LOG_VERSION,
        snapshot: SNAPSHOT_VERSION,
    }
}
