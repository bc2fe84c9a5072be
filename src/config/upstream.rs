//! The servers that relays lead to: the `[[upstream]]` tables, which routes name.

use super::declare::keys;
use super::file_path::FilePath;
use super::rule::{Rule, integer};
use super::timeouts::TIMEOUT;
use super::word::{one_of, words};
use crate::upstream::{Balance, HealthKind, HealthSettings, ServerName, UpstreamSettings};

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
        /// The addresses of this machine that connections to the servers come from, in turn; by default
        /// the kernel chooses one.
        pub local_addresses: Vec<String> {
            default: Vec::new(),
            rule: Rule::LocalAddresses,
            reload: true,
            reached: "With no source port left the client gets 503.",
        }
        /// Whether the servers are reached with TLS.
        pub tls: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// PEM file with the authorities that the servers' certificates must come from; read again at a
        /// reload.
        pub tls_ca: Option<FilePath> {
            default: None,
            shown: "those of the system",
            rule: Rule::File,
            needs: Self::verifies => "tls or tls_verify is false",
            reload: true,
        }
        /// The name that servers are asked for (SNI) and that their certificates must have. A server by its
        /// address must have this address in its certificate otherwise.
        pub tls_name: Option<String> {
            default: None,
            shown: "the server's own",
            rule: Rule::Domain,
            needs: Self::has_tls => "tls is false",
            reload: true,
        }
        /// PEM file with the certificate that is shown to servers which ask for one, then those between it
        /// and its authority; read again at a reload.
        pub tls_certificate: Option<FilePath> {
            default: None,
            shown: "none",
            rule: Rule::File,
            needs: Self::has_tls => "tls is false",
            reload: true,
        }
        /// PEM file with the private key of that certificate.
        pub tls_key: Option<FilePath> {
            default: None,
            shown: "none",
            rule: Rule::File,
            needs: Self::has_tls => "tls is false",
            reload: true,
        }
        /// Whether the servers' certificates are verified. Without that anyone on the way can read and
        /// change what is relayed.
        pub tls_verify: bool {
            default: true,
            rule: Rule::Boolean,
            needs: Self::has_tls => "tls is false",
            reload: true,
        }
        /// What every server is asked from time to time: nothing, a GET, or the handshake of a WebSocket.
        /// One that does not pass is asked only if no other is there.
        pub health: HealthChoice {
            default: HealthChoice::Off,
            rule: one_of::<HealthChoice>(),
            reload: true,
        }
        /// The path that is asked for.
        pub health_path: String {
            default: "/".to_owned(),
            rule: Rule::Path,
            needs: Self::is_checked => "health is \"off\"",
            reload: true,
        }
        /// The `Host` of these requests.
        pub health_host: Option<String> {
            default: None,
            shown: "the server's address",
            rule: Rule::HostHeader,
            needs: Self::is_checked => "health is \"off\"",
            reload: true,
        }
        /// Between the beginnings of two checks of a server.
        pub health_every_ms: u64 {
            default: 5000,
            rule: TIMEOUT,
            needs: Self::is_checked => "health is \"off\"",
            reload: true,
        }
        /// For one check, from connecting to its answer.
        pub health_timeout_ms: u64 {
            default: 2000,
            rule: TIMEOUT,
            needs: Self::is_checked => "health is \"off\"",
            reload: true,
            reached: "The check has failed.",
        }
        /// Checks in a row that must fail.
        pub health_fall: u32 {
            default: 3,
            rule: integer(1, 100),
            needs: Self::is_checked => "health is \"off\"",
            reload: true,
            reached: "The server is unhealthy.",
        }
        /// Checks in a row that must pass.
        pub health_rise: u32 {
            default: 2,
            rule: integer(1, 100),
            needs: Self::is_checked => "health is \"off\"",
            reload: true,
            reached: "The server is healthy again.",
        }
    }
}

/// What servers are asked from time to time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HealthChoice {
    /// Nothing.
    #[default]
    Off,
    /// A GET.
    Get,
    /// The handshake of a WebSocket.
    WebSocket,
}

words! {
    HealthChoice:
    "get" = Get,
    "off" = Off,
    "websocket" = WebSocket,
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

    fn has_tls(&self) -> bool {
        self.tls
    }

    fn verifies(&self) -> bool {
        self.tls && self.tls_verify
    }

    fn is_checked(&self) -> bool {
        self.health != HealthChoice::Off
    }

    fn health_settings(&self) -> Option<HealthSettings> {
        let kind = match self.health {
            HealthChoice::Off => return None,
            HealthChoice::Get => HealthKind::Get,
            HealthChoice::WebSocket => HealthKind::WebSocket,
        };
        Some(HealthSettings {
            kind,
            path: self.health_path.clone(),
            host: self.health_host.clone(),
            every_ms: self.health_every_ms,
            timeout_ms: self.health_timeout_ms,
            fall: self.health_fall,
            rise: self.health_rise,
        })
    }

    /// The servers. Loading has refused what is none.
    pub fn server_names(&self) -> impl Iterator<Item = ServerName> {
        self.servers.iter().filter_map(|text| ServerName::parse(text).ok())
    }

    /// What holds for all servers, without TLS, which is made of files.
    #[must_use]
    pub fn settings(&self) -> UpstreamSettings {
        UpstreamSettings {
            balance: self.balance,
            connections_max: self.connections_max,
            connect_ms: self.connect_ms,
            reply_ms: self.reply_ms,
            fail_ms: self.fail_ms,
            slow_start_ms: self.slow_start_ms,
            health: self.health_settings(),
            tls: None,
            local_addresses: self
                .local_addresses
                .iter()
                .filter_map(|own| own.parse().ok())
                .collect(),
        }
    }
}
