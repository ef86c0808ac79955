//! The settings of the control plane.

use replication::{MAX_LINKS, Path};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Timing of heartbeats and of the decisions that follow from their absence, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemberConfig {
    /// How often a heartbeat leaves on every path. 100 µs to 10 s.
    pub heartbeat_us: u64,
    /// Silence on all paths after which the peer counts as dead, at the least; the detector
    /// raises it towards [`Self::detection_ceiling_us`] when heartbeats arrive irregularly.
    /// At least four heartbeat intervals.
    pub detection_timeout_us: u64,
    /// The most that an irregular peer can raise the detection timeout to.
    pub detection_ceiling_us: u64,
    /// How long a freshly started node listens to silence before it serves alone.
    /// At least ten detection timeouts.
    pub lone_start_us: u64,
    /// Higher wins: at the first start it decides who becomes primary, after a partition who
    /// stays primary. The smaller name breaks a tie.
    pub priority: u16,
    /// How many replication links this node has: 1 or 2.
    pub links: u8,
    /// A primary whose service LAN fails gives the service to a backup whose LAN works.
    pub lan_watch: bool,
    /// Packets of some service leave as soon as a majority of the in-sync set holds what they
    /// depend on. The same on all nodes.
    pub by_majority: bool,
}

impl Default for MemberConfig {
    fn default() -> Self {
        MemberConfig {
            heartbeat_us: 5_000,
            detection_timeout_us: 50_000,
            detection_ceiling_us: 100_000,
            lone_start_us: 3_000_000,
            priority: 100,
            links: 1,
            lan_watch: true,
            by_majority: false,
        }
    }
}

/// A setting of the control plane that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error(
        "heartbeat interval is {0} µs; it must lie between 100 µs and 10 s, 5000 µs (5 ms) suits \
         most networks"
    )]
    Heartbeat(u64),
    #[error(
        "detection timeout is {timeout_us} µs, less than four heartbeat intervals of \
         {heartbeat_us} µs: two lost heartbeats would look like a crash; raise the timeout or send \
         heartbeats more often"
    )]
    Detection { timeout_us: u64, heartbeat_us: u64 },
    #[error(
        "detection ceiling is {ceiling_us} µs, below the detection timeout of {timeout_us} µs; \
         make it equal or larger, twice the timeout is usual"
    )]
    Ceiling { ceiling_us: u64, timeout_us: u64 },
    #[error(
        "lone start is {lone_us} µs, less than ten detection timeouts ({timeout_us} µs each): a \
         node would serve alone before it could hear its peer"
    )]
    LoneStart { lone_us: u64, timeout_us: u64 },
    #[error("{0} replication links were given, expected 1 or 2")]
    Links(u8),
}

impl MemberConfig {
    /// Checks that the settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot, and what to set instead.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (heartbeat_us, timeout_us) = (self.heartbeat_us, self.detection_timeout_us);
        if !(100..=10_000_000).contains(&heartbeat_us) {
            return Err(ConfigError::Heartbeat(heartbeat_us));
        }
        if timeout_us < heartbeat_us * 4 {
            return Err(ConfigError::Detection { timeout_us, heartbeat_us });
        }
        let ceiling_us = self.detection_ceiling_us;
        if ceiling_us < timeout_us {
            return Err(ConfigError::Ceiling { ceiling_us, timeout_us });
        }
        let lone_us = self.lone_start_us;
        if lone_us / 10 < timeout_us {
            return Err(ConfigError::LoneStart { lone_us, timeout_us });
        }
        if !(1..=MAX_LINKS as u8).contains(&self.links) {
            return Err(ConfigError::Links(self.links));
        }
        Ok(())
    }

    /// The ways on which this node and its peers hear each other.
    pub fn paths(&self) -> impl Iterator<Item = Path> + use<> {
        let links = usize::from(self.links);
        let is_there = move |path: &Path| match path {
            Path::Link(link) => link.place() < links,
            Path::Lan => true,
        };
        Path::ALL.into_iter().filter(is_there)
    }

    /// How long this node may stand still before it suspects itself, in microseconds.
    ///
    /// The peer starts counting at our last heartbeat, which may have left one interval before
    /// the stall began and been delayed by another.
    #[must_use]
    pub fn self_doubt_us(&self) -> u64 {
        self.detection_timeout_us - 2 * self.heartbeat_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert_eq!(MemberConfig::default().validate(), Ok(()));
    }

    #[test]
    fn says_which_setting_cannot_work() {
        let base = MemberConfig::default();
        let wrong = MemberConfig { heartbeat_us: 20_000, ..base.clone() };
        assert!(matches!(wrong.validate(), Err(ConfigError::Detection { .. })));
        let wrong = MemberConfig { heartbeat_us: 0, ..base.clone() };
        assert_eq!(wrong.validate(), Err(ConfigError::Heartbeat(0)));
        let wrong = MemberConfig { detection_ceiling_us: 49_999, ..base.clone() };
        assert!(matches!(wrong.validate(), Err(ConfigError::Ceiling { .. })));
        let wrong = MemberConfig { lone_start_us: 499_999, ..base.clone() };
        assert!(matches!(wrong.validate(), Err(ConfigError::LoneStart { .. })));
        for links in [0, 3] {
            let wrong = MemberConfig { links, ..base.clone() };
            assert_eq!(wrong.validate(), Err(ConfigError::Links(links)));
        }
    }
}
