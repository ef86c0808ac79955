//! Socket options: what a socket remembers of them, and the service of the engine that has the same
//! settings.

use std::ffi::c_int;

use engine::config::{CongestionControl, Keepalive, ServiceConfig, ServiceKind};

use crate::errno::{Errno, Result};
use crate::settings::Habits;

/// Smallest buffer that the engine takes.
const MIN_BUFFER: u32 = 4096;
/// Smallest and largest segment that may be asked for (`TCP_MAXSEG`).
const SEGMENTS: std::ops::RangeInclusive<c_int> = 88..=9176;

/// The options of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whose habits decide where systems differ.
    pub habits: Habits,
    /// `SO_REUSEADDR`: an address in TIME-WAIT may be bound, which is so in any case.
    pub reuse_address: bool,
    /// `IP_FREEBIND`: any address may be bound, which is so in any case.
    pub free_bind: bool,
    /// `TCP_NODELAY`.
    pub no_delay: bool,
    /// `SO_KEEPALIVE`.
    pub keepalive: bool,
    /// `TCP_KEEPIDLE` in seconds.
    pub keep_idle_s: u32,
    /// `TCP_KEEPINTVL` in seconds.
    pub keep_interval_s: u32,
    /// `TCP_KEEPCNT`.
    pub keep_probes: u8,
    /// `SO_LINGER`: seconds that a close waits; with 0 it resets.
    pub linger_s: Option<u32>,
    /// `SO_RCVBUF` in bytes.
    pub recv_buffer: u32,
    /// What the first window is taken from.
    pub initial_recv_buffer: u32,
    /// What the receive buffer may grow to, if that is more.
    pub recv_buffer_limit: Option<u32>,
    /// `SO_SNDBUF` in bytes.
    pub send_buffer: u32,
    /// `TCP_MAXSEG` in bytes.
    pub max_segment: Option<u16>,
    /// `TCP_USER_TIMEOUT` in milliseconds.
    pub user_timeout_ms: Option<u32>,
    /// `TCP_CONGESTION`.
    pub congestion: CongestionControl,
}

impl Options {
    /// Those of a new socket.
    #[must_use]
    pub fn new(habits: Habits) -> Options {
        Options {
            habits,
            reuse_address: false,
            free_bind: false,
            no_delay: false,
            keepalive: false,
            keep_idle_s: 7200,
            keep_interval_s: 75,
            keep_probes: 9,
            linger_s: None,
            recv_buffer: 1 << 20,
            initial_recv_buffer: 65_535,
            recv_buffer_limit: None,
            send_buffer: 256 * 1024,
            max_segment: None,
            user_timeout_ms: None,
            congestion: CongestionControl::default(),
        }
    }

    /// The service with these settings. `port`: where it listens, or 0.
    #[must_use]
    pub fn service(&self, port: u16) -> ServiceConfig {
        let keepalive = Keepalive {
            idle_us: u64::from(self.keep_idle_s) * 1_000_000,
            interval_us: u64::from(self.keep_interval_s) * 1_000_000,
            probes: self.keep_probes,
        };
        ServiceConfig {
            nagle: !self.no_delay,
            congestion: self.congestion,
            keepalive: self.keepalive.then_some(keepalive),
            send_buffer_bytes: self.send_buffer,
            recv_buffer_bytes: self.largest_recv_buffer(),
            initial_recv_buffer_bytes: self.initial_recv_buffer,
            user_timeout_us: self.user_timeout_ms.map(|ms| u64::from(ms) * 1000),
            max_segment_bytes: self.max_segment,
            ..ServiceConfig::new("script", port, ServiceKind::External)
        }
    }

    /// Sets an option that is one number.
    ///
    /// # Errors
    /// No such option here, or a value that it cannot have.
    pub fn set(&mut self, level: c_int, name: c_int, value: c_int) -> Result<()> {
        let on = value != 0;
        match (level, name) {
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => self.reuse_address = on,
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => self.keepalive = on,
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => {
                self.recv_buffer = buffer(value);
                self.initial_recv_buffer = self.recv_buffer;
                self.recv_buffer_limit = None;
            }
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => {
                // Linux counts its own overhead too, so that it gives twice as much.
                self.send_buffer = buffer(value).saturating_mul(self.doubled());
            }
            (libc::IPPROTO_IP, libc::IP_FREEBIND) => self.free_bind = on,
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) => self.no_delay = on,
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => {
                self.keep_idle_s = within(value, 1, 32_767)?.unsigned_abs();
            }
            (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => {
                self.keep_interval_s = within(value, 1, 32_767)?.unsigned_abs();
            }
            (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => {
                self.keep_probes = within(value, 1, 127)? as u8;
            }
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => {
                let ms = within(value, 0, c_int::MAX)?.unsigned_abs();
                self.user_timeout_ms = (ms > 0).then_some(ms);
            }
            (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => {
                let bytes = within(value, *SEGMENTS.start(), *SEGMENTS.end())?;
                self.max_segment = u16::try_from(bytes).ok();
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    /// The value of an option that is one number and the same whatever the socket does.
    #[must_use]
    pub fn number(&self, level: c_int, name: c_int) -> Option<c_int> {
        let number = |n: u32| c_int::try_from(n).unwrap_or(c_int::MAX);
        let doubled = |bytes: u32| number(bytes.saturating_mul(self.doubled()));
        Some(match (level, name) {
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => self.reuse_address.into(),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => self.keepalive.into(),
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => doubled(self.recv_buffer),
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => number(self.send_buffer),
            (libc::SOL_SOCKET, libc::SO_TYPE) => libc::SOCK_STREAM,
            (libc::SOL_SOCKET, libc::SO_PROTOCOL) => libc::IPPROTO_TCP,
            (libc::IPPROTO_IP, libc::IP_FREEBIND) => self.free_bind.into(),
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) => self.no_delay.into(),
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => number(self.keep_idle_s),
            (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => number(self.keep_interval_s),
            (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => self.keep_probes.into(),
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => {
                number(self.user_timeout_ms.unwrap_or(0))
            }
            _ => return None,
        })
    }

    fn largest_recv_buffer(&self) -> u32 {
        let set = self.recv_buffer.max(self.recv_buffer_limit.unwrap_or(0));
        if self.habits == Habits::FreeBsd { set.max(self.initial_recv_buffer) } else { set }
    }

    fn doubled(&self) -> u32 {
        if self.habits == Habits::Linux { 2 } else { 1 }
    }

    /// Sets `SO_LINGER`.
    pub fn set_linger(&mut self, on: bool, seconds: c_int) {
        self.linger_s = on.then_some(seconds.max(0).unsigned_abs());
    }

    /// Sets `TCP_CONGESTION`.
    ///
    /// # Errors
    /// There is no algorithm of this name.
    pub fn set_congestion(&mut self, name: &str) -> Result<()> {
        self.congestion = match name {
            "cubic" => CongestionControl::Cubic,
            "reno" | "newreno" => CongestionControl::NewReno,
            _ => return Err(Errno::ENOENT),
        };
        Ok(())
    }

    /// The name of the congestion control.
    #[must_use]
    pub fn congestion_name(&self) -> &'static str {
        match (self.congestion, self.habits) {
            (CongestionControl::Cubic, _) => "cubic",
            (CongestionControl::NewReno, Habits::Linux) => "reno",
            (CongestionControl::NewReno, Habits::FreeBsd) => "newreno",
        }
    }
}

fn buffer(bytes: c_int) -> u32 {
    bytes.max(0).unsigned_abs().max(MIN_BUFFER)
}

fn within(value: c_int, min: c_int, max: c_int) -> Result<c_int> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(Errno::EINVAL) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_shape_the_service() {
        let mut options = Options::new(Habits::Linux);
        options.set(libc::IPPROTO_TCP, libc::TCP_NODELAY, 1).expect("is known");
        options.set(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1).expect("is known");
        options.set(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 5).expect("is known");
        options.set(libc::SOL_SOCKET, libc::SO_RCVBUF, 10_000).expect("is known");
        options.set(libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 3000).expect("is known");
        let service = options.service(0);
        assert!(!service.nagle);
        assert_eq!(service.keepalive.map(|keepalive| keepalive.idle_us), Some(5_000_000));
        assert_eq!((service.recv_buffer_bytes, service.user_timeout_us), (10_000, Some(3_000_000)));
    }

    #[test]
    fn values_out_of_range_and_unknown_options_are_refused() {
        let mut options = Options::new(Habits::Linux);
        let before = options.clone();
        for (level, name, value, error) in [
            (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 0, Errno::EINVAL),
            (libc::IPPROTO_TCP, libc::TCP_MAXSEG, 87, Errno::EINVAL),
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, -1, Errno::EINVAL),
            (libc::IPPROTO_TCP, libc::TCP_MD5SIG, 1, Errno::ENOPROTOOPT),
        ] {
            assert_eq!(options.set(level, name, value), Err(error), "option {name}");
        }
        assert_eq!(options, before);
    }

    #[test]
    fn sizes_are_told_by_the_habits_of_the_system() {
        let size = |habits| {
            let mut options = Options::new(habits);
            options.set(libc::SOL_SOCKET, libc::SO_SNDBUF, 8192).expect("is known");
            options.number(libc::SOL_SOCKET, libc::SO_SNDBUF)
        };
        assert_eq!((size(Habits::Linux), size(Habits::FreeBsd)), (Some(16_384), Some(8192)));
    }
}
