//! What a connection has of TLS, and a session for the time of one call.

use std::sync::Arc;

use super::held::Held;
use super::library::Handshake;
use super::listeners::Listeners;
use super::outbound::Outbound;
use super::server_fault::ServerFault;
use super::tickets::TAKER_BYTES;
use crate::metrics::{Entry, ListenerCounters};
use crate::pool::Buffers;
use crate::stream::turn::StreamTurn;
use crate::tls::{KeyCache, RecordFault, Records, SecretLog, Suite};
use crate::upstream::ServerTls;

/// TLS of one connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) state: State,
    /// What the connection ends for once what came before is delivered.
    pub(super) fault: Option<RecordFault>,
    /// Bytes that wait; most often there are none.
    pub(super) held: Option<Box<Held>>,
    /// Ticks for which the handshake has waited for its part of a turn, as far as they were credited.
    pub(super) waited: u16,
    /// The number of the listener that it came by; [`NO_LISTENER`] of one to a server.
    pub(super) listener: u16,
    /// Why the handshake with a server has failed.
    pub(super) server_fault: Option<ServerFault>,
    /// Whom the client's certificate names, as [`names_of`](crate::certificates::names_of) says, if it has
    /// shown one.
    pub(super) names: Option<Box<str>>,
}

#[derive(Debug)]
pub(super) enum State {
    /// Nothing has come yet. Who says nothing costs nothing more.
    Silent,
    /// The handshake with a server is to begin once the connection stands.
    Unbegun(Box<ServerTls>),
    Handshake(Box<Handshake>),
    /// Moved nowhere from here: what is left behind by a move is not wiped.
    Open(Records),
    /// The peer was told why, and what it still sends is thrown away.
    Failed,
}

/// What all sessions of a loop use in turn.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) listeners: Listeners,
    /// What the secrets of handshakes with clients are learnt from.
    pub(super) secrets: Option<Arc<SecretLog>>,
    pub(super) outbound: Outbound,
    pub(super) keys: KeyCache,
    /// What is counted of each listener.
    pub(super) counted: Vec<Arc<Entry<ListenerCounters>>>,
    /// Where records are sealed.
    pub(super) sealed: Vec<u8>,
    /// Bytes of it that are charged to the pool.
    pub(super) sealed_charged: usize,
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

impl Shared {
    /// Charges for what was sealed at once at most. It is bounded by what one call seals, so it stays
    /// uncharged where the pool has no room.
    #[inline]
    pub(super) fn settle(&mut self, memory: &mut Buffers) {
        let grown = self.sealed.capacity().saturating_sub(self.sealed_charged);
        if grown > 0 && memory.charge(grown).is_ok() {
            self.sealed_charged += grown;
        }
    }

    /// Frees what nothing is sealed in.
    pub(super) fn trim(&mut self, memory: &mut Buffers) {
        self.sealed = Vec::new();
        memory.discharge(std::mem::take(&mut self.sealed_charged));
    }
}

impl Session {
    /// One of which nothing has come, by this listener.
    pub(super) fn new(listener: u16) -> Self {
        Self::with_state(State::Silent, listener)
    }

    /// One to a server.
    pub(super) fn outbound(tls: ServerTls) -> Self {
        Self::with_state(State::Unbegun(Box::new(tls)), NO_LISTENER)
    }

    fn with_state(state: State, listener: u16) -> Self {
        let (fault, server_fault, held, names) = (None, None, None, None);
        Self { state, fault, held, waited: 0, listener, server_fault, names }
    }

    /// Whether the handshake is not over.
    pub(super) fn is_handshaking(&self) -> bool {
        match self.state {
            State::Silent | State::Unbegun(_) | State::Handshake(_) => true,
            State::Open(_) | State::Failed => false,
        }
    }

    /// Whether it is to a server.
    pub(super) fn is_outbound(&self) -> bool {
        self.listener == NO_LISTENER
    }

    /// The same for another place. Nothing that is secret is left in this one.
    pub(super) fn relocated(&mut self) -> Self {
        let state = match &mut self.state {
            State::Open(records) => State::Open(records.clone()),
            other @ (State::Silent | State::Unbegun(_) | State::Handshake(_) | State::Failed) => {
                std::mem::replace(other, State::Failed)
            }
        };
        // Wipes the secrets.
        self.state = State::Failed;
        let Self { fault, held, waited, listener, server_fault, names, .. } = self;
        let (held, names) = (held.take(), names.take());
        let (fault, waited, server_fault) = (*fault, *waited, *server_fault);
        Self { state, fault, held, waited, listener: *listener, server_fault, names }
    }

    /// What is held, where there is anything.
    pub(super) fn held(&mut self) -> &mut Held {
        self.held.get_or_insert_with(Box::default)
    }

    /// The version and the cipher, once the handshake is over.
    pub(super) fn suite(&self) -> Option<Suite> {
        match &self.state {
            State::Open(records) => Some(records.suite()),
            State::Silent | State::Unbegun(_) | State::Handshake(_) | State::Failed => None,
        }
    }

    /// Bytes of the pool that it has beside itself.
    pub(super) fn recount(&self) -> usize {
        let handshake_bytes = match &self.state {
            State::Handshake(handshake) => handshake.charged,
            State::Unbegun(_) => UNBEGUN_BYTES,
            State::Silent | State::Open(_) | State::Failed => 0,
        };
        let tickets = self.held.as_ref().and_then(|held| held.tickets.as_ref());
        let tickets_bytes = tickets.map_or(0, |_| TAKER_BYTES);
        handshake_bytes + tickets_bytes + self.held_bytes() + self.names_bytes()
    }

    /// Bytes that wait, in either direction.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.bytes())
    }

    /// What the names take.
    pub(super) fn names_bytes(&self) -> usize {
        self.names.as_ref().map_or(0, |names| names.len() + BLOCK_BYTES)
    }

    /// Whether bytes have come that are not opened.
    pub(super) fn has_unopened(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.filled > held.start)
    }
}

/// Bytes that a session takes in the slab, and twice that while the slab grows by doubling.
pub(super) const SESSION_BYTES: usize = 2 * size_of::<Session>();
/// As `docs/memory.md` says.
const _: () = assert!(size_of::<Session>() == 160);
/// What a handshake takes that is to begin, with the longest name.
pub(super) const UNBEGUN_BYTES: usize = 512;
/// In place of the number of a listener.
const NO_LISTENER: u16 = u16::MAX;
/// What the allocator needs for a block beside its bytes.
const BLOCK_BYTES: usize = 16;
