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

    /// IPv4-compatible, IPv4-mapped, and 6to4.
    fn as_version_6(&self) -> Vec<Self> {
        let IpAddr::V4(address) = self.address else { return Vec::new() };
        let bits = u128::from(address.to_bits());
        let range = |bits: u128, prefix| Self { address: IpAddr::V6(bits.into()), prefix };
        vec![
            range(bits, self.prefix + 96),
            range(0xffff << 32 | bits, self.prefix + 96),
            range(0x2002 << 112 | bits << 80, self.prefix + 16),
        ]
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

/// `DEFAULT_IP_RANGE_BLOCKLIST`
pub const PRIVATE: [&str; 19] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "192.0.0.0/24",
    "169.254.0.0/16",
    "192.88.99.0/24",
    "198.18.0.0/15",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "::1/128",
    "fe80::/10",
    "fc00::/7",
    "2001:db8::/32",
    "ff00::/8",
    "fec0::/10",
];

/// Blocked, whatever is configured.
pub const NOWHERE: [&str; 2] = ["0.0.0.0", "::"];

/// `_is_ip_blocked`
pub fn is_blocked(address: IpAddr, blocked: &[IpRange], excepted: &[IpRange]) -> bool {
    let within = |ranges: &[IpRange]| ranges.iter().any(|range| range.contains(address));
    within(blocked) && !within(excepted)
}

/// `generate_ip_set`: the ranges of a list, or those of `default`, and of `always`; of version 4 also as version 6
/// writes them.
pub fn read_set(
    section: &Section<'_>,
    key: &str,
    default: &[&str],
    always: &[&str],
) -> Result<Vec<IpRange>, ConfigError> {
    let known = |ranges: &[&str]| -> Vec<_> { ranges.iter().filter_map(|range| IpRange::parse(range)).collect() };
    // An empty value is an empty list.
    let is_given = section.keys().any(|given| given == key);
    let mut ranges = if is_given { read(section, key)? } else { known(default) };
    ranges.extend(known(always));
    let as_version_6: Vec<_> = ranges.iter().flat_map(IpRange::as_version_6).collect();
    ranges.extend(as_version_6);
    Ok(ranges)
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
