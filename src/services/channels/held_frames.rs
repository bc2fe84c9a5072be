//! Frames that wait: until the first command of a client is answered, or until it is its turn again.
//!
//! A frame may hold a thousand commands, and one read brings many frames. A step does as many commands as it has time
//! for, and the rest of them wait, in order. Clients with such frames take turns, and are not read meanwhile, so what
//! waits for one is what a single read has brought.

use std::collections::{HashMap, VecDeque};

use crate::key::ConnKey;
use crate::services::Peer;
use crate::shrink::Shrink as _;

/// The frames that wait on a loop.
#[derive(Debug, Default)]
pub(super) struct HeldFrames {
    by_client: HashMap<ConnKey, ClientFrames>,
    /// Those whose turn comes; those that are gone too, until then.
    order: VecDeque<Peer>,
}

/// Those of one client. The first of them may be taken out, so there may be none.
#[derive(Debug, Default)]
struct ClientFrames {
    frames: VecDeque<HeldFrame>,
    bytes: usize,
    /// Whether its turn comes.
    is_queued: bool,
}

/// A frame, or what is left of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HeldFrame {
    pub(super) frame: Box<[u8]>,
    /// Where in it the next command begins.
    pub(super) at: usize,
    /// Commands of the frame that are done.
    pub(super) done: usize,
}

impl HeldFrame {
    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.frame.len() + size_of::<Self>()
    }
}

impl HeldFrames {
    /// Whether what a client sends has to wait for what it has sent before.
    pub(super) fn has(&self, key: ConnKey) -> bool {
        !self.by_client.is_empty() && self.by_client.contains_key(&key)
    }

    /// Holds what is left of a frame behind the commands that are `done`; the bytes that it takes, or `None` if too much
    /// is held. A frame that waits for no other is held in any case, as its length is bounded.
    pub(super) fn hold(&mut self, key: ConnKey, rest: &[u8], done: usize) -> Option<usize> {
        let held = HeldFrame { frame: rest.into(), at: 0, done };
        let bytes = held.bytes();
        let own = self.by_client.entry(key).or_default();
        if own.bytes > 0 && own.bytes + bytes > HELD_BYTES_MAX {
            return None;
        }
        own.bytes += bytes;
        own.frames.push_back(held);
        Some(bytes)
    }

    /// The turn of a client comes, behind that of others.
    pub(super) fn queue(&mut self, peer: Peer) {
        let Some(own) = self.by_client.get_mut(&peer.key) else { return };
        if !std::mem::replace(&mut own.is_queued, true) {
            self.order.push_back(peer);
        }
    }

    /// The client whose turn it is.
    pub(super) fn next(&mut self) -> Option<Peer> {
        let peer = self.order.pop_front()?;
        self.order.shrink_if_sparse(0);
        if let Some(own) = self.by_client.get_mut(&peer.key) {
            own.is_queued = false;
        }
        Some(peer)
    }

    /// Whether the turn of any comes.
    pub(super) fn has_queued(&self) -> bool {
        !self.order.is_empty()
    }

    /// Takes out the first frame of a client, which still counts as one that waits.
    pub(super) fn take_first(&mut self, key: ConnKey) -> Option<HeldFrame> {
        self.by_client.get_mut(&key)?.frames.pop_front()
    }

    /// Puts back a frame that was taken out and is not done.
    pub(super) fn put_back(&mut self, key: ConnKey, held: HeldFrame) {
        if let Some(own) = self.by_client.get_mut(&key) {
            own.frames.push_front(held);
        }
    }

    /// A frame that was taken out is done.
    pub(super) fn finish(&mut self, key: ConnKey, held: &HeldFrame) {
        if let Some(own) = self.by_client.get_mut(&key) {
            own.bytes -= held.bytes();
        }
    }

    /// Nothing of a client waits any more; the bytes that were held.
    pub(super) fn remove(&mut self, key: ConnKey) -> usize {
        let bytes = self.by_client.remove(&key).map_or(0, |own| own.bytes);
        self.by_client.shrink_if_sparse(0);
        bytes
    }
}

/// Bytes of frames that wait for one client. It is not read meanwhile, so it is what one read has brought.
const HELD_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(index: u32) -> Peer {
        Peer { loop_index: 0, key: ConnKey { index, generation: 1 } }
    }

    #[test]
    fn frames_wait_in_order_up_to_a_number_of_bytes() {
        let (mut held, own) = (HeldFrames::default(), peer(1).key);
        assert!(!held.has(own));
        let bytes = [held.hold(own, b"ab", 1), held.hold(own, b"c", 0)];
        let bytes: usize = bytes.into_iter().flatten().sum();
        assert_eq!((bytes, held.has(own)), (3 + 2 * size_of::<HeldFrame>(), true));
        assert_eq!(held.hold(own, &vec![0; HELD_BYTES_MAX], 0), None);
        // One that is alone is held whatever its length.
        assert!(held.hold(peer(2).key, &vec![0; HELD_BYTES_MAX], 0).is_some());
        let first = held.take_first(own).unwrap();
        assert_eq!(first, HeldFrame { frame: b"ab".as_slice().into(), at: 0, done: 1 });
        held.put_back(own, HeldFrame { at: 1, done: 2, ..first });
        let first = held.take_first(own).unwrap();
        assert_eq!((first.at, first.done), (1, 2));
        held.finish(own, &first);
        assert_eq!(held.remove(own), 1 + size_of::<HeldFrame>());
        assert!(held.remove(peer(2).key) > HELD_BYTES_MAX);
        assert_eq!((held.has(own), held.by_client.capacity()), (false, 0));
    }

    #[test]
    fn clients_take_turns() {
        let mut held = HeldFrames::default();
        for index in 1..4 {
            held.hold(peer(index).key, b"a", 0);
        }
        [2, 1, 2].into_iter().for_each(|index| held.queue(peer(index)));
        assert_eq!(held.next(), Some(peer(2)));
        held.queue(peer(2));
        held.remove(peer(1).key);
        // Of one that has nothing no turn comes.
        held.queue(peer(4));
        assert_eq!([held.next(), held.next(), held.next()], [Some(peer(1)), Some(peer(2)), None]);
        assert_eq!((held.has_queued(), held.order.capacity()), (false, 0));
    }
}
