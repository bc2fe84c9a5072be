//! The options of a WebSocket route, which the gateway applies around its service.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Identities, MessageLimits, SharedRouteObserver};
use crate::http::{OriginRule, Subprotocol};
use crate::output::DeflateOptions;
use crate::ws::CloseCode;

/// The options of a WebSocket route, which the gateway applies around its service: it checks requests
/// before the service sees them, and bounds what the service's clients send and receive.
#[derive(Clone, Debug)]
pub struct RouteOptions {
    /// The web pages that may connect.
    pub origins: OriginRule,
    /// Subprotocols offered, the preferred one first.
    pub subprotocols: Vec<Subprotocol>,
    /// Largest message, in bytes of payload.
    pub message_bytes_max: usize,
    /// What each client may send.
    pub limits: MessageLimits,
    /// Pushed messages that may wait for one connection before its backlog counts as full. With
    /// `None` only the bytes count.
    pub backlog_messages_max: Option<usize>,
    /// What becomes of pushed messages when a connection's backlog is full.
    pub slow_policy: SlowPolicy,
    /// The code with which [`SlowPolicy::Disconnect`] closes.
    pub slow_code: CloseCode,
    /// The code with which a drain closes.
    pub drain_code: CloseCode,
    /// Whether a drain tells its clients before those of other routes.
    pub is_told_first: bool,
    /// How messages are compressed for clients that offer permessage-deflate; `None` declines it.
    pub deflate: Option<DeflateOptions>,
    /// How clients prove who they are, before the service is asked to admit them.
    pub identities: Identities,
    /// Whether the service answers pings, and not the gateway.
    pub passes_pings: bool,
    /// How requests that upgrade nothing are passed on; `None` refuses them.
    pub http: Option<HttpOptions>,
    /// What is told that connections are open and have ended. For it each connection of the route keeps its
    /// address in a record beside its slot.
    pub observer: Option<SharedRouteObserver>,
}

/// The limits of requests that upgrade nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpOptions {
    /// Bytes of the body of a request; 0 for any number.
    pub body_bytes_max: u64,
    /// Without a byte of the reply, in milliseconds.
    pub response_ms: u64,
}

impl Default for RouteOptions {
    fn default() -> Self {
        Self {
            origins: OriginRule::SameHost,
            subprotocols: Vec::new(),
            message_bytes_max: 1 << 20,
            limits: MessageLimits::default(),
            backlog_messages_max: None,
            slow_policy: SlowPolicy::Disconnect,
            slow_code: CloseCode::TOO_SLOW,
            drain_code: CloseCode::GOING_AWAY,
            is_told_first: false,
            deflate: Some(DeflateOptions::default()),
            identities: Identities::default(),
            passes_pings: false,
            http: None,
            observer: None,
        }
    }
}

/// What becomes of frames with one [conflation key](crate::ws::EncodedFrame::conflated_by) that wait for a
/// connection which is too slow for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behind {
    /// They stay. If nothing else makes room, the route's [`SlowPolicy`] applies.
    Close,
    /// Only the last of them stays.
    KeepLatest,
    /// None of them stays: the connection has left the topic.
    Drop,
    /// None of them stays, and the connection leaves the topic.
    Leave(Arc<str>),
}

/// What becomes of a pushed message when a connection's backlog has reached its hard mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlowPolicy {
    /// The connection is closed with [`RouteOptions::slow_code`], by default 4002.
    #[default]
    Disconnect,
    /// The new message is not queued.
    DropNewest,
    /// Messages not yet begun are discarded in favour of the new one.
    KeepLatest,
}
