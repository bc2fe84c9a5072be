//! Accepting connections: a bounded number in each turn, within the limits of the process, and without
//! spinning when descriptors run out.
//!
//! Listeners are edge-triggered (epoll(7)): one whose queue was not emptied gives no event until the next
//! client connects. So a listener is remembered as pending until `accept` has found its queue empty.
//!
//! When descriptors run out, accept4(2) fails and the connection stays in the queue, where its client
//! would wait without an answer. The acceptor then closes its reserve descriptor, accepts that one
//! connection, closes it, and opens the reserve again. After that it pauses, because every further
//! attempt would fail as well and the loop would spin.

use std::net::SocketAddr;
use std::sync::Arc;

use super::drain::QueuePolicy;
use super::overload::{OverloadSettings, Shedder};
use super::permits::ConnectionPermits;
use crate::conn::{AddressVerdict, Connections, Opening, Verdict};
use crate::key::ConnKey;
use crate::metrics::{Counters, Entry, Labelled, ListenerCounters};
use crate::proxy_protocol::HeaderPolicy;
use crate::timer::Millis;
use crate::transport::{AcceptError, Poller, Transport};
use crate::work::{Phase, prices};

/// What the clients of a listener speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// HTTP, to be upgraded to WebSocket.
    Http,
    /// Lines of text, for the socket route with this number.
    Line(u8),
    /// Bytes, which are relayed to the next connection of this listener.
    #[cfg(any(test, feature = "sim"))]
    Relay,
}

impl ListenerProtocol {
    /// Whether the kernel has to find out that a silent peer is unreachable: lines have no pings.
    fn needs_keep_alive(self) -> bool {
        match self {
            Self::Line(_) => true,
            Self::Http => false,
            #[cfg(any(test, feature = "sim"))]
            Self::Relay => false,
        }
    }
}

/// Limits of one loop's listeners.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// The protocol of each listener by its number; `None` where no listener has the number.
    pub protocols: Vec<Option<ListenerProtocol>>,
    /// Whether the connections of each listener begin with a header of the PROXY protocol, by its
    /// number; where there is none, they do not.
    pub headers: Vec<HeaderPolicy>,
    /// The label of the counters of each listener by its number: its address. One without has its
    /// number.
    pub labels: Vec<Arc<str>>,
    /// Connections accepted in one turn.
    pub accepts_per_turn: usize,
    /// Connections over the limit that are held at once for their reply 503.
    pub refusals_max: usize,
    /// How long accepting pauses after descriptors or memory ran out.
    pub accept_pause_ms: u64,
    /// When newcomers are refused although there is room for them.
    pub overload: OverloadSettings,
}

impl ListenerSettings {
    /// The counters of listeners, by their numbers.
    pub(super) fn counters(
        &self,
        listeners: usize,
        metrics: &Labelled<ListenerCounters>,
    ) -> Vec<Arc<Entry<ListenerCounters>>> {
        let label = |number: usize| match self.labels.get(number) {
            Some(label) => metrics.of(label),
            None => metrics.of(&number.to_string()),
        };
        (0..listeners).map(label).collect()
    }
}

/// The listeners of one loop.
#[derive(Debug)]
pub(super) struct Acceptor {
    settings: ListenerSettings,
    counters: Vec<Arc<Entry<ListenerCounters>>>,
    /// For each listener, whether its queue was not seen empty since its last event.
    pending: Vec<bool>,
    /// For each listener, whether it is closed when its queue is next seen empty.
    closing: Vec<bool>,
    /// The listener whose turn it is: they take turns, so that a long queue of one delays no other.
    next: usize,
    paused_until: Option<Millis>,
    has_reserve: bool,
    permits: ConnectionPermits,
    shedder: Shedder,
    draining: bool,
    is_closed: bool,
}

impl Acceptor {
    pub(super) fn new(
        settings: ListenerSettings,
        listeners: usize,
        permits: ConnectionPermits,
        counters: Vec<Arc<Entry<ListenerCounters>>>,
    ) -> Self {
        let shedder = Shedder::new(settings.overload.clone());
        Self {
            settings,
            counters,
            // Clients may have connected before the listener was registered.
            pending: vec![true; listeners],
            closing: vec![false; listeners],
            next: 0,
            paused_until: None,
            has_reserve: false,
            permits,
            shedder,
            draining: false,
            is_closed: false,
        }
    }

    /// Handles an event of a listener: its queue may hold connections.
    pub(super) fn on_event(&mut self, listener: usize) {
        if let Some(pending) = self.pending.get_mut(listener) {
            *pending = true;
        }
    }

    /// Goes by other settings. Listeners that are new were opened already. One that is left out keeps
    /// its protocol for those who are in its queue, and is closed behind them.
    pub(super) fn reload<P: Poller>(
        &mut self,
        next: ListenerSettings,
        counters: Vec<Arc<Entry<ListenerCounters>>>,
        poller: &mut P,
    ) {
        self.counters = counters;
        self.shedder.reload(next.overload.clone());
        let ListenerSettings { protocols: before, headers: headers_before, .. } =
            std::mem::replace(&mut self.settings, next);
        let ListenerSettings { protocols, headers, .. } = &mut self.settings;
        let count = before.len().max(protocols.len());
        protocols.resize(count, None);
        headers.resize(count, HeaderPolicy::Off);
        self.pending.resize(count, false);
        self.closing.resize(count, false);
        for (number, protocol) in protocols.iter_mut().enumerate() {
            match (before.get(number).copied().flatten(), *protocol) {
                (None, None) => {}
                (None, Some(_)) => {
                    // Clients may have connected before the event could be told from a former one's.
                    self.pending[number] = true;
                    self.closing[number] = false;
                }
                (Some(own), Some(next)) => {
                    self.closing[number] = false;
                    if own.needs_keep_alive() != next.needs_keep_alive() {
                        poller.set_keep_alive(number, next.needs_keep_alive());
                    }
                }
                (Some(own), None) => {
                    *protocol = Some(own);
                    headers[number] = headers_before.get(number).copied().unwrap_or_default();
                    self.pending[number] = true;
                    self.closing[number] = true;
                }
            }
        }
    }

    /// The queue of a listener was seen empty.
    fn emptied<P: Poller>(&mut self, listener: usize, poller: &mut P) {
        self.pending[listener] = false;
        if std::mem::take(&mut self.closing[listener]) {
            poller.close_listener(listener);
            self.settings.protocols[listener] = None;
        }
    }

    /// Stops accepting: the connections that are queued get 503 and then the listeners are closed, or
    /// they are left to the other process that holds the listeners.
    pub(super) fn start_draining<P: Poller>(&mut self, queue: QueuePolicy, poller: &mut P) {
        self.draining = true;
        self.paused_until = None;
        if queue == QueuePolicy::LeaveToOther {
            return self.close(poller);
        }
        // A connection may be queued whose event has not been read yet. Closing the listener would reset
        // it, so each queue is looked at once more.
        self.pending.fill(true);
    }

    fn close<P: Poller>(&mut self, poller: &mut P) {
        poller.close_listeners();
        self.pending.fill(false);
        self.is_closed = true;
        self.paused_until = None;
    }

    /// Whether it accepts no more.
    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether the listeners are closed, and so their queues are gone.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// When [`Acceptor::run`] has to be called without an event; `None` if an event comes first.
    pub(super) fn due(&self, now: Millis, refused_count: usize) -> Option<Millis> {
        if self.is_closed || !self.pending.contains(&true) {
            // The time to open the reserve descriptor again, if it is lost: it must be there before
            // the next client connects.
            return self.paused_until;
        }
        match self.paused_until {
            Some(until) => Some(until),
            // All places for refusals are taken. They become free within `refuse_ms`, by an event or a
            // deadline of this loop. Room for a connection may come from another loop, which then wakes
            // this one.
            None if self.must_wait(refused_count, now)
                && (self.shedder.is_overloaded(now) || !self.permits.wait()) =>
            {
                None
            }
            None => Some(now),
        }
    }

    /// Accepts connections from pending listeners, at most `accepts_per_turn`.
    ///
    /// Connections are reaped after this in a turn. So the places that they leave are taken in the next
    /// turn, which [`Acceptor::due`] has begin at once while a listener is pending.
    #[inline]
    pub(super) fn run<P: Poller>(
        &mut self,
        poller: &mut P,
        connections: &mut Connections<P::Socket>,
        counters: &Counters,
        now: Millis,
    ) {
        // Most turns bring no connection.
        let is_at_rest = self.has_reserve && self.paused_until.is_none() && !self.draining;
        if !is_at_rest || self.pending.contains(&true) {
            self.accept_some(poller, connections, counters, now);
        }
    }

    fn accept_some<P: Poller>(
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
                // This turn accepts all the same: the pause is the time of the next attempt.
                self.pause(now);
            }
        }
        let accepts_max = self.settings.accepts_per_turn.min(connections.accepts_max());
        for number in 0..accepts_max {
            if number >= ACCEPTS_MIN && connections.is_over(Phase::End) {
                break;
            }
            let Some(listener) = self.next_pending() else { break };
            let has_tls = connections.has_tls(listener);
            if has_tls && connections.is_full_of_handshakes() {
                continue;
            }
            if self.must_wait(connections.refused_count(), now) {
                return;
            }
            match poller.accept(listener) {
                Ok((socket, address)) => {
                    counters.connections_accepted.add(1);
                    if let Some(own) = self.counters.get(listener) {
                        own.accepted.add(1);
                    }
                    connections.charge(prices::ACCEPT);
                    let admitted = self.admit(listener, address, connections, counters, now);
                    let Some((opening, of_address, verdict)) = admitted else { continue };
                    // Into the table before it is registered: the token of its events is its key
                    // there.
                    let key = connections.handle_accepted(socket, address, verdict);
                    connections.mark_address(key, of_address);
                    if has_tls {
                        connections.enter_tls(key, listener, address);
                    }
                    if self.register(poller, connections, key, counters) {
                        self.enter(connections, key, listener, opening);
                    }
                }
                Err(AcceptError::Empty) => self.emptied(listener, poller),
                // The next in the queue may be sound. It counts against the turn, so that an error
                // which stays cannot keep the loop here.
                Err(AcceptError::Failed) => {}
                Err(AcceptError::Exhausted) => {
                    counters.accept_failures.add(1);
                    self.shed(poller, listener, counters);
                    self.pause(now);
                    return;
                }
            }
        }
        // Not before all queues were seen empty: a connection that is still queued gets its 503.
        if self.draining && !self.pending.contains(&true) {
            self.close(poller);
        }
    }

    /// How a connection that was just accepted begins, and whether its address and the limits of the
    /// process let it in; `None` if it is to be closed without a word.
    fn admit<S: Transport>(
        &mut self,
        listener: usize,
        address: SocketAddr,
        connections: &mut Connections<S>,
        counters: &Counters,
        now: Millis,
    ) -> Option<(Opening, AddressVerdict, Verdict)> {
        let policy = self.settings.headers.get(listener).copied();
        let opening = connections.opening(policy.unwrap_or_default(), address.ip());
        let of_address = match opening {
            Opening::Client => connections.judge_address(address),
            // Once the header says for whom it is.
            Opening::Header | Opening::MaybeHeader => AddressVerdict::UNCOUNTED,
            Opening::Untrusted => {
                // Whatever it claims does not count.
                log::debug!("closed: {address} is no trusted proxy");
                counters.refused_untrusted.add(1);
                connections.charge(prices::CLOSE);
                return None;
            }
        };
        // Over TLS a refusal would cost a handshake before it could be understood.
        let may_answer = !connections.has_tls(listener)
            && connections.refused_count() < self.settings.refusals_max;
        let verdict = match of_address {
            AddressVerdict::Admit(_) => self.verdict(now, counters),
            AddressVerdict::Refuse { .. } if may_answer => Verdict::Refuse,
            AddressVerdict::Refuse { .. } | AddressVerdict::Drop => {
                counters.addresses_dropped.add(1);
                connections.charge(prices::CLOSE);
                log::debug!("closed at once: {address} connects too often, or may not");
                return None;
            }
        };
        Some((opening, of_address, verdict))
    }

    /// The first pending listener from the one on whose turn it is; the turn passes to the one behind it.
    fn next_pending(&mut self) -> Option<usize> {
        let (earlier, later) = self.pending.split_at_checked(self.next)?;
        let listener = match later.iter().position(|pending| *pending) {
            Some(at) => self.next + at,
            None => earlier.iter().position(|pending| *pending)?,
        };
        self.next = if listener + 1 < self.pending.len() { listener + 1 } else { 0 };
        Some(listener)
    }

    /// Tells a new connection by which listener it came, and admits it where no request comes first.
    fn enter<S: Transport>(
        &self,
        connections: &mut Connections<S>,
        key: ConnKey,
        listener: usize,
        opening: Opening,
    ) {
        let has_header = matches!(opening, Opening::Header | Opening::MaybeHeader);
        if has_header {
            connections.await_header(key, opening == Opening::MaybeHeader);
        }
        match self.settings.protocols.get(listener) {
            Some(Some(ListenerProtocol::Line(route)))
                if has_header || connections.has_tls(listener) =>
            {
                connections.await_line(key, *route);
            }
            Some(Some(ListenerProtocol::Line(route))) => connections.enter_line(key, *route),
            #[cfg(any(test, feature = "sim"))]
            Some(Some(ListenerProtocol::Relay)) => connections.enter_relay(key),
            // A new connection is of the first listener already.
            Some(Some(ListenerProtocol::Http)) if listener > 0 => {
                // The configuration has no more listeners than that.
                connections.enter_http(key, u8::try_from(listener).unwrap_or(u8::MAX));
            }
            Some(Some(ListenerProtocol::Http) | None) | None => {}
        }
    }

    /// Whether a connection that was just accepted is served or refused. Its part of `connections_max`
    /// is taken only now: if it were taken before `accept`, and the queue were empty, another loop could
    /// refuse a connection below the limit meanwhile.
    fn verdict(&mut self, now: Millis, counters: &Counters) -> Verdict {
        if self.draining {
            Verdict::Refuse
        } else if self.shedder.sheds(now, counters) {
            Verdict::Shed
        } else if self.permits.take() {
            Verdict::Admit
        } else {
            Verdict::Refuse
        }
    }

    /// A turn began by this number of microseconds too late, or lasted as long.
    #[inline]
    pub(super) fn note_lag(&mut self, lag_us: u64, now: Millis) {
        self.shedder.note_lag(lag_us, now);
    }

    /// Whether a further connection could be neither served nor refused. It then stays in the kernel's
    /// queue.
    fn must_wait(&self, refused_count: usize, now: Millis) -> bool {
        let may_refuse = self.draining || refused_count < self.settings.refusals_max;
        !may_refuse && (self.shedder.is_overloaded(now) || !self.permits.has_room())
    }

    /// Takes a part of `connections_max` for a connection to a backend, if there is one.
    pub(super) fn take_permit(&mut self) -> bool {
        self.permits.take()
    }

    /// Returns the part of `connections_max` of a connection that was served and is gone.
    pub(super) fn release(&mut self) {
        self.permits.release();
    }

    /// Registers a new connection with the poller, which reports it at once if it is ready already.
    /// Returns whether that succeeded; the connection ends otherwise, as no event would ever wake it.
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

    /// Accepts the oldest queued connection with the reserve descriptor, and drops it.
    fn shed<P: Poller>(&mut self, poller: &mut P, listener: usize, counters: &Counters) {
        if !self.has_reserve {
            return;
        }
        // Another thread may take the descriptor that becomes free. Then `accept` fails once more, the
        // reserve cannot be opened, and the next `run` tries to open it again.
        poller.hold_reserve(false);
        match poller.accept(listener) {
            Ok(socket) => {
                drop(socket);
                counters.accepts_shed.add(1);
            }
            Err(AcceptError::Empty) => self.emptied(listener, poller),
            Err(AcceptError::Exhausted | AcceptError::Failed) => {}
        }
        self.has_reserve = poller.hold_reserve(true);
    }

    fn pause(&mut self, now: Millis) {
        self.paused_until = Some(now.plus(self.settings.accept_pause_ms));
    }
}

/// Connections accepted even in a turn whose work is done: a new client does not wait for who works
/// much.
const ACCEPTS_MIN: usize = 8;
