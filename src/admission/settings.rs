//! What addresses may do.

use std::net::IpAddr;

use super::bucket::Rate;
use super::network::PrefixBits;
use super::network_set::NetworkSet;

/// The limits of addresses, and who is under none.
#[derive(Clone, Debug)]
pub struct AddressSettings {
    /// Of each client: an address of IPv4, or 64 bits of IPv6.
    pub host: AddressLimits,
    /// Of each network around clients.
    pub network: AddressLimits,
    /// How wide those networks are. A client that there is no entry left for is counted with its network.
    pub network_bits: PrefixBits,
    /// Those who are under no limit, also if they are denied.
    pub allow: NetworkSet,
    /// Those who may not connect.
    pub deny: NetworkSet,
    /// Proxies: whom they speak for shows later, so they are under no limit themselves.
    pub proxies: NetworkSet,
    /// Whether this machine and private networks are under no limit.
    pub exempts_local: bool,
    /// Whether limits are only counted, and no client is refused.
    pub is_dry_run: bool,
    /// Entries of the table at most.
    pub entries_max: usize,
    /// `Retry-After` of those who have too many connections, in seconds.
    pub retry_after_s: u32,
}

/// The limits of one client, or of one network. 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressLimits {
    /// New connections.
    pub connections: Rate,
    /// Failed handshakes. Beyond that, new connections are refused.
    pub failures: Rate,
    /// Open connections.
    pub connections_max: u32,
}

impl Default for AddressSettings {
    /// No limits, and no client is denied.
    fn default() -> Self {
        Self {
            host: AddressLimits::default(),
            network: AddressLimits::default(),
            network_bits: PrefixBits { ipv4: 24, ipv6: 48 },
            allow: NetworkSet::default(),
            deny: NetworkSet::default(),
            proxies: NetworkSet::default(),
            exempts_local: true,
            is_dry_run: false,
            entries_max: 65_536,
            retry_after_s: 1,
        }
    }
}

impl AddressSettings {
    /// Whether connections are counted.
    pub(super) fn has_limits(&self) -> bool {
        self.host.is_limited() || self.network.is_limited()
    }

    /// Whether an address is under no limit.
    pub(super) fn exempts(&self, address: IpAddr) -> bool {
        self.exempts_local && is_local(address)
            || self.allow.contains(address)
            || self.proxies.contains(address)
    }

    /// The limits of a network that takes in clients which have no entries of their own: its own, and
    /// where it has none, those of one client, which they share.
    pub(super) fn shared(&self) -> AddressLimits {
        let (host, network) = (self.host, self.network);
        let rate = |own: Rate, other| if own.is_limited() { own } else { other };
        AddressLimits {
            connections: rate(network.connections, host.connections),
            failures: rate(network.failures, host.failures),
            connections_max: match network.connections_max {
                0 => host.connections_max,
                own => own,
            },
        }
    }
}

impl AddressLimits {
    /// Whether there is any.
    pub(super) fn is_limited(self) -> bool {
        self.connections.is_limited() || self.failures.is_limited() || self.connections_max > 0
    }

    /// How often a client that is refused is told so; beyond that it is closed without a word. A
    /// tenth of what it may connect: an answer costs more than an accept.
    pub(super) fn answers(self) -> Rate {
        let own = if self.connections.is_limited() { self.connections } else { self.failures };
        let own = if own.is_limited() { own } else { Rate::new(DEFAULT_PER_S, DEFAULT_BURST) };
        own.divided_by(REFUSALS_PER_ANSWER)
    }
}

/// Whether an address is of this machine, of a private network (RFC 1918, RFC 4193) or of one link (RFC
/// 3927, RFC 4291 §2.5.6).
fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(own) => own.is_loopback() || own.is_private() || own.is_link_local(),
        IpAddr::V6(own) => {
            own.is_loopback() || own.is_unique_local() || own.is_unicast_link_local()
        }
    }
}

const REFUSALS_PER_ANSWER: u32 = 10;
/// Where only open connections are limited.
const DEFAULT_PER_S: u32 = 100;
const DEFAULT_BURST: u32 = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_private_networks_are_local() {
        for (address, expected) in [
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.255.0.1", true),
            ("172.16.0.1", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("169.254.1.1", true),
            ("100.64.0.1", false),
            ("192.0.2.1", false),
            ("fd00::1", true),
            ("fe80::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_local(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn clients_without_entries_share_the_limits_of_one() {
        let host = AddressLimits {
            connections: Rate::new(100, 400),
            failures: Rate::new(20, 80),
            connections_max: 7,
        };
        let own = AddressSettings { host, ..AddressSettings::default() };
        assert_eq!(own.shared(), host);
        let network = AddressLimits { connections: Rate::new(1000, 9), ..host };
        let own = AddressSettings { network, ..own };
        assert_eq!(own.shared(), network);
    }

    #[test]
    fn a_tenth_of_refusals_is_answered() {
        let limits = AddressLimits { connections: Rate::new(100, 400), ..Default::default() };
        assert_eq!(limits.answers(), Rate::new(10, 40));
        assert_eq!(AddressLimits::default().answers(), Rate::new(10, 40));
    }
}
