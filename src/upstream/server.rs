//! One server of an upstream, as all loops see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::health::HealthTarget;
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
    /// Checks say so.
    is_unhealthy: AtomicBool,
    /// Since when it has had its part, in milliseconds of the loops' clock; [`NOT_YET`] until it is
    /// looked at for the first time since it came or came back.
    since: AtomicU64,
    /// Connections that were begun, over all time.
    connects: AtomicU64,
    /// Those of them that did not come to stand or had no valid reply.
    failures: AtomicU64,
    /// Those of them that did, and how long that took for all of them together, in milliseconds.
    reached: AtomicU64,
    reached_ms: AtomicU64,
}

/// What has become of the connections that were begun to a server, since it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerCounts {
    /// Connections that were begun.
    pub connects: u64,
    /// Those that were refused, cut, too late or without a valid reply.
    pub failures: u64,
    /// Those that came to stand.
    pub reached: u64,
    /// The time until they stood, for all of them together, in milliseconds.
    pub reached_ms: u64,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// It gets its part.
    Up,
    /// It could not be reached a while ago.
    Failed,
    /// It does not pass its checks.
    Unhealthy,
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
            is_unhealthy: AtomicBool::new(false),
            since: AtomicU64::new(NOT_YET),
            connects: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            reached: AtomicU64::new(0),
            reached_ms: AtomicU64::new(0),
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

    /// What has become of those that were begun.
    #[must_use]
    pub fn counts(&self) -> ServerCounts {
        ServerCounts {
            connects: self.connects.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            reached: self.reached.load(Ordering::Relaxed),
            reached_ms: self.reached_ms.load(Ordering::Relaxed),
        }
    }

    /// Whether an operator lets it have nothing new.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.is_drained.load(Ordering::Relaxed)
    }

    /// What is known of it.
    #[must_use]
    pub fn state(&self, now: Millis) -> ServerState {
        if self.is_drained() {
            ServerState::Drained
        } else if self.is_unhealthy.load(Ordering::Relaxed) {
            ServerState::Unhealthy
        } else if self.failed_until.load(Ordering::Relaxed) > now.0 {
            ServerState::Failed
        } else {
            ServerState::Up
        }
    }

    /// Whether something would be lost if it were forgotten.
    pub(super) fn is_in_use(&self) -> bool {
        self.connections() > 0 || self.is_drained()
    }

    /// It could not be reached, and counts so until then.
    pub fn note_failed(&self, until: Millis) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.since.store(NOT_YET, Ordering::Relaxed);
        self.failed_until.store(until.0, Ordering::Relaxed);
    }

    /// A connection to it stands, that many milliseconds after it was begun.
    pub fn note_reached(&self, after_ms: u64) {
        self.reached.fetch_add(1, Ordering::Relaxed);
        self.reached_ms.fetch_add(after_ms, Ordering::Relaxed);
        self.note_answered();
    }

    /// It answers, over a connection that may have stood before: how long connecting takes is not known
    /// by that.
    pub fn note_answered(&self) {
        // Most often nothing else is known, and the line in the cache stays shared.
        if self.failed_until.load(Ordering::Relaxed) != 0 {
            self.failed_until.store(0, Ordering::Relaxed);
        }
    }

    /// Lets it have nothing new from now on, or its part again. Its connections stay.
    pub fn set_drained(&self, is_drained: bool) {
        self.is_drained.store(is_drained, Ordering::Relaxed);
        self.since.store(NOT_YET, Ordering::Relaxed);
    }

    /// Where it is checked.
    #[must_use]
    pub fn health_target(&self) -> HealthTarget {
        match &self.address {
            ServerAddress::Tcp(address) => HealthTarget::Tcp(*address),
            ServerAddress::Unix(path) => HealthTarget::Unix(Arc::clone(path)),
        }
    }

    /// It passes its checks from now on, or does not; whether that is new.
    pub fn set_healthy(&self, is_healthy: bool) -> bool {
        let is_new = self.is_unhealthy.swap(!is_healthy, Ordering::Relaxed) == is_healthy;
        if is_new {
            self.since.store(NOT_YET, Ordering::Relaxed);
        }
        is_new
    }

    /// For how long it has had its part, in milliseconds. The first who asks since it came or came back
    /// begins the time: who changes its state on other threads has another clock.
    pub(super) fn age_ms(&self, now: Millis) -> u64 {
        let since = self.since.load(Ordering::Relaxed);
        if since == NOT_YET {
            // If another loop is first its time is as good.
            self.since.store(now.0, Ordering::Relaxed);
            return 0;
        }
        now.0.saturating_sub(since)
    }

    /// Counts one more connection, if it may have that many; 0 for any number.
    pub(super) fn take(self: &Arc<Self>, connections_max: u32) -> Option<ServerPermit> {
        let may =
            |count: u32| (connections_max == 0 || count < connections_max).then_some(count + 1);
        let taken = self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may);
        taken.is_ok().then(|| {
            self.connects.fetch_add(1, Ordering::Relaxed);
            ServerPermit(Arc::clone(self))
        })
    }
}

impl ServerPermit {
    /// The server.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.0
    }
}

/// No loop has looked at it yet.
const NOT_YET: u64 = u64::MAX;

impl Drop for ServerPermit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
