//! Taking in connections: at a bounded pace, within the process's limits, and without spinning
//! when descriptors run out.
//!
//! A listener that was not emptied gives no further event until somebody new connects, so what is
//! still queued must be remembered here. When descriptors run out, a reserve descriptor makes room
//! to take one connection and drop it, so that its client learns at once; then accepting pauses.

use crate::conn::{Connections, Verdict};
use crate::key::ConnKey;
use crate::metrics::Counters;
use crate::pool::Lease;
use crate::timer::Millis;
use crate::transport::{AcceptError, Poller, Transport};

/// What the clients of a listener speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// HTTP, to be upgraded to WebSocket.
    Http,
    /// Lines of text, for the socket route with this number.
    Line(u8),
    /// Bytes, which go on to the next connection that comes here.
    #[cfg(any(test, feature = "sim"))]
    Relay,
}

/// Limits of one loop's listeners.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// What is spoken, by listener.
    pub protocols: Vec<ListenerProtocol>,
    /// Connections taken in one turn.
    pub accepts_per_turn: usize,
    /// Connections over the limit that are held at once to be told 503.
    pub refusals_max: usize,
    /// How long to pause when descriptors or memory ran out.
    pub accept_pause_ms: u64,
}

/// The listeners of one loop.
#[derive(Debug)]
pub(super) struct Acceptor {
    settings: ListenerSettings,
    /// Per listener: its queue was not seen empty since its last event.
    pending: Vec<bool>,
    paused_until: Option<Millis>,
    has_reserve: bool,
    /// This loop's part of `connections_max`.
    budget: Lease,
    draining: bool,
    is_closed: bool,
}

impl Acceptor {
    pub(super) fn new(settings: ListenerSettings, listeners: usize, budget: Lease) -> Self {
        Self {
            settings,
            // A listener may have been ready before it was registered.
            pending: vec![true; listeners],
            paused_until: None,
            has_reserve: false,
            budget,
            draining: false,
            is_closed: false,
        }
    }

    /// An event said that somebody connected.
    pub(super) fn on_event(&mut self, listener: usize) {
        if let Some(pending) = self.pending.get_mut(listener) {
            *pending = true;
        }
    }

    /// Takes everyone who is queued, to be told 503, and then closes the listeners.
    pub(super) fn start_draining(&mut self) {
        self.draining = true;
        self.paused_until = None;
        self.pending.fill(true);
    }

    /// Whether the listeners are closed and nobody is queued.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// When to try again without an event: `Some` if connections may be queued.
    pub(super) fn due(&self, now: Millis, refused_count: usize) -> Option<Millis> {
        if self.is_closed || !self.pending.contains(&true) {
            // A lost reserve descriptor is wanted back even when nobody connects.
            return self.paused_until;
        }
        match self.paused_until {
            Some(until) => Some(until),
            // The ends of those who are being told are events of this loop.
            None if self.must_wait(refused_count) => None,
            None => Some(now),
        }
    }

    /// Takes connections in, as many as a turn may.
    pub(super) fn run<P: Poller>(
        &mut self,
        poller: &mut P,
        connections: &mut Connections<P::Socket>,
        counters: &Counters,
        now: Millis,
    ) {
        if self.is_closed || self.paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.paused_until = None;
        if !self.has_reserve {
            self.has_reserve = poller.hold_reserve(true);
            if !self.has_reserve {
                self.pause(now);
            }
        }
        let accepts_max = self.settings.accepts_per_turn.min(connections.accepts_max());
        for _ in 0..accepts_max {
            let Some(listener) = self.pending.iter().position(|pending| *pending) else { break };
            if self.must_wait(connections.refused_count()) {
                return;
            }
            match poller.accept(listener) {
                Ok((socket, address)) => {
                    counters.connections_accepted.add(1);
                    let verdict = self.verdict();
                    let key = connections.handle_accepted(socket, address, verdict);
                    if self.register(poller, connections, key, counters) {
                        self.enter(connections, key, listener);
                    }
                }
                Err(AcceptError::Empty) => self.pending[listener] = false,
                Err(AcceptError::Failed) => {}
                Err(AcceptError::Exhausted) => {
                    counters.accept_failures.add(1);
                    self.shed(poller, listener, counters);
                    self.pause(now);
                    return;
                }
            }
        }
        if self.draining && !self.pending.contains(&true) {
            poller.close_listeners();
            self.is_closed = true;
            self.paused_until = None;
        }
    }

    /// Connections of some listeners need not ask for anything to be let in.
    fn enter<S: Transport>(&self, connections: &mut Connections<S>, key: ConnKey, listener: usize) {
        match self.settings.protocols.get(listener) {
            Some(ListenerProtocol::Line(route)) => connections.enter_line(key, *route),
            #[cfg(any(test, feature = "sim"))]
            Some(ListenerProtocol::Relay) => connections.enter_relay(key),
            Some(ListenerProtocol::Http) | None => {}
        }
    }

    /// Whether a connection that was just accepted is served. A share of `connections_max` is taken
    /// only now: one taken for a queue that turns out empty would be missing in another loop.
    fn verdict(&mut self) -> Verdict {
        if !self.draining && self.budget.take(1) { Verdict::Admit } else { Verdict::Refuse }
    }

    /// Whether there is neither a place for a newcomer nor one to tell it so.
    fn must_wait(&self, refused_count: usize) -> bool {
        let may_refuse = self.draining || refused_count < self.settings.refusals_max;
        !may_refuse && !self.budget.has_room()
    }

    /// A connection that counted against the limit is gone.
    pub(super) fn release(&mut self) {
        self.budget.give(1);
    }

    /// Has the kernel watch a new connection; whether it does.
    fn register<P: Poller>(
        &self,
        poller: &mut P,
        connections: &mut Connections<P::Socket>,
        key: ConnKey,
        counters: &Counters,
    ) -> bool {
        let Some(socket) = connections.socket_mut(key) else { return false };
        let is_registered = poller.register(socket, key.to_token()).is_ok();
        if !is_registered {
            counters.accept_failures.add(1);
            connections.handle_unwatched(key);
        }
        is_registered
    }

    /// Lets the oldest queued connection in and drops it.
    fn shed<P: Poller>(&mut self, poller: &mut P, listener: usize, counters: &Counters) {
        if !self.has_reserve {
            return;
        }
        poller.hold_reserve(false);
        match poller.accept(listener) {
            Ok(socket) => {
                drop(socket);
                counters.accepts_shed.add(1);
            }
            Err(AcceptError::Empty) => self.pending[listener] = false,
            Err(AcceptError::Exhausted | AcceptError::Failed) => {}
        }
        self.has_reserve = poller.hold_reserve(true);
    }

    fn pause(&mut self, now: Millis) {
        self.paused_until = Some(now.plus(self.settings.accept_pause_ms));
    }
}
