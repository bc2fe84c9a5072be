//! Source addresses: where to connect from when the ports of one address run out.
//!
//! Every connection to the same target needs a source port of its own, and the kernel has some
//! 28,000 per address. On loopback each of 127.0.0.1, 127.0.0.2, … is an address of its own.
//!
//! `connect` becomes slow long before the ports run out: the kernel tries the ports of one parity
//! first, and once these are taken it walks over all of them for every further connection. Measured
//! on Linux 6.18 in the client's own system time: 14,000 connections from one address took 0.5 s,
//! 19,900 took 6.6 s, and 19,900 from two addresses 0.6 s. So a load generator has to switch to the
//! next address in time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

/// Spreads connections over source addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceAddresses {
    connections_per_source: usize,
    sources: usize,
    /// The index of the first source address; 127.0.0.1 has index 0.
    first: usize,
    is_rotating: bool,
    /// Each connection comes from the next of this number of addresses.
    round: Option<usize>,
}

impl SourceAddresses {
    pub(crate) fn new(target: SocketAddr, ephemeral_ports: &RangeInclusive<u16>) -> Self {
        let ports = usize::from(ephemeral_ports.end().saturating_sub(*ephemeral_ports.start())) + 1;
        let (connections_per_source, sources) = match target.ip() {
            // Three quarters of the ports of one parity.
            IpAddr::V4(address) if address.is_loopback() => (ports * 3 / 8, LOOPBACK_SOURCES),
            // Elsewhere only the kernel knows which addresses are local: all connections come from
            // one, and the last ones are slow. A quarter of the ports is left to other programs.
            IpAddr::V4(_) | IpAddr::V6(_) => (ports - ports / 4, 1),
        };
        let connections_per_source = connections_per_source.max(1);
        Self { connections_per_source, sources, first: 0, is_rotating: false, round: None }
    }

    /// The addresses for connections that come and go. They follow each other in the order of
    /// connecting, whatever is open, because a port may stay in TIME_WAIT for a minute after its
    /// connection.
    pub(crate) fn rotating(self) -> Self {
        Self { is_rotating: true, ..self }
    }

    /// From the first address on, each connection comes from the next of `addresses`, and then from the
    /// first again. Elsewhere than on loopback all come from one.
    pub(crate) fn going_round(self, addresses: usize) -> Self {
        Self { round: Some(addresses.max(1)), ..self }
    }

    /// The addresses for one of several processes, each of which opens `connections` to the same
    /// target. Two processes never share an address.
    pub(crate) fn of_process(self, process: usize, connections: usize) -> Self {
        let first = process * connections.div_ceil(self.connections_per_source);
        Self { first, ..self }
    }

    /// The number of connections that can be open to the target at once.
    pub(crate) fn connections_max(&self) -> usize {
        self.connections_per_source.saturating_mul(self.sources.saturating_sub(self.first))
    }

    /// The address to bind for a connection, from its slot and its serial number. `None` lets the
    /// kernel choose: for the first address that saves the cost of a bind.
    pub(crate) fn source(&self, slot: usize, serial: u64) -> Option<Ipv4Addr> {
        if self.sources == 1 {
            return None;
        }
        if let Some(round) = self.round {
            let offset = self.first + usize::try_from(serial).unwrap_or(slot) % round;
            return self.offset(offset);
        }
        let position =
            if self.is_rotating { usize::try_from(serial).unwrap_or(slot) } else { slot };
        self.offset(self.first + position / self.connections_per_source)
    }

    fn offset(&self, address: usize) -> Option<Ipv4Addr> {
        let offset = u32::try_from(address % self.sources).ok()?;
        (offset > 0).then(|| Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + offset))
    }
}

/// 127.0.0.1 to 127.255.255.254.
const LOOPBACK_SOURCES: usize = (1 << 24) - 2;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const PORTS: RangeInclusive<u16> = 32_768..=60_999;

    fn sources(target: &str) -> SourceAddresses {
        SourceAddresses::new(target.parse().unwrap(), &PORTS)
    }

    #[test]
    fn loopback_addresses_change_before_the_ports_run_out() {
        let sources = sources("127.0.0.1:8080");
        assert_eq!(sources.source(0, 0), None);
        assert_eq!(sources.source(10_000, 0), None);
        assert_eq!(sources.source(20_000, 0), Some(Ipv4Addr::new(127, 0, 0, 2)));
        let mut per_source = HashMap::new();
        for index in 0..100_000 {
            *per_source.entry(sources.source(index, 0)).or_insert(0_usize) += 1;
        }
        assert_eq!(per_source.len(), 10);
        assert!(per_source.values().all(|count| *count < PORTS.len() / 2));
        assert!(per_source.contains_key(&Some(Ipv4Addr::new(127, 0, 0, 10))));
    }

    #[test]
    fn rotating_addresses_follow_the_order_of_connecting() {
        let sources = sources("127.0.0.1:8080").rotating();
        assert_eq!(sources.source(3, 10_000), None);
        assert_eq!(sources.source(3, 20_000), Some(Ipv4Addr::new(127, 0, 0, 2)));
        // The last address, then the first one again.
        let round = sources.connections_max() as u64;
        assert_eq!(sources.source(3, round - 1), Some(Ipv4Addr::new(127, 255, 255, 254)));
        assert_eq!(sources.source(3, round), None);
    }

    #[test]
    fn connections_go_round_a_number_of_addresses() {
        let own = sources("127.0.0.1:8080").of_process(1, 10_000);
        let one = own.going_round(1);
        let first = one.source(0, 0);
        assert!(first.is_some() && (0..10).all(|serial| one.source(7, serial) == first));
        let many = own.going_round(10_000);
        let seen: std::collections::HashSet<_> =
            (0..20_000).map(|serial| many.source(0, serial)).collect();
        assert_eq!((seen.len(), many.source(3, 20_000)), (10_000, first));
    }

    #[test]
    fn processes_share_no_source_address() {
        let sources = sources("127.0.0.1:8080");
        let mut seen = std::collections::HashSet::new();
        for process in 0..6 {
            let own = sources.of_process(process, 17_000);
            let addresses: std::collections::HashSet<_> =
                (0..17_000).map(|index| own.source(index, 0)).collect();
            assert_eq!(addresses.len(), 2);
            assert!(addresses.into_iter().all(|address| seen.insert(address)));
        }
    }

    #[test]
    fn other_targets_have_one_source_that_the_kernel_chooses() {
        for target in ["192.0.2.1:80", "[::1]:80"] {
            let sources = sources(target);
            assert_eq!(sources.connections_max(), 21_174);
            assert_eq!(sources.source(sources.connections_max() - 1, 0), None);
        }
    }

    #[test]
    fn a_range_of_one_port_gives_addresses() {
        let target = "127.0.0.1:80".parse().unwrap();
        let sources = SourceAddresses::new(target, &(5..=5));
        assert_eq!(sources.source(2, 0), Some(Ipv4Addr::new(127, 0, 0, 3)));
    }
}
