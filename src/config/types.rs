//! Small values of a configuration, each with its text form.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::Serialize;

/// An IP address with the prefix length of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    /// 1 to 32, or for IPv6 to 128.
    pub prefix: u8,
}

impl Cidr {
    /// Whether `other` lies in this address's network.
    pub fn contains(&self, other: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.address, other) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros() >= prefix
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros() >= prefix
            }
            _ => false,
        }
    }

    /// Whether the two networks share any address.
    pub fn overlaps(&self, other: &Self) -> bool {
        let wider = if self.prefix <= other.prefix { self } else { other };
        let narrower = if self.prefix <= other.prefix { other } else { self };
        wider.contains(narrower.address)
    }
}

impl FromStr for Cidr {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = text.split_once('/').ok_or(())?;
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let prefix = prefix.parse().map_err(|_| ())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if (1..=most).contains(&prefix) { Ok(Self { address, prefix }) } else { Err(()) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Cidr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An Ethernet address, written as `02:48:46:00:00:64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// A group address can't be anybody's source address (IEEE 802, I/G bit).
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl FromStr for MacAddress {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(())?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| ())?;
        }
        if parts.next().is_none() { Ok(Self(bytes)) } else { Err(()) }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl Serialize for MacAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How the log is encrypted on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Encryption {
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    #[serde(rename = "none")]
    None,
}

impl Encryption {
    /// The words of the file.
    pub const CHOICES: [(&str, Encryption); 2] =
        [("aes-256-gcm", Encryption::Aes256Gcm), ("none", Encryption::None)];
}

/// The key that both nodes share. Never shown: its text form is a fingerprint.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A key for one purpose; knowing one tells nothing about another.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(&format!("holdfast 2026 {purpose}"), &self.0)
    }

    /// Enough to see whether two nodes hold the same secret.
    pub fn fingerprint(&self) -> String {
        self.derive("fingerprint")[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for Secret {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| ())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| ())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.fingerprint())
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("fingerprint {}", self.fingerprint()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cidr_knows_its_network() {
        let lan: Cidr = "10.77.0.1/24".parse().unwrap();
        assert!(lan.contains("10.77.0.200".parse().unwrap()));
        assert!(!lan.contains("10.77.1.1".parse().unwrap()));
        assert!(lan.overlaps(&"10.0.0.0/8".parse().unwrap()));
        assert!(!lan.overlaps(&"10.78.0.0/24".parse().unwrap()));
        let lan: Cidr = "fd77::1/64".parse().unwrap();
        assert!(lan.contains("fd77::ffff:1".parse().unwrap()));
        assert!(!lan.contains("fd77:0:0:1::1".parse().unwrap()));
        assert!(!lan.contains("10.77.0.1".parse().unwrap()));
        assert!(lan.overlaps(&"fd77::/32".parse().unwrap()));
        for wrong in [
            "10.77.0.1",
            "10.77.0.300/24",
            "10.77.0.1/33",
            "10.77.0.1/0",
            "/24",
            "fd77::1",
            "fd77::1/129",
        ] {
            assert_eq!(wrong.parse::<Cidr>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn mac_address_keeps_its_text() {
        let mac: MacAddress = "02:48:46:00:00:64".parse().unwrap();
        assert_eq!(mac.to_string(), "02:48:46:00:00:64");
        for wrong in
            ["02:48:46:00:00", "02:48:46:00:00:64:1", "2:48:46:0:0:64", "zz:48:46:00:00:64"]
        {
            assert_eq!(wrong.parse::<MacAddress>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn secret_shows_only_a_fingerprint() {
        let text = "ab".repeat(32);
        let secret: Secret = text.parse().unwrap();
        assert!(!format!("{secret:?}").contains("abab"));
        assert_ne!(secret.derive("one"), secret.derive("two"));
        assert!("ab".repeat(31).parse::<Secret>().is_err());
    }
}
