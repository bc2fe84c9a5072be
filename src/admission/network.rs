//! The networks that are counted: addresses with the same beginning.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};

/// Addresses with the same first bits. An IPv4 address, and the same inside IPv6 (RFC 4291 §2.5.5.2),
/// are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// As IPv6; those of IPv4 begin with `::ffff:0:0/96`.
    bits: [u8; 16],
    prefix_bits: u8,
}

/// How long a prefix is, for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixBits {
    /// From 0 to 32.
    pub ipv4: u8,
    /// From 0 to 128.
    pub ipv6: u8,
}

impl PrefixBits {
    /// What one client has as a rule: an address of IPv4, and 64 bits of IPv6 (RFC 7421 §1).
    pub const HOST: Self = Self { ipv4: 32, ipv6: 64 };
}

impl Network {
    /// The network that an address is in.
    #[must_use]
    pub fn of(address: IpAddr, prefix: PrefixBits) -> Self {
        let (bits, prefix_bits) = match address.to_canonical() {
            IpAddr::V4(address) => {
                (address.to_ipv6_mapped().to_bits(), IPV4_AT + prefix.ipv4.min(32))
            }
            IpAddr::V6(address) => (address.to_bits(), prefix.ipv6.min(128)),
        };
        let rest = u32::from(128 - prefix_bits);
        let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
        Self { bits: (bits & mask).to_be_bytes(), prefix_bits }
    }

    /// Whether it is that of one client.
    #[must_use]
    pub fn is_host(self) -> bool {
        [IPV4_AT + PrefixBits::HOST.ipv4, PrefixBits::HOST.ipv6].contains(&self.prefix_bits)
    }
}

impl Hash for Network {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // In one piece, as every connection is looked up. The length is left out: of those that have an entry
        // at one time few differ in nothing else.
        state.write(&self.bits);
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from(self.bits);
        match address.to_ipv4_mapped() {
            Some(address) if self.prefix_bits >= IPV4_AT => {
                write!(f, "{address}/{}", self.prefix_bits - IPV4_AT)
            }
            Some(_) | None => write!(f, "{address}/{}", self.prefix_bits),
        }
    }
}

/// Where an IPv4 address begins inside of IPv6.
const IPV4_AT: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(address: &str, prefix: PrefixBits) -> String {
        Network::of(address.parse().unwrap(), prefix).to_string()
    }

    #[test]
    fn an_address_is_in_the_network_of_its_first_bits() {
        let wide = PrefixBits { ipv4: 24, ipv6: 48 };
        for (address, host, network) in [
            ("192.0.2.77", "192.0.2.77/32", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.77/32", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
            ("::1", "::/64", "::/48"),
        ] {
            assert_eq!(shown(address, PrefixBits::HOST), host);
            assert_eq!(shown(address, wide), network);
        }
        let all = PrefixBits { ipv4: 0, ipv6: 0 };
        assert_eq!(shown("192.0.2.77", all), "0.0.0.0/0");
        assert_eq!(shown("2001:db8::1", all), "::/0");
        let exact = PrefixBits { ipv4: 32, ipv6: 128 };
        assert_eq!(shown("2001:db8::1", exact), "2001:db8::1/128");
    }
}
