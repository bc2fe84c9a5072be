//! Upstreams: the servers that relays lead to, which of them is next, and what is known of each.
//!
//! An [`Upstream`] is shared by all loops and lives as long as its name stands in the configuration:
//! a reload or a new answer of a name server replaces its set of servers by one atomic store, and a
//! server that stays keeps its count of connections. No clock, no socket, no lock.

mod balance;
mod server;
mod server_list;
mod server_name;
mod set;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use balance::Balance;
pub use server::{Server, ServerPermit, ServerState};
pub use server_list::{Answers, ServerList};
pub use server_name::{InvalidServerName, ServerName, ServerPlace};
pub use set::{ServerSet, UpstreamSettings};

use crate::timer::Millis;

/// A group of servers that stand for each other.
#[derive(Debug)]
pub struct Upstream {
    name: Box<str>,
    set: ArcSwap<ServerSet>,
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
        Arc::new(Self { name: name.into(), set: ArcSwap::from_pointee(set) })
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

    /// From now on these are its servers and settings. Those that are no longer in it get nothing new;
    /// their connections stay.
    pub fn replace(&self, set: ServerSet) {
        self.set.store(Arc::new(set));
    }

    /// Chooses a server that is none of `tried`, and counts a connection to it. `key` tells clients
    /// apart where the balance goes by that, and `random` decides between equals.
    pub fn pick(&self, now: Millis, key: u64, random: u64, tried: &[Arc<Server>]) -> Pick {
        self.set.load().pick(now, key, random, tried)
    }

    /// A server of it could not be reached: it gets nothing for a while, unless the others cannot be
    /// reached either.
    pub fn note_failed(&self, server: &Server, now: Millis) {
        server.note_failed(now.plus(self.set.load().settings().fail_ms));
    }
}
