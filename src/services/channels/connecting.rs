//! A client whose first command waits for the answers of others.

use std::sync::Arc;

use crate::centrifugo::{Subscribed, Ttl};
use crate::channels::{Position, Publication};

/// What is under way while a client connects.
#[derive(Debug)]
pub(super) struct Connecting {
    /// The ID of the command.
    pub(super) id: u32,
    pub(super) ttl: Ttl,
    /// What the client is told beside, as JSON.
    pub(super) data: Option<Arc<[u8]>>,
    /// Whether its backend has yet to say that it may connect at all.
    pub(super) is_undecided: bool,
    /// Channels whose home has not answered yet.
    pub(super) missing: usize,
    /// What the client is told of the channels whose homes have answered.
    pub(super) subscriptions: Vec<(Arc<str>, Subscribed)>,
    /// Bytes that are left for what it has missed.
    room: usize,
}

impl Connecting {
    /// One whose first command has this ID, and of which as many homes are to answer as are `missing`.
    pub(super) fn new(
        (id, is_undecided): (u32, bool),
        ttl: Ttl,
        data: Option<Arc<[u8]>>,
        missing: usize,
    ) -> Self {
        let (subscriptions, room) = (Vec::with_capacity(missing), RECOVERED_BYTES_MAX);
        Self { id, ttl, data, is_undecided, missing, subscriptions, room }
    }

    /// A home has answered, whose stream is at `top`. What the client has missed is told up to a number of bytes, as it
    /// is held until all have answered and written down in one step; of a channel for which that does not last the client
    /// learns that it has not recovered.
    pub(super) fn gain(
        &mut self,
        channel: Arc<str>,
        mut subscribed: Subscribed,
        top: Option<Position>,
    ) {
        let missed = subscribed.publications.iter().map(|(_, own)| recovered_bytes(own));
        match self.room.checked_sub(missed.sum()) {
            Some(rest) => self.room = rest,
            None => {
                (subscribed.is_recovered, subscribed.position) = (false, top);
                subscribed.publications = Vec::new();
            }
        }
        self.subscriptions.push((channel, subscribed));
    }
}

/// What a publication that was missed counts for in a reply: a short one takes time as well.
pub(super) fn recovered_bytes(own: &Publication) -> usize {
    own.held_bytes() + PUBLICATION_BYTES
}

/// Bytes of publications that were missed, in the reply to one first command: about a millisecond, and no more than a
/// connection may have unsent as a rule.
const RECOVERED_BYTES_MAX: usize = 1 << 20;
/// What one counts for beside what it holds.
const PUBLICATION_BYTES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::Epoch;

    #[test]
    fn what_was_missed_is_told_as_a_whole_or_not_at_all() {
        let top = Position { offset: 9, epoch: Epoch(1) };
        let missed = |bytes: usize| Subscribed {
            is_recovered: true,
            was_recovering: true,
            position: Some(Position { offset: 8, ..top }),
            publications: vec![(9, Publication::new(vec![b'1'; bytes]))],
            ..Subscribed::default()
        };
        let mut connecting = Connecting::new((1, false), Ttl(0), None, 3);
        for (name, bytes) in [("a", 9), ("b", RECOVERED_BYTES_MAX), ("c", 9)] {
            connecting.gain(name.into(), missed(bytes), Some(top));
        }
        let told = connecting.subscriptions;
        let told: Vec<_> = told
            .iter()
            .map(|(_, own)| {
                (own.is_recovered, own.publications.len(), own.position.map(|own| own.offset))
            })
            .collect();
        let whole = (true, 1, Some(8));
        assert_eq!(told, [whole, (false, 0, Some(9)), whole]);
    }
}
