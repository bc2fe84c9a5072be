//! What the admin listener needs of the gateway.

use std::fmt;
use std::sync::Arc;

use crate::admission::AddressUse;
use crate::control::node_calls::AskNodes;
use crate::effects::{EventClient, Peer};
use crate::inspect::Query;
use crate::mail::{NoReply, Reply};
use crate::metrics::Family;
use crate::upstream::{ServerReport, UpstreamReport};

/// The gateway as operators see and steer it. No method waits, but for [`Gateway::reload`].
pub trait Gateway: fmt::Debug + Send + Sync {
    /// How many event loops there are.
    fn loop_count(&self) -> usize;

    /// Asks a loop, which answers between two turns of its connections.
    ///
    /// # Errors
    /// If the loop has ended, or has too much mail waiting.
    fn query(&self, loop_index: usize, query: Query) -> Result<(), NoReply>;

    /// A client of a route with events; `None` if it is none, or no more.
    fn event_client(&self, peer: Peer) -> Option<EventClient> {
        let _ = peer;
        None
    }

    /// The gateways that share an engine with this one, which may be asked; `None` if it has one of its own.
    fn nodes(&self) -> Option<Arc<dyn AskNodes>> {
        None
    }

    /// Has a loop say that it takes its turns.
    ///
    /// # Errors
    /// As [`Gateway::query`].
    fn poke(&self, loop_index: usize, reply: Reply<()>) -> Result<(), NoReply>;

    /// All metrics as they are now.
    fn metrics(&self) -> Vec<Family>;

    /// Whether clients are to be sent here.
    fn readiness(&self) -> Readiness;

    /// Begins to drain. A later order takes the place of an earlier one.
    fn drain(&self, order: DrainOrder);

    /// Ends a drain that still accepts connections; whether there was one.
    fn cancel_drain(&self) -> bool;

    /// How far a drain has come.
    fn drain_status(&self) -> DrainStatus;

    /// Reads the configuration again and takes over what can be changed. Waits for files and loops.
    ///
    /// # Errors
    /// Why nothing was changed.
    fn reload(&self, dry_run: bool) -> Result<ReloadReport, String>;

    /// The clients and networks with the most open connections, at most `limit` of them. The table of
    /// clients is locked a part at a time, for some microseconds each.
    fn heaviest_addresses(&self, limit: usize) -> Vec<AddressUse>;

    /// What is known of the servers of relays.
    fn upstreams(&self) -> Vec<UpstreamReport>;

    /// Lets a server of an upstream have nothing new from now on, or its part again; its connections
    /// stay. What is known of it then; `None` if there is no such server.
    fn set_server_drained(
        &self,
        upstream: &str,
        server: &str,
        is_drained: bool,
    ) -> Option<ServerReport>;

    /// The level of the log.
    fn log_level(&self) -> String;

    /// Sets the level of the log, until the next start.
    ///
    /// # Errors
    /// If there is no such level.
    fn set_log_level(&self, level: &str) -> Result<(), String>;

    /// The configuration in force as a file would hold it, with secrets as `***`.
    fn configuration(&self) -> String;

    /// A line for each certificate that is served.
    fn certificates(&self) -> Vec<String>;

    /// The route names that queries may be about.
    fn routes(&self) -> Vec<String>;

    /// What is running.
    fn version(&self) -> VersionInfo;
}

/// Whether clients are to be sent here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why not, in a word or two each; empty if they are.
    pub reasons: Vec<&'static str>,
    /// What is away without counting, such as a server that look-ups need.
    pub away: Vec<String>,
}

/// How to drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainOrder {
    /// How long to go on accepting, in milliseconds; `None` as configured.
    pub grace_ms: Option<u64>,
    /// How long all closes may take, in milliseconds; `None` as configured.
    pub drain_ms: Option<u64>,
}

/// How far a drain has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainStatus {
    /// `serving`, or the stage of the drain.
    pub stage: &'static str,
    /// Connections that are left.
    pub connections: u64,
    /// Connections that were told to go.
    pub told: u64,
    /// Milliseconds until those that are left are dropped, while a drain is on.
    pub left_ms: Option<u64>,
}

/// What a reload changed, or would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadReport {
    /// Changes that are in force, or would be, a line for each.
    pub applied: Vec<String>,
    /// Changes that need a restart.
    pub needs_restart: Vec<String>,
}

/// What is running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// The version of the program.
    pub version: &'static str,
    /// The features that it was built with.
    pub features: Vec<&'static str>,
    /// Its process id.
    pub pid: u32,
    /// Milliseconds since it started to serve.
    pub uptime_ms: u64,
}
