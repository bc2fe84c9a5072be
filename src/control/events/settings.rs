//! How a backend is told of events.

use std::sync::Arc;

use crate::events::ConversationLimits;
use crate::upstream::Upstream;

/// How a backend is told of events.
#[derive(Clone, Debug)]
pub struct EventBackendSettings {
    /// The path of the route, for the log.
    pub route: Arc<str>,
    /// The servers that may be told, and how long they may take.
    pub upstream: Arc<Upstream>,
    /// Requests at once; further ones wait.
    pub requests_max: usize,
    /// The longest body of a reply, in bytes.
    pub reply_bytes_max: usize,
    /// Failures in a row after which the backend is left alone for a while.
    pub failures_max: u32,
    /// How much is held for each connection.
    pub limits: ConversationLimits,
}
