//! A client whose first command waits for the answers of others, and what it sends meanwhile.

use std::sync::Arc;

use crate::centrifugo::{Subscribed, Ttl};
use crate::channels::Position;

/// What is under way while a client connects.
#[derive(Debug)]
pub(super) struct Connecting {
    /// The ID of the command.
    pub(super) id: u32,
    pub(super) ttl: Ttl,
    /// What the client is told beside, as JSON.
    pub(super) data: Option<Arc<[u8]>>,
    /// Channels whose home has not answered yet.
    pub(super) missing: usize,
    /// What the homes have answered.
    pub(super) subscriptions: Vec<Gained>,
    pub(super) held: HeldFrames,
}

/// A subscription that the reply to the first command tells of.
#[derive(Debug)]
pub(super) struct Gained {
    pub(super) channel: Arc<str>,
    pub(super) subscribed: Subscribed,
    /// Where the stream is.
    pub(super) top: Option<Position>,
}

/// Frames that wait until a command before them is answered.
#[derive(Debug, Default)]
pub(super) struct HeldFrames {
    frames: Vec<HeldFrame>,
    bytes: usize,
}

/// A frame, and how many of its commands are done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HeldFrame {
    pub(super) frame: Box<[u8]>,
    pub(super) done: usize,
}

impl HeldFrames {
    /// Holds a frame; the bytes that it takes, or `None` if too much is held.
    pub(super) fn hold(&mut self, frame: &[u8], done: usize) -> Option<usize> {
        let bytes = frame.len() + size_of::<HeldFrame>();
        if self.bytes + bytes > HELD_BYTES_MAX {
            return None;
        }
        self.bytes += bytes;
        self.frames.push(HeldFrame { frame: frame.into(), done });
        Some(bytes)
    }

    /// Bytes that all of them take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The frames in their order.
    pub(super) fn into_frames(self) -> Vec<HeldFrame> {
        self.frames
    }
}

impl Connecting {
    /// What the client is told of its subscriptions. What it has missed is told up to a number of bytes; of a
    /// channel for which that does not last the client learns that it has not recovered.
    pub(super) fn take_subscriptions(&mut self) -> Vec<(Arc<str>, Subscribed)> {
        let mut left = RECOVERED_BYTES_MAX;
        let subscriptions = std::mem::take(&mut self.subscriptions).into_iter();
        let bounded = subscriptions.map(|Gained { channel, mut subscribed, top }| {
            let missed = subscribed.publications.iter().map(|(_, own)| own.held_bytes());
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

/// Bytes of frames that wait for one client. It is not read meanwhile, so it is what one read has brought.
const HELD_BYTES_MAX: usize = 1 << 20;
/// Bytes of publications that were missed, in the reply to one first command.
const RECOVERED_BYTES_MAX: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::{Epoch, Publication};

    #[test]
    fn frames_wait_in_order_up_to_a_number_of_bytes() {
        let mut held = HeldFrames::default();
        assert!(held.hold(b"ab", 1).is_some() && held.hold(b"c", 0).is_some());
        assert_eq!(held.hold(&vec![0; HELD_BYTES_MAX], 0), None);
        let bytes = held.bytes();
        assert_eq!(bytes, 3 + 2 * size_of::<HeldFrame>());
        let frame = |frame: &[u8], done| HeldFrame { frame: frame.into(), done };
        assert_eq!(held.into_frames(), [frame(b"ab", 1), frame(b"c", 0)]);
    }

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
            missing: 0,
            subscriptions: sizes.map(|(name, bytes)| gained(name, bytes)).into(),
            held: HeldFrames::default(),
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
