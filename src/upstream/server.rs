//! One server of an upstream, as all loops see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::timer::Millis;
use crate::transport::ServerAddress;

/// A server, and what is known of it. It is the same one as long as any upstream of its name has its
/// address, so its counts outlive reloads. They are touched when a connection begins and ends, and
/// never for what goes over it.
#[derive(Debug)]
pub struct Server {
    address: ServerAddress,
    /// Connections that were begun and have not ended.
    connections: AtomicU32,
    /// Until when it counts as not to be reached, in milliseconds of the loops' clock; 0 if it does
    /// not.
    failed_until: AtomicU64,
    /// An operator lets it have nothing new.
    is_drained: AtomicBool,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// It gets its part.
    Up,
    /// It could not be reached a while ago.
    Failed,
    /// An operator lets it have nothing new.
    Drained,
}

/// A connection to a server, which is counted until this is dropped.
#[derive(Debug)]
pub struct ServerPermit(Arc<Server>);

impl Server {
    /// A server at this address, without connections.
    #[must_use]
    pub fn new(address: ServerAddress) -> Arc<Self> {
        Arc::new(Self {
            address,
            connections: AtomicU32::new(0),
            failed_until: AtomicU64::new(0),
            is_drained: AtomicBool::new(false),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Connections to it that were begun and have not ended.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// What is known of it.
    #[must_use]
    pub fn state(&self, now: Millis) -> ServerState {
        if self.is_drained.load(Ordering::Relaxed) {
            ServerState::Drained
        } else if self.failed_until.load(Ordering::Relaxed) > now.0 {
            ServerState::Failed
        } else {
            ServerState::Up
        }
    }

    /// It could not be reached, and counts so until then.
    pub fn note_failed(&self, until: Millis) {
        self.failed_until.store(until.0, Ordering::Relaxed);
    }

    /// It has been reached.
    pub fn note_reached(&self) {
        // Most often nothing else is known, and the line in the cache stays shared.
        if self.failed_until.load(Ordering::Relaxed) != 0 {
            self.failed_until.store(0, Ordering::Relaxed);
        }
    }

    /// Lets it have nothing new from now on, or its part again. Its connections stay.
    pub fn set_drained(&self, is_drained: bool) {
        self.is_drained.store(is_drained, Ordering::Relaxed);
    }

    /// Counts one more connection, if it may have that many; 0 for any number.
    pub(super) fn take(self: &Arc<Self>, connections_max: u32) -> Option<ServerPermit> {
        let may =
            |count: u32| (connections_max == 0 || count < connections_max).then_some(count + 1);
        let taken = self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may);
        taken.is_ok().then(|| ServerPermit(Arc::clone(self)))
    }
}

impl ServerPermit {
    /// The server.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.0
    }
}

impl Drop for ServerPermit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
