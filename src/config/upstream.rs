//! The servers that relays lead to: the `[[upstream]]` tables, which routes name.

use super::declare::keys;
use super::rule::{Rule, integer};
use super::timeouts::TIMEOUT;
use super::word::{one_of, words};
use crate::upstream::{Balance, ServerName, UpstreamSettings};

keys! {
    /// A group of servers that stand for each other.
    "upstream." pub struct UpstreamOptions {
        /// The name by which routes refer to it.
        pub name: String {
            rule: Rule::Name,
            reload: true,
        }
        /// Where the servers are. The addresses of a name are asked for again every 30 s.
        pub servers: Vec<String> {
            rule: Rule::Servers,
            reload: true,
        }
        /// How connections are spread over the servers.
        pub balance: Balance {
            default: Balance::LeastConnections,
            rule: one_of::<Balance>(),
            reload: true,
        }
        /// What clients are told apart by: `address`, `user`, `cookie:NAME` or `header:NAME`.
        pub hash_by: String {
            default: "address".to_owned(),
            rule: Rule::HashBy,
            needs: Self::hashes => "balance is not \"hash\"",
            reload: true,
        }
        /// Connections of each server at once; 0 for any number.
        pub connections_max: u32 {
            default: 0,
            rule: integer(0, 1_048_576),
            reload: true,
            reached: "Another server is asked; without one the client gets 503.",
        }
        /// Until a connection to a server stands.
        pub connect_ms: u64 {
            default: 5000,
            rule: TIMEOUT,
            reload: true,
            reached: "Up to two other servers are asked; then the client gets 504.",
        }
        /// From there until the server has answered the request.
        pub reply_ms: u64 {
            default: 10_000,
            rule: TIMEOUT,
            reload: true,
            reached: "The client gets 504.",
        }
        /// For a server that could not be reached: so long it is asked only if no other is there.
        pub fail_ms: u64 {
            default: 10_000,
            rule: TIMEOUT,
            reload: true,
            reached: "It gets its part again.",
        }
        /// For a server that has come or come back: so long its part grows, from a hundredth of its
        /// weight to all of it; 0 for its whole part at once.
        pub slow_start_ms: u64 {
            default: 0,
            rule: integer(0, 86_400_000),
            reload: true,
            reached: "It gets its whole part.",
        }
    }
}

words! {
    Balance:
    "hash" = Hash,
    "least_connections" = LeastConnections,
    "power_of_two" = PowerOfTwo,
}

impl UpstreamOptions {
    fn hashes(&self) -> bool {
        self.balance == Balance::Hash
    }

    /// The servers. Loading has refused what is none.
    pub fn server_names(&self) -> impl Iterator<Item = ServerName> {
        self.servers.iter().filter_map(|text| ServerName::parse(text).ok())
    }

    /// What holds for all servers.
    #[must_use]
    pub fn settings(&self) -> UpstreamSettings {
        UpstreamSettings {
            balance: self.balance,
            connections_max: self.connections_max,
            connect_ms: self.connect_ms,
            reply_ms: self.reply_ms,
            fail_ms: self.fail_ms,
            slow_start_ms: self.slow_start_ms,
        }
    }
}
