//! What a connection has of TLS, and a session for the time of one call.

use std::sync::Arc;

use rustls::ServerConfig;

use super::held::Held;
use super::library::{HANDSHAKE_BYTES, Handshake};
use crate::metrics::{Entry, ListenerCounters};
use crate::stream::turn::StreamTurn;
use crate::tls::{KeyCache, RecordFault, Records, SecretLog, Suite};

/// TLS of one connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) state: State,
    /// Bytes that wait; most often there are none.
    pub(super) held: Option<Box<Held>>,
    /// Ticks for which the handshake has waited for its part of a turn, as far as they were credited.
    pub(super) waited: u32,
    /// The number of the listener that it came by.
    pub(super) listener: u32,
    /// The subject of the client's certificate, if it has shown one.
    pub(super) subject: Option<Box<str>>,
}

#[derive(Debug)]
pub(super) enum State {
    /// Nothing has come yet. Who says nothing costs nothing more.
    Silent(Arc<ServerConfig>),
    Handshake(Box<Handshake>),
    Open(Records),
    /// What came before the fault is delivered first.
    Failing(Records, RecordFault),
    /// The peer was told why, and what it still sends is thrown away.
    Failed,
}

/// What all sessions of a loop use in turn.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// What the secrets of handshakes are learnt from.
    pub(super) secrets: Option<Arc<SecretLog>>,
    pub(super) keys: KeyCache,
    /// What is counted of each listener.
    pub(super) listeners: Vec<Arc<Entry<ListenerCounters>>>,
    /// Where records are sealed.
    pub(super) sealed: Vec<u8>,
}

/// A session for the time of one call.
#[derive(Debug)]
pub(crate) struct TlsStream<'c> {
    /// The session's number, by which its keys are found.
    pub(super) number: u32,
    pub(super) session: &'c mut Session,
    pub(super) shared: &'c mut Shared,
    pub(super) turn: StreamTurn<'c>,
}

impl Session {
    /// What is held, where there is anything.
    pub(super) fn held(&mut self) -> &mut Held {
        self.held.get_or_insert_with(Box::default)
    }

    /// The version and the cipher, once the handshake is over.
    pub(super) fn suite(&self) -> Option<Suite> {
        match &self.state {
            State::Open(records) | State::Failing(records, _) => Some(records.suite()),
            State::Silent(_) | State::Handshake(_) | State::Failed => None,
        }
    }

    /// Bytes of the pool that it has beside itself.
    pub(super) fn recount(&self) -> usize {
        let handshake = matches!(self.state, State::Handshake(_));
        let held_bytes = self.held.as_ref().map_or(0, |held| held.bytes());
        held_bytes + if handshake { HANDSHAKE_BYTES } else { 0 }
    }

    /// Whether bytes have come that are not opened.
    pub(super) fn has_unopened(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.filled > held.start)
    }
}

/// Bytes that a session takes in the slab, and twice that while the slab grows by doubling.
pub(super) const SESSION_BYTES: usize = 2 * size_of::<Session>();
