//! What is told of a connection when it ends: a line of the access log, as plain data.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::effects::{CloseReason, Peer};
use crate::http::Status;

/// A connection that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessEntry<'e> {
    /// Which.
    pub peer: Peer,
    /// The address of its peer.
    pub address: SocketAddr,
    /// The name that its service knew it by.
    pub user: Option<&'e str>,
    /// The first path of its route, as it is configured: the path of the request may hold a token. Of a
    /// request that no WebSocket route serves, its own path without the query.
    pub path: Option<&'e str>,
    /// Milliseconds from its acceptance to its end.
    pub duration_ms: u64,
    /// What it sent.
    pub received: Traffic,
    /// What it was sent; some of it may not have reached it.
    pub sent: Traffic,
    /// The answer to its request, if that was no upgrade.
    pub status: Option<Status>,
    /// Why it ended; of one that had sent no whole request, why it was given up.
    pub reason: CloseReason,
    /// Whether it was open: its request was granted.
    pub was_open: bool,
}

/// Messages and the bytes of their payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages.
    pub messages: u64,
    /// Bytes of their payloads: of received ones inflated, of sent ones as they were written.
    pub bytes: u64,
}

impl Traffic {
    /// Adds messages.
    pub fn add(&mut self, other: Self) {
        self.messages = self.messages.saturating_add(other.messages);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Takes what is told of connections. It never waits: what it has no room for is dropped and counted there.
#[derive(Clone)]
pub struct AccessSink(Arc<dyn Fn(&AccessEntry<'_>) + Send + Sync>);

impl AccessSink {
    /// A sink that calls `take`, on the threads of the loops; it must not wait.
    #[must_use]
    pub fn new(take: impl Fn(&AccessEntry<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Tells of a connection.
    pub fn tell(&self, entry: &AccessEntry<'_>) {
        (self.0)(entry);
    }
}

impl fmt::Debug for AccessSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AccessSink")
    }
}
