//! Upstreams: the servers that relays lead to, which of them is next, and what is known of each.
//!
//! An [`Upstream`] is shared by all loops and lives as long as its name stands in the configuration:
//! a reload or a new answer of a name server replaces its set of servers by one atomic store, and a
//! server that stays keeps its count of connections. One that leaves is remembered while it has
//! connections or is drained, so that it is the same when it comes back. No clock, no socket, no lock.

mod balance;
mod families;
mod health;
mod report;
mod server;
mod server_list;
mod server_name;
mod set;
mod slow_start;
mod tls;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;

pub use balance::Balance;
pub use families::upstream_families;
pub use health::{HealthKind, HealthSettings, HealthStreak, HealthTarget};
pub use report::{ServerReport, UpstreamReport};
pub use server::{Server, ServerCounts, ServerPermit, ServerState};
pub use server_list::{Answers, ServerList};
pub use server_name::{InvalidServerName, ServerName, ServerPlace};
pub use set::{ListedServer, ServerSet, UpstreamSettings};
pub use tls::{ServerTls, UpstreamTls, tls_name};

use crate::timer::Millis;
use crate::transport::ServerAddress;

/// A group of servers that stand for each other.
#[derive(Debug)]
pub struct Upstream {
    name: Box<str>,
    set: ArcSwap<ServerSet>,
    /// How many connections have come from one of its local addresses: which is next.
    turn: AtomicUsize,
}

/// Which server comes next.
#[derive(Debug)]
pub enum Pick {
    /// This one, counted as connected until the permit is dropped.
    Server(ServerPermit),
    /// Each that could be asked has as many connections as it may.
    Full,
    /// There is none that could be asked.
    Nothing,
}

impl Upstream {
    /// An upstream with these servers.
    #[must_use]
    pub fn new(name: &str, set: ServerSet) -> Arc<Self> {
        let (set, turn) = (ArcSwap::from_pointee(set), AtomicUsize::new(0));
        Arc::new(Self { name: name.into(), set, turn })
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its servers and settings now.
    #[must_use]
    pub fn set(&self) -> Arc<ServerSet> {
        self.set.load_full()
    }

    /// From now on its servers and settings are what `next` makes of those before, which may be asked
    /// several times; `None` keeps them. Servers that are no longer among them get nothing new; their
    /// connections stay.
    pub fn update(&self, next: impl Fn(&ServerSet) -> Option<ServerSet>) {
        self.set.rcu(|before| next(before).map_or_else(|| Arc::clone(before), Arc::new));
    }

    /// Chooses a server that is none of `tried`, and counts a connection to it. `key` tells clients
    /// apart where the balance goes by that, and `random` decides between equals.
    pub fn pick(&self, now: Millis, key: u64, random: u64, tried: &[Arc<Server>]) -> Pick {
        self.set.load().pick(now, key, random, tried)
    }

    /// The address that the next connection to this server comes from, if one is configured.
    pub fn local_address(&self, server: &ServerAddress) -> Option<IpAddr> {
        let set = self.set.load();
        if set.settings().local_addresses.is_empty() {
            return None;
        }
        set.local_address(server, self.turn.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets a server have nothing new from now on, or its part again, also one that has left and still
    /// has connections. `address` is as it is shown. What is known of it then; `None` without such a
    /// server.
    pub fn set_drained(
        &self,
        address: &str,
        is_drained: bool,
        now: Millis,
    ) -> Option<ServerReport> {
        let set = self.set.load();
        let mut all = set.reports(now);
        let (server, mut report) = all.find(|(own, _)| own.address().to_string() == address)?;
        server.set_drained(is_drained);
        report.state = server.state(now);
        Some(report)
    }

    /// All that is known of it.
    #[must_use]
    pub fn report(&self, now: Millis) -> UpstreamReport {
        let servers = self.set.load().reports(now).map(|(_, report)| report).collect();
        UpstreamReport { name: self.name.to_string(), servers }
    }

    /// A server of it could not be reached: it gets nothing for a while, unless the others cannot be
    /// reached either.
    pub fn note_failed(&self, server: &Server, now: Millis) {
        server.note_failed(now.plus(self.set.load().settings().fail_ms));
    }
}
