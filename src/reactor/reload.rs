//! Other settings for a loop that runs, in two steps, so that all loops take them or none does: first
//! what can fail, then what cannot.

use std::io;
use std::sync::Arc;

use super::settings::LoopSettings;
use crate::certificates::ListenerConfig;
use crate::conn::ConnSettings;
use crate::services::{Route, RouteNumbers};

/// The settings of a loop, all that a reload changes. They hold together, between two turns.
#[derive(Clone, Debug)]
pub struct LoopReload {
    /// The rules of the connections, open ones included.
    pub conn_settings: Arc<ConnSettings>,
    /// How much one turn does, and what the listeners speak. A listener that was prepared is accepted
    /// from; one that is left out is closed as soon as its queue is empty. What outboxes hold stays.
    pub loop_settings: LoopSettings,
    /// What is served.
    pub routes: Vec<Route>,
    /// The numbers of its WebSocket routes, with those of former ones that are still in use; the same
    /// on all loops.
    pub numbers: RouteNumbers,
    /// For each listener, by its number, how it does its TLS handshakes; `None` where it is plain.
    pub tls: Vec<Option<ListenerConfig>>,
}

/// What a loop says when it is ready for a [`LoopReload`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadyForReload {
    /// The numbers of routes that its connections have, in order, if it was asked for them.
    pub routes_in_use: Vec<u8>,
}

/// Why a loop takes no other settings.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It ends, and its connections with it.
    #[error("the gateway is being drained")]
    Draining,
    /// The poller cannot watch a new listener.
    #[error("cannot watch a new listener: {0}")]
    Listener(#[from] io::Error),
}
