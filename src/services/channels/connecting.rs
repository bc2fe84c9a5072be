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
    /// What the homes have answered.
    pub(super) subscriptions: Vec<Gained>,
}

/// A subscription that the reply to the first command tells of.
#[derive(Debug)]
pub(super) struct Gained {
    pub(super) channel: Arc<str>,
    pub(super) subscribed: Subscribed,
    /// Where the stream is.
    pub(super) top: Option<Position>,
}

impl Connecting {
    /// What the client is told of its subscriptions, which is written down in one step. What it has missed is told up
    /// to a number of bytes; of a channel for which that does not last the client learns that it has not recovered.
    pub(super) fn take_subscriptions(&mut self) -> Vec<(Arc<str>, Subscribed)> {
        let mut left = RECOVERED_BYTES_MAX;
        let subscriptions = std::mem::take(&mut self.subscriptions).into_iter();
        let bounded = subscriptions.map(|Gained { channel, mut subscribed, top }| {
            let missed = subscribed.publications.iter().map(|(_, own)| recovered_bytes(own));
            match left.checked_sub(missed.sum()) {
                Some(rest) => left = rest,
                None => {
                    (subscribed.is_recovered, subscribed.position) = (false, top);
                    subscribed.publications = Vec::new();
                }
            }
            (channel, subscribed)
        });
        bounded.collect()
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
        let gained = |channel: &str, bytes: usize| Gained {
            channel: channel.into(),
            subscribed: Subscribed {
                is_recovered: true,
                was_recovering: true,
                position: Some(Position { offset: 8, ..top }),
                publications: vec![(9, Publication::new(vec![b'1'; bytes]))],
                ..Subscribed::default()
            },
            top: Some(top),
        };
        let sizes = [("a", 9), ("b", RECOVERED_BYTES_MAX), ("c", 9)];
        let mut connecting = Connecting {
            id: 1,
            ttl: Ttl(0),
            data: None,
            is_undecided: false,
            missing: 0,
            subscriptions: sizes.map(|(name, bytes)| gained(name, bytes)).into(),
        };
        let told = connecting.take_subscriptions();
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
