//! Which servers hold the channels, and how they are asked.

use std::time::Duration;

use crate::control::redis_url::{RedisLogin, RedisUrl};

/// How the broker in Redis is reached.
#[derive(Clone, Debug)]
pub struct RedisEngineSettings {
    /// The servers, the Sentinels, or some nodes of the Cluster, which are tried in turn. At least one.
    pub urls: Vec<RedisUrl>,
    /// What they are.
    pub kind: RedisKind,
    /// What all keys and channels begin with. Gateways with the same prefix share their channels, also across
    /// the databases of one server. It has no braces.
    pub prefix: Box<str>,
    /// The number of this gateway, to which others may speak.
    pub node: u64,
    /// How long it may take to connect to a server and to be ready, each time.
    pub connect: Duration,
    /// How long a request may take.
    pub request: Duration,
}

/// What the URLs name.
#[derive(Clone, Debug)]
pub enum RedisKind {
    /// One server, or several of which the first that is a master is taken.
    Single,
    /// Redis Sentinels, which know the master.
    Sentinel {
        /// The name of the master.
        master: Box<str>,
        /// What the master is told about this gateway; `None` if it is what is in the URL of the Sentinel.
        login: Option<RedisLogin>,
    },
    /// Nodes of a Redis Cluster.
    Cluster,
}

impl RedisEngineSettings {
    /// The default settings for one server, for the gateway with this number.
    #[must_use]
    pub fn new(url: RedisUrl, node: u64) -> Self {
        Self {
            urls: vec![url],
            kind: RedisKind::Single,
            prefix: "tidegate".into(),
            node,
            connect: Duration::from_secs(3),
            request: Duration::from_secs(5),
        }
    }
}
