//! Ranges of addresses, as `netaddr.IPSet` reads them.

use std::net::IpAddr;

use crate::error::ConfigError;
use crate::section::Section;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange {
    address: IpAddr,
    /// How many leading bits count.
    prefix: u32,
}

impl IpRange {
    /// `10.0.0.0/8`, `fd00::/8` or a single address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.trim().parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(bits), |prefix| prefix.trim().parse().ok())?;
        (prefix <= bits).then_some(Self { address, prefix })
    }

    /// Addresses of the other family are never inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(32 - self.prefix).unwrap_or_default() == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(128 - self.prefix).unwrap_or_default() == 0
            }
            _ => false,
        }
    }
}

/// A list of ranges.
pub fn read(section: &Section<'_>, key: &str) -> Result<Vec<IpRange>, ConfigError> {
    let parse = |text: String| {
        IpRange::parse(&text).ok_or_else(|| section.fault(key, format!("{text} is not a range of addresses")))
    };
    section.texts(key)?.into_iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside() {
        let inside = |range: &str, address: &str| IpRange::parse(range).unwrap().contains(address.parse().unwrap());
        assert!(inside("10.1.0.0/16", "10.1.2.3") && !inside("10.1.0.0/16", "10.2.0.1"));
        assert!(inside("10.1.2.3", "10.1.2.3") && !inside("10.1.2.3", "10.1.2.4"));
        assert!(inside("0.0.0.0/0", "8.8.8.8") && !inside("0.0.0.0/0", "::1"));
        assert!(inside("fd00::/8", "fd12::1") && !inside("fd00::/8", "fe80::1"));
        for bad in ["", "10.0.0.0/33", "x/8", "10.0.0.0/-1"] {
            assert_eq!(IpRange::parse(bad), None, "{bad}");
        }
    }
}
