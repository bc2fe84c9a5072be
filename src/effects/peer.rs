//! Connections and loops, as services name them.

use std::fmt;

use crate::key::ConnKey;

/// A connection as services know it: addressable from any loop, for as long as it lives.
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

/// Where an instance of a service stands among its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopSite {
    /// The loop it runs on, from 0.
    pub index: u16,
    /// How many loops there are, each with an instance.
    pub count: u16,
}
