//! What the user and the scripts set: flags of the command line, and the kernel's settings that a
//! script changes with `sysctl` before it opens a socket. Those that have a counterpart in the
//! engine's configuration are taken over; the others mean nothing here.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use engine::config::{Config, CongestionControl, Ecn};

use crate::options::Options;

/// Where a network namespace keeps the settings of its TCP.
const PROC: &str = "/proc/sys/net/ipv4";
/// Of these, what we look at.
const PROC_NAMES: [&str; 14] = [
    "tcp_sack",
    "tcp_timestamps",
    "tcp_window_scaling",
    "tcp_rmem",
    "tcp_wmem",
    "tcp_syn_retries",
    "tcp_retries2",
    "tcp_fin_timeout",
    "tcp_congestion_control",
    "tcp_keepalive_time",
    "tcp_keepalive_intvl",
    "tcp_keepalive_probes",
    "tcp_ecn",
    "tcp_rto_min_us",
];

/// Whose habits the socket calls have where systems differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Habits {
    /// Sizes of buffers are told doubled, a socket that is closed with unread data is reset.
    #[default]
    Linux,
    /// Sizes are told as set, unread data is dropped; SYN options have FreeBSD's order.
    FreeBsd,
}

/// The flags of packetdrill's command line (`--so_flags`), separated by commas:
/// `local=ADDRESS` our address, once for each IP version; `mtu=BYTES`; `habits=linux` or
/// `habits=freebsd`; `sysctl` to read the settings of the network namespace; `settings=FILE` to
/// read them from lines `name=value` there, of which the last counts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our IPv4 address, unless a script binds to another one.
    pub local_v4: Ipv4Addr,
    /// Our IPv6 address.
    pub local_v6: Ipv6Addr,
    /// Socket habits.
    pub habits: Habits,
    mtu: u16,
    namespace: bool,
    file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            // packetdrill's own defaults.
            local_v4: Ipv4Addr::new(192, 168, 0, 1),
            local_v6: Ipv6Addr::new(0xfd3d, 0x0a0b, 0x17d6, 0, 0, 0, 0, 1),
            habits: Habits::default(),
            mtu: 1500,
            namespace: false,
            file: None,
        }
    }
}

/// A flag that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "flag \"{0}\" is not known: expected local=ADDRESS, mtu=BYTES, habits=linux, habits=freebsd, \
     sysctl or settings=FILE"
)]
pub struct UnknownFlag(String);

impl Settings {
    /// Reads the flags.
    ///
    /// # Errors
    /// A flag is not known, or its value is not of its kind.
    pub fn parse(flags: &str) -> Result<Settings, UnknownFlag> {
        let mut settings = Settings::default();
        for flag in flags.split(',').filter(|flag| !flag.is_empty()) {
            settings.take(flag).ok_or_else(|| UnknownFlag(flag.to_owned()))?;
        }
        Ok(settings)
    }

    fn take(&mut self, flag: &str) -> Option<()> {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        match (name, value) {
            ("local", address) => match address.parse().ok()? {
                IpAddr::V4(v4) => self.local_v4 = v4,
                IpAddr::V6(v6) => self.local_v6 = v6,
            },
            ("mtu", bytes) => self.mtu = bytes.parse().ok()?,
            ("habits", "linux") => self.habits = Habits::Linux,
            ("habits", "freebsd") => self.habits = Habits::FreeBsd,
            ("sysctl", "") => self.namespace = true,
            ("settings", path) if !path.is_empty() => self.file = Some(path.into()),
            _ => return None,
        }
        Some(())
    }

    /// The engine's configuration without services, and the options of a new socket, both as the
    /// settings are now.
    #[must_use]
    pub fn read(&self) -> (Config, Options) {
        let mut config = Config {
            max_connections: 256,
            pool_blocks: 1 << 16,
            tx_segments: 1 << 16,
            max_packets_per_step: 4096,
            mtu: self.mtu,
            ..Config::default()
        };
        config.tcp.quantum_packets = 4096;
        if self.habits == Habits::FreeBsd {
            config.tcp.quick_acks = 0;
        }
        let mut options = Options::new(self.habits);
        for (name, value) in self.values() {
            apply(&name, value.trim(), &mut config, &mut options);
        }
        (config, options)
    }

    fn values(&self) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        if self.namespace {
            for name in PROC_NAMES {
                // A kernel that does not know it has nothing to say about it.
                if let Ok(value) = fs::read_to_string(format!("{PROC}/{name}")) {
                    values.insert(format!("net.ipv4.{name}"), value);
                }
            }
        }
        if let Some(path) = &self.file
            && let Ok(lines) = fs::read_to_string(path)
        {
            for line in lines.lines() {
                if let Some((name, value)) = line.split_once('=') {
                    values.insert(name.trim().to_owned(), value.to_owned());
                }
            }
        }
        values
    }
}

/// Takes over one setting, if it has a counterpart here and its value makes sense.
fn apply(name: &str, value: &str, config: &mut Config, options: &mut Options) {
    let number = value.parse::<u64>().ok();
    let on = number.is_some_and(|number| number != 0);
    let last = value.split_whitespace().last().and_then(|word| word.parse::<u64>().ok());
    let bytes = |number: u64| u32::try_from(number.clamp(4096, 1 << 30)).unwrap_or(4096);
    let tcp = &mut config.tcp;
    match (name, number) {
        ("net.ipv4.tcp_sack" | "net.inet.tcp.sack.enable", _) => tcp.sack = on,
        ("net.ipv4.tcp_ecn" | "net.inet.tcp.ecn.enable", Some(n)) => {
            // Both systems count alike: 1 asks, 2 accepts.
            tcp.ecn = match n {
                0 => Ecn::Off,
                1 => Ecn::Ask,
                _ => Ecn::Accept,
            };
        }
        ("net.ipv4.tcp_timestamps", _) => tcp.timestamps = on,
        ("net.ipv4.tcp_window_scaling", _) => tcp.window_scaling = on,
        ("net.inet.tcp.rfc1323", _) => (tcp.timestamps, tcp.window_scaling) = (on, on),
        ("net.ipv4.tcp_rmem", _) => options.recv_buffer = last.map_or(options.recv_buffer, bytes),
        ("net.ipv4.tcp_wmem", _) => options.send_buffer = last.map_or(options.send_buffer, bytes),
        ("kern.ipc.maxsockbuf", Some(n)) => options.recv_buffer_limit = Some(bytes(n)),
        ("net.inet.tcp.recvspace", Some(n)) => {
            options.recv_buffer = bytes(n);
            // FreeBSD makes whole segments of it when a connection begins.
            let segment = u32::from(config.mtu - 40);
            options.initial_recv_buffer = bytes(n).next_multiple_of(segment);
        }
        ("net.inet.tcp.sendspace", Some(n)) => options.send_buffer = bytes(n),
        ("net.ipv4.tcp_syn_retries", Some(n @ 1..=30)) => tcp.max_syn_retries = n as u8,
        ("net.ipv4.tcp_retries2", Some(n @ 3..=100)) => tcp.max_data_retries = n as u8,
        ("net.ipv4.tcp_fin_timeout", Some(n @ 1..=600)) => tcp.fin_wait_2_us = n * 1_000_000,
        ("net.ipv4.tcp_rto_min_us", Some(n @ 1000..=10_000_000)) => tcp.min_rto_us = n,
        ("net.inet.tcp.rexmit_initial", Some(n @ 1..=10_000)) => tcp.initial_rto_us = n * 1000,
        ("net.inet.tcp.rexmit_min", Some(n @ 1..=10_000)) => tcp.min_rto_us = n * 1000,
        ("net.inet.tcp.msl", Some(n @ 1..=240_000)) => tcp.msl_us = n * 1000,
        ("net.inet.tcp.delacktime", Some(n @ 0..=500)) => tcp.delayed_ack_us = n * 1000,
        ("net.ipv4.tcp_keepalive_time", Some(n)) => options.keep_idle_s = seconds(n),
        ("net.ipv4.tcp_keepalive_intvl", Some(n)) => options.keep_interval_s = seconds(n),
        ("net.inet.tcp.keepidle", Some(n)) => options.keep_idle_s = seconds(n / 1000),
        ("net.inet.tcp.keepintvl", Some(n)) => options.keep_interval_s = seconds(n / 1000),
        ("net.ipv4.tcp_keepalive_probes" | "net.inet.tcp.keepcnt", Some(n @ 1..=255)) => {
            options.keep_probes = n as u8;
        }
        ("net.ipv4.tcp_congestion_control" | "net.inet.tcp.cc.algorithm", _) => {
            options.congestion = match value {
                "reno" | "newreno" => CongestionControl::NewReno,
                _ => CongestionControl::Cubic,
            };
        }
        _ => {}
    }
}

fn seconds(number: u64) -> u32 {
    u32::try_from(number.clamp(1, 1 << 20)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_and_a_wrong_one_is_named() {
        let settings = Settings::parse("local=10.0.0.7,mtu=1280,habits=freebsd").expect("right");
        assert_eq!(settings.local_v4, Ipv4Addr::new(10, 0, 0, 7));
        assert_eq!((settings.mtu, settings.habits), (1280, Habits::FreeBsd));
        let error = Settings::parse("sysctl,colour=red").expect_err("no such flag");
        assert!(error.to_string().starts_with("flag \"colour=red\" is not known"), "{error}");
    }

    #[test]
    fn kernel_settings_become_the_engines() {
        let (mut config, mut options) = Settings::default().read();
        for (name, value) in [
            ("net.ipv4.tcp_sack", "0"),
            ("net.ipv4.tcp_rmem", "4096 540000 15728640"),
            ("net.inet.tcp.rfc1323", "0"),
            ("net.ipv4.tcp_congestion_control", "reno"),
            ("net.ipv4.tcp_retries2", "nonsense"),
        ] {
            apply(name, value, &mut config, &mut options);
        }
        assert!(!config.tcp.sack && !config.tcp.timestamps && !config.tcp.window_scaling);
        assert_eq!(options.recv_buffer, 15_728_640);
        assert_eq!(options.congestion, CongestionControl::NewReno);
        assert_eq!(config.tcp.max_data_retries, Config::default().tcp.max_data_retries);
    }
}
