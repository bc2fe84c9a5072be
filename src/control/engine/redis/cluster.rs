//! The masters of a Redis Cluster.

use super::connection::Connection;
use super::failure::Failure;
use super::names::{PARTITIONS, slot};
use super::reply::slots;
use crate::control::redis_url::RedisUrl;

/// Masters, each of which has a partition, and the index of the master for each partition.
#[derive(Debug)]
pub(super) struct Masters {
    pub(super) urls: Vec<RedisUrl>,
    pub(super) by_partition: Vec<usize>,
}

/// Asks one node of the Cluster.
pub(super) async fn masters(node: &RedisUrl) -> Result<Masters, Failure> {
    let login = node.login();
    let mut connection = Connection::open(node, &login).await?;
    let ranges = slots(connection.ask(&[b"CLUSTER", b"SLOTS"]).await?)?;
    let mut addresses = Vec::new();
    let mut by_partition = Vec::with_capacity(PARTITIONS);
    for partition in 0..PARTITIONS {
        let slot = slot(partition);
        let range = ranges.iter().find(|range| range.slots.contains(&slot)).ok_or_else(|| {
            Failure::NoServer(format!("no node of the Cluster at {node} has slot {slot}"))
        })?;
        let address = (range.host.as_deref(), range.port);
        let known = addresses.iter().position(|own| *own == address);
        by_partition.push(known.unwrap_or_else(|| {
            addresses.push(address);
            addresses.len() - 1
        }));
    }
    let urls = addresses
        .into_iter()
        // A node that does not know its own host names none: it is the one where it was asked.
        .map(|(host, port)| node.at(host.unwrap_or(&node.host()), port, &login));
    Ok(Masters { urls: urls.collect(), by_partition })
}
