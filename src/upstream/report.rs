//! What operators see of an upstream, as plain data.

use super::{ServerCounts, ServerState};

/// An upstream at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamReport {
    /// Its name in the configuration.
    pub name: String,
    /// Its servers in order, then those that have left it and still have connections or are drained.
    pub servers: Vec<ServerReport>,
}

/// A server at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReport {
    /// Where it listens.
    pub address: String,
    /// Its part in proportion to the others; 0 once it has left.
    pub weight: u32,
    /// What is known of it.
    pub state: ServerState,
    /// Whether it is in the configuration, or among the addresses of a name there.
    pub is_listed: bool,
    /// Connections that were begun and have not ended.
    pub connections: u32,
    /// What has become of those that were begun.
    pub counts: ServerCounts,
}
