//! Addresses as the engine keeps them: one type that both IP versions fit into.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An IP address; IPv4 is held in its IPv4-mapped IPv6 form (RFC 4291 section 2.5.5.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addr([u8; 16]);

const MAPPED_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

impl Addr {
    /// `0.0.0.0`.
    pub const UNSPECIFIED_IPV4: Addr = Addr::from_ipv4_octets([0, 0, 0, 0]);

    /// An IPv4 address from its four bytes in network order.
    #[inline]
    pub const fn from_ipv4_octets(v4: [u8; 4]) -> Addr {
        Addr([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]])
    }

    /// An address from its sixteen bytes, as [`Addr::octets`] returned them.
    #[inline]
    pub const fn from_octets(octets: [u8; 16]) -> Addr {
        Addr(octets)
    }

    /// The sixteen bytes of the (possibly IPv4-mapped) IPv6 form.
    #[inline]
    pub const fn octets(&self) -> [u8; 16] {
        self.0
    }

    /// Whether this is an IPv4 address.
    #[inline]
    pub fn is_ipv4(&self) -> bool {
        self.0[..12] == MAPPED_PREFIX
    }

    /// The IPv4 address, if this is one.
    #[inline]
    pub fn as_ipv4(&self) -> Option<Ipv4Addr> {
        let [.., a, b, c, d] = self.0;
        self.is_ipv4().then(|| Ipv4Addr::new(a, b, c, d))
    }

    /// The IPv6 address, if this is one.
    #[inline]
    pub fn as_ipv6(&self) -> Option<Ipv6Addr> {
        (!self.is_ipv4()).then(|| Ipv6Addr::from(self.0))
    }

    /// Whether `other` is of the same version, IPv4 or IPv6.
    #[inline]
    pub fn is_same_version(&self, other: &Addr) -> bool {
        self.is_ipv4() == other.is_ipv4()
    }

    /// Whether one host can have it: it is not "this network", no broadcast and no multicast
    /// address (RFC 1122 3.2.1.3).
    pub fn is_host(&self) -> bool {
        match self.to_ip() {
            IpAddr::V4(v4) => v4.octets()[0] != 0 && !v4.is_broadcast() && !v4.is_multicast(),
            IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
        }
    }

    /// The standard library's form.
    pub fn to_ip(&self) -> IpAddr {
        match self.as_ipv4() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(self.0.into()),
        }
    }
}

impl From<Ipv4Addr> for Addr {
    #[inline]
    fn from(v4: Ipv4Addr) -> Addr {
        Addr::from_ipv4_octets(v4.octets())
    }
}

impl From<Ipv6Addr> for Addr {
    #[inline]
    fn from(v6: Ipv6Addr) -> Addr {
        Addr(v6.octets())
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Addr {
        match ip {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

impl FromStr for Addr {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Addr, Self::Err> {
        text.parse::<IpAddr>().map(Addr::from)
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_ip().fmt(f)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Addr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Addr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Addr, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| {
            serde::de::Error::custom(format_args!(
                "\"{text}\" is not an IP address: write it like 192.0.2.7 or 2001:db8::7"
            ))
        })
    }
}

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its address.
    pub addr: Addr,
    /// Its port, in host order.
    pub port: u16,
}

impl Endpoint {
    /// The endpoint `addr:port`.
    #[inline]
    pub fn new(addr: impl Into<Addr>, port: u16) -> Endpoint {
        Endpoint { addr: addr.into(), port }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.addr.to_ip(), self.port).fmt(f)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Both ends of a connection; `local` is ours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Flow {
    /// Our end: the destination of what comes in.
    pub local: Endpoint,
    /// The peer's end.
    pub remote: Endpoint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_keep_their_text_form() {
        for text in ["192.0.2.7", "0.0.0.0", "2001:db8::1", "::1"] {
            assert_eq!(text.parse::<Addr>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn ipv4_is_told_from_ipv6() {
        assert_eq!(Addr::from(Ipv4Addr::LOCALHOST).as_ipv4(), Some(Ipv4Addr::LOCALHOST));
        assert_eq!(Addr::from(Ipv6Addr::LOCALHOST).as_ipv4(), None);
        assert_eq!(Addr::from(Ipv6Addr::LOCALHOST).as_ipv6(), Some(Ipv6Addr::LOCALHOST));
        assert_eq!(Addr::from(Ipv4Addr::LOCALHOST).as_ipv6(), None);
    }

    #[test]
    fn an_endpoint_prints_like_a_socket_address() {
        assert_eq!(Endpoint::new(Ipv4Addr::LOCALHOST, 80).to_string(), "127.0.0.1:80");
        assert_eq!(Endpoint::new(Ipv6Addr::LOCALHOST, 80).to_string(), "[::1]:80");
    }
}
