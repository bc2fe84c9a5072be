//! Limits of clients by their addresses.

use ipnet::IpNet;

use super::declare::keys;
use super::limits::CONNECTIONS_MAX;
use super::rule::{Rule, integer};

keys! {
    /// How many connections each client, and each network around clients, may make and have. A client
    /// is an address of IPv4, or 64 bits of IPv6. A limit of 0 is none.
    "addresses." pub struct AddressOptions {
        /// New connections of one client per second.
        pub connections_per_s: u32 {
            default: 100,
            rule: RATE,
            reload: true,
            reached: "Further ones get 429 with `Retry-After`, and if they go on, are closed at once.",
        }
        /// New connections of one client at once, after a pause.
        pub connections_burst: u32 {
            default: 400,
            rule: BURST,
            reload: true,
        }
        /// Failed handshakes of one client per second.
        pub handshake_failures_per_s: u32 {
            default: 20,
            rule: RATE,
            reload: true,
            reached: "As with `addresses.connections_per_s`.",
        }
        /// Failed handshakes of one client at once, after a pause.
        pub handshake_failures_burst: u32 {
            default: 80,
            rule: BURST,
            reload: true,
        }
        /// Open connections of one client.
        pub connections_max: u32 {
            default: 0,
            rule: integer(0, CONNECTIONS_MAX as u64),
            reload: true,
            reached: "As with `addresses.connections_per_s`.",
        }
        /// New connections of all clients of one network per second.
        pub network_connections_per_s: u32 {
            default: 0,
            rule: RATE,
            reload: true,
            reached: "As with `addresses.connections_per_s`.",
        }
        /// New connections of all clients of one network at once, after a pause.
        pub network_connections_burst: u32 {
            default: 400,
            rule: BURST,
            reload: true,
        }
        /// Failed handshakes of all clients of one network per second.
        pub network_handshake_failures_per_s: u32 {
            default: 0,
            rule: RATE,
            reload: true,
            reached: "As with `addresses.connections_per_s`.",
        }
        /// Failed handshakes of all clients of one network at once, after a pause.
        pub network_handshake_failures_burst: u32 {
            default: 80,
            rule: BURST,
            reload: true,
        }
        /// Open connections of all clients of one network.
        pub network_connections_max: u32 {
            default: 0,
            rule: integer(0, CONNECTIONS_MAX as u64),
            reload: true,
            reached: "As with `addresses.connections_per_s`.",
        }
        /// The first bits that addresses of IPv4 have in common which are one network.
        pub network_ipv4_bits: u32 {
            default: 24,
            rule: integer(1, 31),
            reload: true,
        }
        /// The first bits that addresses of IPv6 have in common which are one network.
        pub network_ipv6_bits: u32 {
            default: 48,
            rule: integer(1, 63),
            reload: true,
        }
        /// Networks and addresses under no limit, also where `deny` lists a wider network.
        pub allow: Vec<IpNet> {
            default: Vec::new(),
            rule: Rule::Networks,
            reload: true,
        }
        /// Networks and addresses that may not connect: they are closed at once.
        pub deny: Vec<IpNet> {
            default: Vec::new(),
            rule: Rule::Networks,
            reload: true,
        }
        /// Whether this machine and private networks are under no limit: loopback, 10.0.0.0/8,
        /// 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, fc00::/7 and fe80::/10.
        pub exempt_local: bool {
            default: true,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether limits and `deny` are only counted and logged, and no client is refused.
        pub dry_run: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Clients and networks that are remembered at once, each in up to 80 bytes.
        pub entries_max: Option<usize> {
            default: None,
            shown: "derived",
            rule: integer(1024, CONNECTIONS_MAX as u64),
            reload: true,
            reached: "Newcomers are counted with their network, and where there is no room for that, \
                      not at all.",
        }
    }
}

impl AddressOptions {
    /// How many entries there are with this many connections.
    pub fn entries_max(&self, connections_max: usize) -> usize {
        // Twice, as those who have left are remembered for a moment.
        let derived = connections_max.saturating_mul(2).clamp(ENTRIES_LEAST, CONNECTIONS_MAX);
        self.entries_max.unwrap_or(derived)
    }
}

const RATE: Rule = integer(0, 1_000_000);
const BURST: Rule = integer(1, 1_000_000);
/// 5 MiB at most.
const ENTRIES_LEAST: usize = 65_536;
