//! Connections that have not finished their handshake, oldest first, so that a flood of them
//! pushes out its own oldest and nobody else.

use std::collections::VecDeque;

use super::flags::Flags;
use super::table::Table;
use crate::key::ConnKey;

/// Keys are forgotten lazily: those of connections that moved on are dropped when they come to the
/// front or when they outnumber the rest.
#[derive(Debug, Default)]
pub(crate) struct HalfOpen {
    keys: VecDeque<ConnKey>,
    count: usize,
}

impl HalfOpen {
    /// Adds a connection that was just accepted.
    pub(crate) fn add<S>(&mut self, table: &mut Table<S>, key: ConnKey) {
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
                self.keys.shrink_to(KEYS_KEPT);
            }
        }
    }

    /// The one that has been half-open the longest.
    pub(crate) fn oldest<S>(&mut self, table: &mut Table<S>) -> Option<ConnKey> {
        while let Some(key) = self.keys.front() {
            if is_half_open(table, *key) {
                return Some(*key);
            }
            self.keys.pop_front();
        }
        None
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
const KEYS_KEPT: usize = 256;
