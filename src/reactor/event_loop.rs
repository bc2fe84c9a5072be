//! One event loop and its turn: wait, read, run on, mail, timers, flush, accept, reap.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::catch_up::CatchUp;
use super::command::{LoopCommand, LoopEnvelope, LoopState};
use super::drain::{Closes, Decision, DrainProgress, DrainTerms, LoopDrain, QueuePolicy};
use super::listener::Acceptor;
use super::permits::ConnectionPermits;
use super::reload::{LoopReload, NotReady, ReadyForReload};
use super::settings::LoopSettings;
use crate::conn::Connections;
use crate::key::ConnKey;
use crate::mail::{
    Attendance, Class, Envelope, Inbox, LoopMailboxes, LoopSender, MailItem, Outbox,
};
use crate::metrics::LoopMetrics;
use crate::timer::{Clock, Millis, earliest};
use crate::transport::{ConnectError, Poller, Readiness};
use crate::work::{Phase, prices};

/// Whether a loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Call [`EventLoop::turn`] again.
    GoesOn,
    /// The loop has drained; drop it.
    Finished,
}

/// One event loop. It is driven by calling [`EventLoop::turn`] until that says that it has
/// finished: on a thread of its own in production, step by step in the simulation.
#[derive(Debug)]
pub struct EventLoop<P: Poller, C> {
    poller: P,
    clock: C,
    settings: LoopSettings,
    metrics: LoopMetrics,
    /// When the turn began whose time has not been counted yet, in microseconds.
    turn_began: Option<u64>,
    /// When the next turn is to begin at the latest, in microseconds.
    turn_due: Option<u64>,
    /// When the date of replies is formatted again.
    date_due: Millis,
    connections: Connections<P::Socket>,
    acceptor: Acceptor,
    inbox: Inbox<LoopEnvelope<P::Listener>>,
    outbox: Outbox<LoopEnvelope<P::Listener>>,
    /// Something was left in the outbox at the end of the turn before.
    had_outbox: bool,
    catch_up: CatchUp,
    drain: Option<LoopDrain>,
    attendance: Attendance,
    /// No loop had a connection any more when mail was looked for the last time.
    has_everyone_left: bool,
    events: Vec<Readiness>,
}

impl<P: Poller, C: Clock> EventLoop<P, C> {
    /// A loop over `poller`, whose listeners and wake are registered already. `permits` are
    /// its part of `connections_max`.
    pub fn new(
        poller: P,
        clock: C,
        settings: LoopSettings,
        mut connections: Connections<P::Socket>,
        metrics: LoopMetrics,
        mailboxes: LoopMailboxes<LoopEnvelope<P::Listener>>,
        permits: ConnectionPermits,
    ) -> Self {
        let listeners = poller.listener_count();
        let counters = settings.listeners.counters(listeners, &metrics.listeners);
        connections.count_listeners(counters.clone());
        let LoopMailboxes { external, inbox, outgoing, attendance } = mailboxes;
        let post: LoopSender = Arc::new(move |message| {
            // Answers to look-ups, of which there are at most `lookups_max`; one that was dropped
            // would leave a client to the deadline of its handshake.
            external.send_reserved(Envelope::Message(message));
        });
        connections.start(&post);
        Self {
            acceptor: Acceptor::new(settings.listeners.clone(), listeners, permits, counters),
            inbox,
            outbox: Outbox::new(outgoing, settings.outbox),
            had_outbox: false,
            catch_up: CatchUp::default(),
            poller,
            clock,
            settings,
            metrics,
            turn_began: None,
            turn_due: None,
            date_due: Millis(0),
            connections,
            drain: None,
            attendance,
            has_everyone_left: false,
            events: Vec::new(),
        }
    }

    /// One turn. It waits only if nothing is left to do, and at most for `timeout_max`.
    ///
    /// # Errors
    /// When the poller fails in a way that no retry would mend.
    pub fn turn(&mut self, timeout_max: Option<Duration>) -> io::Result<Turn> {
        // Computed anew before each wait: whatever happened since the last one may have left work.
        let timeout = self.timeout();
        let timeout = match (timeout, timeout_max) {
            (Some(own), Some(max)) => Some(own.min(max)),
            (own, max) => own.or(max),
        };
        let waited = self.poller.wait(timeout, &mut self.events);
        let began = self.clock.micros();
        self.turn_began = Some(began);
        if let Some(due) = self.turn_due.take().filter(|due| *due <= began) {
            self.metrics.lag.add(began - due);
            self.acceptor.note_lag(began - due, Millis(began / 1000));
        }
        self.connections.begin_turn();
        let now = Millis(began / 1000);
        self.catch_up.observe(now);
        self.connections.set_now(now);
        if now >= self.date_due {
            self.set_date(began);
        }
        self.metrics.counters.turns.add(1);
        let had_events = !self.events.is_empty();
        // By number: a list that is taken out for the time costs what most turns are short of.
        for number in 0..self.events.len() {
            self.dispatch(self.events[number]);
        }
        self.events.clear();
        waited?;

        // After the events, so that a connection gets at most two shares of a turn: one for its
        // event, and one for what it had left.
        self.connections.run();
        self.read_mail(now);
        // Before deadlines are looked at, and after everything is read that this wait has brought.
        self.catch_up.on_wait_over(had_events);
        self.act_on_time();
        if self.drain.is_some() {
            self.advance_drain(now);
        }
        self.connections.apply_effects();
        self.connections.flush_dirty(self.settings.flushes_per_turn);
        // What services say about those whose write failed must not wait for the next event.
        self.connections.apply_effects();
        self.connect_backends();
        self.register_write_interest();
        self.send_mail();
        self.acceptor.run(&mut self.poller, &mut self.connections, &self.metrics.counters, now);
        self.reap();
        self.connections.relieve();
        self.connections.sample();
        let is_finished = self.drain.is_some() && self.is_finished(now);
        Ok(if is_finished { Turn::Finished } else { Turn::GoesOn })
    }

    /// Formats the date of replies, which holds until the next second of the wall clock begins. If
    /// that clock is set meanwhile, the date is wrong for at most a second. It is that of the moment when the
    /// turn began, in microseconds: services compare it with dates of other machines.
    #[cold]
    fn set_date(&mut self, began: u64) {
        // Of the whole millisecond, as the time of the turn is.
        let wall = self.clock.wall_at(began / 1000 * 1000);
        self.connections.set_date(wall);
        self.date_due = Millis(began / 1000).plus(1000 - wall.0 % 1000);
    }

    /// The connections, for tests and gauges.
    #[must_use]
    pub fn connections(&self) -> &Connections<P::Socket> {
        &self.connections
    }

    /// What has happened by now because nothing else has: not before all has been read that arrived
    /// while the loop stood still.
    fn act_on_time(&mut self) {
        if self.catch_up.is_on() {
            return;
        }
        self.connections.handle_timers(self.settings.timers_per_turn);
        // A service that speaks by itself is held up like those who speak because of others.
        if self.outbox.has_credit() {
            self.connections.handle_ticks();
        }
    }

    fn dispatch(&mut self, event: Readiness) {
        let key = ConnKey::from_token(event.token);
        if event.token == MAILBOX_TOKEN {
            self.inbox.on_wake();
        } else if key.generation == ConnKey::NOT_A_CONNECTION {
            self.acceptor.on_event(key.index as usize);
        } else {
            // Writing first: it may end the pause that keeps the connection from being read.
            if event.writable {
                self.connections.handle_writable(key);
            }
            if event.failed {
                self.connections.handle_failed(key);
            }
            if event.readable || event.read_closed {
                self.connections.handle_readable(key, event.read_closed);
            }
        }
    }

    /// How long the next turn may wait: not at all if work is left over, for ever if `None`.
    pub fn timeout(&mut self) -> Option<Duration> {
        let ended = self.clock.micros();
        if let Some(began) = self.turn_began.take() {
            let lasted = ended.saturating_sub(began);
            self.metrics.turn_time.add(lasted);
            self.acceptor.note_lag(lasted, Millis(ended / 1000));
        }
        let now = Millis(ended / 1000);
        self.catch_up.observe(now);
        self.connections.set_now(now);
        let has_work = self.has_work();
        let due = if has_work { Some(now) } else { self.next_due(now) };
        let turn_due = due.map(|due| if has_work { ended } else { due.0 * 1000 });
        // One that is there was asked for before the same wait.
        self.turn_due = match (self.turn_due, turn_due) {
            (Some(asked), Some(due)) => Some(asked.min(due)),
            (asked, due) => asked.or(due),
        };
        self.catch_up.expect(due);
        due.map(|due| Duration::from_millis(due.since(now)))
    }

    /// Whether there is work that no event will announce and no time will bring.
    fn has_work(&self) -> bool {
        self.inbox.may_hold(Class::Terminal)
            || self.inbox.may_hold(Class::Forwarding) && self.outbox.may_forward()
            || self.connections.has_work()
            || self.catch_up.is_on()
    }

    /// When the drain has something to do next.
    fn drain_due(&mut self, now: Millis) -> Option<Millis> {
        let drain = self.drain.as_ref()?;
        if !self.attendance.has_everyone_left() {
            return Some(drain.due(now));
        }
        // One more turn reads what the others had said, whether their wake has come by then or not.
        self.has_everyone_left = true;
        self.inbox.on_wake();
        Some(now)
    }

    fn next_due(&mut self, now: Millis) -> Option<Millis> {
        let drain_due = self.drain_due(now);
        let refused_count = self.connections.refused_count();
        let trim_due = self.connections.trim();
        if self.connections.poll_scattered_memory() {
            self.poller.return_memory();
        }
        earliest([
            self.connections.poll_timer(),
            // A tick that `act_on_time` would not take must not wake the loop: it would spin until
            // there is credit.
            self.connections.poll_tick().filter(|_| self.outbox.has_credit()),
            self.acceptor.due(now, refused_count),
            trim_due,
            drain_due,
            // The other loop empties its mailbox soon, and nothing tells when.
            (!self.outbox.is_empty()).then(|| now.plus(OUTBOX_RETRY_MS)),
        ])
    }

    /// Terminal messages first and always: what others have waiting for this loop must never depend on
    /// what this one has waiting for them (see `mail::outbox`).
    fn read_mail(&mut self, now: Millis) {
        // Most turns have none.
        if self.inbox.is_quiet() {
            return;
        }
        let mail_per_turn = self.settings.mail_per_turn;
        let mut handled = 0;
        while handled < mail_per_turn
            && self.connections.takes_mail(handled)
            && let Some(mail) = self.inbox.next(Class::Terminal)
        {
            self.handle_mail(mail, now);
            handled += 1;
        }
        // A stream of terminal messages must not keep logins waiting for ever.
        let left = (mail_per_turn - handled).max(mail_per_turn / 4).max(1);
        self.forward_mail(left, now);
    }

    fn forward_mail(&mut self, limit: usize, now: Millis) {
        let mut handled = 0;
        while handled < limit
            && self.inbox.may_hold(Class::Forwarding)
            && self.connections.takes_mail(handled)
        {
            // What was handled before is in the outbox only after this. It is done for a batch, as
            // publications that follow each other travel together.
            self.connections.apply_effects();
            self.collect_mail();
            if !self.outbox.may_forward() {
                self.outbox.send();
            }
            if !self.outbox.may_forward() {
                return;
            }
            let mut bytes = 0;
            for _ in 0..FORWARD_BATCH_ITEMS.min(limit - handled) {
                let Some(mail) = self.inbox.next(Class::Forwarding) else { return };
                bytes += mail.bytes();
                self.handle_mail(mail, now);
                handled += 1;
                if bytes >= FORWARD_BATCH_BYTES || !self.connections.takes_mail(handled) {
                    break;
                }
            }
        }
    }

    fn handle_mail(&mut self, mail: LoopEnvelope<P::Listener>, now: Millis) {
        match mail {
            Envelope::Command(command) => self.obey(command, now),
            Envelope::Message(message) => self.connections.handle_message(message),
        }
    }

    #[cold]
    fn obey(&mut self, command: LoopCommand<P::Listener>, now: Millis) {
        match command {
            LoopCommand::Drain { terms, progress } => self.start_draining(now, terms, progress),
            LoopCommand::ShareListeners { reply } => reply.send(self.poller.share_listeners()),
            LoopCommand::Inspect { reply } => reply.send(self.state()),
            LoopCommand::Relieve { count } => self.connections.cut_heaviest(count),
            LoopCommand::Query(query) => self.connections.handle_query(query),
            LoopCommand::SetSettings { settings, reply } => {
                self.connections.set_settings(settings);
                reply.send(());
            }
            LoopCommand::Prepare { listeners, counts_routes, reply } => {
                reply.send(self.prepare(listeners, counts_routes));
            }
            LoopCommand::Discard { listeners } => {
                listeners.into_iter().for_each(|number| self.poller.close_listener(number));
            }
            LoopCommand::Reload { next, reply } => {
                self.reload(&next);
                reply.send(());
            }
        }
    }

    fn prepare(
        &mut self,
        listeners: Vec<(usize, P::Listener)>,
        counts_routes: bool,
    ) -> Result<ReadyForReload, NotReady> {
        if self.drain.is_some() {
            return Err(NotReady::Draining);
        }
        for (number, listener) in listeners {
            self.poller.open_listener(number, listener)?;
        }
        let routes_in_use =
            if counts_routes { self.connections.routes_in_use() } else { Vec::new() };
        Ok(ReadyForReload { routes_in_use })
    }

    fn reload(&mut self, next: &LoopReload) {
        let LoopReload { conn_settings, loop_settings, routes, numbers, tls } = next;
        let settings = Arc::clone(conn_settings);
        self.connections.reload(settings, routes, numbers.clone(), tls, &self.metrics.routes);
        let outbox = self.settings.outbox;
        self.settings = LoopSettings { outbox, ..loop_settings.clone() };
        let listeners = loop_settings.listeners.clone();
        let count = self.poller.listener_count().max(listeners.protocols.len());
        let counters = listeners.counters(count, &self.metrics.listeners);
        self.connections.count_listeners(counters.clone());
        self.acceptor.reload(listeners, counters, &mut self.poller);
    }

    /// How the loop is doing.
    #[must_use]
    pub fn state(&self) -> LoopState {
        LoopState {
            connections: self.connections.count(),
            open: self.connections.open_count(),
            outbox_items: self.outbox.items(),
            outbox_bytes: self.outbox.bytes(),
            is_draining: self.drain.as_ref().is_some_and(LoopDrain::has_stopped_accepting),
        }
    }

    fn start_draining(&mut self, now: Millis, terms: DrainTerms, progress: Arc<DrainProgress>) {
        // A loop that has stopped accepting does not begin again for the grace of another drain.
        let grace_ms = if self.acceptor.is_draining() { 0 } else { terms.grace_ms };
        let seed = now.0 ^ u64::from(self.connections.loop_index()) << u32::BITS;
        let terms = DrainTerms { grace_ms, ..terms };
        self.drain = Some(LoopDrain::new(now, terms, progress, seed));
        self.advance_drain(now);
    }

    /// Goes on with the drain. It is looked at in every turn, and due by itself when it has something to
    /// do.
    #[cold]
    fn advance_drain(&mut self, now: Millis) {
        let Some(drain) = &mut self.drain else { return };
        match drain.decide(now, self.connections.count(), self.acceptor.is_draining()) {
            Decision::GoesOn => {}
            Decision::Cancelled => return self.drain = None,
            Decision::Stops(queue) => {
                self.metrics.counters.draining_now.set(1);
                if queue == QueuePolicy::Refuse {
                    self.connections.start_draining();
                }
                self.acceptor.start_draining(queue, &mut self.poller);
            }
        }
        while let Some(closes) = drain.closes(now) {
            let Closes { cursor, is_first, quota, spares_handshakes } = closes;
            let which = (is_first, spares_handshakes);
            let sent = self.connections.send_closes(cursor, quota, which);
            self.metrics.counters.drain_told.add(sent.told as u64);
            drain.note(now, sent);
        }
    }

    /// Takes what the connections have for other loops into the outbox.
    #[inline]
    fn collect_mail(&mut self) {
        if self.connections.has_mail() {
            self.collect_some();
        }
    }

    #[inline(never)]
    fn collect_some(&mut self) {
        for (target, message) in self.connections.poll_messages() {
            self.outbox.push(target, Envelope::Message(message));
        }
    }

    fn send_mail(&mut self) {
        self.collect_mail();
        // Most turns have none, and had none before.
        // With `had_outbox` once more, so that the connections are told when what had waited is
        // gone.
        if self.outbox.is_empty() && !self.had_outbox {
            return;
        }
        self.outbox.send();
        self.had_outbox = !self.outbox.is_empty();
        let is_full = !self.outbox.has_credit();
        self.connections.set_mail_full(is_full);
        let counters = &self.metrics.counters;
        if is_full {
            counters.outbox_full.add(1);
        }
        counters.outbox_items_now.set(self.outbox.items() as u64);
        counters.outbox_bytes_now.set(self.outbox.bytes() as u64);
    }

    #[inline]
    fn connect_backends(&mut self) {
        // Most turns begin none.
        if self.connections.wants_connects() {
            self.begin_connections();
        }
        self.connections.apply_effects();
    }

    /// Begins the connections that relays ask for. Each takes a permit, as clients do: what is accepted
    /// can be served, and a relay that finds none is refused.
    #[inline(never)]
    fn begin_connections(&mut self) {
        // A failed attempt may lead to another one: a bounded number of times for each client.
        for number in 0_usize.. {
            if number >= CONNECTS_MIN && self.connections.is_over(Phase::End) {
                break;
            }
            let Some(order) = self.connections.poll_connect() else { break };
            if !self.acceptor.take_permit() {
                self.connections.handle_unconnected(order.client, ConnectError::Exhausted);
                continue;
            }
            let socket = match self.poller.connect(&order.server, order.local) {
                Ok(socket) => socket,
                Err(error) => {
                    self.acceptor.release();
                    self.connections.handle_unconnected(order.client, error);
                    continue;
                }
            };
            self.connections.charge(prices::CONNECT);
            if let Some(client) = self.connections.socket_mut(order.client) {
                // Nothing else tells that a silent client is gone: a relay sends no pings.
                self.poller.probe_peer(client);
            }
            let key = self.connections.handle_connecting(order, socket);
            if let Some(socket) = self.connections.socket_mut(key)
                && self.poller.watch_outbound(socket, key.to_token()).is_err()
            {
                self.connections.handle_unwatched(key);
            }
        }
    }

    fn register_write_interest(&mut self) {
        while let Some(key) = self.connections.poll_write_interest() {
            let Some(socket) = self.connections.socket_mut(key) else { continue };
            if self.poller.reregister(socket, key.to_token()).is_err() {
                // No edge would come for it: the registration failed for want of memory
                // (epoll_ctl(2), ENOMEM).
                self.connections.handle_unwatched(key);
                self.connections.apply_effects();
            }
        }
    }

    fn reap(&mut self) {
        let acceptor = &mut self.acceptor;
        self.connections.reap(self.settings.reaps_per_turn, |was_refused| {
            if !was_refused {
                acceptor.release();
            }
        });
    }

    /// Whether the time of the drain is over, or no loop has a connection any more and all is done that was left to
    /// do. Until then a loop stays, as it may be the home of what members on other loops share.
    #[cold]
    fn is_finished(&mut self, now: Millis) -> bool {
        let has_said_all = self.outbox.is_empty();
        // Without listeners no other will come.
        if self.acceptor.is_closed() && self.connections.count() == 0 && has_said_all {
            self.attendance.leave();
        }
        self.drain.as_ref().is_some_and(|drain| drain.is_over(now))
            || self.has_everyone_left && has_said_all && !self.has_work()
    }
}

/// The poll token of a loop's mailboxes; listeners have theirs by number from 0.
pub const MAILBOX_TOKEN: u64 =
    ConnKey { index: u32::MAX, generation: ConnKey::NOT_A_CONNECTION }.to_token();

const OUTBOX_RETRY_MS: u64 = 1;

/// Forwarding messages between two looks at the credit: as many as publications travel together. An
/// outbox goes over its credit by what one such batch leads to.
const FORWARD_BATCH_ITEMS: usize = 16;
const FORWARD_BATCH_BYTES: usize = 64 << 10;
/// Connections to backends that are begun in each turn, however much it has done.
const CONNECTS_MIN: usize = 8;
