//! A set of networks, as a list of the configuration gives it.

use std::net::IpAddr;

use ipnet::IpNet;

/// The addresses of any number of networks. To ask for one takes a binary search.
///
/// IPv4 addresses inside IPv6 (RFC 4291 §2.5.5.2) are IPv4 addresses here, so `::/0` has none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSet {
    ipv4: Ranges,
    ipv6: Ranges,
}

/// First and last addresses as numbers, in order; no two touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges(Vec<(u128, u128)>);

impl NetworkSet {
    /// The addresses of these networks.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for network in networks {
            let ends = (number(network.network()), number(network.broadcast()));
            match ends {
                ((true, first), (true, last)) => ipv4.push((first, last)),
                ((_, first), (_, last)) => ipv6.push((first, last)),
            }
        }
        Self { ipv4: Ranges::merged(ipv4), ipv6: Ranges::merged(ipv6) }
    }

    /// Whether it has no addresses.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ipv4.0.is_empty() && self.ipv6.0.is_empty()
    }

    /// Whether the address is in one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        // Most lists are empty.
        if self.is_empty() {
            return false;
        }
        match number(address) {
            (true, address) => self.ipv4.contains(address),
            (false, address) => self.ipv6.contains(address),
        }
    }
}

impl Ranges {
    fn merged(mut sorted: Vec<(u128, u128)>) -> Self {
        sorted.sort_unstable();
        let mut ranges: Vec<(u128, u128)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match ranges.last_mut() {
                Some(own) if first <= own.1.saturating_add(1) => own.1 = own.1.max(last),
                Some(_) | None => ranges.push((first, last)),
            }
        }
        ranges.shrink_to_fit();
        Self(ranges)
    }

    fn contains(&self, address: u128) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= address);
        let before = after.checked_sub(1).and_then(|at| self.0.get(at));
        before.is_some_and(|(_, last)| address <= *last)
    }
}

/// Whether an address is one of IPv4, and its number in its family.
fn number(address: IpAddr) -> (bool, u128) {
    match address.to_canonical() {
        IpAddr::V4(address) => (true, address.to_bits().into()),
        IpAddr::V6(address) => (false, address.to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use ipnet::{Ipv4Net, Ipv6Net};
    use proptest::prelude::*;

    use super::*;

    fn set(networks: &[&str]) -> NetworkSet {
        NetworkSet::new(&networks.iter().map(|own| own.parse().unwrap()).collect::<Vec<IpNet>>())
    }

    #[test]
    fn networks_are_merged_and_found_from_either_family() {
        let own = set(&["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16", "2001:db8::/32"]);
        assert_eq!((own.ipv4.0.len(), own.ipv6.0.len()), (1, 1));
        let has = |text: &str| own.contains(text.parse().unwrap());
        assert!(has("10.0.0.0") && has("10.255.255.255") && has("::ffff:10.2.3.4"));
        assert!(has("2001:db8::") && has("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"));
        assert!(!has("9.255.255.255") && !has("11.0.0.0") && !has("2001:db9::") && !has("::a00:1"));
        assert!(!set(&[]).contains(Ipv4Addr::UNSPECIFIED.into()));
        let ipv6 = set(&["::/0"]);
        assert!(ipv6.contains(Ipv6Addr::from_bits(u128::MAX).into()));
        assert!(!ipv6.contains(Ipv4Addr::LOCALHOST.into()));
        assert!(set(&["::ffff:10.0.0.0/104"]).contains(Ipv4Addr::new(10, 2, 3, 4).into()));
    }

    fn network() -> impl Strategy<Value = IpNet> {
        let v4 = (0_u32..1 << 12, 20_u8..=32);
        let v4 = v4.prop_map(|(bits, prefix)| {
            IpNet::V4(Ipv4Net::new(Ipv4Addr::from_bits(0x0A00_0000 | bits), prefix).unwrap())
        });
        let v6 = (0_u128..1 << 12, 116_u8..=128);
        let v6 = v6.prop_map(|(bits, prefix)| {
            IpNet::V6(Ipv6Net::new(Ipv6Addr::from_bits(bits), prefix).unwrap())
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn an_address_is_in_the_set_if_it_is_in_a_network(
            networks in prop::collection::vec(network(), 0..20),
            address in 0_u32..1 << 12,
        ) {
            let own = NetworkSet::new(&networks);
            let addresses: [IpAddr; 2] = [
                Ipv4Addr::from_bits(0x0A00_0000 | address).into(),
                Ipv6Addr::from_bits(address.into()).into(),
            ];
            for address in addresses {
                let expected = networks.iter().any(|own| own.contains(&address));
                prop_assert_eq!(own.contains(address), expected);
            }
        }
    }
}
