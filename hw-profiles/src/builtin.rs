//! The profiles that are compiled in, and how a file overrides one.

use std::path::{Path, PathBuf};

use crate::profile::{IdleStrategy, Profile};
use crate::strict::{self, StrictError};

const BUILTIN: &[(&str, &str)] = &[
    ("af_packet", include_str!("../profiles/af_packet.toml")),
    ("tap", include_str!("../profiles/tap.toml")),
    ("memif", include_str!("../profiles/memif.toml")),
    ("ring", include_str!("../profiles/ring.toml")),
    ("pcap", include_str!("../profiles/pcap.toml")),
    ("null", include_str!("../profiles/null.toml")),
    ("i40e", include_str!("../profiles/i40e.toml")),
    ("ice", include_str!("../profiles/ice.toml")),
    ("ixgbe", include_str!("../profiles/ixgbe.toml")),
    ("mlx5", include_str!("../profiles/mlx5.toml")),
    ("ena", include_str!("../profiles/ena.toml")),
    ("virtio", include_str!("../profiles/virtio.toml")),
];

/// Why a profile could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error(
        "no hardware profile is called `{name}`{}; there are: {}",
        strict::did_you_mean(name, names()),
        names().collect::<Vec<_>>().join(", ")
    )]
    UnknownName { name: String },
    #[error("cannot read the hardware profile {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Invalid(#[from] StrictError),
    #[error("profile `{name}`: {key} is {value}; expected {expected}")]
    OutOfRange { name: String, key: &'static str, value: String, expected: &'static str },
}

/// The names of the built-in profiles, in the order in which they are listed.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}

/// All built-in profiles.
///
/// # Panics
/// Never in a build whose tests passed: the texts are constants.
pub fn builtin() -> Vec<Profile> {
    names().map(|name| load(name, None).expect("built-in profiles are valid")).collect()
}

/// The profile `name`, with each key that `override_file` holds replaced by the file's.
pub fn load(name: &str, override_file: Option<&Path>) -> Result<Profile, ProfileError> {
    let Some(path) = override_file else { return load_text(name, None) };
    let text = std::fs::read_to_string(path)
        .map_err(|source| ProfileError::Unreadable { path: path.to_owned(), source })?;
    load_text(name, Some((&text, &path.display().to_string())))
}

/// Like [`load`], with the overriding TOML text and the name to call it by in messages.
pub fn load_text(name: &str, over: Option<(&str, &str)>) -> Result<Profile, ProfileError> {
    let (_, base) = BUILTIN
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| ProfileError::UnknownName { name: name.to_owned() })?;
    let profile: Profile = match over {
        None => strict::from_toml(base, name)?,
        Some((text, source_name)) => strict::from_toml_over(base, text, source_name)?,
    };
    validate(&profile)?;
    Ok(profile)
}

/// Refuses values that would only fail later, and less clearly.
fn validate(profile: &Profile) -> Result<(), ProfileError> {
    let refuse = |key, value: String, expected| {
        Err(ProfileError::OutOfRange { name: profile.name.clone(), key, value, expected })
    };
    if !(1..=64).contains(&profile.burst_size) {
        return refuse("burst_size", profile.burst_size.to_string(), "1 to 64 frames");
    }
    if profile.queues.pairs == 0 {
        return refuse("queues.pairs", "0".into(), "at least 1");
    }
    if profile.mempool.cache > 512 {
        return refuse("mempool.cache", profile.mempool.cache.to_string(), "0 to 512 mbufs");
    }
    if profile.idle.strategy == IdleStrategy::Sleep && profile.idle.sleep_us == 0 {
        return refuse("idle.sleep_us", "0".into(), "at least 1 with the strategy `sleep`");
    }
    let (heartbeat, detection) = (profile.timers.heartbeat_ms, profile.timers.detection_timeout_ms);
    if heartbeat == 0 || heartbeat.saturating_mul(3) > detection {
        return refuse(
            "timers.heartbeat_ms",
            format!("{heartbeat} with a detection timeout of {detection}"),
            "1 to a third of detection_timeout_ms, so that one lost heartbeat is no failure",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_profile_is_valid_and_bears_its_own_name() {
        for name in names() {
            let profile = load(name, None).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(profile.name, name);
            assert!(profile.device.argument(0, "dev0", 1, 1500).is_some(), "{name}");
            let jumbo = profile.device.argument(0, "dev0", 1, 9000);
            assert_eq!(jumbo.is_some(), name != "tap", "{name}");
        }
        assert_eq!(builtin().len(), BUILTIN.len());
    }

    #[test]
    fn af_packet_lets_nftables_see_what_a_link_sends() {
        let device = load("af_packet", None).unwrap().device;
        let argument = device.argument(1, "eth7", 2, 9000).unwrap();
        assert!(argument.starts_with("net_af_packet1,iface=eth7,qpairs=2"), "{argument}");
        assert!(argument.contains(",qdisc_bypass=0"), "{argument}");
        assert!(argument.contains(",framesz=12288"), "{argument}");
        assert!(device.argument(1, "eth7", 2, 20_000).is_none());
    }

    #[test]
    fn an_override_replaces_single_keys() {
        let over = "burst_size = 16\n[idle]\nsleep_us = 7\n";
        let profile = load_text("tap", Some((over, "site.toml"))).unwrap();
        let base = load("tap", None).unwrap();
        assert_eq!((profile.burst_size, profile.idle.sleep_us), (16, 7));
        assert_eq!(profile.idle.spin_polls, base.idle.spin_polls);
        assert_eq!(profile.device, base.device);
    }

    #[test]
    fn an_unknown_key_of_an_override_names_the_nearest_one_and_the_line() {
        let over = "burst_size = 16\n[idle]\nslep_us = 7\n";
        let message = load_text("tap", Some((over, "site.toml"))).unwrap_err().to_string();
        assert!(message.contains("site.toml:3"), "{message}");
        assert!(message.contains("`idle.slep_us`"), "{message}");
        assert!(message.contains("did you mean `sleep_us`?"), "{message}");
    }

    #[test]
    fn an_unknown_profile_names_the_nearest_one() {
        let message = load("af-packet", None).unwrap_err().to_string();
        assert!(message.contains("did you mean `af_packet`?"), "{message}");
    }

    #[test]
    fn values_that_cannot_work_are_refused() {
        for over in [
            "burst_size = 0",
            "burst_size = 65",
            "[queues]\npairs = 0",
            "[mempool]\ncache = 513",
            "[idle]\nsleep_us = 0",
            "[timers]\nheartbeat_ms = 20\ndetection_timeout_ms = 50",
        ] {
            assert!(load_text("tap", Some((over, "site.toml"))).is_err(), "{over}");
        }
    }
}
