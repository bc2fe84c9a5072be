//! The addresses of connections, and of the instances of a service.

use std::fmt;

use crate::key::ConnKey;

/// The address of a connection, valid on every loop. It is never used for another connection: the
/// generation in the key tells connections in the same slot apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The loop that owns the connection.
    pub loop_index: u16,
    /// The connection in that loop.
    pub key: ConnKey,
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loop_index, key: ConnKey { index, generation } } = self;
        write!(formatter, "{loop_index}/{index}.{generation}")
    }
}

/// Which of a service's instances this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopSite {
    /// The loop that the instance runs on, from 0.
    pub index: u16,
    /// The number of loops, each with an instance.
    pub count: u16,
}
