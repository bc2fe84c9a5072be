//! The lists that say which connections need something without an event: those with work left,
//! those that have not finished their handshake, those to be reaped, and the wheel.

use std::collections::VecDeque;

use super::ages::Ages;
use super::flags::Flags;
use super::slot::Conn;
use super::table::Table;
use crate::key::ConnKey;
use crate::shrink::Shrink as _;
use crate::timer::{Tick, Wheel};

/// Who needs what, apart from the table.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) wheel: Wheel,
    pub(crate) ages: Ages,
    pub(crate) run_queue: RunQueue,
    pub(crate) handshakes: HandshakeQueue,
    pub(crate) half_open: HalfOpen,
    /// Connections to be taken out of the table at the end of the turn.
    pub(crate) dead: VecDeque<ConnKey>,
}

impl Schedule {
    /// Nothing scheduled.
    pub(crate) fn new(now: Tick) -> Self {
        Self {
            wheel: Wheel::new(now),
            ages: Ages::default(),
            run_queue: RunQueue::default(),
            handshakes: HandshakeQueue::default(),
            half_open: HalfOpen::default(),
            dead: VecDeque::new(),
        }
    }

    /// How many places in the queues are taken by connections that are there, each of which may
    /// have one.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn queued(&self, is_there: impl Fn(ConnKey) -> bool) -> usize {
        let handshakes = self.handshakes.keys.iter().map(|(key, _)| key);
        self.run_queue.keys.iter().chain(handshakes).filter(|key| is_there(**key)).count()
    }
}

/// Connections that have work left which no edge will announce: bytes beyond their share of the
/// turn, or messages that waited while reading was paused. Each stands in it at most once.
/// First in, first out.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    keys: VecDeque<ConnKey>,
}

impl RunQueue {
    /// Puts a connection into the queue, for the next time it is run.
    #[inline]
    pub(crate) fn push<S>(&mut self, conn: &mut Conn<S>, key: ConnKey) {
        if conn.flags.raise(Flags::QUEUED) {
            self.keys.push_back(key);
        }
    }

    /// Takes the first out; `None` if that connection is no longer there.
    pub(crate) fn next<S>(&mut self, table: &mut Table<S>) -> Option<ConnKey> {
        let key = self.keys.pop_front()?;
        if self.keys.is_empty() {
            self.keys.shrink_if_sparse(KEYS_KEPT);
        }
        let conn = table.get_mut(key)?;
        // Before it is run, so that it can ask for another run.
        conn.flags.clear(Flags::QUEUED);
        Some(key)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Connections whose TLS handshake has something to work on. It costs a hundred times as much as a
/// message, so they have a queue of their own, which gets a part of each turn: those that are open
/// do not wait for a flood of those that come. First in, first out.
#[derive(Debug, Default)]
pub(crate) struct HandshakeQueue {
    keys: VecDeque<(ConnKey, Tick)>,
}

impl HandshakeQueue {
    /// Puts a connection into the queue, unless it waits already.
    pub(crate) fn push<S>(&mut self, conn: &mut Conn<S>, key: ConnKey, now: Tick) {
        if conn.flags.raise(Flags::QUEUED) {
            self.keys.push_back((key, now));
        }
    }

    /// Takes the first out, and how many ticks it has waited; `Some(None)` if that connection is no
    /// longer there.
    pub(crate) fn next<S>(
        &mut self,
        table: &mut Table<S>,
        now: Tick,
    ) -> Option<Option<(ConnKey, u32)>> {
        let (key, since) = self.keys.pop_front()?;
        if self.keys.is_empty() {
            self.keys.shrink_if_sparse(KEYS_KEPT);
        }
        let Some(conn) = table.get_mut(key) else { return Some(None) };
        conn.flags.clear(Flags::QUEUED);
        Some(Some((key, now.0.saturating_sub(since.0))))
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Connections that have not finished their handshake, oldest first, so that a flood of them
/// pushes out its own oldest and no others. Keys of connections that moved on are dropped when they
/// come to the front, or when they outnumber the rest.
#[derive(Debug, Default)]
pub(crate) struct HalfOpen {
    keys: VecDeque<ConnKey>,
    count: usize,
}

impl HalfOpen {
    /// Adds a connection that was just accepted.
    pub(crate) fn add<S>(&mut self, table: &mut Table<S>, key: ConnKey) {
        // Keys of finished handshakes stay behind an old one that never finishes. This bounds them
        // to the number of live ones, for a constant cost for each connection that is added.
        if self.keys.len() > 2 * self.count + SLACK {
            self.keys.retain(|key| is_half_open(table, *key));
        }
        if let Some(conn) = table.get_mut(key)
            && conn.flags.raise(Flags::HALF_OPEN)
        {
            self.count += 1;
            self.keys.push_back(key);
        }
    }

    /// The connection with these flags leaves the handshake or the loop.
    pub(crate) fn leave(&mut self, flags: &mut Flags) {
        if flags.take(Flags::HALF_OPEN) {
            self.count -= 1;
            if self.count == 0 {
                self.keys.clear();
                self.keys.shrink_if_sparse(KEYS_KEPT);
            }
        }
    }

    /// The one that has been half-open the longest; one that waits for us and not we for it only if
    /// all of the oldest do.
    pub(crate) fn oldest<S>(&mut self, table: &mut Table<S>) -> Option<ConnKey> {
        while self.keys.front().is_some_and(|key| !is_half_open(table, *key)) {
            self.keys.pop_front();
        }
        let mut oldest = self.keys.iter().take(LOOKED_AT_MAX);
        let idle = oldest.find(|key| {
            let conn = table.get(**key);
            conn.is_some_and(|conn| {
                conn.flags.has(Flags::HALF_OPEN) && !conn.flags.has(Flags::QUEUED)
            })
        });
        idle.or_else(|| self.keys.front()).copied()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

fn is_half_open<S>(table: &mut Table<S>, key: ConnKey) -> bool {
    table.get_mut(key).is_some_and(|conn| conn.flags.has(Flags::HALF_OPEN))
}

const SLACK: usize = 64;
const LOOKED_AT_MAX: usize = 64;
const KEYS_KEPT: usize = 256;
