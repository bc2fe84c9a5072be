//! The sessions of one loop.

use std::sync::Arc;

use slab::Slab;

use super::server_fault::ServerFault;
use super::session::{SESSION_BYTES, Session, Shared, State, TlsStream, UNBEGUN_BYTES};
use crate::certificates::ListenerConfig;
use crate::key::slot_number;
use crate::metrics::{Entry, ListenerCounters};
use crate::pool::{Buffers, Need, OverBudget};
use crate::stream::turn::StreamTurn;
use crate::timer::{Millis, Tick};
use crate::tls::Suite;
use crate::upstream::ServerTls;

/// TLS of one loop.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    sessions: Slab<Session>,
    shared: Shared,
    /// Handshakes that were begun since the allocator was last asked to give memory back: each takes
    /// dozens of blocks, between which others stay.
    handshakes: u32,
    /// When it was asked.
    asked: Millis,
    is_scattered: bool,
}

impl Tls {
    /// From now on the listeners, each by its number, do their handshakes so.
    pub(crate) fn configure(&mut self, configs: &[Option<ListenerConfig>]) {
        let log = self.shared.secrets.take();
        self.shared.secrets = self.shared.listeners.configure(configs, log);
    }

    /// From now on handshakes of the listeners, each by its number, are counted in these.
    pub(crate) fn count(&mut self, listeners: Vec<Arc<Entry<ListenerCounters>>>) {
        self.shared.counted = listeners;
    }

    /// Whether connections of this listener speak TLS.
    #[inline]
    pub(crate) fn has(&self, listener: usize) -> bool {
        self.shared.listeners.has(listener)
    }

    /// A session for a connection of this listener. Gives its number.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    pub(crate) fn add(&mut self, listener: usize, memory: &mut Buffers) -> Result<u32, OverBudget> {
        let listener = u16::try_from(listener).map_err(|_| OverBudget)?;
        self.insert(Session::new(listener), memory)
    }

    /// A session for a connection to a server. Its handshake begins with the first bytes that are sent.
    /// Gives its number.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    pub(crate) fn add_outbound(
        &mut self,
        tls: ServerTls,
        memory: &mut Buffers,
    ) -> Result<u32, OverBudget> {
        memory.charge_for(Need::Head, UNBEGUN_BYTES)?;
        let added = self.insert(Session::outbound(tls), memory);
        if added.is_err() {
            memory.discharge(UNBEGUN_BYTES);
        }
        added
    }

    fn insert(&mut self, session: Session, memory: &mut Buffers) -> Result<u32, OverBudget> {
        memory.charge_for(Need::Head, SESSION_BYTES)?;
        self.handshakes = self.handshakes.saturating_add(1);
        if self.sessions.len() == self.sessions.capacity() {
            self.grow();
        }
        Ok(slot_number(self.sessions.insert(session)))
    }

    /// Makes the table longer. What it was is wiped before it is freed, unlike what a `Vec` that grows
    /// leaves behind.
    #[cold]
    fn grow(&mut self) {
        let mut larger = Slab::with_capacity((2 * self.sessions.len()).max(SESSIONS_MIN));
        // A table without a gap gives the same numbers in the same order.
        for (number, session) in &mut self.sessions {
            let same = larger.insert(session.relocated());
            debug_assert_eq!(number, same);
        }
        self.sessions = larger;
    }

    /// Drops a session with all that it holds.
    pub(crate) fn release(&mut self, number: u32, turn: StreamTurn<'_>) {
        let Some(stream) = self.stream(number, turn) else { return };
        stream.release();
        self.sessions.remove(number as usize);
        if self.sessions.is_empty() {
            // A slab keeps its peak otherwise.
            self.sessions = Slab::new();
        }
    }

    /// Gives bytes that were read from the socket to a session, to be opened first.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for them.
    pub(crate) fn keep_unopened(
        &mut self,
        number: u32,
        bytes: &[u8],
        turn: StreamTurn<'_>,
    ) -> Result<(), OverBudget> {
        match self.stream(number, turn) {
            Some(mut stream) => stream.keep_unopened(Need::Head, bytes),
            None => Ok(()),
        }
    }

    /// The session of this number, for one call.
    #[inline]
    pub(crate) fn stream<'c>(
        &'c mut self,
        number: u32,
        turn: StreamTurn<'c>,
    ) -> Option<TlsStream<'c>> {
        let session = self.sessions.get_mut(number as usize)?;
        Some(TlsStream { number, session, shared: &mut self.shared, turn })
    }

    /// Whether the handshake is not over.
    #[inline]
    pub(crate) fn is_handshaking(&self, number: u32) -> bool {
        self.sessions.get(number as usize).is_some_and(|own| own.is_handshaking())
    }

    /// Why TLS with a server came to nothing, if it did.
    pub(crate) fn server_fault(&self, number: u32) -> Option<ServerFault> {
        let own = self.sessions.get(number as usize).filter(|own| own.is_outbound())?;
        own.server_fault.or_else(|| own.fault.map(ServerFault::from))
    }

    /// Whether nothing has come of it.
    pub(crate) fn is_silent(&self, number: u32) -> bool {
        let session = self.sessions.get(number as usize);
        session.is_some_and(|own| matches!(own.state, State::Silent) && !own.has_unopened())
    }

    /// Since when a record waits that has come in part, and how many bytes of it have come.
    pub(crate) fn unopened(&self, number: u32) -> Option<(Tick, usize)> {
        let held = self.sessions.get(number as usize)?.held.as_ref()?;
        let bytes = held.unopened().len();
        (bytes > 0).then_some((held.unopened_since, bytes))
    }

    /// How much of a wait for its part of a turn a handshake is given back: all of its waits together
    /// are given back up to `max` ticks, so that no client has time for ever.
    pub(crate) fn credit(&mut self, number: u32, waited: u32, max: u32) -> u32 {
        let Some(own) = self.sessions.get_mut(number as usize) else { return 0 };
        let room = max.min(u32::from(u16::MAX)).saturating_sub(u32::from(own.waited));
        let credit = u16::try_from(waited.min(room)).unwrap_or(u16::MAX);
        own.waited = own.waited.saturating_add(credit);
        u32::from(credit)
    }

    /// Whether sealed bytes wait for room in the socket.
    #[inline]
    pub(crate) fn has_unsent(&self, number: u32) -> bool {
        let held = self.sessions.get(number as usize).and_then(|own| own.held.as_ref());
        held.is_some_and(|held| held.has_unsent())
    }

    /// Whether a whole record, or what is none, has come and waits to be opened. During a handshake
    /// the library may have looked at such records, and keeps them until a message is whole.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn has_whole_unopened(&self, number: u32) -> bool {
        let Some(Session { state, held: Some(held), .. }) = self.sessions.get(number as usize)
        else {
            return false;
        };
        matches!(state, State::Open(_)) && !matches!(held.first(), Ok(None | Some((_, false))))
    }

    /// Notes that the socket took some of what is sealed, or that it had no room for the first time.
    pub(crate) fn touch_unsent(&mut self, number: u32, now: Tick) {
        if let Some(held) = self.sessions.get_mut(number as usize).and_then(|own| own.held.as_mut())
        {
            held.unsent_since = now;
        }
    }

    /// Since when the socket took none of the bytes that are sealed and unsent.
    pub(crate) fn unsent_since(&self, number: u32) -> Option<Tick> {
        let held = self.sessions.get(number as usize)?.held.as_ref()?;
        held.has_unsent().then_some(held.unsent_since)
    }

    /// Bytes that wait, in either direction.
    pub(crate) fn waiting_bytes(&self, number: u32) -> usize {
        self.sessions.get(number as usize).map_or(0, Session::held_bytes)
    }

    /// Whom the client's certificate names, as [`names_of`](crate::certificates::names_of) says, if it has
    /// shown one.
    pub(crate) fn names(&self, number: u32) -> Option<&str> {
        self.sessions.get(number as usize)?.names.as_deref()
    }

    /// The version and the cipher of a session, once its handshake is over.
    pub(crate) fn suite(&self, number: u32) -> Option<Suite> {
        self.sessions.get(number as usize)?.suite()
    }

    /// Bytes that are held for a session.
    pub(crate) fn held_bytes(&self, number: u32) -> usize {
        let session = self.sessions.get(number as usize);
        session.map_or(0, |session| SESSION_BYTES + session.recount())
    }

    /// Frees keys and room that lie unused. Gives the moment to ask again.
    pub(crate) fn trim(
        &mut self,
        now: Millis,
        idle_ms: u64,
        memory: &mut Buffers,
    ) -> Option<Millis> {
        let (freed, due) = self.shared.keys.trim(now, idle_ms);
        memory.discharge(freed);
        if due.is_none() {
            self.shared.trim(memory);
        }
        let is_at_rest = due.is_none() || self.sessions.is_empty();
        // Not with each connection of many that come and go one by one; and where others talk on, who
        // wait for the allocator meanwhile, only after a flood.
        let again = match (self.handshakes, is_at_rest) {
            (HANDSHAKES_MANY.., true) => self.asked.plus(ASKED_MS),
            (HANDSHAKES_FLOOD.., false) => self.asked.plus(idle_ms),
            _ => return due,
        };
        if now < again {
            return Some(due.map_or(again, |due| due.min(again)));
        }
        (self.asked, self.is_scattered) = (now, true);
        // Buffers of the pool are freed later, and lie as scattered.
        if memory.free_bytes() == 0 {
            self.handshakes = 0;
        }
        due
    }

    /// Whether the allocator is to be asked to give memory back, once.
    #[inline]
    pub(crate) fn take_scattered(&mut self) -> bool {
        std::mem::take(&mut self.is_scattered)
    }

    /// Whether nothing lies unused.
    #[inline]
    pub(crate) fn is_bare(&self) -> bool {
        self.shared.sealed.capacity() == 0
            && self.shared.keys.is_empty()
            && self.handshakes < HANDSHAKES_MANY
    }

    /// How many sessions there are.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Bytes that are held and charged to the pool, counted anew.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn recount(&self) -> usize {
        let each = |(_, session): (usize, &Session)| SESSION_BYTES + session.recount();
        let shared_bytes = self.shared.keys.bytes() + self.shared.sealed_charged;
        self.sessions.iter().map(each).sum::<usize>() + shared_bytes
    }
}

/// Sessions that a table has room for at least.
const SESSIONS_MIN: usize = 16;
/// Handshakes that leave memory worth looking for.
const HANDSHAKES_MANY: u32 = 64;
/// Handshakes that may have left megabytes.
const HANDSHAKES_FLOOD: u32 = 1_024;
/// How long the allocator is left alone.
const ASKED_MS: u64 = 1_000;
