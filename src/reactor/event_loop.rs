//! One event loop and its turn: wait, read, run on, mail, timers, flush, accept, reap.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::drain::Drain;
use super::listener::{Acceptor, ListenerSettings};
use crate::conn::Connections;
use crate::key::ConnKey;
use crate::mail::Mailbox;
use crate::mail::{LoopMessage, LoopSender};
use crate::metrics::LoopMetrics;
use crate::pool::Lease;
use crate::timer::{Clock, Millis};
use crate::transport::{Poller, Readiness};

/// How much work one turn may do.
#[derive(Clone, Debug)]
pub struct LoopSettings {
    /// Of the listeners.
    pub listeners: ListenerSettings,
    /// Letters handled in one turn.
    pub mail_per_turn: usize,
    /// Deadlines acted upon in one turn.
    pub timers_per_turn: usize,
    /// Connections written in one turn that were pushed to.
    pub flushes_per_turn: usize,
    /// Sockets closed in one turn.
    pub reaps_per_turn: usize,
    /// Letters that may wait for a full mailbox before their senders are no longer read.
    pub outbox_items_max: usize,
}

/// What the control thread asks of a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoopCommand {
    /// Tell everyone to go, and end when the last has gone or `drain_ms` have passed.
    Drain {
        /// Time for all of it.
        drain_ms: u64,
        /// Whether to spread the goodbyes over it.
        is_paced: bool,
    },
}

/// A loop's mailboxes.
#[derive(Clone, Debug)]
pub struct LoopMailboxes {
    /// From the control thread.
    pub commands: Arc<Mailbox<LoopCommand>>,
    /// To this loop's services, from other threads.
    pub messages: Arc<Mailbox<LoopMessage>>,
    /// From the other loops.
    pub incoming: Vec<Arc<Mailbox<LoopMessage>>>,
    /// To the other loops, by their number; there is none to itself.
    pub outgoing: Vec<Option<Arc<Mailbox<LoopMessage>>>>,
}

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
    connections: Connections<P::Socket>,
    acceptor: Acceptor,
    mailboxes: LoopMailboxes,
    has_mail: bool,
    commands: VecDeque<LoopCommand>,
    inbox: VecDeque<LoopMessage>,
    /// Letters that their mailboxes had no room for, by loop.
    outboxes: Vec<VecDeque<LoopMessage>>,
    drain: Option<Drain>,
    events: Vec<Readiness>,
}

impl<P: Poller, C: Clock> EventLoop<P, C> {
    /// A loop over `poller`, whose listeners and mailbox are registered already. `budget` is its
    /// lease on `connections_max`.
    pub fn new(
        poller: P,
        clock: C,
        settings: LoopSettings,
        mut connections: Connections<P::Socket>,
        metrics: LoopMetrics,
        mailboxes: LoopMailboxes,
        budget: Lease,
    ) -> Self {
        let listeners = poller.listener_count();
        let messages = Arc::clone(&mailboxes.messages);
        connections.start(&(Arc::new(move |mail| messages.send_one(mail)) as LoopSender));
        Self {
            acceptor: Acceptor::new(settings.listeners.clone(), listeners, budget),
            outboxes: mailboxes.outgoing.iter().map(|_| VecDeque::new()).collect(),
            poller,
            clock,
            settings,
            metrics,
            turn_began: None,
            connections,
            mailboxes,
            has_mail: true,
            commands: VecDeque::new(),
            inbox: VecDeque::new(),
            drain: None,
            events: Vec::new(),
        }
    }

    /// One turn. It waits only if nothing is left to do, and at most for `timeout_max`.
    ///
    /// # Errors
    /// When the poller fails in a way that no retry would mend.
    pub fn turn(&mut self, timeout_max: Option<Duration>) -> io::Result<Turn> {
        let timeout = self.timeout();
        let timeout = match (timeout, timeout_max) {
            (Some(own), Some(max)) => Some(own.min(max)),
            (own, max) => own.or(max),
        };
        let mut events = std::mem::take(&mut self.events);
        let waited = self.poller.wait(timeout, &mut events);
        let began = self.clock.micros();
        self.turn_began = Some(began);
        let now = Millis(began / 1000);
        self.connections.set_now(now);
        self.metrics.counters.turns.add(1);
        for event in events.drain(..) {
            self.dispatch(event);
        }
        self.events = events;
        waited?;

        self.connections.run();
        self.read_mail(now);
        self.connections.handle_timers(self.settings.timers_per_turn);
        self.connections.handle_ticks();
        self.send_closes(now);
        self.connections.apply_effects();
        self.connections.flush_dirty(self.settings.flushes_per_turn);
        // What services say about those whose write failed must not wait for the next event.
        self.connections.apply_effects();
        self.register_write_interest();
        self.send_mail();
        self.acceptor.run(&mut self.poller, &mut self.connections, &self.metrics.counters, now);
        self.reap();
        self.connections.sample();
        Ok(if self.is_finished(now) { Turn::Finished } else { Turn::GoesOn })
    }

    /// The connections, for tests and gauges.
    #[must_use]
    pub fn connections(&self) -> &Connections<P::Socket> {
        &self.connections
    }

    fn dispatch(&mut self, event: Readiness) {
        let key = ConnKey::from_token(event.token);
        if event.token == MAILBOX_TOKEN {
            self.has_mail = true;
        } else if key.generation == ConnKey::NOT_A_CONNECTION {
            self.acceptor.on_event(key.index as usize);
        } else {
            if event.writable {
                self.connections.handle_writable(key);
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
            self.metrics.turn_time.add(ended.saturating_sub(began));
        }
        let now = Millis(ended / 1000);
        self.connections.set_now(now);
        if self.has_mail || !self.inbox.is_empty() || self.connections.has_work() {
            return Some(Duration::ZERO);
        }
        let refused_count = self.connections.refused_count();
        let has_outbox = self.outboxes.iter().any(|outbox| !outbox.is_empty());
        let due = [
            self.connections.poll_timer(),
            self.connections.poll_tick(),
            self.acceptor.due(now, refused_count),
            self.connections.trim(),
            self.drain.as_ref().map(|drain| drain.due(now)),
            // The other loop empties its mailbox soon, and nothing tells when.
            has_outbox.then(|| now.plus(OUTBOX_RETRY_MS)),
        ];
        due.into_iter().flatten().min().map(|due| Duration::from_millis(due.since(now)))
    }

    fn read_mail(&mut self, now: Millis) {
        if self.has_mail {
            self.mailboxes.commands.take(&mut self.commands);
            while let Some(command) = self.commands.pop_front() {
                self.obey(&command, now);
            }
            // Taken whole, but not before all that was taken is done: what waits in a mailbox is
            // what holds its sender up.
            if self.inbox.is_empty() {
                self.has_mail = false;
                for mailbox in self.mailboxes.incoming.iter().chain([&self.mailboxes.messages]) {
                    let mut messages = VecDeque::new();
                    mailbox.take(&mut messages);
                    self.inbox.append(&mut messages);
                }
            }
        }
        for _ in 0..self.settings.mail_per_turn {
            let Some(message) = self.inbox.pop_front() else { break };
            self.connections.handle_message(message);
        }
    }

    fn obey(&mut self, command: &LoopCommand, now: Millis) {
        match *command {
            LoopCommand::Drain { drain_ms, is_paced } => {
                let count = self.connections.count();
                self.drain = Some(Drain::new(now, drain_ms, is_paced, count));
                self.connections.start_draining();
                self.acceptor.start_draining();
            }
        }
    }

    fn send_closes(&mut self, now: Millis) {
        let Some(drain) = &mut self.drain else { return };
        let Some(cursor) = drain.cursor else { return };
        let quota = drain.quota(now);
        if quota > 0 {
            drain.cursor = self.connections.send_closes(cursor, quota);
        }
    }

    fn send_mail(&mut self) {
        for (target, message) in self.connections.poll_messages() {
            if let Some(outbox) = self.outboxes.get_mut(usize::from(target)) {
                outbox.push_back(message);
            }
        }
        let mut items_left = 0;
        for (outbox, mailbox) in self.outboxes.iter_mut().zip(&self.mailboxes.outgoing) {
            if let Some(mailbox) = mailbox {
                mailbox.send(outbox);
            }
            items_left += outbox.len();
        }
        self.connections.set_mail_full(items_left > self.settings.outbox_items_max);
    }

    fn register_write_interest(&mut self) {
        while let Some(key) = self.connections.poll_write_interest() {
            let Some(socket) = self.connections.socket_mut(key) else { continue };
            if self.poller.reregister(socket, key.to_token()).is_err() {
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

    fn is_finished(&self, now: Millis) -> bool {
        self.drain.as_ref().is_some_and(|drain| {
            let has_ended = self.acceptor.is_closed() && self.connections.count() == 0;
            has_ended || now >= drain.hard_stop
        })
    }
}

/// The poll token of a loop's mailboxes; listeners have theirs by number from 0.
pub const MAILBOX_TOKEN: u64 =
    ConnKey { index: u32::MAX, generation: ConnKey::NOT_A_CONNECTION }.to_token();

const OUTBOX_RETRY_MS: u64 = 1;
