//! The servers of a broker, all of which are connected to.

use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::timeout;

use super::cluster::{Masters, masters};
use super::failure::Failure;
use super::names::Names;
use super::sentinel::master;
use super::settings::{RedisEngineSettings, RedisKind};
use super::shard::Shard;
use crate::control::redis_url::RedisUrl;

/// Servers, and which of them has which partition.
pub(super) struct Servers {
    pub(super) shards: Vec<Shard>,
    /// The index of the server, for each partition.
    by_partition: Vec<usize>,
}

impl Servers {
    /// Connects by the first URL that leads to all servers, and hears what other nodes say.
    pub(super) async fn open(
        settings: &RedisEngineSettings,
        names: &Names,
    ) -> Result<Self, Failure> {
        let mut last = Failure::NoServer("no server is named".to_owned());
        for url in &settings.urls {
            match open_by(url, settings, names).await {
                Ok(servers) => return Ok(servers),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// Hears what other nodes say, to all and to this one.
    async fn hear_nodes(&mut self, names: &Names, node: u64) -> Result<(), Failure> {
        self.shard(0).subscribe_now(vec![names.all_nodes()]).await?;
        self.shard(names.node_partition(node)).subscribe_now(vec![names.node(node)]).await
    }

    /// The server that has a partition.
    pub(super) fn shard(&mut self, partition: usize) -> &mut Shard {
        &mut self.shards[self.by_partition[partition]]
    }

    /// The addresses, for a log.
    pub(super) fn names(&self) -> String {
        let names: Vec<String> = self.shards.iter().map(|shard| shard.url.to_string()).collect();
        names.join(", ")
    }
}

/// Connects to all servers that are found by one URL. Each step has the time that it may take.
async fn open_by(
    url: &RedisUrl,
    settings: &RedisEngineSettings,
    names: &Names,
) -> Result<Servers, Failure> {
    let within = settings.connect;
    let (urls, by_partition) = match &settings.kind {
        RedisKind::Single => (vec![url.clone()], vec![0]),
        RedisKind::Sentinel { master: name, login } => {
            let master = in_time(within, master(url, name, login.as_ref())).await?;
            (vec![master], vec![0])
        }
        RedisKind::Cluster => {
            let Masters { urls, by_partition } = in_time(within, masters(url)).await?;
            (urls, by_partition)
        }
    };
    let mut shards = Vec::with_capacity(urls.len());
    for (index, url) in urls.iter().enumerate() {
        let partition = by_partition.iter().position(|own| *own == index).unwrap_or_default();
        let shard = Shard::open(url, names, settings.node, (partition, nonce()));
        shards.push(in_time(within, shard).await?);
    }
    let mut servers = Servers { shards, by_partition };
    in_time(within, servers.hear_nodes(names, settings.node)).await?;
    Ok(servers)
}

async fn in_time<T>(
    within: Duration,
    step: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(within, step).await.unwrap_or(Err(Failure::Late))
}

/// Tells this run from all others that hear themselves at this server.
fn nonce() -> u64 {
    let mut bytes = [0; 8];
    let _ = SystemRandom::new().fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
