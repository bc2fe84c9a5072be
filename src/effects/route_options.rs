//! What the gateway checks for a WebSocket route before and besides its service.

use serde::{Deserialize, Serialize};

use crate::http::{OriginRule, Subprotocol};
use crate::output::DeflateOptions;

/// What the gateway checks for a socket route before and besides its service.
#[derive(Clone, Debug)]
pub struct RouteOptions {
    /// Whose pages may connect.
    pub origins: OriginRule,
    /// Subprotocols in order of preference.
    pub subprotocols: Vec<Subprotocol>,
    /// Largest message, in bytes of payload.
    pub message_bytes_max: usize,
    /// Pushed messages that wait for one connection before its backlog counts as full; `None`
    /// leaves that to the bytes.
    pub backlog_messages_max: Option<usize>,
    /// What becomes of pushed messages when a connection's backlog is full.
    pub slow_policy: SlowPolicy,
    /// How messages are compressed for clients that offer it; `None` declines.
    pub deflate: Option<DeflateOptions>,
}

impl Default for RouteOptions {
    fn default() -> Self {
        Self {
            origins: OriginRule::SameHost,
            subprotocols: Vec::new(),
            message_bytes_max: 1 << 20,
            backlog_messages_max: None,
            slow_policy: SlowPolicy::Disconnect,
            deflate: Some(DeflateOptions::default()),
        }
    }
}

/// What becomes of a pushed message when a connection's backlog has reached its hard mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlowPolicy {
    /// The connection is closed with code 4002.
    #[default]
    Disconnect,
    /// The new message is not queued.
    DropNewest,
    /// Messages not yet begun are discarded in favour of the new one.
    KeepLatest,
}
