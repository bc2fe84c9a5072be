//! Long answers that wait for their turn.
//!
//! Who is in a channel, and what was published there, may take a millisecond and more to write down, and one
//! frame asks for a thousand of such answers, or subscribes to a hundred channels in which it has missed much. A
//! turn has a share for them. What is asked for beyond it waits, for each connection by itself, and a connection
//! gets one answer before the next has its turn.

use std::collections::{HashMap, VecDeque};

use crate::services::Peer;
use crate::timer::Millis;

/// Questions of the kind `Q` that wait for a long answer.
#[derive(Debug)]
pub(super) struct Listings<Q> {
    /// What they may take of a turn, in units of [`crate::work`].
    share: i64,
    /// The time of a turn, and what it has left of the share; what it has taken too much is missing in the next.
    turn: (Millis, i64),
    /// With each question the bytes that it holds.
    waiting: HashMap<Peer, VecDeque<(Q, usize)>>,
    /// The connections whose questions wait; those that are gone too, until their turn comes.
    order: VecDeque<Peer>,
    count: usize,
    bytes: usize,
}

impl<Q> Listings<Q> {
    /// None yet, with this share of a turn.
    pub(super) fn new(share: u64) -> Self {
        let (waiting, order) = (HashMap::new(), VecDeque::new());
        let mut own = Self { share: 0, turn: (Millis(0), 0), waiting, order, count: 0, bytes: 0 };
        own.set_share(share);
        own.begin_turn(Millis(0));
        own
    }

    /// The share from the next turn on.
    pub(super) fn set_share(&mut self, share: u64) {
        // With none at all nothing would ever be answered.
        self.share = i64::try_from(share).unwrap_or(i64::MAX).max(1);
    }

    /// Whether an answer is to be given at once.
    pub(super) fn is_free(&mut self, now: Millis) -> bool {
        if self.turn.0 != now {
            self.begin_turn(now);
        }
        self.count == 0 && self.turn.1 > 0
    }

    /// A turn begins.
    pub(super) fn begin_turn(&mut self, now: Millis) {
        let owed = self.turn.1.min(0).max(self.share.saturating_mul(-OWED_MAX));
        self.turn = (now, owed.saturating_add(self.share));
    }

    /// An answer has cost this much.
    pub(super) fn spend(&mut self, units: u64) {
        self.turn.1 = self.turn.1.saturating_sub_unsigned(units);
    }

    /// Has a question of a connection wait, which holds this many bytes. Gives it back if too much waits.
    pub(super) fn push(&mut self, peer: Peer, question: Q, bytes: usize) -> Result<(), Q> {
        if self.count >= WAITING_MAX || self.bytes + bytes > WAITING_BYTES_MAX {
            return Err(question);
        }
        let own = self.waiting.entry(peer).or_default();
        if own.is_empty() {
            self.order.push_back(peer);
        }
        own.push_back((question, bytes));
        self.count += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// The question that is answered next, if this turn has something left.
    pub(super) fn next(&mut self) -> Option<Q> {
        if self.turn.1 <= 0 {
            return None;
        }
        while let Some(peer) = self.order.pop_front() {
            let Some(own) = self.waiting.get_mut(&peer) else { continue };
            let question = own.pop_front();
            if own.is_empty() {
                self.waiting.remove(&peer);
            } else {
                self.order.push_back(peer);
            }
            if let Some((question, bytes)) = question {
                self.count -= 1;
                self.bytes -= bytes;
                self.release();
                return Some(question);
            }
        }
        None
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, peer: Peer) {
        if self.count == 0 {
            return;
        }
        let own = self.waiting.remove(&peer).unwrap_or_default();
        self.count -= own.len();
        self.bytes -= own.iter().map(|(_, bytes)| bytes).sum::<usize>();
        self.release();
    }

    /// Bytes that those hold which wait.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn release(&mut self) {
        if self.count == 0 {
            (self.waiting, self.order) = (HashMap::new(), VecDeque::new());
        }
    }
}

/// Questions that wait on a loop. Further ones are refused.
const WAITING_MAX: usize = 1 << 14;
/// Bytes that these hold.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// Turns that go without an answer at most, after one that was far too long.
const OWED_MAX: i64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ConnKey;

    const SHARE: u64 = 1000;

    fn peer(index: u32) -> Peer {
        Peer { loop_index: 0, key: ConnKey { index, generation: 1 } }
    }

    fn answered(own: &mut Listings<(u32, u32)>) -> Vec<(u32, u32)> {
        std::iter::from_fn(|| own.next()).collect()
    }

    #[test]
    fn connections_take_turns_and_each_keeps_its_order() {
        let mut own = Listings::new(SHARE);
        for (asker, count) in [(1, 4), (2, 1), (3, 2)] {
            (0..count).for_each(|number| own.push(peer(asker), (asker, number), 10).unwrap());
        }
        let expected = [(1, 0), (2, 0), (3, 0), (1, 1), (3, 1), (1, 2), (1, 3)];
        assert_eq!(answered(&mut own), expected);
        assert!(own.is_empty());
        assert_eq!((own.waiting.capacity(), own.order.capacity()), (0, 0));
    }

    #[test]
    fn a_turn_has_a_share_and_what_is_beyond_it_waits() {
        let mut own = Listings::new(SHARE);
        assert!(own.is_free(Millis(5)));
        own.spend(SHARE - 1);
        assert!(own.is_free(Millis(5)));
        own.spend(SHARE);
        assert!(!own.is_free(Millis(5)));
        own.push(peer(1), (1, 0), 10).unwrap();
        assert_eq!(own.next(), None);
        // None passes those who wait, whatever is left.
        assert!(!own.is_free(Millis(6)));
        own.begin_turn(Millis(6));
        assert_eq!(answered(&mut own), [(1, 0)]);
        assert!(own.is_free(Millis(6)));
    }

    #[test]
    fn what_was_taken_too_much_is_missing_in_the_next_turns() {
        let mut own = Listings::new(SHARE);
        own.spend(3 * SHARE + 1);
        own.push(peer(1), (1, 0), 10).unwrap();
        for moment in 1..=2 {
            own.begin_turn(Millis(moment));
            assert_eq!(own.next(), None, "turn {moment}");
        }
        own.begin_turn(Millis(3));
        assert_eq!(own.next(), Some((1, 0)));
        // However much it was, there is an end.
        own.spend(u64::MAX);
        let turns = (4..).position(|moment| {
            own.begin_turn(Millis(moment));
            own.turn.1 > 0
        });
        assert_eq!(turns, Some(64));
    }

    #[test]
    fn who_is_gone_is_not_answered() {
        let mut own = Listings::new(SHARE);
        for asker in [1, 2, 1, 2] {
            own.push(peer(asker), (asker, 0), 10).unwrap();
        }
        own.forget(peer(1));
        own.forget(peer(3));
        assert_eq!(answered(&mut own), [(2, 0), (2, 0)]);
        own.push(peer(2), (2, 1), 10).unwrap();
        own.forget(peer(2));
        assert!(own.is_empty() && own.next().is_none());
        assert_eq!((own.waiting.capacity(), own.order.capacity()), (0, 0));
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let mut own = Listings::new(SHARE);
        (0..WAITING_MAX).for_each(|_| own.push(peer(1), (1, 0), 10).unwrap());
        assert_eq!(own.push(peer(2), (2, 0), 10), Err((2, 0)));
        own.next().unwrap();
        assert_eq!(own.push(peer(2), (2, 0), 10), Ok(()));
        // The bytes are those of what waits.
        own.forget(peer(1));
        assert_eq!(own.held_bytes(), 10);
        assert_eq!(own.push(peer(1), (1, 0), WAITING_BYTES_MAX - 9), Err((1, 0)));
        assert_eq!(own.push(peer(1), (1, 0), WAITING_BYTES_MAX - 10), Ok(()));
        assert_eq!(answered(&mut own).len(), 2);
        assert_eq!(own.held_bytes(), 0);
    }
}
