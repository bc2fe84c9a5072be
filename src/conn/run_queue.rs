//! Connections that have work left which no edge will announce: bytes beyond their read budget, or
//! frames that waited while reading was paused.

use super::flags::Flags;
use super::table::Table;
use crate::key::ConnKey;

/// Each connection stands in it at most once.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    waiting: Vec<ConnKey>,
    running: Vec<ConnKey>,
}

impl RunQueue {
    /// Puts a connection into the queue, for the next time it is run.
    pub(crate) fn push<S>(&mut self, table: &mut Table<S>, key: ConnKey) {
        if let Some(conn) = table.get_mut(key)
            && conn.flags.raise(Flags::QUEUED)
        {
            self.waiting.push(key);
        }
    }

    /// Begins a run: what is pushed from now on waits for the next one.
    pub(crate) fn start(&mut self) {
        debug_assert!(self.running.is_empty());
        std::mem::swap(&mut self.waiting, &mut self.running);
    }

    /// The next connection of the run that is still there.
    pub(crate) fn next<S>(&mut self, table: &mut Table<S>) -> Option<ConnKey> {
        while let Some(key) = self.running.pop() {
            if let Some(conn) = table.get_mut(key) {
                conn.flags.clear(Flags::QUEUED);
                return Some(key);
            }
        }
        if self.waiting.is_empty() {
            self.waiting.shrink_to(KEYS_KEPT);
            self.running.shrink_to(KEYS_KEPT);
        }
        None
    }

    /// Whether no connection waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

const KEYS_KEPT: usize = 64;
