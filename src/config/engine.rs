//! The engine of channels: in the process, or shared by several gateways.

use super::declare::keys;
use super::file_path::FilePath;
use super::rule::{Rule, integer};
use super::secret::Secret;
use super::timeouts::TIMEOUT;
use super::word::{one_of, words};

keys! {
    /// Where the order of publications is decided, and what is kept of them.
    "engine." pub struct EngineOptions {
        /// `memory` is inside the process; with the others several gateways share their channels.
        pub kind: EngineKind {
            default: EngineKind::Memory,
            rule: one_of::<EngineKind>(),
            reload: false,
        }
        /// Where it is: `redis://HOST:PORT[/DATABASE]`, `rediss://…` with TLS, `unix:///PATH`, or
        /// `nats://HOST:PORT`, `tls://…`. Of several, any that belong to one deployment.
        pub urls: Vec<String> {
            default: Vec::new(),
            rule: Rule::EngineUrls,
            needs: Self::is_shared => "kind is \"memory\"",
            reload: false,
        }
        /// The user by whom it is reached, if it wants one.
        pub user: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Text { bytes_min: 1, bytes_max: 256 },
            needs: Self::is_shared => "kind is \"memory\"",
            reload: false,
        }
        /// The password of the user, or without one what proves that this is a gateway: that of Redis, the token
        /// of NATS.
        pub password: Option<Secret> {
            default: None,
            shown: "none",
            rule: Rule::Secret { bytes_min: 1, bytes_max: 1024 },
            needs: Self::is_shared => "kind is \"memory\"",
            reload: false,
        }
        /// The credentials file of a NATS user.
        pub credentials: Option<FilePath> {
            default: None,
            shown: "none",
            rule: Rule::File,
            needs: Self::is_nats => "kind is not \"nats\"",
            reload: false,
        }
        /// PEM file with the authorities that its certificate must come from. By default those of the system.
        pub tls_ca: Option<FilePath> {
            default: None,
            shown: "none",
            rule: Rule::File,
            needs: Self::is_shared => "kind is \"memory\"",
            reload: false,
        }
        /// What stands before all names there, so that several groups of gateways can share it.
        pub prefix: String {
            default: "tidegate".to_owned(),
            rule: Rule::Token,
            needs: Self::is_shared => "kind is \"memory\"",
            reload: false,
        }
        /// How Redis is deployed: one server, one behind Sentinels, which `urls` are then, or a cluster.
        pub deployment: RedisDeployment {
            default: RedisDeployment::Single,
            rule: one_of::<RedisDeployment>(),
            needs: Self::is_redis => "kind is not \"redis\"",
            reload: false,
        }
        /// The name under which the Sentinels know the server.
        pub sentinel_master: String {
            default: "mymaster".to_owned(),
            rule: Rule::Token,
            needs: Self::has_sentinels => "deployment is not \"sentinel\"",
            reload: false,
        }
        /// Servers of NATS that keep a copy of each publication.
        pub replicas: usize {
            default: 1,
            rule: integer(1, 5),
            needs: Self::is_nats => "kind is not \"nats\"",
            reload: false,
        }
        /// Where NATS keeps publications.
        pub storage: NatsStorage {
            default: NatsStorage::File,
            rule: one_of::<NatsStorage>(),
            needs: Self::is_nats => "kind is not \"nats\"",
            reload: false,
        }
        /// Streams of NATS over which the channels of each namespace are spread.
        pub partitions: usize {
            default: 1,
            rule: integer(1, 256),
            needs: Self::is_nats => "kind is not \"nats\"",
            reload: false,
        }
        /// Without an answer that the engine owes, and for an attempt to connect.
        pub request_ms: u64 {
            default: 5000,
            rule: TIMEOUT,
            needs: Self::is_shared => "kind is \"memory\"",
            reload: false,
            reached: "The engine counts as away, and is connected to again.",
        }
        /// Questions and publications of each loop that are under way at once. Publications of all loops take 64 MiB at most.
        pub waiting_max: usize {
            default: 65_536,
            rule: integer(16, 65_536),
            needs: Self::is_shared => "kind is \"memory\"",
            reload: false,
            reached: "A further one is refused with error 100.",
        }
        /// Bytes of publications that wait, until it is reached again, where others get error 100 at once. 0 is none.
        pub queue_bytes_max: usize {
            default: 0,
            rule: integer(0, 1 << 30),
            needs: Self::is_shared => "kind is \"memory\"",
            reload: false,
            reached: "A further one is refused with error 100.",
        }
        /// How long such a publication waits.
        pub queue_ms: u64 {
            default: 5000,
            rule: TIMEOUT,
            needs: Self::is_shared => "kind is \"memory\"",
            reload: false,
            reached: "It is refused with error 100.",
        }
    }
}

/// The word of `admin.ready_needs` for the engine.
pub const NEEDS_ENGINE: &str = "engine";

/// Where the order of publications is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// In the process.
    Memory,
    /// In Redis.
    Redis,
    /// In NATS.
    Nats,
}

/// How Redis is deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisDeployment {
    /// One server.
    Single,
    /// A server that Sentinels know, with replicas.
    Sentinel,
    /// Many servers, each with a part of the keys.
    Cluster,
}

/// Where NATS keeps publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatsStorage {
    /// On disk.
    File,
    /// In memory.
    Memory,
}

words! {
    EngineKind:
    "memory" = Memory,
    "nats" = Nats,
    "redis" = Redis,
}

words! {
    RedisDeployment:
    "cluster" = Cluster,
    "sentinel" = Sentinel,
    "single" = Single,
}

words! {
    NatsStorage:
    "file" = File,
    "memory" = Memory,
}

impl EngineOptions {
    /// Whether several gateways share it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.kind != EngineKind::Memory
    }

    fn is_nats(&self) -> bool {
        self.kind == EngineKind::Nats
    }

    fn is_redis(&self) -> bool {
        self.kind == EngineKind::Redis
    }

    fn has_sentinels(&self) -> bool {
        self.is_redis() && self.deployment == RedisDeployment::Sentinel
    }
}
