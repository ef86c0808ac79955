//! Ranges of addresses and ports as they are typed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses from the first to the last, both included: `10.0.0.2-10.0.0.9`, or a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    /// First of them.
    pub first: IpAddr,
    /// Last of them, of the same IP version; not below the first.
    pub last: IpAddr,
}

impl AddressRange {
    /// A range of one.
    pub fn single(address: IpAddr) -> AddressRange {
        AddressRange { first: address, last: address }
    }

    /// How many addresses it has, at least 1. More than a `u64` can say are as many as it can.
    pub fn count(&self) -> u64 {
        let steps = bits(self.last) - bits(self.first);
        u64::try_from(steps).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// The address at a place of it, `place` < [`count`](Self::count).
    pub fn at(&self, place: u32) -> IpAddr {
        let bits = bits(self.first).wrapping_add(place.into());
        match self.first {
            IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("expected FIRST-LAST or one address, e.g. 10.0.0.2-10.0.0.9, not {text:?}");
        let address = |part: &str| part.trim().parse::<IpAddr>().map_err(|_| expected());
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (address(first)?, address(last)?);
        if first.is_ipv4() != last.is_ipv4() {
            return Err(format!("{first} and {last} are of two IP versions"));
        }
        if last < first {
            return Err(format!("{last} comes before {first}"));
        }
        Ok(AddressRange { first, last })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Ports from the first to the last, both included: `1024-65535`, or a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// First of them; not 0.
    pub first: u16,
    /// Last of them; not below the first.
    pub last: u16,
}

impl PortRange {
    /// How many ports it has, at least 1.
    pub fn count(&self) -> u64 {
        u64::from(self.last - self.first) + 1
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected FIRST-LAST, e.g. 1024-65535, not {text:?}");
        let port = |part: &str| match part.trim().parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(expected()),
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first)?, port(last)?);
        if last < first {
            return Err(format!("{last} comes before {first}"));
        }
        Ok(PortRange { first, last })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_they_are_written() {
        let range: AddressRange = "10.0.0.254-10.0.1.1".parse().unwrap();
        assert_eq!((range.count(), range.at(2)), (4, IpAddr::from([10, 0, 1, 0])));
        assert_eq!(range.to_string(), "10.0.0.254-10.0.1.1");
        assert_eq!("10.0.0.1".parse::<AddressRange>().unwrap().count(), 1);
        let range: AddressRange = "fd77::ffff-fd77::1:2".parse().unwrap();
        assert_eq!((range.count(), range.at(1).to_string().as_str()), (4, "fd77::1:0"));
        assert_eq!(range.to_string(), "fd77::ffff-fd77::1:2");
        let all: AddressRange = "::-ffff::".parse().unwrap();
        assert_eq!(all.count(), u64::MAX);
        let ports: PortRange = "1024-65535".parse().unwrap();
        assert_eq!((ports.count(), ports.to_string().as_str()), (64_512, "1024-65535"));
    }

    #[test]
    fn what_is_no_range_is_told() {
        for text in ["", "10.0.0.2-", "10.0.0.9-10.0.0.2", "x-y", "10.0.0.256", "10.0.0.1-::2"] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
        for text in ["", "0-5", "5-4", "70000", "1-70000"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }
}
